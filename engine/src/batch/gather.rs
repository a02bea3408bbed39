//! Copies values: the only place in the engine where a chunk's values are moved.
//!
//! The bytes copied are counted per thread, so that a test can show that a join or a filter copied
//! nothing.

use std::cell::Cell;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Decimal64Type};

use super::column::{Indices, NULL_INDEX};
use crate::error::Result;

thread_local! {
    static COPIED: Cell<u64> = const { Cell::new(0) };
}

/// Bytes of values this thread has copied by [`gather`] since it started.
pub fn copied_bytes() -> u64 {
    COPIED.with(Cell::get)
}

/// Copies the rows of `base` that `indices` name, in that order; [`NULL_INDEX`] gives NULL.
/// Strings are views: the views are copied, the bytes shared.
pub fn gather(base: &ArrayRef, indices: &Indices) -> Result<ArrayRef> {
    let nulls = indices.has_nulls().then(|| {
        let valid =
            BooleanBuffer::collect_bool(indices.len(), |i| indices.as_slice()[i] != NULL_INDEX);
        NullBuffer::new(valid)
    });
    let positions = UInt32Array::new(indices.buffer().clone(), nulls);
    let copied = take(base.as_ref(), &positions, None)?;
    let width = base.data_type().primitive_width().unwrap_or(16);
    COPIED.with(|c| c.set(c.get() + (width * indices.len()) as u64));
    Ok(copied)
}

/// A 64-bit decimal array as 128 bits; any other array as it is.
pub fn widen_decimal(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Decimal64(_, scale) => {
            let narrow = array.as_primitive::<Decimal64Type>();
            let wide: arrow::array::Decimal128Array = narrow.unary(i128::from);
            let scale = *scale;
            // 38 digits hold every 64-bit value, and the scale was valid for the narrow type.
            match wide.with_precision_and_scale(38, scale) {
                Ok(wide) => std::sync::Arc::new(wide),
                Err(_) => array.clone(),
            }
        }
        _ => array.clone(),
    }
}
