//! Finds out how a CSV file is to be read: its delimiter, whether it has a header, what it writes
//! for NULL, and the types of its columns, from a sample of its records.
//!
//! What was declared is never doubted. The rest is guessed from the sample, says so, and is
//! checked while the file is read: a value that does not fit a type found here is an error there.

use std::collections::BTreeSet;
use std::fmt::Write;

use arrow::datatypes::DataType;

use super::detect::{Kind, Kinds, NULL_WORDS};
use super::field::{self, Field};
use super::sample::{Piece, PieceRecords, Sample};
use super::structure::{Marks, State};
use super::{CsvColumn, CsvOptions, CsvScan, header};
use crate::error::{Error, Result};
use crate::sources::{FileRef, InputFile};

/// Delimiters that are tried, the likelier ones first.
const DELIMITERS: [char; 4] = [',', '\t', ';', '|'];

/// Records that a delimiter is tried on.
const TRIED_RECORDS: usize = 500;

/// Records of a sample that are looked at for types.
const TYPED_RECORDS: usize = 20_000;

/// What the user says about a file; `None` for what is to be found out.
#[derive(Debug, Clone, Default)]
pub struct CsvOverrides {
    /// Between fields.
    pub delimiter: Option<char>,
    /// Around fields; `Some(None)` when quotes are text.
    pub quote: Option<Option<char>>,
    /// Before a quote inside quotes.
    pub escape: Option<char>,
    /// Whether the first record names the columns.
    pub header: Option<bool>,
    /// Fields that are NULL.
    pub null_strings: Option<Vec<String>>,
    /// Names and types of all columns, in the order of the file.
    pub columns: Option<Vec<(String, DataType)>>,
    /// Types of some columns, by name.
    pub types: Vec<(String, DataType)>,
}

/// What is known of a file.
#[derive(Debug, Clone)]
pub struct CsvFacts {
    /// The file.
    pub file: FileRef,
    /// Its dialect.
    pub options: CsvOptions,
    /// Its columns.
    pub columns: Vec<CsvColumn>,
    /// The names in its header, where columns were declared with others.
    pub header_names: Option<Vec<String>>,
    /// Records that were looked at.
    pub sample_rows: usize,
    /// Rows in the file, as far as the sample tells.
    pub rows: f64,
    /// Whether the sample was the whole file.
    pub is_exact: bool,
}

impl CsvFacts {
    /// A scan of all columns and rows of this file and of `others`, which are read alike.
    pub fn scan(&self, others: Vec<FileRef>) -> CsvScan {
        let files = std::iter::once(self.file.clone()).chain(others).collect();
        let mut scan = CsvScan::new(files, self.options.clone(), self.columns.clone());
        scan.header_names = self.header_names.clone();
        scan
    }

    /// What was found, in one line for people.
    pub fn describe(&self) -> String {
        let CsvOptions { delimiter, quote, header, null_strings, .. } = &self.options;
        let header = if *header { "a header" } else { "no header" };
        let quote = quote.map_or("no quotes".to_string(), |quote| format!("quote {quote:?}"));
        let mut text = format!("delimiter {delimiter:?}, {quote}, {header}, NULL is ");
        let nulls: Vec<String> = null_strings.iter().map(|word| format!("{word:?}")).collect();
        text.push_str(if nulls.is_empty() { "never written" } else { "" });
        text.push_str(&nulls.join(" or "));
        let detected = self.columns.iter().filter(|column| column.detected).count();
        let about = if self.is_exact { "" } else { "about " };
        let _ = write!(
            text,
            "; {detected} of {} types found from {} of {about}{:.0} rows",
            self.columns.len(),
            self.sample_rows,
            self.rows
        );
        text
    }
}

/// Finds out how the file at `path` is to be read, as far as it is not said.
///
/// # Errors
/// `Io` when it cannot be read; `Input` when it is empty and no columns are declared, is no text,
/// or is not what was declared.
pub fn sniff(path: &std::path::Path, overrides: &CsvOverrides) -> Result<CsvFacts> {
    let planned = FileRef::of(path)?;
    let mut options = CsvOptions {
        delimiter: overrides.delimiter.unwrap_or(','),
        quote: overrides.quote.unwrap_or(Some('"')),
        escape: overrides.escape,
        header: overrides.header.unwrap_or(false),
        ..CsvOptions::default()
    };
    if let Some(words) = &overrides.null_strings {
        options.null_strings = words.clone();
    }
    if planned.size == 0 {
        return empty(planned, options, overrides);
    }
    let file = InputFile::open(&planned)?;
    let mut sample = Sample::read(&file)?;
    refuse_other_formats(&file, sample.pieces.first().map_or(&[], Piece::bytes))?;
    let marks = find_dialect(&mut sample, &mut options, overrides)?;
    let records = Records::of(&sample, &marks);
    if records.width() == 0 {
        // Nothing but empty lines.
        return empty(planned, options, overrides);
    }
    let mut found = Found { overrides, options, marks, records };
    let (columns, header_names) = found.columns(path)?;
    let rows = found.rows(planned.size, sample.is_whole());
    Ok(CsvFacts {
        file: planned,
        options: found.options,
        columns,
        header_names,
        sample_rows: found.records.count(),
        rows,
        is_exact: sample.is_whole(),
    })
}

/// A file without records has the columns that are declared, or none.
fn empty(file: FileRef, mut options: CsvOptions, overrides: &CsvOverrides) -> Result<CsvFacts> {
    let Some(declared) = &overrides.columns else {
        return Err(Error::input(format!(
            "{} is empty: it has no header to take columns from; declare its columns",
            file.path.display()
        )));
    };
    options.header = overrides.header.unwrap_or(true);
    options.marks()?;
    let columns = declared.iter().map(|(name, data_type)| declared_column(name, data_type));
    Ok(CsvFacts {
        file,
        options,
        columns: columns.collect(),
        header_names: None,
        sample_rows: 0,
        rows: 0.0,
        is_exact: true,
    })
}

fn declared_column(name: &str, data_type: &DataType) -> CsvColumn {
    CsvColumn { name: name.to_string(), data_type: data_type.clone(), detected: false }
}

/// Names what is no CSV file, by its first bytes.
fn refuse_other_formats(file: &InputFile, bytes: &[u8]) -> Result<()> {
    let is = [
        (&b"PAR1"[..], "a Parquet file"),
        (b"\x1f\x8b", "compressed with gzip; decompress it first"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd; decompress it first"),
        (b"PK\x03\x04", "a zip archive or a spreadsheet; export it as CSV"),
        (b"\xff\xfe", "UTF-16; convert it to UTF-8"),
        (b"\xfe\xff", "UTF-16; convert it to UTF-8"),
    ];
    let other = is.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, what)| *what);
    match other {
        Some(what) => Err(Error::input(format!("{} is not CSV but {what}", file.path().display()))),
        None => Ok(()),
    }
}

/// Settles the line end and the delimiter; the sample grows until it has a whole record.
fn find_dialect(
    sample: &mut Sample<'_>,
    options: &mut CsvOptions,
    overrides: &CsvOverrides,
) -> Result<Marks> {
    loop {
        let Some(first) = sample.pieces.first() else {
            return Err(Error::internal("a sample without a piece"));
        };
        let has_line_feed = first.bytes().contains(&b'\n');
        options.newline =
            if !has_line_feed && first.bytes().contains(&b'\r') { '\r' } else { '\n' };
        if overrides.delimiter.is_none() {
            options.delimiter = find_delimiter(first, options)?;
        }
        let marks = options.marks()?;
        if !first.records(&marks, State::Start).list.is_empty() || !sample.grow()? {
            return Ok(marks);
        }
    }
}

/// The delimiter that cuts most records into the same number of fields, the larger the better.
fn find_delimiter(first: &Piece, options: &CsvOptions) -> Result<char> {
    let mut best = (0.0, ',');
    for delimiter in DELIMITERS {
        if Some(delimiter) == options.quote || Some(delimiter) == options.escape {
            continue;
        }
        let marks = CsvOptions { delimiter, ..options.clone() }.marks()?;
        let records = first.records(&marks, State::Start);
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

/// The records of all pieces that have as many fields as the first one.
struct Records<'a> {
    pieces: Vec<(&'a Piece, PieceRecords)>,
}

impl<'a> Records<'a> {
    fn of(sample: &'a Sample<'_>, marks: &Marks) -> Self {
        let mut records = Records { pieces: Vec::new() };
        for (number, piece) in sample.pieces.iter().enumerate() {
            let outside = piece.records(marks, State::Plain);
            if number == 0 {
                records.pieces.push((piece, outside));
                continue;
            }
            // A piece from within the file begins inside or outside quotes; which, shows in the
            // number of fields. When neither will do, it says nothing.
            let width = records.width();
            let even = |found: &PieceRecords| found.list.iter().all(|r| r.len() == width);
            if even(&outside) {
                records.pieces.push((piece, outside));
            } else {
                let inside = piece.records(marks, State::Quoted);
                if even(&inside) {
                    records.pieces.push((piece, inside));
                }
            }
        }
        records
    }

    /// Fields of the first record.
    fn width(&self) -> usize {
        self.pieces.first().and_then(|(_, records)| records.list.first()).map_or(0, Vec::len)
    }

    /// Number of all records.
    fn count(&self) -> usize {
        self.pieces.iter().map(|(_, records)| records.list.len()).sum()
    }

    /// Records of the right width as fields, with the bytes they are in.
    fn each(&self) -> impl Iterator<Item = (&'a Piece, &Vec<(usize, usize)>)> {
        let width = self.width();
        let all = self.pieces.iter();
        all.flat_map(|(piece, records)| records.list.iter().map(move |record| (*piece, record)))
            .filter(move |(_, record)| record.len() == width)
    }
}

/// What is being found out.
struct Found<'a> {
    overrides: &'a CsvOverrides,
    options: CsvOptions,
    marks: Marks,
    records: Records<'a>,
}

impl Found<'_> {
    fn field<'p>(&self, piece: &'p Piece, bounds: (usize, usize), position: usize) -> Field<'p> {
        let raw = piece.bytes().get(bounds.0..bounds.1).unwrap_or_default();
        field::read(raw, position + 1 == self.records.width(), &self.marks)
    }

    fn kind(&self, piece: &Piece, bounds: (usize, usize), position: usize) -> Kind {
        let field = self.field(piece, bounds, position);
        let text = match &field {
            Field::Bare(text) => field::trim(text),
            Field::Quoted(text) => field::trim(text),
            Field::Malformed => return Kind::Text,
        };
        let declared = self.overrides.null_strings.iter().flatten();
        if declared.into_iter().any(|word| word.as_bytes() == text) {
            return Kind::Empty;
        }
        Kind::of(text)
    }

    /// The columns; and the names in the header, when columns were declared with others.
    fn columns(&mut self, path: &std::path::Path) -> Result<(Vec<CsvColumn>, Option<Vec<String>>)> {
        let mut kinds = vec![Kinds::default(); self.records.width()];
        for (piece, record) in self.records.each().skip(1).take(TYPED_RECORDS) {
            for (position, &bounds) in record.iter().enumerate() {
                kinds[position].add(self.kind(piece, bounds, position));
            }
        }
        let first = self.first_kinds();
        self.options.header = self.overrides.header.unwrap_or_else(|| {
            first.iter().all(|kind| kind.may_be_name())
                && first.iter().any(|kind| *kind != Kind::Empty)
        });
        if !self.options.header {
            kinds.iter_mut().zip(&first).for_each(|(kinds, &kind)| kinds.add(kind));
        }
        let null_words = self.find_null_words(&kinds);
        let names = self.names();
        if let Some(declared) = &self.overrides.columns {
            return self.declared_columns(path, declared, names);
        }
        let mut columns: Vec<CsvColumn> = names
            .into_iter()
            .zip(&kinds)
            .map(|(name, kinds)| CsvColumn {
                name,
                data_type: kinds.data_type(null_words),
                detected: true,
            })
            .collect();
        self.declare_types(path, &mut columns)?;
        Ok((columns, None))
    }

    fn first_kinds(&self) -> Vec<Kind> {
        let Some((piece, record)) = self.records.each().next() else { return Vec::new() };
        let kinds = record.iter().enumerate().map(|(p, &bounds)| self.kind(piece, bounds, p));
        kinds.collect()
    }

    fn names(&self) -> Vec<String> {
        match self.records.each().next() {
            Some((piece, record)) if self.options.header => {
                let fields = record.iter().enumerate();
                header::names(fields.map(|(p, &bounds)| self.field(piece, bounds, p)))
            }
            _ => (0..self.records.width()).map(header::positional).collect(),
        }
    }

    /// Adds the words that the file writes for NULL to the options, unless they are declared.
    fn find_null_words(&mut self, kinds: &[Kinds]) -> u8 {
        if self.overrides.null_strings.is_some() {
            return 0;
        }
        let found = kinds.iter().fold(0, |words, kinds| words | kinds.null_words());
        for (number, word) in NULL_WORDS.iter().enumerate() {
            if found & (1 << number) != 0 {
                self.options.null_strings.push((*word).to_string());
            }
        }
        found
    }

    fn declared_columns(
        &self,
        path: &std::path::Path,
        declared: &[(String, DataType)],
        names: Vec<String>,
    ) -> Result<(Vec<CsvColumn>, Option<Vec<String>>)> {
        if declared.len() != names.len() {
            return Err(Error::input(format!(
                "{} columns are declared for {}, but its first record has {} fields (the \
                 delimiter is {:?})",
                declared.len(),
                path.display(),
                names.len(),
                self.options.delimiter
            )));
        }
        let columns: Vec<CsvColumn> =
            declared.iter().map(|(name, data_type)| declared_column(name, data_type)).collect();
        let differ = names.iter().zip(&columns).any(|(name, column)| *name != column.name);
        Ok((columns, (self.options.header && differ).then_some(names)))
    }

    fn declare_types(&self, path: &std::path::Path, columns: &mut [CsvColumn]) -> Result<()> {
        for (name, data_type) in &self.overrides.types {
            let Some(column) = columns.iter_mut().find(|column| column.name == *name) else {
                let names: BTreeSet<&str> = columns.iter().map(|c| c.name.as_str()).collect();
                return Err(Error::input(format!(
                    "{} has no column `{name}` to declare a type of; it has {}",
                    path.display(),
                    names.into_iter().collect::<Vec<_>>().join(", ")
                )));
            };
            *column = declared_column(name, data_type);
        }
        Ok(())
    }

    /// How many rows the file has, going by the length of the records in the sample.
    fn rows(&self, size: u64, is_whole: bool) -> f64 {
        let header = usize::from(self.options.header);
        let count = self.records.count();
        if is_whole {
            return count.saturating_sub(header) as f64;
        }
        let bytes: usize = self.records.pieces.iter().map(|(_, records)| records.bytes).sum();
        (size as f64 * count as f64 / bytes.max(1) as f64 - header as f64).max(0.0)
    }
}

#[cfg(test)]
mod tests;
