//! A bit for each row of a store, set by many threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Rows that are marked, by their position. Marks are only ever set, so threads need no order
/// among themselves; who reads them comes after all that set them.
#[derive(Debug)]
pub struct RowMarks {
    words: Vec<AtomicU64>,
}

impl RowMarks {
    /// Marks for so many rows, none set.
    pub fn new(rows: usize) -> Self {
        RowMarks { words: (0..rows.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Bytes that the marks of so many rows take.
    pub fn size_bytes(rows: usize) -> usize {
        rows.div_ceil(64) * size_of::<u64>()
    }

    /// Marks a row.
    #[inline]
    pub fn set(&self, row: usize) {
        let (word, bit) = (&self.words[row / 64], 1u64 << (row % 64));
        // Most rows are marked many times or never: a look costs less than a locked write.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether a row is marked.
    #[inline]
    pub fn is_set(&self, row: usize) -> bool {
        self.words[row / 64].load(Ordering::Relaxed) >> (row % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_several_threads_are_all_there() {
        let marks = RowMarks::new(1001);
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let marks = &marks;
                scope.spawn(move || {
                    (0..1001).filter(|row| row % 3 == thread || row % 7 == 0).for_each(|row| {
                        if thread != 1 {
                            marks.set(row);
                        }
                    });
                });
            }
        });
        for row in 0..1001 {
            assert_eq!(marks.is_set(row), row % 3 != 1 || row % 7 == 0, "{row}");
        }
        assert_eq!(RowMarks::size_bytes(1001), 128);
        assert_eq!(RowMarks::size_bytes(0), 0);
    }
}
