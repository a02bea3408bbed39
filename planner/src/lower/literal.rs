//! Constants: the front end's scalar values as exact literals of the engine; lists, structures and
//! maps as the calls that make them.

use arrow::array::{Array, ArrayRef, StructArray};
use arrow::datatypes::{DataType, Decimal256Type, DecimalType};
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, lit};
use datafusion_functions::core::named_struct;
use datafusion_functions_nested::make_array::make_array_udf;
use datafusion_functions_nested::map::map_udf;
use gristmill_engine::expr::{Literal, Value};
use gristmill_engine::{Error, Result};

/// The call that makes a constant list, structure or map; nothing for NULL and other constants.
///
/// # Errors
/// `Internal` when a part of it is no constant.
pub(crate) fn call_of_constant(scalar: &ScalarValue) -> Result<Option<Expr>> {
    Ok(match scalar {
        ScalarValue::List(list) if list.is_valid(0) => Some(list_of(&list.value(0))?),
        ScalarValue::LargeList(list) if list.is_valid(0) => Some(list_of(&list.value(0))?),
        ScalarValue::FixedSizeList(list) if list.is_valid(0) => Some(list_of(&list.value(0))?),
        ScalarValue::Struct(parts) if parts.is_valid(0) => Some(structure(parts)?),
        ScalarValue::Map(map) if map.is_valid(0) => {
            let entries = map.value(0);
            let lists = [list_of(entries.column(0))?, list_of(entries.column(1))?];
            Some(map_udf().call(lists.into()))
        }
        _ => None,
    })
}

fn list_of(elements: &ArrayRef) -> Result<Expr> {
    let elements = (0..elements.len()).map(|at| constant(elements, at));
    Ok(make_array_udf().call(elements.collect::<Result<_>>()?))
}

fn structure(parts: &StructArray) -> Result<Expr> {
    let mut args = Vec::with_capacity(2 * parts.num_columns());
    for (field, values) in parts.fields().iter().zip(parts.columns()) {
        args.extend([lit(field.name().as_str()), constant(values, 0)?]);
    }
    Ok(named_struct().call(args))
}

fn constant(values: &ArrayRef, at: usize) -> Result<Expr> {
    let value = ScalarValue::try_from_array(values, at);
    Ok(Expr::Literal(value.map_err(|e| Error::internal(e.to_string()))?, None))
}

/// The text of a decimal of 256 bits, which is cast to it.
pub(crate) fn text_of_wide_decimal(scalar: &ScalarValue) -> Option<Literal> {
    let ScalarValue::Decimal256(Some(value), precision, scale) = scalar else { return None };
    let text = Decimal256Type::format_decimal(*value, *precision, *scale);
    Some(Literal { data_type: DataType::Utf8View, value: Value::Text(text) })
}

/// The literal for a scalar value.
///
/// # Errors
/// `Input`, by name, for types that have no constants.
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
        ScalarValue::Float16(v) => Value::Float(f64::from((*v)?)),
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
