//! Reads one column of many rows as an array.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, BinaryViewArray, BooleanArray, StringViewArray, make_array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, i256};

use super::fixed::{ByteSlot, Fixed, value_bytes};
use super::layout::{ColumnLayout, Kind, RowLayout};
use super::pages::{Pages, RowPages, RowRef};
use crate::error::{Error, Result};

/// The most bytes of one buffer of long strings; views have offsets of 31 bits.
const VIEW_BUFFER_BYTES: usize = 1 << 30;

impl RowPages {
    /// Column number `column` of these rows, an array of its physical type; NULL for
    /// [`RowRef::NONE`].
    ///
    /// # Errors
    /// `Internal` when there is no such column.
    pub fn gather(&self, column: usize, rows: &[RowRef]) -> Result<ArrayRef> {
        self.layout().gather(self, column, rows)
    }

    /// The bytes of a string or binary value; none for other types and NULL.
    pub fn value_bytes(&self, column: usize, row: RowRef) -> &[u8] {
        match self.layout().columns.get(column) {
            Some(layout) if layout.kind.has_heap() => {
                value_bytes(&self.row(row)[layout.offset..], self.page_bytes(row.page()))
            }
            _ => &[],
        }
    }
}

impl RowLayout {
    /// Column number `column` of these rows of any pages; see [`RowPages::gather`].
    ///
    /// # Errors
    /// `Internal` when there is no such column.
    pub fn gather<P: Pages + ?Sized>(
        &self,
        pages: &P,
        column: usize,
        rows: &[RowRef],
    ) -> Result<ArrayRef> {
        let Some(layout) = self.columns.get(column) else {
            return Err(Error::internal(format!("no column {column} in rows")));
        };
        let nulls = nulls(pages, layout, rows, pages.may_have_nulls(column));
        let read = Read { pages, layout, rows, nulls: nulls.as_ref() };
        match &layout.kind {
            Kind::Null => Ok(new_null_array(&layout.physical, rows.len())),
            Kind::Bool => {
                let values = BooleanBuffer::from_iter(read.values::<u8>().map(|v| v != 0));
                Ok(Arc::new(BooleanArray::new(values, nulls)))
            }
            Kind::Bytes => read.views(),
            Kind::Nested(codec) => codec.decode(read.rows.iter().enumerate().map(|(i, &row)| {
                let null = read.nulls.is_some_and(|nulls| nulls.is_null(i));
                (!null).then(|| read.bytes(row))
            })),
            Kind::Widest => read.array(read.values::<i256>().collect()),
            _ => match layout.width {
                1 => read.array(read.values::<u8>().collect()),
                2 => read.array(read.values::<u16>().collect()),
                4 => read.array(read.values::<u32>().collect()),
                8 => read.array(read.values::<u64>().collect()),
                _ => read.array(read.values::<u128>().collect()),
            },
        }
    }
}

/// Which rows are not NULL; `None` when all are.
fn nulls<P: Pages + ?Sized>(
    pages: &P,
    column: &ColumnLayout,
    rows: &[RowRef],
    may_have_nulls: bool,
) -> Option<NullBuffer> {
    let some_none = rows.contains(&RowRef::NONE);
    if !some_none && !may_have_nulls {
        return None;
    }
    let valid = |i: usize| {
        let row = rows[i];
        row != RowRef::NONE
            && pages.page_bytes(row.page())[row.offset() + column.null_byte] & column.null_mask == 0
    };
    let nulls = NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), valid));
    (nulls.null_count() > 0).then_some(nulls)
}

/// One column of some rows.
struct Read<'a, P: ?Sized> {
    pages: &'a P,
    layout: &'a ColumnLayout,
    rows: &'a [RowRef],
    nulls: Option<&'a NullBuffer>,
}

impl<P: Pages + ?Sized> Read<'_, P> {
    /// The column's bytes of a row, and what is behind them.
    #[inline]
    fn slot(&self, row: RowRef) -> &[u8] {
        match row {
            RowRef::NONE => &[0; 32],
            row => &self.pages.page_bytes(row.page())[row.offset() + self.layout.offset..],
        }
    }

    fn values<T: Fixed>(&self) -> impl ExactSizeIterator<Item = T> + '_ {
        self.rows.iter().map(|&row| T::take(self.slot(row)))
    }

    fn array<T: ArrowNativeType>(&self, values: Vec<T>) -> Result<ArrayRef> {
        let data = ArrayData::builder(self.layout.physical.clone())
            .len(values.len())
            .add_buffer(Buffer::from_vec(values))
            .nulls(self.nulls.cloned());
        Ok(make_array(data.build()?))
    }

    fn bytes(&self, row: RowRef) -> &[u8] {
        match row {
            RowRef::NONE => &[],
            row => value_bytes(self.slot(row), self.pages.page_bytes(row.page())),
        }
    }

    /// Strings and binary values: views of one new buffer, unless they are very long.
    fn views(&self) -> Result<ArrayRef> {
        let mut buffers = Vec::new();
        let mut heap: Vec<u8> = Vec::new();
        let mut views = Vec::with_capacity(self.rows.len());
        for &row in self.rows {
            let slot = ByteSlot::take(self.slot(row));
            if slot.is_inline() {
                views.push(slot.0);
                continue;
            }
            if heap.len() + slot.len() > VIEW_BUFFER_BYTES && !heap.is_empty() {
                buffers.push(Buffer::from_vec(std::mem::take(&mut heap)));
            }
            let head = slot.0 & u128::from(u64::MAX);
            let offset = heap.len() as u128;
            views.push(head | ((buffers.len() as u128) << 64) | (offset << 96));
            heap.extend_from_slice(slot.heap(self.pages.page_bytes(row.page())));
        }
        if !heap.is_empty() {
            buffers.push(Buffer::from_vec(heap));
        }
        let views = ScalarBuffer::from(views);
        let nulls = self.nulls.cloned();
        Ok(match self.layout.physical {
            DataType::Utf8View => Arc::new(StringViewArray::try_new(views, buffers, nulls)?),
            _ => Arc::new(BinaryViewArray::try_new(views, buffers, nulls)?),
        })
    }
}
