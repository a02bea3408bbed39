//! Runs code that is not ours over bytes that may be corrupt.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result, panic_message};

/// What `f` gives; a panic in it becomes the error that `corrupt` makes of its message.
pub(super) fn guarded<T>(
    f: impl FnOnce() -> Result<T>,
    corrupt: impl FnOnce(&str) -> Error,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(panic) => Err(corrupt(panic_message(panic.as_ref()).unwrap_or("bad values"))),
    }
}
