//! The finished build side: a directory, and the rows it leads to.
//!
//! Small build sides have the columns that the output needs decoded into arrays once; chunks then
//! carry indices into them, and no value is copied for any match. Otherwise the columns are read
//! from the rows, for the rows that matched; where texts and lists make these large, for a part of
//! them at a time.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::dense::DenseDirectory;
use super::groups::{Entry, Groups, NONE, group_of};
use super::hashed::{Compare, HashDirectory, Search};
use super::shape::{Payload, Shape};
use super::store::Store;
use crate::batch::{Chunk, Column, Indices, KeyHasher, NULL_INDEX, Ordinals, Picked, pick};
use crate::error::{Error, Result};
use crate::expr::{WRITTEN_BYTES_MAX, count_within};
use crate::memory::Reservation;
use crate::memory::rows::{RowMarks, RowRef};

/// Bytes of rows up to which the output's columns are decoded once.
const DECODED_BYTES_MAX: usize = 8 << 20;

/// Where keys lead to rows.
#[derive(Debug)]
pub(super) enum Directory {
    Empty,
    Dense(DenseDirectory),
    Hashed(HashDirectory),
}

/// The build side of a join, to be probed.
#[derive(Debug)]
pub(super) struct Table {
    directory: Directory,
    groups_of_none: Groups,
    /// None when nothing of a row is needed any more.
    store: Option<Arc<Store>>,
    /// By stored column, the values of all rows by position.
    arrays: Vec<Option<ArrayRef>>,
    /// The rows that have had a match, by position, where that decides what comes out.
    marks: Option<RowMarks>,
    /// Dropped last, when what it is for is gone.
    _memory: Option<Reservation>,
}

impl Table {
    /// A build side without rows.
    pub(super) fn empty() -> Self {
        Table {
            directory: Directory::Empty,
            groups_of_none: Groups::default(),
            store: None,
            arrays: Vec::new(),
            marks: None,
            _memory: None,
        }
    }

    /// The table of these rows, which `memory` is charged with, and with marks for them.
    ///
    /// # Errors
    /// `Internal` when the rows are not what the shape says.
    pub(super) fn new(
        directory: Directory,
        store: Arc<Store>,
        shape: &Shape,
        mut memory: Reservation,
    ) -> Result<Self> {
        let mut arrays = vec![None; shape.stored.len()];
        let bytes = store.pages().bytes();
        // The scans of the probe side have no other way than the memory that is left to them.
        let leaves_enough = memory.bytes() + bytes <= memory.governor().free() / 2;
        let decodes = shape.reads_rows() && bytes <= DECODED_BYTES_MAX && leaves_enough;
        if decodes && memory.try_grow(bytes) {
            let rows: Vec<RowRef> = store.pages().refs().collect();
            let residual = shape.residual.iter().flat_map(|residual| &residual.build);
            for payload in shape.build_output.iter().chain(residual) {
                if let Some(array @ None) = arrays.get_mut(payload.stored) {
                    *array = Some(store.gather(payload.stored, &rows)?);
                }
            }
        }
        let marks = shape.kind.gives_build_rows().then(|| RowMarks::new(store.rows()));
        let is_hashed = matches!(directory, Directory::Hashed(_));
        let keeps_rows = shape.reads_rows() || marks.is_some() || is_hashed;
        let store = if keeps_rows {
            Some(store)
        } else {
            memory.shrink(bytes);
            None
        };
        let groups_of_none = Groups::default();
        let _memory = Some(memory);
        Ok(Table { directory, groups_of_none, store, arrays, marks, _memory })
    }

    /// Whether there is no build row.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.directory, Directory::Empty)
    }

    /// The rows of keys that have several.
    pub(super) fn groups(&self) -> &Groups {
        match &self.directory {
            Directory::Empty => &self.groups_of_none,
            Directory::Dense(directory) => &directory.groups,
            Directory::Hashed(directory) => &directory.groups,
        }
    }

    /// The rows, when they are marked.
    pub(super) fn marked_store(&self) -> Option<&Store> {
        self.store.as_deref().filter(|_| self.marks.is_some())
    }

    /// Notes that these build rows have a match; [`NONE`] is no row.
    pub(super) fn mark(&self, numbers: &[u32]) {
        let (Some(marks), Some(store)) = (&self.marks, &self.store) else { return };
        for &number in numbers.iter().filter(|&&number| number != NONE) {
            marks.set(store.position(number) as usize);
        }
    }

    /// Notes that all rows of these entries have a match.
    pub(super) fn mark_entries(&self, entries: &[Entry]) {
        let (Some(marks), Some(store)) = (&self.marks, &self.store) else { return };
        let groups = self.groups();
        for &entry in entries.iter().filter(|&&entry| entry != NONE) {
            let Some(group) = group_of(entry) else {
                marks.set(store.position(entry) as usize);
                continue;
            };
            // The first row of a group is marked last: it says that the others are.
            let rows = groups.rows(group);
            if !rows.first().is_some_and(|&first| marks.is_set(store.position(first) as usize)) {
                rows.iter().rev().for_each(|&row| marks.set(store.position(row) as usize));
            }
        }
    }

    /// Whether a build row has had a match.
    pub(super) fn is_marked(&self, number: u32) -> bool {
        let (Some(marks), Some(store)) = (&self.marks, &self.store) else { return false };
        marks.is_set(store.position(number) as usize)
    }

    fn store(&self) -> Result<&Store> {
        self.store.as_deref().ok_or_else(|| Error::internal("a join's rows are read after all"))
    }

    /// How many of the build rows with these numbers, from the first, take little memory as
    /// columns; at least one.
    pub(super) fn within(&self, payload: &[Payload], numbers: &[u32]) -> usize {
        let Some(store) = self.store.as_deref().filter(|_| !payload.is_empty()) else {
            return numbers.len();
        };
        let longest = store.pages().longest_heap().saturating_mul(numbers.len());
        if longest <= WRITTEN_BYTES_MAX || self.has_arrays(payload) {
            return numbers.len();
        }
        let bytes = numbers.iter().map(|&number| match number {
            NONE => 0,
            number => store.pages().stored_bytes(store.row(number)),
        });
        count_within(WRITTEN_BYTES_MAX, bytes).min(numbers.len())
    }

    /// Whether these columns have been decoded.
    fn has_arrays(&self, payload: &[Payload]) -> bool {
        payload.iter().all(|p| matches!(self.arrays.get(p.stored), Some(Some(_))))
    }

    /// The build rows with these numbers as columns; NULL for [`NONE`]. With `spread`, value `i` is
    /// put at the physical row `spread.0[i]` of `spread.1` rows, and the others are unspecified.
    ///
    /// # Errors
    /// `Internal` when the columns are not stored.
    pub(super) fn columns(
        &self,
        payload: &[Payload],
        numbers: &[u32],
        spread: Option<(&[u32], usize)>,
    ) -> Result<Vec<Column>> {
        if payload.is_empty() {
            return Ok(Vec::new());
        }
        if numbers.iter().all(|&number| number == NONE) {
            return Ok(payload.iter().map(|p| Column::null(p.logical.clone())).collect());
        }
        let store = self.store()?;
        if self.has_arrays(payload) {
            let position = |number| match number {
                NONE => NULL_INDEX,
                number => store.position(number),
            };
            let indices = Arc::new(spread_out(numbers.iter().map(|&n| position(n)), spread));
            let column = |p: &Payload| {
                let base = self.arrays.get(p.stored).cloned().flatten();
                let base = base.ok_or_else(|| Error::internal("a join's column is missing"))?;
                Ok(Column::indexed(p.logical.clone(), indices.clone(), base, None))
            };
            return payload.iter().map(column).collect();
        }
        let rows: Vec<RowRef> = numbers.iter().map(|&number| store.row(number)).collect();
        let indices = spread.map(|_| Arc::new(spread_out(0..numbers.len() as u32, spread)));
        let column = |p: &Payload| {
            let values = store.gather(p.stored, &rows)?;
            Ok(match &indices {
                None => Column::flat(p.logical.clone(), values),
                Some(i) => Column::indexed(p.logical.clone(), i.clone(), values, None),
            })
        };
        payload.iter().map(column).collect()
    }
}

/// Indices with each position where `spread` puts it.
fn spread_out(
    positions: impl ExactSizeIterator<Item = u32>,
    spread: Option<(&[u32], usize)>,
) -> Indices {
    match spread {
        None => Indices::with_nulls(positions.collect::<Vec<u32>>()),
        Some((rows, len)) => {
            let mut all = vec![0u32; len];
            rows.iter().zip(positions).for_each(|(&row, position)| all[row as usize] = position);
            Indices::with_nulls(all)
        }
    }
}

/// Buffers of a worker that looks keys up.
#[derive(Debug, Default)]
pub(super) struct LookUp {
    ordinals: Vec<Ordinals>,
    slots: Vec<u64>,
    hasher: KeyHasher,
    hashes: Vec<u64>,
    search: Search,
    refs: Vec<RowRef>,
}

impl LookUp {
    /// The entry of each live row of a chunk.
    ///
    /// # Errors
    /// `Internal` when the chunk does not have the key columns, or not of their types.
    pub(super) fn run(
        &mut self,
        table: &Table,
        shape: &Shape,
        chunk: &Chunk,
        entries: &mut Vec<Entry>,
    ) -> Result<()> {
        let keys = shape.probe_keys.iter().map(|&c| chunk.column(c));
        let keys: Vec<&Column> = keys.collect::<Result<_>>()?;
        match &table.directory {
            Directory::Empty => {
                entries.clear();
                entries.resize(chunk.live_rows(), NONE);
            }
            Directory::Dense(directory) => {
                self.ordinals.resize(keys.len(), Ordinals::default());
                for (ordinals, key) in self.ordinals.iter_mut().zip(&keys) {
                    ordinals.read(key, chunk.rows(), chunk.selection())?;
                }
                let rows = chunk.live_rows();
                directory.dimensions.locate(&self.ordinals, rows, &mut self.slots);
                directory.look_up(&self.slots, entries);
            }
            Directory::Hashed(directory) => {
                let live = chunk.live_positions();
                self.hasher.hash(&keys, live, &mut self.hashes)?;
                self.refs.clear();
                self.refs.resize(live.len(), RowRef::NONE);
                let keys = pick(keys.iter().copied(), live);
                let mut compare = ChunkKeys {
                    store: table.store()?,
                    keys: keys.iter().zip(0..).collect(),
                    refs: &mut self.refs,
                    nulls_match: shape.nulls_match,
                };
                directory.look_up(&self.hashes, entries, &mut self.search, &mut compare)?;
            }
        }
        Ok(())
    }
}

/// Compares the live rows of a chunk with stored rows.
struct ChunkKeys<'a> {
    store: &'a Store,
    keys: Vec<(&'a Picked<'a>, usize)>,
    refs: &'a mut [RowRef],
    nulls_match: bool,
}

impl Compare for ChunkKeys<'_> {
    fn keep_equal(
        &mut self,
        rows: &[u32],
        candidates: &mut Vec<u32>,
        rejected: &mut Vec<u32>,
    ) -> Result<()> {
        for &candidate in &*candidates {
            self.refs[candidate as usize] = self.store.row(rows[candidate as usize]);
        }
        let pages = self.store.pages();
        pages.split_equal(&self.keys, self.refs, self.nulls_match, candidates, rejected)
    }
}
