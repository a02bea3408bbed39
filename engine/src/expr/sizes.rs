//! How many bytes values take.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;

use super::function::Argument;
use crate::batch::{
    Chunk, Column, Form, NULL_INDEX, Selection, content_bytes, ends, physical_type, view_length,
};

/// The most bytes that the texts, binaries and lists of several rows should take where they are
/// written out together: whoever makes such rows gives fewer of them at a time, down to one.
pub const WRITTEN_BYTES_MAX: usize = 1 << 20;

/// Whether the type of a value says how many bytes it takes.
pub fn is_fixed(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeBinary(_) | DataType::Boolean | DataType::Null => true,
        other => physical_type(other).is_primitive(),
    }
}

/// Whether values of a type are made of others: they are copied whole where rows are gathered, and
/// where a constant is given to a function as a column.
pub(super) fn is_nested(data_type: &DataType) -> bool {
    use DataType::{FixedSizeList, LargeList, List, Map, Struct};
    matches!(data_type, List(_) | LargeList(_) | FixedSizeList(..) | Map(..) | Struct(_))
}

/// Bytes that some rows of a column take, each written out: `rows` of them, or all of `count`.
pub(super) fn written_bytes(column: &Column, rows: Option<&Selection>, count: usize) -> usize {
    let wanted = rows.map_or(count, Selection::len);
    let (base, indices) = match column.form() {
        Form::Constant(value) => return content_bytes(value).saturating_mul(wanted),
        Form::Flat(array) => (array, None),
        Form::Indexed(indexed) => (&indexed.base, Some(indexed.indices.as_slice())),
    };
    let DataType::List(_) = base.data_type() else {
        return content_bytes(base).saturating_mul(wanted) / base.len().max(1);
    };
    let list = base.as_list::<i32>();
    let element = content_bytes(list.values()) as f64 / list.values().len().max(1) as f64;
    let elements = |row: usize| {
        let at = indices.map_or(row, |indices| indices[row] as usize);
        // What is NULL is beyond the end.
        if at < list.len() { list.value_length(at) as usize } else { 0 }
    };
    let elements: usize = match rows {
        Some(rows) => rows.as_slice().iter().map(|&row| elements(row as usize)).sum(),
        None => (0..count).map(elements).sum(),
    };
    (elements as f64 * element) as usize
}

/// Bytes of an array's values, one by one.
pub enum ValueBytes<'a> {
    /// About as many for each.
    Same(usize),
    /// Texts and binaries.
    Views(&'a [u128]),
    /// Lists, and about how many bytes an element has; texts and binaries with offsets.
    Lists(&'a [i32], f64),
}

impl<'a> ValueBytes<'a> {
    /// The bytes of the values of `array`.
    pub fn of(array: &'a dyn Array) -> Self {
        match array.data_type() {
            DataType::Utf8View => ValueBytes::Views(array.as_string_view().views()),
            DataType::BinaryView => ValueBytes::Views(array.as_binary_view().views()),
            DataType::Utf8 => ValueBytes::Lists(array.as_string::<i32>().value_offsets(), 1.0),
            DataType::Binary => ValueBytes::Lists(array.as_binary::<i32>().value_offsets(), 1.0),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let (start, end) = ends(list.value_offsets());
                let elements = content_bytes(&list.values().slice(start, end - start));
                let element = elements as f64 / (end - start).max(1) as f64;
                ValueBytes::Lists(list.value_offsets(), element)
            }
            _ => ValueBytes::Same(content_bytes(array) / array.len().max(1)),
        }
    }

    /// The bytes of value number `at`; what is beyond the end is NULL.
    #[inline]
    pub fn at(&self, at: usize) -> usize {
        match self {
            ValueBytes::Same(bytes) => *bytes,
            ValueBytes::Views(views) => views.get(at).map_or(0, |&view| view_length(view)),
            ValueBytes::Lists(offsets, element) => match offsets.get(at..).unwrap_or(&[]) {
                [start, end, ..] => (f64::from(end - start) * element) as usize,
                _ => 0,
            },
        }
    }
}

/// What is written out of the rows of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nothing.
    Nothing,
    /// Lists, and other values that are made of values, but not constants: expressions take these
    /// as they are.
    Varying,
    /// Lists and other values that are made of values: texts stay where they are.
    Nested,
    /// Everything.
    All,
}

/// How many of a chunk's live rows, from the first, take at most about [`WRITTEN_BYTES_MAX`]
/// written out; at least one. Values whose type says their bytes are limited by themselves, to as
/// much again, and only where everything is written.
pub fn rows_within(chunk: &Chunk, written: Written) -> usize {
    let live = chunk.live_rows();
    let live = match written {
        Written::All => live.min((WRITTEN_BYTES_MAX / fixed_bytes(chunk).max(1)).max(1)),
        _ => live,
    };
    let counts = |column: &&Column| match written {
        Written::Nothing => false,
        Written::Varying => {
            is_nested(column.logical()) && !matches!(column.form(), Form::Constant(_))
        }
        Written::Nested => is_nested(column.logical()),
        Written::All => !is_fixed(column.values().data_type()),
    };
    let columns = chunk.columns().iter().filter(counts);
    let totals = columns.map(|column| (column, total_bytes(column, live)));
    let totals: Vec<(&Column, usize)> = totals.collect();
    if totals.iter().fold(0, |sum: usize, (_, bytes)| sum.saturating_add(*bytes))
        <= WRITTEN_BYTES_MAX
    {
        return live;
    }
    let long = totals.iter().filter(|(_, bytes)| *bytes > WRITTEN_BYTES_MAX / 8);
    let sizes = long.map(|(column, _)| (ValueBytes::of(column.values()), column.form()));
    let sizes: Vec<(ValueBytes<'_>, &Form)> = sizes.collect();
    let of_row = |row: u32| -> usize {
        let of_column = |(bytes, form): &(ValueBytes<'_>, &Form)| match form {
            Form::Flat(_) => bytes.at(row as usize),
            Form::Constant(_) => bytes.at(0),
            Form::Indexed(indexed) => match indexed.indices.as_slice()[row as usize] {
                NULL_INDEX => 0,
                at => bytes.at(at as usize),
            },
        };
        sizes.iter().map(of_column).sum()
    };
    count_within(WRITTEN_BYTES_MAX, chunk.live_positions().iter().map(|&row| of_row(row))).min(live)
}

/// Bytes of a row's values whose type says how many they are, and of the views of texts.
fn fixed_bytes(chunk: &Chunk) -> usize {
    let widths = chunk.columns().iter().map(|column| match column.values().data_type() {
        DataType::Boolean => 1,
        DataType::Utf8View | DataType::BinaryView => size_of::<u128>(),
        other => other.primitive_width().unwrap_or(0),
    });
    widths.sum()
}

/// How many values of these bytes, from the first, take at most `most` together; at least one.
pub fn count_within(most: usize, values: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0_usize;
    let within = values.take_while(|&value| {
        bytes = bytes.saturating_add(value);
        bytes <= most
    });
    within.count().max(1)
}

/// Bytes that all physical rows of a column take written out; of a constant, so many live ones.
fn total_bytes(column: &Column, live: usize) -> usize {
    let lengths = |views: &[u128]| views.iter().map(|&view| view_length(view)).sum();
    match column.form() {
        Form::Flat(array) => match ValueBytes::of(array) {
            ValueBytes::Views(views) => lengths(views),
            _ => content_bytes(array),
        },
        Form::Constant(array) => content_bytes(array).saturating_mul(live),
        Form::Indexed(indexed) => {
            // What is NULL is beyond the end.
            let bytes = ValueBytes::of(&indexed.base);
            let indices = indexed.indices.as_slice().iter();
            indices.map(|&at| bytes.at(at as usize)).fold(0, usize::saturating_add)
        }
    }
}

/// Bytes that the arguments of a call take, constants as often as there are `rows`.
pub fn bytes_taken(args: &[Argument], rows: usize) -> usize {
    args.iter().fold(0, |sum, arg| sum.saturating_add(arg.content_bytes(rows)))
}

impl Argument {
    /// Bytes that the argument's values take for `rows` rows; a constant counts for each.
    pub fn content_bytes(&self, rows: usize) -> usize {
        match self {
            Argument::Array(array) => content_bytes(array),
            Argument::Constant(array) => content_bytes(array).saturating_mul(rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::batch::{Indices, Place, hash_word};

    const ROWS: u32 = 600;

    fn lists(lengths: impl Iterator<Item = Option<usize>>) -> ArrayRef {
        let list = |length: usize| vec![Some(7); length];
        let rows = lengths.map(|length| length.map(list));
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows))
    }

    /// Lengths of a few lists that are long, some that are short, and NULLs.
    fn length(row: u64) -> Option<usize> {
        match hash_word(row) % 50 {
            0 => Some(20_000),
            1..10 => None,
            drawn => Some(drawn as usize),
        }
    }

    #[test]
    fn rows_within_are_as_many_as_take_little_written_out() {
        let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS.into()));
        let list = lists((0..ROWS).map(|row| length(row.into())));
        let base = lists((0..20).map(|row| Some(row * 1000)));
        let at: Vec<u32> =
            (0..ROWS).map(|row| if row % 7 == 0 { NULL_INDEX } else { row % 20 }).collect();
        let text: StringViewArray = (0..ROWS).map(|row| Some("x".repeat(row as usize))).collect();
        let columns = |which: u64| {
            let nested = list.data_type().clone();
            let indices = Arc::new(Indices::with_nulls(at.clone()));
            let all = [
                Column::flat(DataType::Int64, number.clone()),
                Column::flat(nested.clone(), list.clone()),
                Column::indexed(nested.clone(), indices, base.clone(), None),
                Column::constant(nested, base.slice(4, 1)),
                Column::flat(DataType::Utf8View, Arc::new(text.clone())),
            ];
            let chosen = all.into_iter().enumerate().filter(|(at, _)| which >> at & 1 == 1);
            chosen.map(|(_, column)| column).collect::<Vec<_>>()
        };
        for which in 0..32_u64 {
            let live = (0..ROWS).filter(|row| row % 3 != 1 || which % 2 == 0).collect();
            let chunk = Chunk::new(columns(which), ROWS as usize, Place::default());
            let chunk = chunk.select(Selection::new(live));
            for written in [Written::Nothing, Written::Varying, Written::Nested, Written::All] {
                let of_row = |row: u32| {
                    let has = |column: u32, least: &[Written]| {
                        which >> column & 1 == 1 && least.contains(&written)
                    };
                    let nested = [Written::Varying, Written::Nested, Written::All];
                    let mut bytes = 0;
                    if has(1, &nested) {
                        bytes += 8 * length(row.into()).unwrap_or(0);
                    }
                    if has(2, &nested) && at[row as usize] != NULL_INDEX {
                        bytes += 8 * 1000 * (row % 20) as usize;
                    }
                    if has(3, &nested[1..]) {
                        bytes += 8 * 4000;
                    }
                    if has(4, &nested[2..]) {
                        bytes += row as usize;
                    }
                    bytes
                };
                let mut bytes = 0;
                let naive = chunk.live_positions().iter().take_while(|&&row| {
                    bytes += of_row(row);
                    bytes <= WRITTEN_BYTES_MAX
                });
                let (naive, found) = (naive.count().max(1), rows_within(&chunk, written));
                // Bytes beside the elements count as well, and columns that are short do not.
                let most = naive + naive / 4;
                assert!(found <= most && found * 4 >= naive * 3, "{which} {written:?}");
            }
        }
    }

    #[test]
    fn many_columns_are_few_rows() {
        const ROWS: usize = 2000;
        let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS as i64));
        let column = Column::flat(DataType::Int64, number);
        for columns in [1, 16, 65, 66, 600, 200_000] {
            let chunk = Chunk::new(vec![column.clone(); columns], ROWS, Place::default());
            let within = ROWS.min((WRITTEN_BYTES_MAX / (8 * columns)).max(1));
            assert_eq!(rows_within(&chunk, Written::All), within, "{columns} columns");
            assert_eq!(rows_within(&chunk, Written::Nested), ROWS);
        }
    }
}
