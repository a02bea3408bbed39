//! What the `parquet` crate reports, sorted by who must act.
//!
//! The crate panics on some corrupt input; [`guarded`] turns that into an error of the file.

use std::io;
use std::path::Path;

use parquet::errors::ParquetError;

use crate::error::{Error, Result};
use crate::sources::guard;

/// The error of a file whose bytes are not what the format says.
pub(super) fn corrupt(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::input(format!("{} is not a readable Parquet file: {what}", path.display()))
}

/// An error of the `parquet` crate while it read `path`. Errors of the file system and our own,
/// which passed through it, come out as they were.
pub(super) fn from_parquet(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => match other.downcast::<io::Error>() {
                Ok(io) => from_reader(path, *io),
                Err(other) => corrupt(path, other),
            },
        },
        ParquetError::NYI(what) => {
            Error::input(format!("{} cannot be read: {what}", path.display()))
        }
        ParquetError::General(what) | ParquetError::EOF(what) | ParquetError::ArrowError(what) => {
            corrupt(path, what)
        }
        other => corrupt(path, other),
    }
}

/// An error of a reader: the file's is one of ours, all others are of decoders over its bytes.
fn from_reader(path: &Path, error: io::Error) -> Error {
    let what = error.to_string();
    match error.into_inner().map(|inner| inner.downcast::<Error>()) {
        Some(Ok(ours)) => *ours,
        Some(Err(_)) | None => corrupt(path, what),
    }
}

/// Our error on its way through the `parquet` crate.
pub(super) fn through_parquet(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Runs code of the `parquet` crate over the bytes of `path`; a panic means that they are corrupt.
pub(super) fn guarded<T>(path: &Path, f: impl FnOnce() -> Result<T>) -> Result<T> {
    guard::guarded(f, |what| corrupt(path, what))
}
