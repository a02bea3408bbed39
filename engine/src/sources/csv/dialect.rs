//! How a file is to be read: plain data, as plans hold it.

use std::fmt;

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::format::Format;
use super::structure::Marks;
use crate::error::{Error, Result};

/// The dialect of a CSV file. Marks are single ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvDialect {
    /// Between fields; `None` when a record is one field.
    pub delimiter: Option<char>,
    /// Around fields that hold delimiters, line ends or quotes; `None` when quotes are text.
    pub quote: Option<char>,
    /// Before a quote inside quotes; `None` when a quote is doubled instead.
    pub escape: Option<char>,
    /// Behind records: `'\n'` (a `'\r'` before it is dropped) or `'\r'`.
    pub newline: char,
    /// Whether the first record names the columns.
    pub header: bool,
    /// Fields without quotes that are NULL.
    pub null_strings: Vec<String>,
    /// The same, as the file has them: not in columns that are declared as texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found_nulls: Vec<String>,
    /// Lines that begin with it are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<char>,
    /// Whether a delimiter stands behind the last field of a record as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trailing_delimiter: bool,
    /// Lines to leave out at the beginning of a file, whatever they hold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip_lines: u64,
    /// How dates are written; `None` for `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_format: Option<String>,
    /// How timestamps are written; `None` for ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_format: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Commas, double quotes, a header, and NULL for the empty field.
impl Default for CsvDialect {
    fn default() -> Self {
        CsvDialect {
            delimiter: Some(','),
            quote: Some('"'),
            escape: None,
            newline: '\n',
            header: true,
            null_strings: vec![String::new()],
            found_nulls: Vec::new(),
            comment: None,
            trailing_delimiter: false,
            skip_lines: 0,
            date_format: None,
            timestamp_format: None,
        }
    }
}

impl CsvDialect {
    /// Every line is a record with one field, and nothing in it has a meaning.
    pub fn lines() -> Self {
        CsvDialect {
            delimiter: None,
            quote: None,
            header: false,
            null_strings: Vec::new(),
            ..CsvDialect::default()
        }
    }

    /// The bytes with a meaning.
    ///
    /// # Errors
    /// `Input` when a mark is not ASCII or has two meanings.
    pub(super) fn marks(&self) -> Result<Marks> {
        let byte = |name: &str, mark: char| match u8::try_from(mark) {
            Ok(byte) if byte.is_ascii() => Ok(byte),
            _ => Err(Error::input(format!("the {name} {mark:?} of a CSV file must be ASCII"))),
        };
        let some = |name: &str, mark: Option<char>| mark.map(|mark| byte(name, mark)).transpose();
        let newline = byte("line end", self.newline)?;
        let delimiter = some("delimiter", self.delimiter)?;
        let quote = some("quote", self.quote)?;
        let escape = some("escape", self.escape)?;
        let comment = some("comment", self.comment)?;
        // An escape that is the quote is the doubled quote, which is always understood.
        let escape = escape.filter(|_| escape != quote && quote.is_some());
        let all = [delimiter, quote, escape, comment];
        for (i, mark) in all.iter().enumerate() {
            if mark.is_some() && all[..i].contains(mark) {
                return Err(Error::input(format!(
                    "delimiter {:?}, quote {:?}, escape {:?} and comment {:?} of a CSV file must \
                     differ",
                    self.delimiter, self.quote, self.escape, self.comment
                )));
            }
            if matches!(mark, Some(b'\n' | b'\r' | 0)) {
                let mark = char::from(mark.unwrap_or(0));
                return Err(Error::input(format!("{mark:?} cannot be a mark of a CSV file")));
            }
        }
        if !matches!(newline, b'\n' | b'\r') {
            return Err(Error::input("records of a CSV file end with '\\n' or '\\r'"));
        }
        Ok(Marks { delimiter: delimiter.unwrap_or(newline), quote, escape, newline, comment })
    }

    /// Fields of a record with so many columns.
    pub(super) fn fields(&self, columns: usize) -> usize {
        columns + usize::from(self.trailing_delimiter)
    }

    /// `Ok` when the patterns of dates and timestamps are understood.
    ///
    /// # Errors
    /// `Input` naming what is not.
    pub(super) fn check_formats(&self) -> Result<()> {
        self.date_format()?;
        self.timestamp_format()?;
        Ok(())
    }

    /// How dates are written, when it is said.
    pub(super) fn date_format(&self) -> Result<Option<Format>> {
        self.date_format.as_deref().map(Format::date).transpose()
    }

    /// How timestamps are written, when it is said.
    pub(super) fn timestamp_format(&self) -> Result<Option<Format>> {
        self.timestamp_format.as_deref().map(Format::timestamp).transpose()
    }
}

/// The dialect in one line, for people.
impl fmt::Display for CsvDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.delimiter {
            Some(delimiter) => write!(f, "delimiter {delimiter:?}")?,
            None => f.write_str("one field a line")?,
        }
        if self.trailing_delimiter {
            f.write_str(" behind each field")?;
        }
        match self.quote {
            Some(quote) => write!(f, ", quote {quote:?}")?,
            None => f.write_str(", no quotes")?,
        }
        if let Some(escape) = self.escape {
            write!(f, ", escape {escape:?}")?;
        }
        if let Some(comment) = self.comment {
            write!(f, ", comments begin with {comment:?}")?;
        }
        if self.skip_lines > 0 {
            write!(f, ", {} lines left out", self.skip_lines)?;
        }
        f.write_str(if self.header { ", a header" } else { ", no header" })?;
        let nulls = self.null_strings.iter().chain(&self.found_nulls);
        let nulls: Vec<String> = nulls.map(|word| format!("{word:?}")).collect();
        match nulls.is_empty() {
            true => f.write_str(", NULL is never written"),
            false => write!(f, ", NULL is {}", nulls.join(" or ")),
        }?;
        let formats = [("dates", &self.date_format), ("timestamps", &self.timestamp_format)];
        for (what, format) in formats {
            if let Some(format) = format {
                write!(f, ", {what} are {format}")?;
            }
        }
        Ok(())
    }
}

/// One column of a CSV file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CsvColumn {
    /// Its name.
    pub name: String,
    /// Its logical type.
    #[serde(rename = "type", with = "crate::expr::data_type")]
    pub data_type: DataType,
    /// Whether the type was found from a sample of the file: not declared, nor that of other files
    /// of a set, where it is text there.
    #[serde(default)]
    pub detected: bool,
}

/// `Ok` when fields can be read as `data_type`.
///
/// # Errors
/// `Input` naming the column otherwise.
pub(super) fn check_type(column: &CsvColumn) -> Result<()> {
    use DataType as T;
    let known = match &column.data_type {
        T::Boolean | T::Date32 | T::Float32 | T::Float64 => true,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 => true,
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => true,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => true,
        T::Decimal32(_, scale) | T::Decimal64(_, scale) | T::Decimal128(_, scale) => *scale >= 0,
        T::Timestamp(_, None) => true,
        T::Timestamp(_, Some(zone)) => matches!(zone.as_ref(), "UTC" | "+00:00" | "Z"),
        _ => false,
    };
    if known {
        return Ok(());
    }
    Err(Error::input(format!(
        "column `{}` of a CSV file cannot be read as {}; declare it as VARCHAR and cast it",
        column.name, column.data_type
    )))
}
