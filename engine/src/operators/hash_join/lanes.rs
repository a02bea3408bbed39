//! Rows that have been moved out of memory, in lanes by the hash of their keys.
//!
//! A [`LaneWriter`] copies rows into the pages of [`LANES`] lanes, and writes all pages to its tape
//! when memory is refused, when it holds much, and when the rows go on to another morsel. So the
//! rows of a page are of one morsel, and the order of the input is that of the pages by morsel. A
//! lane too large for memory is divided again: each level takes the hash apart in its own way.
//!
//! Memory: a writer has [`WRITER_BYTES`] from the start, with which it can always go on; what it
//! takes to find pages again is charged with the [`LaneSet`].

use std::sync::Arc;

use super::shape::HOLDER;
use crate::batch::hash_word;
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::{FIRST_PAGE_BYTES, RowLayout, RowPages, RowRef};
use crate::memory::spill::{Tape, TapeWriter};

/// Lanes of a level.
pub(super) const LANES: usize = 1 << LANE_BITS;
const LANE_BITS: u32 = 5;

/// The pages of a lane, until they are written.
const PAGE_BYTES: usize = 32 << 10;

/// Bytes of pages from which on they are written even if there is memory for more.
const HELD_BYTES_MAX: usize = 2 << 20;

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

/// A page on a tape: a block with the rows, and one with the heap if there is any.
#[derive(Clone)]
pub(super) struct StoredPage {
    pub(super) tape: Arc<Tape>,
    morsel: u64,
    pub(super) position: u64,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl StoredPage {
    pub(super) fn morsel(&self) -> u64 {
        self.morsel
    }
}

/// The rows of one lane, in the order of the input.
#[derive(Clone, Default)]
pub(super) struct Lane {
    pub(super) pages: Vec<StoredPage>,
}

impl Lane {
    pub(super) fn rows(&self) -> usize {
        self.pages.iter().map(|page| page.rows).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.pages.iter().map(|page| page.bytes).sum()
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
            own.pages.extend(other.pages);
        }
        match (&mut self.memory, other.memory) {
            (Some(own), Some(other)) => own.absorb(other),
            (own, other) => *own = own.take().or(other),
        }
    }

    /// Puts the pages in the order of the input: each morsel is one worker's.
    pub(super) fn sort(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.pages.sort_by_key(StoredPage::morsel));
    }

    /// All rows as one lane.
    pub(super) fn all(&self) -> Lane {
        Lane { pages: self.lanes.iter().flat_map(|lane| lane.pages.iter().cloned()).collect() }
    }

    /// The lanes and what they are charged to.
    pub(super) fn into_parts(self) -> (Vec<Lane>, Option<Reservation>) {
        (self.lanes, self.memory)
    }
}

/// A page whose tape is not finished.
struct Written {
    lane: usize,
    morsel: u64,
    position: u64,
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
    /// The rows added, by lane, and where each lane ends.
    sorted: Vec<RowRef>,
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
            sorted: Vec::new(),
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
        self.sort(rows, hashes);
        let mut start = 0;
        for lane in 0..LANES {
            let end = self.ends[lane];
            while start < end {
                self.refs.clear();
                let (rest, memory) = (&self.sorted[start..end], &mut self.memory);
                start += self.pages.append_rows(from, rest, lane, memory, &mut self.refs)?;
                if start < end && self.flush()? == 0 {
                    self.add_alone(from, start, lane)?;
                    start += 1;
                }
            }
        }
        if self.pages.bytes() >= HELD_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// What has been written, as lanes.
    ///
    /// # Errors
    /// As [`LaneWriter::begin`].
    pub(super) fn finish(mut self) -> Result<LaneSet> {
        self.flush()?;
        let tape = Arc::new(self.tape.finish()?);
        let mut lanes: Vec<Lane> = (0..LANES).map(|_| Lane::default()).collect();
        let held = self.written.len() * size_of::<StoredPage>();
        for Written { lane, morsel, position, rows, bytes } in self.written {
            let tape = tape.clone();
            lanes[lane].pages.push(StoredPage { tape, morsel, position, rows, bytes });
        }
        Ok(LaneSet { lanes, memory: Some(self.memory.split(held)) })
    }

    /// Sorts rows by lane.
    fn sort(&mut self, rows: &[RowRef], hashes: &[u64]) {
        self.ends.clear();
        self.ends.resize(LANES, 0);
        for &hash in hashes {
            self.ends[lane_of(hash, self.level)] += 1;
        }
        let mut end = 0;
        // From counts to where each lane begins; placing the rows moves them to its end.
        for count in &mut self.ends {
            end += std::mem::replace(count, end);
        }
        self.sorted.clear();
        self.sorted.resize(rows.len(), RowRef::NONE);
        for (&row, &hash) in rows.iter().zip(hashes) {
            let place = &mut self.ends[lane_of(hash, self.level)];
            self.sorted[*place] = row;
            *place += 1;
        }
    }

    /// Writes all pages; the bytes that they had.
    fn flush(&mut self) -> Result<usize> {
        let before = self.written.len();
        write(&self.pages, None, self.morsel, &mut self.tape, &mut self.written)?;
        let bytes = self.pages.bytes();
        self.pages.clear();
        self.memory.shrink(bytes);
        self.memory.grow((self.written.len() - before) * size_of::<StoredPage>())?;
        Ok(bytes)
    }

    /// Writes a row for which not even a page can be had without asking for it by all means.
    fn add_alone(&mut self, from: &RowPages, row: usize, lane: usize) -> Result<()> {
        let mut pages = RowPages::new(self.pages.layout().clone(), PAGE_BYTES).strict();
        let row = &self.sorted[row..row + 1];
        pages.append_rows(from, row, 0, &mut self.memory, &mut self.refs)?;
        write(&pages, Some(lane), self.morsel, &mut self.tape, &mut self.written)?;
        self.memory.shrink(pages.bytes());
        self.memory.grow(size_of::<StoredPage>())
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
    // The pages of a lane side by side, as they are read.
    let mut order: Vec<usize> = (0..pages.pages()).collect();
    order.sort_by_key(|&page| pages.page_lane(page));
    for page in order {
        let Some(image) = pages.image(page) else { continue };
        let position = tape.append(image.fixed, 0)?;
        if !image.heap.is_empty() {
            tape.append(image.heap, 0)?;
        }
        let (rows, bytes) = (image.rows, image.fixed.len() + image.heap.len());
        let lane = lane.unwrap_or_else(|| pages.page_lane(page));
        written.push(Written { lane, morsel, position, rows, bytes });
    }
    Ok(())
}
