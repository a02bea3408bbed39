//! Which lane of the first level a row goes to.
//!
//! * **By hash** of all its keys; so do rows of all further levels.
//! * **By band**: the ordinals of one key are cut into bands of consecutive ones, which are dealt
//!   out to the lanes in turn. Rows in the order of the key then go to few lanes at a time. And
//!   when the bits that say the lane are left out, its ordinals are as dense as those of the whole
//!   input, so that tables of lanes have slots where a table of all rows would (`dense`): their
//!   keys are neither hashed nor compared.
//!
//! Whoever moves rows out of memory first decides for all of the join, by the rows that it has: see
//! [`LaneBy::choose`]. Lanes that turn out too large are divided by hash.

use super::lanes::{LANE_BITS, LANES, lane_of};
use super::shape::{Shape, missing_key};
use super::store::{Run, merged_ranges};
use crate::batch::{CHUNK_ROWS, Column, KeyHasher, Ordinals, Selection};
use crate::error::Result;
use crate::memory::rows::{RowPages, RowRef};

/// Bits of the ordinals in a band, at most: about the rows of a chunk where all of them occur.
const BAND_BITS_MAX: u32 = 12;

/// Bands that the rows at hand have for each lane, at least.
const BANDS_PER_LANE: u64 = 8;

/// Ordinals for each row at hand up to which the rows that are to come may be dense.
const ORDINALS_PER_ROW: u64 = 4096;

/// Rows that say how evenly bands are filled; with fewer there are no bands.
const ROWS_MIN: usize = 4096;

/// Rows that are looked at, about.
const ROWS_LOOKED_AT: usize = 64 << 10;

/// What rows are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneBy {
    Hash,
    Band(Bands),
}

/// Bands of consecutive ordinals of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bands {
    /// Which of the keys.
    key: usize,
    /// Bits of an ordinal that say where in its band it is; the next [`LANE_BITS`] say the lane.
    bits: u32,
}

impl Bands {
    /// Bands of `1 << bits` ordinals of key number `key`.
    pub(super) fn new(key: usize, bits: u32) -> Self {
        Bands { key, bits }
    }

    fn lane(self, ordinal: i64) -> usize {
        (ordinal >> self.bits) as usize % LANES
    }

    /// The lanes of rows with these ordinals. Those without one, NULLs as well, are all in the
    /// first lane.
    fn lanes(self, ordinals: &Ordinals, lanes: &mut Vec<u8>) {
        lanes.clear();
        lanes.extend(ordinals.values.iter().map(|&ordinal| self.lane(ordinal) as u8));
        ordinals.nulls.iter().chain(&ordinals.beyond).for_each(|&row| lanes[row as usize] = 0);
    }

    /// The ordinal without the bits that say the lane. Of ordinals of one lane, what was equal,
    /// less or greater stays so.
    pub(super) fn folded(self, ordinal: i64) -> i64 {
        let within = (1i64 << self.bits) - 1;
        ordinal >> (self.bits + LANE_BITS) << self.bits | ordinal & within
    }

    /// Which of the keys.
    pub(super) fn key(self) -> usize {
        self.key
    }
}

impl LaneBy {
    /// By band, when some build rows say that the keys are dense enough for slots and the lanes
    /// would be about as full as each other. The key is the one with the widest range.
    ///
    /// # Errors
    /// `Internal` when the rows are not what the shape says.
    pub(super) fn choose(shape: &Shape, pages: &RowPages, runs: &[Run]) -> Result<Self> {
        let rows = pages.rows();
        if !shape.ordinals || rows < ROWS_MIN {
            return Ok(LaneBy::Hash);
        }
        let ranges = merged_ranges(runs, shape.build_keys.len()).into_iter().enumerate();
        let width = |(min, max): (i64, i64)| max.wrapping_sub(min) as u64;
        let widths = ranges.filter_map(|(key, range)| Some((width(range?), key)));
        let Some((width, key)) = widths.max() else { return Ok(LaneBy::Hash) };
        let most = width / (BANDS_PER_LANE * LANES as u64);
        if most == 0 || width / ORDINALS_PER_ROW > rows as u64 {
            return Ok(LaneBy::Hash);
        }
        let bands = Bands::new(key, most.ilog2().min(BAND_BITS_MAX));
        let even = bands.are_even(shape, pages, runs)?;
        Ok(if even { LaneBy::Band(bands) } else { LaneBy::Hash })
    }
}

impl Bands {
    /// Whether no lane would have more than twice its share of these rows.
    fn are_even(self, shape: &Shape, pages: &RowPages, runs: &[Run]) -> Result<bool> {
        let step = pages.rows().div_ceil(ROWS_LOOKED_AT);
        let (mut counts, mut looked_at) = ([0usize; LANES], 0);
        let (mut ordinals, mut lanes) = (Ordinals::default(), Vec::new());
        for run in runs {
            run.each_batch(shape.layout.width(), CHUNK_ROWS, |rows| {
                let rows: Vec<RowRef> = rows.iter().copied().step_by(step).collect();
                ordinals.read(&shape.key(pages, self.key, &rows)?, rows.len(), None)?;
                self.lanes(&ordinals, &mut lanes);
                lanes.iter().for_each(|&lane| counts[usize::from(lane)] += 1);
                looked_at += rows.len();
                Ok(())
            })?;
        }
        Ok(counts.iter().all(|&count| count * LANES <= 2 * looked_at))
    }
}

/// Tells rows their lanes of the first level.
#[derive(Default)]
pub(super) struct LaneKeys {
    hasher: KeyHasher,
    hashes: Vec<u64>,
    ordinals: Ordinals,
    lanes: Vec<u8>,
}

impl LaneKeys {
    /// Finds the lanes of stored build rows.
    ///
    /// # Errors
    /// `Internal` when the rows are not what the shape says.
    pub(super) fn of_stored(
        &mut self,
        by: LaneBy,
        shape: &Shape,
        pages: &RowPages,
        rows: &[RowRef],
    ) -> Result<()> {
        match by {
            LaneBy::Hash => {
                shape.hash(pages, rows, &mut self.hasher, &mut self.hashes)?;
                self.by_hash();
            }
            LaneBy::Band(bands) => {
                let key = shape.key(pages, bands.key, rows)?;
                self.by_band(bands, &key, rows.len(), None)?;
            }
        }
        Ok(())
    }

    /// Finds the lanes of the rows at these physical positions, which increase, of key columns.
    ///
    /// # Errors
    /// As [`LaneKeys::of_stored`].
    pub(super) fn of_columns(&mut self, by: LaneBy, keys: &[&Column], rows: &[u32]) -> Result<()> {
        match by {
            LaneBy::Hash => {
                self.hasher.hash(keys, rows, &mut self.hashes)?;
                self.by_hash();
            }
            LaneBy::Band(bands) => {
                let key = keys.get(bands.key).ok_or_else(missing_key)?;
                let live = Selection::new(rows.to_vec());
                self.by_band(bands, key, rows.len(), Some(&live))?;
            }
        }
        Ok(())
    }

    /// The lane of each row.
    pub(super) fn lanes(&self) -> &[u8] {
        &self.lanes
    }

    /// The hash of each row, where the lanes go by hash.
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    fn by_hash(&mut self) {
        self.lanes.clear();
        self.lanes.extend(self.hashes.iter().map(|&hash| lane_of(hash, 0)));
    }

    fn by_band(
        &mut self,
        bands: Bands,
        key: &Column,
        rows: usize,
        live: Option<&Selection>,
    ) -> Result<()> {
        self.ordinals.read(key, rows, live)?;
        bands.lanes(&self.ordinals, &mut self.lanes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_keeps_the_order_within_a_lane_and_leaves_no_gaps() {
        for bands in [Bands::new(0, 0), Bands::new(1, 3), Bands::new(0, 12)] {
            let ends = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
            let near: Vec<i64> = (-300_000..600_000).collect();
            for lane in 0..LANES {
                let own = |&ordinal: &i64| bands.lane(ordinal) == lane;
                let folded = |ordinals: &[i64]| -> Vec<i64> {
                    ordinals.iter().filter(|o| own(o)).map(|&o| bands.folded(o)).collect()
                };
                let near = folded(&near);
                assert!(near.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{bands:?} {lane}");
                let ends = folded(&ends);
                assert!(ends.windows(2).all(|pair| pair[0] < pair[1]), "{bands:?} {lane}");
            }
        }
    }

    #[test]
    fn rows_without_an_ordinal_are_all_in_one_lane() {
        let bands = Bands::new(0, 2);
        let values = vec![-1, 4, 5, 900, 3];
        let ordinals = Ordinals { values, nulls: vec![1], beyond: vec![3] };
        let mut lanes = Vec::new();
        bands.lanes(&ordinals, &mut lanes);
        assert_eq!(lanes, [63, 0, 1, 0, 0]);
    }
}
