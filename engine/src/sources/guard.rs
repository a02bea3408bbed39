//! Runs code that is not ours over bytes that may be corrupt.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, Result};

/// What `f` gives; a panic in it becomes the error that `corrupt` makes of its message.
pub(super) fn guarded<T>(
    f: impl FnOnce() -> Result<T>,
    corrupt: impl FnOnce(&str) -> Error,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(panic) => Err(corrupt(text(panic.as_ref()))),
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("bad values")
}
