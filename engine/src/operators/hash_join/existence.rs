//! Which rows have a match that passes the residual: one is enough.
//!
//! * Of probe rows: as bounds of the residual say, where they decide, and else by rounds. The first
//!   tries one build row for each, the next four for each of those that are still open, and so on:
//!   rows that find a match soon cost few pairs, however many rows their key has, and the others
//!   about as many as there are.
//! * Of build rows, which are marked: groups in which all rows are marked are remembered and not
//!   followed again.

use super::groups::{NONE, group_of};
use super::matcher::{Matcher, rows_for};
use super::matches::Followed;
use crate::batch::{Chunk, MAX_CHUNK_ROWS};
use crate::error::Result;
use crate::pipeline::Context;

/// How many times more build rows a round tries for each probe row than the one before.
const WIDENING: usize = 4;

/// Groups of fewer rows are followed each time: to remember them would cost as much.
const LARGE_ROWS: usize = 64;

impl Matcher {
    /// Which live rows have a match that passes the residual.
    ///
    /// # Errors
    /// What the residual says of a pair, or that the query was stopped.
    pub(super) fn existing(&mut self, input: &Chunk, cx: &Context) -> Result<Vec<bool>> {
        self.look_up(input)?;
        if !self.has_residual() {
            return Ok(self.entries.iter().map(|&entry| entry != NONE).collect());
        }
        let mut matched = vec![false; input.live_rows()];
        let mut open = Vec::new();
        for row in 0..input.live_rows() as u32 {
            let entry = self.entries[row as usize];
            let decided = match (group_of(entry), &mut self.bounds) {
                (Some(group), Some(bounds)) => {
                    cx.check()?;
                    bounds.has_match(&self.table, row, group)?
                }
                _ => None,
            };
            match decided {
                Some(has_match) => matched[row as usize] = has_match,
                None if entry != NONE => open.push(row),
                None => (),
            }
        }
        let (mut from, mut width) = (0, 1);
        while !open.is_empty() {
            let until = from + width;
            self.pairs.clear();
            for &row in &open {
                let mut at = from;
                // A row whose pairs do not end with a batch may be known by the next.
                while !matched[row as usize] {
                    let room = MAX_CHUNK_ROWS - self.pairs.len();
                    let more = self.add_pairs(row, at, until.min(at + room))?;
                    at += more;
                    if more < room {
                        break;
                    }
                    self.note(input, &mut matched, cx)?;
                }
            }
            self.note(input, &mut matched, cx)?;
            let mut left = Vec::with_capacity(open.len());
            for row in open {
                if !matched[row as usize]
                    && let Some(group) = group_of(self.entries[row as usize])
                    && rows_for(&mut self.bounds, &self.table, row, group)?.rows.len() > until
                {
                    left.push(row);
                }
            }
            open = left;
            (from, width) = (until, (width * WIDENING).min(MAX_CHUNK_ROWS));
        }
        Ok(matched)
    }

    /// Adds the pairs of a probe row with the build rows of its key from number `from` to `until`;
    /// how many they are.
    fn add_pairs(&mut self, row: u32, from: usize, until: usize) -> Result<usize> {
        let entry = self.entries[row as usize];
        let single = [entry];
        let all = match group_of(entry) {
            None => Followed::open(&single),
            Some(group) => rows_for(&mut self.bounds, &self.table, row, group)?,
        };
        let some = all.part(from, until);
        self.pairs.extend(row, some);
        Ok(some.rows.len())
    }

    /// Notes which probe rows the pairs at hand are matches of, and takes no more of them.
    fn note(&mut self, input: &Chunk, matched: &mut [bool], cx: &Context) -> Result<()> {
        cx.check()?;
        self.filter(input)?;
        self.pairs.probe.iter().for_each(|&row| matched[row as usize] = true);
        self.pairs.clear();
        Ok(())
    }

    /// Marks the build rows that have a match that passes the residual; gives no pairs.
    ///
    /// # Errors
    /// As [`Matcher::existing`].
    pub(super) fn mark_existing(&mut self, input: &Chunk, cx: &Context) -> Result<()> {
        self.look_up(input)?;
        if !self.has_residual() {
            self.table.mark_entries(&self.entries);
            return Ok(());
        }
        self.pairs.clear();
        for row in 0..self.entries.len() {
            let entry = self.entries[row];
            let group = group_of(entry);
            if entry == NONE || group.is_some_and(|group| self.all_marked.contains(&group)) {
                continue;
            }
            let all = group.map_or(1, |group| self.table.groups().rows(group).len());
            let count = match group {
                Some(group) => {
                    rows_for(&mut self.bounds, &self.table, row as u32, group)?.rows.len()
                }
                None => 1,
            };
            let (mut from, mut open) = (0, 0);
            while from < count {
                let until = count.min(from + MAX_CHUNK_ROWS - self.pairs.len());
                open += self.add_unmarked(row as u32, from, until)?;
                from = until;
                if self.pairs.len() == MAX_CHUNK_ROWS {
                    self.mark(input, cx)?;
                }
            }
            let Some(group) = group.filter(|_| open == 0 && all >= LARGE_ROWS) else { continue };
            let is_marked = |row: &u32| self.table.is_marked(*row);
            // To look at all of them costs little more than those that were followed.
            if count == all
                || count >= all / 4 && self.table.groups().rows(group).iter().all(is_marked)
            {
                self.all_marked.insert(group);
            }
        }
        self.mark(input, cx)
    }

    /// As [`Matcher::add_pairs`], without build rows that are marked.
    fn add_unmarked(&mut self, row: u32, from: usize, until: usize) -> Result<usize> {
        let start = self.pairs.len();
        self.add_pairs(row, from, until)?;
        let (pairs, table) = (&mut self.pairs, &self.table);
        pairs.retain_from(start, |_, build| !table.is_marked(build));
        Ok(pairs.len() - start)
    }

    /// Marks the build rows of the pairs at hand that pass the residual, and takes no more of them.
    fn mark(&mut self, input: &Chunk, cx: &Context) -> Result<()> {
        cx.check()?;
        if !self.pairs.is_empty() {
            self.filter(input)?;
            self.table.mark(&self.pairs.build);
            self.pairs.clear();
        }
        Ok(())
    }
}
