//! From packed rows to arrays.
//!
//! Rows come in groups of at most [`UNPACK_ROWS_MAX`], small enough that the bytes of a group are
//! in the nearest cache while its columns are read one after another.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, BinaryViewArray, BooleanArray, NullBufferBuilder, StringViewArray,
    make_array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, i256};

use super::super::fixed::{ByteSlot, Fixed, INLINE_BYTES};
use super::super::layout::{ColumnLayout, Kind};
use super::layout::PackedLayout;
use super::row::{PackedRow, string_at};
use crate::error::Result;

/// The most rows of a group.
pub const UNPACK_ROWS_MAX: usize = 256;

/// The most bytes of one buffer of long strings; views have offsets of 31 bits.
const VIEW_BUFFER_BYTES: usize = 1 << 30;

/// Collects rows into arrays of the physical types; see the module documentation.
pub struct Unpacker {
    layout: Arc<PackedLayout>,
    columns: Vec<Collected>,
    rows: usize,
    rows_max: usize,
}

/// The values of one column so far.
struct Collected {
    values: Values,
    nulls: NullBufferBuilder,
}

enum Values {
    None,
    W1(Vec<u8>),
    W2(Vec<u16>),
    W4(Vec<u32>),
    W8(Vec<u64>),
    W16(Vec<u128>),
    W32(Vec<i256>),
    Strings(Strings),
    /// `arrow-row` bytes and where each row's end.
    Nested(Vec<u8>, Vec<usize>),
}

#[derive(Default)]
struct Strings {
    views: Vec<u128>,
    heap: Vec<u8>,
    buffers: Vec<Buffer>,
}

impl Unpacker {
    /// For arrays of up to `rows_max` rows.
    pub fn new(layout: Arc<PackedLayout>, rows_max: usize) -> Self {
        let mut unpacker = Unpacker { layout, columns: Vec::new(), rows: 0, rows_max };
        unpacker.restart();
        unpacker
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a group of rows. `may_have_nulls` tells it of each column.
    pub fn push(&mut self, rows: &[PackedRow<'_>], may_have_nulls: impl Fn(usize) -> bool) {
        let layout = self.layout.clone();
        let mut ends = [0; UNPACK_ROWS_MAX];
        rows.iter().zip(&mut ends).for_each(|(row, end)| *end = row.strings_at());
        for (number, column) in self.columns.iter_mut().enumerate() {
            column.values.push_fixed(rows, number);
            let is_null_type = matches!(column.values, Values::None);
            if !is_null_type && may_have_nulls(number) {
                rows.iter().for_each(|row| column.nulls.append(!row.is_null(number)));
            } else {
                column.nulls.append_n_non_nulls(rows.len());
            }
        }
        for &number in &layout.variable {
            match &mut self.columns[number].values {
                Values::Strings(strings) => {
                    for (row, end) in rows.iter().zip(&mut ends) {
                        let (start, len) = string_at(row.body(), *end);
                        *end = start + len;
                        strings.push(row.body(), start, len);
                    }
                }
                Values::Nested(bytes, bounds) => {
                    for (row, end) in rows.iter().zip(&mut ends) {
                        let (start, len) = string_at(row.body(), *end);
                        *end = start + len;
                        bytes.extend_from_slice(&row.body()[start..start + len]);
                        bounds.push(bytes.len());
                    }
                }
                _ => (),
            }
        }
        self.rows += rows.len();
    }

    /// The arrays of the rows so far, and a new start.
    ///
    /// # Errors
    /// `Internal` when bytes are not what the layout says.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        let rows = self.rows;
        let columns = std::mem::take(&mut self.columns);
        let arrays = columns.into_iter().enumerate().map(|(number, column)| {
            let Collected { values, mut nulls } = column;
            values.finish(self.layout.column(number), rows, nulls.finish())
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        self.restart();
        Ok(arrays)
    }

    fn restart(&mut self) {
        let (layout, rows) = (&self.layout, self.rows_max);
        let collected = |number| Collected {
            values: Values::new(layout.column(number), rows),
            nulls: NullBufferBuilder::new(rows),
        };
        self.columns = (0..layout.columns()).map(collected).collect();
        self.rows = 0;
    }
}

impl Values {
    fn new(column: &ColumnLayout, rows: usize) -> Values {
        match (&column.kind, column.width) {
            (Kind::Null, _) => Values::None,
            (Kind::Bytes, _) => {
                Values::Strings(Strings { views: Vec::with_capacity(rows), ..Default::default() })
            }
            (Kind::Nested(_), _) => Values::Nested(Vec::new(), Vec::with_capacity(rows)),
            (_, 1) => Values::W1(Vec::with_capacity(rows)),
            (_, 2) => Values::W2(Vec::with_capacity(rows)),
            (_, 4) => Values::W4(Vec::with_capacity(rows)),
            (_, 8) => Values::W8(Vec::with_capacity(rows)),
            (_, 16) => Values::W16(Vec::with_capacity(rows)),
            _ => Values::W32(Vec::with_capacity(rows)),
        }
    }

    fn push_fixed(&mut self, rows: &[PackedRow<'_>], column: usize) {
        let bits = rows.iter().map(|row| row.bits(column));
        match self {
            Values::W1(values) => values.extend(bits.map(|bits| bits as u8)),
            Values::W2(values) => values.extend(bits.map(|bits| bits as u16)),
            Values::W4(values) => values.extend(bits.map(|bits| bits as u32)),
            Values::W8(values) => values.extend(bits),
            Values::W16(values) => {
                values.extend(rows.iter().map(|row| u128::take(row.raw(column))))
            }
            Values::W32(values) => {
                values.extend(rows.iter().map(|row| i256::take(row.raw(column))))
            }
            Values::None | Values::Strings(_) | Values::Nested(..) => (),
        }
    }

    fn finish(
        self,
        column: &ColumnLayout,
        rows: usize,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef> {
        match (self, &column.kind) {
            (Values::W1(values), Kind::Bool) => {
                let values = BooleanBuffer::collect_bool(rows, |row| values[row] != 0);
                Ok(Arc::new(BooleanArray::new(values, nulls)))
            }
            (Values::W1(values), _) => array(column, values, nulls),
            (Values::W2(values), _) => array(column, values, nulls),
            (Values::W4(values), _) => array(column, values, nulls),
            (Values::W8(values), _) => array(column, values, nulls),
            (Values::W16(values), _) => array(column, values, nulls),
            (Values::W32(values), _) => array(column, values, nulls),
            (Values::Strings(strings), _) => strings.finish(column, nulls),
            (Values::Nested(bytes, ends), Kind::Nested(codec)) => {
                let starts = std::iter::once(0).chain(ends.iter().copied());
                codec.decode(starts.zip(&ends).enumerate().map(|(row, (start, &end))| {
                    let null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                    (!null).then(|| &bytes[start..end])
                }))
            }
            (Values::None | Values::Nested(..), _) => Ok(new_null_array(&column.physical, rows)),
        }
    }
}

fn array<T: ArrowNativeType>(
    column: &ColumnLayout,
    values: Vec<T>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let data = ArrayData::builder(column.physical.clone())
        .len(values.len())
        .add_buffer(Buffer::from_vec(values))
        .nulls(nulls);
    Ok(make_array(data.build()?))
}

impl Strings {
    /// Adds the string of `len` bytes at `start`; `body` goes on behind it.
    #[inline]
    fn push(&mut self, body: &[u8], start: usize, len: usize) {
        if len <= INLINE_BYTES {
            // One load of 16 bytes is faster than a copy of so few; near the end of the bytes
            // there are not as many.
            let view = match body[start..].first_chunk::<16>() {
                Some(bytes) => {
                    let mask = (1u128 << (8 * len)) - 1;
                    ((u128::from_le_bytes(*bytes) & mask) << 32) | len as u128
                }
                None => ByteSlot::inline(&body[start..start + len]).0,
            };
            self.views.push(view);
            return;
        }
        if self.heap.len() + len > VIEW_BUFFER_BYTES && !self.heap.is_empty() {
            self.buffers.push(Buffer::from_vec(std::mem::take(&mut self.heap)));
        }
        let value = &body[start..start + len];
        let prefix = value.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let head = len as u128 | (u128::from(prefix) << 32);
        let offset = self.heap.len() as u128;
        self.views.push(head | ((self.buffers.len() as u128) << 64) | (offset << 96));
        self.heap.extend_from_slice(value);
    }

    fn finish(mut self, column: &ColumnLayout, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        if !self.heap.is_empty() {
            self.buffers.push(Buffer::from_vec(self.heap));
        }
        let views = ScalarBuffer::from(self.views);
        Ok(match column.physical {
            DataType::Utf8View => Arc::new(StringViewArray::try_new(views, self.buffers, nulls)?),
            _ => Arc::new(BinaryViewArray::try_new(views, self.buffers, nulls)?),
        })
    }
}
