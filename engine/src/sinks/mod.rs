//! The sinks at the end of a plan: the result for the caller, and files, one file or folder each.
//! Every sink that writes a file gives one row, `count`, with the number of rows it wrote; see
//! [`RowCount`]. Files appear whole or not at all; see [`Output`].
//!
//! * `arrow`: Arrow files, with a footer or as a stream.
//! * `collect`: the result, batch by batch.
//! * `commit`: files under construction, shared by all sinks.
//! * `count`: the row that a sink gives.
//! * `csv`: text with delimiters.
//! * `json`: JSON, an object a row.
//! * `parquet`: Parquet files.
//! * `text`: values as text, shared by the sinks that write it.
//! * `partitioned`: a directory of files, by the values of columns.
//! * `plain`: types that all readers know.
//! * `groups`: what the sinks that write groups of rows share.
//! * `lines`: what the sinks that write text share.
//! * `table`: tables that are held in memory.
//! * `ordered`: blocks of bytes from several workers, in order.

mod arrow;
mod collect;
mod commit;
mod count;
mod csv;
mod groups;
mod json;
mod lines;
mod ordered;
mod parquet;
mod partitioned;
mod plain;
mod table;
mod text;

pub use self::arrow::{ArrowCodec, WriteArrow};
pub use self::parquet::{Codec, WriteParquet};
pub use self::plain::{parquet_schema, plain_batch, plain_schema};
pub use collect::Collect;
pub use commit::Output;
pub use count::{CountSource, RowCount, count_schema};
pub use csv::{CsvText, WriteCsv};
pub use json::{JsonText, WriteJson, json_key, json_values};
pub use ordered::OrderedOutput;
pub use partitioned::{Existing, FileSink, WritePartitioned};
pub use table::{NewPart, WriteTable};

use crate::plan::{FromJson, from_fields};

/// Names and readers of all sinks.
pub const SPECS: &[(&str, FromJson)] = &[
    ("write_arrow", |fields, _| from_fields::<WriteArrow>(fields)),
    ("write_csv", |fields, _| from_fields::<WriteCsv>(fields)),
    ("write_json", |fields, _| from_fields::<WriteJson>(fields)),
    ("write_partitioned", |fields, _| from_fields::<WritePartitioned>(fields)),
    ("write_parquet", |fields, _| from_fields::<WriteParquet>(fields)),
    ("write_table", WriteTable::from_json),
];
