//! What files say of the values of a column, as the engine's literals.
//!
//! Statistics hold values in the form they are stored in; this gives them their logical meaning.
//! Strings may have been cut short: bounds hold, they need not occur.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnDescriptor;

use crate::expr::Value;

const DAY_MILLISECONDS: i64 = 86_400_000;

/// What is known of the values in some rows of a column.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Bounds {
    /// Rows, NULLs included.
    pub rows: u64,
    /// NULLs among them, when known.
    pub nulls: Option<u64>,
    /// No value is less; `None` when unknown. NaN is greater than any bound.
    pub min: Option<Value>,
    /// No value is greater, NaN aside; `None` when unknown.
    pub max: Option<Value>,
}

impl Bounds {
    /// What a row group's statistics say of one column.
    pub fn of_chunk(chunk: &ColumnChunkMetaData, logical: &DataType) -> Bounds {
        let rows = u64::try_from(chunk.num_values()).unwrap_or(0);
        let Some(statistics) = chunk.statistics() else {
            return Bounds { rows, ..Bounds::default() };
        };
        let descr = chunk.column_descr();
        // Old writers compared bytes as if they were signed.
        let trusted = !statistics.is_min_max_deprecated() || is_signed(descr, logical);
        let value = |bytes: Option<&[u8]>| {
            bytes.filter(|_| trusted).and_then(|bytes| value_of(bytes, descr, logical))
        };
        Bounds {
            rows,
            nulls: statistics.null_count_opt(),
            min: value(statistics.min_bytes_opt()),
            max: value(statistics.max_bytes_opt()),
        }
    }
}

fn is_signed(descr: &ColumnDescriptor, logical: &DataType) -> bool {
    let number = matches!(
        descr.physical_type(),
        PhysicalType::INT32 | PhysicalType::INT64 | PhysicalType::FLOAT | PhysicalType::DOUBLE
    );
    number && !logical.is_unsigned_integer()
}

/// A stored value of a column of type `logical`; `None` when it has no meaning as a literal.
pub(super) fn value_of(
    stored: &[u8],
    descr: &ColumnDescriptor,
    logical: &DataType,
) -> Option<Value> {
    let integer = |value: i64, width: u32| match logical {
        DataType::Decimal128(..) | DataType::Decimal256(..) => Value::Decimal(i128::from(value)),
        t if t.is_unsigned_integer() => Value::UInt(value as u64 & (u64::MAX >> (64 - width))),
        _ => Value::Int(value),
    };
    Some(match descr.physical_type() {
        PhysicalType::INT32 if is_in_days(descr, logical) => {
            let days = i32::from_le_bytes(stored.try_into().ok()?);
            Value::Int(i64::from(days) * DAY_MILLISECONDS)
        }
        PhysicalType::BOOLEAN => Value::Bool(*stored.first()? != 0),
        PhysicalType::INT32 => integer(i64::from(i32::from_le_bytes(stored.try_into().ok()?)), 32),
        PhysicalType::INT64 => integer(i64::from_le_bytes(stored.try_into().ok()?), 64),
        PhysicalType::FLOAT if *logical == DataType::Float32 => {
            number(f64::from(f32::from_le_bytes(stored.try_into().ok()?)))?
        }
        PhysicalType::DOUBLE => number(f64::from_le_bytes(stored.try_into().ok()?))?,
        PhysicalType::BYTE_ARRAY => match logical {
            DataType::Utf8View => Value::Text(std::str::from_utf8(stored).ok()?.to_string()),
            DataType::BinaryView => Value::Bytes(stored.to_vec()),
            _ => return None,
        },
        PhysicalType::FIXED_LEN_BYTE_ARRAY if logical.is_decimal() => big_endian(stored)?,
        _ => return None,
    })
}

/// Whether the file has days where the type has milliseconds.
fn is_in_days(descr: &ColumnDescriptor, logical: &DataType) -> bool {
    descr.physical_type() == PhysicalType::INT32 && *logical == DataType::Date64
}

/// NaN bounds nothing.
fn number(value: f64) -> Option<Value> {
    (!value.is_nan()).then_some(Value::Float(value))
}

fn big_endian(stored: &[u8]) -> Option<Value> {
    let negative = *stored.first()? >= 0x80;
    let mut bytes = [if negative { 0xff } else { 0 }; 16];
    let start = bytes.len().checked_sub(stored.len())?;
    bytes[start..].copy_from_slice(stored);
    Some(Value::Decimal(i128::from_be_bytes(bytes)))
}

/// The order of two values of one type; `None` when they cannot be compared, NaN included.
pub(super) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::UInt(a), Value::UInt(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::UInt(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::UInt(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Decimal(a), Value::Decimal(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// A literal's value in a column's scale; `None` when it has no exact form there.
pub(super) fn rescale(value: &Value, from: &DataType, to: &DataType) -> Option<Value> {
    let (Value::Decimal(unscaled), Some(from), Some(to)) = (value, scale(from), scale(to)) else {
        return Some(value.clone());
    };
    let factor = |by: i8| 10i128.checked_pow(u32::try_from(by).ok()?);
    if to >= from {
        unscaled.checked_mul(factor(to.checked_sub(from)?)?).map(Value::Decimal)
    } else {
        let divisor = factor(from.checked_sub(to)?)?;
        (unscaled % divisor == 0).then(|| Value::Decimal(unscaled / divisor))
    }
}

fn scale(data_type: &DataType) -> Option<i8> {
    match data_type {
        DataType::Decimal32(_, s)
        | DataType::Decimal64(_, s)
        | DataType::Decimal128(_, s)
        | DataType::Decimal256(_, s) => Some(*s),
        _ => None,
    }
}

/// The bytes that a column of type `logical` stores for a value, the form Bloom filters hash;
/// `None` when that is not known.
pub(super) fn stored_bytes(
    value: &Value,
    descr: &ColumnDescriptor,
    logical: &DataType,
) -> Option<Vec<u8>> {
    let integer = match value {
        Value::Int(v) if is_in_days(descr, logical) => {
            (v % DAY_MILLISECONDS == 0).then_some(v / DAY_MILLISECONDS)
        }
        Value::Int(v) => Some(*v),
        Value::UInt(v) => Some(*v as i64),
        Value::Decimal(v) => i64::try_from(*v).ok(),
        _ => None,
    };
    match (descr.physical_type(), value) {
        (PhysicalType::INT32, _) => Some((integer? as i32).to_le_bytes().to_vec()),
        (PhysicalType::INT64, _) => Some(integer?.to_le_bytes().to_vec()),
        (PhysicalType::BYTE_ARRAY, Value::Text(text)) => Some(text.as_bytes().to_vec()),
        (PhysicalType::BYTE_ARRAY, Value::Bytes(bytes)) => Some(bytes.clone()),
        _ => None,
    }
}
