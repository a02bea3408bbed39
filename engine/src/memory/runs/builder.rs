//! Collects one worker's rows and makes sorted runs of them.
//!
//! With a limit of `k` rows, rows that are behind `k` others are dropped: those that come when `k`
//! are known by their words alone, others when the buffer is sorted and cut to `k`.
//!
//! Phases: fill pages and entries; sort; write as a run of blocks in memory, or as one on tape,
//! and use the pages again; or keep them as they are. Where memory is plenty, rows behind the
//! first run are distributed instead (see `distribution`), and the pages are only where a chunk's
//! rows are put together; when that ends, what comes next is as before.
//!
//! Where memory is so short that runs become many, some are merged as soon as the buffer is empty.
//!
//! The memory of a builder is its pages, its entries (which are charged with their capacity), what
//! it distributes, and [`SPILL_BYTES`], charged from the start so that shedding never asks for
//! memory.

use std::ops::Range;
use std::sync::Arc;

use super::Check;
use super::blocks::Blocks;
use super::bound::Bound;
use super::distribution::{Distributed, Distribution};
use super::order::sort_entries;
use super::pool::merge_smallest;
use super::run::{Body, Entry, MemoryRun, Run};
use super::shape::{RunShape, Words};
use super::splitters::DistributionPlan;
use super::tape_form::TapeForm;
use super::writer::{RunWriter, SPILL_BYTES};
use crate::batch::{CHUNK_ROWS, Chunk, Picked, pick};
use crate::error::{Error, Result};
use crate::memory::rows::FIRST_PAGE_BYTES;
use crate::memory::rows::packed::{PackedPages, PackedRef};
use crate::memory::spill::SpillSpace;
use crate::memory::{Reservation, Turn};

/// What a builder has to hold for sure: [`SPILL_BYTES`], and enough rows to be worth a run.
pub const BUILDER_MINIMUM: usize = SPILL_BYTES + (256 << 10);

/// A run gets at most about this large: sorting more at once would be no faster, and nobody could
/// interrupt it.
pub const RUN_BYTES_MAX: usize = 32 << 20;

/// A page of rows; a few rows of any usual width, and a small part of a run.
const PAGE_BYTES: usize = 256 << 10;

/// Runs on tape that a builder may have in any case before some of them are merged.
const RUNS_MAX: usize = 256;

/// How much of the budget there is for one more: what a run on tape keeps in memory, one or two KB,
/// is to be a small part of it. At the end so many would be merged all the same.
const BYTES_PER_RUN: usize = 128 << 10;

/// How many of them are merged at once.
const RUNS_MERGED: usize = 64;

/// Marks are 64 bits, but cost a byte of every row for each 8: a builder ends a run rather than
/// let a mark grow beyond this.
const MARK_MAX: u64 = u32::MAX as u64;

/// Where rows are longer, moving them is most of the work, in whichever order it is done.
const DISTRIBUTED_ROW_BYTES_MAX: u64 = 64;

/// Makes sorted runs of one worker's chunks; see the module documentation.
pub struct RunBuilder {
    shape: Arc<RunShape>,
    space: SpillSpace,
    memory: Reservation,
    /// The number of the next run.
    number: u64,
    base: u64,
    pages: PackedPages,
    entries: Vec<Entry>,
    runs: Vec<Run>,
    /// Some are merged when they are more.
    pub(super) runs_max: usize,
    limit: Option<Limit>,
    plan: DistributionPlan,
    /// Whether rows may yet be distributed, which is done once at most.
    may_distribute: bool,
    distribution: Option<Distribution>,
    words: Vec<Words>,
    refs: Vec<PackedRef>,
}

/// Only so many rows are wanted.
struct Limit {
    rows: usize,
    /// Words of the last of `rows` rows that this builder has had.
    own: Option<Words>,
    /// What the other builders know.
    shared: Bound,
}

impl RunBuilder {
    /// A builder whose runs are numbered from `number << 32`. `memory` is its own reservation,
    /// with a minimum of at least [`BUILDER_MINIMUM`].
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum is not there.
    pub fn new(shape: Arc<RunShape>, number: u32, mut memory: Reservation) -> Result<Self> {
        memory.grow(SPILL_BYTES)?;
        let runs_max = (memory.governor().limit() / BYTES_PER_RUN).max(RUNS_MAX);
        Ok(RunBuilder {
            space: memory.governor().spill().clone(),
            memory,
            number: u64::from(number) << 32,
            base: 0,
            pages: PackedPages::new(shape.layout().clone(), PAGE_BYTES),
            shape,
            entries: Vec::new(),
            runs: Vec::new(),
            runs_max,
            limit: None,
            plan: DistributionPlan::default(),
            may_distribute: false,
            distribution: None,
            words: Vec::new(),
            refs: Vec::new(),
        })
    }

    /// The same builder, for a sort of which only the first `rows` rows are wanted. All builders
    /// of the sort share a bound.
    pub fn with_limit(mut self, rows: u64, shared: Bound) -> Self {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        self.limit = Some(Limit { rows, own: None, shared });
        self
    }

    /// The same builder, which distributes rows where memory is plenty. All builders of the sort
    /// share a plan.
    pub fn with_plan(self, plan: DistributionPlan) -> Self {
        RunBuilder { plan, may_distribute: true, ..self }
    }

    /// Adds the live rows of a chunk. Morsels come in order. A row that finds no room, although the
    /// builder has given all it has, waits until it is alone in its `turn`, and is until it is
    /// stored.
    ///
    /// # Errors
    /// `OutOfMemory` when memory or disk do not suffice, `Io` when writing fails, `Input` when a
    /// value cannot be stored, and what `check` reports.
    pub fn push(&mut self, chunk: &Chunk, turn: &mut Turn<'_>, check: Check<'_>) -> Result<()> {
        let morsel = chunk.place().morsel;
        self.merge_some(check)?;
        if self.entries.is_empty() {
            self.base = morsel;
        }
        if morsel < self.base || morsel - self.base > MARK_MAX {
            self.seal()?;
            self.base = morsel;
        }
        let mut words = std::mem::take(&mut self.words);
        self.shape.words(chunk.columns(), chunk.live_positions(), &mut words)?;
        let wanted = self.limit.as_ref().and_then(|l| l.narrow(chunk, &mut words, &self.shape));
        let positions = wanted.as_deref().unwrap_or(chunk.live_positions());
        let picked = pick(chunk.columns(), positions);
        let mut done = self.distribute(&picked, 0, &words, morsel, check)?;
        // Set when everything has been shed and the next row still found no place.
        let mut insist = false;
        while done < positions.len() {
            check()?;
            let stored = match self.store(&picked, done..positions.len(), morsel, insist) {
                Err(Error::OutOfMemory { .. }) if !turn.is_alone() => {
                    turn.be_alone(check)?;
                    continue;
                }
                stored => stored?,
            };
            if stored > 0 {
                // What comes next may have room beside others.
                turn.be_beside();
            }
            let new = words[done..].iter().zip(&self.refs);
            self.entries.extend(new.map(|(&words, &row)| Entry::new(words, row)));
            done += stored;
            if self.limit.as_ref().is_some_and(|limit| self.entries.len() >= limit.prune_at()) {
                self.sort();
                self.compact()?;
            }
            if self.filled_bytes() >= self.plan.buffer_bytes {
                self.store_buffer(false, check)?;
                self.begin_distribution();
                done = self.distribute(&picked, done, &words, morsel, check)?;
            } else if done < positions.len() {
                insist = !self.shed(check)?;
                self.merge_some(check)?;
            }
            if self.entries.is_empty() {
                self.base = morsel;
            }
        }
        self.words = words;
        if self.memory.pressed() {
            self.relieve(check)?;
        }
        Ok(())
    }

    /// Stores picked rows in the buffer, as many as have room; how many.
    fn store(
        &mut self,
        picked: &[Picked<'_>],
        rows: Range<usize>,
        morsel: u64,
        insist: bool,
    ) -> Result<usize> {
        self.refs.clear();
        if !self.reserve_entries(rows.len(), insist)? {
            return Ok(0);
        }
        let (memory, refs) = (&mut self.memory, &mut self.refs);
        self.pages.append(picked, rows, morsel - self.base, memory, refs, insist)
    }

    /// Begins to distribute rows, if the buffer has just become a run in memory, memory is plenty
    /// and rows are such that it is of use.
    fn begin_distribution(&mut self) {
        let Some(run) = self.runs.last().filter(|_| self.may_distribute) else { return };
        let Body::Blocks(blocks) = &run.body else { return };
        let is_short = self.memory.governor().limit() < self.plan.limit_bytes_min;
        let are_long = run.bytes > run.rows * DISTRIBUTED_ROW_BYTES_MAX;
        if is_short || are_long || self.memory.pressed() || self.runs.iter().any(Run::is_spilled) {
            return;
        }
        let first_words = blocks.blocks.index().iter().map(|&(words, _)| words);
        let Some(splitters) = self.plan.splitters(&self.shape, first_words) else { return };
        let (plan, memory) = (&self.plan, &mut self.memory);
        let begun = Distribution::like(run, &self.shape, plan, splitters, memory);
        if begun.is_some() {
            // A few pages are enough, and stay in a cache.
            self.free_buffer();
        }
        self.distribution = begun;
    }

    /// Distributes rows from `done` on, as many as can be; how many have been in all. Those that
    /// are left are for the buffer.
    fn distribute(
        &mut self,
        picked: &[Picked<'_>],
        mut done: usize,
        words: &[Words],
        morsel: u64,
        check: Check<'_>,
    ) -> Result<usize> {
        while let Some(distribution) = self.distribution.as_mut().filter(|_| done < words.len()) {
            check()?;
            if distribution.is_empty() {
                distribution.base = morsel;
            }
            let (memory, refs) = (&mut self.memory, &mut self.refs);
            refs.clear();
            let stored = self.pages.append(picked, done..words.len(), 0, memory, refs, false)?;
            let rows = &words[done..done + stored];
            let mark = morsel.checked_sub(distribution.base).filter(|&mark| mark <= MARK_MAX);
            let pushed = match mark {
                _ if stored == 0 => Distributed::Refused(0),
                Some(mark)
                    if !distribution.is_large() && distribution.fits(rows, self.pages.facts()) =>
                {
                    distribution.push(rows, refs, &self.pages, mark, memory)
                }
                _ => {
                    let next = distribution.next(rows, self.pages.facts(), memory);
                    self.pages.clear(&mut self.memory);
                    self.end_distribution();
                    self.distribution = next;
                    continue;
                }
            };
            let is_lopsided = matches!(pushed, Distributed::Full(_)) && distribution.is_lopsided();
            self.pages.clear(&mut self.memory);
            match pushed {
                Distributed::All => done += stored,
                Distributed::Refused(rows) => {
                    done += rows;
                    self.end_distribution();
                }
                Distributed::Full(rows) => {
                    done += rows;
                    self.end_distribution();
                    if is_lopsided {
                        self.put_last_in_order(check)?;
                    }
                }
            }
        }
        Ok(done)
    }

    /// Makes a run of what is distributed, which needs no memory.
    fn end_distribution(&mut self) {
        let Some(distribution) = self.distribution.take() else { return };
        self.may_distribute = false;
        if distribution.is_empty() {
            self.memory.shrink(distribution.held_bytes());
            return;
        }
        self.runs.push(distribution.finish(self.number, &mut self.memory));
        self.number += 1;
    }

    /// Puts the rows of the last run in order, if it is distributed and there is room: of a range
    /// that is large parts will be looked for.
    fn put_last_in_order(&mut self, check: Check<'_>) -> Result<()> {
        let Some(run) = self.runs.last_mut() else { return Ok(()) };
        if let Some(in_order) = run.in_order(&mut self.memory, check)? {
            *run = in_order;
        }
        Ok(())
    }

    /// What it is charged to.
    pub(super) fn reservation(&self) -> &Reservation {
        &self.memory
    }

    /// Bytes that [`RunBuilder::give_up`] could give: a buffer of a page or two is not worth a run.
    pub(super) fn spillable_bytes(&self) -> usize {
        let runs = self.runs.iter().map(Run::memory_bytes).sum::<usize>();
        let runs = runs + self.distribution.as_ref().map_or(0, Distribution::held_bytes);
        match self.buffer_bytes() {
            buffer if buffer > 2 * FIRST_PAGE_BYTES => runs + buffer,
            _ => runs,
        }
    }

    /// Writes rows until `wanted` bytes are free, or none are left in memory; the bytes that are
    /// free now.
    ///
    /// # Errors
    /// `OutOfMemory` and `Io` when they cannot be written; all rows are still there.
    pub(super) fn give_up(&mut self, wanted: usize) -> Result<usize> {
        let before = self.bytes();
        while before.saturating_sub(self.bytes()) < wanted && self.shed(&|| Ok(()))? {}
        Ok(before.saturating_sub(self.bytes()))
    }

    /// Bytes reserved by the builder and its runs in memory.
    pub fn bytes(&self) -> usize {
        self.memory.bytes() + self.runs.iter().map(Run::memory_bytes).sum::<usize>()
    }

    /// All runs, the last one included; frees the rest.
    ///
    /// # Errors
    /// What making a run reports.
    pub fn finish(mut self, check: Check<'_>) -> Result<Vec<Run>> {
        check()?;
        self.end_distribution();
        // Rows that are all of them are soon gone, and need not be copied before.
        match self.runs.is_empty() {
            true => self.seal()?,
            false => self.store_buffer(true, check)?,
        }
        Ok(self.runs)
    }

    fn buffer_bytes(&self) -> usize {
        self.pages.bytes() + entry_bytes(self.entries.capacity())
    }

    /// The bytes of the buffer that have rows, pages that are kept for more not counted.
    fn filled_bytes(&self) -> usize {
        self.pages.used_bytes() as usize + entry_bytes(self.entries.len())
    }

    /// Makes room for `more` entries; false when memory refuses.
    fn reserve_entries(&mut self, more: usize, insist: bool) -> Result<bool> {
        let (len, capacity) = (self.entries.len(), self.entries.capacity());
        if capacity - len >= more {
            return Ok(true);
        }
        let new = (len + more).max(2 * capacity);
        // Both are there while the entries are moved.
        if !self.memory.try_grow(entry_bytes(new)) {
            if !insist {
                return Ok(false);
            }
            self.memory.grow(entry_bytes(len + more))?;
            self.memory.shrink(entry_bytes(capacity));
            self.entries.reserve_exact(more);
            return Ok(true);
        }
        self.entries.reserve_exact(new - len);
        self.memory.shrink(entry_bytes(capacity));
        Ok(true)
    }

    /// Sorts what is in the buffer, and drops what is beyond the limit.
    fn sort(&mut self) {
        let (shape, pages) = (&self.shape, &self.pages);
        sort_entries(&mut self.entries, &|a, b| {
            let (x, y) = (a.words(), b.words());
            let ties = || match shape.may_differ(x) {
                true => shape.compare_rest(&pages.row(a.row), &pages.row(b.row)),
                false => std::cmp::Ordering::Equal,
            };
            x.cmp(&y).then_with(ties).then(a.row.cmp(&b.row))
        });
        let Some(limit) = &mut self.limit else { return };
        self.entries.truncate(limit.rows);
        if let Some(last) = self.entries.last().filter(|_| self.entries.len() == limit.rows) {
            limit.own = Some(limit.own.map_or(last.words(), |own| own.min(last.words())));
            limit.shared.tighten(last.words(), || shape.first_key(&pages.row(last.row)));
        }
    }

    /// Moves the sorted rows together, when most of the pages are rows that were dropped. Equal
    /// rows are in the order of arrival, and stay so.
    fn compact(&mut self) -> Result<()> {
        self.refs.clear();
        let used = self.entries.iter().map(|e| self.pages.row(e.row).bytes().len() as u64);
        if used.sum::<u64>() * 2 > self.pages.used_bytes() {
            return Ok(());
        }
        let mut moved = PackedPages::new(self.shape.layout().clone(), PAGE_BYTES);
        for at in 0..self.entries.len() {
            let row = self.pages.row(self.entries[at].row);
            let Some(place) = moved.push(row.bytes(), &mut self.memory)? else {
                // There is no room for both: the rows are spilled as they are, if need be.
                moved.free(&mut self.memory);
                return Ok(());
            };
            self.refs.push(place);
        }
        moved.keep_facts_of(&self.pages);
        for (entry, &row) in self.entries.iter_mut().zip(&self.refs) {
            entry.row = row;
        }
        self.pages.free(&mut self.memory);
        self.pages = moved;
        Ok(())
    }

    /// Makes a run in memory of what is in the buffer.
    fn seal(&mut self) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        self.sort();
        self.seal_sorted()
    }

    fn seal_sorted(&mut self) -> Result<()> {
        let fresh = PackedPages::new(self.shape.layout().clone(), PAGE_BYTES);
        let mut pages = std::mem::replace(&mut self.pages, fresh);
        pages.trim(&mut self.memory);
        let mut entries = std::mem::take(&mut self.entries);
        let before = entry_bytes(entries.capacity());
        entries.shrink_to_fit();
        self.memory.shrink(before - entry_bytes(entries.capacity()));
        let charge = self.memory.split(pages.bytes() + entry_bytes(entries.capacity()));
        self.runs.push(Run {
            number: self.number,
            base: self.base,
            rows: entries.len() as u64,
            bytes: pages.used_bytes(),
            facts: pages.facts().to_vec(),
            body: Body::Memory(MemoryRun { pages, entries, charge }),
        });
        self.number += 1;
        Ok(())
    }

    /// Makes a run in memory of what is in the buffer, in blocks, and keeps the memory of the
    /// buffer for the next. Where there is no room for both, runs are written to tapes, as the next
    /// rows would have them written; but the last buffer is a run as it is.
    fn store_buffer(&mut self, is_last: bool, check: Check<'_>) -> Result<()> {
        if self.entries.is_empty() || self.limit.is_some() {
            return self.seal();
        }
        self.sort();
        let (layout, facts) = (self.shape.layout().clone(), self.pages.facts().to_vec());
        let form = TapeForm::of_entries(&layout, &facts, &self.entries);
        let less = layout.form().fixed_bytes() - form.row.fixed_bytes();
        let bytes = self.pages.used_bytes() as usize + self.entries.len() * form.words.bytes();
        let bytes = Blocks::bytes_for(bytes - self.entries.len() * less);
        while self.memory.pressed() || !self.memory.try_grow(bytes) {
            if is_last {
                return self.seal_sorted();
            }
            if !self.runs.iter().any(|run| !run.is_spilled()) {
                return self.spill_sorted(check);
            }
            self.shed(check)?;
        }
        let charge = self.memory.split(bytes);
        let mut writer = RunWriter::in_memory(self.number, layout, form);
        writer.push_entries(&self.entries, &self.pages, check)?;
        match writer.finish_in_memory(self.base, facts, charge) {
            Err(Error::OutOfMemory { .. }) => return self.seal_sorted(),
            run => self.runs.push(run?),
        }
        self.number += 1;
        self.entries.clear();
        self.pages.clear(&mut self.memory);
        Ok(())
    }

    /// Gives memory back: the oldest run that is still in memory, otherwise the buffer. False when
    /// there is nothing left to give.
    fn shed(&mut self, check: Check<'_>) -> Result<bool> {
        self.end_distribution();
        if let Some(run) = self.runs.iter_mut().find(|run| !run.is_spilled()) {
            *run = run.spill(&self.space, check)?;
            return Ok(true);
        }
        if self.entries.is_empty() {
            // Pages kept for rows to come are of no use to a row that is larger than them.
            let kept = self.pages.bytes();
            self.free_buffer();
            return Ok(kept > 0);
        }
        self.spill_buffer(check)?;
        Ok(true)
    }

    /// Writes the buffer as a run and keeps its memory for the next.
    fn spill_buffer(&mut self, check: Check<'_>) -> Result<()> {
        self.sort();
        self.spill_sorted(check)
    }

    fn spill_sorted(&mut self, check: Check<'_>) -> Result<()> {
        let who = self.memory.who().clone();
        let (layout, facts) = (self.shape.layout(), self.pages.facts().to_vec());
        let form = TapeForm::of_entries(layout, &facts, &self.entries);
        let mut writer = RunWriter::new(self.number, &self.space, who, layout.clone(), form);
        writer.push_entries(&self.entries, &self.pages, check)?;
        self.runs.push(writer.finish(self.base, facts)?);
        self.number += 1;
        self.entries.clear();
        self.pages.clear(&mut self.memory);
        Ok(())
    }

    /// Merges some runs, where they are many and the buffer, whose memory that takes, is empty.
    fn merge_some(&mut self, check: Check<'_>) -> Result<()> {
        if self.runs.len() <= self.runs_max || !self.entries.is_empty() {
            return Ok(());
        }
        self.free_buffer();
        merge_smallest(&self.shape, &self.space, &mut self.runs, RUNS_MERGED, &self.memory, check)
    }

    fn free_buffer(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        self.memory.shrink(entry_bytes(entries.capacity()));
        self.pages.free(&mut self.memory);
    }

    /// Comes down to what the governor asks for: runs in memory first, then all of the buffer.
    fn relieve(&mut self, check: Check<'_>) -> Result<()> {
        while self.memory.pressed() {
            let in_memory = self.runs.iter().any(|run| !run.is_spilled());
            if self.spillable_bytes() == 0 || !self.shed(check)? {
                break;
            }
            if !in_memory {
                self.free_buffer();
            }
        }
        Ok(())
    }
}

impl Limit {
    /// Entries at which the buffer is cut: often enough that the bound is tight and the rows are
    /// few, rarely enough that sorting costs little for each row that comes.
    fn prune_at(&self) -> usize {
        self.rows.saturating_mul(2).max(self.rows.saturating_add(2 * CHUNK_ROWS))
    }

    /// The positions of the live rows that may be wanted, and their words alone; `None` for all.
    fn narrow(&self, chunk: &Chunk, words: &mut Vec<Words>, shape: &RunShape) -> Option<Vec<u32>> {
        let (own, shared) = (self.own, self.shared.words());
        // A row that equals the last one of this builder came later; of another's nobody knows.
        let equal_too = own.is_some_and(|own| !shape.may_differ(own));
        let wanted = |words: Words| {
            own.is_none_or(|own| words < own || (words == own && !equal_too))
                && shared.is_none_or(|shared| words <= shared)
        };
        if words.iter().all(|&words| wanted(words)) {
            return None;
        }
        let positions = chunk.live_positions().iter().zip(words.iter());
        let kept = positions.filter(|&(_, &words)| wanted(words)).map(|(&row, _)| row).collect();
        words.retain(|&words| wanted(words));
        Some(kept)
    }
}

fn entry_bytes(entries: usize) -> usize {
    entries * size_of::<Entry>()
}
