//! The synchronisation primitives of the small concurrent parts: `loom`'s under `--cfg loom`, so
//! that all interleavings can be explored, the standard library's otherwise.
//!
//! Reference counts are the standard library's in both: `loom`'s `Arc` cannot hold a trait object,
//! and the protocols do not depend on when a count reaches zero.

pub(crate) use std::sync::Arc;

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU8, Ordering};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU8, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

/// Locks, whether or not somebody panicked while holding the lock. Only for state that is
/// consistent after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Waits on a condition variable, as [`lock`] does.
pub(crate) fn wait<'a, T>(bell: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    bell.wait(guard).unwrap_or_else(|e| e.into_inner())
}
