//! Reads the rows of lanes back: pages for the build side's tables, chunks for the probe side.
//!
//! Memory: a window of [`WINDOW_BYTES`], and the pages and columns of the probe rows at hand.

use std::sync::Arc;

use super::lanes::{Lane, StoredPage};
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
#[derive(Default)]
pub(super) struct LaneReader {
    reader: Option<(Arc<Tape>, TapeReader)>,
}

impl LaneReader {
    /// A page's rows, then its heap. The window is charged to a child of `memory`, the page to
    /// nobody.
    ///
    /// # Errors
    /// `Io` when the tape cannot be read, `OutOfMemory` when the window has no room.
    pub(super) fn load(&mut self, page: &StoredPage, memory: &Reservation) -> Result<Vec<u8>> {
        let reader = match &mut self.reader {
            Some((tape, reader)) => {
                if !Arc::ptr_eq(tape, &page.tape) {
                    reader.turn_to(page.tape.clone());
                    *tape = page.tape.clone();
                }
                reader
            }
            none => {
                let reader = TapeReader::new(page.tape.clone(), WINDOW_BYTES, memory.child(0)?)?;
                &mut none.insert((page.tape.clone(), reader)).1
            }
        };
        let mut bytes = Vec::with_capacity(page.bytes);
        reader.seek(page.position, u64::MAX, 0);
        while bytes.len() < page.bytes {
            let Some(part) = reader.next_block()? else { break };
            bytes.extend_from_slice(part.bytes);
        }
        match bytes.len() == page.bytes {
            true => Ok(bytes),
            false => Err(Error::internal("a page on a tape is not as long as it was")),
        }
    }
}

/// Walks over the probe rows of a lane, any number of times.
pub(super) struct ProbeRows {
    lane: Arc<Lane>,
    /// The page that is read next.
    page: usize,
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
        Ok(ProbeRows { lane, page: 0, pages, refs: Vec::new(), at: 0, row: 0, charge })
    }

    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Goes back to the first row.
    pub(super) fn rewind(&mut self) {
        (self.page, self.at, self.row) = (0, 0, 0);
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
        while let Some(page) = self.lane.pages.get(self.page)
            && self.pages.rows() < CHUNK_ROWS
            && self.pages.bytes() < READ_BYTES
        {
            // The rows, and the columns that are made of them.
            self.charge.resize_to(2 * (self.pages.bytes() + page.bytes))?;
            self.pages.push_image(page.rows, reader.load(page, &self.charge)?)?;
            self.page += 1;
        }
        self.refs.extend(self.pages.refs());
        Ok(!self.refs.is_empty())
    }
}
