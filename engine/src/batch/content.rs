//! How many bytes the values of arrays take.

use arrow::array::{Array, AsArray, GenericByteViewArray};
use arrow::datatypes::{ByteViewType, DataType};

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

/// Where the values between some offsets begin and end.
pub fn ends<T: Copy + TryInto<usize>>(offsets: &[T]) -> (usize, usize) {
    let place = |offset: Option<&T>| offset.and_then(|&o| o.try_into().ok()).unwrap_or(0);
    (place(offsets.first()), place(offsets.last()))
}

fn view_bytes<T: ByteViewType + ?Sized>(array: &GenericByteViewArray<T>) -> usize {
    // What is longer than this stands elsewhere.
    const INLINE_MAX: usize = 12;
    let beyond = |view: &u128| {
        let length = view_length(*view);
        if length > INLINE_MAX { length } else { 0 }
    };
    size_of_val(&array.views()[..]) + array.views().iter().map(beyond).sum::<usize>()
}

/// The length of a text or binary: the lowest quarter of its view.
pub fn view_length(view: u128) -> usize {
    view as u32 as usize
}
