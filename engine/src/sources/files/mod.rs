//! Many files as one table: their rows one file after the other, columns by name.
//!
//! A file may lack columns of the table, which are NULL in its rows, may have them in other types,
//! from which they are cast, and may have constants of its own, such as those that the path of a
//! partition gives. Files are opened when a worker comes to
//! them, and closed behind the last one, so that the number of files does not show in memory.
//!
//! * `scan`: the source; `reader`: how the files are read.

mod reader;
mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use reader::{FileScan, PartColumn, Reader};

use self::scan::Scan;
use super::declared::{Declared, DeclaredColumn};
use super::file::FileRef;
use crate::batch::{KeyFilterId, KeyFilterUse};
use crate::error::{Error, Result};
use crate::expr::{Expr, Functions, Literal, data_type};
use crate::plan::{Build, Field, Spec, Stream, from_fields_with, to_fields};

/// Paths that explain shows.
const PATHS_SHOWN: usize = 3;

/// Reads rows of many files, in the order of the files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FilesScan {
    /// The ways in which files are read; most tables have one.
    pub readers: Vec<Reader>,
    /// The files.
    pub parts: Vec<Part>,
    /// The columns of the table.
    pub columns: Vec<TableColumn>,
    /// Positions in `columns` of the columns to give, in this order.
    pub projection: Vec<usize>,
    /// Conditions, over positions in `columns`; rows that do not pass all are left out.
    pub predicates: Vec<Expr>,
    /// What joins publish about their keys; columns are positions in `projection`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_filters: Vec<KeyFilterUse>,
    /// How many files there were before conditions ruled some out.
    pub files: usize,
}

/// One file of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The file.
    pub file: FileRef,
    /// Which of the readers reads it.
    pub reader: usize,
    /// The constants of its rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constants: Vec<Literal>,
}

/// A column of a table of files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its logical type.
    #[serde(rename = "type", with = "data_type")]
    pub data_type: DataType,
    /// Whether it may hold NULL.
    pub nullable: bool,
}

impl FilesScan {
    /// Reads a scan from a plan.
    ///
    /// # Errors
    /// `Input` when the fields are not those of a scan, or a function is not registered.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        from_fields_with(fields, |scan: &mut FilesScan| {
            scan.predicates.iter_mut().try_for_each(|predicate| predicate.resolve(functions))
        })
    }

    /// The columns as a schema.
    pub fn table_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(TableColumn::field).collect::<Vec<_>>()))
    }

    fn declared(&self) -> Declared<'_, TableColumn> {
        Declared {
            columns: &self.columns,
            projection: &self.projection,
            predicates: &self.predicates,
            key_filters: &self.key_filters,
        }
    }

    fn reader(&self, part: &Part) -> Result<&Reader> {
        let reader = self.readers.get(part.reader);
        let reader = reader.filter(|reader| reader.columns.len() == self.columns.len());
        reader.ok_or_else(|| Error::internal(format!("no reader for {}", part.file.path.display())))
    }
}

impl DeclaredColumn for TableColumn {
    fn column_name(&self) -> &str {
        &self.name
    }

    fn field(&self) -> ArrowField {
        ArrowField::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

impl Spec for FilesScan {
    fn name(&self) -> &'static str {
        "files_scan"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let output = self.declared().schema(inputs)?;
        for part in &self.parts {
            let constants = part.constants.len();
            let is_there = |column: &PartColumn| match column {
                PartColumn::Constant(number) => *number < constants,
                PartColumn::Stored(_) | PartColumn::Cast { .. } | PartColumn::Missing => true,
            };
            if !self.reader(part)?.columns.iter().all(is_there) {
                return Err(Error::internal("a file without the constants of its reader"));
            }
        }
        Ok(output)
    }

    fn explain(&self) -> Vec<Field> {
        let shown = self.parts.iter().take(PATHS_SHOWN);
        let mut paths: Vec<String> = shown.map(|p| p.file.path.display().to_string()).collect();
        if self.parts.len() > PATHS_SHOWN {
            paths.push(format!("and {} more", self.parts.len() - PATHS_SHOWN));
        }
        let count = match self.parts.len() {
            all if all == self.files => all.to_string(),
            some => format!("{some} of {}", self.files),
        };
        let mut formats: Vec<&str> = self.readers.iter().map(|r| r.scan.format()).collect();
        formats.dedup();
        let mut fields = vec![
            ("files", format!("{count} {}", formats.join(" and "))),
            ("paths", paths.join(", ")),
        ];
        fields.extend(self.declared().explain());
        fields
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn is_repeatable(&self) -> bool {
        !self.predicates.iter().any(Expr::is_volatile)
    }

    fn build(&self, _: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let ids: Vec<KeyFilterId> = self.key_filters.iter().map(|filter| filter.id).collect();
        let scan = Scan::new(self.clone().pruned(&build.query.memory)?, build)?;
        Ok(Stream::new(self.declared().output()?, Arc::new(scan), Vec::new()).reading(&ids))
    }
}
