//! A run whose rows are in order by range, and within a range as they came.
//!
//! ```text
//! page = | words | packed row | words | packed row | …      rows of a range, in a form as on tape
//! ```
//!
//! Whoever wants rows in order takes those of a range, by entries, and sorts them. On tape the rows
//! are in order like those of any run.
//!
//! Invariant: no range has more than [`DistributedRun::rows_max`] rows, and the run's charge has
//! room for as many entries beside its pages: for writing it, or for the first who reads it.

use std::ops::Range;
use std::sync::Arc;

use super::Check;
use super::order::sort_entries;
use super::run::Entry;
use super::shape::{RunShape, Words};
use super::splitters::Splitters;
use super::tape_form::TapeForm;
use super::writer::{RunWriter, broken};
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::packed::{PackedRef, PackedRow};

/// Rows of one range, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: u32,
}

/// See the module documentation.
pub(super) struct DistributedRun {
    pub(super) shape: Arc<RunShape>,
    pub(super) splitters: Arc<Splitters>,
    pub(super) form: Box<TapeForm>,
    /// In the order of the ranges, then as they were filled.
    pub(super) pages: Vec<Page>,
    /// By range, its first page; and the number of pages.
    pub(super) starts: Vec<u32>,
    /// Rows of the range that has most.
    pub(super) rows_max: usize,
    pub(super) charge: Reservation,
}

impl DistributedRun {
    /// Bytes of entries for all rows of a range.
    pub(super) fn entries_bytes(&self) -> usize {
        self.rows_max * size_of::<Entry>()
    }

    /// The room for entries, for a reader, whose minimum it becomes.
    pub(super) fn take_room(&mut self) -> Reservation {
        self.charge.cede(self.entries_bytes())
    }

    /// The first row of every range that has some, by the words that the range begins with; and the
    /// rows of the range.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (Words, u64)> {
        let rows = |(range, bounds): (usize, &[u32])| {
            let before = range.checked_sub(1).and_then(|at| self.splitters.words().get(at));
            let pages = self.pages.get(bounds[0] as usize..bounds[1] as usize).unwrap_or(&[]);
            (before.copied().unwrap_or(0), pages.iter().map(|page| u64::from(page.rows)).sum())
        };
        self.starts.windows(2).enumerate().map(rows).filter(|&(_, rows)| rows > 0)
    }

    /// The pages that rows from `from` on and before `to` may be in.
    pub(super) fn pages_between(&self, from: Option<Words>, to: Option<Words>) -> Range<usize> {
        let words = self.splitters.words();
        let first = from.map_or(0, |from| self.splitters.range_of(from));
        let end = to.map_or(words.len(), |to| words.partition_point(|&splitter| splitter < to));
        let start = |range: usize| self.starts.get(range).map_or(0, |&page| page as usize);
        start(first)..start(end + 1).max(start(first))
    }

    /// A row.
    #[inline]
    pub(super) fn row(&self, at: PackedRef) -> PackedRow<'_> {
        PackedRow::at(&self.pages[at.page()].bytes, at.offset(), &self.form.row)
    }

    /// Puts entries for the rows from `from` on and before `to` into `entries`, in order.
    pub(super) fn sorted(
        &self,
        from: Option<Words>,
        to: Option<Words>,
        entries: &mut Vec<Entry>,
    ) -> Result<()> {
        entries.clear();
        for number in self.pages_between(from, to) {
            self.pages[number].each_row(&self.form, |words, offset| {
                if from.is_none_or(|from| words >= from) && to.is_none_or(|to| words < to) {
                    entries.push(Entry::new(words, PackedRef::new(number, offset)));
                }
            })?;
        }
        sort_entries(entries, &|a, b| {
            let rest = || match self.shape.may_differ(a.words()) {
                true => self.shape.compare_rest(&self.row(a.row), &self.row(b.row)),
                false => std::cmp::Ordering::Equal,
            };
            a.words().cmp(&b.words()).then_with(rest).then(a.row.cmp(&b.row))
        });
        Ok(())
    }

    /// Adds all rows in order to a run of the same form. The entries are in the run's own room.
    pub(super) fn write(&self, writer: &mut RunWriter, check: Check<'_>) -> Result<()> {
        let mut entries = Vec::with_capacity(self.rows_max);
        for range in 0..self.splitters.ranges() {
            check()?;
            let before = range.checked_sub(1).map(|at| self.splitters.words()[at]);
            self.sorted(before, self.splitters.words().get(range).copied(), &mut entries)?;
            for entry in &entries {
                let row = self.row(entry.row);
                writer.push(entry.words(), &row, row.mark())?;
            }
        }
        Ok(())
    }
}

impl Page {
    /// Calls `row` with the words of each row, and where the row is.
    #[inline]
    pub(super) fn each_row(
        &self,
        form: &TapeForm,
        mut row: impl FnMut(Words, usize),
    ) -> Result<()> {
        let mut end = 0;
        for _ in 0..self.rows {
            let words = self.bytes.get(end..).and_then(|rest| form.words.take(rest));
            let start = end + form.words.bytes();
            row(words.ok_or_else(broken)?, start);
            end = start + PackedRow::at(&self.bytes, start, &form.row).bytes().len();
        }
        Ok(())
    }
}
