//! Brings rows straight to the ranges they belong to, without sorting them.
//!
//! Where memory is plenty, sorting a buffer to form a run only serves to have rows of one range
//! side by side when ranges are merged. Once there are splitters (see `splitters`), a row is
//! appended to the page of its range instead, and ranges are sorted when they are read.
//!
//! Phases: rows are added until the distribution ends, and then it is a run (see `distributed`). It
//! ends when
//! * all rows have come;
//! * memory is refused or pressed: the run is written like others, in order;
//! * a range has too many rows, because the splitters do not fit the rows that come now, or one
//!   group is large: the builder forms sorted runs from then on;
//! * there are enough rows for a run, or rows do not fit the form of those before them: another
//!   distribution begins, with a form that they fit.
//!
//! Rows are in the form that rows have on tape, which has to be known before all rows are: integers
//! have as many bytes as those before them needed, and rows that are beyond what these bytes hold
//! need one more. So there are few forms, whatever the order of the rows.
//!
//! Memory: pages, and room for the entries of the range that has most rows, are charged to the
//! builder's reservation, and go with the run.

use std::sync::Arc;

use super::distributed::{DistributedRun, Page};
use super::run::{Body, Entry, Run};
use super::shape::{RunShape, Words};
use super::splitters::{DistributionPlan, Splitters};
use super::tape_form::TapeForm;
use crate::memory::Reservation;
use crate::memory::rows::packed::{ColumnFacts, PackedForm, PackedPages, PackedRef};

/// A page, unless a row is larger.
const PAGE_BYTES: usize = 8 << 10;

/// The fewest bytes of a row.
const ROW_BYTES_MIN: usize = 4;

/// Bytes that copying a row writes beyond its end.
const COPY_SLACK: usize = 8;

/// A range with so many times the rows of a usual one shows that the splitters do not fit.
const LOPSIDED: usize = 8;

/// Rows being distributed; see the module documentation.
pub(super) struct Distribution {
    shape: Arc<RunShape>,
    plan: DistributionPlan,
    splitters: Arc<Splitters>,
    form: TapeForm,
    /// By column, the values that the form has room for.
    room: Vec<ColumnFacts>,
    /// By column, what was stored.
    facts: Vec<ColumnFacts>,
    /// What marks are relative to.
    pub(super) base: u64,
    ranges: Vec<RangePages>,
    rows: usize,
    bytes: u64,
    /// Bytes that are charged.
    held: usize,
}

#[derive(Default)]
struct RangePages {
    /// The page that rows are appended to.
    page: Page,
    full: Vec<Page>,
    /// Rows of the full pages.
    rows: usize,
}

/// What became of some rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distributed {
    All,
    /// So many were added before memory was refused.
    Refused(usize),
    /// So many were added before a range had too many.
    Full(usize),
}

impl Distribution {
    /// A distribution of rows that are like those of `run`; `None` where memory is refused.
    pub(super) fn like(
        run: &Run,
        shape: &Arc<RunShape>,
        plan: &DistributionPlan,
        splitters: Arc<Splitters>,
        memory: &mut Reservation,
    ) -> Option<Self> {
        let room: Vec<ColumnFacts> = run.facts.iter().map(ColumnFacts::with_room).collect();
        let row = PackedForm::narrow(shape.layout(), &room);
        let form = TapeForm { words: run.words_form(), row };
        Distribution::new(shape.clone(), plan.clone(), splitters, form, room, memory)
    }

    /// The next one, with a form that these rows fit as well.
    pub(super) fn next(
        &self,
        words: &[Words],
        facts: &[ColumnFacts],
        memory: &mut Reservation,
    ) -> Option<Self> {
        let mut room = self.room.clone();
        for (room, facts) in room.iter_mut().zip(facts) {
            if !room.has(facts) {
                room.include(facts);
                *room = room.with_room();
            }
        }
        let row = PackedForm::narrow(self.shape.layout(), &room);
        let form = TapeForm { words: self.form.words.with(words), row };
        let (shape, splitters) = (self.shape.clone(), self.splitters.clone());
        Distribution::new(shape, self.plan.clone(), splitters, form, room, memory)
    }

    fn new(
        shape: Arc<RunShape>,
        plan: DistributionPlan,
        splitters: Arc<Splitters>,
        form: TapeForm,
        room: Vec<ColumnFacts>,
        memory: &mut Reservation,
    ) -> Option<Self> {
        // A range is found to be full when a page is.
        let rows_max = plan.range_rows_max + PAGE_BYTES / ROW_BYTES_MIN;
        let table = splitters.ranges() * (size_of::<RangePages>() + size_of::<u32>());
        let held = table + rows_max * size_of::<Entry>();
        if !memory.try_grow(held) {
            return None;
        }
        Some(Distribution {
            facts: vec![ColumnFacts::none(); room.len()],
            ranges: (0..splitters.ranges()).map(|_| RangePages::default()).collect(),
            shape,
            plan,
            splitters,
            form,
            room,
            base: 0,
            rows: 0,
            bytes: 0,
            held,
        })
    }

    /// Bytes that are charged.
    pub(super) fn held_bytes(&self) -> usize {
        self.held
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether there are enough rows for a run.
    pub(super) fn is_large(&self) -> bool {
        self.bytes >= self.plan.run_bytes
    }

    /// Whether the form has room for rows like these.
    pub(super) fn fits(&self, words: &[Words], facts: &[ColumnFacts]) -> bool {
        let layout = self.shape.layout();
        let fits = |(column, (room, facts)): (usize, (&ColumnFacts, &ColumnFacts))| {
            !layout.is_narrowed(column) || room.has(facts)
        };
        self.form.words.has(words) && self.room.iter().zip(facts).enumerate().all(fits)
    }

    /// Whether most rows are in few ranges.
    pub(super) fn is_lopsided(&self) -> bool {
        let most = self.ranges.iter().map(RangePages::rows).max().unwrap_or(0);
        self.rows < most * self.ranges.len() / LOPSIDED
    }

    /// Adds rows, which fit the form, with this mark.
    pub(super) fn push(
        &mut self,
        words: &[Words],
        refs: &[PackedRef],
        pages: &PackedPages,
        mark: u64,
        memory: &mut Reservation,
    ) -> Distributed {
        self.facts.iter_mut().zip(pages.facts()).for_each(|(own, new)| own.include(new));
        let layout = self.shape.layout();
        let Distribution { form, splitters, ranges, .. } = self;
        let words_bytes = form.words.bytes();
        for (number, (&words, &at)) in words.iter().zip(refs).enumerate() {
            let row = pages.row(at);
            let range = &mut ranges[splitters.range_of(words)];
            let row_bytes = row.bytes_as(&form.row, mark);
            let len = words_bytes + row_bytes;
            let bytes = &range.page.bytes;
            if bytes.capacity() - bytes.len() < len + COPY_SLACK {
                if range.rows() >= self.plan.range_rows_max {
                    return Distributed::Full(number);
                }
                match range.next_page(len, memory) {
                    Some(more) => self.held += more,
                    None => return Distributed::Refused(number),
                }
            }
            let page = &mut range.page;
            form.words.put(words, &mut page.bytes);
            row.copy_as(layout, &form.row, mark, &mut page.bytes);
            page.rows += 1;
            self.rows += 1;
            self.bytes += row_bytes as u64;
        }
        Distributed::All
    }

    /// The run of all rows, of this number; its bytes are taken from `memory`.
    pub(super) fn finish(self, number: u64, memory: &mut Reservation) -> Run {
        let rows_max = self.ranges.iter().map(RangePages::rows).max().unwrap_or(0);
        let mut pages = Vec::new();
        let mut starts = Vec::with_capacity(self.ranges.len() + 1);
        pages.reserve_exact(self.ranges.iter().map(|range| range.full.len() + 1).sum());
        for range in self.ranges {
            starts.push(pages.len() as u32);
            pages.extend(range.full);
            if range.page.rows > 0 {
                let mut page = range.page;
                page.bytes.shrink_to_fit();
                pages.push(page);
            }
        }
        starts.push(pages.len() as u32);
        let (form, splitters) = (Box::new(self.form), self.splitters);
        let in_pages: usize = pages.iter().map(|page| page.bytes.capacity()).sum();
        let tables = pages.capacity() * size_of::<Page>() + starts.capacity() * size_of::<u32>();
        let bytes = in_pages + tables + rows_max * size_of::<Entry>();
        debug_assert!(bytes <= self.held, "{bytes} bytes of {}", self.held);
        memory.shrink(self.held.saturating_sub(bytes));
        let charge = memory.split(bytes);
        let shape = self.shape;
        let body = DistributedRun { shape, splitters, form, pages, starts, rows_max, charge };
        Run {
            number,
            base: self.base,
            rows: self.rows as u64,
            bytes: self.bytes,
            facts: self.facts,
            body: Body::Distributed(body),
        }
    }
}

impl RangePages {
    fn rows(&self) -> usize {
        self.rows + self.page.rows as usize
    }

    /// Begins a page with room for `len` bytes; how many bytes more are charged, `None` where
    /// memory refuses.
    fn next_page(&mut self, len: usize, memory: &mut Reservation) -> Option<usize> {
        let room = (len + COPY_SLACK).max(PAGE_BYTES);
        // Its place in the table is there twice while tables grow, and again when they are one.
        let more = room + 4 * size_of::<Page>();
        if !memory.try_grow(more) {
            return None;
        }
        let page = Page { bytes: Vec::with_capacity(room), rows: 0 };
        let full = std::mem::replace(&mut self.page, page);
        self.rows += full.rows as usize;
        if full.rows > 0 {
            self.full.push(full);
        }
        Some(more)
    }
}

#[cfg(test)]
mod tests;
