//! Where the rows of a lane are on tapes.
//!
//! Memory: 24 bytes a stretch, which is charged by who writes and keeps it: a join of many rows in
//! little memory has hundreds of thousands.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory::rows::PageSpan;
use crate::memory::spill::Tape;

/// Bits of a place that number the tape.
const TAPE_BITS: u32 = 20;
/// Least number of stretches that room is made for at once.
const STEP_MIN: usize = 32;

/// Pages side by side on a tape, all of one morsel.
#[derive(Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) tape: &'a Arc<Tape>,
    pub(super) morsel: u64,
    pub(super) span: PageSpan,
}

/// A stretch as it is kept.
#[derive(Clone, Copy)]
struct Packed {
    /// The position on the tape, and the number of that; in halves, as there are many stretches.
    place: [u32; 2],
    /// Each arm of a union has numbers of its own, far from those of the others.
    morsel: [u32; 2],
    /// Bytes on the tape.
    len: u32,
    rows: u32,
    bytes: u32,
}

/// Stretches, in an order of their own.
#[derive(Clone, Default)]
pub(super) struct Stretches {
    tapes: Vec<Arc<Tape>>,
    packed: Vec<Packed>,
}

impl Packed {
    fn new(morsel: u64, span: PageSpan, tape: usize) -> Result<Self> {
        let beyond = || Error::internal(format!("a stretch of tape that is too long: {span:?}"));
        let narrow = |n: u64| u32::try_from(n).map_err(|_| beyond());
        if span.from.leading_zeros() < TAPE_BITS || tape >> TAPE_BITS > 0 {
            return Err(beyond());
        }
        Ok(Packed {
            place: halves(span.from << TAPE_BITS | tape as u64),
            morsel: halves(morsel),
            len: narrow(span.until - span.from)?,
            rows: narrow(span.rows as u64)?,
            bytes: narrow(span.bytes as u64)?,
        })
    }

    fn span(&self) -> PageSpan {
        let from = whole(self.place) >> TAPE_BITS;
        let until = from + u64::from(self.len);
        PageSpan { from, until, rows: self.rows as usize, bytes: self.bytes as usize }
    }

    fn tape(&self) -> usize {
        (whole(self.place) & ((1 << TAPE_BITS) - 1)) as usize
    }

    fn morsel(&self) -> u64 {
        whole(self.morsel)
    }
}

fn halves(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}

fn whole([high, low]: [u32; 2]) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

impl Stretches {
    pub(super) fn len(&self) -> usize {
        self.packed.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Bytes that they take, room for more included.
    pub(super) fn held_bytes(&self) -> usize {
        self.packed.capacity() * size_of::<Packed>()
    }

    /// Bytes that one more would take.
    pub(super) fn next_bytes(&self) -> usize {
        match self.packed.len() < self.packed.capacity() {
            true => 0,
            false => self.step() * size_of::<Packed>(),
        }
    }

    fn step(&self) -> usize {
        STEP_MIN.max(self.packed.len() / 16)
    }

    /// Adds what was written to a tape that is not finished: the first of [`Stretches::end`].
    ///
    /// # Errors
    /// `Internal` when the span is longer than any should be.
    pub(super) fn push(&mut self, morsel: u64, span: PageSpan) -> Result<()> {
        let packed = Packed::new(morsel, span, 0)?;
        if self.packed.len() == self.packed.capacity() {
            self.packed.reserve_exact(self.step());
        }
        self.packed.push(packed);
        Ok(())
    }

    /// Makes the last stretch longer by what was written behind it, if it has at most so many bytes
    /// then.
    ///
    /// # Errors
    /// As [`Stretches::push`].
    pub(super) fn extend_last(&mut self, span: PageSpan, most: usize) -> Result<bool> {
        let Some(last) = self.packed.last_mut() else { return Ok(false) };
        let mut own = last.span();
        if own.bytes + span.bytes > most {
            return Ok(false);
        }
        own.until = span.until;
        own.rows += span.rows;
        own.bytes += span.bytes;
        *last = Packed::new(last.morsel(), own, last.tape())?;
        Ok(true)
    }

    /// The tape of all that was pushed is finished.
    pub(super) fn end(&mut self, tape: &Arc<Tape>) {
        self.tapes = vec![tape.clone()];
    }

    /// Adds those of another lane behind these.
    ///
    /// # Errors
    /// `Internal` when there are too many tapes.
    pub(super) fn absorb(&mut self, other: Stretches) -> Result<()> {
        if self.tapes.is_empty() {
            *self = other;
            return Ok(());
        }
        let before = self.tapes.len();
        self.tapes.extend(other.tapes);
        self.packed.reserve_exact(other.packed.len());
        for packed in other.packed {
            let tape = before + packed.tape();
            self.packed.push(Packed::new(packed.morsel(), packed.span(), tape)?);
        }
        Ok(())
    }

    /// Puts them in the order of the input.
    pub(super) fn sort(&mut self) {
        self.packed.sort_by_key(|packed| packed.morsel);
    }

    pub(super) fn get(&self, at: usize) -> Option<Stretch<'_>> {
        let packed = self.packed.get(at)?;
        let tape = self.tapes.get(packed.tape())?;
        Some(Stretch { tape, morsel: packed.morsel(), span: packed.span() })
    }

    /// Those from number `from` on, before `until`.
    pub(super) fn between(&self, from: usize, until: usize) -> impl Iterator<Item = Stretch<'_>> {
        (from..until.min(self.len())).filter_map(|at| self.get(at))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Stretch<'_>> {
        self.between(0, self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_of_any_arm_and_place_are_kept_as_they_are() {
        let spans = [(0, 3, 0), (7, 1 << 43, 5), ((2 << 40) + 9, 1, u64::from(u32::MAX))];
        for (morsel, from, len) in spans {
            let span = PageSpan { from, until: from + len, rows: 3, bytes: 17 };
            let packed = Packed::new(morsel, span, 12).expect("is within bounds");
            let kept = packed.span();
            assert_eq!((packed.morsel(), packed.tape()), (morsel, 12));
            assert_eq!((kept.from, kept.until, kept.rows, kept.bytes), (from, from + len, 3, 17));
        }
        let span = PageSpan { from: 1 << 44, until: (1 << 44) + 1, rows: 1, bytes: 1 };
        assert!(Packed::new(0, span, 0).is_err());
    }
}
