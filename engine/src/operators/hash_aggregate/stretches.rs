//! Where the groups of one partition are on one tape.
//!
//! The smaller memory is, the more often a partition is written, a few pages each time: places that
//! took some forty bytes each became megabytes in the end, which made tables smaller and places
//! more. So a place is told by numbers of few bytes, each seven bits a byte, the lowest first
//! (LEB128): the gap behind the place before, its length, and how large its units are.

use crate::memory::rows::PageSpan;

/// Unit sizes are told in multiples of this, rounded up.
const UNIT_STEP_BYTES: usize = 1 << 10;

/// Groups of one partition that were written together: units one after another on a tape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Position of the first block.
    pub(super) from: u64,
    /// Position behind the last one.
    pub(super) until: u64,
    /// Bytes of the largest unit's pages, or a little more.
    pub(super) unit_bytes: usize,
}

/// The stretches of a partition on a tape, in the order of writing.
#[derive(Debug, Clone, Default)]
pub(super) struct Stretches {
    /// All but the last.
    places: Vec<u8>,
    /// Where the one before the last ends.
    behind: u64,
    last: Option<Stretch>,
    rows: usize,
    bytes: usize,
}

impl Stretches {
    /// Adds a unit, which is behind all others.
    pub(super) fn push(&mut self, unit: PageSpan) {
        self.rows += unit.rows;
        self.bytes += unit.bytes;
        if let Some(last) = &mut self.last {
            if last.until == unit.from {
                last.until = unit.until;
                last.unit_bytes = last.unit_bytes.max(unit.bytes);
                return;
            }
            let Stretch { from, until, unit_bytes } = *last;
            put(&mut self.places, from - self.behind);
            put(&mut self.places, until - from);
            put(&mut self.places, unit_bytes.div_ceil(UNIT_STEP_BYTES) as u64);
            self.behind = until;
        }
        let (from, until, unit_bytes) = (unit.from, unit.until, unit.bytes);
        self.last = Some(Stretch { from, until, unit_bytes });
    }

    /// One after another.
    pub(super) fn iter(&self) -> impl Iterator<Item = Stretch> + '_ {
        let (mut places, mut behind) = (&self.places[..], 0);
        let packed = std::iter::from_fn(move || {
            let from = behind + take(&mut places)?;
            behind = from + take(&mut places)?;
            let unit_bytes = take(&mut places)? as usize * UNIT_STEP_BYTES;
            Some(Stretch { from, until: behind, unit_bytes })
        });
        packed.chain(self.last)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Rows of all stretches.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of all pages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that the list itself takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.places.capacity()
    }
}

/// Appends a number.
fn put(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Takes a number from the front; `None` at the end.
fn take(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let mut numbers: Vec<u64> = (0..64).map(|bit| 1 << bit).collect();
        numbers.extend(numbers.clone().iter().map(|n| n - 1));
        numbers.push(u64::MAX);
        let mut bytes = Vec::new();
        numbers.iter().for_each(|&number| put(&mut bytes, number));
        let mut rest = &bytes[..];
        let back: Vec<u64> = std::iter::from_fn(|| take(&mut rest)).collect();
        assert_eq!(back, numbers);
    }

    #[test]
    fn units_side_by_side_are_one_stretch_and_lists_are_small() {
        let (mut stretches, mut expected) = (Stretches::default(), Vec::new());
        assert!(stretches.is_empty());
        let mut at = 0;
        for n in 0..1000 {
            at += 200_000;
            for bytes in [2000, 3000 + n] {
                let (from, until) = (at, at + bytes as u64);
                stretches.push(PageSpan { from, until, rows: 10, bytes });
                at = until;
            }
            let unit_bytes = 3000 + n;
            expected.push(Stretch { from: at - 5000 - n as u64, until: at, unit_bytes });
        }
        let back: Vec<Stretch> = stretches.iter().collect();
        assert_eq!(back.len(), expected.len());
        for (back, expected) in back.iter().zip(&expected) {
            assert_eq!((back.from, back.until), (expected.from, expected.until));
            assert!(back.unit_bytes >= expected.unit_bytes);
            assert!(back.unit_bytes < expected.unit_bytes + UNIT_STEP_BYTES);
        }
        assert_eq!((stretches.rows(), stretches.bytes()), (20_000, 5_499_500));
        assert!(stretches.held_bytes() <= 8 << 10, "{}", stretches.held_bytes());
    }
}
