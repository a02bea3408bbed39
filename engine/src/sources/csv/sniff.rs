//! Finds out how a CSV file is to be read: its delimiter, whether it has a header, what it writes
//! for NULL, and the types of its columns, from a sample of its records.
//!
//! What was declared is never doubted. The rest is guessed from the sample, says so, and is
//! checked while the file is read: a value that does not fit a type found here is an error there.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::DataType;

use super::detect::Forms;
use super::facts::{CsvFacts, declared_column};
use super::found::Found;
use super::options::CsvCompression;
use super::preamble::Preamble;
use super::sample::Sample;
use super::structure::Marks;
use super::{CsvDialect, CsvOptions};
use crate::error::{Error, Result};
use crate::memory::Governor;
use crate::sources::text::locate::Locator;
use crate::sources::{Compression, FileRef, InputFile};

/// Delimiters that are tried, the likelier ones first.
const DELIMITERS: [char; 4] = [',', '\t', ';', '|'];

/// Records that a delimiter is tried on.
const TRIED_RECORDS: usize = 500;

/// A text has no more zeros than one in so many bytes.
const ZEROS_MIN: usize = 8;

/// Finds out how the file at `path` is to be read, as far as it is not said.
///
/// # Errors
/// `Io` when it cannot be read; `Input` when it is empty and no columns are declared, is no text,
/// or is not what was declared; `OutOfMemory` when there is not enough for a sample.
pub fn sniff(path: &Path, options: &CsvOptions, memory: &Governor) -> Result<CsvFacts> {
    let planned = FileRef::of(path)?;
    let mut dialect = said(options);
    dialect.check_formats()?;
    let forms = Forms { date: dialect.date_format()?, timestamp: dialect.timestamp_format()? };
    let file = Arc::new(InputFile::open(&planned)?);
    if planned.size == 0 {
        return empty(planned, dialect, options);
    }
    // Whether there is a header is not known yet; what may stand before one is never a record.
    let preamble = Preamble::new(&CsvDialect { header: true, ..dialect.clone() });
    let mut sample = Sample::read(file, preamble, options.sample_rows, memory)?;
    check_compression(&sample, options)?;
    refuse_other_formats(&sample)?;
    let marks = find_dialect(&mut sample, &mut dialect, options)?;
    if sample.first_records(&marks).list.is_empty() {
        // Nothing but empty lines and comments.
        return empty(planned, dialect, options);
    }
    let found = Found::new(options, dialect, marks, forms);
    found.facts(&mut sample)
}

/// How a file of lines is read: every line is a row of one column, `line`.
///
/// # Errors
/// `Io` when it cannot be read, `Input` when it is no text.
pub fn lines(path: &Path, memory: &Governor) -> Result<CsvFacts> {
    let planned = FileRef::of(path)?;
    let dialect = CsvDialect::lines();
    let marks = dialect.marks()?;
    let mut rows = 0.0;
    if planned.size > 0 {
        let file = Arc::new(InputFile::open(&planned)?);
        let mut sample = Sample::read(file, Preamble::new(&dialect), None, memory)?;
        refuse_other_formats(&sample)?;
        let walked = sample.walk(&marks, |_| true, |_, _| true)?;
        rows = walked.records as f64 * walked.content / walked.bytes.max(1) as f64;
    }
    Ok(CsvFacts {
        file: planned,
        dialect,
        columns: vec![declared_column("line", &DataType::Utf8View)],
        without_values: vec![false],
        header_names: None,
        sample_rows: 0,
        rows,
        // Empty lines are rows, and were not counted.
        is_exact: false,
    })
}

/// The dialect as far as it is said.
fn said(options: &CsvOptions) -> CsvDialect {
    let default = CsvDialect::default();
    CsvDialect {
        delimiter: options.delimiter.or(default.delimiter),
        quote: options.quote.unwrap_or(default.quote),
        escape: options.escape,
        newline: options.newline.unwrap_or(default.newline),
        header: options.header.unwrap_or(false),
        null_strings: options.null_strings.clone().unwrap_or(default.null_strings),
        found_nulls: Vec::new(),
        comment: options.comment,
        trailing_delimiter: options.trailing_delimiter.unwrap_or(false),
        skip_lines: options.skip_lines,
        date_format: options.date_format.clone(),
        timestamp_format: options.timestamp_format.clone(),
    }
}

/// A file without records has the columns that are declared, or none.
fn empty(file: FileRef, mut dialect: CsvDialect, options: &CsvOptions) -> Result<CsvFacts> {
    let Some(declared) = &options.columns else {
        return Err(Error::input(format!(
            "{} is empty: it has no header to take columns from; declare its columns",
            file.path.display()
        )));
    };
    dialect.header = options.header.unwrap_or(true);
    dialect.marks()?;
    let columns = declared.iter().map(|(name, data_type)| declared_column(name, data_type));
    Ok(CsvFacts {
        file,
        dialect,
        columns: columns.collect(),
        without_values: vec![false; declared.len()],
        header_names: None,
        sample_rows: 0,
        rows: 0.0,
        is_exact: true,
    })
}

/// The compression that was said must be that of the file.
fn check_compression(sample: &Sample, options: &CsvOptions) -> Result<()> {
    let found = sample.compression();
    let said = match options.compression {
        None => return Ok(()),
        Some(CsvCompression::None) => found.is_none(),
        Some(CsvCompression::Gzip) => found == Some(Compression::Gzip),
        Some(CsvCompression::Zstd) => matches!(found, Some(Compression::Zstd { .. })),
    };
    match said {
        true => Ok(()),
        false => Err(Error::input(format!(
            "{} is said to have the compression {}, but it has {}",
            sample.file.path().display(),
            options.compression.map_or("", CsvCompression::name),
            found.map_or("none", Compression::name)
        ))),
    }
}

/// Names what is no CSV file, by its first bytes.
fn refuse_other_formats(sample: &Sample) -> Result<()> {
    let bytes = sample.first.bytes();
    let path = sample.file.path().display();
    let is = [
        (&b"PAR1"[..], "a Parquet file"),
        (b"PK\x03\x04", "a zip archive or a spreadsheet; export it as CSV"),
        (b"\x1f\x8b", "compressed twice; decompress it once"),
        (b"\x28\xb5\x2f\xfd", "compressed twice; decompress it once"),
        (b"BZh", "compressed with bzip2; decompress it, or compress it with gzip or zstd"),
        (b"\xfd7zXZ\x00", "compressed with xz; decompress it, or compress it with gzip or zstd"),
    ];
    if let Some((_, what)) = is.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(Error::input(format!("{path} is not CSV but {what}")));
    }
    let zeros = memchr::memchr_iter(0, bytes).count();
    let marked = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if marked || zeros > bytes.len() / ZEROS_MIN {
        let at = if marked { 0 } else { memchr::memchr(0, bytes).unwrap_or(0) };
        let message = "this is no text in UTF-8 but in UTF-16, or no text at all; convert the \
                       file to UTF-8";
        return Err(Locator::new(&sample.file).error(at as u64, message.to_string()));
    }
    Ok(())
}

/// Settles the line end and the delimiter; the sample grows until it has a whole record.
fn find_dialect(
    sample: &mut Sample,
    dialect: &mut CsvDialect,
    options: &CsvOptions,
) -> Result<Marks> {
    loop {
        let bytes = sample.first.bytes();
        if options.newline.is_none() {
            let has_feed = memchr::memchr(b'\n', bytes).is_some();
            let only_returns = !has_feed && memchr::memchr(b'\r', bytes).is_some();
            dialect.newline = if only_returns { '\r' } else { '\n' };
        }
        if options.delimiter.is_none() {
            dialect.delimiter = Some(find_delimiter(sample, dialect)?);
        }
        let marks = dialect.marks()?;
        if !sample.first_records(&marks).list.is_empty() || !sample.grow()? {
            return Ok(marks);
        }
    }
}

/// The delimiter that cuts most records into the same number of fields, the larger the better.
fn find_delimiter(sample: &Sample, dialect: &CsvDialect) -> Result<char> {
    let mut best = (0.0, ',');
    for delimiter in DELIMITERS {
        if [dialect.quote, dialect.escape, dialect.comment].contains(&Some(delimiter)) {
            continue;
        }
        let marks = CsvDialect { delimiter: Some(delimiter), ..dialect.clone() }.marks()?;
        let records = sample.first_records(&marks);
        let Some(width) = records.list.first().map(Vec::len).filter(|&width| width > 1) else {
            continue;
        };
        let tried = &records.list[..records.list.len().min(TRIED_RECORDS)];
        let alike = tried.iter().filter(|record| record.len() == width).count();
        let share = alike as f64 / tried.len() as f64;
        // Evenness comes before the number of fields.
        let score = share * share * share * (width as f64).sqrt() + f64::from(alike == tried.len());
        if score > best.0 {
            best = (score, delimiter);
        }
    }
    Ok(best.1)
}

#[cfg(test)]
mod tests;
