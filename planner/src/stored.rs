//! Tables of the session's own as sources of rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use gristmill_engine::Result;
use gristmill_engine::expr::{Expr, Literal, Value};
use gristmill_engine::memory::chunks::ColumnFacts;
use gristmill_engine::plan::Spec;
use gristmill_engine::sources::{StoredTable, TableScan};

use crate::catalog::{ColumnStatistics, DataSource, TableStatistics};

/// A table that is held in memory, or on tape when that is short.
#[derive(Debug)]
pub(crate) struct StoredSource {
    name: String,
    table: StoredTable,
}

impl StoredSource {
    pub(crate) fn new(name: &str, table: StoredTable) -> Self {
        StoredSource { name: name.to_string(), table }
    }
}

impl DataSource for StoredSource {
    fn schema(&self) -> SchemaRef {
        self.table.schema().clone()
    }

    fn statistics(&self) -> TableStatistics {
        let fields = self.table.schema().fields().iter();
        let columns = fields.zip(self.table.facts()).map(|(field, facts)| {
            let (min, max) = bounds(field.data_type(), facts).unzip();
            ColumnStatistics { min, max, nulls: Some(facts.nulls), distinct: None }
        });
        TableStatistics {
            rows: Some(self.table.rows()),
            rows_guess: None,
            columns: columns.collect(),
        }
    }

    fn scan(&self, columns: &[usize], conditions: Vec<Expr>) -> Result<Arc<dyn Spec>> {
        Ok(Arc::new(TableScan {
            name: self.name.clone(),
            table: self.table.clone(),
            projection: columns.to_vec(),
            predicates: conditions,
        }))
    }
}

/// The least and greatest value of a column.
fn bounds(data_type: &DataType, facts: &ColumnFacts) -> Option<(Literal, Literal)> {
    let (low, high) = facts.range.filter(|_| !facts.beyond)?;
    let literal = |ordinal: i64| {
        let value = match data_type {
            decimal if decimal.is_decimal() => Value::Decimal(i128::from(ordinal)),
            // The ordinals of these begin with the least number.
            DataType::UInt64 => Value::UInt(ordinal as u64 ^ (1 << 63)),
            unsigned if unsigned.is_unsigned_integer() => Value::UInt(ordinal.try_into().ok()?),
            _ => Value::Int(ordinal),
        };
        Some(Literal { data_type: data_type.clone(), value })
    };
    Some((literal(low)?, literal(high)?))
}
