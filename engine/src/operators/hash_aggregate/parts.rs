//! Merges a large lane part by part: those that a lane was collected in, or those of a lane that
//! was read from tapes.
//!
//! The hashes of a million rows, and the rows themselves, are larger than a core's cache, and
//! finding groups, bringing them into order and reading their results go anywhere in them. It
//! takes less time to merge parts that fit the cache one after another (radix partitioning;
//! Manegold, Boncz and Kersten, 2002): rows from tapes are distributed by the next bits of their
//! hashes first, those that never left memory were collected so (see `table`). The parts are in
//! the order of hashes, hence so are the groups of all.
//!
//! Memory: the pages of a lane from tapes are freed as their rows are copied, so that both are
//! never there as a whole. Where there is no room for that, and where custom states would have to
//! be moved along, the lane is merged as it is. Rows that never left memory are not copied: what
//! one thread frees of pages that others made is not there for its copies at once, and twice the
//! memory takes longer than it saves.

use super::merge::{Visitor, merge_bytes, merge_lane, merge_rows, ordered_bytes};
use super::plan::Plan;
use super::stores::Stores;
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::{LaneOrder, RowPages, RowRef};

/// Parts that a lane has at least: smaller ones are merged as they are.
const PARTS_MIN: usize = 8;

/// The most parts, as bits of the hash.
const PART_BITS_MAX: u32 = 6;

/// Bytes of the parts' pages.
const PAGE_BYTES: usize = 32 << 10;

/// The most bytes of a row on average: of longer ones too few fit a page, and what is left free at
/// its end is more than was counted.
const ROW_BYTES_MAX: usize = PAGE_BYTES / 8;

/// Rows that are distributed together.
const STEP_ROWS: usize = 8192;

/// Merges the rows of a lane whose hashes share the upper `skip` bits; they, and [`merge_bytes`] of
/// them, have been charged to `memory`. The answer is one row per group, in the order of hashes
/// (then keys), which stays charged with the rows; the other rows are of no use any more.
///
/// # Errors
/// `OutOfMemory`, an overflowing sum, or what the visitor says.
pub(super) fn merge_large(
    plan: &Plan,
    rows: &mut RowPages,
    stores: &Stores,
    skip: u32,
    visitor: &mut dyn Visitor,
    memory: &mut Reservation,
) -> Result<Vec<RowRef>> {
    let count = rows.rows();
    let parts = count / plan.tuning.part_rows;
    let bits = parts.max(1).ilog2().min(PART_BITS_MAX);
    let can_split = plan.customs.is_empty()
        && skip + bits < u64::BITS
        && rows.bytes() / count.max(1) <= ROW_BYTES_MAX;
    if parts < PARTS_MIN || !can_split || !memory.ensure(copying_bytes(rows, 1 << bits)) {
        return merge_lane(plan, rows, stores, skip, visitor, memory);
    }
    let parts = distribute(plan, rows, skip, bits, visitor, memory)?;
    let _ = memory.ensure(0);
    let (parts, mut charged) = (parts.into_lanes(), merge_bytes(count));
    // More than for all only where nearly all rows are in one part.
    let needed = parts_bytes(parts.iter().map(RowPages::rows));
    memory.grow(needed.saturating_sub(charged))?;
    charged = charged.max(needed);
    let (merged, groups) = merge_parts(plan, parts, stores, skip + bits, &mut ())?;
    memory.shrink(charged - ordered_bytes(&groups));
    *rows = merged;
    Ok(groups)
}

/// Bytes that merging parts of so many rows takes: what one of them at a time takes, and the list
/// of the groups of all.
pub(super) fn parts_bytes(rows: impl ExactSizeIterator<Item = usize>) -> usize {
    let is_one = rows.len() == 1;
    let (all, largest) = rows.fold((0, 0), |(all, most), rows| (all + rows, rows.max(most)));
    let list = if is_one { 0 } else { all * size_of::<RowRef>() };
    list + merge_bytes(largest)
}

/// Merges parts that are in the order of hashes; the hashes of each share the upper `skip` bits,
/// and [`parts_bytes`] of them have been charged. The answer is the rows of all and one of them per
/// group, in the order of hashes (then keys).
///
/// # Errors
/// An overflowing sum, or what the visitor says.
pub(super) fn merge_parts(
    plan: &Plan,
    parts: Vec<RowPages>,
    stores: &Stores,
    skip: u32,
    visitor: &mut dyn Visitor,
) -> Result<(RowPages, Vec<RowRef>)> {
    let mut all = RowPages::new(plan.layout.clone(), PAGE_BYTES);
    let (count, is_one) = (parts.iter().map(RowPages::rows).sum(), parts.len() == 1);
    let mut groups = Vec::with_capacity(if is_one { 0 } else { count });
    for (number, mut part) in parts.into_iter().enumerate() {
        visitor.part(number);
        let own = merge_rows(plan, &mut part, stores, skip, visitor)?;
        let behind = all.absorb(part);
        match is_one {
            true => groups = own,
            false => groups.extend(own.into_iter().map(|row| row.behind(behind))),
        }
    }
    groups.shrink_to_fit();
    Ok((all, groups))
}

/// Bytes that distributing rows takes beside their own: pages that are not full, and copies of
/// those whose pages are not freed yet.
fn copying_bytes(rows: &RowPages, parts: usize) -> usize {
    let step = STEP_ROWS * rows.bytes() / rows.rows().max(1);
    // What does not fit a page of a text's row is left free.
    let unused = if rows.layout().has_heap() { rows.bytes() / 4 } else { 0 };
    parts * PAGE_BYTES + 2 * step + unused
}

/// Copies the rows into parts by the `bits` of their hashes behind the upper `skip`, and frees
/// their pages.
fn distribute(
    plan: &Plan,
    rows: &mut RowPages,
    skip: u32,
    bits: u32,
    visitor: &mut dyn Visitor,
    memory: &mut Reservation,
) -> Result<RowPages> {
    let mut parts = RowPages::with_lanes(plan.layout.clone(), PAGE_BYTES, 1 << bits).strict();
    let part_of = |hash: u64| ((hash << skip) >> (u64::BITS - bits)) as usize;
    let (mut order, mut copies, mut page) = (LaneOrder::default(), Vec::new(), 0);
    while page < rows.pages() {
        let (first, mut members) = (page, Vec::new());
        while page < rows.pages()
            && (page == first || members.len() + rows.page_rows(page) <= STEP_ROWS)
        {
            let own: Vec<RowRef> = rows.page_refs(page).collect();
            visitor.page(rows, page, &own)?;
            members.extend(own);
            page += 1;
        }
        order.sort(1 << bits, members.iter().map(|&row| part_of(rows.hash(row, plan.hash))));
        copies.clear();
        let members = order.pick(&members);
        parts.append_rows_by_lane(rows, &members, order.ends(), memory, &mut copies)?;
        memory.shrink((first..page).map(|page| rows.free_page(page)).sum());
    }
    Ok(parts)
}
