//! Conversions between types. They mean what arrow's casts mean; the frequent ones between numbers
//! have loops of their own, decimals are converted by value whatever precision their physical
//! array claims, and timestamps are rounded as all numbers are.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array, Float32Array, Float64Array,
    Int32Array, Int64Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::cast::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal64Type, Decimal128Type,
    Decimal256Type, Int32Type, Int64Type, TimeUnit, UInt64Type,
};

use super::decimal::{
    NARROW_DIGITS, Width, digits, digits_hold, narrow_array, nearest_double, nearest_float,
    power_bits, wide_array,
};
use super::moment_text::read_as;
use super::native::{Native, native};
use super::rows::Values;
use super::temporal::in_coarser_unit;
use crate::batch::{physical_type, settled};
use crate::error::{Error, Result};
use crate::moment_format;

/// The values of `array` in the physical type of `target`; where one cannot be converted, NULL if
/// `lenient`.
///
/// # Errors
/// `Input` when a value cannot be converted and the cast is not lenient.
pub(in crate::expr) fn cast(
    array: &ArrayRef,
    target: &DataType,
    lenient: bool,
) -> Result<ArrayRef> {
    let physical = physical_type(target);
    let source = array.data_type();
    if source.is_decimal() && physical.is_decimal() {
        return decimal_to_decimal(array, &physical, lenient);
    }
    if *source == physical {
        return Ok(array.clone());
    }
    let nulls = array.nulls().cloned();
    match (source, &physical) {
        (DataType::Int32, DataType::Int64) => {
            let values: Vec<i64> = i32s(array).iter().map(|&v| i64::from(v)).collect();
            Ok(Arc::new(Int64Array::new(values.into(), nulls)))
        }
        (DataType::Int32, DataType::Float64) => {
            let values: Vec<f64> = i32s(array).iter().map(|&v| f64::from(v)).collect();
            Ok(Arc::new(Float64Array::new(values.into(), nulls)))
        }
        (DataType::Int64, DataType::Float64) => {
            let values: Vec<f64> = i64s(array).iter().map(|&v| v as f64).collect();
            Ok(Arc::new(Float64Array::new(values.into(), nulls)))
        }
        (DataType::Int64, DataType::Int32) if i64::bits(Values::Each(i64s(array))) <= 31 => {
            let values: Vec<i32> = i64s(array).iter().map(|&v| v as i32).collect();
            Ok(Arc::new(Int32Array::new(values.into(), nulls)))
        }
        (DataType::Int32, DataType::Decimal64(..) | DataType::Decimal128(..)) => {
            let values: Vec<i64> = i32s(array).iter().map(|&v| i64::from(v)).collect();
            rescale(&values, nulls, 0, &physical, lenient)
        }
        (DataType::Int64, DataType::Decimal64(..) | DataType::Decimal128(..)) => {
            rescale(i64s(array), nulls, 0, &physical, lenient)
        }
        // Arrow's cast goes through 64 bits with a sign.
        (DataType::UInt64, DataType::Decimal64(..) | DataType::Decimal128(..)) => {
            let values = array.as_primitive::<UInt64Type>().values();
            let values: Vec<i128> = values.iter().map(|&v| i128::from(v)).collect();
            rescale(&values, nulls, 0, &physical, lenient)
        }
        (DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale), DataType::Float64) => {
            let values: Vec<f64> = match native(array.as_ref()) {
                Native::I64(values) => {
                    values.iter().map(|&v| nearest_double(v.into(), *scale)).collect()
                }
                Native::I128(values) => values.iter().map(|&v| nearest_double(v, *scale)).collect(),
                _ => return arrow_cast(array, &physical, lenient),
            };
            Ok(Arc::new(Float64Array::new(values.into(), nulls)))
        }
        (DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale), DataType::Float32) => {
            let values: Vec<f32> = match native(array.as_ref()) {
                Native::I64(values) => {
                    values.iter().map(|&v| nearest_float(v.into(), *scale)).collect()
                }
                Native::I128(values) => values.iter().map(|&v| nearest_float(v, *scale)).collect(),
                _ => return arrow_cast(array, &physical, lenient),
            };
            Ok(Arc::new(Float32Array::new(values.into(), nulls)))
        }
        (_, DataType::Timestamp(unit, _)) => to_timestamp(array, *unit, &physical, lenient),
        _ => arrow_cast(array, &physical, lenient),
    }
}

fn to_timestamp(
    array: &ArrayRef,
    unit: TimeUnit,
    physical: &DataType,
    lenient: bool,
) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Timestamp(from, _) if *from > unit => {
            arrow_cast(&in_coarser_unit(array, unit)?, physical, lenient)
        }
        // Dates in milliseconds are moments in milliseconds: what these are times more is looked
        // at, what those are is not.
        DataType::Date64 => {
            let moments = DataType::Timestamp(TimeUnit::Millisecond, None);
            arrow_cast(&arrow_cast(array, &moments, lenient)?, physical, lenient)
        }
        _ => arrow_cast(array, physical, lenient),
    }
}

fn i32s(array: &ArrayRef) -> &[i32] {
    array.as_primitive::<Int32Type>().values()
}

fn i64s(array: &ArrayRef) -> &[i64] {
    array.as_primitive::<Int64Type>().values()
}

fn arrow_cast(array: &ArrayRef, physical: &DataType, lenient: bool) -> Result<ArrayRef> {
    let source = array.data_type();
    let read = is_read_as_moment(source, physical).then(|| read_as(array, physical, lenient));
    let array = &read.transpose()?.unwrap_or_else(|| array.clone());
    if !can_cast_types(source, physical) {
        return Err(Error::input(format!("{source} cannot be cast to {physical}")));
    }
    if *physical == DataType::Utf8View
        && let Some(texts) = moment_format::texts(array)?
    {
        return Ok(texts);
    }
    let options = CastOptions { safe: lenient, format_options: moment_format::options() };
    // Some failures on data come as errors of other kinds.
    let made = cast_with_options(array, physical, &options);
    let made = made.map_err(|error| match Error::from(error) {
        Error::Input { message, .. } if is_finer(source, physical) => Error::input(format!(
            "{message}: nanoseconds hold the years from 1677 to 2262, a plain TIMESTAMP holds more"
        )),
        Error::Internal(message) => Error::input(message),
        other => other,
    })?;
    // Lists of one length have elements where they are NULL.
    settled(&made)
}

/// Whether texts become moments.
fn is_read_as_moment(source: &DataType, target: &DataType) -> bool {
    use DataType::{Interval, Time32, Time64, Timestamp, Utf8View};
    *source == Utf8View && matches!(target, Timestamp(..) | Time32(_) | Time64(_) | Interval(_))
}

/// Whether moments of all years become nanoseconds.
fn is_finer(source: &DataType, target: &DataType) -> bool {
    let is_moment = matches!(source, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..));
    is_moment && matches!(target, DataType::Timestamp(TimeUnit::Nanosecond, _))
}

fn decimal_to_decimal(array: &ArrayRef, physical: &DataType, lenient: bool) -> Result<ArrayRef> {
    let nulls = array.nulls().cloned();
    let (_, scale) = digits(array.data_type())?;
    if matches!(physical, DataType::Decimal256(..)) {
        return arrow_cast(&with_all_digits(array, scale)?, physical, lenient);
    }
    let (precision, target_scale) = digits(physical)?;
    match native(array.as_ref()) {
        Native::I64(values) => {
            let bits = i64::bits(Values::Each(values));
            if scale == target_scale && digits_hold(bits, precision) {
                return Ok(array.clone());
            }
            rescale(values, nulls, scale, physical, lenient)
        }
        Native::I128(values) => {
            let bits = i128::bits(Values::Each(values));
            if scale == target_scale && digits_hold(bits, precision) {
                return Ok(array.clone());
            }
            rescale(values, nulls, scale, physical, lenient)
        }
        _ => arrow_cast(&with_all_digits(array, scale)?, physical, lenient),
    }
}

/// The same decimals, declared with the largest precision of their width: arrow trusts it.
fn with_all_digits(array: &ArrayRef, scale: i8) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Decimal64(..) => {
            let values = array.as_primitive::<Decimal64Type>();
            let wide: Decimal128Array = values.unary(i128::from);
            Arc::new(wide.with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale)?)
        }
        DataType::Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>().clone();
            Arc::new(values.with_precision_and_scale(DECIMAL128_MAX_PRECISION, scale)?)
        }
        DataType::Decimal256(..) => {
            let values: Decimal256Array = array.as_primitive::<Decimal256Type>().clone();
            Arc::new(values.with_precision_and_scale(DECIMAL256_MAX_PRECISION, scale)?)
        }
        _ => array.clone(),
    })
}

/// Integers of scale `from` as decimals of 64 or 128 bits; digits that are cut off round half
/// away from zero.
fn rescale<T: Width>(
    values: &[T],
    nulls: Option<NullBuffer>,
    from: i8,
    target: &DataType,
    lenient: bool,
) -> Result<ArrayRef> {
    let (precision, scale) = digits(target)?;
    let delta = i32::from(scale) - i32::from(from);
    let bits = T::bits(Values::Each(values));
    let result_bits = bits.saturating_add(power_bits(delta.max(0).unsigned_abs()));
    if delta >= 0 && digits_hold(result_bits, precision) {
        // Below ten to the 38th, so the factor and the products fit.
        let factor = 10i128.pow(delta.unsigned_abs());
        if digits_hold(result_bits, NARROW_DIGITS) {
            let factor = factor as i64;
            let values = values.iter().map(|&v| v.low_bits() * factor).collect();
            return narrow_array(values, nulls, scale);
        }
        let values = values.iter().map(|&v| v.into() * factor).collect();
        return wide_array(values, nulls, precision, scale);
    }
    let limit = 10u128.saturating_pow(u32::from(precision));
    let convert = |value: i128| {
        let value = if delta >= 0 {
            10i128.checked_pow(delta.unsigned_abs()).and_then(|factor| value.checked_mul(factor))
        } else {
            Some(divide_rounding(value, delta.unsigned_abs()))
        };
        value.filter(|v| v.unsigned_abs() < limit)
    };
    let mut out = vec![0i128; values.len()];
    let mut failed = Vec::new();
    for (row, &value) in values.iter().enumerate() {
        match convert(value.into()) {
            Some(value) => out[row] = value,
            None if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => {}
            None if lenient => failed.push(row),
            None => return Err(Error::overflow("a cast", target)),
        }
    }
    let failures = (!failed.is_empty()).then(|| {
        let mut valid = vec![true; values.len()];
        failed.iter().for_each(|&row| valid[row] = false);
        NullBuffer::new(BooleanBuffer::from(valid))
    });
    let nulls = NullBuffer::union(nulls.as_ref(), failures.as_ref());
    wide_array(out, nulls, precision.max(scale.unsigned_abs()), scale)
}

fn divide_rounding(value: i128, power: u32) -> i128 {
    let Some(divisor) = 10i128.checked_pow(power) else { return 0 };
    let (quotient, rest) = (value / divisor, value % divisor);
    let up = rest.unsigned_abs() >= divisor.unsigned_abs() / 2;
    if up { quotient + value.signum() } else { quotient }
}
