//! The sources of pipelines: files, one folder for each format, and tables in memory.
//!
//! * `csv`: text with delimiters.
//! * `json`: objects a line, or in an array.
//! * `parquet`: Parquet files.
//! * `file`: input files with positional reads, shared by all sources.
//! * `text`: what the text formats share.
//! * `block`: filter columns first, the others for the rows that are left, in all formats.
//! * `stream`: the content of a file from its beginning on, decompressed.
//! * `table`: tables that are held in memory.
//! * `in_memory`: record batches.

mod block;
pub mod csv;
mod file;
mod in_memory;
pub mod json;
pub mod parquet;
mod stream;
mod table;
mod text;

pub use file::{FileRef, InputFile};
pub use in_memory::InMemory;
pub(crate) use stream::{ByteStream, Compression};
pub use table::{StoredTable, TableScan};

use crate::plan::FromJson;

/// Names and readers of all sources.
pub const SPECS: &[(&str, FromJson)] = &[
    ("csv_scan", csv::CsvScan::from_json),
    ("json_scan", json::JsonScan::from_json),
    ("parquet_scan", parquet::ParquetScan::from_json),
    ("table_scan", TableScan::from_json),
];
