//! Rows in order that somebody may still read: those whose results are not known yet, and those
//! behind that frames reach back to.
//!
//! ```text
//!  forgotten │ block │ block │ … │ block ◄─ append
//!            └ the first that somebody still reads
//! ```
//!
//! Rows have positions that count from the first row of the worker. They come in blocks, a chunk's
//! worth of columns each. When memory is refused, all blocks are written to a tape and read back,
//! one at a time, when somebody asks for a column of theirs.
//!
//! Memory: blocks are charged with the bytes of their arrays. The minimum of the reservation,
//! [`STORE_BYTES`], is enough to write blocks and to read them back. Readers are charged for
//! columns that they hold of blocks on tape.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use crate::batch::{Column, all_rows};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{RowLayout, RowPages, RowRef};
use crate::memory::runs::Check;
use crate::memory::spill::{Tape, TapeReader, TapeWriter};

/// What a store needs to work: a few blocks, and what writing and reading them takes.
pub(super) const STORE_BYTES: usize = 3 << 20;

/// Buffer of a tape that is written.
const TAPE_BUFFER_BYTES: usize = 128 << 10;

/// Pages of rows that are written next.
const PAGES_BYTES: usize = 256 << 10;

/// Held for writing, so that making room does not ask for much.
const WRITING_BYTES: usize = TAPE_BUFFER_BYTES + 2 * PAGES_BYTES;

/// Window of a tape that is read.
const WINDOW_BYTES: usize = 64 << 10;

/// Blocks read back that are kept, because several readers are near each other.
const LOADED_MAX: usize = 2;

/// See the module documentation.
pub(super) struct Store {
    layout: Arc<RowLayout>,
    /// The logical types of the columns.
    types: Arc<[DataType]>,
    blocks: VecDeque<Block>,
    loaded: VecDeque<Loaded>,
    end: u64,
    is_complete: bool,
    memory: Reservation,
}

struct Block {
    start: u64,
    rows: usize,
    body: Body,
}

enum Body {
    Memory {
        columns: Vec<ArrayRef>,
        bytes: usize,
    },
    /// Its pages are the blocks of the tape in this range.
    Tape {
        tape: Arc<Tape>,
        range: Range<u64>,
    },
}

/// A block that was read back.
struct Loaded {
    start: u64,
    pages: RowPages,
    refs: Vec<RowRef>,
}

/// A column of one block.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Positions of its rows.
    pub(super) rows: Range<u64>,
    values: ArrayRef,
    /// Bytes that the store does not know of.
    bytes: usize,
}

impl Piece {
    /// Its values, of the physical type.
    pub(super) fn values(&self) -> &ArrayRef {
        &self.values
    }
}

impl Store {
    /// An empty store for columns of these logical types. The minimum of `memory` is
    /// [`STORE_BYTES`].
    ///
    /// # Errors
    /// `Input` when a type cannot be stored, `OutOfMemory` when the minimum is not there.
    pub(super) fn new(types: Arc<[DataType]>, mut memory: Reservation) -> Result<Self> {
        memory.grow(WRITING_BYTES)?;
        Ok(Store {
            layout: Arc::new(RowLayout::new(&types, &[])?),
            types,
            blocks: VecDeque::new(),
            loaded: VecDeque::new(),
            end: 0,
            is_complete: false,
            memory,
        })
    }

    /// The position behind the last row.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether no more rows come.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Says whether more rows come.
    pub(super) fn set_complete(&mut self, is_complete: bool) {
        self.is_complete = is_complete;
    }

    /// What readers and evaluators charge what they keep to.
    pub(super) fn memory(&mut self) -> &mut Reservation {
        &mut self.memory
    }

    /// Adds a block behind the others.
    ///
    /// # Errors
    /// `OutOfMemory` and `Io` when blocks have to be written and cannot be, and what `check`
    /// reports.
    pub(super) fn append(
        &mut self,
        columns: Vec<ArrayRef>,
        rows: usize,
        check: Check<'_>,
    ) -> Result<()> {
        let bytes = columns.iter().map(|column| column.get_array_memory_size()).sum();
        let fits = self.memory.try_grow(bytes);
        // What is written at once is in memory that whoever made it accounts for.
        let body = Body::Memory { columns, bytes: if fits { bytes } else { 0 } };
        self.blocks.push_back(Block { start: self.end, rows, body });
        self.end += rows as u64;
        if fits && !self.memory.pressed() {
            return Ok(());
        }
        self.spill(check)
    }

    /// Positions of the block that holds a row.
    ///
    /// # Errors
    /// `Internal` when there is no such row (any more).
    pub(super) fn block(&self, position: u64) -> Result<Range<u64>> {
        let block = &self.blocks[self.find(position)?];
        Ok(block.start..block.start + block.rows as u64)
    }

    /// A column of the block that holds the row at `position`.
    ///
    /// # Errors
    /// `Internal` when there is no such row (any more) or column, `Io` and `OutOfMemory` when the
    /// block is on tape and cannot be read.
    pub(super) fn column(&mut self, position: u64, column: usize) -> Result<Piece> {
        let at = self.find(position)?;
        let block = &self.blocks[at];
        let rows = block.start..block.start + block.rows as u64;
        if let Body::Memory { columns, .. } = &block.body {
            let values = columns.get(column).cloned();
            let values = values.ok_or_else(|| Error::internal(format!("no column {column}")))?;
            return Ok(Piece { rows, values, bytes: 0 });
        }
        let loaded = match self.loaded.iter().position(|loaded| loaded.start == rows.start) {
            Some(loaded) => &self.loaded[loaded],
            None => self.load(at)?,
        };
        let values = loaded.pages.gather(column, &loaded.refs)?;
        let bytes = values.get_array_memory_size();
        Ok(Piece { rows, values, bytes })
    }

    /// Keeps a column, which is charged for, instead of the one before.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no memory for it.
    pub(super) fn hold(&mut self, held: &mut Option<Piece>, piece: Option<Piece>) -> Result<()> {
        if let Some(before) = held.take() {
            self.memory.shrink(before.bytes);
        }
        if let Some(piece) = &piece {
            self.memory.grow(piece.bytes)?;
        }
        *held = piece;
        Ok(())
    }

    /// Forgets the blocks all of whose rows are before `position`.
    pub(super) fn forget_before(&mut self, position: u64) {
        while let Some(block) = self.blocks.front()
            && block.start + block.rows as u64 <= position
        {
            if let Body::Memory { bytes, .. } = block.body {
                self.memory.shrink(bytes);
            }
            self.blocks.pop_front();
        }
        let first = self.blocks.front().map_or(self.end, |block| block.start);
        while let Some(loaded) = self.loaded.front()
            && loaded.start < first
        {
            self.unload();
        }
    }

    fn find(&self, position: u64) -> Result<usize> {
        let behind = self.blocks.partition_point(|block| block.start <= position);
        let at = behind.checked_sub(1).filter(|_| position < self.end);
        at.ok_or_else(|| Error::internal(format!("row {position} of a window is gone")))
    }

    /// Writes all blocks that are in memory.
    fn spill(&mut self, check: Check<'_>) -> Result<()> {
        self.memory.shrink(WRITING_BYTES);
        let space = self.memory.governor().spill().clone();
        let mut writer = TapeWriter::new(&space, self.memory.who().clone(), TAPE_BUFFER_BYTES);
        self.memory.grow(TAPE_BUFFER_BYTES)?;
        let mut written = Vec::new();
        for (at, block) in self.blocks.iter().enumerate() {
            if let Body::Memory { columns, .. } = &block.body {
                check()?;
                let (layout, memory) = (&self.layout, &mut self.memory);
                let columns = columns.iter().zip(&self.types[..]);
                let columns =
                    columns.map(|(array, logical)| Column::flat(logical.clone(), array.clone()));
                let columns: Vec<Column> = columns.collect();
                write_block(layout, &columns, block.rows, &mut writer, memory)?;
                written.push((at, writer.len()));
            }
        }
        let tape = Arc::new(writer.finish()?);
        let mut start = 0;
        for (at, end) in written {
            let body = Body::Tape { tape: tape.clone(), range: start..end };
            if let Body::Memory { bytes, .. } = std::mem::replace(&mut self.blocks[at].body, body) {
                self.memory.shrink(bytes);
            }
            start = end;
        }
        self.memory.shrink(TAPE_BUFFER_BYTES);
        self.memory.grow(WRITING_BYTES)
    }

    /// Reads a block back.
    fn load(&mut self, at: usize) -> Result<&Loaded> {
        if self.loaded.len() == LOADED_MAX {
            self.unload();
        }
        let block = &self.blocks[at];
        let Body::Tape { tape, range } = &block.body else {
            return Err(Error::internal("a block in memory is read back"));
        };
        let mut pages = RowPages::new(self.layout.clone(), PAGES_BYTES);
        let mut reader = TapeReader::new(tape.clone(), WINDOW_BYTES, self.memory.child(0)?)?;
        reader.seek(range.start, range.end, 0);
        while let Some(page) = reader.next_block()? {
            if !self.memory.try_grow(page.bytes.len()) {
                while let Some(loaded) = self.loaded.pop_front() {
                    self.memory.shrink(loaded.pages.bytes());
                }
                self.memory.grow(page.bytes.len())?;
            }
            pages.push_image(page.tag as usize, page.bytes.to_vec())?;
        }
        if pages.rows() != block.rows {
            return Err(Error::internal("a block of a window has lost rows"));
        }
        let refs = pages.refs().collect();
        self.loaded.push_back(Loaded { start: block.start, pages, refs });
        self.loaded.back().ok_or_else(|| Error::internal("a block that was just read"))
    }

    fn unload(&mut self) {
        if let Some(loaded) = self.loaded.pop_front() {
            self.memory.shrink(loaded.pages.bytes());
        }
    }
}

/// Writes the rows of a block as pages.
fn write_block(
    layout: &Arc<RowLayout>,
    columns: &[Column],
    rows: usize,
    writer: &mut TapeWriter,
    memory: &mut Reservation,
) -> Result<()> {
    let columns: Vec<&Column> = columns.iter().collect();
    let bytes: usize = columns.iter().map(|column| column.values().get_array_memory_size()).sum();
    // So many rows that their pages are about as large as they should be.
    let step = (rows * PAGES_BYTES / bytes.max(1)).clamp(1, rows.max(1));
    let mut image = Vec::new();
    for rows in all_rows(rows).chunks(step) {
        let mut pages = RowPages::new(layout.clone(), PAGES_BYTES).strict();
        pages.append(&columns, rows, memory, &mut Vec::new())?;
        for page in 0..pages.pages() {
            let Some(part) = pages.image(page) else { continue };
            image.clear();
            image.extend_from_slice(part.fixed);
            image.extend_from_slice(part.heap);
            writer.append(&image, part.rows as u32)?;
        }
        memory.shrink(pages.bytes());
    }
    Ok(())
}

/// Reads one column, mostly forwards, and keeps the block it is at.
pub(super) struct Reader {
    column: usize,
    piece: Option<Piece>,
}

impl Reader {
    pub(super) fn new(column: usize) -> Self {
        Reader { column, piece: None }
    }

    /// The column in the block that holds the row at `position`.
    ///
    /// # Errors
    /// As [`Store::column`].
    pub(super) fn piece(&mut self, store: &mut Store, position: u64) -> Result<&Piece> {
        let is_at_hand = self.piece.as_ref().is_some_and(|p| p.rows.contains(&position));
        if !is_at_hand {
            let piece = store.column(position, self.column)?;
            store.hold(&mut self.piece, Some(piece))?;
        }
        self.piece.as_ref().ok_or_else(|| Error::internal("a reader without its block"))
    }
}
