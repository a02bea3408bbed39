//! A sorted run, in memory or on tape.

use std::sync::Arc;

use super::Check;
use super::cursor::WINDOW_BYTES_MIN;
use super::shape::Words;
use super::tape_form::{TapeForm, WordsForm};
use super::writer::RunWriter;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::packed::{ColumnFacts, PackedPages, PackedRef};
use crate::memory::spill::{SpillSpace, Tape};

/// Rows that are looked at side by side before they are read one by one.
const TOUCH_ROWS: usize = 32;

/// A row of a run in memory: 24 bytes, which an aligned `u128` would make 32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    high: u64,
    low: u64,
    pub(super) row: PackedRef,
}

impl Entry {
    #[inline]
    pub(super) fn new(words: Words, row: PackedRef) -> Self {
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
    Tape(TapeRun),
}

/// Rows in the order they came, and entries in the order of the keys.
pub(super) struct MemoryRun {
    pub(super) pages: PackedPages,
    pub(super) entries: Vec<Entry>,
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
            Body::Tape(_) => 0,
        }
    }

    /// Whether the run is on tape.
    pub fn is_spilled(&self) -> bool {
        matches!(self.body, Body::Tape(_))
    }

    /// Bytes that a window over the run grows to, at least; those of a usual one for a run in
    /// memory, of which that is not known.
    pub(super) fn window_bytes(&self) -> usize {
        match &self.body {
            Body::Memory(_) => WINDOW_BYTES_MIN,
            Body::Tape(run) => WINDOW_BYTES_MIN.max(run.longest + 64),
        }
    }

    /// A copy of a run in memory on tape. The caller has reserved [`super::SPILL_BYTES`].
    ///
    /// # Errors
    /// What writing tapes and `check` report; the run is unchanged.
    pub fn spill(&self, space: &SpillSpace, check: Check<'_>) -> Result<Run> {
        let Body::Memory(run) = &self.body else {
            return Err(Error::internal("a run on tape is spilled"));
        };
        let layout = run.pages.layout();
        let form = TapeForm::of_entries(layout, &self.facts, &run.entries);
        let mut writer = RunWriter::new(space, run.charge.who().clone(), layout.clone(), form);
        writer.push_entries(&run.entries, &run.pages, check)?;
        writer.finish(self.number, self.base, self.facts.clone())
    }

    /// Which bytes of the words are not the same in all rows; of a run in memory nothing is known.
    pub(super) fn words_form(&self) -> WordsForm {
        match &self.body {
            Body::Memory(_) => WordsForm::new(0, Words::MAX),
            Body::Tape(run) => run.form.words,
        }
    }
}
