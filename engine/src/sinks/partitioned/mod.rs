//! Writes its input to a directory with a file, or several, for every value of the partition
//! columns: `year=2013/month=1/data_0.parquet`. Those columns are left out of the files; whoever
//! reads the directory finds them in the paths.
//!
//! ```text
//! chunk ─► split by key ─► the sink of each file (as if it were alone) ─► staging ─► directory
//! ```
//!
//! The directory appears, or changes, when all rows are written: files are made in a staging
//! directory beside it. Within a file rows keep the order of the input.
//!
//! Input that is sorted by the partition columns has one file a partition as a rule, and hardly any
//! open at a time: a file is ended when a worker goes on to the next partition, or, where it may go
//! on in another morsel, when that has passed (one without rows of any partition between two that
//! have some of the same makes a second file). Otherwise at most [`OPEN_MAX`] files that nobody
//! writes to stay open; a partition whose file was closed for others gets another one.
//!
//! Memory: what the sinks of the open files hold, and the paths of all partitions. When there is
//! none for a worker's part of a file, files that nobody writes to are ended.
//! Concurrency: workers share the table of open files, behind one lock; each file has its own.
//!
//! * `keys`: rows by partition, and its path; `files`: the files that are open.
//! * `worker`: the sink; `staging`: the directory under construction.

mod files;
mod keys;
mod staging;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::worker::PartitionedSink;
use super::count::counted;
use super::{WriteArrow, WriteCsv, WriteJson, WriteParquet};
use crate::error::{Error, Result};
use crate::pipeline::Sink;
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};

/// `COPY … TO 'directory' PARTITIONED BY (…)`; gives one row, `count`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritePartitioned {
    /// The directory.
    pub directory: PathBuf,
    /// How its files are written; their paths do not count.
    pub file: FileSink,
    /// Positions of the columns that make the partitions, from the outermost one.
    pub partition_by: Vec<usize>,
    /// Whether the input is sorted by them.
    pub is_sorted: bool,
    /// What becomes of files that are there already.
    pub existing: Existing,
}

/// How one file is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSink {
    /// As Arrow.
    Arrow(WriteArrow),
    /// As text with delimiters.
    Csv(WriteCsv),
    /// As JSON.
    Json(WriteJson),
    /// As Parquet.
    Parquet(WriteParquet),
}

/// What becomes of files that are in the directory already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// A directory that is not empty is refused.
    #[default]
    Refused,
    /// The directory is replaced as a whole.
    Replaced,
    /// They stay, except for those that have the same names as new ones.
    Overwritten,
    /// They stay: the names of new files are unique.
    Kept,
}

impl FileSink {
    fn at(&self, path: &Path) -> FileSink {
        let path = path.to_path_buf();
        match self.clone() {
            FileSink::Arrow(sink) => FileSink::Arrow(WriteArrow { path, ..sink }),
            FileSink::Csv(sink) => FileSink::Csv(WriteCsv { path, ..sink }),
            FileSink::Json(sink) => FileSink::Json(WriteJson { path, ..sink }),
            FileSink::Parquet(sink) => FileSink::Parquet(WriteParquet { path, ..sink }),
        }
    }

    fn spec(&self) -> &dyn Spec {
        match self {
            FileSink::Arrow(sink) => sink,
            FileSink::Csv(sink) => sink,
            FileSink::Json(sink) => sink,
            FileSink::Parquet(sink) => sink,
        }
    }

    /// The sink for the file at `path`, of rows of `schema`.
    fn open(&self, path: &Path, schema: &SchemaRef) -> Result<Arc<dyn Sink>> {
        Ok(match self.at(path) {
            FileSink::Arrow(sink) => Arc::new(sink.sink(schema)?),
            FileSink::Csv(sink) => Arc::new(sink.sink(schema.clone())?),
            FileSink::Json(sink) => Arc::new(sink.sink(schema.clone())),
            FileSink::Parquet(sink) => Arc::new(sink.sink(schema)?),
        })
    }

    /// What the names of its files end with.
    fn ending(&self) -> &'static str {
        match self {
            FileSink::Arrow(sink) if sink.stream => "arrows",
            FileSink::Arrow(_) => "arrow",
            FileSink::Csv(sink) if sink.delimiter == '\t' => "tsv",
            FileSink::Csv(_) => "csv",
            FileSink::Json(sink) if sink.array => "json",
            FileSink::Json(_) => "ndjson",
            FileSink::Parquet(_) => "parquet",
        }
    }
}

impl WritePartitioned {
    /// The columns that stay in the files: positions and schema.
    fn stored(&self, input: &SchemaRef) -> (Vec<usize>, SchemaRef) {
        let is_stored = |column: &usize| !self.partition_by.contains(column);
        let columns: Vec<usize> = (0..input.fields().len()).filter(is_stored).collect();
        let fields: Vec<_> = columns.iter().map(|&c| input.fields()[c].clone()).collect();
        (columns, Arc::new(Schema::new(fields)))
    }
}

impl Spec for WritePartitioned {
    fn name(&self) -> &'static str {
        "write_partitioned"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "a directory")?;
        if self.partition_by.is_empty() {
            return Err(Error::input("PARTITIONED BY needs a column at least"));
        }
        for &column in &self.partition_by {
            let field = input.fields().get(column);
            let field = field.ok_or_else(|| Error::internal(format!("no column {column}")))?;
            if !keys::is_key(field.data_type()) {
                return Err(Error::input(format!(
                    "files cannot be partitioned by column `{}` of type {}; cast it to text",
                    field.name(),
                    field.data_type()
                )));
            }
        }
        let (columns, stored) = self.stored(input);
        if columns.is_empty() {
            return Err(Error::input("all columns are in PARTITIONED BY; none is left to write"));
        }
        self.file.spec().schema(&[stored])
    }

    fn explain(&self) -> Vec<Field> {
        let columns: Vec<String> = self.partition_by.iter().map(|c| format!("#{c}")).collect();
        let mut fields = vec![
            ("directory", self.directory.display().to_string()),
            ("partitioned by", columns.join(", ")),
            ("files", self.file.ending().to_string()),
        ];
        if !self.is_sorted {
            fields.push(("sorted", "no".to_string()));
        }
        fields.extend(self.file.spec().explain().into_iter().filter(|(name, _)| *name != "path"));
        fields
    }

    fn intake(&self) -> Intake {
        Intake::Collects
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "a directory")?;
        let sink = PartitionedSink::new(self.clone(), &input.schema, &build.query.memory)?;
        let count = sink.count().clone();
        Ok(counted(input, sink, count, build))
    }
}

#[cfg(test)]
mod tests;
