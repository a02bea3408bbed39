//! Reads the rows of lanes back: pages for the build side's tables, chunks for the probe side.
//!
//! Memory: a window of [`WINDOW_BYTES`], and the pages and columns of the probe rows at hand.

use std::sync::Arc;

use super::lanes::{Lane, Stretch, page_of};
use super::shape::Shape;
use crate::batch::{CHUNK_ROWS, Chunk, Column, Place};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{RowPages, RowRef};
use crate::memory::spill::{Tape, TapeReader};

/// The window through which tapes are read.
const WINDOW_BYTES: usize = 64 << 10;

/// Bytes of probe rows that are read at a time, a page more or less.
const READ_BYTES: usize = 256 << 10;

/// Reads pages, of any tape.
pub(super) struct LaneReader {
    reader: Option<(Arc<Tape>, TapeReader)>,
    memory: Reservation,
}

impl LaneReader {
    /// A reader whose window, when it has one, is charged to a child of `memory`.
    pub(super) fn new(memory: Reservation) -> Self {
        LaneReader { reader: None, memory }
    }

    /// Adds the page at `at` of a stretch to `pages`; where the next one is. `charge` is called
    /// before so many bytes are taken.
    ///
    /// # Errors
    /// `Io` when the tape cannot be read, `OutOfMemory` when the window has no room, and those of
    /// `charge`.
    pub(super) fn load(
        &mut self,
        stretch: &Stretch,
        at: u64,
        pages: &mut RowPages,
        mut charge: impl FnMut(usize) -> Result<()>,
    ) -> Result<u64> {
        let reader = match &mut self.reader {
            Some((tape, reader)) => {
                if !Arc::ptr_eq(tape, &stretch.tape) {
                    reader.turn_to(stretch.tape.clone());
                    *tape = stretch.tape.clone();
                }
                reader
            }
            none => {
                let (tape, window) = (stretch.tape.clone(), self.memory.child(0)?);
                let reader = TapeReader::new(tape.clone(), WINDOW_BYTES, window)?;
                &mut none.insert((tape, reader)).1
            }
        };
        reader.seek(at, stretch.until, 0);
        let block = reader.next_block()?.ok_or_else(cut_off)?;
        let (rows, has_heap) = page_of(block.tag);
        charge(block.bytes.len())?;
        let mut bytes = block.bytes.to_vec();
        if has_heap {
            let heap = reader.next_block()?.ok_or_else(cut_off)?;
            charge(heap.bytes.len())?;
            bytes.reserve_exact(heap.bytes.len());
            bytes.extend_from_slice(heap.bytes);
        }
        pages.push_image(rows, bytes)?;
        Ok(reader.position())
    }
}

fn cut_off() -> Error {
    Error::internal("a page on a tape is not as long as it was")
}

/// Walks over the probe rows of a lane, any number of times.
pub(super) struct ProbeRows {
    lane: Arc<Lane>,
    /// The stretch that is read next, and where it goes on if it has been begun.
    stretch: usize,
    position: Option<u64>,
    pages: RowPages,
    refs: Vec<RowRef>,
    /// The row of `refs` that comes next, and how many rows of the lane are before it.
    at: usize,
    row: usize,
    charge: Reservation,
}

impl ProbeRows {
    /// # Errors
    /// `Internal` when the join's rows cannot be stored.
    pub(super) fn new(lane: Arc<Lane>, shape: &Shape, charge: Reservation) -> Result<Self> {
        let pages = RowPages::new(shape.probe_rows()?.layout.clone(), READ_BYTES);
        let (stretch, position, refs) = (0, None, Vec::new());
        Ok(ProbeRows { lane, stretch, position, pages, refs, at: 0, row: 0, charge })
    }

    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Goes back to the first row.
    pub(super) fn rewind(&mut self) {
        (self.stretch, self.position, self.at, self.row) = (0, None, 0, 0);
        self.refs.clear();
    }

    /// The next rows as a chunk like those of the probe side, and the number of the first.
    ///
    /// # Errors
    /// As [`LaneReader::load`].
    pub(super) fn next(
        &mut self,
        reader: &mut LaneReader,
        shape: &Shape,
    ) -> Result<Option<(usize, Chunk)>> {
        let rows = shape.probe_rows()?;
        if self.at == self.refs.len() && !self.fill(reader)? {
            return Ok(None);
        }
        let end = self.refs.len().min(self.at + CHUNK_ROWS);
        let refs = &self.refs[self.at..end];
        let mut columns: Vec<Column> = rows.types.iter().cloned().map(Column::null).collect();
        for (stored, &input) in rows.stored.iter().enumerate() {
            let array = self.pages.gather(stored, refs)?;
            columns[input] = Column::flat(rows.types[input].clone(), array);
        }
        let chunk = Chunk::new(columns, refs.len(), Place::default());
        let first = self.row;
        self.row += refs.len();
        self.at = end;
        Ok(Some((first, chunk)))
    }

    /// Reads some pages; whether there were any.
    fn fill(&mut self, reader: &mut LaneReader) -> Result<bool> {
        self.pages.clear();
        self.refs.clear();
        self.at = 0;
        self.charge.resize_to(0)?;
        while let Some(stretch) = self.lane.stretches.get(self.stretch)
            && self.pages.rows() < CHUNK_ROWS
            && self.pages.bytes() < READ_BYTES
        {
            // The rows, and the columns that are made of them.
            let charge = |bytes| self.charge.grow(2 * bytes);
            let at = self.position.unwrap_or(stretch.from);
            let next = reader.load(stretch, at, &mut self.pages, charge)?;
            let is_read = next >= stretch.until;
            self.position = (!is_read).then_some(next);
            self.stretch += usize::from(is_read);
        }
        self.refs.extend(self.pages.refs());
        Ok(!self.refs.is_empty())
    }
}
