//! Prints results in the format the user chose, batch by batch.
//!
//! * `table`: aligned columns for people; `csv`, `json`: text for programs.
//! * `arrow_stream`, `parquet_file`: bytes for programs.

mod arrow_stream;
mod csv;
mod json;
mod parquet_file;
mod table;

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use gristmill::Error;

use crate::args::Format;

/// Writes the batches of one result.
pub trait Printer {
    /// Prints (or buffers) a batch.
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure>;

    /// Prints what is left.
    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure>;
}

/// Why printing stopped.
#[derive(Debug)]
pub enum Failure {
    /// Nobody reads standard output any more: no error, just the end.
    ClosedPipe,
    /// Anything else.
    Error(Error),
}

/// A printer for results of this schema.
pub fn printer(format: Format, schema: SchemaRef) -> Box<dyn Printer> {
    match format {
        Format::Table => Box::new(table::Table::new(schema)),
        Format::Csv => Box::new(csv::Csv::new(schema)),
        Format::Json => Box::new(json::Json::default()),
        Format::Arrow => Box::new(arrow_stream::ArrowStream::new(&schema)),
        Format::Parquet => Box::new(parquet_file::ParquetFile::new(&schema)),
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Error(Error::io("write", "standard output", error)),
        }
    }
}

impl From<ArrowError> for Failure {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, cause) => cause.into(),
            other => Failure::Error(other.into()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
                Failure::ClosedPipe
            }
            _ => Failure::Error(error),
        }
    }
}
