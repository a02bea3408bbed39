//! Counters that anyone may add to.
//!
//! * `meter`: what is measured about the operators of a query that is analyzed.

mod meter;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

pub use meter::{At, Count, Meter, at, at_now, count};

static INPUT_BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COMPOSITIONS: Cell<u64> = const { Cell::new(0) };
}

/// Notes that lists of indices were computed.
pub fn count_compositions(count: usize) {
    COMPOSITIONS.with(|total| total.set(total.get() + count as u64));
}

/// Lists of indices computed so far on this thread.
pub fn compositions() -> u64 {
    COMPOSITIONS.with(Cell::get)
}

/// Notes that bytes of an input file were read.
pub fn count_input_bytes(bytes: usize) {
    INPUT_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    count(Count::ReadBytes, bytes as u64);
}

/// Bytes of input files that the process has read, those that planning looked at among them.
pub fn input_bytes() -> u64 {
    INPUT_BYTES.load(Ordering::Relaxed)
}
