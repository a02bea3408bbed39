//! Runs code that is not ours over bytes that may be corrupt.

use crate::error::{Error, Result};
use crate::panics::caught;

/// What `f` gives; a panic in it becomes the error that `corrupt` makes of its message.
pub(super) fn guarded<T>(
    f: impl FnOnce() -> Result<T>,
    corrupt: impl FnOnce(&str) -> Error,
) -> Result<T> {
    caught(f).unwrap_or_else(|panic| Err(corrupt(panic.message.as_deref().unwrap_or("bad values"))))
}
