//! The types that other programs should find in a file.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::batch::to_logical;
use crate::error::{Error, Result};

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

/// The schema with [`plain_type`]s.
pub fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), plain_type(field.data_type()), field.is_nullable()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A batch with the types of its [`plain_schema`].
///
/// # Errors
/// `Input` when a text is too long for its plain type, `Internal` when the schema is another's.
pub fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(array, field)| to_logical(array, field.data_type()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
        .map_err(|e| Error::internal(e.to_string()))
}
