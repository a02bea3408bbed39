//! JSON files as a source: an object a line, objects one behind the other, or one array of objects,
//! parsed straight into the columns that are wanted.
//!
//! ```text
//! ranges or feed ─► window ─► records (members, token) ─► column (string) ─► chunk
//!                   bytes     positions of values          values
//! ```
//!
//! A key that is missing and a value that is `null` are NULL. The text is checked to be JSON as a
//! whole, also where nobody reads it. Numbers are read from their digits, so that decimals and
//! integers of any length are exact, and a value that does not fit is reported as it stands in the
//! file.
//!
//! * `shape`: what values are read as; `records`: how records follow each other, and where their
//!   values are; `members`: those of one object.
//! * `token`: where values end, and that they are well formed; `string`: escapes.
//! * `column`: values to arrays, nested ones too.
//! * `sniff`: the columns of a file, from a sample; `detect`: the shapes of its values.
//! * `scan`: the source; `feed`: records of files that cannot be cut anywhere.

mod column;
mod detect;
mod feed;
mod members;
mod records;
mod scan;
mod shape;
mod sniff;
mod string;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use arrow::datatypes::{Field as ArrowField, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use records::Layout;
pub use shape::Shape;
pub use sniff::{JsonFacts, JsonOptions, sniff, sniff_one};

use self::scan::Scan;
use super::declared::{Declared, DeclaredColumn};
use super::file::FileRef;
use crate::error::Result;
use crate::expr::{Expr, Functions};
use crate::plan::{Build, Field, Spec, Stream, from_fields_with, to_fields};

/// Reads the records of a JSON file, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JsonScan {
    /// The file.
    pub file: FileRef,
    /// How its records follow each other.
    pub layout: Layout,
    /// Its columns.
    pub columns: Vec<JsonColumn>,
    /// Positions in `columns` of the columns to give, in this order.
    pub projection: Vec<usize>,
    /// Conditions, over positions in `columns`; rows that do not pass all are left out.
    pub predicates: Vec<Expr>,
}

/// One column of a JSON file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JsonColumn {
    /// The key that has its values.
    pub name: String,
    /// What they are read as.
    pub shape: Shape,
    /// Whether that was found from a sample of the file, and not declared.
    #[serde(default)]
    pub detected: bool,
}

impl JsonScan {
    /// A scan of all columns and all rows.
    pub fn new(file: FileRef, layout: Layout, columns: Vec<JsonColumn>) -> Self {
        let projection = (0..columns.len()).collect();
        JsonScan { file, layout, columns, projection, predicates: Vec::new() }
    }

    /// Reads a scan from a plan.
    ///
    /// # Errors
    /// `Input` when the fields are not those of a scan, or a function is not registered.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        from_fields_with(fields, |scan: &mut JsonScan| {
            scan.predicates.iter_mut().try_for_each(|predicate| predicate.resolve(functions))
        })
    }

    /// Whether other keys than those of the columns are errors: the columns are said to be all
    /// that there are.
    fn is_closed(&self) -> bool {
        self.columns.iter().any(|column| column.detected)
    }

    fn declared(&self) -> Declared<'_, JsonColumn> {
        Declared {
            columns: &self.columns,
            projection: &self.projection,
            predicates: &self.predicates,
            key_filters: &[],
        }
    }
}

impl JsonColumn {
    /// The column as a field; it may always be NULL.
    pub fn field(&self) -> ArrowField {
        ArrowField::new(&self.name, self.shape.data_type(), true)
    }
}

impl DeclaredColumn for JsonColumn {
    fn column_name(&self) -> &str {
        &self.name
    }

    fn field(&self) -> ArrowField {
        self.field()
    }
}

impl Spec for JsonScan {
    fn name(&self) -> &'static str {
        "json_scan"
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
        let scan = Scan::new(self, &build.query.memory, build.query.threads)?;
        Ok(Stream::new(self.declared().output()?, Arc::new(scan), Vec::new()))
    }
}
