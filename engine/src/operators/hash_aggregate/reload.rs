//! Reads groups that are on tapes: a partition at a time, merged when it is in memory.
//!
//! A worker takes a partition whole. One that does not fit its share of memory is split, and the
//! parts are read in turn: all chunks of a partition belong to one morsel, so that groups come out
//! in the order of their hashes as they do from memory.

use super::merge::merge_lane;
use super::partition::{Partition, READER_MINIMUM};
use super::plan::Plan;
use super::sink::{FinishedLane, MergeParts, array_bytes};
use super::spill::HOLDER;
use crate::error::Result;
use crate::memory::Reservation;
use crate::pipeline::Context;

/// One worker's partitions.
pub(super) struct Reload {
    /// What is left of the partition it has taken; the next is last.
    pending: Vec<Partition>,
    memory: Reservation,
}

impl Reload {
    /// # Errors
    /// `OutOfMemory` when there is not even room for splitting partitions.
    pub(super) fn new(cx: &Context) -> Result<Self> {
        let memory = cx.memory().reserve(HOLDER, READER_MINIMUM)?;
        Ok(Reload { pending: Vec::new(), memory })
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
            let fits = needed <= share.max(READER_MINIMUM) && self.memory.ensure(needed);
            if !fits && partition.can_split() {
                let parts = partition.split(plan, &mut self.memory, cx)?;
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

    fn merge(&mut self, plan: &Plan, partition: &Partition, cx: &Context) -> Result<FinishedLane> {
        let memory = &mut self.memory;
        let mut held = partition.load(plan, memory, cx)?;
        let customs = held.take_customs(partition, memory)?;
        let mut visitor = MergeParts::of_one(plan, cx, customs)?;
        let (rows, stores) = (&mut held.rows, &held.stores);
        let groups = merge_lane(plan, rows, stores, partition.skip, &mut visitor, memory)?;
        let customs = visitor.results()?;
        memory.grow(array_bytes(&customs))?;
        Ok(FinishedLane::new(held.rows, groups, customs, held.stores))
    }
}
