//! Data types as text, the form they have in plans: `Int64`, `Decimal128(15, 2)`,
//! `Timestamp(ns, "UTC")`. For `#[serde(with = "...")]`.

use arrow::datatypes::DataType;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes a data type as text.
pub fn serialize<S: Serializer>(data_type: &DataType, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(data_type)
}

/// Reads a data type from text.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DataType, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|e| D::Error::custom(format!("`{text}` is not a data type: {e}")))
}
