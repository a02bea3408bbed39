//! Collects one worker's rows and makes sorted runs of them.
//!
//! Phases: fill pages and entries; sort; keep as a run in memory, or write as a run on tape and
//! use the pages again. The memory of a builder is its pages, its entries (which are charged with
//! their capacity) and [`SPILL_BYTES`], charged from the start so that shedding never asks for
//! memory.

use std::sync::Arc;

use super::Check;
use super::run::{Body, Entry, MemoryRun, Run};
use super::shape::{RunShape, Words};
use super::writer::{RunWriter, SPILL_BYTES};
use crate::batch::{Chunk, pick};
use crate::error::Result;
use crate::memory::rows::packed::{PackedPages, PackedRef};
use crate::memory::spill::SpillSpace;
use crate::memory::{Reservation, rows::FIRST_PAGE_BYTES};

/// What a builder has to hold for sure: [`SPILL_BYTES`], and enough rows to be worth a run.
pub const BUILDER_MINIMUM: usize = SPILL_BYTES + (256 << 10);

/// A run gets at most about this large: sorting more at once would be no faster, and nobody could
/// interrupt it.
pub const RUN_BYTES_MAX: usize = 32 << 20;

/// A page of rows; a few rows of any usual width, and a small part of a run.
const PAGE_BYTES: usize = 256 << 10;

/// Marks are 64 bits, but cost a byte of every row for each 8: a builder ends a run rather than
/// let a mark grow beyond this.
const MARK_MAX: u64 = u32::MAX as u64;

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
    words: Vec<Words>,
    refs: Vec<PackedRef>,
}

impl RunBuilder {
    /// A builder whose runs are numbered from `number << 32`. `memory` is its own reservation,
    /// with a minimum of at least [`BUILDER_MINIMUM`].
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum is not there.
    pub fn new(shape: Arc<RunShape>, number: u32, mut memory: Reservation) -> Result<Self> {
        memory.grow(SPILL_BYTES)?;
        Ok(RunBuilder {
            space: memory.governor().spill().clone(),
            memory,
            number: u64::from(number) << 32,
            base: 0,
            pages: PackedPages::new(shape.layout().clone(), PAGE_BYTES),
            shape,
            entries: Vec::new(),
            runs: Vec::new(),
            words: Vec::new(),
            refs: Vec::new(),
        })
    }

    /// Adds the live rows of a chunk. Morsels come in order.
    ///
    /// # Errors
    /// `OutOfMemory` when memory or disk do not suffice, `Io` when writing fails, `Input` when a
    /// value cannot be stored, and what `check` reports.
    pub fn push(&mut self, chunk: &Chunk, check: Check<'_>) -> Result<()> {
        let morsel = chunk.place().morsel;
        if self.entries.is_empty() {
            self.base = morsel;
        }
        if morsel < self.base || morsel - self.base > MARK_MAX {
            self.seal()?;
            self.base = morsel;
        }
        let positions = chunk.live_positions();
        let mut words = std::mem::take(&mut self.words);
        self.shape.words(chunk.columns(), positions, &mut words)?;
        let picked = pick(chunk.columns(), positions);
        let mut done = 0;
        // Set when everything has been shed and the next row still found no place.
        let mut insist = false;
        while done < positions.len() {
            check()?;
            let rows = positions.len() - done;
            self.refs.clear();
            let stored = match self.reserve_entries(rows, insist)? {
                true => {
                    let (memory, refs) = (&mut self.memory, &mut self.refs);
                    let rows = done..positions.len();
                    self.pages.append(&picked, rows, morsel - self.base, memory, refs, insist)?
                }
                false => 0,
            };
            let new = words[done..].iter().zip(&self.refs);
            self.entries.extend(new.map(|(&words, &row)| Entry::new(words, row)));
            done += stored;
            if self.buffer_bytes() >= RUN_BYTES_MAX {
                self.seal()?;
            } else if done < positions.len() {
                insist = !self.shed(check)?;
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
        self.seal()?;
        Ok(self.runs)
    }

    fn buffer_bytes(&self) -> usize {
        self.pages.bytes() + entry_bytes(self.entries.capacity())
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

    /// Sorts what is in the buffer.
    fn sort(&mut self) {
        let (shape, pages) = (&self.shape, &self.pages);
        self.entries.sort_unstable_by(|a, b| {
            let (x, y) = (a.words(), b.words());
            let ties = || match shape.may_differ(x) {
                true => shape.compare_rest(&pages.row(a.row), &pages.row(b.row)),
                false => std::cmp::Ordering::Equal,
            };
            x.cmp(&y).then_with(ties).then(a.row.cmp(&b.row))
        });
    }

    /// Makes a run in memory of what is in the buffer.
    fn seal(&mut self) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        self.sort();
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
            nulls: (0..self.shape.layout().columns()).map(|c| pages.may_have_nulls(c)).collect(),
            body: Body::Memory(MemoryRun { pages, entries, charge }),
        });
        self.number += 1;
        Ok(())
    }

    /// Gives memory back: the oldest run that is still in memory, otherwise the buffer. False when
    /// there is nothing left to give.
    fn shed(&mut self, check: Check<'_>) -> Result<bool> {
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
        let who = self.memory.who().clone();
        let mut writer = RunWriter::new(&self.space, who);
        writer.push_entries(&self.entries, &self.pages, check)?;
        let nulls = (0..self.shape.layout().columns()).map(|c| self.pages.may_have_nulls(c));
        self.runs.push(writer.finish(self.number, self.base, nulls.collect())?);
        self.number += 1;
        self.entries.clear();
        self.pages.clear(&mut self.memory);
        Ok(())
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
            let worth = in_memory || self.buffer_bytes() > 2 * FIRST_PAGE_BYTES;
            if !worth || !self.shed(check)? {
                break;
            }
            if !in_memory {
                self.free_buffer();
            }
        }
        Ok(())
    }
}

fn entry_bytes(entries: usize) -> usize {
    entries * size_of::<Entry>()
}
