//! Reads one run from a splitter on, row by row.
//!
//! Rows are named by their place: a reference in memory, or the offset in the window of a tape's
//! reader. Places in a window are good until the window moves, and [`Cursor::advance`] says when
//! it has to.

use std::sync::Arc;

use super::run::{Body, Run};
use super::shape::Words;
use super::tape_form::TapeForm;
use super::writer::{BLOCK_BYTES, broken};
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::packed::{PackedRef, PackedRow};
use crate::memory::spill::TapeReader;

/// The smallest window that a cursor over a tape works with: two usual blocks.
pub const WINDOW_BYTES_MIN: usize = 2 * (BLOCK_BYTES + 64);

/// The largest window that is of any use.
pub const WINDOW_BYTES_MAX: usize = 256 << 10;

/// What a cursor over a tape takes, its window included.
pub const fn cursor_bytes(window_bytes: usize) -> usize {
    window_bytes + size_of::<Cursor>() + 64
}

/// One run, and where in it one is.
pub(super) struct Cursor {
    run: Arc<Run>,
    at: At,
}

enum At {
    Memory {
        next: usize,
        end: usize,
        /// Rows before this one are in a cache.
        touched: usize,
    },
    Tape {
        reader: Box<TapeReader>,
        /// Rows of the block behind the present one.
        left: u32,
        /// Where the present row is in the window, its words not counted.
        row: usize,
        /// The same of the row behind it in the block, and its words: they are loaded a row
        /// early, while there is other work, because they are in no cache.
        ahead: Option<(usize, Words)>,
    },
}

/// Where a row is; see the module documentation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Memory(PackedRef),
    Window(usize),
}

/// What is behind the present row.
pub(super) enum Advance {
    /// A row with these words, which is now the present one.
    Row(Words),
    /// Something that is not in the window: [`Cursor::load`] it.
    Away,
    /// Nothing.
    End,
}

impl Cursor {
    /// A cursor over `run` that is nowhere yet; its window is charged to `charge`.
    pub(super) fn new(run: Arc<Run>, window_bytes: usize, charge: Reservation) -> Result<Self> {
        let at = match &run.body {
            Body::Memory(_) => At::Memory { next: 0, end: 0, touched: 0 },
            Body::Tape(tape) => {
                let reader = TapeReader::new(tape.data.clone(), window_bytes, charge)?;
                At::Tape { reader: Box::new(reader), left: 0, row: 0, ahead: None }
            }
        };
        Ok(Cursor { run, at })
    }

    pub(super) fn run(&self) -> &Run {
        &self.run
    }

    /// Goes to the first row at or behind `from`, and stops before the first at or behind `to`.
    /// For a tape, `cuts` are the positions of the last blocks that begin before either.
    pub(super) fn seek(
        &mut self,
        from: Option<Words>,
        to: Option<Words>,
        cuts: (u64, Option<u64>),
    ) -> Result<Option<Words>> {
        match (&mut self.at, &self.run.body) {
            (At::Memory { next, end, touched }, Body::Memory(run)) => {
                let index = |words| run.entries.partition_point(|entry| entry.words() < words);
                *next = from.map_or(0, index);
                *end = to.map_or(run.entries.len(), index);
                *touched = run.touch(*next);
                Ok(run.entries.get(*next).filter(|_| *next < *end).map(|entry| entry.words()))
            }
            (At::Tape { reader, left, ahead, .. }, _) => {
                // The block at the second cut may have rows of the range as well, the next has not.
                let until = cuts.1.map_or(u64::MAX, |cut| cut + 1);
                reader.seek(cuts.0, until, BLOCK_BYTES as u64 + 64);
                (*left, *ahead) = (0, None);
                let mut words = self.load()?;
                while let (Some(present), Some(from)) = (words, from) {
                    if present >= from {
                        break;
                    }
                    words = match self.advance()? {
                        Advance::Row(words) => Some(words),
                        Advance::Away => self.load()?,
                        Advance::End => None,
                    };
                }
                Ok(words.filter(|&words| to.is_none_or(|to| words < to)))
            }
            _ => Err(broken()),
        }
    }

    /// Where the present row is.
    #[inline]
    pub(super) fn place(&self) -> Place {
        match (&self.at, &self.run.body) {
            (At::Memory { next, .. }, Body::Memory(run)) => Place::Memory(run.entries[*next].row),
            (At::Tape { row, .. }, _) => Place::Window(*row),
            (At::Memory { .. }, Body::Tape(_)) => Place::Window(0),
        }
    }

    /// A row.
    #[inline]
    pub(super) fn row_at(&self, place: Place) -> PackedRow<'_> {
        match (&self.run.body, place, &self.at) {
            (Body::Memory(run), Place::Memory(row), _) => run.pages.row(row),
            (Body::Tape(run), Place::Window(offset), At::Tape { reader, .. }) => {
                PackedRow::at(reader.window(), offset, &run.form.row)
            }
            // Places are the cursor's own.
            (Body::Memory(run), ..) => PackedRow::at(&[0; 2], 0, run.pages.layout().form()),
            (Body::Tape(run), ..) => PackedRow::at(&[0; 2], 0, &run.form.row),
        }
    }

    /// The present row.
    #[inline]
    pub(super) fn row(&self) -> PackedRow<'_> {
        self.row_at(self.place())
    }

    /// Goes to the next row, unless the window has to move for it.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Advance> {
        match (&mut self.at, &self.run.body) {
            (At::Memory { next, end, touched }, Body::Memory(run)) => {
                *next += 1;
                if *next == *touched {
                    *touched = run.touch(*next);
                }
                Ok(match run.entries.get(*next).filter(|_| *next < *end) {
                    Some(entry) => Advance::Row(entry.words()),
                    None => Advance::End,
                })
            }
            (At::Tape { reader, left, row, ahead }, Body::Tape(run)) if *left > 0 => {
                let (next, words) = ahead.take().ok_or_else(broken)?;
                *left -= 1;
                *row = next;
                if *left > 0 {
                    *ahead = behind(reader.window(), next, &run.form);
                }
                Ok(Advance::Row(words))
            }
            (At::Tape { reader, .. }, _) if reader.is_at_hand() => {
                Ok(self.load()?.map_or(Advance::End, Advance::Row))
            }
            _ => Ok(Advance::Away),
        }
    }

    /// Goes to the first row of the next block of a tape, and gives its words.
    pub(super) fn load(&mut self) -> Result<Option<Words>> {
        let (At::Tape { reader, left, row, ahead }, Body::Tape(run)) =
            (&mut self.at, &self.run.body)
        else {
            return Ok(None);
        };
        let Some(block) = reader.next_block()? else { return Ok(None) };
        *left = block.tag.checked_sub(1).ok_or_else(broken)?;
        *row = block.offset + run.form.words.bytes();
        let words = run.form.words.take(block.bytes).ok_or_else(broken)?;
        *ahead = if *left > 0 { behind(reader.window(), *row, &run.form) } else { None };
        Ok(Some(words))
    }
}

/// Where the row behind the one at `row` is, and its words.
#[inline]
fn behind(window: &[u8], row: usize, form: &TapeForm) -> Option<(usize, Words)> {
    let next = row + PackedRow::at(window, row, &form.row).bytes().len();
    let words = form.words.take(window.get(next..)?)?;
    Some((next + form.words.bytes(), words))
}
