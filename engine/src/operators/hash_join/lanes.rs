//! Rows that have been moved out of memory, in lanes by the hash of their keys.
//!
//! A [`LaneWriter`] copies rows into the pages of [`LANES`] lanes, and writes all pages to its tape
//! when memory is refused, when it holds much, and when the rows go on to another morsel. What is
//! written of a lane at once is a [`Stretch`] or several, each of one morsel, so the order of the
//! input is that of the stretches by morsel. A lane too large for memory is divided again: each
//! level takes the hash apart in its own way.
//!
//! Memory: a writer has [`WRITER_BYTES`] from the start, with which it can always go on; what it
//! takes to find stretches again is charged with the [`LaneSet`].

use std::sync::Arc;

use crate::batch::{Column, hash_word, pick};
use crate::error::{Error, Result};
use crate::memory::rows::{
    FIRST_PAGE_BYTES, LaneOrder, PageSpan, PageWriter, RowLayout, RowPages, RowRef, Slot,
};
use crate::memory::spill::Tape;
use crate::memory::{Reservation, Turns};
use crate::pipeline::Context;
use crate::scheduler::Cancel;

/// Lanes of a level.
pub(super) const LANES: usize = 1 << LANE_BITS;
const LANE_BITS: u32 = 6;

/// The pages of a lane, until they are written.
pub(super) const PAGE_BYTES: usize = 32 << 10;

/// Bytes of pages from which on they are written even if there is memory for more: about a morsel
/// of narrow rows.
const HELD_BYTES_MAX: usize = 4 << 20;

/// Bytes from which on the pages of a lane go on in another stretch, so that tables can be made of
/// little.
const STRETCH_BYTES: usize = 64 << 10;

/// The buffer of the tape.
const TAPE_BYTES: usize = 64 << 10;

/// What a writer needs to work at all: a page for each lane, and the tape's buffer.
pub(super) const WRITER_BYTES: usize = TAPE_BYTES + LANES * FIRST_PAGE_BYTES;

/// Which lane of a level a hash belongs to.
pub(super) fn lane_of(hash: u64, level: u32) -> usize {
    // Not bits of the hash itself: directories and the levels above use those.
    let mixed = hash_word(hash.wrapping_add(u64::from(level) + 1));
    (mixed >> (u64::BITS - LANE_BITS)) as usize
}

/// Pages side by side on a tape, all of one morsel.
#[derive(Clone)]
pub(super) struct Stretch {
    pub(super) tape: Arc<Tape>,
    morsel: u64,
    pub(super) span: PageSpan,
}

impl Stretch {
    pub(super) fn morsel(&self) -> u64 {
        self.morsel
    }
}

/// The rows of one lane, in the order of the input.
#[derive(Clone, Default)]
pub(super) struct Lane {
    pub(super) stretches: Vec<Stretch>,
}

impl Lane {
    pub(super) fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    pub(super) fn rows(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.span.rows).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.span.bytes).sum()
    }
}

/// The lanes that all workers have written.
#[derive(Default)]
pub(super) struct LaneSet {
    pub(super) lanes: Vec<Lane>,
    memory: Option<Reservation>,
}

impl LaneSet {
    /// Takes over what one writer has written.
    pub(super) fn absorb(&mut self, other: LaneSet) {
        self.lanes.resize_with(LANES, Lane::default);
        for (own, other) in self.lanes.iter_mut().zip(other.lanes) {
            own.stretches.extend(other.stretches);
        }
        match (&mut self.memory, other.memory) {
            (Some(own), Some(other)) => own.absorb(other),
            (own, other) => *own = own.take().or(other),
        }
    }

    /// Puts the rows in the order of the input: each morsel is one worker's.
    pub(super) fn sort(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.stretches.sort_by_key(Stretch::morsel));
    }

    /// All rows as one lane.
    pub(super) fn all(&self) -> Lane {
        let stretches = self.lanes.iter().flat_map(|lane| lane.stretches.iter().cloned());
        Lane { stretches: stretches.collect() }
    }

    /// Bytes of the largest stretch: a little more than [`STRETCH_BYTES`], or one large row.
    pub(super) fn largest_bytes(&self) -> usize {
        let stretches = self.lanes.iter().flat_map(|lane| &lane.stretches);
        stretches.map(|stretch| stretch.span.bytes).max().unwrap_or(0)
    }

    /// The lanes and what they are charged to.
    pub(super) fn into_parts(self) -> (Vec<Lane>, Option<Reservation>) {
        (self.lanes, self.memory)
    }
}

/// A stretch whose tape is not finished.
struct Written {
    lane: usize,
    morsel: u64,
    span: PageSpan,
}

/// Rows that go to lanes, in the order of those.
trait LaneRows {
    /// Stores copies of the rows from number `start` on, of which those before `ends[l]` (counted
    /// from there) go to lane `l`, as many as `memory` has room for; how many.
    fn store(
        &self,
        start: usize,
        ends: &[usize],
        pages: &mut RowPages,
        memory: &mut Reservation,
    ) -> Result<usize>;
}

/// Rows of other pages.
struct StoredRows<'a> {
    from: &'a RowPages,
    rows: Vec<RowRef>,
}

impl LaneRows for StoredRows<'_> {
    fn store(
        &self,
        start: usize,
        ends: &[usize],
        pages: &mut RowPages,
        memory: &mut Reservation,
    ) -> Result<usize> {
        let rows = &self.rows[start..];
        let mut refs = Vec::with_capacity(rows.len());
        pages.append_rows_by_lane(self.from, rows, ends, memory, &mut refs)
    }
}

/// Rows of columns, by physical position.
struct ColumnRows<'a> {
    columns: &'a [&'a Column],
    rows: Vec<u32>,
    /// Where a stored row keeps its hash, and the hashes of the rows.
    slot: Option<(Slot, Vec<u64>)>,
}

impl LaneRows for ColumnRows<'_> {
    fn store(
        &self,
        start: usize,
        ends: &[usize],
        pages: &mut RowPages,
        memory: &mut Reservation,
    ) -> Result<usize> {
        let end = ends.last().map_or(start, |end| start + end);
        let picked = pick(self.columns.iter().copied(), &self.rows[start..end]);
        let mut refs = Vec::with_capacity(end - start);
        let stored = pages.append_picked(&picked, ends, memory, &mut refs)?;
        if let Some((slot, hashes)) = &self.slot {
            pages.set_slots(&refs, *slot, &hashes[start..]);
        }
        Ok(stored)
    }
}

/// Moves rows to tape; see the module documentation.
pub(super) struct LaneWriter {
    pages: RowPages,
    writer: PageWriter,
    written: Vec<Written>,
    morsel: u64,
    level: u32,
    order: LaneOrder,
    /// Of the query, which may be stopped while it waits for its turn.
    cancel: Cancel,
}

impl LaneWriter {
    /// A writer for lanes of this level; `memory` has [`WRITER_BYTES`] as its minimum.
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum is not there.
    pub(super) fn new(
        layout: &Arc<RowLayout>,
        level: u32,
        memory: Reservation,
        cx: &Context,
    ) -> Result<Self> {
        Ok(LaneWriter {
            pages: RowPages::with_lanes(layout.clone(), PAGE_BYTES, LANES),
            writer: PageWriter::new(memory, TAPE_BYTES)?,
            written: Vec::new(),
            morsel: 0,
            level,
            order: LaneOrder::default(),
            cancel: cx.query.cancel.clone(),
        })
    }

    /// The rows that are added next are of this morsel.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when the tape cannot be written.
    pub(super) fn begin(&mut self, morsel: u64) -> Result<()> {
        if self.morsel != morsel {
            self.flush()?;
            self.morsel = morsel;
        }
        Ok(())
    }

    /// Adds copies of rows of other pages, whose keys have these hashes.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when the tape cannot be written, or one row has no room.
    pub(super) fn add(&mut self, from: &RowPages, rows: &[RowRef], hashes: &[u64]) -> Result<()> {
        self.sort(hashes);
        let rows = self.order.pick(rows);
        self.store(&StoredRows { from, rows })
    }

    /// Adds the rows at these physical positions of columns, whose keys have these hashes; `slot`
    /// is where a stored row keeps its own.
    ///
    /// # Errors
    /// As [`LaneWriter::add`]; `Input` as [`RowPages::append`].
    pub(super) fn add_columns(
        &mut self,
        columns: &[&Column],
        rows: &[u32],
        hashes: &[u64],
        slot: Option<Slot>,
    ) -> Result<()> {
        self.sort(hashes);
        let (rows, slot) = (self.order.pick(rows), slot.map(|s| (s, self.order.pick(hashes))));
        self.store(&ColumnRows { columns, rows, slot })
    }

    /// What has been written, as lanes, and the memory that is left.
    ///
    /// # Errors
    /// As [`LaneWriter::begin`].
    pub(super) fn finish(mut self) -> Result<(LaneSet, Reservation)> {
        self.flush()?;
        let (tape, mut memory) = self.writer.finish()?;
        let mut lanes: Vec<Lane> = (0..LANES).map(|_| Lane::default()).collect();
        let held = self.written.len() * size_of::<Stretch>();
        for Written { lane, morsel, span } in self.written {
            let tape = tape.clone();
            lanes[lane].stretches.push(Stretch { tape, morsel, span });
        }
        Ok((LaneSet { lanes, memory: Some(memory.split(held)) }, memory))
    }

    fn sort(&mut self, hashes: &[u64]) {
        let level = self.level;
        self.order.sort(LANES, hashes.iter().map(|&hash| lane_of(hash, level)));
    }

    /// Stores rows in the order that was just made.
    fn store(&mut self, rows: &impl LaneRows) -> Result<()> {
        let governor = self.writer.memory().governor().clone();
        let (mut start, count) = (0, self.order.order().len());
        let mut ends = self.order.ends().to_vec();
        while start < count {
            // Whoever is alone has what is free to itself.
            let step = governor.turns().beside(&|| self.cancel.check())?;
            let stored = rows.store(start, &ends, &mut self.pages, self.writer.memory())?;
            drop(step);
            advance(&mut ends, stored);
            start += stored;
            if start < count && self.flush()? == 0 {
                // Not even a page could be had, but by asking for it by all means.
                let lane = ends.partition_point(|&end| end == 0);
                self.store_one(rows, start, lane, governor.turns())?;
                advance(&mut ends, 1);
                start += 1;
            }
        }
        if self.pages.bytes() >= HELD_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Stores and writes one row, which gets its room whoever else asks for memory. The turn ends
    /// when the row is on tape: not before that is its room free for the next.
    fn store_one(
        &mut self,
        rows: &impl LaneRows,
        row: usize,
        lane: usize,
        turns: &Turns,
    ) -> Result<()> {
        let mut turn = turns.beside(&|| self.cancel.check())?;
        loop {
            let mut alone = RowPages::new(self.pages.layout().clone(), PAGE_BYTES).strict();
            match rows.store(row, &[1], &mut alone, self.writer.memory()) {
                Ok(_) => return self.write(&alone, Some(lane)),
                // Others may be about to give as much back.
                Err(Error::OutOfMemory { .. }) if !turn.is_alone() => {
                    turn.be_alone(&|| self.cancel.check())?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes all pages; the bytes that they had.
    fn flush(&mut self) -> Result<usize> {
        let none = RowPages::with_lanes(self.pages.layout().clone(), PAGE_BYTES, LANES);
        let pages = std::mem::replace(&mut self.pages, none);
        self.write(&pages, None)?;
        Ok(pages.bytes())
    }

    /// Writes pages as pages of `lane`, or of the lanes that they have, and gives back what they
    /// are charged with.
    fn write(&mut self, pages: &RowPages, lane: Option<usize>) -> Result<()> {
        let (first, morsel) = (self.written.len(), self.morsel);
        // The pages of a lane side by side, as they are read.
        let mut order: Vec<usize> = (0..pages.pages()).collect();
        order.sort_by_key(|&page| pages.page_lane(page));
        for page in order {
            let Some(span) = self.writer.append(pages, page, None)? else { continue };
            let lane = lane.unwrap_or_else(|| pages.page_lane(page));
            match self.written[first..].last_mut() {
                Some(last)
                    if last.lane == lane && last.span.bytes + span.bytes <= STRETCH_BYTES =>
                {
                    last.span.until = span.until;
                    last.span.rows += span.rows;
                    last.span.bytes += span.bytes;
                }
                _ => self.written.push(Written { lane, morsel, span }),
            }
        }
        let memory = self.writer.memory();
        memory.shrink(pages.bytes());
        memory.grow((self.written.len() - first) * size_of::<Stretch>())
    }
}

/// Where lanes end for who leaves out the first `rows` rows.
fn advance(ends: &mut [usize], rows: usize) {
    ends.iter_mut().for_each(|end| *end = end.saturating_sub(rows));
}
