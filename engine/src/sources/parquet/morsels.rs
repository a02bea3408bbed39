//! Cuts the row groups of a scan's files into morsels and hands them out in file order.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::batch::{CHUNK_ROWS, MORSEL_ROWS};

/// A slice of a row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Morsel {
    /// Number of the file within the scan.
    pub file: usize,
    /// Number of the row group within the file.
    pub row_group: usize,
    /// Rows within the row group.
    pub rows: Range<usize>,
}

/// All morsels of a scan and the cursor over them.
#[derive(Debug, Default)]
pub(super) struct Morsels {
    list: Vec<Morsel>,
    next: AtomicUsize,
}

impl Morsels {
    /// Adds a row group of `rows` rows. A row group that is larger than a morsel is cut into
    /// slices of about the same size.
    pub fn add(&mut self, file: usize, row_group: usize, rows: usize) {
        let slices = rows.div_ceil(MORSEL_ROWS).max(1);
        let slice_rows = rows.div_ceil(slices).next_multiple_of(CHUNK_ROWS);
        let mut start = 0;
        while start < rows {
            let end = rows.min(start + slice_rows);
            self.list.push(Morsel { file, row_group, rows: start..end });
            start = end;
        }
    }

    /// Number of morsels.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The next morsel and its number.
    pub fn take(&self) -> Option<(u64, &Morsel)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.list.get(number).map(|morsel| (number as u64, morsel))
    }

    /// The next morsel, which whoever takes one gets.
    pub fn peek(&self) -> Option<&Morsel> {
        self.list.get(self.next.load(Ordering::Relaxed))
    }

    /// Begins again with the first morsel.
    pub fn reset(&self) {
        self.next.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_row_groups_are_cut_evenly_and_small_ones_are_not() {
        let mut morsels = Morsels::default();
        morsels.add(0, 0, 122_880);
        morsels.add(0, 1, 0);
        morsels.add(1, 0, MORSEL_ROWS + 1);
        let mut taken = Vec::new();
        while let Some((number, morsel)) = morsels.take() {
            assert_eq!(number, taken.len() as u64);
            taken.push((morsel.file, morsel.row_group, morsel.rows.clone()));
        }
        let half = MORSEL_ROWS / 2 + CHUNK_ROWS;
        assert_eq!(taken.len(), 3);
        assert_eq!(taken[0], (0, 0, 0..122_880));
        assert_eq!(taken[1], (1, 0, 0..half));
        assert_eq!(taken[2], (1, 0, half..MORSEL_ROWS + 1));
        assert!(morsels.peek().is_none() && morsels.take().is_none());
        morsels.reset();
        assert_eq!(morsels.peek().map(|morsel| morsel.rows.clone()), Some(0..122_880));
        assert!(morsels.take().is_some());

        let mut large = Morsels::default();
        large.add(0, 0, 10_000_000);
        assert_eq!(large.len(), 77);
    }
}
