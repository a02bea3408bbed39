//! Constants: the front end's scalar values as exact literals of the engine.

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use gristmill_engine::expr::{Literal, Value};
use gristmill_engine::{Error, Result};

/// The literal for a scalar value.
///
/// # Errors
/// `Input`, by name, for types that have no constants (lists, structs, 256-bit decimals).
pub(crate) fn lower_literal(scalar: &ScalarValue) -> Result<Literal> {
    if let ScalarValue::Dictionary(_, value) = scalar {
        return lower_literal(value);
    }
    let data_type = scalar.data_type();
    if scalar.is_null() {
        return Ok(Literal::null(data_type));
    }
    let value = number(scalar).or_else(|| other(scalar)).ok_or_else(|| unsupported(&data_type))?;
    Ok(Literal { data_type, value })
}

fn number(scalar: &ScalarValue) -> Option<Value> {
    Some(match scalar {
        ScalarValue::Int8(v) => Value::Int(i64::from((*v)?)),
        ScalarValue::Int16(v) => Value::Int(i64::from((*v)?)),
        ScalarValue::Int32(v)
        | ScalarValue::Date32(v)
        | ScalarValue::Time32Second(v)
        | ScalarValue::Time32Millisecond(v)
        | ScalarValue::IntervalYearMonth(v) => Value::Int(i64::from((*v)?)),
        ScalarValue::Int64(v)
        | ScalarValue::Date64(v)
        | ScalarValue::Time64Microsecond(v)
        | ScalarValue::Time64Nanosecond(v)
        | ScalarValue::TimestampSecond(v, _)
        | ScalarValue::TimestampMillisecond(v, _)
        | ScalarValue::TimestampMicrosecond(v, _)
        | ScalarValue::TimestampNanosecond(v, _)
        | ScalarValue::DurationSecond(v)
        | ScalarValue::DurationMillisecond(v)
        | ScalarValue::DurationMicrosecond(v)
        | ScalarValue::DurationNanosecond(v) => Value::Int((*v)?),
        ScalarValue::UInt8(v) => Value::UInt(u64::from((*v)?)),
        ScalarValue::UInt16(v) => Value::UInt(u64::from((*v)?)),
        ScalarValue::UInt32(v) => Value::UInt(u64::from((*v)?)),
        ScalarValue::UInt64(v) => Value::UInt((*v)?),
        ScalarValue::Float32(v) => Value::Float(f64::from((*v)?)),
        ScalarValue::Float64(v) => Value::Float((*v)?),
        ScalarValue::Decimal32(v, ..) => Value::Decimal(i128::from((*v)?)),
        ScalarValue::Decimal64(v, ..) => Value::Decimal(i128::from((*v)?)),
        ScalarValue::Decimal128(v, ..) => Value::Decimal((*v)?),
        _ => return None,
    })
}

fn other(scalar: &ScalarValue) -> Option<Value> {
    Some(match scalar {
        ScalarValue::Boolean(v) => Value::Bool((*v)?),
        ScalarValue::Utf8(v) | ScalarValue::Utf8View(v) | ScalarValue::LargeUtf8(v) => {
            Value::Text(v.clone()?)
        }
        ScalarValue::Binary(v)
        | ScalarValue::BinaryView(v)
        | ScalarValue::LargeBinary(v)
        | ScalarValue::FixedSizeBinary(_, v) => Value::Bytes(v.clone()?),
        ScalarValue::IntervalMonthDayNano(v) => {
            let v = (*v)?;
            Value::Interval { months: v.months, days: v.days, nanoseconds: v.nanoseconds }
        }
        _ => return None,
    })
}

fn unsupported(data_type: &DataType) -> Error {
    Error::input(format!("constants of type {data_type} are not supported; use a cast from text"))
}
