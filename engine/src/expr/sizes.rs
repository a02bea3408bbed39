//! How many bytes values take.

use arrow::array::{Array, AsArray, GenericByteViewArray};
use arrow::datatypes::{ByteViewType, DataType};

use super::function::Argument;
use crate::batch::{Column, Form, Selection, physical_type};

/// Whether the type of a value says how many bytes it takes.
pub(super) fn is_fixed(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeBinary(_) | DataType::Boolean | DataType::Null => true,
        other => physical_type(other).is_primitive(),
    }
}

/// Bytes that the values of an array take, those included that they share with other arrays.
pub fn content_bytes(array: &dyn Array) -> usize {
    let lists = |width: usize, values: &dyn Array, (start, end): (usize, usize)| {
        array.len() * width + content_bytes(&values.slice(start, end - start))
    };
    match array.data_type() {
        DataType::Utf8View => view_bytes(array.as_string_view()),
        DataType::BinaryView => view_bytes(array.as_binary_view()),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            lists(4, list.values(), ends(list.value_offsets()))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            lists(8, list.values(), ends(list.value_offsets()))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            lists(4, map.entries(), ends(map.value_offsets()))
        }
        DataType::FixedSizeList(_, width) => {
            let list = array.as_fixed_size_list();
            let width = usize::try_from(*width).unwrap_or(0);
            let start = usize::try_from(list.value_offset(0)).unwrap_or(0);
            content_bytes(&list.values().slice(start, list.len() * width))
        }
        DataType::Struct(_) => {
            array.as_struct().columns().iter().map(|column| content_bytes(column)).sum()
        }
        _ => array.to_data().get_slice_memory_size().unwrap_or(0),
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

/// Where the values between some offsets begin and end.
fn ends<T: Copy + TryInto<usize>>(offsets: &[T]) -> (usize, usize) {
    let place = |offset: Option<&T>| offset.and_then(|&o| o.try_into().ok()).unwrap_or(0);
    (place(offsets.first()), place(offsets.last()))
}

fn view_bytes<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>) -> usize {
    // The low half of a view is the length; what is longer than this stands elsewhere.
    const INLINE_MAX: usize = 12;
    let beyond = |view: &u128| {
        let length = *view as u32 as usize;
        if length > INLINE_MAX { length } else { 0 }
    };
    size_of_val(&array.views()[..]) + array.views().iter().map(beyond).sum::<usize>()
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
