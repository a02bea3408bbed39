//! The sources of pipelines: files, one folder for each format, and tables in memory.
//!
//! * `csv`: text with delimiters.
//! * `parquet`: Parquet files.
//! * `file`: input files with positional reads, shared by all sources.
//! * `in_memory`: record batches.

pub mod csv;
mod file;
mod in_memory;
pub mod parquet;

pub use file::{FileRef, InputFile};
pub use in_memory::InMemory;

use crate::plan::FromJson;

/// Names and readers of all sources.
pub const SPECS: &[(&str, FromJson)] =
    &[("csv_scan", csv::CsvScan::from_json), ("parquet_scan", parquet::ParquetScan::from_json)];
