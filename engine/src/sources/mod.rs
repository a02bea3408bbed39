//! The sources that read files: one folder each.
//!
//! * `csv`: text with delimiters.
//! * `parquet`: Parquet files.
//! * `file`: input files with positional reads, shared by all sources.

pub mod csv;
mod file;
pub mod parquet;

pub use file::{FileRef, InputFile};

use crate::plan::FromJson;

/// Names and readers of all sources.
pub const SPECS: &[(&str, FromJson)] =
    &[("csv_scan", csv::CsvScan::from_json), ("parquet_scan", parquet::ParquetScan::from_json)];
