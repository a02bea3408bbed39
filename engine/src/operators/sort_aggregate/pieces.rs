//! Arrays put together, of which each is freed as soon as it is copied: those of a large list are
//! most of what there is, and would otherwise be there twice.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, NullBufferBuilder,
    PrimitiveArray, StringViewArray, downcast_primitive, new_empty_array,
};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::concat;
use arrow::datatypes::DataType;

use crate::batch::to_logical;
use crate::error::Result;

/// Bytes up to which a text is in its view.
const INLINE_BYTES: u32 = 12;

/// Bytes that `rows` values of this type take while arrays of so many bytes are put together, of
/// which each is freed as it is copied, if they are `given_back`.
pub(super) fn finishing_bytes(
    rows: usize,
    bytes: usize,
    logical: &DataType,
    given_back: bool,
) -> usize {
    let width = match logical {
        // What they point to stays where it is.
        DataType::Utf8View | DataType::BinaryView => Some(size_of::<u128>()),
        other => other.primitive_width(),
    };
    match width.map(|width| rows.saturating_mul(width)) {
        Some(copied) if given_back => bytes.max(copied),
        Some(copied) => bytes.saturating_add(copied),
        None => bytes.saturating_mul(2),
    }
}

/// The values of all arrays, which are of the physical type, one behind the other.
///
/// # Errors
/// `Input` when a decimal does not fit its type.
pub(super) fn in_one(arrays: Vec<ArrayRef>, logical: &DataType) -> Result<ArrayRef> {
    if arrays.is_empty() {
        return Ok(new_empty_array(logical));
    }
    macro_rules! primitives {
        ($type:ty) => {
            primitives::<$type>(arrays, logical)
        };
    }
    downcast_primitive! {
        logical => (primitives),
        DataType::Utf8View => {
            let (views, buffers, nulls) = views(arrays);
            Ok(Arc::new(StringViewArray::try_new(views, buffers, nulls)?))
        }
        DataType::BinaryView => {
            let (views, buffers, nulls) = views(arrays);
            Ok(Arc::new(BinaryViewArray::try_new(views, buffers, nulls)?))
        }
        _ => {
            let all: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
            to_logical(&concat(&all)?, logical)
        }
    }
}

fn rows_of(arrays: &[ArrayRef]) -> usize {
    arrays.iter().map(|array| array.len()).sum()
}

fn add_nulls(nulls: &mut NullBufferBuilder, array: &dyn Array) {
    match array.nulls() {
        Some(own) => nulls.append_buffer(own),
        None => nulls.append_n_non_nulls(array.len()),
    }
}

fn primitives<T: ArrowPrimitiveType>(
    arrays: Vec<ArrayRef>,
    logical: &DataType,
) -> Result<ArrayRef> {
    let rows = rows_of(&arrays);
    let (mut values, mut nulls) = (Vec::with_capacity(rows), NullBufferBuilder::new(rows));
    for array in arrays {
        let array = to_logical(&array, logical)?;
        values.extend_from_slice(array.as_primitive::<T>().values());
        add_nulls(&mut nulls, &array);
    }
    let array = PrimitiveArray::<T>::try_new(values.into(), nulls.finish())?;
    Ok(Arc::new(array.with_data_type(logical.clone())))
}

fn views(arrays: Vec<ArrayRef>) -> (ScalarBuffer<u128>, Vec<Buffer>, Option<NullBuffer>) {
    let rows = rows_of(&arrays);
    let (mut views, mut nulls) = (Vec::with_capacity(rows), NullBufferBuilder::new(rows));
    let mut buffers = Vec::new();
    for array in arrays {
        let (own, behind) = match array.data_type() {
            DataType::Utf8View => {
                (array.as_string_view().views(), array.as_string_view().data_buffers())
            }
            _ => (array.as_binary_view().views(), array.as_binary_view().data_buffers()),
        };
        let before = (buffers.len() as u128) << 64;
        views.extend(own.iter().map(|&view| match view as u32 {
            0..=INLINE_BYTES => view,
            _ => view + before,
        }));
        buffers.extend(behind.iter().cloned());
        add_nulls(&mut nulls, &array);
    }
    (views.into(), buffers, nulls.finish())
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Decimal64Array, Int64Array};

    use super::*;

    #[test]
    fn arrays_are_put_together_as_the_type_that_is_wanted() {
        let text = |n: i64| format!("{n} is a number of rows");
        let strings = |range: std::ops::Range<i64>| -> ArrayRef {
            let texts =
                range.map(|n| (n % 5 != 3).then(|| if n % 2 == 0 { text(n) } else { "x".into() }));
            Arc::new(texts.collect::<StringViewArray>())
        };
        let pieces = vec![strings(0..10), strings(10..10), strings(10..1000).slice(90, 900)];
        let all: Vec<&dyn Array> = pieces.iter().map(|piece| piece.as_ref()).collect();
        let expected = concat(&all).expect("are strings");
        let found = in_one(pieces, &DataType::Utf8View).expect("are strings");
        assert_eq!(&found, &expected);
        let decimals = |values: &[Option<i64>]| -> ArrayRef {
            let array = Decimal64Array::from(values.to_vec());
            Arc::new(array.with_precision_and_scale(15, 2).expect("fits"))
        };
        let logical = DataType::Decimal128(15, 2);
        let pieces = vec![decimals(&[Some(1), None]), decimals(&[Some(-3)])];
        let found = in_one(pieces, &logical).expect("fit");
        assert_eq!((found.data_type(), found.null_count()), (&logical, 1));
        let booleans: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
        let found = in_one(vec![booleans.clone(), booleans], &DataType::Boolean).expect("are");
        assert_eq!(found.len(), 4);
        let none = in_one(vec![], &DataType::Int64).expect("is empty");
        assert_eq!(none.as_ref(), &Int64Array::from(vec![0; 0]) as &dyn Array);
    }
}
