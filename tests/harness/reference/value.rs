//! Values, their order and equality, and reading them out of Arrow arrays.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal64Type, Decimal128Type, Float64Type, Int64Type,
};

/// A value; its type is known from where it stands.
#[derive(Debug, Clone)]
pub enum Value {
    /// NULL.
    Null,
    /// A Boolean.
    Bool(bool),
    /// Integers, dates, and decimals without their point.
    Int(i128),
    /// A double.
    Float(f64),
    /// A string.
    Text(String),
}

/// A row of values.
pub type Row = Vec<Value>;

impl Value {
    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Order of two values of one type that are not NULL: NaN equals NaN and is the greatest
    /// double, −0.0 equals 0.0.
    pub fn compare(&self, other: &Value) -> Ordering {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Float(a), Value::Float(b)) => match (a.is_nan(), b.is_nan()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => a.partial_cmp(b).expect("neither is NaN"),
            },
            _ => panic!("values of two types: {self:?} and {other:?}"),
        }
    }

    /// Equality of keys: NULL equals NULL.
    pub fn same(&self, other: &Value) -> bool {
        match (self.is_null(), other.is_null()) {
            (false, false) => self.compare(other) == Ordering::Equal,
            (a, b) => a && b,
        }
    }

    /// Order with a place for NULL: before all values or after them.
    pub fn compare_nulls(&self, other: &Value, nulls_first: bool) -> Ordering {
        match (self.is_null(), other.is_null()) {
            (false, false) => self.compare(other),
            (true, true) => Ordering::Equal,
            (a, _) => {
                if a == nulls_first {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        }
    }

    /// Text by which rows can be sorted and compared; doubles to 12 significant digits, because
    /// the order of a sum changes its last ones.
    pub fn canonical(&self) -> String {
        match self {
            Value::Null => "NULL".to_string(),
            Value::Bool(v) => v.to_string(),
            Value::Int(v) => v.to_string(),
            Value::Float(v) if v.is_nan() => "NaN".to_string(),
            Value::Float(v) => format!("{:.11e}", if *v == 0.0 { 0.0 } else { *v }),
            Value::Text(v) => format!("{v:?}"),
        }
    }
}

/// The rows of a batch.
///
/// # Panics
/// On column types that the tests do not use.
pub fn rows(batch: &RecordBatch) -> Vec<Row> {
    let columns: Vec<Vec<Value>> = batch.columns().iter().map(|c| column(c.as_ref())).collect();
    (0..batch.num_rows()).map(|r| columns.iter().map(|c| c[r].clone()).collect()).collect()
}

/// The values of an array.
///
/// # Panics
/// On types that the tests do not use.
pub fn column(array: &dyn Array) -> Vec<Value> {
    let value = |row: usize| match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::UInt32 => {
            let wide = cast(&array.slice(row, 1), &DataType::Int64).expect("widens");
            Value::Int(wide.as_primitive::<Int64Type>().value(0).into())
        }
        DataType::Date32 => Value::Int(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal64(..) => {
            Value::Int(array.as_primitive::<Decimal64Type>().value(row).into())
        }
        DataType::Decimal128(..) => Value::Int(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(row).to_string()),
        DataType::Utf8View => Value::Text(array.as_string_view().value(row).to_string()),
        other => panic!("the tests do not read {other}"),
    };
    (0..array.len()).map(|r| if array.is_null(r) { Value::Null } else { value(r) }).collect()
}

/// Rows as sorted lines, to compare results that have no order.
pub fn canonical(rows: &[Row]) -> Vec<String> {
    let mut lines = in_order(rows);
    lines.sort();
    lines
}

/// Rows as lines in their order.
pub fn in_order(rows: &[Row]) -> Vec<String> {
    let line = |row: &Row| row.iter().map(Value::canonical).collect::<Vec<_>>().join(" | ");
    rows.iter().map(line).collect()
}
