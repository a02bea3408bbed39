//! The formats of files, and what may be said about how a file is to be read.

use std::path::Path;

use gristmill_engine::sources::csv::CsvOptions;
use gristmill_engine::sources::json::JsonOptions;
use gristmill_engine::{Error, Result};

use crate::csv_options::csv_options;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values.
    Csv,
    /// Lines of text, which are read as they stand.
    Text,
    /// JSON: an object a line, or an array of objects.
    Json,
    /// Apache Arrow, also known as Feather.
    Arrow,
}

impl Format {
    /// What to do about a file whose ending names no format.
    pub(crate) const ENDINGS: &str = "use .parquet, .csv, .tsv, .txt, .json, .ndjson or .arrow";

    /// What to do about a name that is no format's.
    pub(crate) const NAMES: &str = "use PARQUET, CSV, JSON, ARROW or, to read, TEXT";

    /// Its name, for errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Parquet => "Parquet",
            Format::Csv => "CSV",
            Format::Text => "text",
            Format::Json => "JSON",
            Format::Arrow => "Arrow",
        }
    }

    /// The format that a file's ending names; the ending of a compression may stand behind it.
    pub fn of_path(path: &Path) -> Option<Format> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "parquet" | "pq" => Some(Format::Parquet),
            "csv" | "tsv" => Some(Format::Csv),
            "txt" | "text" => Some(Format::Text),
            "json" | "ndjson" | "jsonl" => Some(Format::Json),
            "arrow" | "arrows" | "feather" | "ipc" => Some(Format::Arrow),
            "gz" | "zst" => {
                let inner = Path::new(path.file_stem()?);
                Format::of_path(inner).filter(|f| matches!(f, Format::Csv | Format::Text))
            }
            _ => None,
        }
    }

    /// The format of that name, as in `STORED AS`.
    pub fn of_name(name: &str) -> Option<Format> {
        match name.to_ascii_lowercase().as_str() {
            "parquet" => Some(Format::Parquet),
            "csv" => Some(Format::Csv),
            "text" => Some(Format::Text),
            "json" | "ndjson" | "jsonl" => Some(Format::Json),
            "arrow" | "feather" | "ipc" => Some(Format::Arrow),
            _ => None,
        }
    }
}

/// How a file is to be read: its format, and what is said about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// As Apache Parquet, which says everything itself.
    Parquet,
    /// As comma-separated values; what is not said is found out.
    Csv(CsvOptions),
    /// As lines of text: rows of one column, `line`.
    Text,
    /// As JSON; what is not said is found out.
    Json(JsonOptions),
    /// As Apache Arrow, which says everything itself.
    Arrow,
}

impl Reading {
    /// As a format says, with options by name.
    ///
    /// # Errors
    /// `Input` that names the first option which the format has not.
    pub(crate) fn with_options(format: Format, options: Vec<(String, String)>) -> Result<Reading> {
        match (format, options.first()) {
            (Format::Csv, _) => csv_options(options).map(Reading::Csv),
            (_, None) => Ok(format.into()),
            (_, Some((name, _))) => {
                let name = name.to_lowercase();
                let name = name.strip_prefix("format.").unwrap_or(&name);
                let format = format.name();
                Err(Error::input(format!("{format} files have no option `{name}`; there are none")))
            }
        }
    }

    /// The format.
    pub(crate) fn format(&self) -> Format {
        match self {
            Reading::Parquet => Format::Parquet,
            Reading::Csv(_) => Format::Csv,
            Reading::Text => Format::Text,
            Reading::Json(_) => Format::Json,
            Reading::Arrow => Format::Arrow,
        }
    }
}

impl From<Format> for Reading {
    fn from(format: Format) -> Self {
        match format {
            Format::Parquet => Reading::Parquet,
            Format::Csv => Reading::Csv(CsvOptions::new()),
            Format::Text => Reading::Text,
            Format::Json => Reading::Json(JsonOptions::default()),
            Format::Arrow => Reading::Arrow,
        }
    }
}
