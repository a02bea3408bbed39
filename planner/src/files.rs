//! Files as sources of rows: opens them, tells what they say of themselves, makes their scans.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use gristmill_engine::expr::Expr;
use gristmill_engine::memory::Governor;
use gristmill_engine::plan::Spec;
use gristmill_engine::sources::FileRef;
use gristmill_engine::sources::csv::{self, CsvFacts};
use gristmill_engine::sources::parquet::{self, FileFacts, ParquetScan};
use gristmill_engine::{Error, Result};

use crate::catalog::{ColumnStatistics, DataSource, FileTable, Reading, TableStatistics};
use crate::sql::type_name;

/// Opens a file.
///
/// # Errors
/// `Io` when it cannot be read, `Input` when it is not what its format says.
pub(crate) fn open(file: &FileTable, memory: &Governor) -> Result<Arc<dyn DataSource>> {
    let path = file.path.as_path();
    match &file.reading {
        Reading::Parquet => {
            let opened = ParquetFile { facts: parquet::describe(path, memory)? };
            check_declared(file, &opened.schema())?;
            Ok(Arc::new(opened))
        }
        Reading::Csv(options) if file.columns.is_empty() => {
            Ok(Arc::new(CsvFile { facts: csv::sniff(path, options, memory)? }))
        }
        Reading::Csv(options) => {
            let column = |field: &Field| (field.name().clone(), field.data_type().clone());
            let options = options.clone().columns(file.columns.iter().map(column));
            Ok(Arc::new(CsvFile { facts: csv::sniff(path, &options, memory)? }))
        }
        Reading::Text => {
            let opened = CsvFile { facts: csv::lines(path, memory)? };
            check_declared(file, &opened.schema())?;
            Ok(Arc::new(opened))
        }
    }
}

/// What was declared of a file that says itself what it holds must be what it says.
fn check_declared(file: &FileTable, schema: &Schema) -> Result<()> {
    if file.columns.is_empty() {
        return Ok(());
    }
    let path = file.path.display();
    let (declared, found) = (file.columns.len(), schema.fields().len());
    if declared != found {
        let message = format!("{declared} columns are declared for {path}, which has {found}");
        return Err(Error::input(format!("{message}; leave the list of columns out")));
    }
    for (declared, found) in file.columns.iter().zip(schema.fields()) {
        let types = [declared, found.as_ref()].map(|field| type_name(field.data_type()));
        if declared.name() != found.name() || types[0] != types[1] {
            return Err(Error::input(format!(
                "the column {} {} is declared for {path}, which has {} {} there; leave the list \
                 of columns out",
                declared.name(),
                types[0],
                found.name(),
                types[1]
            )));
        }
    }
    Ok(())
}

/// The Boolean that a text writes.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

#[derive(Debug)]
struct ParquetFile {
    facts: FileFacts,
}

impl DataSource for ParquetFile {
    fn schema(&self) -> SchemaRef {
        self.facts.schema.clone()
    }

    fn statistics(&self) -> TableStatistics {
        let columns = self.facts.columns.iter().map(|column| ColumnStatistics {
            min: column.min.clone(),
            max: column.max.clone(),
            nulls: column.nulls,
            distinct: column.distinct.map(|d| d as u64),
        });
        TableStatistics {
            rows: Some(self.facts.rows),
            rows_guess: None,
            columns: columns.collect(),
        }
    }

    fn scan(&self, columns: &[usize], conditions: Vec<Expr>) -> Result<Arc<dyn Spec>> {
        let mut scan = ParquetScan::new(vec![self.facts.file.clone()], &self.facts.schema);
        scan.projection = columns.to_vec();
        scan.predicates = conditions;
        scan.footers = vec![self.facts.footer.clone()];
        Ok(Arc::new(scan))
    }

    fn is_current(&self) -> Result<bool> {
        Ok(FileRef::of(&self.facts.file.path)? == self.facts.file)
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.facts.file.path.clone()]
    }
}

#[derive(Debug)]
struct CsvFile {
    facts: CsvFacts,
}

impl DataSource for CsvFile {
    fn schema(&self) -> SchemaRef {
        let field = |c: &csv::CsvColumn| Field::new(&c.name, c.data_type.clone(), true);
        Arc::new(Schema::new(self.facts.columns.iter().map(field).collect::<Vec<_>>()))
    }

    fn statistics(&self) -> TableStatistics {
        let rows = self.facts.rows.max(0.0) as u64;
        TableStatistics {
            rows: self.facts.is_exact.then_some(rows),
            rows_guess: Some(rows),
            columns: vec![ColumnStatistics::default(); self.facts.columns.len()],
        }
    }

    fn scan(&self, columns: &[usize], conditions: Vec<Expr>) -> Result<Arc<dyn Spec>> {
        let mut scan = self.facts.scan(Vec::new());
        scan.projection = columns.to_vec();
        scan.predicates = conditions;
        Ok(Arc::new(scan))
    }

    fn is_current(&self) -> Result<bool> {
        Ok(FileRef::of(&self.facts.file.path)? == self.facts.file)
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.facts.file.path.clone()]
    }
}
