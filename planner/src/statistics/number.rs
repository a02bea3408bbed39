//! Constants on one scale, for shares of ranges.

use datafusion_common::ScalarValue;
use gristmill_engine::expr::{Literal, Value};

use arrow::datatypes::DataType;

use crate::lower::lower_literal;

/// A literal as a number: dates and timestamps in their unit, decimals with their point.
pub(super) fn number(literal: &Literal) -> Option<f64> {
    match &literal.value {
        Value::Int(v) => Some(*v as f64),
        Value::UInt(v) => Some(*v as f64),
        Value::Float(v) => v.is_finite().then_some(*v),
        Value::Bool(v) => Some(f64::from(u8::from(*v))),
        Value::Decimal(v) => {
            let scale = match literal.data_type {
                DataType::Decimal32(_, s)
                | DataType::Decimal64(_, s)
                | DataType::Decimal128(_, s)
                | DataType::Decimal256(_, s) => s,
                _ => 0,
            };
            Some(*v as f64 / 10f64.powi(i32::from(scale)))
        }
        Value::Null | Value::Text(_) | Value::Bytes(_) | Value::Interval { .. } => None,
    }
}

/// A constant of the front end as a number.
pub(super) fn number_of_scalar(scalar: &ScalarValue) -> Option<f64> {
    number(&lower_literal(scalar).ok()?)
}

/// Whether values of a type have no values in between, so that a range bounds their number.
pub(super) fn is_discrete(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Date32 | DataType::Boolean)
}
