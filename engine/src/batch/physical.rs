//! Which Arrow type holds the values of a logical type.
//!
//! SQL's types are more than the engine has kernels for, so several logical types share a physical
//! one: all strings are views, all binaries are binary views, dictionaries are indexed columns over
//! their value type. A decimal column may be held in 64, 128 or 256 bits **chunk by chunk**: the
//! width is no part of the type, hashing, equality and order do not depend on it, and whoever
//! reads a decimal accepts every width up to the declared one. Its scale is always the declared
//! scale; the precision of a narrow physical array says nothing.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::kernels::cast::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DECIMAL64_MAX_PRECISION, DataType, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DecimalType,
};

use super::settled::settled;
use crate::error::Result;

/// The type SQL knows, for a type that a file names: strings and binaries are views, dictionaries
/// and runs are their values.
pub fn logical_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => logical_type(values),
        DataType::RunEndEncoded(_, values) => logical_type(values.data_type()),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        other => other.clone(),
    }
}

/// The canonical physical type of `logical`: what sources should produce. Decimals whose declared
/// precision fits 64 bits are held in 64 bits.
pub fn physical_type(logical: &DataType) -> DataType {
    match logical {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => physical_type(values),
        DataType::Decimal32(p, s) => DataType::Decimal64(*p, *s),
        DataType::Decimal128(p, s) if *p <= DECIMAL64_MAX_PRECISION => DataType::Decimal64(*p, *s),
        other => other.clone(),
    }
}

/// Whether an array of type `physical` may hold values of `logical` in a chunk.
pub fn is_physical(physical: &DataType, logical: &DataType) -> bool {
    use DataType::{Decimal64, Decimal128, Decimal256};
    match (physical, logical) {
        (
            Decimal64(_, a),
            DataType::Decimal32(_, b) | Decimal64(_, b) | Decimal128(_, b) | Decimal256(_, b),
        ) => a == b,
        (
            Decimal128(_, a),
            DataType::Decimal32(_, b) | Decimal64(_, b) | Decimal128(_, b) | Decimal256(_, b),
        ) => a == b,
        (Decimal256(_, a), Decimal256(_, b)) => a == b,
        _ => *physical == physical_type(logical),
    }
}

/// Turns an array of any logical type into its canonical physical form, with nothing under the
/// NULLs of nested values.
pub fn to_physical(array: &ArrayRef) -> Result<ArrayRef> {
    held_as(array, array.data_type())
}

/// The array as columns of a logical type hold it, which may not be its own.
pub fn held_as(array: &ArrayRef, logical: &DataType) -> Result<ArrayRef> {
    let target = physical_type(logical);
    if *array.data_type() == target {
        return settled(array);
    }
    settled(&cast_with_options(&with_plain_nulls(array), &target, &STRICT)?)
}

/// The array with zero for decimals that are NULL: anything may stand there (files and the row
/// format leave what is beyond any precision), and casts look at it.
fn with_plain_nulls(array: &ArrayRef) -> ArrayRef {
    if array.null_count() == 0 {
        return array.clone();
    }
    fn plain<T: DecimalType>(array: &ArrayRef) -> ArrayRef {
        let decimals = array.as_primitive::<T>();
        let plain = PrimitiveArray::<T>::from_iter(decimals.iter());
        Arc::new(plain.with_data_type(array.data_type().clone()))
    }
    match array.data_type() {
        DataType::Decimal32(..) => plain::<Decimal32Type>(array),
        DataType::Decimal64(..) => plain::<Decimal64Type>(array),
        DataType::Decimal128(..) => plain::<Decimal128Type>(array),
        DataType::Decimal256(..) => plain::<Decimal256Type>(array),
        _ => array.clone(),
    }
}

/// Turns a physical array into the declared type, for results, files and user functions.
///
/// # Errors
/// `Input` when a decimal does not fit the declared precision.
pub fn to_logical(array: &ArrayRef, logical: &DataType) -> Result<ArrayRef> {
    if array.data_type() == logical {
        return Ok(array.clone());
    }
    Ok(cast_with_options(array, logical, &STRICT)?)
}

const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

#[cfg(test)]
mod tests {
    use arrow::array::Decimal128Array;

    use super::*;

    #[test]
    fn what_stands_under_the_nulls_of_decimals_is_not_looked_at() {
        let nulls = vec![true, false, true].into();
        let values = Decimal128Array::new(vec![150, i128::MIN, 250].into(), Some(nulls));
        let logical = DataType::Decimal128(5, 2);
        let array: ArrayRef = Arc::new(values.with_data_type(logical.clone()));
        let held = held_as(&array, &logical).expect("fits");
        let decimals: Vec<Option<i64>> = held.as_primitive::<Decimal64Type>().iter().collect();
        assert_eq!(decimals, [Some(150), None, Some(250)]);
    }
}
