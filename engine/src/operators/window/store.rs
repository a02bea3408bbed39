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
//! [`STORE_BYTES`], is enough to write blocks and to read them back; what that takes is set aside
//! from the start. Readers are charged for columns that they hold of blocks on tape.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use crate::batch::{Column, all_rows};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{PageReader, PageWriter, RowLayout, RowPages, RowRef};
use crate::memory::runs::Check;
use crate::memory::spill::Tape;

/// What a store needs to work: a few blocks, and what writing and reading them takes.
pub(super) const STORE_BYTES: usize = 3 << 20;

/// Buffer of a tape that is written.
const TAPE_BUFFER_BYTES: usize = 128 << 10;

/// Pages of rows that are written next.
const PAGES_BYTES: usize = 256 << 10;

/// What writing takes: the buffer, and pages that grow up to their size.
const WRITING_BYTES: usize = TAPE_BUFFER_BYTES + 2 * PAGES_BYTES;

/// Window of a tape that is read.
const WINDOW_BYTES: usize = 64 << 10;

/// What reading takes: a page that is larger than the window.
const READING_BYTES: usize = PAGES_BYTES + (4 << 10);

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
    /// `None` while blocks are written.
    writing: Option<Reservation>,
    reader: PageReader,
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
    /// Its pages are those of the tape in this range, of so many bytes together.
    Tape {
        tape: Arc<Tape>,
        range: Range<u64>,
        bytes: usize,
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
    /// Bytes of it that are not in the store.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

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
        memory.grow(WRITING_BYTES + READING_BYTES)?;
        let writing = Some(memory.cede(WRITING_BYTES));
        let reader = PageReader::new(memory.cede(READING_BYTES), WINDOW_BYTES);
        Ok(Store {
            layout: Arc::new(RowLayout::new(&types, &[])?),
            types,
            blocks: VecDeque::new(),
            loaded: VecDeque::new(),
            end: 0,
            is_complete: false,
            memory,
            writing,
            reader,
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
            self.make_room(piece.bytes)?;
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

    /// Charges so many bytes, if need be after blocks have been moved out of memory: what is set
    /// aside for reading may be taken by blocks that are not on tape.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no memory for them even so, `Io` when blocks cannot be written.
    pub(super) fn make_room(&mut self, bytes: usize) -> Result<()> {
        loop {
            if self.memory.try_grow(bytes) {
                return Ok(());
            }
            if self.loaded.is_empty() {
                break;
            }
            self.unload();
        }
        if self.blocks.iter().any(|block| matches!(block.body, Body::Memory { .. })) {
            self.spill(&|| Ok(()))?;
        }
        self.memory.grow(bytes)
    }

    /// Writes all blocks that are in memory.
    fn spill(&mut self, check: Check<'_>) -> Result<()> {
        let Some(writing) = self.writing.take() else {
            return Err(Error::internal("a window writes after an error"));
        };
        let mut writer = PageWriter::new(writing, TAPE_BUFFER_BYTES)?;
        let mut written = Vec::new();
        for (at, block) in self.blocks.iter().enumerate() {
            if let Body::Memory { columns, .. } = &block.body {
                check()?;
                let columns = columns.iter().zip(&self.types[..]);
                let columns =
                    columns.map(|(array, logical)| Column::flat(logical.clone(), array.clone()));
                let columns: Vec<Column> = columns.collect();
                let on_tape = write_block(&self.layout, &columns, block.rows, &mut writer)?;
                written.push((at, on_tape));
            }
        }
        let (tape, writing) = writer.finish()?;
        self.writing = Some(writing);
        for (at, (range, bytes)) in written {
            let body = Body::Tape { tape: tape.clone(), range, bytes };
            if let Body::Memory { bytes, .. } = std::mem::replace(&mut self.blocks[at].body, body) {
                self.memory.shrink(bytes);
            }
        }
        Ok(())
    }

    /// Reads a block back.
    fn load(&mut self, at: usize) -> Result<&Loaded> {
        if self.loaded.len() == LOADED_MAX {
            self.unload();
        }
        let Body::Tape { tape, range, bytes } = &self.blocks[at].body else {
            return Err(Error::internal("a block in memory is read back"));
        };
        let (tape, range, bytes) = (tape.clone(), range.clone(), *bytes);
        self.make_room(bytes)?;
        let mut pages = RowPages::new(self.layout.clone(), PAGES_BYTES);
        self.reader.seek(&tape, range.start, range.end)?;
        while let Some(page) = self.reader.next(|_| Ok(()))? {
            pages.push_taped(page)?;
        }
        let block = &self.blocks[at];
        if pages.bytes() != bytes || pages.rows() != block.rows {
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

/// Writes the rows of a block as pages; where they are on the tape, and their bytes.
fn write_block(
    layout: &Arc<RowLayout>,
    columns: &[Column],
    rows: usize,
    writer: &mut PageWriter,
) -> Result<(Range<u64>, usize)> {
    let columns: Vec<&Column> = columns.iter().collect();
    let bytes: usize = columns.iter().map(|column| column.values().get_array_memory_size()).sum();
    // So many rows that their pages are about as large as they should be.
    let step = (rows * PAGES_BYTES / bytes.max(1)).clamp(1, rows.max(1));
    let (start, mut on_tape) = (writer.len(), 0);
    let mut rest = all_rows(rows);
    while !rest.is_empty() {
        let mut pages = RowPages::new(layout.clone(), PAGES_BYTES);
        let (mut refs, step) = (Vec::new(), step.min(rest.len()));
        let mut stored = pages.append(&columns, &rest[..step], writer.memory(), &mut refs)?;
        if stored == 0 {
            // One row that is larger than what is set aside.
            pages = pages.strict();
            stored = pages.append(&columns, &rest[..1], writer.memory(), &mut refs)?;
        }
        for page in 0..pages.pages() {
            on_tape += writer.append(&pages, page, None)?.map_or(0, |span| span.bytes);
        }
        writer.memory().shrink(pages.bytes());
        rest = &rest[stored..];
    }
    Ok((start..writer.len(), on_tape))
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

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};

    use super::*;
    use crate::memory::hoard::beside_hoard;
    use crate::memory::{Governor, GovernorOptions};

    #[test]
    fn blocks_are_written_and_read_within_the_minimum_beside_somebody_who_takes_the_rest() {
        let text = |row: usize| "text ".repeat(row % 41) + &row.to_string();
        let block = |number: usize| -> Vec<ArrayRef> {
            let rows = number * 2000..(number + 1) * 2000;
            let texts: StringViewArray = rows.clone().map(|row| Some(text(row))).collect();
            let numbers: Int64Array = rows.map(|row| Some(row as i64)).collect();
            vec![Arc::new(texts), Arc::new(numbers)]
        };
        let types: Arc<[DataType]> = Arc::from([DataType::Utf8, DataType::Int64]);
        for more in [0, 40 << 10, 1 << 20, 100 << 20] {
            let limit = Some(STORE_BYTES + more);
            let options = GovernorOptions { limit_bytes: limit, ..Default::default() };
            let governor = Governor::new(options);
            let memory = governor.reserve("window", STORE_BYTES).expect("fits");
            beside_hoard(&governor, 0, || {
                let mut store = Store::new(types.clone(), memory).expect("has its minimum");
                for number in 0..60 {
                    store.append(block(number), 2000, &|| Ok(())).expect("has another way");
                }
                for column in [0, 1] {
                    let mut reader = Reader::new(column);
                    for number in (0..60).chain([3, 50, 7]) {
                        let piece = reader.piece(&mut store, number * 2000 + 7);
                        let piece = piece.expect("is read back");
                        assert_eq!(piece.values(), &block(number as usize)[column]);
                    }
                    store.hold(&mut reader.piece, None).expect("gives back");
                }
                assert_eq!(store.end(), 120_000);
                store.forget_before(120_000);
            });
            assert_eq!((governor.reserved(), governor.spill().usage().used), (0, 0));
            assert!(governor.spill().usage().written > 0 || more > 10 << 20);
        }
    }
}
