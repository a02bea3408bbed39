//! Parquet files as a source.
//!
//! * `footer`: what a file says of itself, read once; `facts`: the planner's view of it.
//! * `scan`: the source, and `worker`: one worker of it; `morsels`: slices of row groups, handed
//!   out
//!   in file order; `narrow`: what need not be read of them, by `prune`, `bounds` and `page_index`.
//! * `column`: one column of one row group, front to back; `generic`: read by the `parquet` crate;
//!   `native`: read by decoders of our own, from `pages` (`window`, `thrift`) through `runs` and
//!   `values`, with `dictionary` shared by all who read the row group; `sizes`: what rows and pages
//!   take.
//! * `bytes`, `error`: the seam to the `parquet` crate.

mod bounds;
mod bytes;
mod column;
mod dictionary;
mod error;
mod facts;
mod footer;
mod generic;
mod morsels;
mod narrow;
mod native;
mod page_index;
mod pages;
mod prune;
mod runs;
mod scan;
mod sizes;
mod thrift;
mod values;
mod window;
mod worker;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use facts::{ColumnFacts, FileFacts, describe};
pub use footer::Footer;

use self::scan::Scan;
use super::declared::{Declared, DeclaredColumn};
use super::file::FileRef;
use crate::batch::{KeyFilterId, KeyFilterUse};
use crate::error::Result;
use crate::expr::{Expr, Functions, data_type};
use crate::plan::{Build, Field, Spec, Stream, from_fields_with, to_fields};

/// Reads rows of Parquet files that have the same columns, in the order of the files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ParquetScan {
    /// The files.
    pub files: Vec<FileRef>,
    /// The columns of a file. Files may have more, and in another order: names decide.
    pub columns: Vec<ScanColumn>,
    /// Positions in `columns` of the columns to give, in this order.
    pub projection: Vec<usize>,
    /// Conditions, over positions in `columns`; rows that do not pass all are left out.
    pub predicates: Vec<Expr>,
    /// What joins publish about their keys; columns are positions in `projection`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_filters: Vec<KeyFilterUse>,
    /// Footers that planning has read; those that are missing are read when the scan is built.
    #[serde(skip)]
    pub footers: Vec<Arc<Footer>>,
}

/// A column of the files of a [`ParquetScan`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanColumn {
    /// Its name.
    pub name: String,
    /// Its logical type.
    #[serde(rename = "type", with = "data_type")]
    pub data_type: DataType,
    /// Whether it may hold NULL.
    pub nullable: bool,
}

impl ParquetScan {
    /// A scan of all columns of `files` and all rows; `schema` is that of [`Footer::schema`].
    pub fn new(files: Vec<FileRef>, schema: &Schema) -> Self {
        let columns: Vec<ScanColumn> = schema.fields().iter().map(|f| ScanColumn::of(f)).collect();
        let projection = (0..columns.len()).collect();
        ParquetScan {
            files,
            columns,
            projection,
            predicates: Vec::new(),
            key_filters: Vec::new(),
            footers: Vec::new(),
        }
    }

    /// Reads a scan from a plan.
    ///
    /// # Errors
    /// `Input` when the fields are not those of a scan, or a function is not registered.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        from_fields_with(fields, |scan: &mut ParquetScan| {
            scan.predicates.iter_mut().try_for_each(|predicate| predicate.resolve(functions))
        })
    }

    fn declared(&self) -> Declared<'_, ScanColumn> {
        Declared {
            columns: &self.columns,
            projection: &self.projection,
            predicates: &self.predicates,
            key_filters: &self.key_filters,
        }
    }
}

impl ScanColumn {
    fn of(field: &ArrowField) -> Self {
        ScanColumn {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
        }
    }
}

impl DeclaredColumn for ScanColumn {
    fn column_name(&self) -> &str {
        &self.name
    }

    fn field(&self) -> ArrowField {
        ArrowField::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

impl Spec for ParquetScan {
    fn name(&self) -> &'static str {
        "parquet_scan"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.declared().schema(inputs)
    }

    fn explain(&self) -> Vec<Field> {
        let paths: Vec<_> = self.files.iter().map(|f| f.path.display().to_string()).collect();
        let mut fields = vec![("files", paths.join(", "))];
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
        let scan = Scan::open(self, build)?;
        let ids: Vec<KeyFilterId> = self.key_filters.iter().map(|filter| filter.id).collect();
        Ok(Stream::new(self.declared().output()?, Arc::new(scan), Vec::new()).reading(&ids))
    }
}

#[cfg(test)]
mod tests;
