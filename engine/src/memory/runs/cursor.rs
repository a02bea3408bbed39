//! Reads one run from a splitter on, row by row.
//!
//! Rows are named by their place: a reference in memory, or the offset in the window of a tape's
//! reader. Places in a window are good until the window moves, and [`Cursor::advance`] says when
//! it has to.

use std::sync::Arc;

use super::blocks::BlocksAt;
use super::gather::Taken;
use super::run::{BlocksRun, Body, Entry, Run, TapeRun};
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
    /// Rows of a distributed run, in order for the range that is read.
    Distributed {
        entries: Vec<Entry>,
        next: usize,
        /// What the entries are charged to.
        _charge: Reservation,
    },
    Blocks {
        reader: BlockReader,
        /// Rows of the block behind the present one.
        left: u32,
        /// Where the present row is in the window, its words not counted.
        row: usize,
        /// The same of the row behind it in the block, and its words: they are loaded a row
        /// early, while there is other work, because they are in no cache.
        ahead: Option<(usize, Words)>,
    },
}

/// Which block of a run is read, in memory or on tape.
enum BlockReader {
    Memory(BlocksAt),
    Tape(Box<TapeReader>),
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
            Body::Blocks(_) => At::blocks(BlockReader::Memory(BlocksAt::default())),
            Body::Distributed(_) => {
                At::Distributed { entries: Vec::new(), next: 0, _charge: charge }
            }
            Body::Tape(tape) => {
                let reader = TapeReader::new(tape.data.clone(), window_bytes, charge)?;
                At::blocks(BlockReader::Tape(Box::new(reader)))
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
            (At::Distributed { entries, next, .. }, Body::Distributed(run)) => {
                entries.reserve_exact(run.rows_max.saturating_sub(entries.len()));
                *next = 0;
                run.sorted(from, to, entries)?;
                Ok(entries.first().map(Entry::words))
            }
            (At::Blocks { reader, left, ahead, .. }, body) => {
                reader.seek(body, from, cuts)?;
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
            (At::Blocks { row, .. }, _) => Place::Window(*row),
            (At::Distributed { entries, next, .. }, _) => Place::Memory(entries[*next].row),
            (At::Memory { .. }, _) => Place::Window(0),
        }
    }

    /// A row.
    #[inline]
    pub(super) fn row_at(&self, place: Place) -> PackedRow<'_> {
        match (&self.run.body, place, &self.at) {
            (Body::Memory(run), Place::Memory(row), _) => run.pages.row(row),
            (Body::Distributed(run), Place::Memory(row), _) => run.row(row),
            (body, Place::Window(offset), At::Blocks { reader, .. }) => match body.tape_form() {
                Some(form) => PackedRow::at(reader.window(body), offset, &form.row),
                None => self.no_row(),
            },
            // Places are the cursor's own.
            _ => self.no_row(),
        }
    }

    #[cold]
    fn no_row(&self) -> PackedRow<'_> {
        match &self.run.body {
            Body::Memory(run) => PackedRow::at(&[0; 2], 0, run.pages.layout().form()),
            Body::Distributed(run) => PackedRow::at(&[0; 2], 0, &run.form.row),
            Body::Blocks(BlocksRun { form, .. }) | Body::Tape(TapeRun { form, .. }) => {
                PackedRow::at(&[0; 2], 0, &form.row)
            }
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
            (At::Distributed { entries, next, .. }, _) => {
                *next += 1;
                Ok(entries.get(*next).map_or(Advance::End, |entry| Advance::Row(entry.words())))
            }
            (At::Blocks { reader, left, row, ahead }, body) if *left > 0 => {
                let (next, words) = ahead.take().ok_or_else(broken)?;
                *left -= 1;
                *row = next;
                if *left > 0 {
                    let form = body.tape_form().ok_or_else(broken)?;
                    *ahead = behind(reader.window(body), next, form);
                }
                Ok(Advance::Row(words))
            }
            (At::Blocks { reader, .. }, body) if reader.is_at_hand(body) => {
                Ok(self.load()?.map_or(Advance::End, Advance::Row))
            }
            _ => Ok(Advance::Away),
        }
    }

    /// Goes to the first row of the next block, and gives its words.
    pub(super) fn load(&mut self) -> Result<Option<Words>> {
        let At::Blocks { reader, left, row, ahead } = &mut self.at else { return Ok(None) };
        let body = &self.run.body;
        let form = body.tape_form().ok_or_else(broken)?;
        let Some((rows, offset, bytes)) = reader.next(body)? else { return Ok(None) };
        *left = rows.checked_sub(1).ok_or_else(broken)?;
        *row = offset + form.words.bytes();
        let words = form.words.take(bytes).ok_or_else(broken)?;
        *ahead = if *left > 0 { behind(reader.window(body), *row, form) } else { None };
        Ok(Some(words))
    }
}

impl Cursor {
    /// Gives the blocks in which rows at or behind `from` may be, until there are no more or one
    /// is not taken whole; false when there was no room. What `cuts` are is said at
    /// [`Cursor::seek`]. The cursor is nowhere then.
    pub(super) fn blocks(
        &mut self,
        from: Option<Words>,
        cuts: (u64, Option<u64>),
        mut take: impl FnMut(u32, &[u8]) -> Result<Taken>,
    ) -> Result<bool> {
        let (At::Blocks { reader, left, .. }, body) = (&mut self.at, &self.run.body) else {
            return Err(broken());
        };
        *left = 0;
        reader.seek(body, from, cuts)?;
        while let Some((rows, _, bytes)) = reader.next(body)? {
            match take(rows, bytes)? {
                Taken::Whole => (),
                Taken::Part => break,
                Taken::NoRoom => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl At {
    fn blocks(reader: BlockReader) -> At {
        At::Blocks { reader, left: 0, row: 0, ahead: None }
    }
}

impl BlockReader {
    /// Goes to the last block that begins before `from`, or for a tape to the first of `cuts`.
    fn seek(&mut self, body: &Body, from: Option<Words>, cuts: (u64, Option<u64>)) -> Result<()> {
        match (self, body) {
            (BlockReader::Memory(at), Body::Blocks(run)) => *at = run.blocks.seek(from),
            (BlockReader::Tape(reader), _) => {
                // The block at the second cut may have rows of the range as well, the next has not.
                let until = cuts.1.map_or(u64::MAX, |cut| cut + 1);
                reader.seek(cuts.0, until, BLOCK_BYTES as u64 + 64);
            }
            _ => return Err(broken()),
        }
        Ok(())
    }

    /// The next block: its rows, where its bytes begin in the window, and these.
    #[inline]
    fn next<'a>(&'a mut self, body: &'a Body) -> Result<Option<(u32, usize, &'a [u8])>> {
        Ok(match (self, body) {
            (BlockReader::Memory(at), Body::Blocks(run)) => {
                run.blocks.next(at).map(|block| (block.rows, block.offset, block.bytes))
            }
            (BlockReader::Tape(reader), _) => {
                reader.next_block()?.map(|block| (block.tag, block.offset, block.bytes))
            }
            _ => return Err(broken()),
        })
    }

    /// What offsets of rows are in.
    #[inline]
    fn window<'a>(&'a self, body: &'a Body) -> &'a [u8] {
        match (self, body) {
            (BlockReader::Memory(at), Body::Blocks(run)) => run.blocks.page(at),
            (BlockReader::Tape(reader), _) => reader.window(),
            (BlockReader::Memory(_), _) => &[],
        }
    }

    /// Whether the next block is in the same window.
    fn is_at_hand(&self, body: &Body) -> bool {
        match (self, body) {
            (BlockReader::Memory(at), Body::Blocks(run)) => run.blocks.is_at_hand(at),
            (BlockReader::Tape(reader), _) => reader.is_at_hand(),
            (BlockReader::Memory(_), _) => false,
        }
    }
}

/// Where the row behind the one at `row` is, and its words.
#[inline]
fn behind(window: &[u8], row: usize, form: &TapeForm) -> Option<(usize, Words)> {
    let next = row + PackedRow::at(window, row, &form.row).bytes().len();
    let words = form.words.take(window.get(next..)?)?;
    Some((next + form.words.bytes(), words))
}
