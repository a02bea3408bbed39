//! The source of a sort whose rows are folded group by group: a merger per worker, a range of keys
//! a morsel. No group is in two ranges.
//!
//! A group that some call has to read twice (see `ranks`) is left open at its end: the merger goes
//! back to the begin of the range, passes over the rows before the group, shows the group's rows
//! again, and goes on behind them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef};
use arrow::compute::{concat, partition};
use arrow::datatypes::DataType;

use super::SortAggregate;
use super::folds::{Fold, Values};
use super::picks::Picks;
use crate::batch::{CHUNK_ROWS, Charge, Chunk, Column, Place, physical_type, with_float_keys};
use crate::error::{Error, Result};
use crate::memory::runs::{Merged, Merger, SortReader, Sorting};
use crate::memory::{Bytes, Reservation};
use crate::pipeline::{Context, Pull, Source, SourceWorker};

/// Arrays that results may hold on to before they are given out.
const ARRAYS_MAX: usize = 64;

/// Bytes of text, the same.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Bytes of a column of results from on which its charge goes with it.
const LARGE_BYTES: usize = 1 << 20;

/// What a worker may hold at any rate, so that groups of a few batches need not be read twice.
pub(super) const HELD_BYTES_MIN: usize = 512 << 10;

/// Gives a row for each group.
pub(super) struct GroupSource {
    sorting: Arc<Sorting>,
    next_range: Arc<AtomicUsize>,
    spec: Arc<SortAggregate>,
    /// Logical types of the results.
    types: Vec<DataType>,
}

impl GroupSource {
    pub(super) fn new(
        sorting: Arc<Sorting>,
        spec: Arc<SortAggregate>,
        types: Vec<DataType>,
    ) -> Self {
        GroupSource { sorting, next_range: Arc::default(), spec, types }
    }
}

impl Source for GroupSource {
    fn name(&self) -> &str {
        self.sorting.name()
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        let SortReader { merger, ranges, memory } =
            self.sorting.reader(cx.memory(), &|| cx.check())?;
        let groups = Groups::new(self.spec.clone(), self.sorting.types(), memory)?;
        let work = Some(Work { merger, ranges, range: None, groups });
        let next_range = self.next_range.clone();
        Ok(Box::new(GroupWorker { next_range, work, types: self.types.clone() }))
    }

    fn parallelism(&self) -> usize {
        self.sorting.parallelism()
    }

    fn reset(&self) -> Result<()> {
        self.next_range.store(0, Ordering::Relaxed);
        Ok(())
    }
}

struct GroupWorker {
    next_range: Arc<AtomicUsize>,
    /// `None` when there is nothing (more) to do.
    work: Option<Work>,
    types: Vec<DataType>,
}

struct Work {
    merger: Merger,
    ranges: usize,
    /// The range the merger is at.
    range: Option<usize>,
    groups: Groups,
}

impl SourceWorker for GroupWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        loop {
            cx.check()?;
            let Some(work) = &mut self.work else { return Ok(Pull::Finished) };
            let Some(range) = work.range else {
                let range = self.next_range.fetch_add(1, Ordering::Relaxed);
                if range >= work.ranges {
                    self.work = None;
                    return Ok(Pull::Finished);
                }
                work.merger.start(range, &|| cx.check())?;
                work.groups.begin();
                work.range = Some(range);
                return Ok(Pull::Morsel(range as u64));
            };
            if let Some((columns, rows)) = work.step(range, cx)? {
                let columns = columns.into_iter().zip(&self.types);
                let columns = columns.map(|((array, charge), logical)| {
                    Column::flat(logical.clone(), array).charged(charge)
                });
                let place = Place { morsel: range as u64, sequence: 0 };
                return Ok(Pull::Chunk(Chunk::new(columns.collect(), rows, place)));
            }
        }
    }
}

impl Work {
    /// Folds the next rows of the range, or ends it; the results that are ready.
    fn step(&mut self, range: usize, cx: &Context) -> Result<Option<(Results, usize)>> {
        let merged = self.merger.next_rows()?;
        let is_end = merged.is_none();
        let taken = match merged {
            Some(merged) => self.groups.take(merged)?,
            None => self.groups.end(range == 0)?,
        };
        if taken == Taken::Again {
            self.merger.start(range, &|| cx.check())?;
            return Ok(None);
        }
        if is_end {
            self.range = None;
        }
        self.groups.results(is_end)
    }
}

/// Columns of results, and what they are charged to.
type Results = Vec<(ArrayRef, Option<Charge>)>;

/// What became of some rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    All,
    /// The range has to be read again from its begin.
    Again,
}

/// What is done with the rows that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// They are folded into their groups.
    Fold,
    /// They are passed over, up to the first row of a group that is looked at again.
    Skip { from: u64, to: u64 },
    /// They are looked at again, up to the end of the group.
    Look { to: u64 },
}

/// One worker's groups.
struct Groups {
    spec: Arc<SortAggregate>,
    folds: Vec<Fold>,
    keys: Vec<Picks>,
    /// Results so far.
    rows: usize,
    pass: Pass,
    /// Number of the next row in the range.
    next: u64,
    /// Number of the open group's first row.
    open: Option<u64>,
    /// Its key: arrays, and the row in them.
    open_key: (Vec<ArrayRef>, usize),
    /// The key of the row before, as arrays of one value.
    last: Vec<ArrayRef>,
    /// Whether results are given out though they are few.
    is_short: bool,
    /// What the arrays are charged to that an open group holds on to.
    memory: Reservation,
}

impl Groups {
    fn new(spec: Arc<SortAggregate>, types: &[DataType], memory: Reservation) -> Result<Self> {
        let type_of = |column: usize| {
            types.get(column).ok_or_else(|| Error::internal(format!("no column {column}")))
        };
        let folds = spec.aggregates.iter().map(|call| Fold::new(call, type_of(call.argument)?));
        let keys = spec.keys.iter().map(|&key| Ok(Picks::new(&physical_type(type_of(key)?))));
        Ok(Groups {
            folds: folds.collect::<Result<_>>()?,
            keys: keys.collect::<Result<_>>()?,
            spec,
            rows: 0,
            pass: Pass::Fold,
            next: 0,
            open: None,
            open_key: (Vec::new(), 0),
            last: Vec::new(),
            is_short: false,
            memory,
        })
    }

    /// Begins a range.
    fn begin(&mut self) {
        self.pass = Pass::Fold;
        self.next = 0;
        self.open = None;
    }

    /// Takes the next rows of the range.
    fn take(&mut self, merged: Merged) -> Result<Taken> {
        let Merged { columns, rows } = merged;
        let values = self.spec.aggregates.iter().map(|call| Values::new(call, &columns));
        let values = values.collect::<Result<Vec<_>>>()?;
        let keys = self.spec.keys.iter().map(|&key| {
            let column = columns.get(key);
            with_float_keys(column.ok_or_else(|| Error::internal("a key that is no column"))?)
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let mut at = self.repeat(&values, rows)?;
        let runs = self.runs(&keys, rows)?;
        for run in runs {
            let run = at.max(run.start)..run.end;
            if run.is_empty() {
                continue;
            }
            let continues = run.start == 0 && self.continues(&keys)?;
            if !continues && self.open.is_some() && self.close()? == Taken::Again {
                return Ok(Taken::Again);
            }
            if self.open.is_none() {
                self.open = Some(self.next);
                self.open_key = (keys.clone(), run.start);
            }
            for (fold, values) in self.folds.iter_mut().zip(&values) {
                fold.rows(values, &run)?;
            }
            self.next += run.len() as u64;
            at = run.end;
        }
        self.last = keys.iter().map(|key| key.slice(rows - 1, 1)).collect();
        self.charge()?;
        Ok(Taken::All)
    }

    /// Passes over rows, or looks at them again; the first row that is to be folded.
    fn repeat(&mut self, values: &[Values], rows: usize) -> Result<usize> {
        let mut at = 0;
        while at < rows {
            let left = |until: u64, next: u64| {
                usize::try_from(until - next).unwrap_or(usize::MAX).min(rows - at)
            };
            match self.pass {
                Pass::Fold => break,
                Pass::Skip { from, to } => {
                    let count = left(from, self.next);
                    at += count;
                    self.next += count as u64;
                    if self.next == from {
                        self.pass = Pass::Look { to };
                    }
                }
                Pass::Look { to } => {
                    let count = left(to, self.next);
                    for (fold, values) in self.folds.iter_mut().zip(values) {
                        fold.look(values, &(at..at + count));
                    }
                    at += count;
                    self.next += count as u64;
                    if self.next == to {
                        self.finish_group()?;
                        self.pass = Pass::Fold;
                    }
                }
            }
        }
        Ok(at)
    }

    /// Rows with equal keys, side by side.
    fn runs(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<Range<usize>>> {
        match keys.is_empty() {
            true => Ok(std::iter::once(0..rows).collect()),
            false => Ok(partition(keys)?.ranges()),
        }
    }

    /// Whether the first of these rows is of the open group.
    fn continues(&self, keys: &[ArrayRef]) -> Result<bool> {
        if self.open.is_none() {
            return Ok(false);
        }
        if keys.is_empty() {
            return Ok(true);
        }
        let pairs = self.last.iter().zip(keys).map(|(last, key)| {
            let first = key.slice(0, 1);
            Ok(concat(&[last.as_ref(), first.as_ref()])?)
        });
        let pairs = pairs.collect::<Result<Vec<ArrayRef>>>()?;
        Ok(partition(&pairs)?.len() == 1)
    }

    /// Ends the range; the first one has the only group of an aggregate without keys.
    fn end(&mut self, is_first: bool) -> Result<Taken> {
        if self.open.is_some() {
            return self.close();
        }
        if is_first && self.spec.keys.is_empty() && self.next == 0 {
            self.finish_group()?;
        }
        Ok(Taken::All)
    }

    /// Closes the open group, unless it has to be read again.
    fn close(&mut self) -> Result<Taken> {
        let mut again = false;
        for ranks in self.folds.iter_mut().filter_map(Fold::ranks) {
            if ranks.has_forgotten() {
                ranks.begin_again();
                again = true;
            }
        }
        if !again {
            self.finish_group()?;
            return Ok(Taken::All);
        }
        let from = self.open.unwrap_or(0);
        self.pass = Pass::Skip { from, to: self.next };
        self.next = 0;
        Ok(Taken::Again)
    }

    fn finish_group(&mut self) -> Result<()> {
        self.folds.iter_mut().try_for_each(Fold::close)?;
        let (key, row) = std::mem::take(&mut self.open_key);
        self.keys.iter_mut().zip(&key).for_each(|(picks, key)| picks.push(key, row));
        self.open = None;
        self.rows += 1;
        Ok(())
    }

    /// Charges what the open group and the results hold on to. What ranks keep is let go when it
    /// is refused, and results are given out before the open group has to have room by itself.
    fn charge(&mut self) -> Result<()> {
        let keys: usize = self.keys.iter().map(Picks::bytes).sum();
        let held: usize = self.folds.iter_mut().map(Fold::held_bytes).sum();
        let more = (keys + held).saturating_sub(self.memory.bytes());
        if self.memory.try_grow(more) {
            return Ok(());
        }
        for ranks in self.folds.iter_mut().filter_map(Fold::ranks) {
            ranks.forget();
        }
        let held: usize = self.folds.iter_mut().map(Fold::held_bytes).sum();
        self.is_short = self.rows > 0;
        if self.is_short {
            return Ok(());
        }
        self.memory.resize_to(keys + held).map_err(|error| self.too_large(error))
    }

    /// The error for an open group whose result has no room.
    fn too_large(&mut self, error: Error) -> Error {
        let Error::OutOfMemory { who, asked_bytes, detail } = error else { return error };
        let folds = self.folds.iter_mut().zip(&self.spec.aggregates);
        let largest = folds.map(|(fold, call)| (fold.held_bytes(), call)).max_by_key(|f| f.0);
        let Some((bytes, call)) = largest else {
            return Error::OutOfMemory { who, asked_bytes, detail };
        };
        let bytes = Bytes(bytes as u64);
        let detail =
            format!("{call} of one group takes {bytes} so far and must have room; {detail}");
        Error::OutOfMemory { who, asked_bytes, detail }
    }

    fn arrays(&self) -> usize {
        self.folds.iter().map(Fold::arrays).chain(self.keys.iter().map(Picks::arrays)).sum()
    }

    /// The results so far, when they are enough, or all.
    fn results(&mut self, all: bool) -> Result<Option<(Results, usize)>> {
        let text: usize = self.folds.iter().map(Fold::text_bytes).sum();
        let enough =
            self.rows >= CHUNK_ROWS || self.arrays() >= ARRAYS_MAX || text >= TEXT_BYTES_MAX;
        let enough = std::mem::take(&mut self.is_short) || enough;
        if self.rows == 0 || !(all || enough) {
            return Ok(None);
        }
        let rows = std::mem::take(&mut self.rows);
        self.make_room(rows)?;
        let keys = self.keys.iter_mut().map(Picks::finish);
        let results = self.folds.iter_mut().map(Fold::finish);
        let columns = keys.chain(results).collect::<Result<Vec<_>>>()?;
        // What the open group holds stays charged; what it was refused, it asks for with its next
        // rows.
        let held: usize = self.folds.iter_mut().map(Fold::held_bytes).sum();
        let results = columns.into_iter().map(|column| {
            let charge = self.hand_over(column.get_array_memory_size(), held);
            (column, charge)
        });
        let results = results.collect();
        self.memory.shrink(self.memory.bytes().saturating_sub(held));
        Ok(Some((results, rows)))
    }

    /// The charge of a column of results, out of what is charged beyond what the open group holds.
    /// Few results are their taker's.
    fn hand_over(&mut self, bytes: usize, held: usize) -> Option<Charge> {
        if bytes <= LARGE_BYTES {
            return None;
        }
        self.memory.hand_over(bytes.min(self.memory.bytes().saturating_sub(held)))
    }

    /// Charges what making results of so many groups takes; that of one group must have room.
    fn make_room(&mut self, rows: usize) -> Result<()> {
        let keys: usize = self.keys.iter().map(Picks::bytes).sum();
        let last = self.folds.len().saturating_sub(1);
        let needed = self.folds.iter_mut().enumerate();
        let needed: usize = needed.map(|(number, fold)| fold.finishing_bytes(number == last)).sum();
        let more = (keys + needed).saturating_sub(self.memory.bytes());
        if keys + needed <= LARGE_BYTES || self.memory.try_grow(more) || rows > 1 {
            return Ok(());
        }
        self.memory.grow(more).map_err(|error| self.too_large(error))
    }
}

#[cfg(test)]
mod tests;
