//! Files as sources of rows: opens them, tells what they say of themselves, makes their scans.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use gristmill_engine::Result;
use gristmill_engine::expr::Expr;
use gristmill_engine::memory::Governor;
use gristmill_engine::plan::Spec;
use gristmill_engine::sources::FileRef;
use gristmill_engine::sources::csv::{self, CsvFacts};
use gristmill_engine::sources::parquet::{self, FileFacts, ParquetScan};

use crate::catalog::{ColumnStatistics, DataSource, Reading, TableStatistics};

/// Opens a file.
///
/// # Errors
/// `Io` when it cannot be read, `Input` when it is not what its format says.
pub(crate) fn open(
    path: &Path,
    reading: &Reading,
    memory: &Governor,
) -> Result<Arc<dyn DataSource>> {
    match reading {
        Reading::Parquet => Ok(Arc::new(ParquetFile { facts: parquet::describe(path, memory)? })),
        Reading::Csv(options) => {
            Ok(Arc::new(CsvFile { facts: csv::sniff(path, options, memory)? }))
        }
        Reading::Text => Ok(Arc::new(CsvFile { facts: csv::lines(path, memory)? })),
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
