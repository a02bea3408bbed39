//! What the values of a column are read as.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use serde::{Deserialize, Serialize};

/// What values are read as. NULL is always allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Numbers, texts, Booleans, dates or timestamps. A text column takes any value: what is no
    /// string is taken as it is written.
    Plain(#[serde(with = "crate::expr::data_type")] DataType),
    /// Any value, as the JSON text that it is, strings with their quotes.
    Json,
    /// Arrays of one shape.
    List(Box<Shape>),
    /// Objects with these keys.
    Struct(Vec<(String, Shape)>),
}

impl Shape {
    /// The shape that values of a declared type have; `None` when they cannot be read.
    pub fn of(data_type: &DataType) -> Option<Shape> {
        use DataType as T;
        let plain = match data_type {
            T::Boolean | T::Date32 | T::Float32 | T::Float64 => true,
            T::Int8 | T::Int16 | T::Int32 | T::Int64 => true,
            T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => true,
            T::Utf8 | T::LargeUtf8 | T::Utf8View => true,
            T::Decimal32(_, s) | T::Decimal64(_, s) | T::Decimal128(_, s) => *s >= 0,
            T::Timestamp(_, None) => true,
            T::Timestamp(_, Some(zone)) => matches!(zone.as_ref(), "UTC" | "+00:00" | "Z"),
            T::List(item) => return Some(Shape::List(Box::new(Shape::of(item.data_type())?))),
            T::Struct(fields) => {
                let fields = fields
                    .iter()
                    .map(|field| Some((field.name().clone(), Shape::of(field.data_type())?)));
                return Some(Shape::Struct(fields.collect::<Option<_>>()?));
            }
            _ => false,
        };
        plain.then(|| Shape::Plain(data_type.clone()))
    }

    /// The type of the values.
    pub fn data_type(&self) -> DataType {
        match self {
            Shape::Plain(data_type) => data_type.clone(),
            Shape::Json => DataType::Utf8View,
            Shape::List(item) => DataType::List(Arc::new(item_field(item))),
            Shape::Struct(members) => DataType::Struct(fields(members)),
        }
    }
}

/// The field of a list's items.
pub(super) fn item_field(item: &Shape) -> Field {
    Field::new_list_field(item.data_type(), true)
}

/// The fields of an object.
pub(super) fn fields(members: &[(String, Shape)]) -> Fields {
    members.iter().map(|(name, shape)| Field::new(name, shape.data_type(), true)).collect()
}
