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

/// The numbers of groups, when they are few, by where their rows are.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The groups they are of.
    generation: u64,
    groups: usize,
    /// By page, where the numbers of its places begin.
    pages: Vec<u32>,
    /// By place in a page, of which rows begin at some.
    places: Vec<u8>,
}

/// Bytes of a place: rows begin at multiples of it.
const PLACE_BYTES: usize = 8;

impl Numbers {
    /// Makes them those of these groups, of which there are at most [`NUMBERED_GROUPS`]; the
    /// generation changes when groups are elsewhere.
    pub(super) fn learn(&mut self, generation: u64, groups: &[RowRef]) {
        if (self.generation, self.groups) == (generation, groups.len()) {
            return;
        }
        (self.generation, self.groups) = (generation, groups.len());
        self.pages.clear();
        self.pages.resize(groups.iter().map(|row| row.page() + 1).max().unwrap_or(0), 0);
        for row in groups {
            let places = &mut self.pages[row.page()];
            *places = (*places).max((row.offset() / PLACE_BYTES) as u32 + 1);
        }
        let mut begin = 0;
        for places in &mut self.pages {
            begin += std::mem::replace(places, begin);
        }
        self.places.clear();
        self.places.resize(begin as usize, 0);
        for (number, &row) in groups.iter().enumerate() {
            let place = self.place(row);
            self.places[place] = number as u8;
        }
    }

    #[inline]
    fn place(&self, row: RowRef) -> usize {
        self.pages[row.page()] as usize + row.offset() / PLACE_BYTES
    }

    /// The number of one of the groups.
    #[inline]
    pub(super) fn of(&self, row: RowRef) -> u32 {
        u32::from(self.places[self.place(row)])
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_groups_wherever_they_are() {
        let mut numbers = Numbers::default();
        let few = [RowRef::new(0, 0), RowRef::new(0, 40), RowRef::new(0, 80)];
        // Not in their order, and with pages between that have none.
        let many: Vec<RowRef> = (0..NUMBERED_GROUPS)
            .map(|number| RowRef::new(number * 7 % 5 * 2, number / 5 * 24))
            .collect();
        for (generation, groups) in [(0, &few[..2]), (0, &few), (1, &many), (2, &few), (3, &[])] {
            numbers.learn(generation, groups);
            let found: Vec<u32> = groups.iter().map(|&row| numbers.of(row)).collect();
            let expected: Vec<u32> = (0..groups.len() as u32).collect();
            assert_eq!(found, expected, "{generation}");
        }
    }
}
