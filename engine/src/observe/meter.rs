//! What is measured about the operators of a query that is analyzed.
//!
//! A thread that works for an operator is *at* its meter. Whoever reads a file or spills counts to
//! the meter that the thread is at, and a reservation to the one that it was taken at: none of them
//! knows of operators. Threads that work for a query which is not analyzed are at no meter.
//!
//! Concurrency: counters that all workers add to. Exact when the query is over.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Rows that came out.
    Rows,
    /// Chunks that they came in.
    Chunks,
    /// Time in calls of the operator's roles, of all threads together.
    BusyNanos,
    /// Bytes read from input files.
    ReadBytes,
    /// Row groups of the files.
    RowGroups,
    /// Those that are left out because of the conditions.
    RowGroupsSkipped,
    /// Rows that indexes and statistics spared reading.
    RowsSkipped,
    /// Data pages decompressed.
    Pages,
    /// Bytes written to the spill space.
    SpilledBytes,
}

impl Count {
    /// All of them, in order.
    pub const ALL: [Count; 9] = [
        Count::Rows,
        Count::Chunks,
        Count::BusyNanos,
        Count::ReadBytes,
        Count::RowGroups,
        Count::RowGroupsSkipped,
        Count::RowsSkipped,
        Count::Pages,
        Count::SpilledBytes,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Count::Rows => "rows",
            Count::Chunks => "chunks",
            Count::BusyNanos => "busy_ns",
            Count::ReadBytes => "read_bytes",
            Count::RowGroups => "row_groups",
            Count::RowGroupsSkipped => "row_groups_skipped",
            Count::RowsSkipped => "rows_skipped",
            Count::Pages => "pages",
            Count::SpilledBytes => "spilled_bytes",
        }
    }
}

/// The figures of one operator, or of a query.
#[derive(Debug, Default)]
pub struct Meter {
    counts: [AtomicU64; Count::ALL.len()],
    reserved: AtomicUsize,
    peak_reserved: AtomicUsize,
    /// What counts for this one counts there too.
    whole: Option<Arc<Meter>>,
}

impl Meter {
    /// The meter of a part of what `whole` measures.
    pub fn within(whole: &Arc<Meter>) -> Meter {
        Meter { whole: Some(whole.clone()), ..Meter::default() }
    }

    /// Adds to a count.
    pub fn add(&self, count: Count, n: u64) {
        self.counts[count as usize].fetch_add(n, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add(count, n);
        }
    }

    /// A count as it is now.
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// Notes that bytes were reserved.
    pub fn reserve(&self, bytes: usize) {
        let now = self.reserved.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak_reserved.fetch_max(now, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.reserve(bytes);
        }
    }

    /// Notes that reserved bytes were given back.
    pub fn release(&self, bytes: usize) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.release(bytes);
        }
    }

    /// The most bytes ever reserved at once.
    pub fn peak_reserved(&self) -> usize {
        self.peak_reserved.load(Ordering::Relaxed)
    }
}

thread_local! {
    static AT: RefCell<Option<Arc<Meter>>> = const { RefCell::new(None) };
}

/// The thread is at a meter until this is dropped; then it is where it was before.
#[derive(Debug)]
pub struct At {
    before: Option<Arc<Meter>>,
}

/// Puts the thread at a meter, or at none.
#[must_use]
pub fn at(meter: Option<Arc<Meter>>) -> At {
    At { before: AT.with(|at| at.replace(meter)) }
}

/// The meter that the thread is at.
pub fn at_now() -> Option<Arc<Meter>> {
    AT.with(|at| at.borrow().clone())
}

/// Adds to a count of the meter that the thread is at, if it is at one.
pub fn count(count: Count, n: u64) {
    AT.with(|at| {
        if let Some(meter) = &*at.borrow() {
            meter.add(count, n);
        }
    });
}

impl Drop for At {
    fn drop(&mut self) {
        let before = self.before.take();
        let left = AT.with(|at| at.replace(before));
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_counts_to_the_meter_it_is_at() {
        let whole = Arc::new(Meter::default());
        let [a, b] = [0, 1].map(|_| Arc::new(Meter::within(&whole)));
        count(Count::Pages, 100);
        {
            let _a = at(Some(a.clone()));
            count(Count::Pages, 1);
            {
                let _b = at(Some(b.clone()));
                count(Count::Pages, 10);
                let _none = at(None);
                count(Count::Pages, 100);
            }
            count(Count::Pages, 2);
        }
        assert!(at_now().is_none());
        let pages = [&a, &b, &whole].map(|meter| meter.get(Count::Pages));
        assert_eq!(pages, [3, 10, 13]);
    }

    #[test]
    fn peaks_are_of_what_is_held_at_once() {
        let whole = Arc::new(Meter::default());
        let [a, b] = [0, 1].map(|_| Meter::within(&whole));
        a.reserve(10);
        a.release(10);
        b.reserve(7);
        a.reserve(5);
        assert_eq!([&a, &b, &*whole].map(Meter::peak_reserved), [10, 7, 12]);
    }

    #[test]
    fn counts_are_in_the_order_of_their_numbers() {
        for (number, count) in Count::ALL.into_iter().enumerate() {
            assert_eq!(count as usize, number, "{}", count.name());
        }
    }
}
