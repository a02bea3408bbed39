//! Counters that anyone may add to.

use std::cell::Cell;

thread_local! {
    static COMPOSITIONS: Cell<u64> = const { Cell::new(0) };
}

/// Notes that index vectors were composed.
pub fn count_compositions(count: usize) {
    COMPOSITIONS.with(|c| c.set(c.get() + count as u64));
}

/// Index compositions of this thread since it started.
pub fn compositions() -> u64 {
    COMPOSITIONS.with(Cell::get)
}
