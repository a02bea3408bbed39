//! Sorts the rows of a batch by group when groups are few, so that a group's values can be put
//! together in registers.

use super::table::NUMBERED_GROUPS;
use crate::memory::rows::RowRef;

/// Rows per group below which sorting does not pay.
const ROWS_PER_GROUP_MIN: usize = 8;

/// A batch's rows by group.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    /// The positions of the rows, those of a group side by side and in their order.
    pub(super) positions: Vec<u32>,
    /// The groups that have rows, and where their positions end.
    pub(super) runs: Vec<(RowRef, usize)>,
}

impl Clusters {
    /// Whether sorting is worth its while for these many groups and rows.
    pub(super) fn pays(groups: usize, rows: usize) -> bool {
        groups <= NUMBERED_GROUPS && rows >= groups * ROWS_PER_GROUP_MIN
    }

    /// Sorts `positions` by `numbers`, which are below the number of `groups`.
    pub(super) fn sort(&mut self, positions: &[u32], numbers: &[u32], groups: &[RowRef]) {
        let mut next = [0usize; NUMBERED_GROUPS];
        numbers.iter().for_each(|&number| next[number as usize % NUMBERED_GROUPS] += 1);
        self.runs.clear();
        let mut end = 0;
        for (next, &group) in next.iter_mut().zip(groups) {
            let start = end;
            end += *next;
            if *next > 0 {
                self.runs.push((group, end));
            }
            *next = start;
        }
        self.positions.clear();
        self.positions.resize(positions.len(), 0);
        for (&position, &number) in positions.iter().zip(numbers) {
            let at = &mut next[number as usize % NUMBERED_GROUPS];
            self.positions[*at] = position;
            *at += 1;
        }
    }

    /// All rows in one run.
    pub(super) fn single(&mut self, positions: &[u32], group: RowRef) {
        self.positions.clear();
        self.positions.extend_from_slice(positions);
        self.runs.clear();
        self.runs.push((group, positions.len()));
    }
}
