//! The sink of an aggregate: every worker fills a table of its own, then the tables are merged
//! partition by partition, side by side.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::{ArrayRef, AsArray, UInt32Array, new_empty_array};
use arrow::compute::take;

use super::cluster::Clusters;
use super::direct::DirectMap;
use super::fold::{Folding, Targets};
use super::merge::{Visitor, merge_lane, ordered_bytes};
use super::plan::{self, CustomCall, Fold, Plan};
use super::stores::{Stores, reference};
use super::table::{GroupTable, LANES};
use crate::batch::{Chunk, Column, Indices, KeyHasher, pick, to_logical, with_float_keys};
use crate::error::{Error, Result};
use crate::expr::GroupStates;
use crate::memory::Reservation;
use crate::memory::rows::{DEFAULT_PAGE_BYTES, Fixed, RowPages, RowRef};
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::scheduler::Token;

/// Pages of one worker are at most this part of the memory limit, all lanes together.
const PAGES_SHARE: usize = 32;

/// What sink and source share.
pub(super) struct Shared {
    pub(super) plan: Plan,
    state: Mutex<State>,
}

/// The groups, in the course of their becoming.
#[derive(Default)]
pub(super) struct State {
    /// What workers handed over.
    parts: Vec<Part>,
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
struct Part {
    rows: RowPages,
    stores: Stores,
    customs: Vec<Vec<ArrayRef>>,
    memory: Reservation,
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
}

impl FinishedLane {
    /// Bytes it is charged with.
    pub(super) fn bytes(&self) -> usize {
        self.rows.bytes() + ordered_bytes(&self.groups)
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

/// See the module documentation.
pub(super) struct AggregateSink(pub(super) Arc<Shared>);

impl Sink for AggregateSink {
    fn name(&self) -> &str {
        "hash aggregate"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let limit = cx.memory().limit() / (PAGES_SHARE * cx.query.threads.max(1) * LANES);
        let page_bytes = limit.min(DEFAULT_PAGE_BYTES);
        let plan = &self.0.plan;
        let customs = plan.customs.iter().map(CustomCall::states);
        Ok(Box::new(AggregateWorker {
            table: GroupTable::new(plan, page_bytes),
            customs: customs.collect::<Result<_>>()?,
            custom_bytes: 0,
            memory: cx.memory().reserve("hash aggregate", 0)?,
            filters: plan.filters(),
            shared: self.0.clone(),
            hasher: KeyHasher::new(),
            direct: DirectMap::default(),
            clusters: Clusters::default(),
            scratch: Scratch::default(),
        }))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        let mut state = self.0.state();
        let mut memory = cx.memory().reserve("hash aggregate", 0)?;
        let mut parts = mem::take(&mut state.parts);
        if parts.is_empty() && self.0.plan.keys.is_empty() {
            // No worker ever started: the one group is there all the same.
            let mut table = GroupTable::new(&self.0.plan, DEFAULT_PAGE_BYTES);
            table.only_group(&self.0.plan, &mut memory)?;
            let (rows, stores) = table.into_rows(&mut memory);
            let customs = self.0.empty_customs()?;
            let memory = cx.memory().reserve("hash aggregate", 0)?;
            parts.push(Part { rows, stores, customs, memory });
        }
        let lanes = parts.iter().map(|part| part.rows.lanes()).max().unwrap_or(1);
        let lane_bits = lanes.trailing_zeros();
        let mut handed = Handed { lane_bits, ..Handed::default() };
        let mut merged: Vec<Option<Lane>> = (0..lanes).map(|_| None).collect();
        for part in parts {
            memory.absorb(part.memory);
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
        let mut memory = cx.memory().reserve("hash aggregate", 0)?;
        let customs = plan.customs.iter().map(CustomCall::states);
        let mut visitor = MergeParts {
            plan,
            cx,
            handed: &handed,
            origins: &origins,
            customs: customs.collect::<Result<_>>()?,
            numbers: Vec::new(),
            worker: 0,
            groups: 0,
        };
        let no_stores = Stores::new(plan, 0);
        let stores = handed.stores.as_ref().unwrap_or(&no_stores);
        let skip = handed.lane_bits;
        let groups = merge_lane(plan, &mut rows, stores, skip, &mut visitor, &mut memory)?;
        let customs = visitor.customs.iter_mut().map(|custom| custom.evaluate());
        let customs = customs.collect::<Result<_>>()?;
        let mut state = self.0.state();
        if let Some(shared) = &mut state.memory {
            shared.absorb(memory);
        }
        let lane = FinishedLane { rows, groups, customs, stores: handed };
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
struct MergeParts<'a> {
    plan: &'a Plan,
    cx: &'a Context,
    handed: &'a Handed,
    origins: &'a [usize],
    customs: Vec<Box<dyn GroupStates>>,
    /// The numbers that the page's rows had in their worker's table.
    numbers: Vec<u32>,
    worker: usize,
    groups: usize,
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

/// One worker's part of the sink.
struct AggregateWorker {
    shared: Arc<Shared>,
    table: GroupTable,
    customs: Vec<Box<dyn GroupStates>>,
    custom_bytes: usize,
    memory: Reservation,
    filters: Vec<Option<usize>>,
    hasher: KeyHasher,
    direct: DirectMap,
    clusters: Clusters,
    scratch: Scratch,
}

/// Buffers kept from chunk to chunk.
#[derive(Default)]
struct Scratch {
    hashes: Vec<u64>,
    /// The group of each row, when rows are not sorted by group.
    refs: Vec<RowRef>,
    numbers: Vec<u32>,
    unknown: Vec<u32>,
}

impl SinkWorker for AggregateWorker {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        cx.check()?;
        let shared = self.shared.clone();
        let plan = &shared.plan;
        if input.is_empty() {
            return Ok(Consumed::NeedInput);
        }
        let clustered = self.find_groups(plan, &input)?;
        for filter in mem::take(&mut self.filters) {
            self.update(plan, &input, filter, clustered)?;
            self.filters.push(filter);
        }
        let custom_bytes = self.customs.iter().map(|custom| custom.size_bytes()).sum();
        if custom_bytes > self.custom_bytes {
            self.memory.grow(custom_bytes - self.custom_bytes)?;
            self.custom_bytes = custom_bytes;
        }
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        let shared = self.shared.clone();
        if shared.plan.keys.is_empty() {
            self.table.only_group(&shared.plan, &mut self.memory)?;
        }
        let groups = self.table.groups;
        let customs = self.customs.iter_mut().zip(&shared.plan.customs).map(|(custom, call)| {
            let no_rows = call.argument_types.iter().map(new_empty_array);
            custom.update(&no_rows.collect::<Vec<_>>(), &[], None, groups)?;
            custom.state()
        });
        let customs = customs.collect::<Result<Vec<_>>>()?;
        let empty = GroupTable::new(&shared.plan, 0);
        let (rows, stores) = mem::replace(&mut self.table, empty).into_rows(&mut self.memory);
        let mut memory = self.memory.split(self.memory.bytes());
        memory.settle();
        shared.state().parts.push(Part { rows, stores, customs, memory });
        Ok(None)
    }
}

impl AggregateWorker {
    /// Finds the group of every live row: sorted by group, if the answer is true, otherwise in
    /// `scratch.refs`.
    fn find_groups(&mut self, plan: &Plan, input: &Chunk) -> Result<bool> {
        let positions = input.live_positions();
        let Scratch { hashes, refs, numbers, unknown } = &mut self.scratch;
        let (table, memory) = (&mut self.table, &mut self.memory);
        if plan.keys.is_empty() {
            let group = table.only_group(plan, memory)?;
            self.clusters.single(positions, group);
            return Ok(true);
        }
        table.review(plan, positions.len(), memory)?;
        let keys = key_columns(plan, input)?;
        let keys: Vec<&Column> = keys.iter().collect();
        if self.direct.numbers(table, &keys, positions, numbers, unknown) {
            if !unknown.is_empty() {
                let new: Vec<u32> = unknown.iter().map(|&row| positions[row as usize]).collect();
                self.hasher.hash(&keys, &new, hashes)?;
                table.groups_of(plan, &keys, &new, hashes, memory, refs)?;
                self.direct.learn(unknown, refs, numbers);
            }
            let groups = self.direct.groups();
            if Clusters::pays(groups.len(), positions.len()) {
                self.clusters.sort(positions, numbers, groups);
                return Ok(true);
            }
            refs.clear();
            refs.extend(numbers.iter().map(|&number| groups[number as usize]));
            return Ok(false);
        }
        self.hasher.hash(&keys, positions, hashes)?;
        table.groups_of(plan, &keys, positions, hashes, memory, refs)?;
        let groups = table.groups;
        if groups == table.numbered.len() && Clusters::pays(groups, positions.len()) {
            numbers.clear();
            numbers.extend(refs.iter().map(|&row| number(plan, &table.rows, row)));
            self.clusters.sort(positions, numbers, &table.numbered);
            return Ok(true);
        }
        Ok(false)
    }

    /// Updates the states that have this filter.
    fn update(
        &mut self,
        plan: &Plan,
        input: &Chunk,
        filter: Option<usize>,
        clustered: bool,
    ) -> Result<()> {
        let passed;
        let (positions, targets) = match (clustered, filter) {
            (true, None) => (&self.clusters.positions[..], Targets::Runs(&self.clusters.runs)),
            (false, None) => (input.live_positions(), Targets::Each(&self.scratch.refs)),
            (_, Some(filter)) => {
                let all = match clustered {
                    true => (&self.clusters.positions[..], Targets::Runs(&self.clusters.runs)),
                    false => (input.live_positions(), Targets::Each(&self.scratch.refs)),
                };
                passed = filtered(input.column(filter)?, all.0, all.1);
                (&passed.0[..], Targets::Each(&passed.1))
            }
        };
        let mine = plan.states.iter().filter(|state| state.filter == filter);
        let read = |state: &plan::State| match state.fold {
            Fold::Stored { .. } => [None, None],
            _ => [state.argument, state.second],
        };
        let arguments = mine.clone().flat_map(read).flatten();
        let arguments = arguments.map(|a| input.column(a)).collect::<Result<Vec<_>>>()?;
        let mut picked = pick(arguments, positions).into_iter();
        for state in mine {
            let [first, second] = read(state).map(|column| column.and_then(|_| picked.next()));
            let GroupTable { rows, stores, .. } = &mut self.table;
            let memory = &mut self.memory;
            if matches!(state.fold, Fold::Stored { .. }) {
                stores.update(plan, rows, state, input, positions, targets, memory)?;
                continue;
            }
            let mut folding = Folding { rows, state, targets };
            match (first, second) {
                (None, _) => folding.count_rows(),
                (Some(values), None) => folding.values(&values)?,
                (Some(first), Some(second)) => folding.pairs(&first, &second)?,
            }
        }
        for (call, custom) in plan.customs.iter().zip(&mut self.customs) {
            if call.filter == filter {
                update_custom(plan, call, custom, &self.table, input, positions, targets)?;
            }
        }
        Ok(())
    }
}

/// Updates the states of a function that is not built in.
fn update_custom(
    plan: &Plan,
    call: &CustomCall,
    custom: &mut Box<dyn GroupStates>,
    table: &GroupTable,
    input: &Chunk,
    positions: &[u32],
    targets: Targets<'_>,
) -> Result<()> {
    let mut groups = Vec::with_capacity(positions.len());
    targets.for_each(|_, row| groups.push(number(plan, &table.rows, row)));
    let indices = Indices::new(positions.to_vec());
    let arguments = call.arguments.iter().zip(&call.argument_types);
    let arguments = arguments.map(|(&a, t)| to_logical(&input.column(a)?.gather(&indices)?, t));
    custom.update(&arguments.collect::<Result<Vec<_>>>()?, &groups, None, table.groups)
}

/// The key columns, their numbers made alike.
fn key_columns(plan: &Plan, input: &Chunk) -> Result<Vec<Column>> {
    let keys = plan.keys.iter().zip(&plan.has_float).map(|(&key, &has_float)| {
        let column = input.column(key)?;
        if !has_float {
            return Ok(column.clone());
        }
        let values = with_float_keys(&column.to_array(input.rows())?)?;
        Ok(Column::flat(column.logical().clone(), values))
    });
    keys.collect()
}

/// The rows whose filter is true, with their groups.
fn filtered(filter: &Column, positions: &[u32], targets: Targets<'_>) -> (Vec<u32>, Vec<RowRef>) {
    let picked = pick([filter], positions);
    let (mut passed, mut groups) = (Vec::new(), Vec::new());
    let Some((picked, values)) =
        picked.first().and_then(|p| Some((p, p.array().as_boolean_opt()?)))
    else {
        return (passed, groups);
    };
    targets.for_each(|number, group| {
        if !picked.is_null(number) && values.value(picked.at()[number] as usize) {
            passed.push(positions[number]);
            groups.push(group);
        }
    });
    (passed, groups)
}
