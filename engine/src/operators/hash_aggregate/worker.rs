//! One worker's groups as they are collected: finds the groups of its rows, folds the rows into
//! them, and writes groups out when memory is short.
//!
//! Invariant 1: before rows are taken in, memory for them is ensured, so that none is refused while
//! a chunk is half done.

use std::mem;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, new_empty_array};

use super::cluster::{Clusters, Numbers};
use super::direct::DirectMap;
use super::fold::{Folding, Targets};
use super::handed::number;
use super::need::needed_bytes;
use super::plan::{self, CustomCall, Fold, Plan};
use super::sink::{Part, Shared};
use super::spill::{BESIDE_MAX, CustomStates, Groups, HOLDER, Spill, writing_bytes};
use super::table::{GroupTable, LANES, LanePages};
use super::waiting::Waiting;
use crate::batch::{Chunk, Column, Indices, KeyHasher, pick, to_logical, with_float_keys};
use crate::error::{Error, Result};
use crate::expr::GroupStates;
use crate::memory::Reservation;
use crate::memory::rows::{FIRST_PAGE_BYTES, RowRef};
use crate::pipeline::Context;

/// Pages of one worker are at most this part of the memory limit, all lanes together.
const PAGES_SHARE: usize = 32;

/// What the table begins with: a page in most lanes. What writing groups out takes comes to that.
pub(super) const MINIMUM_BYTES: usize = LANES * FIRST_PAGE_BYTES / 4 * 3;

/// One worker's groups, and what finding them takes.
pub(super) struct Collecting {
    shared: Arc<Shared>,
    table: GroupTable,
    customs: Vec<Box<dyn GroupStates>>,
    custom_bytes: usize,
    memory: Reservation,
    spill: Option<Spill>,
    /// What it is made with, where groups can be written out.
    writing: Option<Reservation>,
    filters: Vec<Option<usize>>,
    hasher: KeyHasher,
    direct: DirectMap,
    clusters: Clusters,
    numbers: Numbers,
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

impl Collecting {
    /// # Errors
    /// `OutOfMemory` when there is no room to begin.
    pub(super) fn new(shared: Arc<Shared>, cx: &Context) -> Result<Self> {
        let plan = &shared.plan;
        let share = cx.memory().limit() / (PAGES_SHARE * cx.query.threads.max(1));
        let minimum = if can_spill(plan) { MINIMUM_BYTES } else { 0 };
        let memory = cx.memory().reserve(HOLDER, minimum)?;
        let writing = can_spill(plan).then(|| memory.child(writing_bytes(plan))).transpose()?;
        Ok(Collecting {
            table: GroupTable::new(plan, LanePages::within(plan, share)),
            customs: plan.new_states()?,
            custom_bytes: 0,
            memory,
            spill: None,
            writing,
            filters: plan.filters(),
            hasher: KeyHasher::new(),
            direct: DirectMap::default(),
            clusters: Clusters::default(),
            numbers: Numbers::default(),
            scratch: Scratch::default(),
            shared,
        })
    }

    /// What it is charged to.
    pub(super) fn memory(&self) -> &Reservation {
        &self.memory
    }

    /// Bytes that writing the groups out gives back, about.
    pub(super) fn spillable_bytes(&self) -> usize {
        match can_spill(&self.shared.plan) && !self.table.rows.is_empty() {
            true => self.memory.bytes().saturating_sub(MINIMUM_BYTES),
            false => 0,
        }
    }

    /// Takes the rows of a chunk in.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no room for them even when all groups are written out, `Io` when
    /// they cannot be, and those of functions.
    pub(super) fn consume(&mut self, input: &Chunk, cx: &Context) -> Result<()> {
        let shared = self.shared.clone();
        self.take_in(&shared.plan, input, cx)?;
        if cx.memory().limit() < usize::MAX {
            // What was seen to for this chunk is others' until the next one.
            let _ = self.memory.ensure(0);
            self.memory.settle();
        }
        Ok(())
    }

    /// Takes rows in, in pieces if there is no room for all at once.
    fn take_in(&mut self, plan: &Plan, input: &Chunk, cx: &Context) -> Result<()> {
        cx.check()?;
        if can_spill(plan) && !self.make_room(plan, input, cx)? && input.live_rows() > 1 {
            let half = input.live_rows() / 2;
            self.take_in(plan, &input.slice(0, half), cx)?;
            return self.take_in(plan, &input.slice(half, input.live_rows() - half), cx);
        }
        let clustered = self.find_groups(plan, input)?;
        for filter in mem::take(&mut self.filters) {
            self.update(plan, input, filter, clustered)?;
            self.filters.push(filter);
        }
        let custom_bytes = self.customs.iter().map(|custom| custom.size_bytes()).sum();
        if custom_bytes > self.custom_bytes {
            self.memory.grow(custom_bytes - self.custom_bytes)?;
            self.custom_bytes = custom_bytes;
        }
        Ok(())
    }

    /// Sees to it that taking the rows in cannot fail for want of memory, at the price of writing
    /// all groups out; false when there is no room even then.
    fn make_room(&mut self, plan: &Plan, input: &Chunk, cx: &Context) -> Result<bool> {
        if cx.memory().limit() == usize::MAX {
            return Ok(true);
        }
        let needed = needed_bytes(plan, &self.table, input)? + 2 * self.custom_bytes;
        if !self.memory.pressed() && self.memory.ensure(needed) {
            return Ok(true);
        }
        if self.table.rows.is_empty() {
            return Ok(self.memory.ensure(needed));
        }
        self.write_out(plan, cx)?;
        Ok(self.memory.ensure(needed_bytes(plan, &self.table, input)?))
    }

    /// Writes all groups out, for others who need the memory, and says how much that gave back.
    ///
    /// # Errors
    /// `Io` and `OutOfMemory` of the spill space: the groups are lost then.
    pub(super) fn give_up(&mut self, cx: &Context) -> Result<usize> {
        let before = self.memory.bytes();
        let shared = self.shared.clone();
        self.write_out(&shared.plan, cx)?;
        Ok(before.saturating_sub(self.memory.bytes()))
    }

    /// Hands all groups over to the sink.
    ///
    /// # Errors
    /// As [`Collecting::consume`].
    pub(super) fn combine(mut self, cx: &Context) -> Result<()> {
        let shared = self.shared.clone();
        let plan = &shared.plan;
        if plan.keys.is_empty() {
            self.table.only_group(plan, &mut self.memory)?;
        }
        if can_spill(plan) && shared.is_spilling() {
            self.write_out(plan, cx)?;
            if let Some(spill) = self.spill.take() {
                let (spilled, _) = spill.finish()?;
                shared.state().spilled.push(spilled);
            }
            return Ok(());
        }
        let _ = self.memory.ensure(0);
        let customs = self.take_states(plan)?;
        let empty = GroupTable::new(plan, LanePages::within(plan, 0));
        let (rows, stores) = mem::replace(&mut self.table, empty).into_rows(&mut self.memory);
        let mut memory = self.memory.split(self.memory.bytes());
        memory.settle();
        let writing = self.writing.take();
        let part = Part { rows, stores, customs, memory, writing };
        Waiting::add(&shared, part, cx);
        Ok(())
    }

    /// Writes all groups out and begins anew.
    fn write_out(&mut self, plan: &Plan, cx: &Context) -> Result<()> {
        // Nothing is under way: what is written is to be given back.
        let _ = self.memory.ensure(0);
        self.shared.spills();
        let states = self.take_states(plan)?;
        let (rows, stores) = self.table.take_out(plan, &mut self.memory);
        let spill = match (&mut self.spill, self.writing.take()) {
            (Some(spill), _) => spill,
            (none, Some(memory)) => none.insert(Spill::new(memory)?),
            (None, None) => return Err(Error::internal("groups have nowhere to go")),
        };
        let groups = Groups { plan, stores: &stores, customs: CustomStates::Arrays(&states) };
        spill.write(&groups, rows, 0, &mut self.memory, cx)?;
        self.memory.shrink(stores.bytes() + mem::take(&mut self.custom_bytes));
        // What the list of what is written takes is made good if it can be.
        let _ = self.memory.set_minimum(MINIMUM_BYTES);
        self.memory.has_shed();
        Ok(())
    }

    /// The states of the custom functions by group, which begin anew.
    fn take_states(&mut self, plan: &Plan) -> Result<Vec<Vec<ArrayRef>>> {
        let groups = self.table.groups;
        let customs = mem::replace(&mut self.customs, plan.new_states()?);
        let states = customs.into_iter().zip(&plan.customs).map(|(mut custom, call)| {
            let no_rows = call.argument_types.iter().map(new_empty_array);
            custom.update(&no_rows.collect::<Vec<_>>(), &[], None, groups)?;
            custom.state()
        });
        states.collect()
    }
}

/// Whether groups can be written out: without keys there is but one.
pub(super) fn can_spill(plan: &Plan) -> bool {
    !plan.keys.is_empty() && plan.stores.len() + plan.customs.len() < BESIDE_MAX
}

impl Collecting {
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
            self.numbers.learn(table.generation, &table.numbered);
            numbers.extend(refs.iter().map(|&row| self.numbers.of(row)));
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
        let values = with_float_keys(&input.aligned(column)?)?;
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
