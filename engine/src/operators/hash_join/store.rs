//! The rows of the build side, their numbers and their order.
//!
//! Rows are stored in the order in which the workers got them. Their *order* is that of the build
//! side's input: a [`Run`] is the rows of one morsel, and says where in the pages they are. Their
//! *number* says where a row is (page and position in it) in 31 bits, so that directories are half
//! as large as with references.
//!
//! Memory: pages are charged to the worker's reservation, which moves with them.

use std::ops::Range;

use arrow::array::ArrayRef;

use super::groups::{NONE, ROWS_MAX, too_many_rows};
use crate::batch::widest;
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::{RowPages, RowRef};

/// Consecutive rows of one page.
#[derive(Debug, Clone, Copy)]
struct Extent {
    first: RowRef,
    rows: u32,
}

/// The rows of one morsel, in order.
#[derive(Debug)]
pub(super) struct Run {
    morsel: u64,
    extents: Vec<Extent>,
    /// Least and greatest ordinal of each key, of the rows that have one; in tables of lanes of
    /// bands as these fold them.
    pub(super) ranges: Vec<Option<(i64, i64)>>,
}

impl Run {
    pub(super) fn new(morsel: u64, keys: usize) -> Self {
        Run { morsel, extents: Vec::new(), ranges: vec![None; keys] }
    }

    pub(super) fn morsel(&self) -> u64 {
        self.morsel
    }

    /// Adds rows that were just stored, of `width` bytes each.
    pub(super) fn add(&mut self, rows: &[RowRef], width: usize) {
        for &row in rows {
            match self.extents.last_mut() {
                Some(last)
                    if last.first.page() == row.page()
                        && last.first.offset() + last.rows as usize * width == row.offset() =>
                {
                    last.rows += 1;
                }
                _ => self.extents.push(Extent { first: row, rows: 1 }),
            }
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.extents.iter().map(|e| e.rows as usize).sum()
    }

    /// Calls `f` with the rows, of `width` bytes each, in order, at most `most` at a time.
    pub(super) fn each_batch(
        &self,
        width: usize,
        most: usize,
        mut f: impl FnMut(&[RowRef]) -> Result<()>,
    ) -> Result<()> {
        let mut batch = Vec::with_capacity(most.min(self.rows()));
        for extent in &self.extents {
            for row in 0..extent.rows as usize {
                batch.push(RowRef::new(extent.first.page(), extent.first.offset() + row * width));
                if batch.len() == most {
                    f(&batch)?;
                    batch.clear();
                }
            }
        }
        if batch.is_empty() { Ok(()) } else { f(&batch) }
    }

    fn move_behind(&mut self, pages: usize) {
        self.extents.iter_mut().for_each(|extent| extent.first = extent.first.behind(pages));
    }
}

/// The ranges of the keys over all rows; `None` where no row has an ordinal.
pub(super) fn merged_ranges(runs: &[Run], keys: usize) -> Vec<Option<(i64, i64)>> {
    let mut merged: Vec<Option<(i64, i64)>> = vec![None; keys];
    for run in runs {
        for (all, range) in merged.iter_mut().zip(&run.ranges) {
            *all = widest(*all, *range);
        }
    }
    merged
}

/// What one worker has stored.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) pages: RowPages,
    pub(super) runs: Vec<Run>,
    /// What the pages are charged to.
    pub(super) memory: Reservation,
    /// What the rows can be moved out of memory with.
    pub(super) lane_memory: Option<Reservation>,
}

/// Where a walk over consecutive runs stands.
#[derive(Debug, Clone)]
pub(super) struct RunWalk {
    runs: Range<usize>,
    extent: usize,
    /// The row within the extent.
    row: u32,
}

impl RunWalk {
    pub(super) fn new(runs: Range<usize>) -> Self {
        RunWalk { runs, extent: 0, row: 0 }
    }
}

/// All build rows.
#[derive(Debug)]
pub(super) struct Store {
    pages: RowPages,
    /// In the order of the input.
    runs: Vec<Run>,
    /// Bits of a number that say where in its page a row is.
    row_bits: u32,
    /// Rows in the pages before each page.
    starts: Vec<u32>,
}

impl Store {
    /// Bytes that the store of these rows takes beside those of the pages.
    ///
    /// # Errors
    /// `OutOfMemory` when there are more rows than numbers.
    pub(super) fn extra_bytes_for(parts: &[Part]) -> Result<usize> {
        row_bits(parts.iter().map(|part| &part.pages))?;
        let pages: usize = parts.iter().map(|part| part.pages.pages()).sum();
        Ok(extra_bytes(parts.iter().flat_map(|part| &part.runs), pages))
    }

    /// Puts the workers' parts together; what they are charged to goes into `memory`.
    ///
    /// # Errors
    /// As [`Store::extra_bytes_for`].
    pub(super) fn new(
        mut pages: RowPages,
        parts: Vec<Part>,
        memory: &mut Reservation,
    ) -> Result<Self> {
        let mut runs = Vec::with_capacity(parts.iter().map(|part| part.runs.len()).sum());
        for part in parts {
            memory.absorb(part.memory);
            let behind = pages.absorb(part.pages);
            runs.extend(part.runs.into_iter().map(|mut run| {
                run.move_behind(behind);
                run
            }));
        }
        // One worker has each morsel, and may have begun several runs of it.
        runs.sort_by_key(|run| run.morsel);
        let row_bits = row_bits([&pages].into_iter())?;
        let mut starts = Vec::with_capacity(pages.pages());
        let mut start = 0;
        for page in 0..pages.pages() {
            starts.push(start);
            start += pages.page_rows(page) as u32;
        }
        Ok(Store { pages, runs, row_bits, starts })
    }

    pub(super) fn pages(&self) -> &RowPages {
        &self.pages
    }

    pub(super) fn rows(&self) -> usize {
        self.pages.rows()
    }

    /// Bytes of a row without what it has in the heap.
    pub(super) fn width(&self) -> usize {
        self.pages.layout().width()
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Bytes beside those of the pages.
    pub(super) fn extra_bytes(&self) -> usize {
        extra_bytes(self.runs.iter(), self.starts.len())
    }

    /// The number of a row.
    pub(super) fn number(&self, row: RowRef) -> u32 {
        let at = row.offset() / self.pages.layout().width();
        (row.page() << self.row_bits | at) as u32
    }

    /// The row with a number; [`RowRef::NONE`] for [`NONE`].
    pub(super) fn row(&self, number: u32) -> RowRef {
        if number == NONE {
            return RowRef::NONE;
        }
        let (page, at) = self.split(number);
        let offset = at * self.pages.layout().width();
        RowRef::new(page, offset)
    }

    /// Rows before the one with this number, in the order of the pages.
    pub(super) fn position(&self, number: u32) -> u32 {
        let (page, at) = self.split(number);
        self.starts[page] + at as u32
    }

    fn split(&self, number: u32) -> (usize, usize) {
        let mask = (1u32 << self.row_bits) - 1;
        ((number >> self.row_bits) as usize, (number & mask) as usize)
    }

    /// Column number `column` of the rows, as a flat array.
    pub(super) fn gather(&self, column: usize, rows: &[RowRef]) -> Result<ArrayRef> {
        self.pages.gather(column, rows)
    }

    /// Adds the numbers of the next rows that `is_wanted` to `numbers`, until there are `most`;
    /// whether there may be more.
    pub(super) fn next_rows(
        &self,
        walk: &mut RunWalk,
        most: usize,
        is_wanted: impl Fn(u32) -> bool,
        numbers: &mut Vec<u32>,
    ) -> bool {
        while let Some(run) = self.runs.get(walk.runs.start).filter(|_| !walk.runs.is_empty()) {
            let Some(extent) = run.extents.get(walk.extent) else {
                walk.runs.start += 1;
                walk.extent = 0;
                continue;
            };
            let first = self.number(extent.first);
            while walk.row < extent.rows {
                if numbers.len() == most {
                    return true;
                }
                let number = first + walk.row;
                walk.row += 1;
                if is_wanted(number) {
                    numbers.push(number);
                }
            }
            walk.extent += 1;
            walk.row = 0;
        }
        false
    }
}

/// Bits of a number that say where in its page a row is.
fn row_bits<'a>(pages: impl Iterator<Item = &'a RowPages> + Clone) -> Result<u32> {
    let longest = |pages: &RowPages| (0..pages.pages()).map(|page| pages.page_rows(page)).max();
    let longest = pages.clone().filter_map(longest).max().unwrap_or(0);
    let bits = longest.next_power_of_two().trailing_zeros();
    let count: usize = pages.clone().map(RowPages::pages).sum();
    // Of pages with few rows the numbers of many stay unused.
    let numbers = u32::try_from(count).ok().and_then(|count| u64::from(count).checked_shl(bits));
    match numbers.is_none_or(|numbers| numbers > ROWS_MAX as u64) {
        true => Err(too_many_rows(pages.map(RowPages::rows).sum(), count)),
        false => Ok(bits),
    }
}

/// Bytes of runs, and of what is known of so many pages.
fn extra_bytes<'a>(runs: impl Iterator<Item = &'a Run>, pages: usize) -> usize {
    let bytes = |run: &Run| run.extents.capacity() * size_of::<Extent>() + size_of::<Run>();
    runs.map(bytes).sum::<usize>() + pages * size_of::<u32>()
}
