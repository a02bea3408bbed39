//! What workers have handed over, as it is merged lane by lane, or written when it has no room.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;

use super::merge::Visitor;
use super::parts::parts_bytes;
use super::plan::{Fold, Plan};
use super::sink::array_bytes;
use super::spill::{CustomStates, Groups, SORTED_ROWS, Spill};
use super::stores::{Stores, reference};
use super::table::LANE_BITS;
use crate::error::{Error, Result};
use crate::expr::GroupStates;
use crate::memory::rows::{Fixed, RowPages, RowRef};
use crate::pipeline::Context;

/// The rows of one partition before they are merged.
pub(super) struct Lane {
    /// In the order of hashes.
    parts: VecDeque<LanePart>,
}

/// Rows whose hashes share more bits.
struct LanePart {
    rows: RowPages,
    /// The first page of each worker's rows.
    origins: Vec<usize>,
}

/// What finish tasks read side by side.
#[derive(Default)]
pub(super) struct Handed {
    pub(super) stores: Option<Stores>,
    /// By worker and store, the pages before those of the worker.
    behind: Vec<Vec<usize>>,
    /// By worker and custom function, its states.
    customs: Vec<Vec<Vec<ArrayRef>>>,
    /// Rows of all workers, and bytes of all states.
    rows: usize,
    custom_bytes: usize,
    /// Bits of the hash that lanes are chosen by.
    pub(super) lane_bits: u32,
}

impl Lane {
    /// The rows of the first worker, by part.
    pub(super) fn new(parts: impl Iterator<Item = RowPages>) -> Self {
        Lane { parts: parts.map(|rows| LanePart { rows, origins: vec![0] }).collect() }
    }

    /// Adds those of the next one.
    pub(super) fn absorb(&mut self, parts: impl Iterator<Item = RowPages>) {
        for (own, rows) in self.parts.iter_mut().zip(parts) {
            let first = own.rows.absorb(rows);
            own.origins.push(first);
        }
    }

    /// Takes the first parts out, until they have so many rows; `None` when there are none left.
    pub(super) fn take_first(&mut self, rows: usize) -> Option<Lane> {
        let mut first = Lane { parts: VecDeque::from_iter(self.parts.pop_front()) };
        while first.rows() < rows
            && let Some(part) = self.parts.pop_front()
        {
            first.parts.push_back(part);
        }
        (!first.parts.is_empty()).then_some(first)
    }

    /// How many parts it has.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The most bytes that merging what [`Lane::take_first`] takes may need.
    pub(super) fn first_merge_bytes(&self, rows: usize) -> usize {
        let largest = self.parts.iter().map(|part| part.rows.rows()).max().unwrap_or(0);
        parts_bytes([largest.max(rows), rows].into_iter())
    }

    pub(super) fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows.rows()).sum()
    }

    /// Bytes of the pages.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.rows.bytes()).sum()
    }

    /// Bytes that merging takes.
    pub(super) fn merge_bytes(&self) -> usize {
        parts_bytes(self.parts.iter().map(|part| part.rows.rows()))
    }

    /// The rows by part, and the first page of each worker's in each of them.
    pub(super) fn into_parts(self) -> (Vec<RowPages>, Vec<Vec<usize>>) {
        self.parts.into_iter().map(|part| (part.rows, part.origins)).unzip()
    }

    /// Writes all rows, as partition number `lane` or, when all rows are one lane, as those of
    /// their hashes.
    ///
    /// # Errors
    /// As [`Spill::write`].
    pub(super) fn write(
        self,
        lane: usize,
        plan: &Plan,
        handed: &Handed,
        spill: &mut Spill,
        cx: &Context,
    ) -> Result<()> {
        self.parts.into_iter().try_for_each(|part| part.write(lane, plan, handed, spill, cx))
    }
}

impl LanePart {
    /// [`Lane::write`].
    fn write(
        mut self,
        lane: usize,
        plan: &Plan,
        handed: &Handed,
        spill: &mut Spill,
        cx: &Context,
    ) -> Result<()> {
        let no_stores = Stores::new(plan, 0);
        let stores = handed.stores.as_ref().unwrap_or(&no_stores);
        let mut page = 0;
        while page < self.rows.pages() {
            cx.check()?;
            let (first, worker) = (page, self.worker(page));
            let mut members: Vec<RowRef> = self.rows.page_refs(page).collect();
            page += 1;
            // Where rows are distributed, many at once: each time has its own stretches.
            while handed.lane_bits < LANE_BITS
                && page < self.rows.pages()
                && self.worker(page) == worker
                && members.len() + self.rows.page_rows(page) <= SORTED_ROWS
            {
                members.extend(self.rows.page_refs(page));
                page += 1;
            }
            handed.make_known(plan, worker, &mut self.rows, &members);
            let customs = handed.customs.get(worker).map_or(&[][..], Vec::as_slice);
            let groups = Groups { plan, stores, customs: CustomStates::Arrays(customs) };
            match handed.lane_bits >= LANE_BITS {
                true => spill.write_page(&groups, lane, &mut self.rows, first)?,
                false => spill.distribute(&groups, &self.rows, &members, 0, cx)?,
            }
        }
        Ok(())
    }

    fn worker(&self, page: usize) -> usize {
        worker_of(&self.origins, page)
    }
}

/// Whose rows a page has.
fn worker_of(origins: &[usize], page: usize) -> usize {
    origins.partition_point(|&first| first <= page).saturating_sub(1)
}

impl Handed {
    /// For lanes by so many bits of the hash.
    pub(super) fn new(lane_bits: u32) -> Self {
        Handed { lane_bits, ..Handed::default() }
    }

    /// Of rows that have everything they refer to.
    pub(super) fn of_stores(stores: Stores) -> Self {
        Handed { stores: Some(stores), ..Handed::default() }
    }

    /// Takes over what the rows of the next worker, so many of them, refer to.
    pub(super) fn add(&mut self, rows: usize, stores: Stores, customs: Vec<Vec<ArrayRef>>) {
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
        self.rows += rows;
        self.custom_bytes += customs.iter().map(|states| array_bytes(states)).sum::<usize>();
        self.customs.push(customs);
    }

    /// What the states of custom functions may take as `rows` of the rows are merged, and then
    /// their results.
    pub(super) fn custom_bytes(&self, rows: usize) -> usize {
        let share = self.custom_bytes as u128 * rows as u128 / self.rows.max(1) as u128;
        // At most the bytes of all states.
        2 * share as usize
    }

    /// Makes rows of a worker refer to the stores of all.
    fn make_known(&self, plan: &Plan, worker: usize, rows: &mut RowPages, members: &[RowRef]) {
        for state in &plan.states {
            let Fold::Stored { store, .. } = state.fold else { continue };
            let behind = self.behind.get(worker).and_then(|b| b.get(store));
            let behind = behind.copied().unwrap_or(0);
            for &row in members {
                let slot = rows.slot(row, state.value);
                if slot != 0 && behind != 0 {
                    let moved = reference(slot).behind(behind);
                    rows.set_slot(row, state.value, moved.to_bits() + 1);
                }
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
    /// By part, the first page of each worker's rows.
    origins: Vec<Vec<usize>>,
    part: usize,
    customs: Vec<Box<dyn GroupStates>>,
    groups: usize,
}

impl<'a> MergeParts<'a> {
    /// For rows of several workers, with the first page of each in every part.
    pub(super) fn new(
        plan: &'a Plan,
        cx: &'a Context,
        handed: Arc<Handed>,
        origins: Vec<Vec<usize>>,
    ) -> Result<Self> {
        let customs = plan.new_states()?;
        Ok(MergeParts { plan, cx, handed, origins, part: 0, customs, groups: 0 })
    }

    /// For rows that refer to stores of their own, and their custom states by number.
    pub(super) fn of_one(
        plan: &'a Plan,
        cx: &'a Context,
        customs: Vec<Vec<ArrayRef>>,
    ) -> Result<Self> {
        let handed = Handed { customs: vec![customs], ..Handed::default() };
        MergeParts::new(plan, cx, Arc::new(handed), vec![vec![0]])
    }

    /// Whose rows a page of the part has.
    fn worker(&self, page: usize) -> usize {
        worker_of(self.origins.get(self.part).map_or(&[], Vec::as_slice), page)
    }

    /// The results of the custom functions.
    pub(super) fn results(&mut self) -> Result<Vec<ArrayRef>> {
        self.customs.iter_mut().map(|custom| custom.evaluate()).collect()
    }
}

impl Visitor for MergeParts<'_> {
    fn part(&mut self, part: usize) {
        self.part = part;
    }

    fn page(&mut self, rows: &mut RowPages, page: usize, members: &[RowRef]) -> Result<()> {
        self.cx.check()?;
        self.handed.make_known(self.plan, self.worker(page), rows, members);
        Ok(())
    }

    fn merged(&mut self, rows: &mut RowPages, members: &[RowRef], into: &[RowRef]) -> Result<()> {
        if self.customs.is_empty() {
            return Ok(());
        }
        self.cx.check()?;
        // The numbers that they had in their worker's table, before some get new ones.
        let number_of = |rows: &RowPages, row: RowRef| number(self.plan, rows, row);
        let numbers: Vec<u32> = members.iter().map(|&row| number_of(rows, row)).collect();
        for (&member, &into) in members.iter().zip(into) {
            if member == into {
                let next = u32::try_from(self.groups)
                    .map_err(|_| Error::input("more than 4 billion groups"))?;
                next.put(&mut rows.row_mut(member)[self.plan.number.offset..]);
                self.groups += 1;
            }
        }
        let workers: Vec<usize> = members.iter().map(|row| self.worker(row.page())).collect();
        for (worker, states) in self.handed.customs.iter().enumerate() {
            let own = || (0..members.len()).filter(|&row| workers[row] == worker);
            let from = UInt32Array::from_iter_values(own().map(|row| numbers[row]));
            if from.is_empty() {
                continue;
            }
            let groups: Vec<u32> = own().map(|row| number_of(rows, into[row])).collect();
            for (custom, states) in self.customs.iter_mut().zip(states) {
                let states = states.iter().map(|state| Ok(take(state, &from, None)?));
                custom.merge(&states.collect::<Result<Vec<_>>>()?, &groups, self.groups)?;
            }
        }
        Ok(())
    }
}

/// The number of a row's group.
pub(super) fn number(plan: &Plan, rows: &RowPages, row: RowRef) -> u32 {
    u32::take(&rows.row(row)[plan.number.offset..])
}
