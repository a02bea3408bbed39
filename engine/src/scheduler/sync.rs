//! The synchronisation primitives of the small concurrent parts: `loom`'s under `--cfg loom`, so
//! that all interleavings can be explored, the standard library's otherwise.

#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Mutex};

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Mutex};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
