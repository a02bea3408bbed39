//! Values that have no place in a group's row: strings and nested values that are the least or
//! greatest, and the values of the row that is first or last in some order.
//!
//! The row has a reference (plus one; zero for none) to a value in a store of row pages. A better
//! value is stored anew and the reference changed; values that nobody refers to any more are
//! dropped when they are most. Of two stored values the first column decides which is better.

use std::cmp::Ordering;

use super::candidates::Candidates;
use super::fold::Targets;
use super::plan::{Fold, Plan, State, StorePlan};
use crate::batch::Chunk;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{RowOrder, RowPages, RowRef, Slot, compare_rows};

/// Values that may be without a reference before it is worth looking.
const UNUSED_MIN: usize = 4096;

/// Marks a slot that has the number of a row of the batch instead of a reference.
const CANDIDATE: u64 = 1 << 63;

pub(super) const BY_VALUE: &[RowOrder] =
    &[RowOrder { column: 0, descending: false, nulls_first: false, nullable: false }];

/// The stores of all states that need one.
#[derive(Debug)]
pub(super) struct Stores {
    pub(super) pages: Vec<RowPages>,
    page_bytes: usize,
}

impl Stores {
    pub(super) fn new(plan: &Plan, page_bytes: usize) -> Self {
        let pages = |store: &StorePlan| RowPages::new(store.layout.clone(), page_bytes).strict();
        Stores { pages: plan.stores.iter().map(pages).collect(), page_bytes }
    }

    /// Bytes of all pages.
    pub(super) fn bytes(&self) -> usize {
        self.pages.iter().map(RowPages::bytes).sum()
    }

    /// Bytes that [`Stores::update`] may copy before it goes on, with `groups` groups.
    pub(super) fn copied_bytes(&self, groups: usize) -> usize {
        let due = self.pages.iter().filter(|pages| is_wasteful(pages.rows(), groups));
        due.map(RowPages::bytes).sum()
    }

    /// Keeps the better of each group's value and those of its rows in the batch: the rows of
    /// `input` at `positions`, whose groups `targets` tells.
    ///
    /// # Errors
    /// `OutOfMemory` when the values cannot be stored.
    #[expect(clippy::too_many_arguments, reason = "a batch, its groups, and where they are")]
    pub(super) fn update(
        &mut self,
        plan: &Plan,
        rows: &mut RowPages,
        state: &State,
        input: &Chunk,
        positions: &[u32],
        targets: Targets<'_>,
        memory: &mut Reservation,
    ) -> Result<()> {
        let Fold::Stored { store, greatest } = state.fold else { return Ok(()) };
        self.drop_unused(store, rows, state.value, memory)?;
        let Some(StorePlan { best, .. }) = plan.stores.get(store) else {
            return Err(Error::internal("a state without its store"));
        };
        let store = &mut self.pages[store];
        let candidates = match (best, state.argument) {
            (Some(best), _) => Candidates::of_rows(best, input, positions)?,
            (None, Some(argument)) => {
                let column = input.column(argument)?;
                Candidates::of_values(column, positions, store, self.page_bytes, memory)?
            }
            (None, None) => return Err(Error::internal("an extreme without its argument")),
        };
        let better = |ordering: Ordering| match greatest {
            true => ordering == Ordering::Greater,
            false => ordering == Ordering::Less,
        };
        let mut changed = Vec::new();
        targets.for_each(|number, row| {
            if candidates.is_null(number) {
                return;
            }
            let own = rows.slot(row, state.value);
            let is_candidate = own & CANDIDATE != 0;
            let wins = match own {
                0 => true,
                _ if is_candidate => {
                    better(candidates.compare(number, (own & !CANDIDATE) as usize))
                }
                _ => better(candidates.compare_stored(number, store, reference(own))),
            };
            if wins {
                rows.set_slot(row, state.value, CANDIDATE | number as u64);
                if !is_candidate {
                    changed.push(row);
                }
            }
        });
        let winners: Vec<u32> =
            changed.iter().map(|&row| (rows.slot(row, state.value) & !CANDIDATE) as u32).collect();
        let mut stored = Vec::with_capacity(winners.len());
        candidates.store(&winners, store, memory, &mut stored)?;
        for (&row, value) in changed.iter().zip(stored) {
            rows.set_slot(row, state.value, value.to_bits() + 1);
        }
        candidates.release(memory);
        Ok(())
    }

    /// Keeps the better value of each pair in the second row.
    pub(super) fn merge(&self, rows: &mut RowPages, state: &State, pairs: &[(RowRef, RowRef)]) {
        let Fold::Stored { store, greatest } = state.fold else { return };
        let store = &self.pages[store];
        for &(from, to) in pairs {
            let (other, own) = (rows.slot(from, state.value), rows.slot(to, state.value));
            let wins = other != 0
                && (own == 0 || {
                    let (a, b) = (store.at(reference(other)), store.at(reference(own)));
                    let ordering = compare_rows(store.layout(), BY_VALUE, a, b);
                    ordering.is_gt() == greatest && ordering.is_ne()
                });
            if wins {
                rows.set_slot(to, state.value, other);
            }
        }
    }

    /// Copies the values that rows refer to when the others are more.
    fn drop_unused(
        &mut self,
        store: usize,
        rows: &mut RowPages,
        slot: Slot,
        memory: &mut Reservation,
    ) -> Result<()> {
        let old = &self.pages[store];
        if !is_wasteful(old.rows(), rows.rows()) {
            return Ok(());
        }
        let mut kept = RowPages::new(old.layout().clone(), self.page_bytes).strict();
        for page in 0..rows.pages() {
            let users: Vec<RowRef> =
                rows.page_refs(page).filter(|&row| rows.slot(row, slot) != 0).collect();
            let values: Vec<RowRef> =
                users.iter().map(|&row| reference(rows.slot(row, slot))).collect();
            let mut moved = Vec::with_capacity(values.len());
            kept.append_rows(old, &values, 0, memory, &mut moved)?;
            for (row, value) in users.into_iter().zip(moved) {
                rows.set_slot(row, slot, value.to_bits() + 1);
            }
        }
        memory.shrink(old.bytes());
        self.pages[store] = kept;
        Ok(())
    }
}

/// Whether so many values are stored for so many groups that it pays to drop those not used.
fn is_wasteful(values: usize, groups: usize) -> bool {
    values >= 2 * groups + UNUSED_MIN
}

/// The value that a slot refers to; [`RowRef::NONE`] for none.
pub(super) fn reference(slot: u64) -> RowRef {
    match slot {
        0 => RowRef::NONE,
        bits => RowRef::from_bits(bits - 1),
    }
}
