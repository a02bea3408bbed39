//! What a join knows about its keys, for scans to leave out rows that cannot match.
//!
//! When the build side of a join is complete, the join publishes a [`KeyFilter`] in the
//! [`KeyFilterSlot`] that the plan gave it a number for. Scans that name the same slot narrow
//! their chunks by it before they decode other columns, and prune row groups by its ranges:
//!
//! ```text
//!   planner  HashJoin { publishes: 7, .. }      ParquetScan { key_filters: [{ id: 7, columns }] }
//!   build    Build::key_filter(7) ── one slot ── Build::key_filter(7)
//!   run      build side done: slot.publish(filter) ─► every chunk: probe.narrow(chunk)
//! ```
//!
//! The pipelines of those scans start after the build side's (plans are built so).
//! A filter never drops a row that has a match and may keep rows that have none; a bitmap keeps
//! exactly the rows whose key occurs. A filter that does not filter pauses itself.
//!
//! Memory: a bitmap or Bloom filter is charged to the join that publishes it; what it is charged
//! to lives as long as the slot holds the filter.
//! Concurrency: one slot behind a lock, which each reader asks until it has found the filter.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::chunk::Chunk;
use super::column::Column;
use super::hash::KeyHasher;
use super::ordinals::{Ordinals, has_ordinals};
use super::selection::Selection;
use crate::error::{Error, Result};

/// Number of a key filter within its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyFilterId(pub u32);

/// A reader's side of a key filter, in the spec of a scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFilterUse {
    /// Which filter.
    pub id: KeyFilterId,
    /// The reader's output columns that are compared, one for each key of the join, in order.
    pub columns: Vec<usize>,
}

/// Where a join and the scans find each other's filter. Clones are the same slot.
#[derive(Clone, Default)]
pub struct KeyFilterSlot {
    published: Arc<Mutex<Option<Published>>>,
}

struct Published {
    filter: Arc<KeyFilter>,
    _charged_to: Box<dyn Any + Send>,
}

impl KeyFilterSlot {
    /// Makes the filter known; it replaces an older one.
    pub fn publish(&self, filter: Arc<KeyFilter>, charged_to: impl Any + Send) {
        self.with(|p| *p = Some(Published { filter, _charged_to: Box::new(charged_to) }));
    }

    /// The filter, when its join has published it.
    pub fn get(&self) -> Option<Arc<KeyFilter>> {
        self.with(|p| p.as_ref().map(|p| p.filter.clone()))
    }

    /// Forgets the filter: the join is going to run again.
    pub fn clear(&self) {
        self.with(|p| *p = None);
    }

    fn with<R>(&self, f: impl FnOnce(&mut Option<Published>) -> R) -> R {
        f(&mut self.published.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

/// The keys of a finished build side.
#[derive(Debug)]
pub struct KeyFilter {
    is_empty: bool,
    /// Whether rows with a NULL among their keys may match.
    nulls_match: bool,
    /// Least and greatest ordinal of each key column, where all keys have ordinals.
    ranges: Vec<Option<(i64, i64)>>,
    members: Members,
}

#[derive(Debug)]
enum Members {
    /// Only the ranges are known.
    Unknown,
    /// A bit for each ordinal from `min` on, of the only key column.
    Bitmap { min: i64, bits: Vec<AtomicU64> },
    /// Four bits in one word for each hash of all key columns.
    Bloom { words: Vec<AtomicU64> },
}

/// Collects the keys, from several threads at once.
#[derive(Debug)]
pub struct KeyFilterBuilder {
    filter: Arc<KeyFilter>,
}

/// Bits of a bitmap per build row up to which a bitmap is made. A sparse one still beats a Bloom
/// filter: it is exact, one load, and at this ratio no bigger than the rows themselves.
const BITMAP_BITS_PER_ROW: u64 = 64;
/// A bitmap of this many bits (128 KiB) is made for any number of rows: it stays in the cache.
const BITMAP_BITS_ALWAYS: u64 = 1 << 20;
/// Bits of the largest bitmap (64 MiB).
const BITMAP_BITS_MAX: u64 = 1 << 29;
/// Bits of a Bloom filter for each build row; with four bits in one word for each key about one in
/// a hundred other keys passes.
const BLOOM_BITS_PER_ROW: u64 = 16;
/// Build rows above which no Bloom filter is made: beyond the caches (this many take 8 MiB) it is
/// as slow as the join's directory, to make and to ask.
const BLOOM_ROWS_MAX: u64 = 1 << 22;

impl KeyFilterBuilder {
    /// A filter for `rows` build rows whose key columns have these ranges (`None` where some key
    /// has no ordinal).
    pub fn new(rows: u64, ranges: Vec<Option<(i64, i64)>>, nulls_match: bool) -> Self {
        let words = |bits: u64| (0..bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let members = match Size::of(rows, &ranges) {
            Size::None => Members::Unknown,
            Size::Bitmap { min, bits } => Members::Bitmap { min, bits: words(bits) },
            Size::Bloom { bits } => Members::Bloom { words: words(bits) },
        };
        let filter = KeyFilter { is_empty: rows == 0, nulls_match, ranges, members };
        KeyFilterBuilder { filter: Arc::new(filter) }
    }

    /// A filter that knows the ranges and nothing else, in no memory.
    pub fn ranges_only(rows: u64, ranges: Vec<Option<(i64, i64)>>, nulls_match: bool) -> Self {
        let members = Members::Unknown;
        let filter = KeyFilter { is_empty: rows == 0, nulls_match, ranges, members };
        KeyFilterBuilder { filter: Arc::new(filter) }
    }

    /// Bytes that [`KeyFilterBuilder::new`] would allocate.
    pub fn size_bytes(rows: u64, ranges: &[Option<(i64, i64)>]) -> usize {
        let bits = match Size::of(rows, ranges) {
            Size::None => 0,
            Size::Bitmap { bits, .. } | Size::Bloom { bits } => bits,
        };
        usize::try_from(bits.div_ceil(64) * 8).unwrap_or(usize::MAX)
    }

    /// Whether [`KeyFilterBuilder::add_ordinals`] is wanted.
    pub fn takes_ordinals(&self) -> bool {
        matches!(self.filter.members, Members::Bitmap { .. })
    }

    /// Whether [`KeyFilterBuilder::add_hashes`] is wanted.
    pub fn takes_hashes(&self) -> bool {
        matches!(self.filter.members, Members::Bloom { .. })
    }

    /// Adds keys by the hash of all key columns, see [`KeyHasher`].
    pub fn add_hashes(&self, hashes: &[u64]) {
        let Members::Bloom { words } = &self.filter.members else { return };
        for &hash in hashes {
            let Some(word) = words.get(bloom_word(hash, words.len())) else { continue };
            let bits = bloom_bits(hash);
            if word.load(Ordering::Relaxed) & bits != bits {
                word.fetch_or(bits, Ordering::Relaxed);
            }
        }
    }

    /// Adds keys of the only column by ordinal; those outside its range are ignored.
    pub fn add_ordinals(&self, ordinals: impl IntoIterator<Item = i64>) {
        let Members::Bitmap { min, bits } = &self.filter.members else { return };
        for ordinal in ordinals {
            let offset = ordinal.wrapping_sub(*min) as u64;
            let Some(word) = bits.get((offset / 64) as usize) else { continue };
            let bit = 1 << (offset % 64);
            // Sets the bit only when it is not set yet: most keys of a fact table are repeated.
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// The filter, after all keys were added.
    pub fn finish(&self) -> Arc<KeyFilter> {
        self.filter.clone()
    }
}

/// What a filter consists of beside the ranges.
enum Size {
    None,
    Bitmap { min: i64, bits: u64 },
    Bloom { bits: u64 },
}

impl Size {
    fn of(rows: u64, ranges: &[Option<(i64, i64)>]) -> Self {
        if let [Some((min, max))] = *ranges
            && let Some(bits) = (max.wrapping_sub(min) as u64).checked_add(1)
            && bits <= BITMAP_BITS_ALWAYS.max(rows.saturating_mul(BITMAP_BITS_PER_ROW))
            && bits <= BITMAP_BITS_MAX
        {
            return Size::Bitmap { min, bits };
        }
        match rows {
            1..=BLOOM_ROWS_MAX if !ranges.is_empty() => {
                Size::Bloom { bits: rows * BLOOM_BITS_PER_ROW }
            }
            _ => Size::None,
        }
    }
}

fn bloom_word(hash: u64, words: usize) -> usize {
    ((u128::from(hash) * words as u128) >> 64) as usize
}

fn bloom_bits(hash: u64) -> u64 {
    // The word follows from the upper half of the hash, the bits from the lower.
    (0..4).fold(0, |bits, i| bits | 1 << (hash >> (6 * i) & 63))
}

impl KeyFilter {
    /// Whether the build side has no row: nothing matches.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether it keeps exactly the rows whose key occurs on the build side.
    pub fn is_exact(&self) -> bool {
        let exact = matches!(self.members, Members::Bitmap { .. }) && !self.nulls_match;
        self.is_empty || exact
    }

    fn takes_hashes(&self) -> bool {
        matches!(self.members, Members::Bloom { .. })
    }

    /// Least and greatest ordinal (see [`super::ordinals`]) of key column `key`, when known: rows
    /// and row groups outside cannot match.
    pub fn range(&self, key: usize) -> Option<(i64, i64)> {
        self.ranges.get(key).copied().flatten()
    }

    /// Whether rows with a NULL among their keys may match.
    pub fn nulls_match(&self) -> bool {
        self.nulls_match
    }

    /// The live rows that may match: of `rows` physical rows of the key columns `keys`, in the
    /// order of the join's keys, those in `live`.
    ///
    /// # Errors
    /// `Internal` when the keys are not those that the join has.
    pub fn narrow(
        &self,
        keys: &[&Column],
        rows: usize,
        live: Option<&Selection>,
        scratch: &mut NarrowScratch,
    ) -> Result<Selection> {
        if keys.len() != self.ranges.len() {
            return Err(Error::internal("a key filter of other columns"));
        }
        let count = live.map_or(rows, Selection::len);
        if self.is_empty {
            return Ok(Selection::new(Vec::new()));
        }
        scratch.keep.clear();
        scratch.keep.resize(count, true);
        for (key, range) in keys.iter().zip(&self.ranges) {
            let Some(range) = *range else { continue };
            if !has_ordinals(key.logical()) {
                continue;
            }
            scratch.ordinals.read(key, rows, live)?;
            self.keep_column(range, scratch);
        }
        let kept = collect(&scratch.keep, live);
        match &self.members {
            Members::Bloom { words } if !kept.is_empty() => {
                scratch.hasher.hash(keys, kept.as_slice(), &mut scratch.hashes)?;
                let passes = |&hash: &u64| {
                    let bits = bloom_bits(hash);
                    let word = words.get(bloom_word(hash, words.len()));
                    word.is_some_and(|word| word.load(Ordering::Relaxed) & bits == bits)
                };
                scratch.keep.clear();
                scratch.keep.extend(scratch.hashes.iter().map(passes));
                Ok(collect(&scratch.keep, Some(&kept)))
            }
            _ => Ok(kept),
        }
    }

    /// Clears `keep` where the ordinals of one key column say that the row cannot match.
    fn keep_column(&self, (min, max): (i64, i64), scratch: &mut NarrowScratch) {
        let NarrowScratch { ordinals, keep, .. } = scratch;
        if self.nulls_match {
            // NULLs and their arbitrary values are not judged here.
            ordinals.nulls.iter().for_each(|&i| ordinals.values[i as usize] = min);
        }
        match &self.members {
            Members::Bitmap { min, bits } => {
                for (keep, value) in keep.iter_mut().zip(&ordinals.values) {
                    let offset = value.wrapping_sub(*min) as u64;
                    let word = bits.get((offset / 64) as usize);
                    let word = word.map_or(0, |w| w.load(Ordering::Relaxed));
                    *keep &= word >> (offset % 64) & 1 == 1;
                }
            }
            Members::Unknown | Members::Bloom { .. } => {
                let width = max.wrapping_sub(min) as u64;
                for (keep, value) in keep.iter_mut().zip(&ordinals.values) {
                    *keep &= value.wrapping_sub(min) as u64 <= width;
                }
            }
        }
        ordinals.beyond.iter().for_each(|&i| keep[i as usize] = false);
        if self.nulls_match {
            if matches!(self.members, Members::Bitmap { .. }) {
                ordinals.nulls.iter().for_each(|&i| keep[i as usize] = true);
            }
        } else {
            ordinals.nulls.iter().for_each(|&i| keep[i as usize] = false);
        }
    }
}

/// Buffers of [`KeyFilter::narrow`], kept from chunk to chunk.
#[derive(Debug, Default)]
pub struct NarrowScratch {
    ordinals: Ordinals,
    keep: Vec<bool>,
    hasher: KeyHasher,
    hashes: Vec<u64>,
}

fn collect(keep: &[bool], live: Option<&Selection>) -> Selection {
    let mut rows = vec![0u32; keep.len()];
    let mut count = 0;
    match live {
        // Writes every position and advances past those kept: no branch to mispredict.
        None => {
            for (i, &keep) in (0u32..).zip(keep) {
                rows[count] = i;
                count += usize::from(keep);
            }
        }
        Some(live) => {
            for (&row, &keep) in live.as_slice().iter().zip(keep) {
                rows[count] = row;
                count += usize::from(keep);
            }
        }
    }
    rows.truncate(count);
    Selection::new(rows)
}

/// Rows after which the pass rate of a filter is judged.
const JUDGED_AFTER_ROWS: usize = 32_768;
/// Above this share of rows kept a filter costs more than the work that it saves: one that looks
/// at ordinals, and one that hashes.
const PAUSE_ABOVE: (f64, f64) = (0.9, 0.6);
/// Rows let through unseen after a filter was found useless; doubles up to the second number.
const PAUSE_ROWS: (usize, usize) = (1 << 18, 1 << 25);

/// One worker's use of a filter: finds it in its slot, applies it, and pauses it for a while when
/// it lets nearly everything through.
pub struct KeyFilterProbe {
    slot: KeyFilterSlot,
    columns: Vec<usize>,
    filter: Option<Arc<KeyFilter>>,
    scratch: NarrowScratch,
    seen: usize,
    kept: usize,
    paused_rows: usize,
    next_pause: usize,
}

impl KeyFilterProbe {
    /// A worker's use of the filter in `slot` on these columns of its chunks.
    pub fn new(slot: KeyFilterSlot, columns: Vec<usize>) -> Self {
        KeyFilterProbe {
            slot,
            columns,
            filter: None,
            scratch: NarrowScratch::default(),
            seen: 0,
            kept: 0,
            paused_rows: 0,
            next_pause: PAUSE_ROWS.0,
        }
    }

    /// The columns it reads.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The filter, once it is published.
    pub fn filter(&mut self) -> Option<&Arc<KeyFilter>> {
        if self.filter.is_none() {
            self.filter = self.slot.get();
        }
        self.filter.as_ref()
    }

    /// The rows of `live` that may match, or `None` when the filter is not there, is paused, or
    /// keeps them all. `keys` are the columns this probe was made for, in its order.
    ///
    /// # Errors
    /// `Internal` when the keys are not those that the join has.
    pub fn narrow(
        &mut self,
        keys: &[&Column],
        rows: usize,
        live: Option<&Selection>,
    ) -> Result<Option<Selection>> {
        let count = live.map_or(rows, Selection::len);
        let Some(filter) = self.filter().cloned() else { return Ok(None) };
        if self.paused_rows > 0 {
            self.paused_rows = self.paused_rows.saturating_sub(count);
            return Ok(None);
        }
        let kept = filter.narrow(keys, rows, live, &mut self.scratch)?;
        let limit = if filter.takes_hashes() { PAUSE_ABOVE.1 } else { PAUSE_ABOVE.0 };
        self.judge(count, kept.len(), limit);
        Ok((kept.len() < count).then_some(kept))
    }

    /// [`KeyFilterProbe::narrow`] on a chunk that has the columns.
    ///
    /// # Errors
    /// As there, and when the chunk does not have the columns.
    pub fn apply(&mut self, chunk: Chunk) -> Result<Chunk> {
        let keys = self.columns.iter().map(|&c| chunk.column(c));
        let keys: Vec<Column> = keys.map(|c| c.cloned()).collect::<Result<_>>()?;
        let keys: Vec<&Column> = keys.iter().collect();
        let kept = self.narrow(&keys, chunk.rows(), chunk.selection())?;
        Ok(match kept {
            Some(selection) => chunk.select(selection),
            None => chunk,
        })
    }

    fn judge(&mut self, seen: usize, kept: usize, limit: f64) {
        self.seen += seen;
        self.kept += kept;
        if self.seen < JUDGED_AFTER_ROWS {
            return;
        }
        if self.kept as f64 > limit * self.seen as f64 {
            self.paused_rows = self.next_pause;
            self.next_pause = (self.next_pause * 2).min(PAUSE_ROWS.1);
        } else {
            self.next_pause = PAUSE_ROWS.0;
        }
        self.seen = 0;
        self.kept = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Place;
    use arrow::array::{ArrayRef, Int32Array, Int64Array};
    use arrow::datatypes::DataType;

    fn ints(values: Vec<Option<i64>>) -> Column {
        Column::flat(DataType::Int64, Arc::new(Int64Array::from(values)))
    }

    fn filter(keys: &[i64], nulls_match: bool) -> Arc<KeyFilter> {
        let range = keys.iter().min().copied().zip(keys.iter().max().copied());
        let builder = KeyFilterBuilder::new(keys.len() as u64, vec![range], nulls_match);
        builder.add_ordinals(keys.iter().copied());
        builder.finish()
    }

    fn kept(filter: &KeyFilter, keys: &[&Column], rows: usize, live: &[u32]) -> Vec<u32> {
        let live = Selection::new(live.to_vec());
        let mut scratch = NarrowScratch::default();
        let kept = filter.narrow(keys, rows, Some(&live), &mut scratch).expect("narrows");
        kept.as_slice().to_vec()
    }

    #[test]
    fn a_bitmap_keeps_exactly_the_keys_that_occur() {
        let column = ints(vec![Some(-3), Some(4), None, Some(5), Some(i64::MAX), Some(70)]);
        let exact = filter(&[4, -3, 70, 4], false);
        assert!(exact.is_exact());
        assert_eq!(kept(&exact, &[&column], 6, &[0, 1, 2, 3, 4, 5]), [0, 1, 5]);
        assert_eq!(kept(&exact, &[&column], 6, &[1, 2, 4]), [1]);
        let with_nulls = filter(&[4], true);
        assert_eq!(kept(&with_nulls, &[&column], 6, &[0, 1, 2]), [1, 2]);
        let none = KeyFilterBuilder::new(0, vec![None], true).finish();
        assert_eq!(kept(&none, &[&column], 6, &[0, 1, 2]), [0u32; 0]);
    }

    #[test]
    fn a_sparse_domain_falls_back_to_its_range_and_hashes() {
        let builder = KeyFilterBuilder::ranges_only(2, vec![Some((i64::MIN, 4))], false);
        let ranged = builder.finish();
        assert!(!ranged.is_exact());
        let column = ints(vec![Some(5), None, Some(4), Some(-9)]);
        assert_eq!(kept(&ranged, &[&column], 4, &[0, 1, 2, 3]), [2, 3]);
        let keys = [i64::MIN, 4, i64::MAX];
        let builder = KeyFilterBuilder::new(3, vec![Some((i64::MIN, i64::MAX))], false);
        assert!(builder.takes_hashes() && !builder.takes_ordinals());
        let mut hashes = Vec::new();
        let key_column = ints(keys.map(Some).to_vec());
        KeyHasher::new().hash(&[&key_column], &[0, 1, 2], &mut hashes).expect("hashes");
        builder.add_hashes(&hashes);
        let bloom = builder.finish();
        let probe = ints([5, 4, 6, i64::MIN].map(Some).to_vec());
        let found = kept(&bloom, &[&probe], 4, &[0, 1, 2, 3]);
        assert!(found.contains(&1) && found.contains(&3));
        let many: Vec<_> = (1000..3000).map(Some).collect();
        let live: Vec<u32> = (0..2000).collect();
        assert!(kept(&bloom, &[&ints(many)], 2000, &live).len() < 400);
    }

    #[test]
    fn several_keys_are_narrowed_by_each_range() {
        let ranges = vec![Some((1, 2)), None];
        let builder = KeyFilterBuilder::ranges_only(2, ranges, false);
        let filter = builder.finish();
        let first: ArrayRef = Arc::new(Int32Array::from(vec![0, 1, 2, 3]));
        let first = Column::flat(DataType::Int32, first);
        let second = Column::null(DataType::Utf8View);
        assert_eq!(kept(&filter, &[&first, &second], 4, &[0, 1, 2, 3]), [1, 2]);
        let mut scratch = NarrowScratch::default();
        assert!(filter.narrow(&[&first], 4, None, &mut scratch).is_err());
    }

    #[test]
    fn a_filter_that_keeps_all_pauses_and_one_that_is_not_there_keeps_all() {
        let slot = KeyFilterSlot::default();
        let mut probe = KeyFilterProbe::new(slot.clone(), vec![0]);
        let rows = JUDGED_AFTER_ROWS;
        let column = ints((0..rows as i64).map(Some).collect());
        let chunk = Chunk::new(vec![column], rows, Place::default());
        assert_eq!(probe.apply(chunk.clone()).expect("applies").live_rows(), rows);
        slot.publish(filter(&(0..rows as i64 - 1).collect::<Vec<_>>(), false), ());
        assert_eq!(probe.apply(chunk.clone()).expect("applies").live_rows(), rows - 1);
        for _ in 0..PAUSE_ROWS.0 / rows {
            assert_eq!(probe.apply(chunk.clone()).expect("applies").live_rows(), rows, "paused");
        }
        assert_eq!(probe.apply(chunk).expect("applies").live_rows(), rows - 1, "tried again");
    }
}
