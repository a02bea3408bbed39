//! Finds out how a JSON file is to be read: how its records follow each other, and the columns and
//! their types from a sample of its records.
//!
//! What was declared is never doubted. The rest is guessed from the sample, says so, and is checked
//! while the file is read: a value that does not fit a type found here is an error there, and so
//! is a key that was not met.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::DataType;

use super::detect::Members;
use super::records::Layout;
use super::shape::Shape;
use super::token::{Fault, What, blanks, byte, value};
use super::{JsonColumn, JsonScan};
use crate::error::{Error, Result};
use crate::sources::file::{FileRef, InputFile};
use crate::sources::text::locate::{Locator, shown};
use crate::sources::text::window::{BOM, PADDING};

/// Bytes of the beginning of a file that are looked at, and of its middle and its end each.
const FIRST_BYTES: u64 = 2 << 20;
const OTHER_BYTES: u64 = 512 << 10;

/// A first record that is not whole in the first bytes is looked for in so many.
const FIRST_BYTES_MAX: u64 = 64 << 20;

/// What the user says about a file; `None` for what is to be found out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JsonOptions {
    /// Names and types of all columns; other keys are passed over.
    pub columns: Option<Vec<(String, DataType)>>,
    /// Types of some columns, by name.
    pub types: Vec<(String, DataType)>,
    /// How records follow each other.
    pub layout: Option<Layout>,
}

/// What is known of a file.
#[derive(Debug, Clone)]
pub struct JsonFacts {
    /// The file.
    pub file: FileRef,
    /// How its records follow each other.
    pub layout: Layout,
    /// Its columns.
    pub columns: Vec<JsonColumn>,
    /// Records that were looked at.
    pub sample_rows: usize,
    /// Rows in the file, as far as the sample tells.
    pub rows: f64,
    /// Whether the sample was the whole file.
    pub is_exact: bool,
    /// What was found of the values.
    members: Members,
}

impl JsonFacts {
    /// A scan of all columns and rows.
    pub fn scan(&self) -> JsonScan {
        JsonScan::new(self.file.clone(), self.layout, self.columns.clone())
    }

    /// What was found, in one line for people.
    pub fn describe(&self) -> String {
        let layout = match self.layout {
            Layout::Lines => "an object a line",
            Layout::Values => "objects one behind the other",
            Layout::Array => "one array of objects",
        };
        let detected = self.columns.iter().filter(|column| column.detected).count();
        let about = if self.is_exact { "" } else { "about " };
        format!(
            "{layout}; {detected} of {} types found from {} of {about}{:.0} rows",
            self.columns.len(),
            self.sample_rows,
            self.rows
        )
    }

    /// Gives several files of one table the columns that hold the values of all: each is then
    /// read with the same columns.
    ///
    /// # Errors
    /// `Input` when a type is declared of a column that no file has.
    pub fn unite(files: &mut [&mut JsonFacts], options: &JsonOptions) -> Result<()> {
        let mut all = Members::default();
        files.iter().for_each(|file| all.merge(&file.members));
        let Some(first) = files.first() else { return Ok(()) };
        let columns = columns(&first.file.path, &all, options)?;
        files.iter_mut().for_each(|file| file.columns.clone_from(&columns));
        Ok(())
    }
}

/// Finds out how the file at `path` is to be read, as far as it is not said.
///
/// # Errors
/// `Io` when it cannot be read; `Input` when it is no JSON, or has no records to take columns
/// from and none are declared.
pub fn sniff(path: &Path, options: &JsonOptions) -> Result<JsonFacts> {
    let facts = sniff_one(path, options)?;
    if facts.columns.is_empty() {
        return Err(Error::input(format!(
            "{} has no records with keys to take columns from; declare its columns",
            path.display()
        )));
    }
    Ok(facts)
}

/// As [`sniff`], for one of several files: it may be empty.
///
/// # Errors
/// As [`sniff`].
pub fn sniff_one(path: &Path, options: &JsonOptions) -> Result<JsonFacts> {
    let planned = FileRef::of(path)?;
    let file = Arc::new(InputFile::open(&planned)?);
    let mut sample = Sample { file: &file, members: Members::default(), rows: 0, bytes: 0 };
    let first_bytes = planned.size.min(FIRST_BYTES);
    let is_exact = first_bytes == planned.size;
    let layout = sample.beginning(first_bytes, options)?;
    if !is_exact && layout == Layout::Lines {
        let middle = (planned.size / 2).max(first_bytes);
        sample.lines(middle)?;
        sample.lines(planned.size.saturating_sub(OTHER_BYTES).max(middle))?;
    }
    let rows = match is_exact {
        true => sample.rows as f64,
        false => planned.size as f64 * sample.rows as f64 / sample.bytes.max(1) as f64,
    };
    Ok(JsonFacts {
        columns: columns(path, &sample.members, options)?,
        layout,
        sample_rows: sample.rows,
        rows,
        is_exact,
        members: sample.members,
        file: planned,
    })
}

fn columns(path: &Path, found: &Members, options: &JsonOptions) -> Result<Vec<JsonColumn>> {
    if let Some(declared) = &options.columns {
        return declared.iter().map(|(name, data_type)| declared_column(name, data_type)).collect();
    }
    let detected = |(name, shape)| JsonColumn { name, shape, detected: true };
    let mut columns: Vec<JsonColumn> = found.shapes().into_iter().map(detected).collect();
    for (name, data_type) in &options.types {
        let Some(column) = columns.iter_mut().find(|column| column.name == *name) else {
            let names: BTreeSet<&str> = columns.iter().map(|c| c.name.as_str()).collect();
            return Err(Error::input(format!(
                "{} has no column `{name}` to declare a type of; it has {}",
                path.display(),
                names.into_iter().collect::<Vec<_>>().join(", ")
            )));
        };
        *column = declared_column(name, data_type)?;
    }
    Ok(columns)
}

fn declared_column(name: &str, data_type: &DataType) -> Result<JsonColumn> {
    match Shape::of(data_type) {
        Some(shape) => Ok(JsonColumn { name: name.to_string(), shape, detected: false }),
        None => Err(Error::input(format!(
            "column `{name}` of a JSON file cannot be read as {data_type}; declare it as text and \
             cast it"
        ))),
    }
}

/// Records that are looked at.
struct Sample<'a> {
    file: &'a Arc<InputFile>,
    members: Members,
    rows: usize,
    bytes: usize,
}

impl Sample<'_> {
    /// Looks at the first bytes of the file, and finds its layout.
    fn beginning(&mut self, length: u64, options: &JsonOptions) -> Result<Layout> {
        let mut length = length;
        loop {
            let is_whole = length == self.file.size();
            let text = self.text(0, length, is_whole)?;
            let bytes = text.as_bytes();
            let begin = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
            let end = bytes.len() - PADDING;
            let layout = match options.layout {
                Some(layout) => layout,
                None => layout(bytes, begin),
            };
            let found = self.records(&text, (begin, end), layout);
            match found {
                Ok(()) => return Ok(layout),
                // What is wrong may only be that the text is cut off.
                Err(_) if !is_whole && self.rows > 0 => return Ok(layout),
                Err(_) if !is_whole && length < FIRST_BYTES_MAX => {
                    length = (length * 4).min(self.file.size());
                }
                Err(fault) => return Err(self.error(&text, &fault)),
            }
        }
    }

    /// Looks at lines from within the file.
    fn lines(&mut self, from: u64) -> Result<()> {
        let length = OTHER_BYTES.min(self.file.size() - from);
        let is_end = from + length == self.file.size();
        let text = self.text(from, length, is_end)?;
        let end = text.len() - PADDING;
        let Some(begin) = memchr::memchr(b'\n', text.as_bytes()) else { return Ok(()) };
        // A line that is wrong is reported when it is read.
        let _ = self.records(&text, (begin + 1, end), Layout::Lines);
        Ok(())
    }

    /// A part of the file, with zeros behind it. Characters that are cut at its ends are zeros
    /// too, and so is all that is no UTF-8 behind a good beginning.
    fn text(&self, from: u64, length: u64, is_end: bool) -> Result<String> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length + PADDING];
        self.file.read_at(from, &mut bytes[..length])?;
        if from > 0 {
            // Nothing is read before the first line end.
            let first = memchr::memchr(b'\n', &bytes).unwrap_or(length);
            bytes[..first].fill(0);
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let is_cut = !is_end && length - at < 4;
                if from == 0 && !is_cut {
                    let what = "this is not UTF-8; convert the file to UTF-8".to_string();
                    return Err(Locator::new(self.file).error(at as u64, what));
                }
                let mut bytes = error.into_bytes();
                bytes[at..].fill(0);
                String::from_utf8(bytes).map_err(|e| Error::internal(e.to_string()))
            }
        }
    }

    /// Adds the whole records between two positions; an error is where that ends.
    fn records(&mut self, text: &str, span: (usize, usize), layout: Layout) -> Result<(), Fault> {
        let bytes = text.as_bytes();
        let (begin, stop) = span;
        let mut at = blanks::<false>(bytes, begin);
        if layout == Layout::Array && at < stop {
            if byte(bytes, at) != b'[' {
                return Err(Fault::malformed(at, "an array of objects was expected"));
            }
            at = blanks::<false>(bytes, at + 1);
        }
        while at < stop {
            if layout == Layout::Array && byte(bytes, at) == b']' {
                return Ok(());
            }
            let end = match layout {
                Layout::Lines => value::<true>(bytes, at)?,
                Layout::Values | Layout::Array => value::<false>(bytes, at)?,
            };
            if byte(bytes, at) != b'{' {
                return Err(Fault { begin: at, end, what: What::NoObject });
            }
            self.members.add(text, at, 0);
            self.rows += 1;
            self.bytes += end - at + 1;
            at = blanks::<false>(bytes, end);
            if layout == Layout::Array && byte(bytes, at) == b',' {
                at = blanks::<false>(bytes, at + 1);
            }
        }
        Ok(())
    }

    fn error(&self, text: &str, fault: &Fault) -> Error {
        let bytes = text.as_bytes();
        let shown = shown(bytes.get(fault.begin..fault.end).unwrap_or_default());
        let message = match fault.what {
            What::Malformed(what) => format!("this is not JSON: {what}"),
            _ => format!("`{shown}` is no object; every record is one"),
        };
        let locator = Locator::new(self.file);
        locator.error((fault.begin as u64).min(self.file.size()), message)
    }
}

/// How the records of a file that begins like this follow each other.
fn layout(bytes: &[u8], begin: usize) -> Layout {
    let at = blanks::<false>(bytes, begin);
    if byte(bytes, at) == b'[' {
        return Layout::Array;
    }
    match value::<true>(bytes, at) {
        Ok(end) if matches!(byte(bytes, blanks::<true>(bytes, end)), b'\n' | 0) => Layout::Lines,
        _ if value::<false>(bytes, at).is_ok() => Layout::Values,
        _ => Layout::Lines,
    }
}
