//! Writes a run to tapes, or as the same blocks to memory.
//!
//! ```text
//! data block  = | words | packed row | words | packed row | …      tag: rows
//! index block = | words 16 of a data block's first row | its position 8 | …
//! ```

use std::sync::Arc;

use super::Check;
use super::blocks::Blocks;
use super::run::{BlocksRun, Body, Entry, Run, TapeRun};
use super::shape::Words;
use super::tape_form::TapeForm;
use crate::error::{Error, Result};
use crate::memory::Reservation;
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
    number: u64,
    layout: Arc<PackedLayout>,
    form: TapeForm,
    to: Target,
    block: Vec<u8>,
    block_rows: u32,
    first: Words,
    rows: u64,
    bytes: u64,
    longest: usize,
}

/// Where blocks go.
#[expect(clippy::large_enum_variant, reason = "there is one of a writer")]
enum Target {
    Tape(Tapes),
    Memory(Blocks),
}

struct Tapes {
    data: TapeWriter,
    index: TapeWriter,
    entries: Vec<u8>,
    /// The first words of all.
    first: Option<Words>,
    samples: Vec<Words>,
    /// Position at which the next sample is due.
    sample_at: u64,
}

impl RunWriter {
    /// A new run, of this number, of rows of this form, for `who`. The caller has reserved
    /// [`SPILL_BYTES`].
    pub(super) fn new(
        number: u64,
        space: &SpillSpace,
        who: Arc<str>,
        layout: Arc<PackedLayout>,
        form: TapeForm,
    ) -> Self {
        let to = Target::Tape(Tapes {
            data: TapeWriter::new(space, who.clone(), DATA_BUFFER_BYTES),
            index: TapeWriter::new(space, who, INDEX_BUFFER_BYTES),
            entries: Vec::with_capacity(INDEX_ENTRIES * INDEX_ENTRY_BYTES),
            first: None,
            samples: Vec::new(),
            sample_at: stagger(number, SAMPLE_BYTES),
        });
        RunWriter::to(number, to, layout, form)
    }

    /// A new run in memory. The caller charges it.
    pub(super) fn in_memory(number: u64, layout: Arc<PackedLayout>, form: TapeForm) -> Self {
        RunWriter::to(number, Target::Memory(Blocks::default()), layout, form)
    }

    fn to(number: u64, to: Target, layout: Arc<PackedLayout>, form: TapeForm) -> Self {
        RunWriter {
            number,
            layout,
            form,
            to,
            block: Vec::with_capacity(BLOCK_BYTES + COPY_SLACK),
            block_rows: 0,
            first: 0,
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

    /// Adds a block of so many rows, which are in order and in the run's form; the first has these
    /// words.
    pub(super) fn push_block(&mut self, block: &[u8], rows: u32, first: Words) -> Result<()> {
        self.rows += u64::from(rows);
        self.longest = self.longest.max(block.len());
        match &mut self.to {
            Target::Tape(tapes) => tapes.push(block, rows, first),
            Target::Memory(blocks) => {
                blocks.push(block, rows, first);
                Ok(())
            }
        }
    }

    /// The run on tape.
    pub(super) fn finish(mut self, base: u64, facts: Vec<ColumnFacts>) -> Result<Run> {
        self.end_block()?;
        let Target::Tape(mut tapes) = self.to else {
            return Err(Error::internal("a run in memory is finished as one on tape"));
        };
        tapes.end_index_block()?;
        if tapes.samples.is_empty() {
            // A small run.
            tapes.samples.extend(tapes.first);
        }
        tapes.samples.shrink_to_fit();
        let body = TapeRun {
            data: Arc::new(tapes.data.finish()?),
            index: Arc::new(tapes.index.finish()?),
            form: Box::new(self.form),
            samples: tapes.samples,
            longest: self.longest,
        };
        let (number, rows, bytes) = (self.number, self.rows, self.bytes);
        Ok(Run { number, base, rows, bytes, facts, body: Body::Tape(body) })
    }

    /// The run in memory, of which all bytes are now taken from `charge`.
    ///
    /// # Errors
    /// `OutOfMemory` when they are more than was expected and there are no more.
    pub(super) fn finish_in_memory(
        mut self,
        base: u64,
        facts: Vec<ColumnFacts>,
        mut charge: Reservation,
    ) -> Result<Run> {
        self.end_block()?;
        let Target::Memory(mut blocks) = self.to else {
            return Err(Error::internal("a run on tape is finished as one in memory"));
        };
        blocks.trim();
        charge.resize_to(blocks.bytes())?;
        let (layout, form, longest) = (self.layout, Box::new(self.form), self.longest);
        let body = Body::Blocks(BlocksRun { layout, blocks, form, longest, charge });
        let (number, rows, bytes) = (self.number, self.rows, self.bytes);
        Ok(Run { number, base, rows, bytes, facts, body })
    }

    fn end_block(&mut self) -> Result<()> {
        if self.block_rows == 0 {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.block);
        self.push_block(&block, self.block_rows, self.first)?;
        block.clear();
        block.shrink_to(BLOCK_BYTES + COPY_SLACK);
        self.block = block;
        self.block_rows = 0;
        Ok(())
    }
}

impl Tapes {
    fn push(&mut self, block: &[u8], rows: u32, first: Words) -> Result<()> {
        let position = self.data.append(block, rows)?;
        self.first.get_or_insert(first);
        if position >= self.sample_at {
            self.samples.push(first);
            let missed = (position - self.sample_at) / SAMPLE_BYTES;
            self.sample_at += (missed + 1) * SAMPLE_BYTES;
        }
        self.entries.extend_from_slice(&first.to_le_bytes());
        self.entries.extend_from_slice(&position.to_le_bytes());
        if self.entries.len() >= INDEX_ENTRIES * INDEX_ENTRY_BYTES {
            self.end_index_block()?;
        }
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

/// A number below `period`, for run number `number`. Runs of the same rows have samples at
/// different places: at the same ones they would tell nothing of what is between these.
pub(super) fn stagger(number: u64, period: u64) -> u64 {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(spread) * u128::from(period)) >> 64) as u64
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_many_runs_are_spread_evenly_over_the_period() {
        let mut found = [0; 8];
        for builder in 0..2u64 {
            for run in 0..64 {
                let at = stagger((builder << 32) + run, SAMPLE_BYTES);
                assert!(at < SAMPLE_BYTES);
                found[(at * 8 / SAMPLE_BYTES) as usize] += 1;
            }
        }
        assert!(found.iter().all(|count| (12..=20).contains(count)), "{found:?}");
    }
}
