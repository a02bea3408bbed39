//! Reads groups that are on tapes: a partition at a time, merged when it is in memory.
//!
//! A worker takes a partition whole. One that does not fit its share of memory is split, and the
//! parts are read in turn: all chunks of a partition belong to one morsel, so that groups come out
//! in the order of their hashes as they do from memory.

use super::handed::MergeParts;
use super::merge::merge_bytes;
use super::partition::{HELD_MINIMUM, Partition, WINDOW_BYTES};
use super::parts::merge_large;
use super::plan::Plan;
use super::sink::{FinishedLane, array_bytes};
use super::spill::{HOLDER, Spill, writing_bytes};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::PageReader;
use crate::pipeline::Context;

/// What reading takes at least: a window, what partitions are split with, and some groups.
pub(super) fn reader_bytes(plan: &Plan) -> usize {
    WINDOW_BYTES + writing_bytes(plan) + HELD_MINIMUM
}

/// One worker's partitions.
pub(super) struct Reload {
    /// What is left of the partition it has taken; the next is last.
    pending: Vec<Partition>,
    memory: Reservation,
    reader: PageReader,
    /// What partitions are split with; `None` while one is.
    writing: Option<Reservation>,
}

impl Reload {
    /// A reader with memory that was kept for it, if there is any.
    ///
    /// # Errors
    /// `OutOfMemory` when there is not even room for splitting partitions.
    pub(super) fn new(plan: &Plan, kept: Option<Reservation>, cx: &Context) -> Result<Self> {
        let mut memory = match kept {
            Some(memory) => memory,
            None => cx.memory().reserve(HOLDER, reader_bytes(plan))?,
        };
        let writing = writing_bytes(plan);
        memory.grow(WINDOW_BYTES + writing)?;
        let writing = Some(memory.cede(writing));
        let reader = PageReader::new(memory.cede(WINDOW_BYTES), WINDOW_BYTES);
        Ok(Reload { pending: Vec::new(), memory, reader, writing })
    }

    /// Takes a partition to be read.
    pub(super) fn take(&mut self, partition: Partition) {
        self.pending.push(partition);
    }

    /// Groups of the partition that was taken; `None` when it has been read.
    ///
    /// # Errors
    /// `OutOfMemory`, `Io` when a tape cannot be read, an overflowing sum.
    pub(super) fn next(&mut self, plan: &Plan, cx: &Context) -> Result<Option<FinishedLane>> {
        let share = cx.memory().limit() / (cx.query.threads.max(1) + 1);
        while let Some(partition) = self.pending.pop() {
            let needed = partition.needed_bytes();
            // The minimum is room that nobody else has. What cannot be split is tried all the same.
            let fits = needed <= share.max(HELD_MINIMUM) && self.memory.ensure(needed);
            if !fits && partition.can_split() {
                let parts = self.split(plan, &partition, cx)?;
                self.pending.extend(parts.into_iter().rev());
                continue;
            }
            let lane = self.merge(plan, &partition, cx)?;
            let _ = self.memory.ensure(0);
            return Ok(Some(lane));
        }
        Ok(None)
    }

    /// Gives the memory of groups back that nobody reads any more.
    pub(super) fn release(&mut self, lane: FinishedLane) {
        let bytes = lane.bytes();
        drop(lane);
        self.memory.shrink(bytes);
    }

    fn split(
        &mut self,
        plan: &Plan,
        partition: &Partition,
        cx: &Context,
    ) -> Result<Vec<Partition>> {
        let Some(writing) = self.writing.take() else {
            return Err(Error::internal("a partition is split after an error"));
        };
        let (reader, memory) = (&mut self.reader, &mut self.memory);
        let minimum = memory.minimum();
        let (parts, writing) = partition.split(plan, reader, Spill::new(writing)?, memory, cx)?;
        self.writing = Some(writing);
        // What the list of parts takes is made good if it can be.
        let _ = memory.set_minimum(minimum);
        Ok(parts)
    }

    fn merge(&mut self, plan: &Plan, partition: &Partition, cx: &Context) -> Result<FinishedLane> {
        let memory = &mut self.memory;
        let mut held = partition.load(plan, &mut self.reader, memory, cx)?;
        let customs = held.take_customs(partition, memory)?;
        let mut visitor = MergeParts::of_one(plan, cx, customs)?;
        let (rows, stores) = (&mut held.rows, &held.stores);
        memory.grow(merge_bytes(rows.rows()))?;
        let groups = merge_large(plan, rows, stores, partition.skip, &mut visitor, memory)?;
        let customs = visitor.results()?;
        memory.grow(array_bytes(&customs))?;
        Ok(FinishedLane::new(held.rows, groups, customs, held.stores))
    }
}
