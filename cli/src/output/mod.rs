//! Prints results in the format the user chose, batch by batch.
//!
//! * `destination`: where results go; `screen`: what a terminal has room for.
//! * `table`, `markdown`, `csv`, `json`: one format each, in text; `long`: rows with long values,
//!   whose text is made piece by piece; `json_value`: such a value in JSON.
//! * `arrow_stream`, `arrow_file`, `parquet_file`: bytes for programs; `handed_on`: where their
//!   writers write to.

mod arrow_file;
mod arrow_stream;
mod csv;
mod destination;
mod handed_on;
mod json;
mod json_value;
mod long;
mod markdown;
mod parquet_file;
mod screen;
mod table;

use std::io::{self, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use clap::ValueEnum;
use gristmill::{Error, Position};

pub use destination::Destination;
pub use screen::Screen;

/// What a statement calls standard output when it copies rows there.
const STDOUT_PATH: &str = "/dev/stdout";

/// Result formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people.
    Table,
    /// Comma-separated values with a header; NULL is an empty field.
    Csv,
    /// The same with tabs between them.
    Tsv,
    /// One array of objects per statement.
    Json,
    /// One object per line.
    Ndjson,
    /// A table in Markdown.
    Markdown,
    /// An Arrow stream.
    Arrow,
    /// An Arrow file with a footer, also known as Feather.
    Feather,
    /// A Parquet file.
    Parquet,
}

impl Format {
    /// The format that a file's ending names.
    pub fn of_path(path: &Path) -> Option<Format> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match ending.as_str() {
            "txt" => Format::Table,
            "csv" => Format::Csv,
            "tsv" => Format::Tsv,
            "json" => Format::Json,
            "ndjson" | "jsonl" => Format::Ndjson,
            "md" | "markdown" => Format::Markdown,
            "arrows" => Format::Arrow,
            "arrow" | "feather" | "ipc" => Format::Feather,
            "parquet" | "pq" => Format::Parquet,
            _ => return None,
        })
    }

    /// What a file is called that holds the result of one statement alone.
    pub fn of_one_result(self) -> Option<&'static str> {
        match self {
            Format::Csv => Some("CSV"),
            Format::Tsv => Some("TSV"),
            Format::Json => Some("JSON"),
            Format::Arrow | Format::Feather => Some("Arrow"),
            Format::Parquet => Some("Parquet"),
            Format::Table | Format::Ndjson | Format::Markdown => None,
        }
    }

    /// Whether results are bytes that a terminal cannot show.
    pub fn is_binary(self) -> bool {
        matches!(self, Format::Arrow | Format::Feather | Format::Parquet)
    }
}

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

/// A printer for results of this schema. `screen` bounds tables; without one they are whole.
pub fn printer(format: Format, schema: SchemaRef, screen: Option<Screen>) -> Box<dyn Printer> {
    match (format, screen) {
        (Format::Table, Some(screen)) => Box::new(table::Bounded::new(schema, screen)),
        (Format::Table, None) => Box::new(table::Whole::new(schema)),
        (Format::Csv, _) => Box::new(csv::Csv::new(schema, ',')),
        (Format::Tsv, _) => Box::new(csv::Csv::new(schema, '\t')),
        (Format::Json, _) => Box::new(json::Json::array()),
        (Format::Ndjson, _) => Box::new(json::Json::lines()),
        (Format::Markdown, _) => Box::new(markdown::Markdown::new(schema)),
        (Format::Arrow, _) => Box::new(arrow_stream::ArrowStream::new(&schema)),
        (Format::Feather, _) => Box::new(arrow_file::ArrowFile::new(&schema)),
        (Format::Parquet, _) => Box::new(parquet_file::ParquetFile::new(&schema)),
    }
}

impl Failure {
    /// The same with the place of the statement that was run, if it has none of its own.
    pub fn at(self, statement: &Position) -> Self {
        match self {
            Failure::Error(Error::Input { message, position: None }) => {
                Failure::Error(Error::input_at(message, statement.clone()))
            }
            other => other,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Error(Error::io("write", "the results", error)),
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
            Error::Io { source, path, .. }
                if source.kind() == io::ErrorKind::BrokenPipe && path == Path::new(STDOUT_PATH) =>
            {
                Failure::ClosedPipe
            }
            _ => Failure::Error(error),
        }
    }
}
