//! Reads the probe rows of lanes back, as chunks.
//!
//! Memory: the pages and columns of the rows at hand are charged to [`Workshop::probe`]. More than
//! one page is read at a time as long as there is room for another.

use std::sync::Arc;

use super::lane_table::Workshop;
use super::lanes::{Lane, PAGE_BYTES};
use super::shape::Shape;
use crate::batch::{CHUNK_ROWS, Chunk, Column, Place};
use crate::error::Result;
use crate::memory::rows::{RowPages, RowRef};

/// Bytes of probe rows that are read at a time, a page more or less.
const READ_BYTES: usize = 256 << 10;

/// What a page takes, and the columns that are made of it.
const PAGE_ROOM: usize = 2 * PAGE_BYTES;

/// What reading needs at least.
pub(super) const PROBE_BYTES: usize = PAGE_ROOM;

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
}

impl ProbeRows {
    /// # Errors
    /// `Internal` when the join's rows cannot be stored.
    pub(super) fn new(lane: Arc<Lane>, shape: &Shape) -> Result<Self> {
        let pages = RowPages::new(shape.probe_rows()?.layout.clone(), READ_BYTES);
        let (stretch, position, refs) = (0, None, Vec::new());
        Ok(ProbeRows { lane, stretch, position, pages, refs, at: 0, row: 0 })
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
    /// `Io` when a tape cannot be read, `OutOfMemory` when a page has no room.
    pub(super) fn next(
        &mut self,
        workshop: &mut Workshop,
        shape: &Shape,
    ) -> Result<Option<(usize, Chunk)>> {
        let rows = shape.probe_rows()?;
        if self.at == self.refs.len() && !self.fill(workshop)? {
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
    fn fill(&mut self, workshop: &mut Workshop) -> Result<bool> {
        self.pages.clear();
        self.refs.clear();
        self.at = 0;
        let (reader, memory) = (&mut workshop.reader, &mut workshop.probe);
        memory.shrink(memory.bytes());
        while let Some(stretch) = self.lane.stretches.get(self.stretch)
            && self.pages.rows() < CHUNK_ROWS
            && self.pages.bytes() < READ_BYTES
            && (self.pages.is_empty() || memory.ensure(PAGE_ROOM))
        {
            let until = stretch.span.until;
            reader.seek(stretch.tape, self.position.unwrap_or(stretch.span.from), until)?;
            // The rows, and the columns that are made of them.
            if let Some(page) = reader.next(|bytes| memory.grow(2 * bytes))? {
                self.pages.push_taped(page)?;
            }
            let next = reader.position();
            self.position = (next < until).then_some(next);
            self.stretch += usize::from(next >= until);
        }
        let _ = memory.ensure(0);
        self.refs.extend(self.pages.refs());
        Ok(!self.refs.is_empty())
    }
}
