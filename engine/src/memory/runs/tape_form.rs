//! The form of the rows of one run on tape.
//!
//! ```text
//! | the words' bytes that are not the same in all rows | packed row, integers narrowed |
//! ```

use super::run::{Entry, Run};
use super::shape::Words;
use crate::memory::rows::packed::{ColumnFacts, PackedForm, PackedLayout};

/// How words and rows of a run are written.
#[derive(Debug, Clone)]
pub(super) struct TapeForm {
    pub(super) words: WordsForm,
    pub(super) row: PackedForm,
}

/// Which bytes of the words are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct WordsForm {
    /// The words of one row.
    first: Words,
    /// All bits of the bytes that are not the same in all rows.
    varying: Words,
    /// By byte written, how far from the right it is.
    shifts: [u8; size_of::<Words>()],
    count: usize,
}

impl TapeForm {
    /// For the rows of these entries, in which columns are as `facts` says.
    pub(super) fn of_entries(
        layout: &PackedLayout,
        facts: &[ColumnFacts],
        entries: &[Entry],
    ) -> TapeForm {
        let first = entries.first().map_or(0, Entry::words);
        let varying = entries.iter().fold(0, |all, entry| all | (entry.words() ^ first));
        let words = WordsForm::new(first, varying);
        TapeForm { words, row: PackedForm::narrow(layout, facts) }
    }

    /// For the rows of all these runs.
    pub(super) fn of_runs(layout: &PackedLayout, facts: &[ColumnFacts], runs: &[Run]) -> TapeForm {
        let mut forms = runs.iter().map(Run::words_form);
        let words = match forms.next() {
            Some(words) => forms.fold(words, |all, other| {
                let varying = all.varying | other.varying | (all.first ^ other.first);
                WordsForm::new(all.first, varying)
            }),
            None => WordsForm::new(0, 0),
        };
        TapeForm { words, row: PackedForm::narrow(layout, facts) }
    }
}

impl WordsForm {
    /// For words that differ from `first` in no other bytes than those with bits of `varying`.
    pub(super) fn new(first: Words, varying: Words) -> WordsForm {
        let mut form = WordsForm { first, varying: 0, shifts: Default::default(), count: 0 };
        for shift in (0..Words::BITS).step_by(8) {
            if (varying >> shift) as u8 != 0 {
                form.varying |= 0xff << shift;
                form.shifts[form.count] = shift as u8;
                form.count += 1;
            }
        }
        form
    }

    /// Whether these words can be written.
    pub(super) fn has(&self, words: &[Words]) -> bool {
        words.iter().fold(0, |all, words| all | (words ^ self.first)) & !self.varying == 0
    }

    /// The same for these words too.
    pub(super) fn with(&self, words: &[Words]) -> WordsForm {
        let more = words.iter().fold(0, |all, words| all | (words ^ self.first));
        WordsForm::new(self.first, self.varying | more)
    }

    /// Bytes that words take.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn put(&self, words: Words, to: &mut Vec<u8>) {
        to.extend(self.shifts[..self.count].iter().map(|shift| (words >> shift) as u8));
    }

    /// The words at the front of `bytes`.
    #[inline]
    pub(super) fn take(&self, bytes: &[u8]) -> Option<Words> {
        let bytes = bytes.get(..self.count)?;
        let place = |(&byte, shift): (&u8, &u8)| Words::from(byte) << shift;
        let varying = bytes.iter().zip(&self.shifts).map(place).fold(0, |all, byte| all | byte);
        Some((self.first & !self.varying) | varying)
    }
}
