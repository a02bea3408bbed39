//! Room for what functions make: texts, binaries and lists, whose bytes no type tells.
//!
//! An evaluation takes room before a function is called, by what the function says that its
//! results need ([`super::ScalarFunction::result_bytes`]), and afterwards for what they took beyond
//! that; functions that make them bit by bit take it meanwhile ([`Growth`]). Where there is none
//! the evaluation ends with `OutOfMemory`, and is tried again with fewer rows ([`super::pieces`]),
//! down to a single one, which may take more than the ceiling.
//!
//! Memory: results and everything between are counted together, as if nothing were freed before
//! the evaluation is over; they stay charged until the next one begins, because they are in use
//! until then. Long columns take their part of the charge with them ([`Room::hand_over`]), and what
//! is remembered for longer has a charge of its own ([`Room::keep`]).

use std::cell::{Cell, RefCell};

use super::sizes::is_fixed;
use crate::batch::{Column, content_bytes};
use crate::error::{Error, Result};
use crate::memory::{Bytes, Governor, Reservation};

/// What an evaluation over several rows may take at most, where memory is plenty.
const CEILING_MAX: usize = 4 << 20;
/// The same where it is short.
const CEILING_MIN: usize = 64 << 10;
/// How often a value beyond the ceiling is there at once: as it is made, in its array, and as the
/// argument of the next function.
const COPIES: usize = 3;
/// Bytes of a column from on which its charge goes with it.
const LONG_BYTES: usize = 1 << 20;
/// Which part of the budget an evaluation over several rows may take.
const SHARE: usize = 64;

/// The room of one worker's evaluations; see the module documentation.
pub(super) struct Room {
    memory: Governor,
    ceiling: usize,
    /// What this evaluation has taken; `None` before the first function that needs room.
    taken: RefCell<Option<Reservation>>,
    /// The part of it that is for several rows at a time.
    for_rows: Cell<usize>,
}

impl Room {
    /// Room out of a budget; nothing is taken yet.
    pub(super) fn new(memory: &Governor) -> Room {
        let ceiling = (memory.limit() / SHARE).clamp(CEILING_MIN, CEILING_MAX);
        Room { memory: memory.clone(), ceiling, taken: RefCell::new(None), for_rows: Cell::new(0) }
    }

    /// A new evaluation begins: the results of the last are not in use any more.
    pub(super) fn begin(&self) {
        self.for_rows.set(0);
        if let Some(taken) = &mut *self.taken.borrow_mut() {
            taken.shrink(taken.bytes());
        }
    }

    /// Takes room for `bytes` that the function `who` makes of `rows` rows.
    ///
    /// # Errors
    /// `OutOfMemory` when that is more than several rows may take, or more than there is.
    pub(super) fn take(&self, bytes: usize, rows: usize, who: &str) -> Result<()> {
        self.take_beyond(0, bytes, rows, who)
    }

    /// The same for results that have taken room for `before` bytes already.
    fn take_beyond(&self, before: usize, bytes: usize, rows: usize, who: &str) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let mut taken = self.taken.borrow_mut();
        let taken = match &mut *taken {
            Some(taken) => taken,
            none => none.insert(self.memory.reserve("functions of a row", 0)?),
        };
        let refused = |detail| Error::OutOfMemory {
            who: format!("the function {who}"),
            asked_bytes: bytes,
            detail,
        };
        if rows > 1 {
            let for_rows = self.for_rows.get().saturating_add(bytes);
            if for_rows > self.ceiling {
                let ceiling = Bytes(self.ceiling as u64);
                return Err(refused(format!("{rows} rows at a time may take {ceiling}")));
            }
            self.for_rows.set(for_rows);
        }
        let with_copies = |bytes: usize| match bytes > self.ceiling {
            true => bytes.saturating_mul(COPIES),
            false => bytes,
        };
        let more = with_copies(before.saturating_add(bytes)) - with_copies(before);
        taken.grow(more).map_err(|error| match error {
            Error::OutOfMemory { detail, .. } => refused(detail),
            other => other,
        })
    }

    /// Whether this evaluation has taken little of what it may: the next can have twice the rows.
    pub(super) fn is_mostly_free(&self) -> bool {
        self.for_rows.get() <= self.ceiling / 4
    }

    /// Bytes that this evaluation has taken.
    pub(super) fn taken(&self) -> usize {
        self.taken.borrow().as_ref().map_or(0, Reservation::bytes)
    }

    /// The columns that an evaluation has made, with the charges of those that are long.
    pub(super) fn hand_over(&self, columns: Vec<Column>) -> Vec<Column> {
        let mut taken = self.taken.borrow_mut();
        let Some(taken) = taken.as_mut().filter(|taken| taken.bytes() > LONG_BYTES) else {
            return columns;
        };
        let columns = columns.into_iter().map(|column| {
            if column.charge().is_some() || is_fixed(column.logical()) {
                return column;
            }
            match content_bytes(column.values()) {
                0..=LONG_BYTES => column,
                bytes => column.charged(taken.hand_over(bytes)),
            }
        });
        columns.collect()
    }

    /// A charge of its own for `bytes` that will be remembered, of `rows` rows. They are part of
    /// what was taken since `before` bytes were, as far as that goes.
    ///
    /// # Errors
    /// As [`Room::take`].
    pub(super) fn keep(
        &self,
        bytes: usize,
        rows: usize,
        before: usize,
    ) -> Result<Option<Reservation>> {
        let made = self.taken().saturating_sub(before);
        self.take(bytes.saturating_sub(made), rows, "whose results are remembered")?;
        Ok(self.taken.borrow_mut().as_mut().map(|taken| taken.split(bytes)))
    }
}

/// The room of a call's results while they are made.
pub struct Growth<'a> {
    room: &'a Room,
    who: &'a str,
    rows: usize,
    /// What room was taken for.
    taken: Cell<usize>,
}

impl<'a> Growth<'a> {
    /// The growth of what the function `who` makes of `rows` rows, for which room was taken.
    pub(super) fn new(room: &'a Room, who: &'a str, rows: usize, taken: usize) -> Growth<'a> {
        Growth { room, who, rows, taken: Cell::new(taken) }
    }

    /// The results take these many bytes by now: takes room for those that have none yet.
    ///
    /// # Errors
    /// `OutOfMemory` when that is more than several rows may take, or more than there is.
    pub fn reach(&self, bytes: usize) -> Result<()> {
        let taken = self.taken.get();
        self.room.take_beyond(taken, bytes.saturating_sub(taken), self.rows, self.who)?;
        self.taken.set(taken.max(bytes));
        Ok(())
    }

    /// The budget that room is taken of, for evaluations within the call.
    pub fn memory(&self) -> &'a Governor {
        &self.room.memory
    }
}
