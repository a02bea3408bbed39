//! A sorted run, in memory or on tape.

use std::sync::Arc;

use super::Check;
use super::blocks::{Blocks, BlocksAt};
use super::cursor::WINDOW_BYTES_MIN;
use super::distributed::DistributedRun;
use super::shape::Words;
use super::tape_form::{TapeForm, WordsForm};
use super::writer::{RunWriter, broken};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::packed::{ColumnFacts, PackedForm, PackedLayout, PackedPages, PackedRef};
use crate::memory::spill::{SpillSpace, Tape};

/// Rows that are looked at side by side before they are read one by one.
const TOUCH_ROWS: usize = 32;

/// A row, by its words and where it is: 24 bytes, which an aligned `u128` would make 32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<R = PackedRef> {
    high: u64,
    low: u64,
    pub(super) row: R,
}

impl<R> Entry<R> {
    #[inline]
    pub(super) fn new(words: Words, row: R) -> Self {
        Entry { high: (words >> 64) as u64, low: words as u64, row }
    }

    #[inline]
    pub(super) fn words(&self) -> Words {
        (u128::from(self.high) << 64) | u128::from(self.low)
    }
}

/// Rows in order; see the module documentation. Dropping it frees its memory and its disk space.
pub struct Run {
    /// Runs of one builder have increasing numbers.
    pub(super) number: u64,
    /// What the marks of its rows are relative to.
    pub(super) base: u64,
    pub(super) rows: u64,
    /// Of the rows alone.
    pub(super) bytes: u64,
    /// By column, what is known of its values.
    pub(super) facts: Vec<ColumnFacts>,
    pub(super) body: Body,
}

pub(super) enum Body {
    Memory(MemoryRun),
    Blocks(BlocksRun),
    Distributed(DistributedRun),
    Tape(TapeRun),
}

/// Rows in the order they came, and entries in the order of the keys.
pub(super) struct MemoryRun {
    pub(super) pages: PackedPages,
    pub(super) entries: Vec<Entry>,
    pub(super) charge: Reservation,
}

/// Rows in order, in memory but as they would be on tape: most of a sort's rows are held like this,
/// in half the bytes that rows and entries take, and are read from front to back.
pub(super) struct BlocksRun {
    pub(super) layout: Arc<PackedLayout>,
    pub(super) blocks: Blocks,
    pub(super) form: Box<TapeForm>,
    /// Bytes of the longest block.
    pub(super) longest: usize,
    pub(super) charge: Reservation,
}

/// Blocks of rows, and the first words and position of every block.
pub(super) struct TapeRun {
    pub(super) data: Arc<Tape>,
    pub(super) index: Arc<Tape>,
    pub(super) form: Box<TapeForm>,
    /// The first words of blocks about [`super::writer::SAMPLE_BYTES`] apart.
    pub(super) samples: Vec<Words>,
    /// Bytes of the longest block of rows: larger than usual where a row is.
    pub(super) longest: usize,
}

impl Body {
    /// How rows are in blocks, if they are.
    #[inline]
    pub(super) fn tape_form(&self) -> Option<&TapeForm> {
        match self {
            Body::Memory(_) => None,
            Body::Distributed(run) => Some(&run.form),
            Body::Blocks(BlocksRun { form, .. }) | Body::Tape(TapeRun { form, .. }) => Some(form),
        }
    }
}

impl MemoryRun {
    /// Looks at some rows from entry number `from` on, and says which is the first that it left
    /// out. They are all over the pages: looked at side by side, they are waited for once.
    pub(super) fn touch(&self, from: usize) -> usize {
        let end = from + TOUCH_ROWS;
        let rows = self.entries.get(from..end.min(self.entries.len())).unwrap_or(&[]);
        let bytes: usize = rows.iter().map(|entry| self.pages.row(entry.row).bytes().len()).sum();
        std::hint::black_box(bytes);
        end
    }
}

impl Run {
    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of memory that spilling the run would free; 0 when it is on tape.
    pub fn memory_bytes(&self) -> usize {
        match &self.body {
            Body::Memory(run) => run.charge.bytes(),
            Body::Blocks(run) => run.charge.bytes(),
            Body::Distributed(run) => run.charge.bytes(),
            Body::Tape(_) => 0,
        }
    }

    /// Whether the run is on tape.
    pub fn is_spilled(&self) -> bool {
        matches!(self.body, Body::Tape(_))
    }

    /// Whether its rows are in order, not by range only.
    #[inline]
    pub(super) fn is_in_order(&self) -> bool {
        !matches!(self.body, Body::Distributed(_))
    }

    /// The run, if its rows are in order by range only.
    pub(super) fn distributed(&self) -> Option<&DistributedRun> {
        match &self.body {
            Body::Distributed(run) => Some(run),
            _ => None,
        }
    }

    /// Bytes that a window over the run grows to, at least; those of a usual one for a run in
    /// memory, of which that is not known.
    pub(super) fn window_bytes(&self) -> usize {
        match &self.body {
            Body::Memory(_) | Body::Distributed(_) => WINDOW_BYTES_MIN,
            Body::Blocks(BlocksRun { longest, .. }) | Body::Tape(TapeRun { longest, .. }) => {
                WINDOW_BYTES_MIN.max(longest + 64)
            }
        }
    }

    /// A copy of a run in memory on tape. The caller has reserved [`super::SPILL_BYTES`].
    ///
    /// # Errors
    /// What writing tapes and `check` report; the run is unchanged.
    pub fn spill(&self, space: &SpillSpace, check: Check<'_>) -> Result<Run> {
        let run = match &self.body {
            Body::Memory(run) => run,
            Body::Blocks(run) => return self.copy_blocks(run, space, check),
            Body::Distributed(run) => return self.copy_distributed(run, space, check),
            Body::Tape(_) => return Err(Error::internal("a run on tape is spilled")),
        };
        let layout = run.pages.layout();
        let form = TapeForm::of_entries(layout, &self.facts, &run.entries);
        let who = run.charge.who().clone();
        let mut writer = RunWriter::new(self.number, space, who, layout.clone(), form);
        writer.push_entries(&run.entries, &run.pages, check)?;
        writer.finish(self.base, self.facts.clone())
    }

    fn copy_blocks(&self, run: &BlocksRun, space: &SpillSpace, check: Check<'_>) -> Result<Run> {
        let (who, layout) = (run.charge.who().clone(), run.layout.clone());
        let mut writer = RunWriter::new(self.number, space, who, layout, run.form.as_ref().clone());
        let mut at = BlocksAt::default();
        for &(first, _) in run.blocks.index() {
            check()?;
            let block = run.blocks.next(&mut at).ok_or_else(broken)?;
            writer.push_block(block.bytes, block.rows, first)?;
        }
        let mut copy = writer.finish(self.base, self.facts.clone())?;
        copy.bytes = self.bytes;
        Ok(copy)
    }

    fn copy_distributed(
        &self,
        run: &DistributedRun,
        space: &SpillSpace,
        check: Check<'_>,
    ) -> Result<Run> {
        let (who, layout) = (run.charge.who().clone(), run.shape.layout().clone());
        let mut writer = RunWriter::new(self.number, space, who, layout, run.form.as_ref().clone());
        run.write(&mut writer, check)?;
        writer.finish(self.base, self.facts.clone())
    }

    /// A copy of a distributed run in memory with its rows in order; `None` where `memory` has no
    /// room for both.
    pub(super) fn in_order(
        &self,
        memory: &mut Reservation,
        check: Check<'_>,
    ) -> Result<Option<Run>> {
        let Some(run) = self.distributed() else { return Ok(None) };
        let words = self.rows as usize * run.form.words.bytes();
        let bytes = Blocks::bytes_for(self.bytes as usize + words);
        if memory.pressed() || !memory.try_grow(bytes) {
            return Ok(None);
        }
        let (layout, form) = (run.shape.layout().clone(), run.form.as_ref().clone());
        let mut writer = RunWriter::in_memory(self.number, layout, form);
        run.write(&mut writer, check)?;
        match writer.finish_in_memory(self.base, self.facts.clone(), memory.split(bytes)) {
            Err(Error::OutOfMemory { .. }) => Ok(None),
            run => run.map(Some),
        }
    }

    /// How its rows are.
    #[inline]
    pub(super) fn row_form(&self) -> &PackedForm {
        match &self.body {
            Body::Memory(run) => run.pages.layout().form(),
            Body::Distributed(run) => &run.form.row,
            Body::Blocks(BlocksRun { form, .. }) | Body::Tape(TapeRun { form, .. }) => &form.row,
        }
    }

    /// Which bytes of the words are not the same in all rows; of a run in memory nothing is known.
    pub(super) fn words_form(&self) -> WordsForm {
        match self.body.tape_form() {
            None => WordsForm::new(0, Words::MAX),
            Some(form) => form.words,
        }
    }
}
