//! All rows of one range of all runs, put in order at once.
//!
//! Merging looks at many runs for every row, and waits for memory at each of them. Where there is
//! room for the rows of a range, they are copied side by side, run after run, and sorted by their
//! words in the cache; what the runs know of the order is used no more than that rows with equal
//! words are in order within a run. A range that has no room is merged instead.
//!
//! Memory: the rows and an entry for each, charged in steps and kept for the next range; at most
//! a [`GATHER_SHARE`]th of the budget, and [`GATHER_BYTES_MAX`].

use std::cmp::Ordering;

use super::Check;
use super::cursor::Cursor;
use super::distributed::DistributedRun;
use super::order::sort_entries;
use super::run::{Body, Entry, Run};
use super::set::RunSet;
use super::shape::Words;
use super::tape_form::TapeForm;
use super::writer::broken;
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::packed::PackedRow;

/// Which part of the budget one merger may take for a range.
const GATHER_SHARE: usize = 8;

/// Below this, what a merger may take has room for too few rows to be tried.
const GATHER_BYTES_MIN: usize = 2 << 20;

/// More than this is in no cache.
const GATHER_BYTES_MAX: usize = 32 << 20;

/// Rows of one range in order; see the module documentation.
#[derive(Default)]
pub(super) struct Gathered {
    /// Rows, with words and without, each in the form of its run.
    bytes: Vec<u8>,
    /// By row, the run it is of and where it is in `bytes`.
    entries: Vec<Entry<At>>,
    /// Entries that have been taken.
    taken: usize,
}

#[derive(Debug, Clone, Copy)]
struct At {
    run: u32,
    offset: u32,
}

impl Gathered {
    /// Takes all rows of a range of the set in, whose runs the cursors are of, and sorts them;
    /// false when they have no room, and then nothing is kept.
    ///
    /// # Errors
    /// `Io` when a tape cannot be read, and what `check` reports.
    pub(super) fn fill(
        &mut self,
        set: &RunSet,
        cursors: &mut [Cursor],
        range: usize,
        memory: &mut Reservation,
        check: Check<'_>,
    ) -> Result<bool> {
        self.restart();
        let most = (memory.governor().limit() / GATHER_SHARE).min(GATHER_BYTES_MAX);
        if most < GATHER_BYTES_MIN || memory.pressed() {
            self.free(memory);
            return Ok(false);
        }
        let (from, to) = set.bounds(range);
        for (run, cursor) in cursors.iter_mut().enumerate() {
            check()?;
            let mut copy = Copy { to: self, memory, most, run: run as u32, bounds: (from, to) };
            let fits = match &set.runs[run].body {
                Body::Memory(_) => copy.scattered(&set.runs[run]),
                Body::Distributed(run) => copy.distributed(run)?,
                Body::Blocks(_) | Body::Tape(_) => {
                    let form = set.runs[run].body.tape_form().ok_or_else(broken)?;
                    let cuts = set.cuts(run, range);
                    cursor.blocks(from, cuts, |rows, block| copy.block(form, rows, block))?
                }
            };
            if !fits {
                self.free(memory);
                return Ok(false);
            }
        }
        let Gathered { bytes, entries, .. } = self;
        sort_entries(entries, &|a, b| order(set, bytes, a, b));
        Ok(true)
    }

    /// Before a range.
    pub(super) fn restart(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.taken = 0;
    }

    /// The rows that have not been taken.
    pub(super) fn left<'a>(&'a self, set: &'a RunSet) -> impl Iterator<Item = PackedRow<'a>> {
        self.entries[self.taken..].iter().map(|entry| row_at(set, &self.bytes, entry.row))
    }

    /// The first so many rows have been taken.
    pub(super) fn take(&mut self, rows: usize) {
        self.taken += rows;
    }

    fn held(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry<At>>()
    }

    fn free(&mut self, memory: &mut Reservation) {
        memory.shrink(self.held());
        *self = Gathered::default();
    }
}

fn row_at<'a>(set: &'a RunSet, bytes: &'a [u8], at: At) -> PackedRow<'a> {
    PackedRow::at(bytes, at.offset as usize, set.runs[at.run as usize].row_form())
}

/// The order of two rows: that of a merge.
fn order(set: &RunSet, bytes: &[u8], a: &Entry<At>, b: &Entry<At>) -> Ordering {
    let in_order = || a.row.run == b.row.run && set.runs[a.row.run as usize].is_in_order();
    a.words().cmp(&b.words()).then_with(|| match in_order() {
        true => a.row.offset.cmp(&b.row.offset),
        false => order_among_equals(set, bytes, a, b),
    })
}

#[cold]
fn order_among_equals(set: &RunSet, bytes: &[u8], a: &Entry<At>, b: &Entry<At>) -> Ordering {
    let (row_a, row_b) = (row_at(set, bytes, a.row), row_at(set, bytes, b.row));
    let rest = match set.shape().may_differ(a.words()) {
        true => set.shape().compare_rest(&row_a, &row_b),
        false => Ordering::Equal,
    };
    let (run_a, run_b) = (&set.runs[a.row.run as usize], &set.runs[b.row.run as usize]);
    let arrival_a = (run_a.base + row_a.mark(), run_a.number);
    rest.then_with(|| arrival_a.cmp(&(run_b.base + row_b.mark(), run_b.number)))
        .then(a.row.offset.cmp(&b.row.offset))
}

/// Copies the rows of one run that are in a range.
struct Copy<'a> {
    to: &'a mut Gathered,
    memory: &'a mut Reservation,
    most: usize,
    run: u32,
    bounds: (Option<Words>, Option<Words>),
}

impl Copy<'_> {
    /// Takes what is of the range of a block; false when there is no room for it.
    fn block(&mut self, form: &TapeForm, rows: u32, block: &[u8]) -> Result<Taken> {
        if !self.make_room(block.len(), rows as usize) {
            return Ok(Taken::NoRoom);
        }
        let (from, to) = (self.bounds.0.unwrap_or(0), self.bounds.1);
        let base = self.to.bytes.len();
        let mut end = 0;
        let mut taken = Taken::Whole;
        for _ in 0..rows {
            let words = block.get(end..).and_then(|rest| form.words.take(rest));
            let words = words.ok_or_else(broken)?;
            if to.is_some_and(|to| words >= to) {
                taken = Taken::Part;
                break;
            }
            let start = end + form.words.bytes();
            if words >= from {
                let offset = (base + start) as u32;
                self.to.entries.push(Entry::new(words, At { run: self.run, offset }));
            }
            end = start + PackedRow::at(block, start, &form.row).bytes().len();
        }
        self.to.bytes.extend_from_slice(&block[..end]);
        Ok(taken)
    }

    /// Takes the rows of the ranges of a distributed run; false when there is no room for them.
    fn distributed(&mut self, run: &DistributedRun) -> Result<bool> {
        let (from, to) = (self.bounds.0.unwrap_or(0), self.bounds.1);
        for page in &run.pages[run.pages_between(self.bounds.0, to)] {
            if !self.make_room(page.bytes.len(), page.rows as usize) {
                return Ok(false);
            }
            let (base, number) = (self.to.bytes.len(), self.run);
            page.each_row(&run.form, |words, start| {
                if words >= from && to.is_none_or(|to| words < to) {
                    let at = At { run: number, offset: (base + start) as u32 };
                    self.to.entries.push(Entry::new(words, at));
                }
            })?;
            self.to.bytes.extend_from_slice(&page.bytes);
        }
        Ok(true)
    }

    /// Takes the rows of a run that are all over its pages; false when there is no room for them.
    fn scattered(&mut self, run: &Run) -> bool {
        let Body::Memory(run) = &run.body else { return false };
        let index = |words| run.entries.partition_point(|entry| entry.words() < words);
        let (from, to) = (self.bounds.0.map_or(0, index), self.bounds.1.map(index));
        let (mut next, end) = (from, to.unwrap_or(run.entries.len()));
        while next < end {
            let touched = run.touch(next).min(end);
            let entries = &run.entries[next..touched];
            let bytes = |entry: &Entry| run.pages.row(entry.row).bytes();
            if !self.make_room(entries.iter().map(|e| bytes(e).len()).sum(), entries.len()) {
                return false;
            }
            for entry in entries {
                let offset = self.to.bytes.len() as u32;
                self.to.bytes.extend_from_slice(bytes(entry));
                self.to.entries.push(Entry::new(entry.words(), At { run: self.run, offset }));
            }
            next = touched;
        }
        true
    }

    /// Makes room for so many more bytes and rows.
    fn make_room(&mut self, bytes: usize, rows: usize) -> bool {
        let grown = |len: usize, capacity: usize, more: usize| match len + more > capacity {
            true => (len + more).max(capacity + capacity / 2),
            false => capacity,
        };
        let to = &mut *self.to;
        let bytes = grown(to.bytes.len(), to.bytes.capacity(), bytes);
        let rows = grown(to.entries.len(), to.entries.capacity(), rows);
        let (before, after) = (to.held(), bytes + rows * size_of::<Entry<At>>());
        if after == before {
            return true;
        }
        // Both are there while what is held is moved.
        if after > self.most || !self.memory.try_grow(after) {
            return false;
        }
        to.bytes.reserve_exact(bytes - to.bytes.len());
        to.entries.reserve_exact(rows - to.entries.len());
        self.memory.shrink(before);
        true
    }
}

/// What has been taken of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// All that was wanted of it; more may be in the next.
    Whole,
    /// Rows before one that is not wanted, nor any behind it.
    Part,
    /// There was no room.
    NoRoom,
}
