//! The sources of pipelines: files, one folder for each format, and tables in memory.
//!
//! * `arrow`: Arrow files and streams.
//! * `batches`: record batches that somebody else makes.
//! * `csv`: text with delimiters.
//! * `json`: objects a line, or in an array.
//! * `parquet`: Parquet files.
//! * `files`: many files as one table.
//! * `declared`: what the scans of all formats declare alike.
//! * `file`: input files with positional reads, shared by all sources.
//! * `text`: what the text formats share.
//! * `block`: filter columns first, the others for the rows that are left, in all formats.
//! * `stream`: the content of a file from its beginning on, decompressed.
//! * `guard`: foreign code over bytes that may be corrupt.
//! * `table`: tables that are held in memory.
//! * `in_memory`: record batches.
//! * `series`: whole numbers at equal distances.

pub mod arrow;
mod batches;
mod block;
pub mod csv;
mod declared;
mod file;
pub mod files;
mod guard;
mod in_memory;
pub mod json;
pub mod parquet;
mod series;
mod stream;
mod table;
mod text;

pub use batches::{BatchScan, BatchSource, Batches};
pub use file::{FileRef, InputFile};
pub use in_memory::InMemory;
pub use series::Series;
pub(crate) use stream::{ByteStream, Compression};
pub use table::{StoredTable, TableScan};

pub use self::arrow::ArrowScan;
pub use self::csv::CsvScan;
pub use self::json::JsonScan;
pub use self::parquet::ParquetScan;

use crate::plan::{FromJson, from_fields};

/// Names and readers of all sources.
pub const SPECS: &[(&str, FromJson)] = &[
    ("arrow_scan", arrow::ArrowScan::from_json),
    ("batch_scan", BatchScan::from_json),
    ("csv_scan", csv::CsvScan::from_json),
    ("files_scan", files::FilesScan::from_json),
    ("json_scan", json::JsonScan::from_json),
    ("parquet_scan", parquet::ParquetScan::from_json),
    ("series", |fields, _| from_fields::<Series>(fields)),
    ("table_scan", TableScan::from_json),
];
