//! Writes a run to tapes.
//!
//! ```text
//! data block  = | words | packed row | words | packed row | …      tag: rows
//! index block = | words 16 of a data block's first row | its position 8 | …
//! ```

use std::sync::Arc;

use super::Check;
use super::run::{Body, Entry, Run, TapeRun};
use super::shape::Words;
use super::tape_form::TapeForm;
use crate::error::{Error, Result};
use crate::memory::rows::packed::{ColumnFacts, PackedLayout, PackedPages, PackedRow};
use crate::memory::spill::{SpillSpace, TapeWriter};

/// Bytes of a data block, unless a row is larger. Small, because a merger has one of each run in
/// memory and reads one block too many at either end of a range.
pub(super) const BLOCK_BYTES: usize = 8 << 10;

/// Bytes of data between two samples.
pub(super) const SAMPLE_BYTES: u64 = 256 << 10;

/// Bytes of words in an index.
const WORDS_BYTES: usize = 16;

/// Bytes of an index entry, and entries of a full index block.
const INDEX_ENTRY_BYTES: usize = WORDS_BYTES + 8;
const INDEX_ENTRIES: usize = 256;

/// Bytes that copying a row writes beyond its end.
const COPY_SLACK: usize = 8;

const DATA_BUFFER_BYTES: usize = 128 << 10;
const INDEX_BUFFER_BYTES: usize = 8 << 10;

/// Memory that writing a run takes.
pub const SPILL_BYTES: usize =
    DATA_BUFFER_BYTES + INDEX_BUFFER_BYTES + BLOCK_BYTES + INDEX_ENTRIES * INDEX_ENTRY_BYTES;

/// Rows that are looked at before the first of them is written.
const TOUCH_ROWS: usize = 16;

/// Rows between two questions whether to go on.
const CHECK_ROWS: usize = 8192;

/// Takes rows in order and makes a run of them.
pub(super) struct RunWriter {
    layout: Arc<PackedLayout>,
    form: TapeForm,
    data: TapeWriter,
    index: TapeWriter,
    block: Vec<u8>,
    block_rows: u32,
    first: Words,
    entries: Vec<u8>,
    samples: Vec<Words>,
    /// Bytes of data at which the next sample is due.
    sample_at: u64,
    rows: u64,
    bytes: u64,
    longest: usize,
}

impl RunWriter {
    /// A new run of rows of this form, for `who`. The caller has reserved [`SPILL_BYTES`].
    pub(super) fn new(
        space: &SpillSpace,
        who: Arc<str>,
        layout: Arc<PackedLayout>,
        form: TapeForm,
    ) -> Self {
        RunWriter {
            layout,
            form,
            data: TapeWriter::new(space, who.clone(), DATA_BUFFER_BYTES),
            index: TapeWriter::new(space, who, INDEX_BUFFER_BYTES),
            block: Vec::with_capacity(BLOCK_BYTES + COPY_SLACK),
            block_rows: 0,
            first: 0,
            entries: Vec::with_capacity(INDEX_ENTRIES * INDEX_ENTRY_BYTES),
            samples: Vec::new(),
            sample_at: 0,
            rows: 0,
            bytes: 0,
            longest: 0,
        }
    }

    /// Adds a row, with another mark.
    #[inline]
    pub(super) fn push(&mut self, words: Words, row: &PackedRow<'_>, mark: u64) -> Result<()> {
        let row_bytes = row.bytes_as(&self.form.row, mark);
        let len = self.form.words.bytes() + row_bytes;
        if self.block.len() + len > BLOCK_BYTES && self.block_rows > 0 {
            self.end_block()?;
        }
        if self.block_rows == 0 {
            self.first = words;
            if len > BLOCK_BYTES {
                // Not twice as much as a long row takes.
                self.block.reserve_exact(len + COPY_SLACK);
            }
        }
        self.form.words.put(words, &mut self.block);
        row.copy_as(&self.layout, &self.form.row, mark, &mut self.block);
        self.block_rows += 1;
        self.bytes += row_bytes as u64;
        Ok(())
    }

    /// Adds the rows of sorted entries.
    pub(super) fn push_entries(
        &mut self,
        entries: &[Entry],
        pages: &PackedPages,
        check: Check<'_>,
    ) -> Result<()> {
        for entries in entries.chunks(CHECK_ROWS) {
            check()?;
            for entries in entries.chunks(TOUCH_ROWS) {
                // The rows are all over the pages: looked at side by side, they are waited for
                // once.
                let mut marks = [0; TOUCH_ROWS];
                let rows = entries.iter().map(|entry| pages.row(entry.row).mark());
                marks.iter_mut().zip(rows).for_each(|(mark, of_row)| *mark = of_row);
                for (entry, &mark) in entries.iter().zip(&marks) {
                    self.push(entry.words(), &pages.row(entry.row), mark)?;
                }
            }
        }
        Ok(())
    }

    /// The run.
    pub(super) fn finish(mut self, number: u64, base: u64, facts: Vec<ColumnFacts>) -> Result<Run> {
        self.end_block()?;
        self.end_index_block()?;
        let body = TapeRun {
            data: Arc::new(self.data.finish()?),
            index: Arc::new(self.index.finish()?),
            form: Box::new(self.form),
            samples: self.samples,
            longest: self.longest,
        };
        let (rows, bytes) = (self.rows, self.bytes);
        Ok(Run { number, base, rows, bytes, facts, body: Body::Tape(body) })
    }

    fn end_block(&mut self) -> Result<()> {
        if self.block_rows == 0 {
            return Ok(());
        }
        let position = self.data.append(&self.block, self.block_rows)?;
        if self.bytes >= self.sample_at {
            self.samples.push(self.first);
            self.sample_at = self.bytes + SAMPLE_BYTES;
        }
        self.entries.extend_from_slice(&self.first.to_le_bytes());
        self.entries.extend_from_slice(&position.to_le_bytes());
        if self.entries.len() >= INDEX_ENTRIES * INDEX_ENTRY_BYTES {
            self.end_index_block()?;
        }
        self.rows += u64::from(self.block_rows);
        self.longest = self.longest.max(self.block.len());
        self.block.clear();
        self.block.shrink_to(BLOCK_BYTES + COPY_SLACK);
        self.block_rows = 0;
        Ok(())
    }

    fn end_index_block(&mut self) -> Result<()> {
        if !self.entries.is_empty() {
            self.index.append(&self.entries, 0)?;
            self.entries.clear();
        }
        Ok(())
    }
}

/// The entries of an index block: first words and positions.
pub(super) fn index_entries(block: &[u8]) -> impl Iterator<Item = (Words, u64)> + '_ {
    block.as_chunks::<INDEX_ENTRY_BYTES>().0.iter().filter_map(|entry| {
        let (words, position) = entry.split_first_chunk::<WORDS_BYTES>()?;
        let position = position.first_chunk::<8>()?;
        Some((u128::from_le_bytes(*words), u64::from_le_bytes(*position)))
    })
}

/// The error for a run whose blocks are not what was written.
pub(super) fn broken() -> Error {
    Error::internal("a block of a sorted run has fewer rows than it was written with")
}
