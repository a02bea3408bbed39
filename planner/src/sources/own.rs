//! Sources of record batches as tables.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use gristmill_engine::expr::Expr;
use gristmill_engine::panics::caught;
use gristmill_engine::plan::Spec;
use gristmill_engine::sources::{BatchScan, BatchSource};
use gristmill_engine::{Error, Result};

use crate::catalog::{ColumnStatistics, DataSource, TableStatistics};

/// A [`BatchSource`] under a name.
pub(crate) struct OwnSource {
    name: String,
    schema: SchemaRef,
    source: Arc<dyn BatchSource>,
}

impl OwnSource {
    /// # Errors
    /// `Input` when two columns have one name, or the source panics.
    pub(crate) fn new(name: &str, source: Arc<dyn BatchSource>) -> Result<Self> {
        let schema = caught(|| source.schema());
        let schema = schema.map_err(|_| {
            Error::input(format!("the source of {name} panicked when it was asked for its schema"))
        })?;
        let mut names = HashSet::new();
        if let Some(twice) = schema.fields().iter().find(|field| !names.insert(field.name())) {
            let message = format!("{name} has two columns with the name {}", twice.name());
            return Err(Error::input(message));
        }
        Ok(OwnSource { name: name.to_string(), schema, source })
    }
}

impl fmt::Debug for OwnSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnSource({})", self.name)
    }
}

impl DataSource for OwnSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn statistics(&self) -> TableStatistics {
        // What it says is a help, no more.
        let rows = caught(|| self.source.rows()).unwrap_or(None);
        let columns = vec![ColumnStatistics::default(); self.schema.fields().len()];
        TableStatistics { rows, rows_guess: None, columns }
    }

    fn scan(&self, columns: &[usize], conditions: Vec<Expr>) -> Result<Arc<dyn Spec>> {
        Ok(Arc::new(BatchScan {
            name: self.name.clone(),
            source: self.source.clone(),
            schema: self.schema.clone(),
            projection: columns.to_vec(),
            predicates: conditions,
        }))
    }
}
