//! The loser tree over cursors: which run has the next row.
//!
//! Every inner node remembers the loser of the match played there, the root's winner is the next
//! row. When it moves on, only the matches on its way up are played again. A match compares two
//! words of 16 bytes that lie side by side; the rows are looked at only when these are equal and
//! do not tell everything.

use super::cursor::{Advance, Cursor};
use super::shape::{RunShape, Words};
use crate::error::Result;

/// Cursors at their first rows, and the order among them.
pub(super) struct Tournament<'a> {
    shape: &'a RunShape,
    cursors: &'a mut [Cursor],
    state: &'a mut State,
}

/// What a tournament remembers; reused, because it is as large as there are runs.
#[derive(Default)]
pub(super) struct State {
    /// The words of each cursor's present row; all ones when it has none.
    heads: Vec<Words>,
    /// Whether a cursor has a present row.
    alive: Vec<bool>,
    /// By node, the cursor that lost there; node 0 has the winner.
    losers: Vec<u32>,
    /// Words at which every cursor ends.
    to: Option<Words>,
}

impl State {
    /// Starts over with cursors that have these first rows.
    pub(super) fn restart(
        &mut self,
        shape: &RunShape,
        cursors: &mut [Cursor],
        heads: &[Option<Words>],
        to: Option<Words>,
    ) {
        self.heads.clear();
        self.heads.extend(heads.iter().map(|head| head.unwrap_or(Words::MAX)));
        self.alive.clear();
        self.alive.extend(heads.iter().map(Option::is_some));
        self.to = to;
        self.losers.clear();
        self.losers.resize(cursors.len().max(1), u32::MAX);
        let mut tournament = Tournament { shape, cursors, state: self };
        for cursor in 0..tournament.cursors.len() {
            tournament.enter(cursor);
        }
    }
}

impl<'a> Tournament<'a> {
    /// Goes on with a tournament.
    pub(super) fn new(
        shape: &'a RunShape,
        cursors: &'a mut [Cursor],
        state: &'a mut State,
    ) -> Self {
        Tournament { shape, cursors, state }
    }

    pub(super) fn cursors(&self) -> &[Cursor] {
        self.cursors
    }

    /// The cursor with the next row.
    #[inline]
    pub(super) fn winner(&self) -> Option<usize> {
        let winner = self.state.losers[0] as usize;
        self.state.alive.get(winner).copied().unwrap_or(false).then_some(winner)
    }

    /// The words of a cursor's present row.
    #[inline]
    pub(super) fn words(&self, cursor: usize) -> Words {
        self.state.heads[cursor]
    }

    /// Moves the winner on. `before_move` is called when its window has to move.
    #[inline]
    pub(super) fn advance(
        &mut self,
        winner: usize,
        mut before_move: impl FnMut(&[Cursor]) -> Result<()>,
    ) -> Result<()> {
        let next = match self.cursors[winner].advance()? {
            Advance::Row(words) => Some(words),
            Advance::Away => {
                before_move(self.cursors)?;
                self.cursors[winner].load()?
            }
            Advance::End => None,
        };
        match next.filter(|&words| self.state.to.is_none_or(|to| words < to)) {
            Some(words) => self.state.heads[winner] = words,
            None => {
                self.state.heads[winner] = Words::MAX;
                self.state.alive[winner] = false;
            }
        }
        self.replay(winner);
        Ok(())
    }

    /// Plays the matches of a cursor from its leaf to the root.
    #[inline]
    fn replay(&mut self, cursor: usize) {
        let mut winner = cursor;
        let mut node = (cursor + self.cursors.len()) / 2;
        while node > 0 {
            let other = self.state.losers[node] as usize;
            if self.before(other, winner) {
                self.state.losers[node] = winner as u32;
                winner = other;
            }
            node /= 2;
        }
        self.state.losers[0] = winner as u32;
    }

    /// As [`Tournament::replay`] while the tree is filled: stops where nobody waits yet.
    fn enter(&mut self, cursor: usize) {
        let mut winner = cursor;
        let mut node = (cursor + self.cursors.len()) / 2;
        while node > 0 {
            let other = self.state.losers[node];
            if other == u32::MAX {
                self.state.losers[node] = winner as u32;
                return;
            }
            if self.before(other as usize, winner) {
                self.state.losers[node] = winner as u32;
                winner = other as usize;
            }
            node /= 2;
        }
        self.state.losers[0] = winner as u32;
    }

    /// Whether the present row of cursor `a` comes before that of cursor `b`.
    #[inline]
    fn before(&self, a: usize, b: usize) -> bool {
        let (x, y) = (self.state.heads[a], self.state.heads[b]);
        if x != y { x < y } else { self.before_among_equals(a, b) }
    }

    #[cold]
    fn before_among_equals(&self, a: usize, b: usize) -> bool {
        if !(self.state.alive[a] && self.state.alive[b]) {
            return self.state.alive[a];
        }
        let (row_a, row_b) = (self.cursors[a].row(), self.cursors[b].row());
        if self.shape.may_differ(self.state.heads[a]) {
            let order = self.shape.compare_rest(&row_a, &row_b);
            if order.is_ne() {
                return order.is_lt();
            }
        }
        let (run_a, run_b) = (self.cursors[a].run(), self.cursors[b].run());
        let arrival_a = (run_a.base + row_a.mark(), run_a.number);
        let arrival_b = (run_b.base + row_b.mark(), run_b.number);
        arrival_a < arrival_b
    }
}
