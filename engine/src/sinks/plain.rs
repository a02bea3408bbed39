//! The types that other programs should find in a file.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};

/// The type without what only some readers know, at any depth: plain strings instead of views,
/// dictionaries as their values, decimals of 128 bits at least.
pub(in crate::sinks) fn plain_type(data_type: &DataType) -> DataType {
    use DataType as T;
    let plain = |field: &FieldRef| {
        let data_type = plain_type(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    match data_type {
        T::Utf8View => T::Utf8,
        T::BinaryView => T::Binary,
        T::Decimal32(p, s) | T::Decimal64(p, s) => T::Decimal128(*p, *s),
        T::Dictionary(_, values) => plain_type(values),
        T::List(item) => T::List(plain(item)),
        T::LargeList(item) => T::LargeList(plain(item)),
        T::FixedSizeList(item, length) => T::FixedSizeList(plain(item), *length),
        T::Struct(fields) => T::Struct(fields.iter().map(plain).collect()),
        T::Map(entries, sorted) => T::Map(plain(entries), *sorted),
        other => other.clone(),
    }
}
