//! One worker of a scan: takes morsels, leaves out what their row groups' indexes rule out, and
//! reads the rest block by block.
//!
//! Memory: per column a page, a dictionary and a window of stored bytes, and one block of rows.
//! What pages of text take is reserved before a block is read, and for the next row group before a
//! worker begins: where there is no room for [`SPARE_TIMES`] as much beside the last, or for the
//! largest pages of all columns and all workers ([`Begun::has_room`]), fewer read.
//! A worker that is refused while others are in the middle of a chunk asks again between two.
//! One that had to have memory of others, though these leave some to it, gives its own up at the
//! end of its morsel, unless it is the last: what is done with the rows would be written again and
//! again for a page, and with less memory for itself. Fewer workers are faster then.
//! What a column takes more is reserved before the next one is read, and everything held is looked
//! at again after each block: at no time more than a page and [`OWED_BYTES_MAX`] is not reserved.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::column::ColumnReader;
use super::narrow::range_conditions;
use super::scan::{BLOCK_TEXT_BYTES, ColumnReads, HOLDER, Shared};
use crate::batch::{COMPACT_BELOW, Column, Place, Selection};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::memory::{Bytes, Reservation};
use crate::observe::{Count, count};
use crate::pipeline::{Context, Pull, SourceWorker};
use crate::sources::block::{BlockColumns, BlockReader};
use crate::sources::file::InputFile;

/// What a worker needs whatever it reads.
const MINIMUM_BYTES: usize = 64 << 10;

/// Bytes that columns of one block may take before they are reserved: columns that come later in
/// the block often give as much back.
const OWED_BYTES_MAX: usize = 1 << 20;

/// How often the pages of one more worker must have room beside what it begins with: a worker comes
/// to about twice its pages (windows, dictionaries, the block that is made of them), those who have
/// begun may meet larger row groups, and what is done with the rows takes memory as well.
const SPARE_TIMES: usize = 4;

/// The morsel that a worker is at.
pub(super) struct Open {
    number: u64,
    file: Arc<InputFile>,
    /// A reader per slot, all at row `at`.
    pub readers: Vec<Box<dyn ColumnReader>>,
    at: usize,
    left: VecDeque<Range<usize>>,
}

/// The next rows of a morsel. After a block every reader stands at the same row.
struct NextRows<'a> {
    rows: usize,
    readers: &'a mut [Box<dyn ColumnReader>],
    reads: &'a [ColumnReads],
    held: &'a mut Reservation,
    /// Bytes that could not be reserved yet.
    owed: usize,
    is_short: &'a mut bool,
    cx: &'a Context,
}

impl BlockColumns for NextRows<'_> {
    const THIN_BELOW: f64 = COMPACT_BELOW;

    fn read(&mut self, slot: usize, kept: Option<&Selection>) -> Result<Column> {
        self.reads[slot].add_rows(kept.map_or(self.rows, Selection::len));
        let reader = &mut self.readers[slot];
        let before = reader.held_bytes();
        let column = match kept {
            Some(kept) => reader.read_selected(self.rows, kept),
            None => reader.read(self.rows),
        }?;
        let after = reader.held_bytes();
        self.held.shrink(before.saturating_sub(after).min(self.held.bytes()));
        let more = after.saturating_sub(before);
        if !self.held.try_grow(more) {
            // Others may give back as much before the block is read; if not, that is refused.
            self.owed += more;
            if self.owed > OWED_BYTES_MAX {
                grow(self.held, self.owed, self.is_short, self.cx)?;
                self.owed = 0;
            }
        }
        Ok(column)
    }

    fn skip(&mut self, slot: usize) -> Result<()> {
        self.readers[slot].skip(self.rows)
    }
}

/// A worker of a scan.
pub(super) struct ScanWorker {
    shared: Arc<Shared>,
    blocks: BlockReader,
    morsel: Option<Open>,
    /// Readers of the morsel that was next when the worker began, until it has opened one: others
    /// need not look again at what they have found out about its pages.
    ahead: Vec<Box<dyn ColumnReader>>,
    held: Reservation,
    /// Whether it had to have memory of others.
    is_short: bool,
    /// What key filters that have been found say about their keys' ranges.
    ranges: Vec<Option<Vec<Expr>>>,
}

impl ScanWorker {
    /// A worker that has taken no morsel yet, with room for the next one.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no room, `Io` and `Input` when the file cannot be read.
    pub fn new(shared: Arc<Shared>) -> Result<Self> {
        let (mut ahead, mut largest) = (Vec::new(), 0);
        if let Some(morsel) = shared.morsels.peek() {
            let file = shared.open_file(morsel)?;
            ahead = shared.open_columns(&file, morsel)?;
            // Of pages that cannot be read those who read them will say so.
            largest = shared.pages_bytes(&file, morsel).unwrap_or(0);
        }
        let pages = ahead.iter().map(|reader| reader.held_bytes()).sum();
        let mut held = shared.reservation.child(MINIMUM_BYTES)?;
        let mut begun = shared.begun.lock().unwrap_or_else(|e| e.into_inner());
        let is_first = begun.workers == 0;
        if !is_first && !begun.has_room(largest, shared.reservation.governor()) {
            return Err(too_large(begun.workers + 1));
        }
        let spare = if is_first { 0 } else { SPARE_TIMES * pages };
        held.grow(MINIMUM_BYTES + pages + spare).map_err(|error| no_room(error, pages))?;
        held.shrink(spare);
        begun.workers += 1;
        begun.reserved += MINIMUM_BYTES + pages;
        drop(begun);
        Ok(ScanWorker {
            blocks: BlockReader::new(&shared.plan, shared.reservation.governor()),
            held,
            is_short: false,
            ranges: vec![None; shared.key_filters.len()],
            morsel: None,
            ahead,
            shared,
        })
    }

    /// Goes on to the next morsel that may have a row to give.
    fn next_morsel(&mut self) -> Result<Pull> {
        // The old readers stay until the new ones are there: a row group's dictionaries live as
        // long as somebody reads from it.
        let old = self.morsel.take();
        let over = self.nothing_can_match() || self.gives_way();
        let next = if over { None } else { self.shared.morsels.take() };
        let Some((number, morsel)) = next else {
            drop(old);
            self.ahead.clear();
            self.held.resize_to(0)?;
            return Ok(Pull::Finished);
        };
        let mut conditions = self.shared.conditions.clone();
        let known = self.ranges.iter().flatten().flatten();
        conditions.extend(known.cloned());
        let group = self.shared.group(morsel);
        let skipped = |rows: usize| count(Count::RowsSkipped, rows as u64);
        if !group.may_pass(&conditions) {
            skipped(morsel.rows.len());
            return Ok(Pull::Morsel(number));
        }
        let file = self.shared.open_file(morsel)?;
        if group.bloom_rules_out(&file, &conditions)? {
            skipped(morsel.rows.len());
            return Ok(Pull::Morsel(number));
        }
        let mut left = vec![morsel.rows.clone()];
        if !conditions.is_empty() && self.shared.page_index.pays() {
            left = group.rows_to_read(&file, &morsel.rows, &conditions)?;
            self.shared.page_index.note(left != [morsel.rows.clone()]);
            skipped(morsel.rows.len() - left.iter().map(Range::len).sum::<usize>());
        }
        if left.is_empty() {
            return Ok(Pull::Morsel(number));
        }
        let readers = self.shared.open_columns(&file, morsel)?;
        self.ahead.clear();
        self.blocks.start(&self.shared.plan, |slot| self.shared.column_bytes(morsel, slot));
        self.morsel = Some(Open { number, file, readers, at: 0, left: left.into() });
        Ok(Pull::Morsel(number))
    }

    /// Whether the worker is to end because memory is short: others go on with what is left.
    fn gives_way(&mut self) -> bool {
        let mut begun = self.shared.begun.lock().unwrap_or_else(|e| e.into_inner());
        let gives_way = std::mem::take(&mut self.is_short) && begun.workers > 1;
        begun.workers -= usize::from(gives_way);
        gives_way
    }

    /// Looks for key filters that have been published; true when one says that no row matches.
    fn nothing_can_match(&mut self) -> bool {
        let filters = self.shared.key_filters.iter().zip(&mut self.ranges);
        for ((slot, keys), known) in filters {
            if known.is_some() {
                continue;
            }
            let Some(filter) = slot.get() else { continue };
            if filter.is_empty() {
                return true;
            }
            *known = Some(range_conditions(&filter, keys));
        }
        false
    }
}

impl SourceWorker for ScanWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        let Some(open) = &mut self.morsel else {
            return self.next_morsel();
        };
        loop {
            cx.check()?;
            if let Some(chunk) = self.blocks.take() {
                let place = Place { morsel: open.number, sequence: 0 };
                return Ok(Pull::Chunk(chunk.with_place(place)));
            }
            let Some(range) = open.left.front_mut() else {
                if self.blocks.flush()? {
                    continue;
                }
                open.file.check()?;
                return self.next_morsel();
            };
            let gap = range.start - open.at;
            let rows = self.shared.block_rows(range, &open.readers);
            range.start += rows;
            open.at = range.start;
            if range.start == range.end {
                open.left.pop_front();
            }
            open.readers.iter_mut().try_for_each(|reader| reader.skip(gap))?;
            // The chunk that was given last is its taker's.
            charge(&mut self.held, &open.readers, &self.blocks, &mut self.is_short, cx)?;
            let (readers, held) = (&mut open.readers[..], &mut self.held);
            let (reads, is_short) = (&self.shared.reads, &mut self.is_short);
            let mut columns = NextRows { rows, readers, reads, held, owed: 0, is_short, cx };
            self.blocks.read(&self.shared.plan, &mut columns, rows)?;
            if self.blocks.held_bytes() > BLOCK_TEXT_BYTES {
                self.blocks.flush()?;
            }
            charge(&mut self.held, &open.readers, &self.blocks, &mut self.is_short, cx)?;
        }
    }
}

/// Reserves what a worker holds, no less and no more.
fn charge(
    held: &mut Reservation,
    readers: &[Box<dyn ColumnReader>],
    blocks: &BlockReader,
    is_short: &mut bool,
    cx: &Context,
) -> Result<()> {
    let readers: usize = readers.iter().map(|reader| reader.held_bytes()).sum();
    let bytes = readers + blocks.held_bytes();
    held.shrink(held.bytes().saturating_sub(bytes));
    let grown = grow(held, bytes - held.bytes(), is_short, cx);
    grown.map_err(|error| no_room(error, readers))
}

/// Reserves so many bytes more, and notes where others have to give them.
fn grow(held: &mut Reservation, bytes: usize, is_short: &mut bool, cx: &Context) -> Result<()> {
    let memory = held.governor();
    *is_short |= bytes > memory.limit().saturating_sub(memory.reserved());
    held.grow_between_steps(bytes, &|| cx.check())
}

/// The error for one more worker, whose pages would leave the others no room.
fn too_large(workers: usize) -> Error {
    let detail = format!("pages of its columns are too large for {workers} workers");
    Error::OutOfMemory { who: HOLDER.to_string(), asked_bytes: MINIMUM_BYTES, detail }
}

/// The error for pages that have no room.
fn no_room(error: Error, pages: usize) -> Error {
    let Error::OutOfMemory { who, asked_bytes, detail } = error else { return error };
    let pages = Bytes(pages as u64);
    let detail =
        format!("the largest pages of its columns take {pages} and must have room; {detail}");
    Error::OutOfMemory { who, asked_bytes, detail }
}
