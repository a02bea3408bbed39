//! One file, of any format.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use gristmill_engine::expr::Expr;
use gristmill_engine::memory::Governor;
use gristmill_engine::plan::Spec;
use gristmill_engine::sources::arrow::Contents;
use gristmill_engine::sources::csv::{self, CsvFacts};
use gristmill_engine::sources::files::FileScan;
use gristmill_engine::sources::json::{self, JsonFacts};
use gristmill_engine::sources::parquet::{self, FileFacts};
use gristmill_engine::sources::{ArrowScan, FileRef, ParquetScan};
use gristmill_engine::{Error, Result};

use crate::catalog::{ColumnStatistics, DataSource, Reading, TableStatistics};

/// What a file says of itself.
#[derive(Debug)]
pub(super) enum Read {
    Arrow(Arc<Contents>),
    Csv(CsvFacts),
    Json(JsonFacts),
    Parquet(FileFacts),
}

impl Read {
    /// Reads it.
    ///
    /// # Errors
    /// `Io` when the file cannot be read, `Input` when it is not what its format says.
    pub(super) fn open(path: &Path, reading: &Reading, memory: &Governor) -> Result<Read> {
        Ok(match reading {
            Reading::Arrow => Read::Arrow(Contents::read(&FileRef::of(path)?, memory)?),
            Reading::Csv(options) => Read::Csv(csv::sniff(path, options, memory)?),
            Reading::Json(options) => Read::Json(json::sniff_one(path, options)?),
            Reading::Parquet => Read::Parquet(parquet::describe(path, memory)?),
            Reading::Text => Read::Csv(csv::lines(path, memory)?),
        })
    }

    /// Gives back the memory of what can be read again.
    pub(super) fn forget_contents(&mut self) {
        if let Read::Parquet(facts) = self {
            facts.footer = None;
        }
    }

    /// The file, as it was then.
    pub(super) fn file(&self) -> &FileRef {
        match self {
            Read::Arrow(contents) => contents.file(),
            Read::Csv(facts) => &facts.file,
            Read::Json(facts) => &facts.file,
            Read::Parquet(facts) => &facts.file,
        }
    }

    /// Names and types of its columns.
    pub(super) fn schema(&self) -> SchemaRef {
        match self {
            Read::Arrow(contents) => contents.schema().clone(),
            Read::Csv(facts) => {
                let field = |c: &csv::CsvColumn| Field::new(&c.name, c.data_type.clone(), true);
                Arc::new(Schema::new(facts.columns.iter().map(field).collect::<Vec<_>>()))
            }
            Read::Json(facts) => {
                let fields = facts.columns.iter().map(|column| column.field());
                Arc::new(Schema::new(fields.collect::<Vec<_>>()))
            }
            Read::Parquet(facts) => facts.schema.clone(),
        }
    }

    /// What is known about its rows.
    pub(super) fn statistics(&self) -> TableStatistics {
        let guessed = |rows: f64, is_exact: bool, columns: usize| {
            let rows = rows.max(0.0) as u64;
            TableStatistics {
                rows: is_exact.then_some(rows),
                rows_guess: Some(rows),
                columns: vec![ColumnStatistics::default(); columns],
            }
        };
        match self {
            Read::Arrow(contents) => {
                guessed(contents.rows() as f64, true, contents.schema().fields().len())
            }
            Read::Csv(facts) => guessed(facts.rows, facts.is_exact, facts.columns.len()),
            Read::Json(facts) => guessed(facts.rows, facts.is_exact, facts.columns.len()),
            Read::Parquet(facts) => {
                let columns = facts.columns.iter().map(|column| ColumnStatistics {
                    min: column.min.clone(),
                    max: column.max.clone(),
                    nulls: column.nulls,
                    distinct: column.distinct.map(|d| d as u64),
                });
                let columns = columns.collect();
                TableStatistics { rows: Some(facts.rows), rows_guess: None, columns }
            }
        }
    }

    /// A scan of all of it.
    pub(super) fn scan(&self) -> FileScan {
        match self {
            Read::Arrow(contents) => FileScan::Arrow(ArrowScan::new(contents.clone())),
            Read::Csv(facts) => FileScan::Csv(facts.scan(Vec::new())),
            Read::Json(facts) => FileScan::Json(facts.scan()),
            Read::Parquet(facts) => {
                let mut scan = ParquetScan::new(vec![facts.file.clone()], &facts.schema);
                scan.footers = facts.footer.iter().cloned().collect();
                FileScan::Parquet(scan)
            }
        }
    }
}

/// A table that is one file.
#[derive(Debug)]
pub(super) struct OneFile {
    read: Read,
}

impl OneFile {
    /// The table of a file that has columns.
    ///
    /// # Errors
    /// `Input` when it has none.
    pub(super) fn new(read: Read) -> Result<OneFile> {
        if read.schema().fields().is_empty() {
            let path = read.file().path.display();
            return Err(Error::input(match &read {
                Read::Json(_) => format!(
                    "{path} has no records with keys to take columns from; declare its columns in \
                     CREATE EXTERNAL TABLE"
                ),
                _ => format!("{path} has no columns"),
            }));
        }
        Ok(OneFile { read })
    }
}

impl DataSource for OneFile {
    fn schema(&self) -> SchemaRef {
        self.read.schema()
    }

    fn statistics(&self) -> TableStatistics {
        self.read.statistics()
    }

    fn scan(&self, columns: &[usize], conditions: Vec<Expr>) -> Result<Arc<dyn Spec>> {
        let projection = columns.to_vec();
        let predicates = conditions;
        Ok(match self.read.scan() {
            FileScan::Arrow(scan) => Arc::new(ArrowScan { projection, predicates, ..scan }),
            FileScan::Csv(mut scan) => {
                (scan.projection, scan.predicates) = (projection, predicates);
                Arc::new(scan)
            }
            FileScan::Json(mut scan) => {
                (scan.projection, scan.predicates) = (projection, predicates);
                Arc::new(scan)
            }
            FileScan::Parquet(scan) => Arc::new(ParquetScan { projection, predicates, ..scan }),
        })
    }

    fn is_current(&self) -> Result<bool> {
        let file = self.read.file();
        Ok(FileRef::of(&file.path)? == *file)
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.read.file().path.clone()]
    }
}
