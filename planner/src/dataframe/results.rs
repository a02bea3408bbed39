//! What frames give: rows, files, plans.

use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use gristmill_engine::query::Running;
use gristmill_engine::scheduler::Cancel;
use gristmill_engine::{Error, Result};

use super::frame::DataFrame;
use super::terms::count_rows;
use crate::catalog::Format;
use crate::copy::CopyTarget;
use crate::sink::{BatchSink, write_rows};

/// How a file is written: the format, if not by the ending, and what COPY takes as options.
///
/// ```
/// use gristmill::{Config, Session, WriteOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("numbers");
/// let session = Session::new(Config::default())?;
/// let numbers = session.query("select * from (values (1, 'a'), (2, 'b')) t(n, s)");
/// let options = WriteOptions::new().format("parquet").option("compression", "zstd");
/// assert_eq!(numbers.write(&path, &options)?, 2);
/// assert_eq!(session.read_parquet(&path).count()?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    format: Option<String>,
    partition_by: Vec<String>,
    options: Vec<(String, String)>,
}

impl WriteOptions {
    /// Nothing is said.
    pub fn new() -> Self {
        WriteOptions::default()
    }

    /// A format by its name, as behind STORED AS: parquet, csv, json, arrow.
    pub fn format(mut self, name: &str) -> Self {
        self.format = Some(name.to_string());
        self
    }

    /// The columns whose values are directories below the path, as behind PARTITIONED BY.
    pub fn partition_by<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.partition_by = names.into_iter().map(str::to_string).collect();
        self
    }

    /// An option of the format.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.to_lowercase(), value.to_string()));
        self
    }
}

impl DataFrame<'_> {
    /// All rows.
    ///
    /// # Errors
    /// `Input` for what is wrong with a step, `Io` for files that cannot be read, and what is met
    /// when the query runs.
    pub fn collect(&self) -> Result<Vec<RecordBatch>> {
        self.run()?.collect()
    }

    /// Starts the query; its rows are taken from the answer, and it waits while they are not.
    ///
    /// # Errors
    /// As [`DataFrame::collect`], but for what is met later.
    pub fn run(&self) -> Result<Running> {
        self.run_with(Cancel::new())
    }

    /// As [`DataFrame::run`], stopped by a flag of the caller's.
    ///
    /// # Errors
    /// As [`DataFrame::run`].
    pub fn run_with(&self, cancel: Cancel) -> Result<Running> {
        self.session.start(self.session.plan_frame(&self.step, None, false)?, cancel)
    }

    /// Names and types of the columns.
    ///
    /// # Errors
    /// As [`DataFrame::run`].
    pub fn schema(&self) -> Result<SchemaRef> {
        let planned = self.session.plan_frame(&self.step, None, false)?;
        let plan = planned.engine_plan().ok_or_else(|| Error::internal("a frame without plan"))?;
        Ok(plan.node(plan.root()?)?.schema.clone())
    }

    /// The number of rows.
    ///
    /// # Errors
    /// As [`DataFrame::collect`].
    pub fn count(&self) -> Result<u64> {
        count_of(self.aggregate((), count_rows()).run()?)
    }

    /// The first rows as a table of text.
    ///
    /// # Errors
    /// As [`DataFrame::collect`].
    pub fn show(&self, rows: u64) -> Result<String> {
        let mut running = self.limit(rows).run()?;
        let schema = running.schema().clone();
        let mut batches = vec![RecordBatch::new_empty(schema)];
        for batch in running.by_ref() {
            batches.push(batch?);
        }
        Ok(pretty_format_batches(&batches)?.to_string())
    }

    /// The plan as text.
    ///
    /// # Errors
    /// As [`DataFrame::run`].
    pub fn explain(&self) -> Result<String> {
        self.session.plan_frame(&self.step, None, true)?.outline(false)
    }

    /// Runs the query to its end, and gives its plan with what was measured.
    ///
    /// # Errors
    /// As [`DataFrame::collect`].
    pub fn analyze(&self) -> Result<String> {
        let planned = self.session.plan_frame(&self.step, None, true)?;
        self.session.measured(planned, false, Cancel::new())
    }

    /// Writes all rows to a sink of the program's own, and says how many they were.
    ///
    /// # Errors
    /// As [`DataFrame::collect`], and those of the sink.
    pub fn write_to(&self, sink: &mut impl BatchSink) -> Result<u64> {
        write_rows(self.run()?, sink)
    }

    /// Writes all rows to a Parquet file, and says how many they were. As all files, it appears
    /// when it is complete, in place of what was there, or not at all.
    ///
    /// # Errors
    /// As [`DataFrame::collect`]; `Input` when the query reads the file; `Io` when it cannot be
    /// written.
    pub fn write_parquet(&self, path: impl AsRef<Path>) -> Result<u64> {
        self.write(path, &WriteOptions::new().format("parquet"))
    }

    /// As [`DataFrame::write_parquet`], a CSV file.
    ///
    /// # Errors
    /// As there.
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<u64> {
        self.write(path, &WriteOptions::new().format("csv"))
    }

    /// As [`DataFrame::write_parquet`], a JSON file with an object a line.
    ///
    /// # Errors
    /// As there.
    pub fn write_json(&self, path: impl AsRef<Path>) -> Result<u64> {
        self.write(path, &WriteOptions::new().format("json"))
    }

    /// As [`DataFrame::write_parquet`], an Arrow file.
    ///
    /// # Errors
    /// As there.
    pub fn write_arrow(&self, path: impl AsRef<Path>) -> Result<u64> {
        self.write(path, &WriteOptions::new().format("arrow"))
    }

    /// Writes all rows to a file, or a directory of files, and says how many they were.
    ///
    /// # Errors
    /// As [`DataFrame::write_parquet`], and `Input` for options that there are not.
    pub fn write(&self, path: impl AsRef<Path>, options: &WriteOptions) -> Result<u64> {
        let path = path.as_ref();
        let format = match &options.format {
            Some(name) => Format::of_name(name).ok_or_else(|| {
                Error::input(format!("there is no format {name}; {}", Format::NAMES))
            }),
            None => Format::of_path(path).ok_or_else(|| {
                let path = path.display();
                Error::input(format!("the ending of {path} names no format; name one"))
            }),
        };
        let target = CopyTarget {
            path: path.to_path_buf(),
            format: format?,
            partition_by: options.partition_by.clone(),
            options: options.options.clone(),
        };
        let planned = self.session.plan_frame(&self.step, Some(target), false)?;
        count_of(self.session.start(planned, Cancel::new())?)
    }
}

/// The number in the only row of a query.
fn count_of(running: Running) -> Result<u64> {
    let mut count = None;
    for batch in running {
        let batch = batch?;
        let column = batch.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
        count = count.or(column.and_then(|column| column.values().first().copied()));
    }
    let count = count.and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| Error::internal("a count without a row"))
}
