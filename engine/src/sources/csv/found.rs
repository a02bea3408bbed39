//! Columns from a sample: their names, their types, and what the file writes for NULL.

use arrow::datatypes::DataType;

use super::detect::{Forms, Kind, Kinds, NULL_WORDS};
use super::facts::{CsvFacts, declared_column, is_text};
use super::field::{self, Field};
use super::sample::{Record, Sample, Walked};
use super::structure::Marks;
use super::{CsvColumn, CsvDialect, CsvOptions, header};
use crate::error::{Error, Result};
use crate::sources::text::locate::Locator;

/// Records of a sample that are looked at for types, unless their number is said.
const TYPED_RECORDS: usize = 20_000;

/// Records that show whether a delimiter ends them.
const TRAILING_RECORDS: usize = 1000;

/// What is being found out.
pub(super) struct Found<'a> {
    options: &'a CsvOptions,
    dialect: CsvDialect,
    marks: Marks,
    forms: Forms,
    /// Fields of a record.
    width: usize,
    /// The kinds of fields of the first record, and of each column of all others.
    first: Vec<Kind>,
    kinds: Vec<Kinds>,
}

impl<'a> Found<'a> {
    /// Nothing is found yet but the dialect.
    pub(super) fn new(
        options: &'a CsvOptions,
        dialect: CsvDialect,
        marks: Marks,
        forms: Forms,
    ) -> Self {
        Found { options, dialect, marks, forms, width: 0, first: Vec::new(), kinds: Vec::new() }
    }

    /// What the sample, which has a record, says about the file.
    pub(super) fn facts(mut self, sample: &mut Sample) -> Result<CsvFacts> {
        let beginning = sample.first_records(&self.marks);
        let first = beginning.list.first().cloned().unwrap_or_default();
        self.width = first.len();
        let bytes = sample.first.bytes();
        self.first = (0..self.width).map(|p| self.kind(bytes, &first, p)).collect();
        self.dialect.trailing_delimiter =
            self.options.trailing_delimiter.unwrap_or_else(|| self.trails(bytes, &beginning.list));
        let walked = self.walk(sample)?;
        self.dialect.header = self.options.header.unwrap_or_else(|| self.begins_with_names());
        if !self.dialect.header {
            self.kinds.iter_mut().zip(&self.first).for_each(|(kinds, &kind)| kinds.add(kind));
        }
        let (columns, header_names) = self.columns(sample, &first)?;
        let kinds = columns.iter().zip(&self.kinds);
        let without_values = kinds.map(|(c, kinds)| c.detected && *kinds == Kinds::default());
        let without_values = without_values.collect();
        let header = usize::from(self.dialect.header);
        let rows = match walked.all {
            true => walked.records.saturating_sub(header) as f64,
            false => {
                let records = walked.records as f64 / walked.bytes.max(1) as f64;
                (walked.content * records - header as f64).max(0.0)
            }
        };
        Ok(CsvFacts {
            file: sample.file.file_ref().clone(),
            dialect: self.dialect,
            columns,
            without_values,
            header_names,
            sample_rows: walked.records,
            rows,
            // Of one column empty lines are rows, and were not counted.
            is_exact: walked.all && self.width > 1,
        })
    }

    /// Adds up the kinds of fields behind the first record.
    fn walk(&mut self, sample: &mut Sample) -> Result<Walked> {
        let mut kinds = vec![Kinds::default(); self.width];
        let limit = match self.options.sample_rows {
            Some(_) => usize::MAX,
            None => TYPED_RECORDS,
        };
        let mut seen = 0;
        let typed = !self.options.all_text;
        let walked = sample.walk(
            &self.marks,
            |record| record.len() == self.width,
            |bytes, record| {
                seen += 1;
                if record.len() == self.width && seen > 1 && typed {
                    for (position, kinds) in kinds.iter_mut().enumerate() {
                        kinds.add(self.kind(bytes, record, position));
                    }
                }
                seen <= limit
            },
        )?;
        self.kinds = kinds;
        Ok(walked)
    }

    fn field<'b>(&self, bytes: &'b [u8], record: &Record, position: usize) -> Field<'b> {
        let bounds = record.get(position).copied().unwrap_or_default();
        let raw = bytes.get(bounds.0..bounds.1).unwrap_or_default();
        field::read(raw, position + 1 == self.width, &self.marks)
    }

    fn kind(&self, bytes: &[u8], record: &Record, position: usize) -> Kind {
        let field = self.field(bytes, record, position);
        let text = match &field {
            Field::Bare(text) => field::trim(text),
            Field::Quoted(text) => field::trim(text),
            Field::Malformed => return Kind::Text,
        };
        let declared = self.options.null_strings.iter().flatten();
        if declared.into_iter().any(|word| word.as_bytes() == text) {
            return Kind::Empty;
        }
        Kind::of(text, &self.forms)
    }

    /// Whether the first record may be the names of the columns.
    fn begins_with_names(&self) -> bool {
        self.first.iter().all(|kind| kind.may_be_name())
            && self.first.iter().any(|kind| *kind != Kind::Empty)
    }

    /// Whether a delimiter ends every record: nothing stands behind the last one, and it is not
    /// just a column without values, because it has no name or was not declared.
    fn trails(&self, bytes: &[u8], beginning: &[Record]) -> bool {
        let empty = |record: &Record| {
            let field = self.field(bytes, record, self.width - 1);
            record.len() == self.width && field == Field::Bare(b"")
        };
        let all_empty = self.width > 1 && beginning.iter().take(TRAILING_RECORDS).all(empty);
        let header = self.options.header.unwrap_or_else(|| self.begins_with_names());
        all_empty
            && match &self.options.columns {
                Some(columns) => columns.len() + 1 == self.width,
                None => header || self.dialect.delimiter == Some('|'),
            }
    }

    /// The columns; and the names in the header, when columns were declared with others.
    fn columns(
        &mut self,
        sample: &Sample,
        first: &Record,
    ) -> Result<(Vec<CsvColumn>, Option<Vec<String>>)> {
        let count = self.width - usize::from(self.dialect.trailing_delimiter && self.width > 1);
        let names = self.names(sample, first, count)?;
        let null_words = self.find_null_words(&names);
        if let Some(declared) = &self.options.columns {
            return self.declared_columns(sample, declared, names);
        }
        let types = self.kinds.iter().map(|kinds| kinds.data_type(null_words));
        let mut columns: Vec<CsvColumn> = match self.options.all_text {
            true => names.iter().map(|name| declared_column(name, &DataType::Utf8View)).collect(),
            false => names
                .into_iter()
                .zip(types)
                .map(|(name, data_type)| CsvColumn { name, data_type, detected: true })
                .collect(),
        };
        self.declare_types(sample, &mut columns)?;
        Ok((columns, None))
    }

    fn names(&self, sample: &Sample, first: &Record, count: usize) -> Result<Vec<String>> {
        if !self.dialect.header {
            return Ok((0..count).map(header::positional).collect());
        }
        let bytes = sample.first.bytes();
        let line = first.first().zip(first.last()).map_or(0..0, |(a, b)| a.0..b.1);
        if let Err(bad) = std::str::from_utf8(&bytes[line.clone()]) {
            let message = "the header is not UTF-8; convert the file to UTF-8".to_string();
            let at = line.start + bad.valid_up_to();
            return Err(Locator::new(&sample.file).error(at as u64, message));
        }
        Ok(header::names((0..count).map(|position| self.field(bytes, first, position))))
    }

    /// Adds the words that the file writes for NULL to the dialect, unless they are declared: those
    /// among values of columns that are not declared as texts.
    fn find_null_words(&mut self, names: &[String]) -> u8 {
        if self.options.null_strings.is_some() {
            return 0;
        }
        let kinds = self.kinds.iter().enumerate();
        let others = kinds.filter(|(position, _)| !self.is_declared_text(*position, names));
        let found = others.fold(0, |words, (_, kinds)| words | kinds.null_words());
        for (number, word) in NULL_WORDS.iter().enumerate() {
            if found & (1 << number) != 0 {
                self.dialect.found_nulls.push((*word).to_string());
            }
        }
        found
    }

    fn is_declared_text(&self, position: usize, names: &[String]) -> bool {
        let declared = match &self.options.columns {
            Some(columns) => columns.get(position).map(|(_, data_type)| data_type),
            None => self.options.types.iter().find_map(|(name, data_type)| {
                (Some(name) == names.get(position)).then_some(data_type)
            }),
        };
        declared.is_some_and(is_text)
    }

    fn declared_columns(
        &self,
        sample: &Sample,
        declared: &[(String, DataType)],
        names: Vec<String>,
    ) -> Result<(Vec<CsvColumn>, Option<Vec<String>>)> {
        if declared.len() != names.len() {
            return Err(Error::input(format!(
                "{} columns are declared for {}, but its first record has {} fields ({})",
                declared.len(),
                sample.file.path().display(),
                names.len(),
                self.dialect
            )));
        }
        let columns: Vec<CsvColumn> =
            declared.iter().map(|(name, data_type)| declared_column(name, data_type)).collect();
        let differ = names.iter().zip(&columns).any(|(name, column)| *name != column.name);
        Ok((columns, (self.dialect.header && differ).then_some(names)))
    }

    fn declare_types(&self, sample: &Sample, columns: &mut [CsvColumn]) -> Result<()> {
        for (name, data_type) in &self.options.types {
            let Some(column) = columns.iter_mut().find(|column| column.name == *name) else {
                let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
                return Err(Error::input(format!(
                    "{} has no column `{name}` to declare a type of; it has {}",
                    sample.file.path().display(),
                    names.join(", ")
                )));
            };
            *column = declared_column(name, data_type);
        }
        Ok(())
    }
}
