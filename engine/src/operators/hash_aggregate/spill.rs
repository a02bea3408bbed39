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
//! Memory: what writing takes, [`WRITING_BYTES`], is set aside before there is anything to write
//! and is no part of what the groups are charged to: the tape's buffer, copies of the groups of a
//! partition, and of what stands beside a page. What it takes to find the stretches again is
//! charged with them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::handed::number;
use super::plan::{Fold, Plan};
use super::stores::{Stores, reference};
use super::table::{LANES, lane_of};
use crate::batch::{Picked, to_physical};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{
    DEFAULT_PAGE_BYTES, FIRST_PAGE_BYTES, LaneOrder, PageSpan, PageWriter, RowLayout, RowPages,
    RowRef,
};
use crate::memory::spill::Tape;
use crate::pipeline::Context;

/// The name in errors and figures.
pub(super) const HOLDER: &str = "hash aggregate";

/// Bytes of a tape's buffer.
const TAPE_BYTES: usize = 64 << 10;

/// What writing takes: the buffer, and copies of what is written next.
pub(super) const WRITING_BYTES: usize = 2 * TAPE_BYTES;

/// The most stores and custom functions whose values can stand beside groups.
pub(super) const BESIDE_MAX: usize = crate::memory::rows::BESIDE_MAX as usize;

/// Rows that are brought into the order of their partitions together.
const SORTED_ROWS: usize = 8192;

/// Groups of one partition, one after another on a tape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) span: PageSpan,
    /// Bytes of the largest unit's pages.
    pub(super) unit_bytes: usize,
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
    tape: PageWriter,
    stretches: Vec<Vec<Stretch>>,
    customs: Vec<StateRows>,
}

/// A finished [`Spill`].
pub(super) struct Spilled {
    pub(super) tape: Arc<Tape>,
    /// By lane.
    pub(super) stretches: Vec<Vec<Stretch>>,
    pub(super) customs: Vec<StateRows>,
    /// What the stretches are charged to.
    pub(super) memory: Reservation,
}

/// Groups to be written: those of a table, and what they refer to.
pub(super) struct Groups<'a> {
    pub(super) plan: &'a Plan,
    pub(super) stores: &'a Stores,
    pub(super) customs: CustomStates<'a>,
}

impl Spill {
    /// Nothing is written yet; the minimum of `memory` is [`WRITING_BYTES`].
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum is not there.
    pub(super) fn new(memory: Reservation) -> Result<Self> {
        Ok(Spill {
            tape: PageWriter::new(memory, TAPE_BYTES)?,
            stretches: vec![Vec::new(); LANES],
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
        let held = stretches.iter().map(Vec::len).sum::<usize>() * size_of::<Stretch>();
        let spilled = Spilled { tape, stretches, customs, memory: memory.split(held) };
        Ok((spilled, memory))
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
        if rows.lanes() == LANES {
            for (lane, mut rows) in rows.into_lanes().into_iter().enumerate() {
                cx.check()?;
                for page in 0..rows.pages() {
                    self.write_page(groups, lane, &mut rows, page)?;
                }
                memory.shrink(rows.bytes());
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
        memory.shrink(rows.bytes());
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
        let order = by_lane(groups.plan, from, members, skip);
        let members = order.pick(members);
        let mut start = 0;
        for (lane, &end) in order.ends().iter().enumerate() {
            while start < end {
                cx.check()?;
                let layout = groups.plan.layout.clone();
                let mut copies = RowPages::new(layout, FIRST_PAGE_BYTES);
                let (rest, mut refs) = (&members[start..end], Vec::new());
                let memory = self.tape.memory();
                let mut copied = copies.append_rows(from, rest, 0, memory, &mut refs)?;
                if copied == 0 {
                    // One row that is larger than what is set aside.
                    copies = copies.strict();
                    copied = copies.append_rows(from, &rest[..1], 0, memory, &mut refs)?;
                }
                for page in 0..copies.pages() {
                    self.write_page(groups, lane, &mut copies, page)?;
                }
                self.tape.memory().shrink(copies.bytes());
                start += copied;
            }
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
        self.know_customs(groups)?;
        let members: Vec<RowRef> = rows.page_refs(page).collect();
        let memory = self.tape.memory();
        let stores = groups.copy_stores(rows, &members, memory)?;
        let customs = groups.copy_customs(&self.customs, rows, &members, memory)?;
        let Some(mut span) = self.tape.append(rows, page, None)? else { return Ok(()) };
        for (number, pages) in (0..).zip(stores.into_iter().chain(customs)) {
            for page in 0..pages.pages() {
                if let Some(beside) = self.tape.append(&pages, page, Some(number))? {
                    (span.until, span.bytes) = (beside.until, span.bytes + beside.bytes);
                }
            }
            self.tape.memory().shrink(pages.bytes());
        }
        self.note(lane, span)
    }

    /// Notes where a unit is.
    fn note(&mut self, lane: usize, unit: PageSpan) -> Result<()> {
        let stretches = &mut self.stretches[lane];
        if let Some(Stretch { span, unit_bytes }) = stretches.last_mut()
            && span.until == unit.from
        {
            span.until = unit.until;
            span.rows += unit.rows;
            span.bytes += unit.bytes;
            *unit_bytes = unit.bytes.max(*unit_bytes);
            return Ok(());
        }
        stretches.push(Stretch { span: unit, unit_bytes: unit.bytes });
        self.tape.memory().grow(size_of::<Stretch>())
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

impl Groups<'_> {
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

/// The order of rows by the partitions of the bits of their hashes behind the upper `skip`.
pub(super) fn by_lane(plan: &Plan, rows: &RowPages, members: &[RowRef], skip: u32) -> LaneOrder {
    LaneOrder::of(LANES, members.iter().map(|&row| lane_of(rows.slot(row, plan.hash) << skip)))
}
