//! Rows that have been moved out of memory, in lanes by their keys (`lane_key`).
//!
//! A [`LaneWriter`] copies rows into the pages of [`LANES`] lanes, and writes all pages to its tape
//! when memory is refused, when it holds much, and when the rows go on to another morsel. What is
//! written of a lane at once is a [`Stretch`] or several, each of one morsel, so the order of the
//! input is that of the stretches by morsel. A lane too large for memory is divided again: each
//! level takes the hash apart in its own way.
//!
//! Memory: a writer has [`WRITER_BYTES`] from the start, with which it can always go on; what it
//! takes to find stretches again is charged with the [`LaneSet`]. Pages that are not written yet
//! give way between two of the writer's steps: whoever cannot do without more memory, a scan on the
//! same thread as well, writes them.
//!
//! Concurrency: the pages and the tape are behind a lock, which a writer takes when its step
//! ([`Turns`]) has begun, and for no longer: who is alone finds the locks of all others free. A
//! revocation writes with the lock held and only tries it.

use std::sync::{Arc, Mutex, MutexGuard};

use super::stretches::Stretches;
use crate::batch::{Column, hash_word, pick};
use crate::error::{Error, Result};
use crate::memory::rows::{
    FIRST_PAGE_BYTES, LaneOrder, PageWriter, RowLayout, RowPages, RowRef, Slot,
};
use crate::memory::{Governor, Reservation, Revocable};
use crate::pipeline::Context;
use crate::scheduler::Cancel;

/// Lanes of a level.
pub(super) const LANES: usize = 1 << LANE_BITS;
pub(super) const LANE_BITS: u32 = 6;

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

/// Which lane of a level a hash belongs to, where lanes go by hash.
pub(super) fn lane_of(hash: u64, level: u32) -> u8 {
    // Not bits of the hash itself: directories and the levels above use those.
    let mixed = hash_word(hash.wrapping_add(u64::from(level) + 1));
    (mixed >> (u64::BITS - LANE_BITS)) as u8
}

/// The rows of one lane, in the order of the input.
#[derive(Clone, Default)]
pub(super) struct Lane {
    pub(super) stretches: Stretches,
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
    ///
    /// # Errors
    /// `Internal` when there are more writers than can be numbered.
    pub(super) fn absorb(&mut self, other: LaneSet) -> Result<()> {
        self.lanes.resize_with(LANES, Lane::default);
        for (own, other) in self.lanes.iter_mut().zip(other.lanes) {
            own.stretches.absorb(other.stretches)?;
        }
        match (&mut self.memory, other.memory) {
            (Some(own), Some(other)) => own.absorb(other),
            (own, other) => *own = own.take().or(other),
        }
        Ok(())
    }

    /// Puts the rows in the order of the input: each morsel is one worker's.
    pub(super) fn sort(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.stretches.sort());
    }

    /// All rows as one lane.
    ///
    /// # Errors
    /// As [`LaneSet::absorb`].
    pub(super) fn all(&self) -> Result<Lane> {
        let mut all = Lane::default();
        let mut lanes = self.lanes.iter();
        lanes.try_for_each(|lane| all.stretches.absorb(lane.stretches.clone()))?;
        Ok(all)
    }

    /// Bytes of the largest stretch: a little more than [`STRETCH_BYTES`], or one large row.
    pub(super) fn largest_bytes(&self) -> usize {
        let stretches = self.lanes.iter().flat_map(|lane| lane.stretches.iter());
        stretches.map(|stretch| stretch.span.bytes).max().unwrap_or(0)
    }

    /// The lanes and what they are charged to.
    pub(super) fn into_parts(self) -> (Vec<Lane>, Option<Reservation>) {
        (self.lanes, self.memory)
    }
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
    shelf: Arc<Shelf>,
    governor: Governor,
    layout: Arc<RowLayout>,
    morsel: u64,
    order: LaneOrder,
    /// Of the query, which may be stopped while it waits for its turn.
    cancel: Cancel,
}

/// Where the pages are between two steps.
struct Shelf(Mutex<Pages>);

enum Pages {
    Filling(Box<Filling>),
    Finished,
    /// They could not be written: what the writer meets at its next step.
    Lost(Error),
}

/// Pages and the tape that they go to.
struct Filling {
    pages: RowPages,
    writer: PageWriter,
    morsel: u64,
    written: Vec<Stretches>,
    /// What these are charged to: what the writer has at any rate is for pages.
    kept: Reservation,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Pages {
    fn filling(&mut self) -> Result<&mut Filling> {
        match self {
            Pages::Filling(filling) => Ok(filling),
            Pages::Finished => Err(Error::internal("rows for lanes that are finished")),
            Pages::Lost(error) => Err(error.clone()),
        }
    }
}

impl Revocable for Shelf {
    fn revocable_bytes(&self) -> usize {
        match self.0.try_lock().as_deref_mut() {
            Ok(Pages::Filling(filling)) => filling.revocable_bytes(),
            _ => 0,
        }
    }

    fn revoke(&self, _: usize) -> Result<usize> {
        let Ok(mut pages) = self.0.try_lock() else { return Ok(0) };
        let freed = pages.filling().map_or(0, Filling::revocable_bytes);
        if freed == 0 {
            return Ok(0);
        }
        // What it says should the writing panic.
        let lost = Pages::Lost(Error::internal("rows were lost when they were written out"));
        let Pages::Filling(mut filling) = std::mem::replace(&mut *pages, lost) else {
            return Ok(0);
        };
        let written = filling.flush();
        *pages = match &written {
            Ok(_) => Pages::Filling(filling),
            Err(error) => Pages::Lost(error.clone()),
        };
        written.map(|_| freed)
    }

    fn is_at_work(&self) -> bool {
        true
    }
}

impl LaneWriter {
    /// A writer; `memory` has [`WRITER_BYTES`] as its minimum.
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum is not there.
    pub(super) fn new(layout: &Arc<RowLayout>, memory: Reservation, cx: &Context) -> Result<Self> {
        let shelf = Arc::new(Shelf(Mutex::new(Pages::Finished)));
        let state: Arc<dyn Revocable> = shelf.clone();
        memory.offer(Arc::downgrade(&state));
        let governor = memory.governor().clone();
        *shelf.lock() = Pages::Filling(Box::new(Filling {
            pages: RowPages::with_lanes(layout.clone(), PAGE_BYTES, LANES),
            kept: memory.child(0)?,
            writer: PageWriter::new(memory, TAPE_BYTES)?,
            morsel: 0,
            written: vec![Stretches::default(); LANES],
        }));
        Ok(LaneWriter {
            shelf,
            governor,
            layout: layout.clone(),
            morsel: 0,
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
            self.morsel = morsel;
            let mut pages = self.shelf.lock();
            let filling = pages.filling()?;
            filling.flush()?;
            filling.morsel = morsel;
        }
        Ok(())
    }

    /// Adds copies of rows of other pages, which go to these lanes.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when the tape cannot be written, or one row has no room.
    pub(super) fn add(&mut self, from: &RowPages, rows: &[RowRef], lanes: &[u8]) -> Result<()> {
        self.sort(lanes);
        let rows = self.order.pick(rows);
        self.store(&StoredRows { from, rows })
    }

    /// Adds the rows at these physical positions of columns, which go to these lanes; with `slot`,
    /// where a stored row keeps its hash, and the hashes.
    ///
    /// # Errors
    /// As [`LaneWriter::add`]; `Input` as [`RowPages::append`].
    pub(super) fn add_columns(
        &mut self,
        columns: &[&Column],
        rows: &[u32],
        lanes: &[u8],
        slot: Option<(Slot, &[u64])>,
    ) -> Result<()> {
        self.sort(lanes);
        let slot = slot.map(|(slot, hashes)| (slot, self.order.pick(hashes)));
        let rows = self.order.pick(rows);
        self.store(&ColumnRows { columns, rows, slot })
    }

    /// What has been written, as lanes, and the memory that is left.
    ///
    /// # Errors
    /// As [`LaneWriter::begin`].
    pub(super) fn finish(self) -> Result<(LaneSet, Reservation)> {
        let mut pages = self.shelf.lock();
        pages.filling()?;
        match std::mem::replace(&mut *pages, Pages::Finished) {
            Pages::Filling(filling) => filling.finish(),
            _ => Err(Error::internal("lanes that are finished twice")),
        }
    }

    fn sort(&mut self, lanes: &[u8]) {
        self.order.sort(LANES, lanes.iter().map(|&lane| usize::from(lane)));
    }

    /// Stores rows in the order that was just made.
    fn store(&mut self, rows: &impl LaneRows) -> Result<()> {
        let (mut start, count) = (0, self.order.order().len());
        let mut ends = self.order.ends().to_vec();
        while start < count {
            // Whoever is alone has what is free to itself.
            let step = self.governor.turns().beside(&|| self.cancel.check())?;
            let mut pages = self.shelf.lock();
            let filling = pages.filling()?;
            let Filling { pages: own, writer, .. } = filling;
            let stored = rows.store(start, &ends, own, writer.memory())?;
            advance(&mut ends, stored);
            start += stored;
            let has_more = start < count;
            let is_full = has_more || filling.is_to_write();
            let none_left = is_full && filling.flush()? == 0 && has_more;
            drop((pages, step));
            if none_left {
                // Not even a page could be had, but by asking for it by all means.
                let lane = ends.partition_point(|&end| end == 0);
                self.store_one(rows, start, lane)?;
                advance(&mut ends, 1);
                start += 1;
            }
        }
        Ok(())
    }

    /// Stores and writes one row, which gets its room whoever else asks for memory. The turn ends
    /// when the row is on tape: not before that is its room free for the next.
    fn store_one(&self, rows: &impl LaneRows, row: usize, lane: usize) -> Result<()> {
        let mut turn = self.governor.turns().beside(&|| self.cancel.check())?;
        loop {
            let mut alone = RowPages::new(self.layout.clone(), PAGE_BYTES).strict();
            let mut pages = self.shelf.lock();
            let filling = pages.filling()?;
            match rows.store(row, &[1], &mut alone, filling.writer.memory()) {
                Ok(_) => return filling.write(&alone, Some(lane)),
                // Others may be about to give as much back.
                Err(Error::OutOfMemory { .. }) if !turn.is_alone() => {
                    drop(pages);
                    turn.be_alone(&|| self.cancel.check())?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Filling {
    /// Whether the pages are to be written though there is room for more: they are many, or others
    /// have been refused their room, another writer for one, which could do with pages of few rows
    /// only.
    fn is_to_write(&mut self) -> bool {
        self.pages.bytes() >= HELD_BYTES_MAX || self.writer.memory().pressed()
    }

    /// What writing the pages would give to others: not what the writer has at any rate, and
    /// nothing where where they are would take more.
    fn revocable_bytes(&mut self) -> usize {
        let memory = self.writer.memory();
        let beyond = memory.bytes().saturating_sub(memory.minimum()).min(self.pages.bytes());
        let places: usize = self.written.iter().map(Stretches::next_bytes).sum();
        beyond.saturating_sub(2 * places)
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
        // The pages of a lane side by side, as they are read.
        let mut order: Vec<usize> = (0..pages.pages()).collect();
        order.sort_by_key(|&page| pages.page_lane(page));
        let mut last = None;
        for page in order {
            let Some(span) = self.writer.append(pages, page, None)? else { continue };
            let lane = lane.unwrap_or_else(|| pages.page_lane(page));
            let written = &mut self.written[lane];
            if last != Some(lane) || !written.extend_last(span, STRETCH_BYTES)? {
                written.push(self.morsel, span)?;
            }
            last = Some(lane);
        }
        // Where they are takes a part of what they had, which is not free in between.
        let held: usize = self.written.iter().map(Stretches::held_bytes).sum();
        let more = held.saturating_sub(self.kept.bytes());
        let memory = self.writer.memory();
        let own = more.min(memory.bytes().saturating_sub(memory.minimum())).min(pages.bytes());
        self.kept.absorb(memory.split(own));
        memory.shrink(pages.bytes() - own);
        memory.has_shed();
        self.kept.grow(more - own)
    }

    /// What has been written, as lanes, and the memory that is left.
    fn finish(mut self) -> Result<(LaneSet, Reservation)> {
        self.flush()?;
        let (tape, memory) = self.writer.finish()?;
        let lanes = self.written.into_iter().map(|mut stretches| {
            stretches.end(&tape);
            Lane { stretches }
        });
        Ok((LaneSet { lanes: lanes.collect(), memory: Some(self.kept) }, memory))
    }
}

/// Where lanes end for who leaves out the first `rows` rows.
fn advance(ends: &mut [usize], rows: usize) {
    ends.iter_mut().for_each(|end| *end = end.saturating_sub(rows));
}
