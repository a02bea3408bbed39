//! Least and greatest values that have no place in a group's row: strings and nested values.
//!
//! The row has a reference (plus one; zero for none) to a value in a store of row pages. A better
//! value is stored anew and the reference changed; values that nobody refers to any more are
//! dropped when they are most.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryViewArray, StringViewArray};
use arrow::datatypes::DataType;

use super::fold::Targets;
use super::plan::{Fold, Plan, State};
use crate::batch::{Picked, gather, with_float_keys};
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::{RowLayout, RowOrder, RowPages, RowRef, Slot, compare_rows};

/// Values that may be without a reference before it is worth looking.
const UNUSED_MIN: usize = 4096;

/// Marks a slot that has the number of a row of the batch instead of a reference.
const CANDIDATE: u64 = 1 << 63;

const BY_VALUE: &[RowOrder] =
    &[RowOrder { column: 0, descending: false, nulls_first: false, nullable: false }];

/// The stores of all states that need one.
#[derive(Debug)]
pub(super) struct Stores {
    pub(super) pages: Vec<RowPages>,
    page_bytes: usize,
}

impl Stores {
    pub(super) fn new(plan: &Plan, page_bytes: usize) -> Self {
        let pages = |layout: &Arc<RowLayout>| RowPages::new(layout.clone(), page_bytes).strict();
        Stores { pages: plan.stores.iter().map(pages).collect(), page_bytes }
    }

    /// Keeps the better of each group's value and those of its rows in the batch.
    ///
    /// # Errors
    /// `OutOfMemory` when the values cannot be stored.
    pub(super) fn update(
        &mut self,
        rows: &mut RowPages,
        state: &State,
        picked: &Picked<'_>,
        targets: Targets<'_>,
        memory: &mut Reservation,
    ) -> Result<()> {
        let Fold::Stored { store, greatest } = state.fold else { return Ok(()) };
        self.drop_unused(store, rows, state.value, memory)?;
        let store = &mut self.pages[store];
        let candidates = Candidates::new(picked, store, self.page_bytes, memory)?;
        let better = |ordering: Ordering| match greatest {
            true => ordering == Ordering::Greater,
            false => ordering == Ordering::Less,
        };
        let mut changed = Vec::new();
        targets.for_each(|number, row| {
            if picked.is_null(number) {
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
        if old.rows() < 2 * rows.rows() + UNUSED_MIN {
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

/// The value that a slot refers to; [`RowRef::NONE`] for none.
pub(super) fn reference(slot: u64) -> RowRef {
    match slot {
        0 => RowRef::NONE,
        bits => RowRef::from_bits(bits - 1),
    }
}

/// The values of a batch in a form in which they can be compared with each other and with stored
/// ones.
enum Candidates<'a> {
    Text(&'a Picked<'a>, &'a StringViewArray),
    Binary(&'a Picked<'a>, &'a BinaryViewArray),
    /// Any other type: all stored, for as long as the batch lasts.
    Stored(RowPages, Vec<RowRef>),
}

impl<'a> Candidates<'a> {
    fn new(
        picked: &'a Picked<'a>,
        store: &RowPages,
        page_bytes: usize,
        memory: &mut Reservation,
    ) -> Result<Self> {
        let array = picked.array();
        Ok(match array.data_type() {
            DataType::Utf8View => Candidates::Text(picked, array.as_string_view()),
            DataType::BinaryView => Candidates::Binary(picked, array.as_binary_view()),
            _ => {
                let mut pages = RowPages::new(store.layout().clone(), page_bytes).strict();
                let mut rows = Vec::with_capacity(picked.len());
                // Numbers inside compare as elsewhere: NaN is the greatest, whatever its sign.
                let values = with_float_keys(&gather(array, &picked.indices())?)?;
                let all: Vec<u32> = (0..picked.len() as u32).collect();
                let all = [Picked::of_array(&values, &all)];
                pages.append_picked(&all, &[picked.len()], memory, &mut rows)?;
                Candidates::Stored(pages, rows)
            }
        })
    }

    /// The bytes of a value, of a type that is compared by them.
    fn bytes(&self, number: usize) -> &[u8] {
        match self {
            Candidates::Text(picked, array) => array.value(picked.at()[number] as usize).as_bytes(),
            Candidates::Binary(picked, array) => array.value(picked.at()[number] as usize),
            Candidates::Stored(..) => &[],
        }
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        match self {
            Candidates::Stored(pages, rows) => {
                compare_rows(pages.layout(), BY_VALUE, pages.at(rows[a]), pages.at(rows[b]))
            }
            _ => self.bytes(a).cmp(self.bytes(b)),
        }
    }

    fn compare_stored(&self, a: usize, store: &RowPages, b: RowRef) -> Ordering {
        match self {
            Candidates::Stored(pages, rows) => {
                compare_rows(pages.layout(), BY_VALUE, pages.at(rows[a]), store.at(b))
            }
            _ => self.bytes(a).cmp(store.value_bytes(0, b)),
        }
    }

    fn store(
        &self,
        winners: &[u32],
        store: &mut RowPages,
        memory: &mut Reservation,
        stored: &mut Vec<RowRef>,
    ) -> Result<()> {
        match self {
            Candidates::Text(picked, _) | Candidates::Binary(picked, _) => {
                let at: Vec<u32> = winners.iter().map(|&w| picked.at()[w as usize]).collect();
                let winners = Picked::of_array(picked.array(), &at);
                store.append_picked(&[winners], &[at.len()], memory, stored)?;
            }
            Candidates::Stored(pages, rows) => {
                let winners: Vec<RowRef> = winners.iter().map(|&w| rows[w as usize]).collect();
                store.append_rows(pages, &winners, 0, memory, stored)?;
            }
        }
        Ok(())
    }

    fn release(self, memory: &mut Reservation) {
        if let Candidates::Stored(pages, _) = self {
            memory.shrink(pages.bytes());
        }
    }
}
