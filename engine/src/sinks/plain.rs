//! The types that other programs should find in a file.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::batch::{each_innermost, to_logical};
use crate::error::{Error, Result};

/// The type without what only some readers know, at any depth: plain strings instead of views,
/// dictionaries as their values, decimals of 128 bits at least.
pub(in crate::sinks) fn plain_type(data_type: &DataType) -> DataType {
    use DataType as T;
    each_innermost(data_type, &|innermost| match innermost {
        T::Utf8View => T::Utf8,
        T::BinaryView => T::Binary,
        T::Decimal32(p, s) | T::Decimal64(p, s) => T::Decimal128(*p, *s),
        T::Dictionary(_, values) => plain_type(values),
        other => other.clone(),
    })
}

/// The type with milliseconds where it has moments in seconds, at any depth: Parquet has no
/// seconds, and would keep bare integers.
pub(in crate::sinks) fn in_milliseconds(data_type: &DataType) -> DataType {
    each_innermost(data_type, &|innermost| match innermost {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Dictionary(_, values) if in_milliseconds(values) != **values => {
            in_milliseconds(values)
        }
        other => other.clone(),
    })
}

/// The schema with [`plain_type`]s.
pub fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), plain_type(field.data_type()), field.is_nullable()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The [`plain_schema`] of a Parquet file, which has no moments in seconds but milliseconds.
pub fn parquet_schema(schema: &Schema) -> SchemaRef {
    let fields = plain_schema(schema);
    let fields = fields.fields().iter().map(|field| {
        let data_type = in_milliseconds(field.data_type());
        field.as_ref().clone().with_data_type(data_type)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A batch with the types of its [`plain_schema`] or [`parquet_schema`].
///
/// # Errors
/// `Input` when a text is too long for its plain type, or a moment too far away for milliseconds;
/// `Internal` when the schema is another's.
pub fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(array, field)| to_logical(array, field.data_type()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_>>()?, &options)
        .map_err(|e| Error::internal(e.to_string()))
}
