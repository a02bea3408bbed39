//! A long value in JSON, piece by piece: long texts and binary values, and lists, structures and
//! maps with such, down to values that are short. They are what whole rows have.

use std::io::Write;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use gristmill::{json_key, json_values};

use super::Failure;
use super::long::{bytes, is_long, pieces, write_value};

/// Bytes of short elements that are written at once.
const ELEMENTS_BYTES: usize = 64 << 10;

/// Writes a value of a column.
///
/// # Errors
/// When it has no form in JSON, and what the system says when it cannot be written.
pub fn value(array: &ArrayRef, row: usize, out: &mut dyn Write) -> Result<(), Failure> {
    use DataType as T;
    if !is_long(array, row) {
        return elements(array, row..row + 1, out);
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
        T::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            in_brackets(list.values(), offset(offsets[row])..offset(offsets[row + 1]), out)
        }
        T::LargeList(_) => {
            let list = array.as_list::<i64>();
            let offsets = list.value_offsets();
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            in_brackets(list.values(), range, out)
        }
        T::FixedSizeList(_, length) => {
            let range = row * offset(*length)..(row + 1) * offset(*length);
            in_brackets(array.as_fixed_size_list().values(), range, out)
        }
        T::Struct(fields) => {
            let members = fields.iter().zip(array.as_struct().columns());
            for (at, (field, member)) in members.enumerate() {
                out.write_all(if at > 0 { b"," } else { b"{" })?;
                name(field, out)?;
                value(member, row, out)?;
            }
            Ok(out.write_all(b"}")?)
        }
        T::Map(..) => {
            let map = array.as_map();
            let offsets = map.value_offsets();
            for at in offset(offsets[row])..offset(offsets[row + 1]) {
                out.write_all(if at > offset(offsets[row]) { b"," } else { b"{" })?;
                key(map.keys(), at, out)?;
                out.write_all(b":")?;
                value(map.values(), at, out)?;
            }
            Ok(out.write_all(b"}")?)
        }
        T::Dictionary(..) => {
            let slice = array.slice(row, 1);
            let one = slice.as_any_dictionary();
            let key = one.normalized_keys().first().copied().unwrap_or(0);
            value(one.values(), key, out)
        }
        _ => elements(array, row..row + 1, out),
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

/// The key of an entry of a map.
fn key(keys: &ArrayRef, row: usize, out: &mut dyn Write) -> Result<(), Failure> {
    if is_long(keys, row) {
        return value(keys, row, out);
    }
    let mut written = Vec::new();
    json_key(&keys.slice(row, 1), &mut written)?;
    Ok(out.write_all(&written)?)
}

fn in_brackets(values: &ArrayRef, range: Range<usize>, out: &mut dyn Write) -> Result<(), Failure> {
    out.write_all(b"[")?;
    elements(values, range, out)?;
    Ok(out.write_all(b"]")?)
}

/// Values with commas between them: short ones together, long ones piece by piece.
fn elements(array: &ArrayRef, range: Range<usize>, out: &mut dyn Write) -> Result<(), Failure> {
    let mut from = range.start;
    while from < range.end {
        if from > range.start {
            out.write_all(b",")?;
        }
        if is_long(array, from) {
            value(array, from, out)?;
            from += 1;
            continue;
        }
        let (mut until, mut held) = (from, 0);
        while until < range.end && !is_long(array, until) && held < ELEMENTS_BYTES {
            held += bytes(array, until..until + 1);
            until += 1;
        }
        let mut short = Vec::new();
        json_values(&array.slice(from, until - from), &mut short)?;
        out.write_all(&short)?;
        from = until;
    }
    Ok(())
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
                0..0x20 => write!(escaped, "\\u{byte:04x}")?,
                byte => escaped.push(byte),
            }
        }
        out.write_all(&escaped)?;
    }
    Ok(out.write_all(b"\"")?)
}
