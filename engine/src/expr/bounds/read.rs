//! Reads what bounds compare: the values of their expressions over a chunk.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};

use super::values::Known;
use crate::batch::{Chunk, Column, Ordinals, Selection, float_key, float_order};
use crate::error::{Error, Result};
use crate::expr::{Evaluator, Piece};

/// A beginning of more bytes does not pay.
const BEGINNING_BYTES_MAX: usize = 256;

/// What texts that are compared are read behind, by bound: both sides behind the same. `None` until
/// the first are read, which say what.
#[derive(Debug, Clone)]
pub struct Beginnings(Vec<Option<Vec<u8>>>);

impl Beginnings {
    /// Of `count` bounds, the first texts to say what.
    pub(super) fn of_first(count: usize) -> Self {
        Beginnings(vec![None; count])
    }

    /// Of `count` bounds, none: texts are compared by what they begin with.
    pub(super) fn none(count: usize) -> Self {
        Beginnings(vec![Some(Vec::new()); count])
    }
}

/// The values of expressions for a chunk, by expression and physical row; NULL where a row
/// is not live; `None` where they cannot be computed for all live rows.
///
/// # Errors
/// What is not the fault of the values.
pub(super) fn read_values(
    evaluator: &mut Evaluator,
    chunk: &Chunk,
    beginnings: &mut Beginnings,
    ordinals: &mut Ordinals,
) -> Result<Option<Vec<Vec<Known>>>> {
    let mut all = vec![vec![Known::Null; chunk.rows()]; beginnings.0.len()];
    let mut from = 0;
    while from < chunk.live_rows() {
        let piece = match evaluator.evaluate(chunk, from) {
            Err(Error::Input { .. }) => return Ok(None),
            piece => piece?,
        };
        let Piece { value: columns, rows, until } = piece;
        let live = rows.as_ref().map_or(chunk.live_positions(), Selection::as_slice);
        for ((column, known), beginning) in columns.iter().zip(&mut all).zip(&mut beginnings.0) {
            read(column, chunk.rows(), live, beginning, ordinals, known)?;
        }
        from = until;
    }
    Ok(Some(all))
}

/// Reads the values of the live rows of a column.
fn read(
    column: &Column,
    rows: usize,
    live: &[u32],
    beginning: &mut Option<Vec<u8>>,
    ordinals: &mut Ordinals,
    known: &mut [Known],
) -> Result<()> {
    if *column.logical() == DataType::Float64 {
        let array = column.to_array(rows)?;
        let array = array.as_primitive_opt::<Float64Type>();
        let array = array.ok_or_else(|| Error::internal("doubles that are none"))?;
        read_each(array, live, known, |row| float_order(float_key(array.value(row))));
        return Ok(());
    }
    if column.values().data_type() == &DataType::Utf8View {
        let array = column.to_array(rows)?;
        let texts = array.as_string_view();
        let all = live.iter().map(|&row| row as usize).filter(|&row| texts.is_valid(row));
        let beginning = beginning.get_or_insert_with(|| common(all.map(|row| texts.value(row))));
        read_each(texts, live, known, |row| prefix(texts.value(row), beginning));
        return Ok(());
    }
    ordinals.read(column, rows, Some(&Selection::new(live.to_vec())))?;
    for (&row, &value) in live.iter().zip(&ordinals.values) {
        known[row as usize] = Known::Value(value);
    }
    ordinals.nulls.iter().for_each(|&at| known[live[at as usize] as usize] = Known::Null);
    ordinals.beyond.iter().for_each(|&at| known[live[at as usize] as usize] = Known::Beyond);
    Ok(())
}

/// Reads the live rows of an array, each valid one by its number.
fn read_each(array: &dyn Array, live: &[u32], known: &mut [Known], value: impl Fn(usize) -> i64) {
    for row in live.iter().map(|&row| row as usize) {
        known[row] = match array.is_valid(row) {
            true => Known::Value(value(row)),
            false => Known::Null,
        };
    }
}

/// The first bytes of a text behind those of `beginning`, in the order of texts.
pub(super) fn prefix(text: &str, beginning: &[u8]) -> i64 {
    let Some(rest) = text.as_bytes().strip_prefix(beginning) else {
        return if text.as_bytes() < beginning { i64::MIN } else { i64::MAX };
    };
    let mut bytes = [0; 8];
    let count = rest.len().min(bytes.len());
    bytes[..count].copy_from_slice(&rest[..count]);
    // The order of integers without sign.
    i64::from_be_bytes(bytes) ^ i64::MIN
}

/// What texts begin with, all of them, up to [`BEGINNING_BYTES_MAX`].
pub(super) fn common<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let shorter = |one: &'a [u8], other: &'a [u8]| {
        let count = one.iter().zip(other).take_while(|(a, b)| a == b).count();
        &one[..count]
    };
    let common = texts.map(str::as_bytes).reduce(shorter).unwrap_or_default();
    common[..common.len().min(BEGINNING_BYTES_MAX)].to_vec()
}
