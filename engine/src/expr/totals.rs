//! Sums, averages and extremes as arrays of the type that the call declares.
//!
//! Accumulators are wider than results: what does not fit is an error here, and only here.

use std::sync::Arc;

use arrow::array::{ArrayData, ArrayRef, BooleanArray, Float64Array, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, IntervalUnit, i256};

use crate::batch::{Half, physical_type};
use crate::error::{Error, Result};

/// Precision and scale of a decimal type.
pub fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((*p, *s)),
        DataType::Dictionary(_, values) => decimal(values),
        _ => None,
    }
}

/// Integers, or decimals without their point, as an array of the physical type. Values that are
/// NULL are zero.
///
/// # Errors
/// `Input` when one does not fit the type; `operation` is what it is the result of.
pub fn integers(
    values: Vec<i128>,
    nulls: Option<NullBuffer>,
    operation: &str,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let physical = physical_type(data_type);
    let overflow = || Error::overflow(operation, data_type);
    if let Some((precision, _)) = decimal(data_type) {
        let limit = 10_i128.checked_pow(precision.into()).unwrap_or(i128::MAX);
        if !values.iter().all(|v| (-limit < *v) && (*v < limit)) {
            return Err(overflow());
        }
    }
    macro_rules! narrow {
        ($native:ty) => {{
            let values = values.into_iter().map(<$native>::try_from);
            let values = values.collect::<Result<Vec<_>, _>>().map_err(|_| overflow())?;
            array(&physical, values, nulls)
        }};
    }
    match &physical {
        DataType::Boolean => {
            let values = BooleanBuffer::from_iter(values.into_iter().map(|v| v != 0));
            Ok(Arc::new(BooleanArray::new(values, nulls)))
        }
        DataType::Int8 => narrow!(i8),
        DataType::Int16 => narrow!(i16),
        DataType::UInt8 => narrow!(u8),
        DataType::UInt16 => narrow!(u16),
        DataType::UInt32 => narrow!(u32),
        DataType::UInt64 => narrow!(u64),
        DataType::Int32
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Interval(IntervalUnit::YearMonth) => narrow!(i32),
        DataType::Decimal128(..) => array(&physical, values, nulls),
        DataType::Decimal256(..) => {
            array(&physical, values.into_iter().map(i256::from_i128).collect(), nulls)
        }
        DataType::Float64 => {
            floats(values.into_iter().map(|v| v as f64).collect(), nulls, &physical)
        }
        _ => narrow!(i64),
    }
}

/// Decimals of more than 38 digits, as [`integers`].
///
/// # Errors
/// As [`integers`].
pub fn wide_decimals(
    values: Vec<i256>,
    nulls: Option<NullBuffer>,
    operation: &str,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let limit = decimal(data_type).and_then(|(p, _)| i256::from_i128(10).checked_pow(p.into()));
    let fits = |v: &i256| limit.is_none_or(|limit| *v < limit && *v > limit.wrapping_neg());
    if !values.iter().all(fits) {
        return Err(Error::overflow(operation, data_type));
    }
    array(data_type, values, nulls)
}

/// Numbers as an array of a floating-point type.
///
/// # Errors
/// `Internal` for any other type.
pub fn floats(
    values: Vec<f64>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    match data_type {
        DataType::Float32 => {
            array(data_type, values.into_iter().map(|v| v as f32).collect(), nulls)
        }
        DataType::Float16 => {
            array(data_type, values.into_iter().map(Half::from_f64).collect(), nulls)
        }
        DataType::Float64 => Ok(Arc::new(Float64Array::new(values.into(), nulls))),
        other => Err(Error::internal(format!("numbers as {other}"))),
    }
}

/// Numbers, or NULL, as an array of a floating-point type.
///
/// # Errors
/// `Internal` for any other type.
pub fn optional_floats(
    values: impl Iterator<Item = Option<f64>>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let values: Vec<Option<f64>> = values.collect();
    let nulls = NullBuffer::new(BooleanBuffer::collect_bool(values.len(), |i| values[i].is_some()));
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    floats(values.into_iter().map(Option::unwrap_or_default).collect(), nulls, data_type)
}

/// What a quotient of a sum and a count becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum Quotient {
    /// A number; sums are divided by this unit first.
    Float(f64),
    /// A decimal or integer with so many more digits than the sum; what is beyond is rounded.
    Exact(u32),
}

impl Quotient {
    /// How an average of values of `argument` becomes one of `data_type`.
    ///
    /// # Errors
    /// `Internal` when that is no average.
    pub fn of(argument: &DataType, data_type: &DataType) -> Result<Quotient> {
        if data_type.is_floating() {
            let scale = decimal(argument).map_or(0, |(_, scale)| scale);
            return Ok(Quotient::Float(10_f64.powi(scale.into())));
        }
        match (decimal(argument), decimal(data_type)) {
            (Some((_, from)), Some((_, to))) if to >= from => {
                Ok(Quotient::Exact((to - from) as u32))
            }
            (None, None) => Ok(Quotient::Exact(0)),
            _ => Err(Error::internal(format!("an average of {argument} as {data_type}"))),
        }
    }
}

/// `sum * 10^digits / count`, rounded, halves away from zero; `None` when it does not fit. `count`
/// is at least 1.
pub fn average(sum: i128, count: i64, digits: u32) -> Option<i128> {
    let unit = 10_i128.checked_pow(digits)?;
    let Some(scaled) = sum.checked_mul(unit) else {
        return wide_average(i256::from_i128(sum), count, digits)?.to_i128();
    };
    let divisor = i128::from(count);
    let (quotient, rest) = (scaled / divisor, scaled % divisor);
    let is_up = rest.unsigned_abs() * 2 >= divisor.unsigned_abs();
    Some(if is_up { quotient + scaled.signum() } else { quotient })
}

/// [`average`] in 256 bits.
pub fn wide_average(sum: i256, count: i64, digits: u32) -> Option<i256> {
    let unit = i256::from_i128(10).checked_pow(digits)?;
    let scaled = sum.checked_mul(unit)?;
    let quotient = scaled.checked_div(i256::from_i128(count.into()))?;
    // Less than the count.
    let rest = scaled.checked_rem(i256::from_i128(count.into()))?.to_i128()?;
    let is_up = rest.unsigned_abs() * 2 >= u128::from(count.unsigned_abs());
    if is_up { quotient.checked_add(scaled.signum()) } else { Some(quotient) }
}

fn array<T: ArrowNativeType>(
    physical: &DataType,
    values: Vec<T>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let data = ArrayData::builder(physical.clone())
        .len(values.len())
        .add_buffer(Buffer::from_vec(values))
        .nulls(nulls);
    Ok(make_array(data.build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_rounded_away_from_zero() {
        let cases = [(5, 3, 0, 2), (4, 3, 0, 1), (3, 2, 0, 2), (-3, 2, 0, -2), (-4, 3, 1, -13)];
        for (sum, count, digits, rounded) in cases {
            assert_eq!(average(sum, count, digits), Some(rounded), "{sum} / {count}");
            let wide = wide_average(i256::from_i128(sum), count, digits);
            assert_eq!(wide, Some(i256::from_i128(rounded)), "{sum} / {count}");
        }
        // In 256 bits on the way.
        assert_eq!(average(i128::MAX, 3, 1), None);
        assert_eq!(average(i128::MAX / 8, 20, 1), Some(i128::MAX / 16 + 1));
    }
}
