//! What is wrong with the bytes of an Arrow file.

use std::path::Path;

use arrow::error::ArrowError;

use crate::error::{Error, Result};
use crate::sources::guard;

/// The error of a file whose bytes are not what the format says.
pub(super) fn corrupt(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::input(format!("{} is not a readable Arrow file: {what}", path.display()))
}

/// An error of the `arrow` crate while it read `path`.
pub(super) fn from_arrow(path: &Path, error: ArrowError) -> Error {
    match error {
        ArrowError::NotYetImplemented(what) => {
            Error::input(format!("{} cannot be read: {what}", path.display()))
        }
        other => corrupt(path, other),
    }
}

/// Runs code of the `arrow` crate over the bytes of `path`; a panic means that they are corrupt.
pub(super) fn guarded<T>(path: &Path, f: impl FnOnce() -> Result<T>) -> Result<T> {
    guard::guarded(f, |what| corrupt(path, what))
}
