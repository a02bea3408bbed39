//! An allocator that counts, to be set as the program's global allocator.
//!
//! Each thread adds up its own allocations and passes them on when they come to 64 KB, so that
//! counting costs an addition and a comparison. The figures are therefore off by up to 64 KB a
//! thread, those that have ended included.
//!
//! There is one set of counters per process because there is one global allocator. Who wants to
//! look at the memory of the process as threads take more of it is called when they do.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// A thread passes its count on when it has come to this many bytes.
const STEP: i64 = 64 << 10;

static INSTALLED: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);
/// What is called when a thread has grown, with the bytes.
static WATCH: OnceLock<fn(usize)> = OnceLock::new();

thread_local! {
    static PENDING: Cell<i64> = const { Cell::new(0) };
}

/// Passes everything on to `A` and counts the bytes that are allocated.
///
/// ```
/// use std::alloc::System;
/// #[global_allocator]
/// static ALLOCATOR: gristmill_engine::memory::Counting<System> =
///     gristmill_engine::memory::Counting::new(System);
///
/// let block = vec![0u8; 1 << 20];
/// assert!(gristmill_engine::memory::live_bytes().is_some_and(|b| b >= 1 << 20));
/// drop(block);
/// ```
pub struct Counting<A> {
    inner: A,
}

impl<A> Counting<A> {
    /// Counts what `inner` allocates.
    pub const fn new(inner: A) -> Self {
        Counting { inner }
    }
}

/// Bytes allocated now; `None` when the program's allocator is not a [`Counting`] one.
pub fn live_bytes() -> Option<usize> {
    INSTALLED.load(Ordering::Relaxed).then(|| clamp(LIVE.load(Ordering::Relaxed)))
}

/// The most bytes ever allocated at once; `None` when the program's allocator does not count.
pub fn peak_bytes() -> Option<usize> {
    INSTALLED.load(Ordering::Relaxed).then(|| clamp(PEAK.load(Ordering::Relaxed)))
}

/// Has `grown` called, from now on, by every thread that has come to hold some more bytes, with
/// their number; what other threads hold less does not count. The first to ask is the one called.
///
/// # Safety
/// It is called where an allocation ends: it must not unwind, and not allocate.
pub unsafe fn watch_growth(grown: fn(usize)) {
    let _ = WATCH.set(grown);
}

fn clamp(bytes: i64) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

fn count(bytes: i64) {
    // A thread that is being torn down has no counter any more; its last bytes go uncounted.
    let _ = PENDING.try_with(|pending| {
        let sum = pending.get() + bytes;
        if sum.abs() < STEP {
            pending.set(sum);
            return;
        }
        pending.set(0);
        let live = LIVE.fetch_add(sum, Ordering::Relaxed) + sum;
        if sum > 0 {
            PEAK.fetch_max(live, Ordering::Relaxed);
        }
        INSTALLED.store(true, Ordering::Relaxed);
        if let (true, Some(grown)) = (sum > 0, WATCH.get()) {
            grown(clamp(sum));
        }
    });
}

fn size(layout: &Layout) -> i64 {
    // A layout is at most isize::MAX bytes.
    layout.size() as i64
}

// SAFETY: every call is passed on unchanged to an allocator that keeps the contract, and counting
// neither allocates nor unwinds, nor does who watches it, as they have promised.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let block = unsafe { self.inner.alloc(layout) };
        if !block.is_null() {
            count(size(&layout));
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-size(&layout));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { self.inner.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        let block = unsafe { self.inner.alloc_zeroed(layout) };
        if !block.is_null() {
            count(size(&layout));
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        let moved = unsafe { self.inner.realloc(block, layout, new_size) };
        if !moved.is_null() {
            count(new_size as i64 - size(&layout));
        }
        moved
    }
}
