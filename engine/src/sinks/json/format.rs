//! Values as JSON: exact, and as short as they can be without losing anything.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringViewArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal64Type, Decimal128Type, FieldRef, Float32Type, Float64Type,
    Int64Type, UInt64Type,
};
use arrow::util::display::ArrayFormatter;

use crate::calendar::per_second;
use crate::error::{Error, Result};
use crate::moment_format::formatter;
use crate::sinks::text::{date, display, integer, stamp};

/// Rows as JSON objects: the names of the columns, and what stands between rows.
#[derive(Debug, Clone)]
pub struct JsonText {
    /// Each name as a key, with the colon.
    keys: Vec<Vec<u8>>,
    /// Behind each row, or before it.
    line_end: bool,
}

impl JsonText {
    /// Objects with these keys, a line each.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> JsonText {
        JsonText { keys: names.map(key).collect(), line_end: true }
    }

    /// The same objects as items of an array: a comma and a line end between them, nothing behind
    /// the last one of a block.
    pub(super) fn items(self) -> JsonText {
        JsonText { line_end: false, ..self }
    }

    /// Appends an object per row of these columns, which have `rows` rows. NULL is `null`.
    ///
    /// # Errors
    /// `Input` for values that have no text.
    pub fn rows(&self, columns: &[ArrayRef], rows: usize, out: &mut Vec<u8>) -> Result<()> {
        let held: Vec<ArrayRef> = columns.iter().map(held).collect::<Result<_>>()?;
        let columns: Vec<Column<'_>> = held.iter().map(Column::of).collect::<Result<_>>()?;
        for row in 0..rows {
            if row > 0 && !self.line_end {
                out.extend_from_slice(b",\n");
            }
            members(&self.keys, &columns, row, out)?;
            if self.line_end {
                out.push(b'\n');
            }
        }
        Ok(())
    }
}

/// Appends the values of a column as they stand in [`JsonText`], with commas between them.
///
/// # Errors
/// `Input` for values that have no text.
pub fn json_values(array: &ArrayRef, out: &mut Vec<u8>) -> Result<()> {
    let held = held(array)?;
    let column = Column::of(&held)?;
    for row in 0..held.len() {
        if row > 0 {
            out.push(b',');
        }
        column.write(row, out)?;
    }
    Ok(())
}

/// Appends the only value of a column as the key of an object, without the colon.
///
/// # Errors
/// `Input` for values that have no text.
pub fn json_key(array: &ArrayRef, out: &mut Vec<u8>) -> Result<()> {
    let held = held(array)?;
    Column::of(&held)?.write_key(0, out)
}

/// The values as they are held while they are written.
fn held(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(array, &held_type(array.data_type()))?)
}

fn members(keys: &[Vec<u8>], columns: &[Column<'_>], row: usize, out: &mut Vec<u8>) -> Result<()> {
    out.push(b'{');
    for (position, (key, column)) in keys.iter().zip(columns).enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        column.write(row, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    text(name, &mut key);
    key.push(b':');
    key
}

/// A string in quotes, with escapes for what cannot stand in one.
fn text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        plain = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => display(format_args!("\\u{byte:04x}"), out),
        }
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
    out.push(b'"');
}

/// Whether values of this type can be written.
pub(super) fn is_writable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|field| is_writable(field.data_type())),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_writable(item.data_type())
        }
        DataType::Map(entries, _) => is_writable(entries.data_type()),
        DataType::Dictionary(_, values) => is_writable(values),
        other => !other.is_nested(),
    }
}

/// The type that holds the values of `data_type` while they are written: few types, at any depth.
fn held_type(data_type: &DataType) -> DataType {
    use DataType as T;
    let held = |field: &FieldRef| {
        let data_type = held_type(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    match data_type {
        T::Int8 | T::Int16 | T::Int32 => T::Int64,
        T::UInt8 | T::UInt16 | T::UInt32 => T::UInt64,
        T::Float16 => T::Float32,
        T::Utf8 | T::LargeUtf8 => T::Utf8View,
        T::Decimal32(p, s) => T::Decimal64(*p, *s),
        T::Dictionary(_, values) => held_type(values),
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) => T::List(held(item)),
        T::Struct(fields) => T::Struct(fields.iter().map(held).collect()),
        T::Map(entries, sorted) => T::Map(held(entries), *sorted),
        other => other.clone(),
    }
}

/// One column, ready to be written value by value.
struct Column<'a> {
    nulls: Option<NullBuffer>,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Int(&'a [i64]),
    UInt(&'a [u64]),
    Float(&'a [f64]),
    Single(&'a [f32]),
    Narrow(&'a [i64], i8),
    Wide(&'a [i128], i8),
    Date(&'a [i32]),
    /// Timestamps in a unit of so many to the second, and whether they are in UTC.
    Stamp(PrimitiveArray<Int64Type>, i64, bool),
    Bool(&'a BooleanArray),
    Text(&'a StringViewArray),
    List(&'a [i32], Box<Column<'a>>),
    Struct(Vec<Vec<u8>>, Vec<Column<'a>>),
    Map(&'a [i32], Box<Column<'a>>, Box<Column<'a>>),
    /// Other types by their text; a number, or in quotes.
    Other(ArrayFormatter<'a>, bool),
}

impl<'a> Column<'a> {
    /// A column of a [`held_type`].
    fn of(array: &'a ArrayRef) -> Result<Column<'a>> {
        let cells = match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Cells::List(list.value_offsets(), Box::new(Column::of(list.values())?))
            }
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns().iter().map(Column::of);
                let keys = fields.iter().map(|field| key(field.name())).collect();
                Cells::Struct(keys, columns.collect::<Result<_>>()?)
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let (keys, values) = (Column::of(map.keys())?, Column::of(map.values())?);
                Cells::Map(map.value_offsets(), Box::new(keys), Box::new(values))
            }
            _ => Cells::of(array)?,
        };
        // Those of a column of NULLs alone too.
        Ok(Column { nulls: array.logical_nulls(), cells })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.cells {
            Cells::List(offsets, items) => {
                out.push(b'[');
                for (position, item) in range(offsets, row).enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    items.write(item, out)?;
                }
                out.push(b']');
                Ok(())
            }
            Cells::Struct(keys, columns) => members(keys, columns, row, out),
            Cells::Map(offsets, keys, values) => {
                out.push(b'{');
                for (position, entry) in range(offsets, row).enumerate() {
                    if position > 0 {
                        out.push(b',');
                    }
                    keys.write_key(entry, out)?;
                    out.push(b':');
                    values.write(entry, out)?;
                }
                out.push(b'}');
                Ok(())
            }
            cells => cells.write(row, out),
        }
    }

    /// A value as a key: in quotes, whatever its type.
    fn write_key(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let begin = out.len();
        self.write(row, out)?;
        if out.get(begin) != Some(&b'"') {
            let written = out.split_off(begin);
            text(&String::from_utf8_lossy(&written), out);
        }
        Ok(())
    }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |row: usize| offsets.get(row).map_or(0, |&offset| offset as usize);
    at(row)..at(row + 1)
}

impl<'a> Cells<'a> {
    fn of(array: &'a ArrayRef) -> Result<Cells<'a>> {
        use DataType as T;
        Ok(match array.data_type() {
            T::Int64 => Cells::Int(array.as_primitive::<Int64Type>().values()),
            T::UInt64 => Cells::UInt(array.as_primitive::<UInt64Type>().values()),
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
            other => {
                let is_number = matches!(other, T::Decimal256(_, _));
                Cells::Other(formatter(array)?, is_number)
            }
        })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Cells::Int(values) => integer(values[row].into(), 0, out),
            Cells::UInt(values) => integer(values[row].into(), 0, out),
            Cells::Narrow(values, scale) => integer(values[row].into(), *scale, out),
            Cells::Wide(values, scale) => integer(values[row], *scale, out),
            Cells::Float(values) if !values[row].is_finite() => not_finite(values[row], out),
            Cells::Single(values) if !values[row].is_finite() => {
                not_finite(values[row].into(), out);
            }
            // The debug form is the shortest that reads back as the same number, with an exponent
            // where it would be long.
            Cells::Float(values) => display(format_args!("{:?}", values[row]), out),
            Cells::Single(values) => display(format_args!("{:?}", values[row]), out),
            Cells::Date(values) => {
                out.push(b'"');
                date(i64::from(values[row]), out);
                out.push(b'"');
            }
            Cells::Stamp(values, per_second, zoned) => {
                out.push(b'"');
                stamp(values.value(row), *per_second, *zoned, b'T', out);
                out.push(b'"');
            }
            Cells::Bool(values) => {
                out.extend_from_slice(if values.value(row) { b"true" } else { b"false" });
            }
            Cells::Text(values) => text(values.value(row), out),
            Cells::Other(values, is_number) => {
                let written = values.value(row).try_to_string()?;
                match is_number {
                    true => out.extend_from_slice(written.as_bytes()),
                    false => text(&written, out),
                }
            }
            Cells::List(..) | Cells::Struct(..) | Cells::Map(..) => {
                return Err(Error::internal("a nested value among plain ones"));
            }
        }
        Ok(())
    }
}

/// What is no number of JSON, as others write it.
fn not_finite(value: f64, out: &mut Vec<u8>) {
    let text: &[u8] = match value {
        f64::INFINITY => b"Infinity",
        f64::NEG_INFINITY => b"-Infinity",
        _ => b"NaN",
    };
    out.extend_from_slice(text);
}
