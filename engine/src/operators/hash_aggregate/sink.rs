//! The sink of an aggregate: every worker fills a table of its own (`worker`), then the tables are
//! merged partition by partition, side by side. When one of them has written groups to a tape, all
//! groups are written, and merged when they are read.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::{Array, ArrayRef, UInt32Array, new_empty_array};
use arrow::compute::take;

use super::merge::{Visitor, merge_lane, ordered_bytes};
use super::partition::Partition;
use super::plan::{Fold, Plan};
use super::spill::{CustomStates, Groups, HOLDER, SPILL_BYTES, Spill, Spilled};
use super::stores::{Stores, reference};
use super::table::{GroupTable, LANE_BITS, LANES};
use super::worker::{AggregateWorker, can_spill};
use crate::error::{Error, Result};
use crate::expr::GroupStates;
use crate::memory::Reservation;
use crate::memory::rows::{DEFAULT_PAGE_BYTES, Fixed, RowPages, RowRef};
use crate::pipeline::{Context, Sink, SinkWorker};

/// What sink and source share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    state: Mutex<State>,
}

/// The groups, in the course of their becoming.
#[derive(Default)]
pub(super) struct State {
    /// What workers handed over.
    pub(super) parts: Vec<Part>,
    /// Whether some worker has written groups to a tape.
    pub(super) is_spilling: bool,
    /// What workers wrote.
    pub(super) spilled: Vec<Spilled>,
    /// Everything, when some of it was written: partitions that are still to be read, the next
    /// last.
    pub(super) partitions: Option<Vec<Partition>>,
    /// What is to be merged, by lane.
    lanes: Vec<Option<Lane>>,
    /// Custom states by worker, and the values that rows refer to.
    handed: Arc<Handed>,
    /// The merged lanes, in order; `None` once all their groups have been read.
    pub(super) finished: Vec<Option<Arc<FinishedLane>>>,
    /// What all of this is charged to, between workers and readers.
    pub(super) memory: Option<Reservation>,
}

/// One worker's groups.
pub(super) struct Part {
    pub(super) rows: RowPages,
    pub(super) stores: Stores,
    pub(super) customs: Vec<Vec<ArrayRef>>,
    pub(super) memory: Reservation,
}

/// The rows of one partition before they are merged.
struct Lane {
    rows: RowPages,
    /// The first page of each worker's rows.
    origins: Vec<usize>,
}

/// What finish tasks read side by side.
#[derive(Default)]
struct Handed {
    stores: Option<Stores>,
    /// By worker and store, the pages before those of the worker.
    behind: Vec<Vec<usize>>,
    /// By worker and custom function, its states.
    customs: Vec<Vec<Vec<ArrayRef>>>,
    /// Bits of the hash that lanes are chosen by.
    lane_bits: u32,
}

/// The groups of one partition.
pub(super) struct FinishedLane {
    pub(super) rows: RowPages,
    pub(super) groups: Vec<RowRef>,
    /// Results of the custom functions by group number.
    pub(super) customs: Vec<ArrayRef>,
    stores: Arc<Handed>,
    /// Bytes of the stores and of the custom results, when no other lane has them.
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
        let stores = Arc::new(Handed { stores: Some(stores), ..Handed::default() });
        FinishedLane { rows, groups, customs, stores, own_bytes }
    }

    /// Bytes it is charged with.
    pub(super) fn bytes(&self) -> usize {
        self.rows.bytes() + ordered_bytes(&self.groups) + self.own_bytes
    }

    /// The values that rows refer to, by store.
    pub(super) fn store(&self, store: usize) -> Option<&RowPages> {
        self.stores.stores.as_ref()?.pages.get(store)
    }
}

impl Shared {
    pub(super) fn new(plan: Plan) -> Arc<Self> {
        Arc::new(Shared { plan, state: Mutex::default() })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
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
        if state.is_spilling {
            let partitions = self.0.write_all(&mut state, cx)?;
            state.partitions = Some(partitions);
            return Ok(0);
        }
        let mut memory = cx.memory().reserve(HOLDER, 0)?;
        let mut parts = mem::take(&mut state.parts);
        if parts.is_empty() && self.0.plan.keys.is_empty() {
            // No worker ever started: the one group is there all the same.
            let mut table = GroupTable::new(&self.0.plan, DEFAULT_PAGE_BYTES);
            table.only_group(&self.0.plan, &mut memory)?;
            let (rows, stores) = table.into_rows(&mut memory);
            let customs = self.0.empty_customs()?;
            let memory = cx.memory().reserve(HOLDER, 0)?;
            parts.push(Part { rows, stores, customs, memory });
        }
        let lanes = parts.iter().map(|part| part.rows.lanes()).max().unwrap_or(1);
        let lane_bits = lanes.trailing_zeros();
        let mut handed = Handed { lane_bits, ..Handed::default() };
        let mut merged: Vec<Option<Lane>> = (0..lanes).map(|_| None).collect();
        for part in parts {
            memory.absorb(part.memory);
            if can_spill(&self.0.plan) {
                // No tape is written any more.
                memory.shrink(SPILL_BYTES);
            }
            handed.take_stores(part.stores);
            handed.customs.push(part.customs);
            let rows = match part.rows.lanes() == lanes {
                true => part.rows,
                false => self.0.distribute(part.rows, &mut memory)?,
            };
            for (lane, rows) in merged.iter_mut().zip(rows.into_lanes()) {
                match lane {
                    None => *lane = Some(Lane { rows, origins: vec![0] }),
                    Some(lane) => {
                        let first = lane.rows.absorb(rows);
                        lane.origins.push(first);
                    }
                }
            }
        }
        memory.settle();
        state.memory = Some(memory);
        state.handed = Arc::new(handed);
        state.finished = merged.iter().map(|_| None).collect();
        state.lanes = merged;
        Ok(lanes)
    }

    fn finish(&self, task: usize, cx: &Context) -> Result<()> {
        let (lane, handed) = {
            let mut state = self.0.state();
            let lane = state.lanes.get_mut(task).and_then(Option::take);
            (lane, state.handed.clone())
        };
        let Some(Lane { mut rows, origins }) = lane else { return Ok(()) };
        let plan = &self.0.plan;
        let mut memory = cx.memory().reserve(HOLDER, 0)?;
        let mut visitor = MergeParts::new(plan, cx, handed.clone(), origins)?;
        let no_stores = Stores::new(plan, 0);
        let stores = handed.stores.as_ref().unwrap_or(&no_stores);
        let skip = handed.lane_bits;
        let groups = merge_lane(plan, &mut rows, stores, skip, &mut visitor, &mut memory)?;
        let customs = visitor.results()?;
        let mut state = self.0.state();
        if let Some(shared) = &mut state.memory {
            shared.absorb(memory);
        }
        let lane = FinishedLane { rows, groups, customs, stores: handed, own_bytes: 0 };
        if let Some(place) = state.finished.get_mut(task) {
            *place = Some(Arc::new(lane));
        }
        Ok(())
    }

    fn reset(&self) -> Result<()> {
        *self.0.state() = State::default();
        Ok(())
    }
}

impl Shared {
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

    /// Writes what workers handed over, when others have written theirs.
    fn write_all(&self, state: &mut State, cx: &Context) -> Result<Vec<Partition>> {
        let mut spilled = mem::take(&mut state.spilled);
        for Part { rows, stores, customs, mut memory } in mem::take(&mut state.parts) {
            let mut spill = Spill::new(cx.memory().spill());
            let customs = CustomStates::Arrays(&customs);
            let groups = Groups { plan: &self.plan, stores: &stores, customs };
            spill.write(&groups, rows, 0, &mut memory, cx)?;
            spilled.push(spill.finish()?);
        }
        let mut partitions = Partition::of(spilled, LANE_BITS);
        partitions.reverse();
        Ok(partitions)
    }

    /// The rows of a worker that had too few to partition them.
    fn distribute(&self, rows: RowPages, memory: &mut Reservation) -> Result<RowPages> {
        let mut table = GroupTable::new(&self.plan, DEFAULT_PAGE_BYTES / LANES);
        table.rows = rows;
        table.partition(&self.plan, memory)?;
        Ok(table.rows)
    }
}

impl Handed {
    fn take_stores(&mut self, stores: Stores) {
        match &mut self.stores {
            None => {
                self.behind.push(vec![0; stores.pages.len()]);
                self.stores = Some(stores);
            }
            Some(own) => {
                let pages = own.pages.iter_mut().zip(stores.pages);
                self.behind.push(pages.map(|(own, other)| own.absorb(other)).collect());
            }
        }
    }
}

/// What merging the rows of several workers has to do beside merging rows: their references go to
/// the stores of all workers, and their custom states are merged by number.
pub(super) struct MergeParts<'a> {
    plan: &'a Plan,
    cx: &'a Context,
    handed: Arc<Handed>,
    origins: Vec<usize>,
    customs: Vec<Box<dyn GroupStates>>,
    /// The numbers that the page's rows had in their worker's table.
    numbers: Vec<u32>,
    worker: usize,
    groups: usize,
}

impl<'a> MergeParts<'a> {
    fn new(
        plan: &'a Plan,
        cx: &'a Context,
        handed: Arc<Handed>,
        origins: Vec<usize>,
    ) -> Result<Self> {
        let (numbers, worker, groups) = (Vec::new(), 0, 0);
        let customs = plan.new_states()?;
        Ok(MergeParts { plan, cx, handed, origins, customs, numbers, worker, groups })
    }

    /// For rows that refer to stores of their own, and their custom states by number.
    pub(super) fn of_one(
        plan: &'a Plan,
        cx: &'a Context,
        customs: Vec<Vec<ArrayRef>>,
    ) -> Result<Self> {
        let handed = Handed { customs: vec![customs], ..Handed::default() };
        MergeParts::new(plan, cx, Arc::new(handed), vec![0])
    }

    /// The results of the custom functions.
    pub(super) fn results(&mut self) -> Result<Vec<ArrayRef>> {
        self.customs.iter_mut().map(|custom| custom.evaluate()).collect()
    }
}

impl Visitor for MergeParts<'_> {
    fn page(&mut self, rows: &mut RowPages, page: usize, members: &[RowRef]) -> Result<()> {
        self.cx.check()?;
        self.worker = self.origins.partition_point(|&first| first <= page).saturating_sub(1);
        for state in &self.plan.states {
            let Fold::Stored { store, .. } = state.fold else { continue };
            let behind = self.handed.behind.get(self.worker).and_then(|b| b.get(store));
            let behind = behind.copied().unwrap_or(0);
            for &row in members {
                let slot = rows.slot(row, state.value);
                if slot != 0 && behind != 0 {
                    let moved = reference(slot).behind(behind);
                    rows.set_slot(row, state.value, moved.to_bits() + 1);
                }
            }
        }
        if !self.customs.is_empty() {
            self.numbers.clear();
            let numbers = members.iter().map(|&row| number(self.plan, rows, row));
            self.numbers.extend(numbers);
        }
        Ok(())
    }

    fn merged(&mut self, rows: &mut RowPages, members: &[RowRef], into: &[RowRef]) -> Result<()> {
        if self.customs.is_empty() {
            return Ok(());
        }
        for (&member, &into) in members.iter().zip(into) {
            if member == into {
                let next = u32::try_from(self.groups)
                    .map_err(|_| Error::input("more than 4 billion groups"))?;
                next.put(&mut rows.row_mut(member)[self.plan.number.offset..]);
                self.groups += 1;
            }
        }
        let groups: Vec<u32> = into.iter().map(|&row| number(self.plan, rows, row)).collect();
        let from = UInt32Array::from(self.numbers.clone());
        for (custom, states) in self.customs.iter_mut().zip(&self.handed.customs[self.worker]) {
            let states = states.iter().map(|state| Ok(take(state, &from, None)?));
            custom.merge(&states.collect::<Result<Vec<_>>>()?, &groups, self.groups)?;
        }
        Ok(())
    }
}

/// The number of a row's group.
pub(super) fn number(plan: &Plan, rows: &RowPages, row: RowRef) -> u32 {
    u32::take(&rows.row(row)[plan.number.offset..])
}
