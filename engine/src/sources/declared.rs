//! What scans of files and tables declare alike: the columns there are, those that are given, and
//! the conditions on rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Schema, SchemaRef};

use crate::batch::{KeyFilterUse, logical_type};
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::plan::Field;

/// A column that a scan declares.
pub(super) trait DeclaredColumn {
    fn column_name(&self) -> &str;

    /// The column as a field of what the scan gives.
    fn field(&self) -> ArrowField;
}

/// Of a table: its type is the logical one.
impl DeclaredColumn for FieldRef {
    fn column_name(&self) -> &str {
        self.name()
    }

    fn field(&self) -> ArrowField {
        ArrowField::new(self.name(), logical_type(self.data_type()), self.is_nullable())
    }
}

/// The parts of a scan's spec that scans have in common.
pub(super) struct Declared<'a, C> {
    /// All columns.
    pub(super) columns: &'a [C],
    /// Positions in `columns` of those that are given.
    pub(super) projection: &'a [usize],
    /// Conditions, over positions in `columns`.
    pub(super) predicates: &'a [Expr],
    /// Filters over positions in `projection`.
    pub(super) key_filters: &'a [KeyFilterUse],
}

impl<'a, C: DeclaredColumn> Declared<'a, C> {
    /// # Errors
    /// `Internal` when there is no such column.
    pub(super) fn column(&self, position: usize) -> Result<&'a C> {
        self.columns.get(position).ok_or_else(|| {
            Error::internal(format!("column {position} of a scan of {}", self.columns.len()))
        })
    }

    /// The columns that are given.
    ///
    /// # Errors
    /// `Internal` when some are not there.
    pub(super) fn output(&self) -> Result<SchemaRef> {
        let fields = self.projection.iter().map(|&p| Ok(self.column(p)?.field()));
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
    }

    /// The same, when the scan has no input and its conditions are conditions on its columns.
    ///
    /// # Errors
    /// `Internal` otherwise.
    pub(super) fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        if !inputs.is_empty() {
            return Err(Error::internal("a scan has no input"));
        }
        for predicate in self.predicates {
            for column in predicate.columns() {
                self.column(column)?;
            }
            if predicate.data_type() != DataType::Boolean {
                return Err(Error::internal(format!("{predicate} is no condition")));
            }
        }
        let columns = self.key_filters.iter().flat_map(|filter| &filter.columns);
        if let Some(column) = columns.copied().find(|&c| c >= self.projection.len()) {
            return Err(Error::internal(format!("key filter on output column {column}")));
        }
        self.output()
    }

    /// The columns that are given and the conditions, for explaining.
    pub(super) fn explain(&self) -> Vec<Field> {
        let name = |&p: &usize| self.columns.get(p).map_or("?", DeclaredColumn::column_name);
        let names: Vec<&str> = self.projection.iter().map(name).collect();
        let mut fields = vec![("columns", names.join(", "))];
        if !self.predicates.is_empty() {
            let texts: Vec<_> = self.predicates.iter().map(ToString::to_string).collect();
            fields.push(("where", texts.join(" AND ")));
        }
        for KeyFilterUse { id, columns } in self.key_filters {
            let columns: Vec<String> = columns.iter().map(|c| format!("#{c}")).collect();
            fields.push(("filter", format!("{} on {}", id.0, columns.join(", "))));
        }
        fields
    }
}
