//! Files as sources of rows: opens them, tells what they say of themselves, makes their scans.
//!
//! * `one`: one file; `set`: many files as one table.
//! * `pattern`: files by patterns of their names; `partitions`: columns in their paths.
//! * `columns`: the columns of a set; `statistics`: what is known about its rows.

mod columns;
mod one;
mod partitions;
mod pattern;
mod set;
mod statistics;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_engine::memory::Governor;
use gristmill_engine::{Error, Result};

use self::one::{OneFile, Read};
pub(crate) use self::pattern::is_pattern;
use self::set::FileSet;
use crate::catalog::{DataSource, Format, Reading};

/// Opens a file, all files of a directory, or those that a pattern matches.
///
/// # Errors
/// `Io` when one cannot be read, `Input` when there is none or it is not what its format says.
pub(crate) fn open(
    path: &Path,
    reading: &Reading,
    memory: &Governor,
) -> Result<Arc<dyn DataSource>> {
    if is_set(path) {
        return Ok(Arc::new(FileSet::open(path, reading, memory)?));
    }
    Ok(Arc::new(OneFile::new(Read::open(path, reading, memory)?)?))
}

/// Whether a path names a directory or is a pattern: a table of any number of files.
pub(crate) fn is_set(path: &Path) -> bool {
    let ends_with_slash = path.to_str().is_some_and(|text| text.ends_with('/'));
    ends_with_slash || path.is_dir() || (pattern::is_pattern(path) && !path.exists())
}

/// The format of a path's ending, or of the files of a set.
///
/// # Errors
/// `Io` for a directory that cannot be read; `Input` when nothing names a format, or files name
/// several.
pub(crate) fn format_of(path: &Path) -> Result<Format> {
    let unknown = |path: &Path| {
        let path = path.display();
        Error::input(format!("{path}: the ending names no format; {}", Format::ENDINGS))
    };
    if !is_set(path) || Format::of_path(path).is_some() {
        return Format::of_path(path).ok_or_else(|| unknown(path));
    }
    let files = list(path)?;
    let first = files.first().ok_or_else(|| none_found(path))?;
    let format = Format::of_path(first).ok_or_else(|| unknown(first))?;
    match files.iter().find(|file| Format::of_path(file) != Some(format)) {
        Some(other) => Err(Error::input(format!(
            "{} and {} are of different formats; read them separately, as with '{}'",
            first.display(),
            other.display(),
            path.join("*.parquet").display()
        ))),
        None => Ok(format),
    }
}

/// The files of a set, by name.
fn list(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() { pattern::below(path) } else { pattern::matches(path) }
}

fn none_found(path: &Path) -> Error {
    let text = path.display();
    Error::input(match path.is_dir() {
        true => format!("there is no file in the directory {text}"),
        false => format!("no file matches '{text}'"),
    })
}
