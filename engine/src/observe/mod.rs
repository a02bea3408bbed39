//! Counters that anyone may add to.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

static INPUT_BYTES: AtomicU64 = AtomicU64::new(0);

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

/// Notes that bytes of an input file were read.
pub fn count_input_bytes(bytes: usize) {
    INPUT_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// Bytes of input files that the process has read, those that planning looked at among them.
pub fn input_bytes() -> u64 {
    INPUT_BYTES.load(Ordering::Relaxed)
}
