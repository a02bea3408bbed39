//! Types at any depth.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};

/// The type with the types that are not nested replaced by what `to` makes of them.
pub fn each_innermost(data_type: &DataType, to: &dyn Fn(&DataType) -> DataType) -> DataType {
    use DataType as T;
    let inner = |field: &FieldRef| {
        let data_type = each_innermost(field.data_type(), to);
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    };
    match data_type {
        T::List(item) => T::List(inner(item)),
        T::LargeList(item) => T::LargeList(inner(item)),
        T::FixedSizeList(item, length) => T::FixedSizeList(inner(item), *length),
        T::Struct(fields) => T::Struct(fields.iter().map(inner).collect()),
        T::Map(entries, sorted) => T::Map(inner(entries), *sorted),
        innermost => to(innermost),
    }
}
