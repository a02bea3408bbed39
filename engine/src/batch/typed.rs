//! The values of a physical array as slices of Rust types.
//!
//! Everything that must look at values of any type (hashing, equality, order, row pages) goes
//! through [`Typed`], which folds the many Arrow types into few: dates are `i32`, timestamps are
//! `i64`, decimals are integers. What it has no slice for is *nested*, and handled through its
//! `arrow-row` form.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, DynComparator, Float32Array, Float64Array,
    PrimitiveArray, make_array, make_comparator,
};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::SortOptions;
use arrow::datatypes::{
    ArrowNativeType, DataType, Date32Type, Date64Type, Decimal64Type, Decimal128Type,
    Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalDayTime, IntervalDayTimeType, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type, i256,
};
use arrow::row::{RowConverter, Rows, SortField};

use super::gather::gather;
use super::picked::Picked;
use crate::error::{Error, Result};

/// A half-precision number.
pub type Half = half::f16;

/// The values of a physical array, NULLs aside; see the module documentation.
#[derive(Debug, Clone, Copy)]
pub enum Typed<'a> {
    /// Booleans.
    Bool(&'a BooleanBuffer),
    /// 8-bit integers.
    I8(&'a [i8]),
    /// 16-bit integers.
    I16(&'a [i16]),
    /// 32-bit integers, dates, times and intervals of months.
    I32(&'a [i32]),
    /// 64-bit integers, timestamps, times, durations and narrow decimals.
    I64(&'a [i64]),
    /// Unsigned 8-bit integers.
    U8(&'a [u8]),
    /// Unsigned 16-bit integers.
    U16(&'a [u16]),
    /// Unsigned 32-bit integers.
    U32(&'a [u32]),
    /// Unsigned 64-bit integers.
    U64(&'a [u64]),
    /// Half-precision numbers.
    F16(&'a [Half]),
    /// Single-precision numbers.
    F32(&'a [f32]),
    /// Double-precision numbers.
    F64(&'a [f64]),
    /// Decimals of 128 bits.
    I128(&'a [i128]),
    /// Decimals of 256 bits.
    I256(&'a [i256]),
    /// Intervals of days and milliseconds.
    DayTime(&'a [IntervalDayTime]),
    /// Intervals of months, days and nanoseconds.
    MonthDayNano(&'a [IntervalMonthDayNano]),
    /// Strings or binary values: views, and what those over 12 bytes point into.
    Views(&'a [u128], &'a [Buffer]),
    /// The type that has no value but NULL.
    Null,
    /// Any other type.
    Nested,
}

impl<'a> Typed<'a> {
    /// The values of `array`.
    pub fn of(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Null => Typed::Null,
            DataType::Boolean => match array.as_boolean_opt() {
                Some(values) => Typed::Bool(values.values()),
                None => Typed::Nested,
            },
            DataType::Utf8View => match array.as_string_view_opt() {
                Some(values) => Typed::Views(values.views(), values.data_buffers()),
                None => Typed::Nested,
            },
            DataType::BinaryView => match array.as_binary_view_opt() {
                Some(values) => Typed::Views(values.views(), values.data_buffers()),
                None => Typed::Nested,
            },
            other => Self::of_primitive(array, other).unwrap_or(Typed::Nested),
        }
    }

    fn of_primitive(array: &'a ArrayRef, data_type: &DataType) -> Option<Self> {
        use IntervalUnit::{DayTime, MonthDayNano, YearMonth};
        Some(match data_type {
            DataType::Int8 => Typed::I8(values::<Int8Type>(array)?),
            DataType::Int16 => Typed::I16(values::<Int16Type>(array)?),
            DataType::Int32 => Typed::I32(values::<Int32Type>(array)?),
            DataType::Date32 => Typed::I32(values::<Date32Type>(array)?),
            DataType::Interval(YearMonth) => Typed::I32(values::<IntervalYearMonthType>(array)?),
            DataType::Int64 => Typed::I64(values::<Int64Type>(array)?),
            DataType::Date64 => Typed::I64(values::<Date64Type>(array)?),
            DataType::Decimal64(..) => Typed::I64(values::<Decimal64Type>(array)?),
            DataType::Time32(_) => Typed::I32(words(array)?),
            DataType::Time64(_) | DataType::Timestamp(..) | DataType::Duration(_) => {
                Typed::I64(words(array)?)
            }
            DataType::UInt8 => Typed::U8(values::<UInt8Type>(array)?),
            DataType::UInt16 => Typed::U16(values::<UInt16Type>(array)?),
            DataType::UInt32 => Typed::U32(values::<UInt32Type>(array)?),
            DataType::UInt64 => Typed::U64(values::<UInt64Type>(array)?),
            DataType::Float16 => Typed::F16(values::<Float16Type>(array)?),
            DataType::Float32 => Typed::F32(values::<Float32Type>(array)?),
            DataType::Float64 => Typed::F64(values::<Float64Type>(array)?),
            DataType::Decimal128(..) => Typed::I128(values::<Decimal128Type>(array)?),
            DataType::Decimal256(..) => Typed::I256(values::<Decimal256Type>(array)?),
            DataType::Interval(DayTime) => Typed::DayTime(values::<IntervalDayTimeType>(array)?),
            DataType::Interval(MonthDayNano) => {
                Typed::MonthDayNano(values::<IntervalMonthDayNanoType>(array)?)
            }
            _ => return None,
        })
    }
}

fn values<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<&[T::Native]> {
    array.as_primitive_opt::<T>().map(|values| &values.values()[..])
}

/// The values of a primitive array by width, for families of types with one unit each.
fn words<T: ArrowNativeType>(array: &ArrayRef) -> Option<&[T]> {
    arrow::array::downcast_primitive_array! {
        array => Some(array.values().inner().typed_data::<T>()),
        _ => None,
    }
}

/// The number that stands for all that are the same key: one NaN, one zero.
pub fn float_key(value: f64) -> f64 {
    if value.is_nan() {
        // The bits of `f64::NAN` are not promised.
        f64::from_bits(0x7ff8_0000_0000_0000)
    } else {
        // -0.0 + 0.0 is 0.0.
        value + 0.0
    }
}

/// An integer in the order of numbers, as [`f64::total_cmp`] has it.
pub fn float_order(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The number whose [`float_order`] an integer is.
pub fn float_of_order(order: i64) -> f64 {
    f64::from_bits((order ^ (((order >> 63) as u64) >> 1) as i64) as u64)
}

/// How values of nested types are ordered: ascending, and NULL behind all values, also those that
/// are elements.
pub const NESTED_ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// The comparison of the values of one array with those of another in [`NESTED_ORDER`], by their
/// places: numbers at any depth compare as [`float_key`] has them, NULL equals NULL.
///
/// # Errors
/// `Input` when values of the types cannot be compared.
pub fn nested_order(left: &ArrayRef, right: &ArrayRef) -> Result<DynComparator> {
    let (left, right) = (with_float_keys(left)?, with_float_keys(right)?);
    make_comparator(&left, &right, NESTED_ORDER).map_err(|_| {
        let (left, right) = (left.data_type(), right.data_type());
        Error::input(format!("values of type {left} cannot be compared with those of {right}"))
    })
}

/// The `arrow-row` converter for one column of this type, in [`NESTED_ORDER`].
///
/// # Errors
/// `Input` when values of the type cannot be compared.
pub fn nested_converter(data_type: &DataType) -> Result<RowConverter> {
    let field = SortField::new_with_options(data_type.clone(), NESTED_ORDER);
    RowConverter::new(vec![field]).map_err(|_| {
        Error::input(format!("values of type {data_type} cannot be keys, sorted or joined"))
    })
}

/// The `arrow-row` form of picked rows, floats inside as [`float_key`] has them.
///
/// # Errors
/// `Input` when values of the type cannot be compared.
pub fn nested_keys(picked: &Picked<'_>) -> Result<Rows> {
    let values = with_float_keys(&gather(picked.array(), &picked.indices())?)?;
    Ok(nested_converter(values.data_type())?.convert_columns(&[values])?)
}

/// Whether values of a type are or contain numbers that are equal without being identical.
pub fn has_float(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => has_float(values),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            has_float(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_float(field.data_type())),
        nested if nested.is_nested() => true,
        other => other.is_floating(),
    }
}

/// The array with every number replaced by the one that stands for it as a key, at any depth.
/// Free for types without numbers.
pub fn with_float_keys(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Float64 => {
            let keys: Float64Array = array.as_primitive::<Float64Type>().unary(float_key);
            Ok(Arc::new(keys))
        }
        DataType::Float32 => {
            let keys: Float32Array =
                array.as_primitive::<Float32Type>().unary(|v| float_key(f64::from(v)) as f32);
            Ok(Arc::new(keys))
        }
        DataType::Float16 => {
            let key = |v: Half| Half::from_f64(float_key(f64::from(v)));
            let keys: PrimitiveArray<Float16Type> = array.as_primitive::<Float16Type>().unary(key);
            Ok(Arc::new(keys))
        }
        nested if nested.is_nested() => {
            let data = array.to_data();
            let children = data.child_data().iter().map(|child| {
                Ok::<_, Error>(with_float_keys(&make_array(child.clone()))?.to_data())
            });
            let children = children.collect::<Result<Vec<_>>>()?;
            Ok(make_array(data.into_builder().child_data(children).build()?))
        }
        _ => Ok(array.clone()),
    }
}
