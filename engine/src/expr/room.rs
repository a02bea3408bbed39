//! Room for what functions make: texts, binaries and lists, whose bytes no type tells.
//!
//! An evaluation takes room before a function is called, by what the function says that its
//! results need ([`super::ScalarFunction::result_bytes`]), and afterwards for what they took beyond
//! that. Where there is none the evaluation ends with `OutOfMemory`, and is tried again with fewer
//! rows ([`super::pieces`]), down to a single one, which may take more than the ceiling.
//!
//! Memory: results and everything between are counted together, as if nothing were freed before
//! the evaluation is over; they stay charged until the next one begins, because they are in use
//! until then. What is remembered for longer has a charge of its own ([`Room::keep`]).

use std::cell::RefCell;

use crate::error::{Error, Result};
use crate::memory::{Bytes, Governor, Reservation};

/// What an evaluation over several rows may take at most, where memory is plenty.
const CEILING_MAX: usize = 4 << 20;
/// The same where it is short.
const CEILING_MIN: usize = 64 << 10;
/// How often a value beyond the ceiling is there at once: as it is made, in its array, and as the
/// argument of the next function.
const COPIES: usize = 3;
/// Which part of the budget an evaluation over several rows may take.
const SHARE: usize = 64;

/// The room of one worker's evaluations; see the module documentation.
pub(super) struct Room {
    memory: Governor,
    ceiling: usize,
    /// What this evaluation has taken; `None` before the first function that needs room.
    taken: RefCell<Option<Reservation>>,
}

impl Room {
    /// Room out of a budget; nothing is taken yet.
    pub(super) fn new(memory: &Governor) -> Room {
        let ceiling = (memory.limit() / SHARE).clamp(CEILING_MIN, CEILING_MAX);
        Room { memory: memory.clone(), ceiling, taken: RefCell::new(None) }
    }

    /// A new evaluation begins: the results of the last are not in use any more.
    pub(super) fn begin(&self) {
        if let Some(taken) = &mut *self.taken.borrow_mut() {
            taken.shrink(taken.bytes());
        }
    }

    /// Takes room for `bytes` that the function `who` makes of `rows` rows.
    ///
    /// # Errors
    /// `OutOfMemory` when that is more than several rows may take, or more than there is.
    pub(super) fn take(&self, bytes: usize, rows: usize, who: &str) -> Result<()> {
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
        if rows > 1 && taken.bytes().saturating_add(bytes) > self.ceiling {
            let ceiling = Bytes(self.ceiling as u64);
            return Err(refused(format!("{rows} rows at a time may take {ceiling}")));
        }
        let copies = if bytes > self.ceiling { COPIES } else { 1 };
        taken.grow(bytes.saturating_mul(copies)).map_err(|error| match error {
            Error::OutOfMemory { detail, .. } => refused(detail),
            other => other,
        })
    }

    /// Whether this evaluation has taken little of what it may: the next can have twice the rows.
    pub(super) fn is_mostly_free(&self) -> bool {
        let taken = self.taken.borrow();
        taken.as_ref().is_none_or(|taken| taken.bytes() <= self.ceiling / 4)
    }

    /// A charge of its own for `bytes` that were taken and will be remembered.
    pub(super) fn keep(&self, bytes: usize) -> Option<Reservation> {
        self.taken.borrow_mut().as_mut().map(|taken| taken.split(bytes))
    }
}
