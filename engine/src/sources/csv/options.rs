//! How a file is to be read: plain data, as plans hold it.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::structure::Marks;
use crate::error::{Error, Result};

/// The dialect of a CSV file. Marks are single ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvOptions {
    /// Between fields.
    pub delimiter: char,
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
}

/// Commas, double quotes, a header, and NULL for the empty field.
impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions {
            delimiter: ',',
            quote: Some('"'),
            escape: None,
            newline: '\n',
            header: true,
            null_strings: vec![String::new()],
        }
    }
}

impl CsvOptions {
    /// The bytes with a meaning.
    ///
    /// # Errors
    /// `Input` when a mark is not ASCII or has two meanings.
    pub(super) fn marks(&self) -> Result<Marks> {
        let byte = |name: &str, mark: char| match u8::try_from(mark) {
            Ok(byte) if byte.is_ascii() => Ok(byte),
            _ => Err(Error::input(format!("the {name} {mark:?} of a CSV file must be ASCII"))),
        };
        let delimiter = byte("delimiter", self.delimiter)?;
        let newline = byte("line end", self.newline)?;
        let quote = self.quote.map(|mark| byte("quote", mark)).transpose()?;
        let escape = self.escape.map(|mark| byte("escape", mark)).transpose()?;
        // An escape that is the quote is the doubled quote, which is always understood.
        let escape = escape.filter(|_| escape != quote);
        let all = [Some(delimiter), Some(newline), quote, escape];
        for (i, mark) in all.iter().enumerate() {
            if mark.is_some() && all[..i].contains(mark) {
                return Err(Error::input(format!(
                    "delimiter {:?}, quote {:?}, escape {:?} and line end {:?} of a CSV file must \
                     differ",
                    self.delimiter, self.quote, self.escape, self.newline
                )));
            }
        }
        if !matches!(newline, b'\n' | b'\r') {
            return Err(Error::input("records of a CSV file end with '\\n' or '\\r'"));
        }
        Ok(Marks { delimiter, quote, escape, newline })
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
    /// Whether the type was found from a sample of the file, and not declared.
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
        "column `{}` of a CSV file cannot be read as {}; declare it as text and cast it",
        column.name, column.data_type
    )))
}
