//! Exact constants: a type and a value that survive being written as text and read again.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Decimal64Array, Decimal128Array, Decimal256Array,
    Float64Array, Int64Array, IntervalMonthDayNanoArray, StringViewArray, UInt64Array,
    new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, i256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::batch::{Column, physical_type};
use crate::error::{Error, Result};

/// A constant of a known type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Literal {
    /// Its logical type.
    #[serde(rename = "type", with = "super::data_type")]
    pub data_type: DataType,
    /// Its value.
    pub value: Value,
}

/// The value of a [`Literal`], by kind and not by width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Signed integers, dates, times, timestamps and durations, in the unit of the type.
    Int(i64),
    /// Unsigned integers.
    UInt(u64),
    /// Decimals without their point: 1.50 of scale 2 is 150.
    Decimal(#[serde(with = "as_text")] i128),
    /// Floating-point numbers, NaN and infinities included.
    Float(#[serde(serialize_with = "float_out", deserialize_with = "float_in")] f64),
    /// Strings.
    Text(String),
    /// Binary values.
    Bytes(Vec<u8>),
    /// An interval of months, days and nanoseconds.
    Interval {
        /// Whole months.
        months: i32,
        /// Whole days.
        days: i32,
        /// The rest, in nanoseconds.
        nanoseconds: i64,
    },
}

impl Literal {
    /// NULL of a type.
    pub fn null(data_type: DataType) -> Self {
        Literal { data_type, value: Value::Null }
    }

    /// A 64-bit integer.
    pub fn int(value: i64) -> Self {
        Literal { data_type: DataType::Int64, value: Value::Int(value) }
    }

    /// A Boolean.
    pub fn bool(value: bool) -> Self {
        Literal { data_type: DataType::Boolean, value: Value::Bool(value) }
    }

    /// A string.
    pub fn text(value: impl Into<String>) -> Self {
        Literal { data_type: DataType::Utf8View, value: Value::Text(value.into()) }
    }

    /// Whether the value is NULL.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The value as an array of one row, in the physical type; decimals as narrow as they fit.
    ///
    /// # Errors
    /// `Internal` when the value's kind does not go with the type.
    pub fn to_array(&self) -> Result<ArrayRef> {
        let physical = physical_type(&self.data_type);
        let wide: ArrayRef = match &self.value {
            Value::Null => return Ok(new_null_array(&physical, 1)),
            Value::Decimal(v) => return self.decimal_array(*v),
            Value::Bool(v) => Arc::new(BooleanArray::from(vec![*v])),
            Value::Int(v) => return self.integer_array(*v, &physical),
            Value::UInt(v) => Arc::new(UInt64Array::from(vec![*v])),
            Value::Float(v) => Arc::new(Float64Array::from(vec![*v])),
            Value::Text(v) => Arc::new(StringViewArray::from(vec![v.as_str()])),
            Value::Bytes(v) => Arc::new(BinaryViewArray::from(vec![v.as_slice()])),
            Value::Interval { months, days, nanoseconds } => {
                let value = IntervalMonthDayNano::new(*months, *days, *nanoseconds);
                Arc::new(IntervalMonthDayNanoArray::from(vec![value]))
            }
        };
        self.exactly(&wide, &physical)
    }

    /// Casts a value that fits the type.
    fn exactly(&self, wide: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(wide, to, &strict).map_err(|e| {
            Error::internal(format!("{:?} is no value of {}: {e}", self.value, self.data_type))
        })
    }

    /// Integers reach dates, times and small integers by the type of the same width.
    fn integer_array(&self, value: i64, physical: &DataType) -> Result<ArrayRef> {
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        match physical {
            DataType::Date32
            | DataType::Time32(_)
            | DataType::Interval(IntervalUnit::YearMonth) => {
                self.exactly(&self.exactly(&wide, &DataType::Int32)?, physical)
            }
            _ => self.exactly(&wide, physical),
        }
    }

    fn decimal_array(&self, value: i128) -> Result<ArrayRef> {
        let (precision, scale) = match &self.data_type {
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
                (*p, *s)
            }
            DataType::Decimal256(p, s) => {
                let array = Decimal256Array::from(vec![i256::from_i128(value)]);
                return Ok(Arc::new(array.with_precision_and_scale(*p, *s)?));
            }
            other => return Err(Error::internal(format!("a decimal literal of type {other}"))),
        };
        match i64::try_from(value) {
            Ok(narrow) if scale.unsigned_abs() <= 18 => {
                let array = Decimal64Array::from(vec![narrow]);
                Ok(Arc::new(array.with_precision_and_scale(precision.min(18), scale)?))
            }
            _ => {
                let array = Decimal128Array::from(vec![value]);
                Ok(Arc::new(array.with_precision_and_scale(precision, scale)?))
            }
        }
    }

    /// The value as a constant column.
    ///
    /// # Errors
    /// As [`Literal::to_array`].
    pub fn to_column(&self) -> Result<Column> {
        Ok(Column::constant(self.data_type.clone(), self.to_array()?))
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("NULL"),
            Value::Bool(v) => write!(f, "{v}"),
            Value::Text(v) => write!(f, "'{}'", v.replace('\'', "''")),
            Value::Bytes(v) => write!(f, "{} bytes", v.len()),
            _ => {
                match self.to_array().map(|a| arrow::util::display::array_value_to_string(&a, 0)) {
                    Ok(Ok(text)) => f.write_str(&text),
                    _ => write!(f, "{:?}", self.value),
                }
            }
        }
    }
}

/// 128-bit integers are text in JSON, whose numbers many readers take for doubles.
mod as_text {
    use super::{Deserialize, Deserializer, Serializer};
    use serde::de::Error as _;

    pub fn serialize<S: Serializer>(value: &i128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i128, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Doubles are text too: the shortest that reads back as the same bits, `NaN` and `inf` included.
fn float_out<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format!("{value:?}"))
}

fn float_in<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    use serde::de::Error as _;
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array;

    #[test]
    fn literals_survive_json_exactly() {
        let values = [
            Literal::null(DataType::Int32),
            Literal::int(i64::MIN),
            Literal { data_type: DataType::UInt64, value: Value::UInt(u64::MAX) },
            Literal { data_type: DataType::Float64, value: Value::Float(0.1 + 0.2) },
            Literal { data_type: DataType::Float64, value: Value::Float(f64::NEG_INFINITY) },
            Literal {
                data_type: DataType::Decimal128(38, 2),
                value: Value::Decimal(i128::MAX / 10),
            },
            Literal::text("it's \u{1F33E}"),
        ];
        for literal in values {
            let text = serde_json::to_string(&literal).expect("serialises");
            let back: Literal = serde_json::from_str(&text).expect(&text);
            assert_eq!(back, literal, "{text}");
        }
        let nan = Literal { data_type: DataType::Float64, value: Value::Float(f64::NAN) };
        let text = serde_json::to_string(&nan).expect("serialises");
        let back: Literal = serde_json::from_str(&text).expect("reads");
        assert!(matches!(back.value, Value::Float(v) if v.is_nan()));
    }

    #[test]
    fn literals_become_arrays_of_their_physical_type() {
        let date = Literal { data_type: DataType::Date32, value: Value::Int(9000) };
        assert_eq!(date.to_array().expect("array").data_type(), &DataType::Date32);
        assert_eq!(date.to_string(), "1994-08-23");
        let price = Literal { data_type: DataType::Decimal128(15, 2), value: Value::Decimal(150) };
        assert_eq!(price.to_array().expect("array").data_type(), &DataType::Decimal64(15, 2));
        assert_eq!(price.to_string(), "1.50");
        assert_eq!(Literal::text("o'clock").to_string(), "'o''clock'");
    }

    #[test]
    fn a_value_that_does_not_fit_its_type_is_refused() {
        let array = |data_type, value| Literal { data_type, value }.to_array();
        assert_eq!(array(DataType::Int8, Value::Int(-128)).expect("fits").null_count(), 0);
        assert_eq!(array(DataType::Date32, Value::Int(9)).expect("fits").null_count(), 0);
        for (data_type, value) in [
            (DataType::Int8, Value::Int(128)),
            (DataType::UInt16, Value::UInt(1 << 16)),
            (DataType::Date32, Value::Int(1 << 31)),
            (DataType::Int64, Value::Text("x".into())),
            (DataType::Int64, Value::Decimal(1)),
        ] {
            let error = array(data_type, value).expect_err("does not fit");
            assert!(matches!(error, Error::Internal(_)), "{error:?}");
        }
    }
}
