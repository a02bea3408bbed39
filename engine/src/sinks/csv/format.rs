//! Values as the text of CSV fields: exact, and as short as they can be without losing anything.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int64Type,
    UInt64Type,
};
use arrow::util::display::ArrayFormatter;

use crate::calendar::per_second;
use crate::error::{Error, Result};
use crate::moment_format::formatter;
use crate::sinks::text::{date, display, integer, stamp};

/// Rows as lines of CSV: the bytes with a meaning, and the text for NULL.
#[derive(Debug, Clone)]
pub struct CsvText {
    delimiter: u8,
    null: Vec<u8>,
}

const QUOTE: u8 = b'"';

impl CsvText {
    /// Fields between delimiters, `null` for NULL.
    ///
    /// # Errors
    /// `Input` for a delimiter that is not one ASCII character without another meaning, and for a
    /// text for NULL that would need quotes.
    pub fn new(delimiter: char, null: &str) -> Result<CsvText> {
        let byte = u8::try_from(delimiter).ok().filter(u8::is_ascii);
        let Some(byte) = byte.filter(|d| !matches!(d, b'"' | b'\n' | b'\r')) else {
            return Err(Error::input(format!(
                "{:?} cannot be the delimiter of a CSV file; it is one ASCII character other than \
                 a quote or a line end",
                delimiter
            )));
        };
        if null.bytes().any(|b| b == byte || is_special(b)) {
            return Err(Error::input(format!(
                "{:?} cannot stand for NULL in a CSV file: it holds a delimiter, a quote or a \
                 line end",
                null
            )));
        }
        Ok(CsvText { delimiter: byte, null: null.as_bytes().to_vec() })
    }

    /// One line of texts, such as the names of the columns.
    pub fn line<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
        let mut line = Vec::new();
        for (position, text) in texts.enumerate() {
            if position > 0 {
                line.push(self.delimiter);
            }
            self.text(text.as_bytes(), &mut line);
        }
        line.push(b'\n');
        line
    }

    /// Appends a line per row of these columns, which have the same number of rows.
    ///
    /// # Errors
    /// `Input` for values that have no text.
    pub fn rows(&self, columns: &[ArrayRef], rows: usize, out: &mut Vec<u8>) -> Result<()> {
        let cells: Vec<Cells<'_>> = columns.iter().map(Cells::of).collect::<Result<_>>()?;
        // Those of a dictionary's values and of a column of NULLs alone too.
        let nulls: Vec<_> = columns.iter().map(|column| column.logical_nulls()).collect();
        for row in 0..rows {
            for (position, (cells, nulls)) in cells.iter().zip(&nulls).enumerate() {
                if position > 0 {
                    out.push(self.delimiter);
                }
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    out.extend_from_slice(&self.null);
                } else {
                    cells.write(row, self, out)?;
                }
            }
            out.push(b'\n');
        }
        Ok(())
    }

    /// Whether a text with these bytes would be read as something else without quotes.
    pub fn needs_quotes(&self, text: &[u8]) -> bool {
        text.iter().any(|&b| b == self.delimiter || is_special(b))
    }

    /// Appends a text, in quotes when it would be read as something else without them.
    fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        if !self.needs_quotes(text) && text != self.null && !text.is_empty() {
            out.extend_from_slice(text);
            return;
        }
        out.push(QUOTE);
        for part in text.split_inclusive(|&b| b == QUOTE) {
            out.extend_from_slice(part);
            if part.last() == Some(&QUOTE) {
                out.push(QUOTE);
            }
        }
        out.push(QUOTE);
    }
}

fn is_special(byte: u8) -> bool {
    matches!(byte, QUOTE | b'\n' | b'\r')
}

/// Whether values of this type can be written.
pub(super) fn is_writable(data_type: &DataType) -> bool {
    !data_type.is_nested() || matches!(data_type, DataType::Dictionary(_, _))
}

/// One column, ready to be written value by value.
enum Cells<'a> {
    Int(&'a [i64]),
    UInt(&'a [u64]),
    /// Integers of other widths.
    OwnedInt(PrimitiveArray<Int64Type>),
    OwnedUInt(PrimitiveArray<UInt64Type>),
    Float(&'a [f64]),
    Single(&'a [f32]),
    Narrow(&'a [i64], i8),
    Wide(&'a [i128], i8),
    Date(&'a [i32]),
    /// Timestamps in a unit of so many to the second, and whether they are in UTC.
    Stamp(PrimitiveArray<Int64Type>, i64, bool),
    Bool(&'a arrow::array::BooleanArray),
    Text(&'a StringViewArray),
    Other(ArrayFormatter<'a>),
}

impl<'a> Cells<'a> {
    fn of(array: &'a ArrayRef) -> Result<Cells<'a>> {
        use DataType as T;
        Ok(match array.data_type() {
            T::Int64 => Cells::Int(array.as_primitive::<Int64Type>().values()),
            T::UInt64 => Cells::UInt(array.as_primitive::<UInt64Type>().values()),
            T::Int8 | T::Int16 | T::Int32 => {
                Cells::OwnedInt(cast(array, &T::Int64)?.as_primitive::<Int64Type>().clone())
            }
            T::UInt8 | T::UInt16 | T::UInt32 => {
                Cells::OwnedUInt(cast(array, &T::UInt64)?.as_primitive::<UInt64Type>().clone())
            }
            T::Float64 => Cells::Float(array.as_primitive::<Float64Type>().values()),
            T::Float32 => Cells::Single(array.as_primitive::<Float32Type>().values()),
            T::Decimal64(_, scale) => {
                Cells::Narrow(array.as_primitive::<Decimal64Type>().values(), *scale)
            }
            T::Decimal128(_, scale) => {
                Cells::Wide(array.as_primitive::<Decimal128Type>().values(), *scale)
            }
            T::Date32 => Cells::Date(array.as_primitive::<Date32Type>().values()),
            T::Timestamp(unit, zone) => {
                let units = cast(array, &T::Int64)?.as_primitive::<Int64Type>().clone();
                Cells::Stamp(units, per_second(*unit), zone.is_some())
            }
            T::Boolean => Cells::Bool(array.as_boolean()),
            T::Utf8View => Cells::Text(array.as_string_view()),
            _ => Cells::Other(formatter(array)?),
        })
    }

    fn write(&self, row: usize, style: &CsvText, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Cells::Int(values) => integer(values[row].into(), 0, out),
            Cells::UInt(values) => integer(values[row].into(), 0, out),
            Cells::OwnedInt(values) => integer(values.value(row).into(), 0, out),
            Cells::OwnedUInt(values) => integer(values.value(row).into(), 0, out),
            Cells::Narrow(values, scale) => integer(values[row].into(), *scale, out),
            Cells::Wide(values, scale) => integer(values[row], *scale, out),
            // The debug form is the shortest that reads back as the same number, with an exponent
            // where it would be long.
            Cells::Float(values) => display(format_args!("{:?}", values[row]), out),
            Cells::Single(values) => display(format_args!("{:?}", values[row]), out),
            Cells::Date(values) => date(i64::from(values[row]), out),
            Cells::Stamp(values, per_second, zoned) => {
                stamp(values.value(row), *per_second, *zoned, b' ', out);
            }
            Cells::Bool(values) => {
                out.extend_from_slice(if values.value(row) { b"true" } else { b"false" });
            }
            Cells::Text(values) => style.text(values.value(row).as_bytes(), out),
            Cells::Other(values) => {
                let text = values.value(row).try_to_string()?;
                style.text(text.as_bytes(), out);
            }
        }
        Ok(())
    }
}
