//! Hands out byte ranges in file order, and finds where the first record of each begins.
//!
//! Whether a line end near the border of two ranges ends a record or is text inside quotes depends
//! on everything before it. A worker therefore *guesses* the first record of its range (behind the
//! first line end), finds from there where the last one ends, and publishes both. The guess is
//! confirmed when the records of the range before, whose own beginning is known by then, end where
//! the guess begins. Only a wrong guess has its range read once more, from the right place. All
//! this happens before any field is parsed, and inside quotes is the only place where guesses
//! fail, so ranges are hardly ever read twice and never used unconfirmed.
//!
//! ```text
//!   range 3          range 4              range 5
//! ──┬─────────────────┬────────────────────┬──────────────
//!   ·   │record│record·   │record│ … │record·    │
//!       └ begin 3     ·   └ end 3 = begin 4    └ end 4 = begin 5
//! ```
//!
//! Concurrency: one lock, taken a few times per range. A worker waits only for ranges below its
//! own, and publishes before it waits; the lowest unsettled range never waits. Invariants:
//! 1. `front` is the lowest range whose end is not known; its beginning always is.
//! 2. A record belongs to the range that holds its first byte.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::scheduler::{Gate, Token};

/// Part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// Its number among all ranges of all files.
    pub(super) number: u64,
    /// The file, by position in the list of files.
    pub(super) file: usize,
    /// Its first byte.
    pub(super) from: u64,
    /// The byte behind its last.
    pub(super) to: u64,
}

/// Where the records of a range begin, and where the first record behind them does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// What is known of a range's beginning.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The guess was right.
    Confirmed,
    /// It was wrong or missing; this is the beginning, and [`Borders::settle`] is to be called.
    Begin(u64),
    /// Not known yet.
    Wait(Token),
}

/// The ranges of a list of files; see the module documentation.
pub(super) struct Borders {
    /// Per file: number of its first range and its size.
    files: Vec<(u64, u64)>,
    range_bytes: u64,
    count: u64,
    state: Mutex<State>,
    moved: Gate,
}

#[derive(Default)]
struct State {
    taken: u64,
    front: u64,
    front_begin: u64,
    guesses: BTreeMap<u64, Option<Extent>>,
}

impl Borders {
    /// Ranges of `range_bytes` over files of these sizes.
    pub(super) fn new(sizes: &[u64], range_bytes: u64) -> Self {
        let range_bytes = range_bytes.max(1);
        let mut count = 0;
        let mut files = Vec::with_capacity(sizes.len());
        for &size in sizes {
            files.push((count, size));
            count += size.div_ceil(range_bytes);
        }
        Borders { files, range_bytes, count, state: Mutex::default(), moved: Gate::new() }
    }

    /// Number of all ranges.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The next range in file order.
    pub(super) fn take(&self) -> Option<Range> {
        let number = {
            let mut state = self.lock();
            let number = state.taken;
            state.taken = (number + 1).min(self.count);
            number
        };
        (number < self.count).then(|| self.range(number))
    }

    fn range(&self, number: u64) -> Range {
        let file = self.files.partition_point(|&(first, _)| first <= number).saturating_sub(1);
        // Files without ranges share their number with the next file, which is the last of them.
        let (first, size) = self.files[file];
        let from = (number - first) * self.range_bytes;
        Range { number, file, from, to: (from + self.range_bytes).min(size) }
    }

    /// Says where the records of a range may begin and end; `None` when there is no telling.
    pub(super) fn guess(&self, range: &Range, guess: Option<Extent>) {
        let mut state = self.lock();
        state.guesses.insert(range.number, guess);
        self.advance(&mut state);
        drop(state);
        self.moved.notify();
    }

    /// What has become of the guess for `range`.
    pub(super) fn verdict(&self, range: &Range) -> Verdict {
        let token = self.moved.token();
        let state = self.lock();
        match range.number {
            n if n < state.front => Verdict::Confirmed,
            n if n == state.front => Verdict::Begin(state.front_begin),
            _ => Verdict::Wait(token),
        }
    }

    /// Says where the records of a range end, whose beginning was told by [`Verdict::Begin`].
    pub(super) fn settle(&self, range: &Range, end: u64) {
        let mut state = self.lock();
        if state.front == range.number {
            state.guesses.remove(&range.number);
            self.step(&mut state, end);
            self.advance(&mut state);
        }
        drop(state);
        self.moved.notify();
    }

    /// Back to the first range.
    pub(super) fn reset(&self) {
        *self.lock() = State::default();
    }

    /// Moves the front over all guesses that are right.
    fn advance(&self, state: &mut State) {
        while let Some(Some(guess)) = state.guesses.get(&state.front).copied() {
            if guess.begin != state.front_begin {
                break;
            }
            state.guesses.remove(&state.front);
            self.step(state, guess.end);
        }
    }

    fn step(&self, state: &mut State, end: u64) {
        state.front += 1;
        let begins_file = state.front < self.count && self.range(state.front).from == 0;
        state.front_begin = if begins_file { 0 } else { end };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_all_files_in_order() {
        let borders = Borders::new(&[0, 10, 0, 0, 4, 3], 4);
        let mut ranges = Vec::new();
        while let Some(r) = borders.take() {
            ranges.push((r.file, r.from, r.to));
        }
        assert_eq!(ranges, [(1, 0, 4), (1, 4, 8), (1, 8, 10), (4, 0, 4), (5, 0, 3)]);
        assert_eq!(borders.count(), 5);
    }

    #[test]
    fn right_guesses_are_confirmed_in_any_order_and_wrong_ones_settled() {
        let borders = Borders::new(&[40], 10);
        let ranges: Vec<Range> = std::iter::from_fn(|| borders.take()).collect();
        borders.guess(&ranges[2], Some(Extent { begin: 21, end: 33 }));
        assert!(matches!(borders.verdict(&ranges[2]), Verdict::Wait(_)));
        borders.guess(&ranges[1], Some(Extent { begin: 13, end: 21 }));
        let Verdict::Wait(token) = borders.verdict(&ranges[1]) else { panic!("not known yet") };
        borders.guess(&ranges[0], Some(Extent { begin: 0, end: 12 }));
        assert!(token.is_stale());
        assert!(matches!(borders.verdict(&ranges[0]), Verdict::Confirmed));
        assert!(matches!(borders.verdict(&ranges[1]), Verdict::Begin(12)));
        borders.settle(&ranges[1], 21);
        assert!(matches!(borders.verdict(&ranges[2]), Verdict::Confirmed));
        borders.guess(&ranges[3], None);
        assert!(matches!(borders.verdict(&ranges[3]), Verdict::Begin(33)));
    }
}
