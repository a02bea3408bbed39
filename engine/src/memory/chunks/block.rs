//! An array as a sequence of bytes, and back.
//!
//! ```text
//! array = | has NULLs 1 | rows 8 | validity bits | buffers 4 | (length 8 | bytes) … | children … |
//! ```
//!
//! The type is not written: whoever reads an array knows it. Neither side needs the bytes in one
//! piece: however large an array is, they go through a block of limited size.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, GenericByteViewArray, MutableArrayData, make_array,
    types::ByteViewType,
};
use arrow::buffer::{Buffer, MutableBuffer};
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

/// Where the bytes of arrays go.
pub(super) trait Put {
    fn put(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Where they come from.
pub(super) trait Take {
    /// The next bytes: at least one, and at most `most`, which is not zero.
    ///
    /// # Errors
    /// `Internal` when there are no more.
    fn part(&mut self, most: usize) -> Result<&[u8]>;
}

impl Take for &[u8] {
    fn part(&mut self, most: usize) -> Result<&[u8]> {
        if self.is_empty() {
            return Err(broken());
        }
        let (part, rest) = self.split_at(most.min(self.len()));
        *self = rest;
        Ok(part)
    }
}

/// Writes an array.
///
/// # Errors
/// `Internal` when it holds more than an array can, and those of the target.
pub(super) fn encode(array: &ArrayRef, target: &mut impl Put) -> Result<()> {
    encode_data(&array.to_data(), target)
}

fn encode_data(data: &ArrayData, target: &mut impl Put) -> Result<()> {
    if data.offset() > 0 {
        return encode_data(&copied(data)?, target);
    }
    let nulls = data.nulls().filter(|nulls| nulls.null_count() > 0);
    target.put(&[u8::from(nulls.is_some())])?;
    target.put(&(data.len() as u64).to_le_bytes())?;
    if let Some(nulls) = nulls {
        target.put(nulls.inner().sliced().as_slice())?;
    }
    target.put(&(data.buffers().len() as u32).to_le_bytes())?;
    for (number, buffer) in data.buffers().iter().enumerate() {
        let bytes = buffer.as_slice();
        let needed = needed_bytes(data, number).unwrap_or(bytes.len()).min(bytes.len());
        target.put(&(needed as u64).to_le_bytes())?;
        target.put(&bytes[..needed])?;
    }
    data.child_data().iter().try_for_each(|child| encode_data(child, target))
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

/// Reads an array of this type.
///
/// # Errors
/// `Internal` when something else was written, and those of the source.
pub(super) fn decode(data_type: &DataType, source: &mut impl Take) -> Result<ArrayRef> {
    Ok(make_array(decode_data(data_type, source)?))
}

fn decode_data(data_type: &DataType, source: &mut impl Take) -> Result<ArrayData> {
    let has_nulls = bytes::<1>(source)? != [0];
    let len = number(source)?;
    let nulls = if has_nulls { Some(buffer(source, len.div_ceil(8))?) } else { None };
    let mut buffers = Vec::new();
    for _ in 0..u32::from_le_bytes(bytes(source)?) {
        let len = number(source)?;
        buffers.push(buffer(source, len)?);
    }
    let children = child_types(data_type);
    let children = children.iter().map(|child| decode_data(child, source));
    let data = ArrayData::builder(data_type.clone())
        .len(len)
        .null_bit_buffer(nulls)
        .buffers(buffers)
        .child_data(children.collect::<Result<_>>()?);
    Ok(data.build()?)
}

fn number(source: &mut impl Take) -> Result<usize> {
    usize::try_from(u64::from_le_bytes(bytes(source)?)).map_err(|_| broken())
}

fn bytes<const N: usize>(source: &mut impl Take) -> Result<[u8; N]> {
    let (mut bytes, mut have) = ([0; N], 0);
    while have < N {
        let part = source.part(N - have)?;
        bytes[have..have + part.len()].copy_from_slice(part);
        have += part.len();
    }
    Ok(bytes)
}

fn buffer(source: &mut impl Take, len: usize) -> Result<Buffer> {
    if len == 0 {
        return Ok(Buffer::from(&[]));
    }
    let first = source.part(len)?;
    if first.len() == len {
        return Ok(Buffer::from(first));
    }
    let mut buffer = MutableBuffer::new(len);
    buffer.extend_from_slice(first);
    while buffer.len() < len {
        buffer.extend_from_slice(source.part(len - buffer.len())?);
    }
    Ok(buffer.into())
}

pub(super) fn broken() -> Error {
    Error::internal("a kept chunk is not what was written")
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
