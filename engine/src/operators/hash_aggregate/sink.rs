//! The sink of an aggregate: every worker fills a table of its own (`worker`), then the tables are
//! merged, partition by partition, side by side: by who reads them, or else by tasks before. When
//! one of them has written groups to a tape, all groups are written, and merged when they are read.
//! A partition that has no room to be merged is written by itself.
//!
//! Concurrency: a finish task takes a worker's groups, or a partition, and works on it without a
//! lock. Partitions without room are written by one of the tasks that found none; the others leave
//! theirs to it and end.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use arrow::array::{Array, ArrayRef, new_empty_array};

use super::handed::{Handed, Lane, MergeParts};
use super::merge::ordered_bytes;
use super::partition::Partition;
use super::parts::merge_parts;
use super::plan::Plan;
use super::reload::reader_bytes;
use super::shelf::AggregateWorker;
use super::spill::{CustomStates, Groups, HOLDER, Spill, Spilled, writing_bytes};
use super::stores::Stores;
use super::table::{GroupTable, LANE_BITS, LANES, LanePages};
use super::waiting::Waiting;
use super::worker::can_spill;
use crate::batch::CHUNK_ROWS;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{RowPages, RowRef};
use crate::pipeline::{Context, Sink, SinkWorker};

/// Memory that a partition is asked for by all means before it is written instead: it takes more
/// to read it back.
const SMALL_BYTES: usize = 64 << 10;

/// What sink and source share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    /// Whether some worker has written groups to a tape.
    is_spilling: AtomicBool,
    state: Mutex<State>,
}

/// The groups, in the course of their becoming.
#[derive(Default)]
pub(super) struct State {
    /// What workers handed over.
    pub(super) parts: Vec<Part>,
    /// What has been written.
    pub(super) spilled: Vec<Spilled>,
    /// Why groups that were handed over are gone.
    pub(super) lost: Option<Error>,
    /// What is to be merged, by lane.
    lanes: Vec<Option<Lane>>,
    /// What readers merge lanes with, and how much of it each gets.
    merging: Option<(Reservation, usize)>,
    /// Lanes that have no room to be merged, with their numbers, until they are written.
    unmerged: Vec<(usize, Lane)>,
    /// What they are written with, and later finished lanes; nothing while somebody does.
    pub(super) writing: Vec<Reservation>,
    /// Finish tasks that have not ended.
    left: usize,
    /// Custom states by worker, and the values that rows refer to.
    pub(super) handed: Arc<Handed>,
    /// The finished groups, in the order of their hashes.
    pub(super) finished: Vec<Finished>,
    /// Whether all are there, and may be written out again.
    pub(super) is_offered: bool,
    /// How many of these readers have come to.
    pub(super) begun: usize,
    /// What writes out for others what nobody works on.
    pub(super) waiting: Option<Arc<Waiting>>,
    /// What all of this is charged to, between workers and readers.
    pub(super) memory: Option<Reservation>,
    /// What readers of tapes get, out of what was written.
    kept: Option<Reservation>,
}

/// Groups of one partition, and where they are.
#[derive(Default)]
pub(super) enum Finished {
    /// There are none, or they have been read.
    #[default]
    None,
    /// To be merged by who reads them.
    Handed(Lane),
    Lane(Arc<FinishedLane>),
    Taped(Partition),
}

/// One worker's groups.
pub(super) struct Part {
    pub(super) rows: RowPages,
    pub(super) stores: Stores,
    pub(super) customs: Vec<Vec<ArrayRef>>,
    pub(super) memory: Reservation,
    /// What they can be written with.
    pub(super) writing: Option<Reservation>,
}

/// The merged groups of one partition.
pub(super) struct FinishedLane {
    pub(super) rows: RowPages,
    pub(super) groups: Vec<RowRef>,
    /// Results of the custom functions by group number.
    pub(super) customs: Vec<ArrayRef>,
    stores: Arc<Handed>,
    /// Bytes of the custom results, and of the stores when no other lane has them.
    own_bytes: usize,
}

impl FinishedLane {
    /// The groups of a partition that has all it refers to.
    pub(super) fn new(
        rows: RowPages,
        groups: Vec<RowRef>,
        customs: Vec<ArrayRef>,
        stores: Stores,
    ) -> Self {
        let own_bytes = stores.bytes() + array_bytes(&customs);
        let stores = Arc::new(Handed::of_stores(stores));
        FinishedLane { rows, groups, customs, stores, own_bytes }
    }

    /// Bytes it is charged with.
    pub(super) fn bytes(&self) -> usize {
        self.rows.bytes() + ordered_bytes(&self.groups) + self.own_bytes
    }

    /// What the rows refer to.
    pub(super) fn stores(&self) -> Option<&Stores> {
        self.stores.stores.as_ref()
    }

    /// The values that rows refer to, by store.
    pub(super) fn store(&self, store: usize) -> Option<&RowPages> {
        self.stores.stores.as_ref()?.pages.get(store)
    }
}

impl Shared {
    pub(super) fn new(plan: Plan) -> Arc<Self> {
        Arc::new(Shared { plan, is_spilling: AtomicBool::new(false), state: Mutex::default() })
    }

    /// Whether groups are on tapes, so that all others go there at the end.
    pub(super) fn is_spilling(&self) -> bool {
        self.is_spilling.load(Ordering::Relaxed)
    }

    /// Groups are about to be written to a tape.
    pub(super) fn spills(&self) {
        self.is_spilling.store(true, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The state, if nobody has it.
    pub(super) fn try_state(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(state)) => Some(state.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Bytes of the results of custom functions.
pub(super) fn array_bytes(arrays: &[ArrayRef]) -> usize {
    arrays.iter().map(|array| array.get_array_memory_size()).sum()
}

/// See the module documentation.
pub(super) struct AggregateSink(pub(super) Arc<Shared>);

impl Sink for AggregateSink {
    fn name(&self) -> &str {
        HOLDER
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        Ok(Box::new(AggregateWorker::new(self.0.clone(), cx)?))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        let mut state = self.0.state();
        state.check()?;
        if self.0.is_spilling() {
            state.left = state.parts.len();
            state.end();
            return Ok(state.left);
        }
        let mut parts = mem::take(&mut state.parts);
        if parts.is_empty() && self.0.plan.keys.is_empty() {
            parts.push(self.0.only_part(cx)?);
        }
        let tasks = self.0.begin_merging(&mut state, parts, cx)?;
        if tasks == 0 {
            Waiting::offer_finished(&self.0, &mut state, cx);
        }
        Ok(tasks)
    }

    fn finish(&self, task: usize, cx: &Context) -> Result<()> {
        let (part, lane, handed) = {
            let mut state = self.0.state();
            let lane = state.lanes.get_mut(task).and_then(Option::take);
            (state.parts.pop(), lane, state.handed.clone())
        };
        if let Some(part) = part {
            let (spilled, memory) = self.0.write_part(part, cx)?;
            self.0.state().add_written(&self.0.plan, spilled, memory, cx);
        }
        if let Some(lane) = lane
            && let Some(lane) = self.0.merge(task, lane, &handed, cx)?
        {
            self.0.state().unmerged.push((task, lane));
            self.0.write_unmerged(&handed, cx)?;
        }
        let mut state = self.0.state();
        state.check()?;
        state.left = state.left.saturating_sub(1);
        state.end();
        if state.left == 0 {
            Waiting::offer_finished(&self.0, &mut state, cx);
        }
        Ok(())
    }

    fn reset(&self) -> Result<()> {
        *self.0.state() = State::default();
        self.0.is_spilling.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl State {
    /// Whether all groups that were handed over are there.
    pub(super) fn check(&self) -> Result<()> {
        self.lost.as_ref().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Brings what was written into its place, when all tasks have ended.
    fn end(&mut self) {
        if self.left > 0 {
            return;
        }
        let partitions = Partition::of(mem::take(&mut self.spilled), LANE_BITS);
        if self.finished.len() == LANES {
            for (lane, partition) in partitions {
                self.finished[lane] = Finished::Taped(partition);
            }
        } else if !partitions.is_empty() {
            let partitions = partitions.into_iter();
            self.finished = partitions.map(|(_, groups)| Finished::Taped(groups)).collect();
        }
        if !self.finished.iter().any(|groups| matches!(groups, Finished::Lane(_))) {
            // Nothing in memory refers to it.
            (self.handed, self.memory) = (Arc::default(), None);
        }
    }

    /// What readers of tapes will need and is not kept for them yet.
    pub(super) fn missing_for_readers(&self, plan: &Plan, cx: &Context) -> usize {
        let kept = self.kept.as_ref().map_or(0, Reservation::minimum);
        (reader_bytes(plan) * cx.query.threads.max(1)).saturating_sub(kept)
    }

    /// Gives back `bytes` that were written, but for what readers will need, and says how much that
    /// is; they are in use in `memory`.
    pub(super) fn give_back(
        &mut self,
        plan: &Plan,
        memory: &mut Reservation,
        bytes: usize,
        cx: &Context,
    ) -> usize {
        let missing = self.missing_for_readers(plan, cx);
        let keep = bytes.min(missing).min(memory.bytes());
        let piece = memory.cede(keep);
        memory.shrink(bytes - keep);
        match &mut self.kept {
            None => self.kept = Some(piece),
            Some(kept) => kept.absorb(piece),
        }
        keep
    }

    /// Takes over what a worker's groups have become on tape, and gives back what they held but for
    /// what readers will need; how much.
    pub(super) fn add_written(
        &mut self,
        plan: &Plan,
        spilled: Spilled,
        mut memory: Reservation,
        cx: &Context,
    ) -> usize {
        let bytes = memory.bytes();
        let kept = self.give_back(plan, &mut memory, bytes, cx);
        self.spilled.push(spilled);
        bytes - kept
    }

    /// What a reader of tapes begins with, when it was kept.
    pub(super) fn reader_memory(&mut self, plan: &Plan) -> Option<Reservation> {
        let bytes = reader_bytes(plan);
        let kept = self.kept.as_mut()?;
        if kept.minimum() > bytes {
            // Within the minimum.
            return kept.try_grow(bytes).then(|| kept.cede(bytes));
        }
        // The last of it, and what is missing.
        let mut kept = self.kept.take()?;
        kept.set_minimum(bytes).then_some(kept)
    }

    /// What a reader merges handed lanes with.
    pub(super) fn merging_memory(&mut self) -> Option<Reservation> {
        let (memory, each) = self.merging.as_mut()?;
        Some(memory.split(*each))
    }

    /// No more readers begin.
    pub(super) fn end_reading(&mut self) {
        (self.kept, self.merging) = (None, None);
        self.writing.clear();
    }
}

impl Shared {
    /// The one group of an aggregate without keys of which no worker has ever started: it is there
    /// all the same.
    fn only_part(&self, cx: &Context) -> Result<Part> {
        let mut memory = cx.memory().reserve(HOLDER, 0)?;
        let mut table = GroupTable::new(&self.plan, LanePages::beside(LANES));
        table.only_group(&self.plan, &mut memory)?;
        let (rows, stores) = table.into_rows(&mut memory);
        Ok(Part { rows, stores, customs: self.empty_customs()?, memory, writing: None })
    }

    /// The states of custom functions that saw one group and no row.
    fn empty_customs(&self) -> Result<Vec<Vec<ArrayRef>>> {
        let states = self.plan.customs.iter().map(|call| {
            let mut states = call.states()?;
            let no_rows = call.argument_types.iter().map(new_empty_array);
            states.update(&no_rows.collect::<Vec<_>>(), &[], None, 1)?;
            states.state()
        });
        states.collect()
    }

    /// Puts the workers' rows together by lane; the number of lanes.
    fn begin_merging(&self, state: &mut State, parts: Vec<Part>, cx: &Context) -> Result<usize> {
        let mut memory = cx.memory().reserve(HOLDER, 0)?;
        let lanes = parts.iter().map(|part| part.rows.lanes()).max().unwrap_or(1);
        let partitions = lanes.min(LANES);
        let mut handed = Handed::new(lanes.trailing_zeros());
        let mut merged: Vec<Option<Lane>> = (0..partitions).map(|_| None).collect();
        for part in parts {
            memory.absorb(part.memory);
            state.writing.extend(part.writing);
            handed.add(part.rows.rows(), part.stores, part.customs);
            let rows = match part.rows.lanes() == lanes {
                true => part.rows,
                false => self.distribute(part.rows, lanes, &mut memory)?,
            };
            let mut rows = rows.into_lanes().into_iter();
            for lane in &mut merged {
                let own = rows.by_ref().take(lanes / partitions);
                match lane {
                    None => *lane = Some(Lane::new(own)),
                    Some(lane) => lane.absorb(own),
                }
            }
        }
        memory.settle();
        state.memory = Some(memory);
        state.handed = Arc::new(handed);
        // One tape is enough.
        state.writing.truncate(1);
        state.merging = self.merges_late(&merged, cx)?;
        if state.merging.is_some() {
            state.finished = merged.into_iter().flatten().map(Finished::Handed).collect();
            return Ok(0);
        }
        state.finished = merged.iter().map(|_| Finished::None).collect();
        state.lanes = merged;
        state.left = partitions;
        Ok(partitions)
    }

    /// Sets aside what lanes are merged with when they are read, or written out before, if there is
    /// room for it; and how much each reader gets. Then only the parts that are being read have
    /// lists of their groups, and they are read while they are in a cache. The results of custom
    /// functions come for all groups of a lane at once: they do not go together with that.
    fn merges_late(
        &self,
        lanes: &[Option<Lane>],
        cx: &Context,
    ) -> Result<Option<(Reservation, usize)>> {
        let plan = &self.plan;
        if lanes.len() < LANES || !plan.tuning.merges_late || !plan.customs.is_empty() {
            return Ok(None);
        }
        let each = lanes.iter().flatten().map(|lane| lane.first_merge_bytes(CHUNK_ROWS)).max();
        let each = each.unwrap_or(0);
        let mut memory = cx.memory().reserve(HOLDER, 0)?;
        Ok(memory.try_grow(each * (cx.query.threads + 1)).then_some((memory, each)))
    }

    /// Merges handed rows, for which what that takes is charged.
    pub(super) fn merge_handed(
        &self,
        lane: Lane,
        handed: &Arc<Handed>,
        cx: &Context,
    ) -> Result<FinishedLane> {
        let plan = &self.plan;
        let (parts, origins) = lane.into_parts();
        let mut visitor = MergeParts::new(plan, cx, handed.clone(), origins)?;
        let no_stores = Stores::new(plan, 0);
        let stores = handed.stores.as_ref().unwrap_or(&no_stores);
        let (rows, groups) = merge_parts(plan, parts, stores, handed.lane_bits, &mut visitor)?;
        let customs = visitor.results()?;
        let own_bytes = array_bytes(&customs);
        Ok(FinishedLane { rows, groups, customs, stores: handed.clone(), own_bytes })
    }

    /// The rows of a worker that had too few to partition them.
    fn distribute(
        &self,
        rows: RowPages,
        lanes: usize,
        memory: &mut Reservation,
    ) -> Result<RowPages> {
        let mut table = GroupTable::new(&self.plan, LanePages::beside(lanes));
        table.rows = rows;
        table.partition(&self.plan, memory)?;
        Ok(table.rows)
    }

    /// Writes what a worker handed over, when others have written theirs; also what is left of its
    /// memory.
    pub(super) fn write_part(&self, part: Part, cx: &Context) -> Result<(Spilled, Reservation)> {
        let Part { rows, stores, customs, mut memory, writing } = part;
        let writing = match writing {
            Some(writing) => writing,
            None => cx.memory().reserve(HOLDER, writing_bytes(&self.plan))?,
        };
        let mut spill = Spill::new(writing)?;
        let groups =
            Groups { plan: &self.plan, stores: &stores, customs: CustomStates::Arrays(&customs) };
        spill.write(&groups, rows, 0, &mut memory.split(0), cx)?;
        drop((stores, customs));
        let (mut spilled, _) = spill.finish()?;
        spilled.charge_index(&mut memory);
        Ok((spilled, memory))
    }

    /// Merges a lane; gives it back when there is no room.
    fn merge(
        &self,
        task: usize,
        lane: Lane,
        handed: &Arc<Handed>,
        cx: &Context,
    ) -> Result<Option<Lane>> {
        let plan = &self.plan;
        let mut memory = cx.memory().reserve(HOLDER, 0)?;
        let customs = handed.custom_bytes(lane.rows());
        let needed = lane.merge_bytes() + customs;
        if !memory.try_grow(needed) {
            if !can_spill(plan) {
                memory.grow(needed)?;
            } else if needed > SMALL_BYTES || memory.grow(needed).is_err() {
                return Ok(Some(lane));
            }
        }
        let lane = self.merge_handed(lane, handed, cx)?;
        memory.resize_to(ordered_bytes(&lane.groups) + lane.own_bytes)?;
        let mut state = self.state();
        if let Some(shared) = &mut state.memory {
            shared.absorb(memory);
        }
        if let Some(place) = state.finished.get_mut(task) {
            *place = Finished::Lane(Arc::new(lane));
        }
        Ok(None)
    }

    /// Writes lanes that have no room to be merged, unless another task is at it.
    fn write_unmerged(&self, handed: &Handed, cx: &Context) -> Result<()> {
        let Some(writing) = self.state().writing.pop() else { return Ok(()) };
        let mut spill = Spill::new(writing)?;
        loop {
            let next = {
                let mut state = self.state();
                let next = state.unmerged.pop();
                if next.is_none() {
                    let (spilled, writing) = spill.finish()?;
                    state.spilled.push(spilled);
                    state.writing.push(writing);
                    return Ok(());
                }
                next
            };
            let Some((number, lane)) = next else { return Ok(()) };
            let bytes = lane.bytes();
            lane.write(number, &self.plan, handed, &mut spill, cx)?;
            let mut state = self.state();
            if let Some(mut memory) = state.memory.take() {
                let bytes = bytes.saturating_sub(spill.charge_index(&mut memory));
                state.give_back(&self.plan, &mut memory, bytes, cx);
                state.memory = Some(memory);
            }
        }
    }
}
