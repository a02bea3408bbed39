//! Writes groups to a tape, partition by partition.
//!
//! ```text
//! stretch = the groups of one partition that were written together: one unit after another
//! unit    = | page of groups | pages of values beside them … |
//! page    = | block of rows | block of the heap, if there is any |
//! ```
//!
//! What stands beside a page of groups: for every store the values that its groups refer to, their
//! references counting the unit's own pages; and for every custom function the states of its
//! groups, in their order. A unit can therefore be read without any other.
//!
//! Memory: the tape's buffer ([`SPILL_BYTES`]) is the owner's to reserve; the copies of what
//! stands beside one page are charged while they are written.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::plan::{Fold, Plan};
use super::sink::number;
use super::stores::{Stores, reference};
use super::table::{LANES, by_lane};
use crate::batch::{Picked, to_physical};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{DEFAULT_PAGE_BYTES, FIRST_PAGE_BYTES, RowLayout, RowPages, RowRef};
use crate::memory::spill::{SpillSpace, Tape, TapeWriter};
use crate::pipeline::Context;

/// The name in errors and figures.
pub(super) const HOLDER: &str = "hash aggregate";

/// Bytes of a tape's buffer.
pub(super) const SPILL_BYTES: usize = 64 << 10;

/// The most stores and custom functions whose values can stand beside groups.
pub(super) const BESIDE_MAX: usize = 2000;

const ROWS_BITS: u32 = 20;
const HEAP_BIT: u32 = 1 << ROWS_BITS;

/// What a block of rows says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) rows: usize,
    /// Whether a block with the heap follows.
    pub(super) has_heap: bool,
    /// Beside the groups, the number of the store or (after them) of the custom function.
    pub(super) beside: Option<usize>,
}

impl Tag {
    /// As the number beside a block.
    fn to_bits(self) -> u32 {
        let beside = self.beside.map_or(0, |beside| beside as u32 + 1);
        let heap = if self.has_heap { HEAP_BIT } else { 0 };
        self.rows as u32 | heap | beside << (ROWS_BITS + 1)
    }

    /// The tag of that number.
    pub(super) fn from_bits(bits: u32) -> Self {
        Tag {
            rows: (bits & (HEAP_BIT - 1)) as usize,
            has_heap: bits & HEAP_BIT != 0,
            beside: (bits >> (ROWS_BITS + 1)).checked_sub(1).map(|beside| beside as usize),
        }
    }
}

/// Groups of one partition, one after another on a tape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) rows: usize,
    /// Bytes of the pages.
    pub(super) bytes: usize,
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
    tape: TapeWriter,
    stretches: Vec<Vec<Stretch>>,
    customs: Vec<StateRows>,
}

/// A finished [`Spill`].
pub(super) struct Spilled {
    pub(super) tape: Arc<Tape>,
    /// By lane.
    pub(super) stretches: Vec<Vec<Stretch>>,
    pub(super) customs: Vec<StateRows>,
}

/// Groups to be written: those of a table, and what they refer to.
pub(super) struct Groups<'a> {
    pub(super) plan: &'a Plan,
    pub(super) stores: &'a Stores,
    pub(super) customs: CustomStates<'a>,
}

impl Spill {
    pub(super) fn new(space: &SpillSpace) -> Self {
        Spill {
            tape: TapeWriter::new(space, HOLDER, SPILL_BYTES),
            stretches: vec![Vec::new(); LANES],
            customs: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Result<Spilled> {
        let (stretches, customs) = (self.stretches, self.customs);
        Ok(Spilled { tape: Arc::new(self.tape.finish()?), stretches, customs })
    }

    /// Writes all rows, whose hashes share the upper `skip` bits, and gives their memory back.
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
        self.know_customs(groups)?;
        if rows.lanes() == LANES {
            return self.write_lanes(groups, rows, memory, cx);
        }
        // Few groups, or little memory: a page at a time.
        for page in 0..rows.pages() {
            let page_bytes = FIRST_PAGE_BYTES;
            let empty = RowPages::with_lanes(groups.plan.layout.clone(), page_bytes, LANES);
            let mut lanes = empty.strict();
            let members: Vec<RowRef> = rows.page_refs(page).collect();
            distribute(groups.plan, &rows, &members, skip, &mut lanes, memory)?;
            self.write_lanes(groups, lanes, memory, cx)?;
        }
        memory.shrink(rows.bytes());
        Ok(())
    }

    fn write_lanes(
        &mut self,
        groups: &Groups<'_>,
        rows: RowPages,
        memory: &mut Reservation,
        cx: &Context,
    ) -> Result<()> {
        for (lane, mut rows) in rows.into_lanes().into_iter().enumerate() {
            cx.check()?;
            if rows.is_empty() {
                continue;
            }
            let (mut from, mut bytes, mut unit_bytes) = (None, 0, 0);
            for page in 0..rows.pages() {
                let (position, written) = self.write_unit(groups, &mut rows, page, memory)?;
                from = from.or(position);
                bytes += written;
                unit_bytes = written.max(unit_bytes);
            }
            memory.shrink(rows.bytes());
            let Some(from) = from else { continue };
            let (until, rows) = (self.tape.len(), rows.rows());
            self.stretches[lane].push(Stretch { from, until, rows, bytes, unit_bytes });
        }
        Ok(())
    }

    /// Writes a page and what stands beside it; where that begins, and how much it is.
    fn write_unit(
        &mut self,
        groups: &Groups<'_>,
        rows: &mut RowPages,
        page: usize,
        memory: &mut Reservation,
    ) -> Result<(Option<u64>, usize)> {
        let members: Vec<RowRef> = rows.page_refs(page).collect();
        let stores = groups.copy_stores(rows, &members, memory)?;
        let customs = groups.copy_customs(&self.customs, rows, &members, memory)?;
        let (position, mut bytes) = self.write_page(rows, page, None)?;
        for (number, pages) in stores.into_iter().chain(customs).enumerate() {
            for page in 0..pages.pages() {
                bytes += self.write_page(&pages, page, Some(number))?.1;
            }
            memory.shrink(pages.bytes());
        }
        Ok((position, bytes))
    }

    fn write_page(
        &mut self,
        pages: &RowPages,
        page: usize,
        beside: Option<usize>,
    ) -> Result<(Option<u64>, usize)> {
        let Some(image) = pages.image(page).filter(|image| image.rows > 0) else {
            return Ok((None, 0));
        };
        let tag = Tag { rows: image.rows, has_heap: !image.heap.is_empty(), beside };
        let position = self.tape.append(image.fixed, tag.to_bits())?;
        if tag.has_heap {
            self.tape.append(image.heap, 0)?;
        }
        Ok((Some(position), image.fixed.len() + image.heap.len()))
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

/// Appends copies of rows, whose hashes share the upper `skip` bits, to the lanes of the next bits.
pub(super) fn distribute(
    plan: &Plan,
    from: &RowPages,
    members: &[RowRef],
    skip: u32,
    lanes: &mut RowPages,
    memory: &mut Reservation,
) -> Result<()> {
    let hashes: Vec<u64> = members.iter().map(|&row| from.slot(row, plan.hash) << skip).collect();
    let (order, ends) = by_lane(&hashes);
    let (mut start, mut moved) = (0, Vec::new());
    for (lane, end) in ends.into_iter().enumerate() {
        let rows: Vec<RowRef> =
            order[start..end].iter().map(|&row| members[row as usize]).collect();
        lanes.append_rows(from, &rows, lane, memory, &mut moved)?;
        start = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_survive_as_numbers() {
        for rows in [0, 1, (1 << ROWS_BITS) - 1] {
            for has_heap in [false, true] {
                for beside in [None, Some(0), Some(BESIDE_MAX)] {
                    let tag = Tag { rows, has_heap, beside };
                    assert_eq!(Tag::from_bits(tag.to_bits()), tag);
                }
            }
        }
    }
}
