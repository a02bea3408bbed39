//! Writes groups to a tape, partition by partition.
//!
//! ```text
//! stretch = the groups of one partition that were written together: one unit after another
//! unit    = | page of groups | pages of values beside them … |
//! ```
//!
//! What stands beside a page of groups: for every store the values that its groups refer to, their
//! references counting the unit's own pages; and for every custom function the states of its
//! groups, in their order. A unit can therefore be read without any other.
//!
//! Memory: what writing takes, [`writing_bytes`], is set aside before there is anything to write
//! and is no part of what the groups are charged to: the tape's buffer, copies of groups, and
//! copies of what stands beside them. Where what stands beside a page has no room at once, the page
//! is written as several units. What it takes to find the stretches again is kept back of what the
//! groups were charged to.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::handed::number;
use super::plan::{Fold, Plan};
use super::stores::{Stores, reference};
use super::stretches::Stretches;
use super::table::{LANE_BITS, LANES, lane_of};
use crate::batch::{Picked, to_physical};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{
    DEFAULT_PAGE_BYTES, FIRST_PAGE_BYTES, LaneOrder, PageWriter, RowLayout, RowPages, RowRef,
};
use crate::memory::spill::Tape;
use crate::pipeline::Context;

/// The name in errors and figures.
pub(super) const HOLDER: &str = "hash aggregate";

/// Bytes of a tape's buffer.
const TAPE_BYTES: usize = 64 << 10;

/// Bytes of copies of groups that there is always room for.
const COPIED_BYTES: usize = 16 << 10;

/// Bytes of copies of what stands beside them, over and above a page for each kind.
const BESIDE_BYTES: usize = 16 << 10;

/// The most stores and custom functions whose values can stand beside groups.
pub(super) const BESIDE_MAX: usize = crate::memory::rows::BESIDE_MAX as usize;

/// Rows that are brought into the order of their partitions together.
pub(super) const SORTED_ROWS: usize = 8192;

/// What writing takes.
pub(super) fn writing_bytes(plan: &Plan) -> usize {
    let kinds = plan.stores.len() + plan.customs.len();
    TAPE_BYTES + COPIED_BYTES + BESIDE_BYTES + kinds * FIRST_PAGE_BYTES
}

/// States of a custom function as rows.
#[derive(Debug, Clone)]
pub(super) struct StateRows {
    pub(super) layout: Arc<RowLayout>,
    pub(super) types: Vec<DataType>,
}

/// States of custom functions, by the groups' numbers.
pub(super) enum CustomStates<'a> {
    /// Columns.
    Arrays(&'a [Vec<ArrayRef>]),
    /// Rows, in the order of the numbers.
    Rows(&'a [RowPages], &'a [Vec<RowRef>]),
}

/// The partitions that one worker has written.
pub(super) struct Spill {
    /// Its memory is for what stands beside groups.
    tape: PageWriter,
    /// What copies of groups are charged to.
    copying: Reservation,
    /// By lane.
    stretches: Vec<Stretches>,
    /// What they are charged to.
    index: Option<Reservation>,
    customs: Vec<StateRows>,
}

/// A finished [`Spill`].
pub(super) struct Spilled {
    pub(super) tape: Arc<Tape>,
    /// By lane.
    pub(super) stretches: Vec<Stretches>,
    pub(super) customs: Vec<StateRows>,
    /// What the stretches are charged to.
    pub(super) memory: Reservation,
}

impl Spilled {
    /// Takes what the list of stretches takes over from what the written groups were charged to;
    /// how much.
    pub(super) fn charge_index(&mut self, memory: &mut Reservation) -> usize {
        charge_stretches(&self.stretches, &mut self.memory, memory)
    }
}

/// Takes what the lists take over into `index`, from what groups that are written are charged to;
/// how much that is.
fn charge_stretches(
    stretches: &[Stretches],
    index: &mut Reservation,
    memory: &mut Reservation,
) -> usize {
    let held: usize = stretches.iter().map(Stretches::held_bytes).sum();
    let piece = memory.split(held.saturating_sub(index.bytes()));
    let bytes = piece.bytes();
    index.absorb(piece);
    // It cannot be shed.
    let _ = index.set_minimum(index.bytes());
    bytes
}

/// Groups to be written: those of a table, and what they refer to.
pub(super) struct Groups<'a> {
    pub(super) plan: &'a Plan,
    pub(super) stores: &'a Stores,
    pub(super) customs: CustomStates<'a>,
}

impl Spill {
    /// Nothing is written yet; the minimum of `memory` is [`writing_bytes`].
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum is not there.
    pub(super) fn new(mut memory: Reservation) -> Result<Self> {
        memory.grow(COPIED_BYTES)?;
        Ok(Spill {
            copying: memory.cede(COPIED_BYTES),
            tape: PageWriter::new(memory, TAPE_BYTES)?,
            stretches: vec![Stretches::default(); LANES],
            index: None,
            customs: Vec::new(),
        })
    }

    /// What has been written, and the memory that is left.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when the tape cannot be written.
    pub(super) fn finish(self) -> Result<(Spilled, Reservation)> {
        let (stretches, customs) = (self.stretches, self.customs);
        let (tape, mut memory) = self.tape.finish()?;
        memory.absorb(self.copying);
        let index = self.index.unwrap_or_else(|| memory.split(0));
        Ok((Spilled { tape, stretches, customs, memory: index }, memory))
    }

    /// Takes what the list of stretches has grown by over from what groups that are written now
    /// are charged to; how much.
    pub(super) fn charge_index(&mut self, memory: &mut Reservation) -> usize {
        let index = self.index.get_or_insert_with(|| memory.split(0));
        charge_stretches(&self.stretches, index, memory)
    }

    /// Gives back what written rows are charged to.
    fn give_back(&mut self, rows: &RowPages, memory: &mut Reservation) {
        let kept = self.charge_index(memory);
        memory.shrink(rows.bytes().saturating_sub(kept));
    }

    /// Writes all rows, whose hashes share the upper `skip` bits, and gives the memory back that
    /// they are charged to.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when the tape cannot be written.
    pub(super) fn write(
        &mut self,
        groups: &Groups<'_>,
        rows: RowPages,
        skip: u32,
        memory: &mut Reservation,
        cx: &Context,
    ) -> Result<()> {
        if rows.lanes() >= LANES {
            // Several lanes of a partition are one after another.
            let of_partition = rows.lanes() / LANES;
            for (lane, mut rows) in rows.into_lanes().into_iter().enumerate() {
                cx.check()?;
                for page in 0..rows.pages() {
                    self.write_page(groups, lane / of_partition, &mut rows, page)?;
                }
                self.give_back(&rows, memory);
            }
            return Ok(());
        }
        let mut page = 0;
        while page < rows.pages() {
            let mut members: Vec<RowRef> = rows.page_refs(page).collect();
            page += 1;
            while page < rows.pages() && members.len() + rows.page_rows(page) <= SORTED_ROWS {
                members.extend(rows.page_refs(page));
                page += 1;
            }
            self.distribute(groups, &rows, &members, skip, cx)?;
        }
        self.give_back(&rows, memory);
        Ok(())
    }

    /// Writes copies of rows, whose hashes share the upper `skip` bits, to the partitions of the
    /// next bits.
    ///
    /// # Errors
    /// As [`Spill::write`].
    pub(super) fn distribute(
        &mut self,
        groups: &Groups<'_>,
        from: &RowPages,
        members: &[RowRef],
        skip: u32,
        cx: &Context,
    ) -> Result<()> {
        let order = by_lane(groups.plan, from, members, skip, LANE_BITS);
        let members = order.pick(members);
        let mut start = 0;
        for (lane, &end) in order.ends().iter().enumerate() {
            cx.check()?;
            self.write_copies(groups, lane, from, &members[start..end])?;
            start = end;
        }
        Ok(())
    }

    /// Writes a page of rows of one partition, and what stands beside it.
    ///
    /// # Errors
    /// As [`Spill::write`].
    pub(super) fn write_page(
        &mut self,
        groups: &Groups<'_>,
        lane: usize,
        rows: &mut RowPages,
        page: usize,
    ) -> Result<()> {
        let members: Vec<RowRef> = rows.page_refs(page).collect();
        let beside: usize = groups.beside_bytes(rows, &members).iter().sum();
        match self.tape.memory().ensure(room_for(groups.plan, beside)) {
            true => self.write_unit(groups, lane, rows, page),
            false => self.write_copies(groups, lane, rows, &members),
        }
    }

    /// Writes copies of rows of one partition: of so many at a time that there is room for what
    /// stands beside them.
    ///
    /// # Errors
    /// As [`Spill::write`].
    pub(super) fn write_copies(
        &mut self,
        groups: &Groups<'_>,
        lane: usize,
        from: &RowPages,
        members: &[RowRef],
    ) -> Result<()> {
        let beside = groups.beside_bytes(from, members);
        let mut start = 0;
        while start < members.len() {
            let (mut end, mut bytes) = (start, 0);
            while end < members.len() && (end == start || 4 * (bytes + beside[end]) <= BESIDE_BYTES)
            {
                bytes += beside[end];
                end += 1;
            }
            let mut copies = RowPages::new(groups.plan.layout.clone(), FIRST_PAGE_BYTES);
            let (rows, mut refs) = (&members[start..end], Vec::with_capacity(end - start));
            let mut copied = copies.append_rows(from, rows, 0, &mut self.copying, &mut refs)?;
            if copied == 0 {
                // One row that is larger than what is set aside.
                copies = copies.strict();
                copied = copies.append_rows(from, &rows[..1], 0, &mut self.copying, &mut refs)?;
            }
            for page in 0..copies.pages() {
                self.write_unit(groups, lane, &mut copies, page)?;
            }
            self.copying.shrink(copies.bytes());
            start += copied;
        }
        Ok(())
    }

    /// Writes a page and what stands beside it, for which there is room.
    fn write_unit(
        &mut self,
        groups: &Groups<'_>,
        lane: usize,
        rows: &mut RowPages,
        page: usize,
    ) -> Result<()> {
        self.know_customs(groups)?;
        let members: Vec<RowRef> = rows.page_refs(page).collect();
        let memory = self.tape.memory();
        let stores = groups.copy_stores(rows, &members, memory)?;
        let customs = groups.copy_customs(&self.customs, rows, &members, memory)?;
        for &row in &members {
            // They are numbered anew when they are read, and take room otherwise.
            groups.plan.set_numbers(rows, &[row], 0);
        }
        let Some(mut span) = self.tape.append(rows, page, None)? else { return Ok(()) };
        for (number, pages) in (0..).zip(stores.into_iter().chain(customs)) {
            for page in 0..pages.pages() {
                if let Some(beside) = self.tape.append(&pages, page, Some(number))? {
                    (span.until, span.bytes) = (beside.until, span.bytes + beside.bytes);
                }
            }
            self.tape.memory().shrink(pages.bytes());
        }
        // Ends what was seen to for this page.
        let _ = self.tape.memory().ensure(0);
        self.stretches[lane].push(span);
        Ok(())
    }

    /// Learns the types of custom states from the first ones.
    fn know_customs(&mut self, groups: &Groups<'_>) -> Result<()> {
        if let (true, CustomStates::Arrays(customs)) = (self.customs.is_empty(), &groups.customs) {
            let known = customs.iter().map(|states| {
                let types: Vec<DataType> = states.iter().map(|s| s.data_type().clone()).collect();
                Ok(StateRows { layout: Arc::new(RowLayout::new(&types, &[])?), types })
            });
            self.customs = known.collect::<Result<_>>()?;
        }
        Ok(())
    }

    /// Makes the types of custom states known.
    pub(super) fn with_customs(self, customs: Vec<StateRows>) -> Self {
        Spill { customs, ..self }
    }
}

/// Bytes of pages for so many bytes of what stands beside groups: pages that are not full, and one
/// at least of every kind.
fn room_for(plan: &Plan, beside: usize) -> usize {
    match plan.stores.len() + plan.customs.len() {
        0 => 0,
        kinds => 4 * beside + kinds * FIRST_PAGE_BYTES,
    }
}

impl Groups<'_> {
    /// Bytes of what stands beside each of the groups, more or less.
    fn beside_bytes(&self, rows: &RowPages, members: &[RowRef]) -> Vec<usize> {
        let mut bytes = vec![0; members.len()];
        for state in &self.plan.states {
            let Fold::Stored { store, .. } = state.fold else { continue };
            let Some(values) = self.stores.pages.get(store) else { continue };
            for (bytes, &row) in bytes.iter_mut().zip(members) {
                let slot = rows.slot(row, state.value);
                *bytes += if slot == 0 { 0 } else { values.stored_bytes(reference(slot)) };
            }
        }
        match &self.customs {
            CustomStates::Arrays(arrays) => {
                let average = |array: &ArrayRef| match array.len() {
                    0 => 0,
                    len => array.get_array_memory_size().div_ceil(len) + size_of::<u128>(),
                };
                let average: usize = arrays.iter().flatten().map(average).sum();
                bytes.iter_mut().for_each(|bytes| *bytes += average);
            }
            CustomStates::Rows(pages, refs) => {
                for (bytes, &row) in bytes.iter_mut().zip(members) {
                    let number = number(self.plan, rows, row) as usize;
                    let states = pages.iter().zip(*refs);
                    let states = states.filter_map(|(p, r)| Some(p.stored_bytes(*r.get(number)?)));
                    *bytes += states.sum::<usize>();
                }
            }
        }
        bytes
    }

    /// Copies the values that the groups refer to, and makes them refer to the copies.
    fn copy_stores(
        &self,
        rows: &mut RowPages,
        members: &[RowRef],
        memory: &mut Reservation,
    ) -> Result<Vec<RowPages>> {
        let stores = self.plan.stores.iter();
        let copies = stores.map(|s| RowPages::new(s.layout.clone(), DEFAULT_PAGE_BYTES).strict());
        let mut copies: Vec<RowPages> = copies.collect();
        self.move_stores(rows, members, &mut copies, memory)?;
        Ok(copies)
    }

    /// The same, into pages that may have values already.
    pub(super) fn move_stores(
        &self,
        rows: &mut RowPages,
        members: &[RowRef],
        into: &mut [RowPages],
        memory: &mut Reservation,
    ) -> Result<()> {
        for state in &self.plan.states {
            let Fold::Stored { store, .. } = state.fold else { continue };
            let (Some(from), Some(into)) = (self.stores.pages.get(store), into.get_mut(store))
            else {
                return Err(Error::internal("values without a store"));
            };
            let users: Vec<RowRef> =
                members.iter().copied().filter(|&row| rows.slot(row, state.value) != 0).collect();
            let values: Vec<RowRef> =
                users.iter().map(|&row| reference(rows.slot(row, state.value))).collect();
            let mut moved = Vec::with_capacity(values.len());
            into.append_rows(from, &values, 0, memory, &mut moved)?;
            for (row, value) in users.into_iter().zip(moved) {
                rows.set_slot(row, state.value, value.to_bits() + 1);
            }
        }
        Ok(())
    }

    /// Copies the groups' custom states, in the order of the groups.
    fn copy_customs(
        &self,
        customs: &[StateRows],
        rows: &RowPages,
        members: &[RowRef],
        memory: &mut Reservation,
    ) -> Result<Vec<RowPages>> {
        if customs.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<u32> = members.iter().map(|&row| number(self.plan, rows, row)).collect();
        let copies = customs.iter().enumerate().map(|(custom, states)| {
            let mut copy = RowPages::new(states.layout.clone(), DEFAULT_PAGE_BYTES).strict();
            let mut copied = Vec::with_capacity(numbers.len());
            match &self.customs {
                CustomStates::Arrays(arrays) => {
                    let columns = arrays.get(custom).ok_or_else(|| missing(custom))?;
                    let columns = columns.iter().map(to_physical).collect::<Result<Vec<_>>>()?;
                    let picked: Vec<Picked<'_>> =
                        columns.iter().map(|column| Picked::of_array(column, &numbers)).collect();
                    copy.append_picked(&picked, &[numbers.len()], memory, &mut copied)?;
                }
                CustomStates::Rows(pages, refs) => {
                    let (Some(pages), Some(refs)) = (pages.get(custom), refs.get(custom)) else {
                        return Err(missing(custom));
                    };
                    let from: Vec<RowRef> = numbers.iter().map(|&n| refs[n as usize]).collect();
                    copy.append_rows(pages, &from, 0, memory, &mut copied)?;
                }
            }
            Ok(copy)
        });
        copies.collect()
    }
}

fn missing(custom: usize) -> Error {
    Error::internal(format!("no states of custom function {custom}"))
}

/// The order of rows by the lanes of the `bits` of their hashes behind the upper `skip`.
pub(super) fn by_lane(
    plan: &Plan,
    rows: &RowPages,
    members: &[RowRef],
    skip: u32,
    bits: u32,
) -> LaneOrder {
    let lanes = members.iter().map(|&row| lane_of(rows.hash(row, plan.hash) << skip, bits));
    LaneOrder::of(1 << bits, lanes)
}
