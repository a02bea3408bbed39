//! SQL end to end: the cases under `tests/sql`, run through a session.

use std::path::{Path, PathBuf};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use gristmill::{Config, Error, Session, formatter};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};

/// A session as the runner sees it: every value is text.
struct Database {
    session: Session,
}

/// An error as text, which the cases match with patterns.
#[derive(Debug)]
struct Failed(String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed(error.to_string())
    }
}

impl DB for Database {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<Self::ColumnType>, Failed> {
        let result = self.session.sql(sql)?;
        if result.schema().fields().is_empty() {
            return Ok(DBOutput::StatementComplete(result.count() as u64));
        }
        let types = vec![DefaultColumnType::Text; result.schema().fields().len()];
        let mut rows = Vec::new();
        for batch in result {
            rows.extend(texts(&batch?));
        }
        Ok(DBOutput::Rows { types, rows })
    }
}

fn texts(batch: &RecordBatch) -> Vec<Vec<String>> {
    let text = |column: &dyn Array, row: usize| {
        if *column.data_type() == DataType::Utf8 && column.is_null(row) {
            return "NULL".to_string();
        }
        formatter(column).expect("a printable type").value(row).to_string()
    };
    let row = |row| batch.columns().iter().map(|c| text(c.as_ref(), row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let entries = std::fs::read_dir(folder).expect("the cases are there");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("readable").path()).collect();
    files.sort();
    files
}

#[test]
fn the_cases_hold_on_one_and_several_threads() {
    let files = cases();
    assert!(!files.is_empty(), "there are cases");
    for threads in [1, 3] {
        for file in &files {
            let config = Config { threads: Some(threads), ..Config::default() };
            let mut runner =
                Runner::new(|| async { Ok(Database { session: Session::new(config.clone())? }) });
            if let Err(error) = runner.run_file(file) {
                panic!("{threads} threads: {error}");
            }
        }
    }
}
