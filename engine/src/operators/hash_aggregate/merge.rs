//! Merges the rows of one lane: the first row of each group takes in the states of the others, in
//! place.

use super::directory::{Directory, Entry};
use super::fold::merge_state;
use super::plan::{Fold, Plan};
use super::stores::Stores;
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::{RowOrder, RowPages, RowRef, compare_rows};

/// What else has to be done as a lane is merged.
pub(super) trait Visitor {
    /// Called before the pages of a part of a lane.
    fn part(&mut self, part: usize) {
        let _ = part;
    }

    /// Called with the rows of a page before they are looked at.
    fn page(&mut self, rows: &mut RowPages, page: usize, members: &[RowRef]) -> Result<()>;

    /// Called when it is known into which row each of the page's rows goes: itself, or one before
    /// it.
    fn merged(&mut self, rows: &mut RowPages, members: &[RowRef], into: &[RowRef]) -> Result<()>;
}

impl Visitor for () {
    fn page(&mut self, _: &mut RowPages, _: usize, _: &[RowRef]) -> Result<()> {
        Ok(())
    }

    fn merged(&mut self, _: &mut RowPages, _: &[RowRef], _: &[RowRef]) -> Result<()> {
        Ok(())
    }
}

/// Bytes that the list of a lane's groups is charged with.
pub(super) fn ordered_bytes(groups: &[RowRef]) -> usize {
    size_of_val(groups)
}

/// Bytes that merging so many rows takes: a directory, and the list of groups.
pub(super) fn merge_bytes(rows: usize) -> usize {
    Directory::bytes_for(Directory::places_for(rows)) + rows * size_of::<RowRef>()
}

/// Merges the rows of a lane whose hashes share the upper `skip` bits; [`merge_bytes`] of them have
/// been charged to `memory`. The answer is one row per group, in the order of hashes (then keys),
/// which stays charged; the other rows are of no use any more.
///
/// # Errors
/// An overflowing sum, or what the visitor says.
pub(super) fn merge_lane(
    plan: &Plan,
    rows: &mut RowPages,
    stores: &Stores,
    skip: u32,
    visitor: &mut dyn Visitor,
    memory: &mut Reservation,
) -> Result<Vec<RowRef>> {
    let ordered = merge_rows(plan, rows, stores, skip, visitor)?;
    memory.shrink(merge_bytes(rows.rows()) - ordered_bytes(&ordered));
    Ok(ordered)
}

/// Merges rows whose hashes share the upper `skip` bits. The answer is one row per group, in the
/// order of hashes (then keys); the other rows are of no use any more.
///
/// # Errors
/// An overflowing sum, or what the visitor says.
pub(super) fn merge_rows(
    plan: &Plan,
    rows: &mut RowPages,
    stores: &Stores,
    skip: u32,
    visitor: &mut dyn Visitor,
) -> Result<Vec<RowRef>> {
    let mut merge = Merge {
        plan,
        directory: Directory::new(Directory::places_for(rows.rows()), skip),
        keys: (0..plan.keys.len()).collect(),
    };
    let mut into = Vec::new();
    for page in 0..rows.pages() {
        let members: Vec<RowRef> = rows.page_refs(page).collect();
        visitor.page(rows, page, &members)?;
        merge.find(rows, &members, &mut into);
        visitor.merged(rows, &members, &into)?;
        let pairs: Vec<(RowRef, RowRef)> = members
            .iter()
            .zip(&into)
            .filter(|(from, to)| from != to)
            .map(|(&from, &to)| (from, to))
            .collect();
        if pairs.is_empty() {
            continue;
        }
        for state in &plan.states {
            match state.fold {
                Fold::Stored { .. } => stores.merge(rows, state, &pairs),
                _ => merge_state(rows, state, &pairs)?,
            }
        }
    }
    Ok(merge.into_ordered(rows))
}

struct Merge<'a> {
    plan: &'a Plan,
    directory: Directory,
    keys: Vec<usize>,
}

impl Merge<'_> {
    /// Finds the row into which each member goes.
    fn find(&mut self, rows: &RowPages, members: &[RowRef], into: &mut Vec<RowRef>) {
        let hashes: Vec<u64> = members.iter().map(|&row| rows.slot(row, self.plan.hash)).collect();
        let mut places: Vec<usize> =
            hashes.iter().map(|&hash| self.directory.place(hash)).collect();
        self.directory.warm(&places);
        into.clear();
        into.extend_from_slice(members);
        let mut todo: Vec<u32> = (0..members.len() as u32).collect();
        let (mut candidates, mut rejected) = (Vec::new(), Vec::new());
        while !todo.is_empty() {
            candidates.clear();
            for &number in &todo {
                let at = number as usize;
                let (place, entry) = self.directory.find(places[at], hashes[at]);
                places[at] = place;
                match entry {
                    Entry::Row(known) => {
                        into[at] = known;
                        candidates.push(number);
                    }
                    _ => {
                        self.directory.occupy(place, hashes[at], members[at]);
                        into[at] = members[at];
                    }
                }
            }
            rejected.clear();
            rows.split_equal_rows(&self.keys, members, into, &mut candidates, &mut rejected);
            std::mem::swap(&mut todo, &mut rejected);
            todo.iter().for_each(|&number| places[number as usize] += 1);
        }
    }

    fn into_ordered(self, rows: &RowPages) -> Vec<RowRef> {
        let by_key: Vec<RowOrder> = self
            .keys
            .iter()
            .map(|&column| RowOrder {
                column,
                descending: false,
                nulls_first: false,
                nullable: true,
            })
            .collect();
        let tie = |a, b| compare_rows(rows.layout(), &by_key, rows.at(a), rows.at(b));
        self.directory.into_ordered(|row| rows.slot(row, self.plan.hash), tie)
    }
}
