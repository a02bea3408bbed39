//! Files as sources of rows: opens them, tells what they say of themselves, makes their scans.
//!
//! * `one`: one file; `set`: many files as one table.
//! * `pattern`: files by patterns of their names; `partitions`: columns in their paths.
//! * `columns`: the columns of a set, `places`: by their names; `statistics`: what is known about
//!   its rows.

mod columns;
mod one;
mod partitions;
mod pattern;
mod places;
mod set;
mod statistics;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use gristmill_engine::memory::Governor;
use gristmill_engine::{Error, Result};

use self::one::{OneFile, Read};
pub(crate) use self::pattern::is_pattern;
use self::set::FileSet;
use crate::catalog::{DataSource, FileTable, Format, Reading};
use crate::sql::type_name;

/// Opens a file, all files of a directory, or those that a pattern matches.
///
/// # Errors
/// `Io` when one cannot be read, `Input` when there is none, it is not what its format says, or
/// other columns were declared.
pub(crate) fn open(file: &FileTable, memory: &Governor) -> Result<Arc<dyn DataSource>> {
    let (path, reading) = (file.path.as_path(), declared(file));
    let opened: Arc<dyn DataSource> = match is_set(path) {
        true => Arc::new(FileSet::open(path, &reading, memory)?),
        false => match OneFile::new(Read::open(path, &reading, memory)?)? {
            // A table of files may have other types than they have.
            file if columns::has_others(&file.schema()) => {
                Arc::new(FileSet::open(path, &reading, memory)?)
            }
            file => Arc::new(file),
        },
    };
    if matches!(file.reading, Reading::Parquet | Reading::Arrow | Reading::Text) {
        check_declared(file, &opened.schema())?;
    }
    Ok(opened)
}

/// How a file is to be read, with the columns that were declared where files do not say theirs.
fn declared(file: &FileTable) -> Reading {
    let column = |field: &Field| (field.name().clone(), field.data_type().clone());
    let columns = file.columns.iter().map(column);
    match &file.reading {
        same if file.columns.is_empty() => same.clone(),
        Reading::Csv(options) => Reading::Csv(options.clone().columns(columns)),
        Reading::Json(options) => {
            let mut options = options.clone();
            options.columns = Some(columns.collect());
            Reading::Json(options)
        }
        same => same.clone(),
    }
}

/// What was declared of a file that says itself what it holds must be what it says.
fn check_declared(file: &FileTable, schema: &Schema) -> Result<()> {
    if file.columns.is_empty() {
        return Ok(());
    }
    let path = file.path.display();
    let (declared, found) = (file.columns.len(), schema.fields().len());
    if declared != found {
        let message = format!("{declared} columns are declared for {path}, which has {found}");
        return Err(Error::input(format!("{message}; leave the list of columns out")));
    }
    for (declared, found) in file.columns.iter().zip(schema.fields()) {
        let types = [declared, found.as_ref()].map(|field| type_name(field.data_type()));
        if declared.name() != found.name() || types[0] != types[1] {
            return Err(Error::input(format!(
                "the column {} {} is declared for {path}, which has {} {} there; leave the list \
                 of columns out",
                declared.name(),
                types[0],
                found.name(),
                types[1]
            )));
        }
    }
    Ok(())
}

/// The Boolean that a text writes.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Whether a path names a directory or is a pattern: a table of any number of files.
pub(crate) fn is_set(path: &Path) -> bool {
    let ends_with_slash = path.to_str().is_some_and(|text| text.ends_with('/'));
    ends_with_slash || path.is_dir() || (pattern::is_pattern(path) && !path.exists())
}

/// Whether a file, or a directory of files, that may not be there yet is among those of a
/// directory or a pattern.
pub(crate) fn is_one_of(file: &Path, set: &Path) -> bool {
    file.starts_with(set) || set.starts_with(file) || (is_pattern(set) && pattern::takes(set, file))
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
            all_like(&pattern::base(path), first).display()
        ))),
        None => Ok(format),
    }
}

/// The pattern of the files in a directory that end like one of them.
fn all_like(directory: &Path, file: &Path) -> PathBuf {
    directory.join("*").with_extension(file.extension().unwrap_or_default())
}

/// The files of a set, by name.
fn list(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() { pattern::below(path) } else { pattern::matches(path) }
}

/// The files of a set that are read so, by name: of a directory those whose endings name no other
/// format.
fn list_of(path: &Path, reading: &Reading) -> Result<Vec<PathBuf>> {
    let mut files = list(path)?;
    if path.is_dir() {
        let format = reading.format();
        files.retain(|file| Format::of_path(file).is_none_or(|named| named == format));
    }
    Ok(files)
}

fn none_found(path: &Path) -> Error {
    let text = path.display();
    if path.is_dir() {
        return Error::input(format!("there is no file to read in the directory {text}"));
    }
    let base = pattern::base(path);
    let place = if base.as_os_str().is_empty() { Path::new(".") } else { base.as_path() };
    Error::input(match place.is_dir() {
        true => format!("no file in the directory {} matches '{text}'", place.display()),
        false => format!("no file matches '{text}': there is no directory {}", place.display()),
    })
}
