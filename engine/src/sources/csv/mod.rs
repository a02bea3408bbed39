//! CSV files as a source: parallel byte ranges, parsed straight into the columns that are wanted.
//!
//! ```text
//! feed ──► window ─► structure ─► records ─► column ─► chunk
//! ranges   bytes     bit masks    positions   values
//! ```
//!
//! * `dialect`: the dialect and the columns, as plans hold them; `header`: names of columns;
//!   `format`: dates and timestamps in a form that is said.
//! * `options`: what a program says about a file.
//! * `feed`: what to read next: ranges of plain files, whose first records `borders` finds, or
//!   the records of a compressed one, which is read by `sequential`.
//! * `window`: the bytes at hand; `preamble`: what stands before the first record; `structure`:
//!   where fields and records end, found by `masks`.
//! * `records`: the fields of a few thousand records; `field`: one of them.
//! * `column`: fields to arrays; `text`: those that hold texts.
//! * `scan`: the source; `rows`: the records at hand as columns; `refuse`: what is said about those
//!   that cannot be read.
//! * `sniff`: how a file is to be read; `facts`: what that comes to; `sample`, `found`, `detect`:
//!   what it is found from.

mod borders;
mod column;
mod detect;
mod dialect;
mod facts;
mod feed;
mod field;
mod format;
mod found;
mod header;
mod masks;
mod options;
mod preamble;
mod records;
mod refuse;
mod rows;
mod sample;
mod scan;
mod sequential;
mod sniff;
mod structure;
#[cfg(test)]
mod tests;
mod text;
mod window;

use std::sync::Arc;

use arrow::datatypes::{Field as ArrowField, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use dialect::{CsvColumn, CsvDialect};
pub use facts::CsvFacts;
pub use options::{CsvCompression, CsvOptions};
pub use sniff::{lines, sniff};

use self::scan::Scan;
use super::declared::{Declared, DeclaredColumn};
use super::file::FileRef;
use crate::batch::{KeyFilterId, KeyFilterUse};
use crate::error::{Error, Result};
use crate::expr::{Expr, Functions};
use crate::plan::{Build, Field, Spec, Stream, from_fields_with, to_fields};

/// Reads records of CSV files that have the same columns, in the order of the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CsvScan {
    /// The files.
    pub files: Vec<FileRef>,
    /// Their dialect.
    pub dialect: CsvDialect,
    /// All columns of a file, in its order.
    pub columns: Vec<CsvColumn>,
    /// The names in the header of each file, where columns have others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_names: Option<Vec<String>>,
    /// Positions in `columns` of the columns to give, in this order.
    pub projection: Vec<usize>,
    /// Conditions, over positions in `columns`; rows that do not pass all are left out.
    pub predicates: Vec<Expr>,
    /// What joins publish about their keys; columns are positions in `projection`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_filters: Vec<KeyFilterUse>,
}

impl CsvScan {
    /// A scan of all columns and all rows.
    pub fn new(files: Vec<FileRef>, dialect: CsvDialect, columns: Vec<CsvColumn>) -> Self {
        let projection = (0..columns.len()).collect();
        CsvScan {
            files,
            dialect,
            columns,
            header_names: None,
            projection,
            predicates: Vec::new(),
            key_filters: Vec::new(),
        }
    }

    /// Reads a scan from a plan.
    ///
    /// # Errors
    /// `Input` when the fields are not those of a scan, or a function is not registered.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        from_fields_with(fields, |scan: &mut CsvScan| {
            scan.predicates.iter_mut().try_for_each(|predicate| predicate.resolve(functions))
        })
    }

    fn declared(&self) -> Declared<'_, CsvColumn> {
        Declared {
            columns: &self.columns,
            projection: &self.projection,
            predicates: &self.predicates,
            key_filters: &self.key_filters,
        }
    }

    fn header_names(&self) -> Vec<String> {
        match &self.header_names {
            Some(names) => names.clone(),
            None => self.columns.iter().map(|column| column.name.clone()).collect(),
        }
    }
}

impl DeclaredColumn for CsvColumn {
    fn column_name(&self) -> &str {
        &self.name
    }

    fn field(&self) -> ArrowField {
        ArrowField::new(&self.name, self.data_type.clone(), true)
    }
}

impl Spec for CsvScan {
    fn name(&self) -> &'static str {
        "csv_scan"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        if self.columns.is_empty() {
            return Err(Error::input("a CSV file without columns"));
        }
        if self.header_names.as_ref().is_some_and(|names| names.len() != self.columns.len()) {
            return Err(Error::internal("a header with another number of columns than the scan"));
        }
        self.dialect.marks()?;
        self.dialect.check_formats()?;
        self.columns.iter().try_for_each(dialect::check_type)?;
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
        let ids: Vec<KeyFilterId> = self.key_filters.iter().map(|filter| filter.id).collect();
        let found = ids.iter().map(|&id| build.key_filter(id)).collect();
        let scan = Scan::new(self, found, &build.query.memory, build.query.threads)?;
        Ok(Stream::new(self.declared().output()?, Arc::new(scan), Vec::new()).reading(&ids))
    }
}
