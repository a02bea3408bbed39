//! Arrow files as a source: record batches in the file format (Feather) or as a stream, compressed
//! or not, read with positional reads of the buffers that are wanted.
//!
//! * `contents`: what is where in a file, read once.
//! * `message`: one message: its metadata, and buffers of its body.
//! * `dictionaries`: the dictionaries that batches refer to.
//! * `scan`: the source; `error`: what is wrong with a file.

mod contents;
mod dictionaries;
mod error;
mod message;
mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use contents::Contents;

use self::scan::Scan;
use super::declared::{Declared, DeclaredColumn};
use super::file::FileRef;
use crate::error::{Error, Result};
use crate::expr::{Expr, Functions, data_type};
use crate::plan::{Build, Field, Spec, Stream, from_fields_with, to_fields};

/// Reads rows of an Arrow file, in their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ArrowScan {
    /// The file.
    pub file: FileRef,
    /// Its columns.
    pub columns: Vec<ArrowColumn>,
    /// Positions in `columns` of the columns to give, in this order.
    pub projection: Vec<usize>,
    /// Conditions, over positions in `columns`; rows that do not pass all are left out.
    pub predicates: Vec<Expr>,
    /// What planning has found in the file; when it is missing the file is looked at again.
    #[serde(skip)]
    pub contents: Option<Arc<Contents>>,
}

/// A column of an Arrow file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArrowColumn {
    /// Its name.
    pub name: String,
    /// Its logical type.
    #[serde(rename = "type", with = "data_type")]
    pub data_type: DataType,
    /// Whether it may hold NULL.
    pub nullable: bool,
}

impl ArrowScan {
    /// A scan of all columns and all rows.
    pub fn new(contents: Arc<Contents>) -> Self {
        let column = |field: &Arc<ArrowField>| ArrowColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
        };
        let columns: Vec<ArrowColumn> = contents.schema().fields().iter().map(column).collect();
        ArrowScan {
            file: contents.file().clone(),
            projection: (0..columns.len()).collect(),
            columns,
            predicates: Vec::new(),
            contents: Some(contents),
        }
    }

    /// Reads a scan from a plan.
    ///
    /// # Errors
    /// `Input` when the fields are not those of a scan, or a function is not registered.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        from_fields_with(fields, |scan: &mut ArrowScan| {
            scan.predicates.iter_mut().try_for_each(|predicate| predicate.resolve(functions))
        })
    }

    fn declared(&self) -> Declared<'_, ArrowColumn> {
        Declared {
            columns: &self.columns,
            projection: &self.projection,
            predicates: &self.predicates,
            key_filters: &[],
        }
    }

    /// `Ok` when the file has the columns of the plan.
    fn check(&self, contents: &Contents) -> Result<()> {
        let found = contents.schema().fields();
        let same = |(column, field): (&ArrowColumn, &Arc<ArrowField>)| {
            column.name == *field.name() && column.data_type == *field.data_type()
        };
        if found.len() == self.columns.len() && self.columns.iter().zip(found).all(same) {
            return Ok(());
        }
        Err(Error::input(format!(
            "{} has not the columns that the plan says",
            self.file.path.display()
        )))
    }
}

impl DeclaredColumn for ArrowColumn {
    fn column_name(&self) -> &str {
        &self.name
    }

    fn field(&self) -> ArrowField {
        ArrowField::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

impl Spec for ArrowScan {
    fn name(&self) -> &'static str {
        "arrow_scan"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.declared().schema(inputs)
    }

    fn explain(&self) -> Vec<Field> {
        let mut fields = vec![("file", self.file.path.display().to_string())];
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
        let known = self.contents.as_ref().filter(|contents| *contents.file() == self.file);
        let contents = match known {
            Some(contents) => contents.clone(),
            None => Contents::read(&self.file, &build.query.memory)?,
        };
        self.check(&contents)?;
        let scan = Scan::new(self, contents, &build.query.memory, build.query.threads)?;
        Ok(Stream::new(self.declared().output()?, Arc::new(scan), Vec::new()))
    }
}
