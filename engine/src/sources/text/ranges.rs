//! Cuts a file whose records are lines into byte ranges, handed out in the order of the file.
//!
//! A line belongs to the range that holds its first byte. Where lines begin shows in the bytes
//! alone, so workers need not wait for each other.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a range, unless the file is small. It fits a core's share of the caches.
const RANGE_BYTES: u64 = 1 << 20;

/// Smallest range into which a small file is cut.
const RANGE_BYTES_MIN: u64 = 64 << 10;

/// Ranges per thread that a small file is cut into.
const RANGES_PER_THREAD: u64 = 4;

/// Part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sources) struct Range {
    /// Its number.
    pub(in crate::sources) number: u64,
    /// Its first byte.
    pub(in crate::sources) from: u64,
    /// The byte behind its last.
    pub(in crate::sources) to: u64,
}

/// The ranges of a file and the cursor over them.
#[derive(Debug)]
pub(in crate::sources) struct Ranges {
    size: u64,
    range_bytes: u64,
    next: AtomicU64,
}

impl Ranges {
    /// The ranges of a file of this size, for so many threads.
    pub(in crate::sources) fn new(size: u64, threads: usize) -> Self {
        let share = size / (threads.max(1) as u64 * RANGES_PER_THREAD);
        Self::of(size, share.clamp(RANGE_BYTES_MIN, RANGE_BYTES))
    }

    /// Ranges of so many bytes.
    pub(in crate::sources) fn of(size: u64, range_bytes: u64) -> Self {
        Ranges { size, range_bytes: range_bytes.max(1), next: AtomicU64::new(0) }
    }

    /// Number of ranges.
    pub(in crate::sources) fn count(&self) -> u64 {
        self.size.div_ceil(self.range_bytes)
    }

    /// The next range.
    pub(in crate::sources) fn take(&self) -> Option<Range> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let from = number.checked_mul(self.range_bytes).filter(|&from| from < self.size)?;
        Some(Range { number, from, to: (from + self.range_bytes).min(self.size) })
    }

    /// Begins again with the first range.
    pub(in crate::sources) fn reset(&self) {
        self.next.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_file_once() {
        for (size, bytes, count) in [(0, 4, 0), (3, 4, 1), (4, 4, 1), (10, 4, 3)] {
            let ranges = Ranges::of(size, bytes);
            let all: Vec<Range> = std::iter::from_fn(|| ranges.take()).collect();
            assert_eq!((all.len() as u64, ranges.count()), (count, count));
            assert!(all.windows(2).all(|pair| pair[0].to == pair[1].from));
            assert_eq!(all.last().map_or(0, |range| range.to), size);
            ranges.reset();
            assert_eq!(ranges.take().is_some(), count > 0);
        }
    }
}
