//! Rows that have been moved out of memory, in lanes by the hash of their keys.
//!
//! A [`LaneWriter`] copies rows into the pages of [`LANES`] lanes, and writes all pages to its tape
//! when memory is refused, when it holds much, and when the rows go on to another morsel. What is
//! written of a lane at once is a [`Stretch`] or several, each of one morsel, so the order of the
//! input is that of the stretches by morsel. A lane too large for memory is divided again: each
//! level takes the hash apart in its own way.
//!
//! ```text
//! stretch = one page after another
//! page    = | block of rows | block of the heap, if there is any |
//! ```
//!
//! Memory: a writer has [`WRITER_BYTES`] from the start, with which it can always go on; what it
//! takes to find stretches again is charged with the [`LaneSet`].

use std::sync::Arc;

use super::shape::HOLDER;
use crate::batch::{Column, hash_word, pick};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{FIRST_PAGE_BYTES, RowLayout, RowPages, RowRef, Slot};
use crate::memory::spill::{Tape, TapeWriter};

/// Lanes of a level.
pub(super) const LANES: usize = 1 << LANE_BITS;
const LANE_BITS: u32 = 6;

/// The pages of a lane, until they are written.
const PAGE_BYTES: usize = 32 << 10;

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

/// Set in a block's number when the page's heap follows; the others are its number of rows.
const HEAP_BIT: u32 = 1 << 31;

/// Rows of a page whose block has this number, and whether its heap follows.
pub(super) fn page_of(tag: u32) -> (usize, bool) {
    ((tag & !HEAP_BIT) as usize, tag & HEAP_BIT != 0)
}

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
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) rows: usize,
    /// Bytes of its pages.
    pub(super) bytes: usize,
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
        self.stretches.iter().map(|stretch| stretch.rows).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.bytes).sum()
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

    /// The lanes and what they are charged to.
    pub(super) fn into_parts(self) -> (Vec<Lane>, Option<Reservation>) {
        (self.lanes, self.memory)
    }
}

/// A stretch whose tape is not finished.
struct Written {
    lane: usize,
    morsel: u64,
    from: u64,
    until: u64,
    rows: usize,
    bytes: usize,
}

/// Moves rows to tape; see the module documentation.
pub(super) struct LaneWriter {
    pages: RowPages,
    tape: TapeWriter,
    written: Vec<Written>,
    morsel: u64,
    level: u32,
    memory: Reservation,
    /// The lane of each row added, the rows' numbers by lane, and where each lane ends.
    lanes: Vec<u8>,
    order: Vec<u32>,
    ends: Vec<usize>,
    refs: Vec<RowRef>,
}

impl LaneWriter {
    /// A writer for lanes of this level; `memory` has [`WRITER_BYTES`] as its minimum.
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum is not there.
    pub(super) fn new(
        layout: &Arc<RowLayout>,
        level: u32,
        mut memory: Reservation,
    ) -> Result<Self> {
        memory.grow(TAPE_BYTES)?;
        let tape = TapeWriter::new(memory.governor().spill(), HOLDER, TAPE_BYTES);
        Ok(LaneWriter {
            pages: RowPages::with_lanes(layout.clone(), PAGE_BYTES, LANES),
            tape,
            written: Vec::new(),
            morsel: 0,
            level,
            memory,
            lanes: Vec::new(),
            order: Vec::new(),
            ends: Vec::new(),
            refs: Vec::new(),
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
        let sorted: Vec<RowRef> = self.order.iter().map(|&row| rows[row as usize]).collect();
        let mut start = 0;
        for lane in 0..LANES {
            let end = self.ends[lane];
            while start < end {
                self.refs.clear();
                let (rest, memory) = (&sorted[start..end], &mut self.memory);
                start += self.pages.append_rows(from, rest, lane, memory, &mut self.refs)?;
                if start < end && self.flush()? == 0 {
                    let mut alone = self.page_for_one();
                    let row = &sorted[start..start + 1];
                    alone.append_rows(from, row, 0, &mut self.memory, &mut self.refs)?;
                    self.write_alone(lane, &alone)?;
                    start += 1;
                }
            }
        }
        self.flush_if_much()
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
        let sorted: Vec<u32> = self.order.iter().map(|&row| rows[row as usize]).collect();
        let by_lane: Vec<u64> = match slot {
            Some(_) => self.order.iter().map(|&row| hashes[row as usize]).collect(),
            None => Vec::new(),
        };
        let mut start = 0;
        while start < sorted.len() {
            let picked = pick(columns.iter().copied(), &sorted[start..]);
            let ends: Vec<usize> = self.ends.iter().map(|end| end.saturating_sub(start)).collect();
            self.refs.clear();
            let (memory, refs) = (&mut self.memory, &mut self.refs);
            let stored = self.pages.append_picked(&picked, &ends, memory, refs)?;
            if let Some(slot) = slot {
                self.pages.set_slots(&self.refs, slot, &by_lane[start..]);
            }
            start += stored;
            if start < sorted.len() && self.flush()? == 0 {
                let mut alone = self.page_for_one();
                self.refs.clear();
                let (row, memory) = (&sorted[start..start + 1], &mut self.memory);
                alone.append(columns, row, memory, &mut self.refs)?;
                if let Some(slot) = slot {
                    alone.set_slots(&self.refs, slot, &by_lane[start..]);
                }
                self.write_alone(self.ends.partition_point(|&end| end <= start), &alone)?;
                start += 1;
            }
        }
        self.flush_if_much()
    }

    /// What has been written, as lanes.
    ///
    /// # Errors
    /// As [`LaneWriter::begin`].
    pub(super) fn finish(mut self) -> Result<LaneSet> {
        self.flush()?;
        let tape = Arc::new(self.tape.finish()?);
        let mut lanes: Vec<Lane> = (0..LANES).map(|_| Lane::default()).collect();
        let held = self.written.len() * size_of::<Stretch>();
        for Written { lane, morsel, from, until, rows, bytes } in self.written {
            let tape = tape.clone();
            lanes[lane].stretches.push(Stretch { tape, morsel, from, until, rows, bytes });
        }
        Ok(LaneSet { lanes, memory: Some(self.memory.split(held)) })
    }

    /// Puts the numbers of rows in the order of their lanes.
    fn sort(&mut self, hashes: &[u64]) {
        self.lanes.clear();
        self.lanes.extend(hashes.iter().map(|&hash| lane_of(hash, self.level) as u8));
        self.ends.clear();
        self.ends.resize(LANES, 0);
        self.lanes.iter().for_each(|&lane| self.ends[usize::from(lane)] += 1);
        let mut end = 0;
        // From counts to where each lane begins; placing the rows moves them to its end.
        for count in &mut self.ends {
            end += std::mem::replace(count, end);
        }
        self.order.clear();
        self.order.resize(hashes.len(), 0);
        for (row, &lane) in (0..).zip(&self.lanes) {
            let place = &mut self.ends[usize::from(lane)];
            self.order[*place] = row;
            *place += 1;
        }
    }

    fn flush_if_much(&mut self) -> Result<()> {
        if self.pages.bytes() >= HELD_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes all pages; the bytes that they had.
    fn flush(&mut self) -> Result<usize> {
        let bytes = self.pages.bytes();
        let before = self.written.len();
        write(&self.pages, None, self.morsel, &mut self.tape, &mut self.written)?;
        self.pages.clear();
        self.memory.shrink(bytes);
        self.memory.grow((self.written.len() - before) * size_of::<Stretch>())?;
        Ok(bytes)
    }

    /// A page that one row can have by all means.
    fn page_for_one(&self) -> RowPages {
        RowPages::new(self.pages.layout().clone(), PAGE_BYTES).strict()
    }

    /// Writes a row for which not even a page could be had without asking for it by all means.
    fn write_alone(&mut self, lane: usize, pages: &RowPages) -> Result<()> {
        let before = self.written.len();
        write(pages, Some(lane), self.morsel, &mut self.tape, &mut self.written)?;
        self.memory.shrink(pages.bytes());
        self.memory.grow((self.written.len() - before) * size_of::<Stretch>())
    }
}

/// Appends pages to a tape, as pages of `lane` or of the lanes that they have.
fn write(
    pages: &RowPages,
    lane: Option<usize>,
    morsel: u64,
    tape: &mut TapeWriter,
    written: &mut Vec<Written>,
) -> Result<()> {
    let first = written.len();
    // The pages of a lane side by side, as they are read.
    let mut order: Vec<usize> = (0..pages.pages()).collect();
    order.sort_by_key(|&page| pages.page_lane(page));
    for page in order {
        let Some(image) = pages.image(page) else { continue };
        let (rows, bytes) = (image.rows, image.fixed.len() + image.heap.len());
        let tag = u32::try_from(rows).ok().filter(|rows| rows & HEAP_BIT == 0);
        let tag = tag.ok_or_else(|| Error::internal("a page of too many rows"))?;
        let has_heap = !image.heap.is_empty();
        let from = tape.append(image.fixed, if has_heap { tag | HEAP_BIT } else { tag })?;
        if has_heap {
            tape.append(image.heap, 0)?;
        }
        let (lane, until) = (lane.unwrap_or_else(|| pages.page_lane(page)), tape.len());
        match written[first..].last_mut() {
            Some(last) if last.lane == lane && last.bytes + bytes <= STRETCH_BYTES => {
                last.until = until;
                last.rows += rows;
                last.bytes += bytes;
            }
            _ => written.push(Written { lane, morsel, from, until, rows, bytes }),
        }
    }
    Ok(())
}
