//! An array as a block of bytes, and back.
//!
//! ```text
//! array = | has NULLs 1 | rows 8 | validity bits | buffers 4 | (length 8 | bytes) … | children … |
//! ```
//!
//! The type is not written: whoever reads a block knows it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, GenericByteViewArray, MutableArrayData, make_array,
    types::ByteViewType,
};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use crate::error::{Error, Result};

/// The array, copied where it pins much more memory than its rows take.
pub(super) fn owned(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Utf8View => {
            Ok(compacted(array.as_string_view()).unwrap_or_else(|| array.clone()))
        }
        DataType::BinaryView => {
            Ok(compacted(array.as_binary_view()).unwrap_or_else(|| array.clone()))
        }
        nested if nested.is_nested() => {
            let data = copied(&array.to_data())?;
            let children = data
                .child_data()
                .iter()
                .map(|child| Ok::<_, Error>(owned(&make_array(child.clone()))?.to_data()));
            let children = children.collect::<Result<Vec<_>>>()?;
            Ok(make_array(data.into_builder().child_data(children).build()?))
        }
        _ => {
            let data = array.to_data();
            let needed = data.get_slice_memory_size().unwrap_or(usize::MAX);
            let is_lean = array.get_buffer_memory_size() / 5 <= needed / 4 + SLACK_BYTES;
            Ok(if is_lean { array.clone() } else { make_array(copied(&data)?) })
        }
    }
}

/// Bytes that an array may pin for nothing.
const SLACK_BYTES: usize = 64;

fn compacted<T: ByteViewType>(array: &GenericByteViewArray<T>) -> Option<ArrayRef> {
    let pinned: usize = array.data_buffers().iter().map(|buffer| buffer.capacity()).sum();
    let used = array.total_buffer_bytes_used();
    (pinned / 5 > used / 4 + SLACK_BYTES).then(|| Arc::new(array.gc()) as ArrayRef)
}

/// The rows of an array and nothing else, from position 0 on.
fn copied(data: &ArrayData) -> Result<ArrayData> {
    let mut copy = MutableArrayData::new(vec![data], false, data.len());
    copy.try_extend(0, 0, data.len())?;
    Ok(copy.freeze())
}

/// Appends an array to a block.
///
/// # Errors
/// `Internal` when it holds more than an array can.
pub(super) fn encode(array: &ArrayRef, block: &mut Vec<u8>) -> Result<()> {
    encode_data(&array.to_data(), block)
}

fn encode_data(data: &ArrayData, block: &mut Vec<u8>) -> Result<()> {
    if data.offset() > 0 {
        return encode_data(&copied(data)?, block);
    }
    let nulls = data.nulls().filter(|nulls| nulls.null_count() > 0);
    block.push(u8::from(nulls.is_some()));
    block.extend_from_slice(&(data.len() as u64).to_le_bytes());
    if let Some(nulls) = nulls {
        block.extend_from_slice(nulls.inner().sliced().as_slice());
    }
    block.extend_from_slice(&(data.buffers().len() as u32).to_le_bytes());
    for (number, buffer) in data.buffers().iter().enumerate() {
        let bytes = buffer.as_slice();
        let needed = needed_bytes(data, number).unwrap_or(bytes.len()).min(bytes.len());
        block.extend_from_slice(&(needed as u64).to_le_bytes());
        block.extend_from_slice(&bytes[..needed]);
    }
    data.child_data().iter().try_for_each(|child| encode_data(child, block))
}

/// Bytes of a buffer that the rows need, where that is known without looking at it.
fn needed_bytes(data: &ArrayData, buffer: usize) -> Option<usize> {
    match (data.data_type(), buffer) {
        (DataType::Boolean, 0) => Some(data.len().div_ceil(8)),
        (DataType::Utf8View | DataType::BinaryView, 0) => Some(data.len() * 16),
        (other, 0) => other.primitive_width().map(|width| width * data.len()),
        _ => None,
    }
}

/// The array of this type in a block.
///
/// # Errors
/// `Internal` when the block holds something else.
pub(super) fn decode(data_type: &DataType, block: &[u8]) -> Result<ArrayRef> {
    let mut rest = block;
    let data = decode_data(data_type, &mut rest)?;
    Ok(make_array(data))
}

fn decode_data(data_type: &DataType, rest: &mut &[u8]) -> Result<ArrayData> {
    let has_nulls = take(rest, 1)?[0] != 0;
    let len = number(rest)?;
    let nulls = if has_nulls { Some(Buffer::from(take(rest, len.div_ceil(8))?)) } else { None };
    let count = take(rest, 4)?.first_chunk::<4>().map_or(0, |count| u32::from_le_bytes(*count));
    let mut buffers = Vec::new();
    for _ in 0..count {
        let bytes = number(rest)?;
        buffers.push(Buffer::from(take(rest, bytes)?));
    }
    let children = child_types(data_type);
    let children = children.iter().map(|child| decode_data(child, rest));
    let data = ArrayData::builder(data_type.clone())
        .len(len)
        .null_bit_buffer(nulls)
        .buffers(buffers)
        .child_data(children.collect::<Result<_>>()?);
    Ok(data.build()?)
}

fn number(rest: &mut &[u8]) -> Result<usize> {
    let number = take(rest, 8)?.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    usize::try_from(number).map_err(|_| broken())
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(bytes).ok_or_else(broken)?;
    *rest = behind;
    Ok(taken)
}

fn broken() -> Error {
    Error::internal("a block of a kept chunk is not what was written")
}

/// The types of an array's children.
fn child_types(data_type: &DataType) -> Vec<DataType> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item.data_type().clone()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type().clone()).collect(),
        DataType::Union(fields, _) => {
            fields.iter().map(|(_, field)| field.data_type().clone()).collect()
        }
        DataType::Dictionary(_, values) => vec![values.as_ref().clone()],
        DataType::RunEndEncoded(ends, values) => {
            vec![ends.data_type().clone(), values.data_type().clone()]
        }
        _ => Vec::new(),
    }
}
