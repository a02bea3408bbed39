//! A long value in JSON, piece by piece: long texts and binary values, and lists, structures and
//! maps with such, down to values that are short. They are what the writer of whole rows makes of
//! them.

use std::io::Write;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::json::writer::{EncoderOptions, make_encoder};

use super::Failure;
use super::long::{is_long, pieces, write_value};

/// Bytes of short elements that are written at once.
const ELEMENTS_BYTES: usize = 64 << 10;

/// Writes a value of a column.
///
/// # Errors
/// When it has no form in JSON, and what the system says when it cannot be written.
pub fn value(
    field: &FieldRef,
    array: &ArrayRef,
    row: usize,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    use DataType as T;
    if !is_long(array, row) {
        return elements(field, array, row..row + 1, out);
    }
    let offset = |offset: i32| offset as usize;
    match array.data_type() {
        T::Utf8 => text(array.as_string::<i32>().value(row), out),
        T::LargeUtf8 => text(array.as_string::<i64>().value(row), out),
        T::Utf8View => text(array.as_string_view().value(row), out),
        T::Binary | T::LargeBinary | T::BinaryView => {
            out.write_all(b"\"")?;
            write_value(array, row, |piece| Ok(out.write_all(piece.as_bytes())?))?;
            Ok(out.write_all(b"\"")?)
        }
        T::List(item) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            in_brackets(item, list.values(), offset(offsets[row])..offset(offsets[row + 1]), out)
        }
        T::LargeList(item) => {
            let list = array.as_list::<i64>();
            let offsets = list.value_offsets();
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            in_brackets(item, list.values(), range, out)
        }
        T::FixedSizeList(item, length) => {
            let range = row * offset(*length)..(row + 1) * offset(*length);
            in_brackets(item, array.as_fixed_size_list().values(), range, out)
        }
        T::Struct(fields) => {
            let members = fields.iter().zip(array.as_struct().columns());
            for (at, (field, member)) in members.enumerate() {
                out.write_all(if at > 0 { b"," } else { b"{" })?;
                name(field, out)?;
                value(field, member, row, out)?;
            }
            Ok(out.write_all(b"}")?)
        }
        T::Map(..) => {
            let map = array.as_map();
            let key = Field::new("key", map.key_type().clone(), false).into();
            let values = Field::new("value", map.value_type().clone(), true).into();
            let offsets = map.value_offsets();
            for at in offset(offsets[row])..offset(offsets[row + 1]) {
                out.write_all(if at > offset(offsets[row]) { b"," } else { b"{" })?;
                value(&key, map.keys(), at, out)?;
                out.write_all(b":")?;
                value(&values, map.values(), at, out)?;
            }
            Ok(out.write_all(b"}")?)
        }
        T::Dictionary(..) => {
            let slice = array.slice(row, 1);
            let one = slice.as_any_dictionary();
            let key = one.normalized_keys().first().copied().unwrap_or(0);
            let values = Field::new(field.name(), one.values().data_type().clone(), true).into();
            value(&values, one.values(), key, out)
        }
        _ => elements(field, array, row..row + 1, out),
    }
}

/// A name and a colon.
///
/// # Errors
/// What the system says when it cannot be written.
pub fn name(field: &FieldRef, out: &mut dyn Write) -> Result<(), Failure> {
    text(field.name(), out)?;
    Ok(out.write_all(b":")?)
}

fn in_brackets(
    item: &FieldRef,
    values: &ArrayRef,
    range: Range<usize>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    out.write_all(b"[")?;
    elements(item, values, range, out)?;
    Ok(out.write_all(b"]")?)
}

/// Values with commas between them.
fn elements(
    field: &FieldRef,
    array: &ArrayRef,
    range: Range<usize>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let nulls = array.logical_nulls();
    let mut encoder = make_encoder(field, array, &options)?;
    let mut short = Vec::new();
    for at in range.clone() {
        if at > range.start {
            short.push(b',');
        }
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(at)) {
            short.extend_from_slice(b"null");
        } else if is_long(array, at) {
            out.write_all(&short)?;
            short.clear();
            value(field, array, at, out)?;
        } else {
            encoder.encode(at, &mut short);
        }
        if short.len() > ELEMENTS_BYTES {
            out.write_all(&short)?;
            short.clear();
        }
    }
    Ok(out.write_all(&short)?)
}

/// A text in quotes.
fn text(text: &str, out: &mut dyn Write) -> Result<(), Failure> {
    out.write_all(b"\"")?;
    let mut escaped = Vec::new();
    for piece in pieces(text) {
        escaped.clear();
        for &byte in piece.as_bytes() {
            match byte {
                b'"' => escaped.extend_from_slice(b"\\\""),
                b'\\' => escaped.extend_from_slice(b"\\\\"),
                b'\n' => escaped.extend_from_slice(b"\\n"),
                b'\r' => escaped.extend_from_slice(b"\\r"),
                b'\t' => escaped.extend_from_slice(b"\\t"),
                0x08 => escaped.extend_from_slice(b"\\b"),
                0x0c => escaped.extend_from_slice(b"\\f"),
                0..0x20 => write!(escaped, "\\u{byte:04x}")?,
                byte => escaped.push(byte),
            }
        }
        out.write_all(&escaped)?;
    }
    Ok(out.write_all(b"\"")?)
}
