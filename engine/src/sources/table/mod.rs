//! Tables that are held in memory (or on tape, when that is short), and their scan.
//!
//! A table is a list of parts, each the rows that one statement put in. It does not change: who
//! adds rows makes a new table of the same parts and one more, so a query that is running keeps the
//! rows that it began with.
//!
//! * `scan`: the source.

mod scan;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use serde_json::{Value, json};

use self::scan::Scan;
use crate::batch::{CHUNK_ROWS, Chunk, Ordinals, Place};
use crate::error::{Error, Result};
use crate::expr::{Expr, Functions};
use crate::memory::Governor;
use crate::memory::chunks::{ChunkStore, ColumnFacts};
use crate::plan::{Build, Field, Spec, Stream};
use crate::sources::declared::Declared;

/// A table; see the module documentation. Clones share all rows.
#[derive(Clone)]
pub struct StoredTable {
    schema: SchemaRef,
    parts: Vec<Arc<ChunkStore>>,
    facts: Vec<ColumnFacts>,
}

impl StoredTable {
    /// A table without rows.
    pub fn empty(schema: SchemaRef) -> Self {
        let facts = vec![ColumnFacts::default(); schema.fields().len()];
        StoredTable { schema, parts: Vec::new(), facts }
    }

    /// A table of one batch's rows.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no room for them.
    pub fn of_batch(who: &str, batch: &RecordBatch, memory: &Governor) -> Result<Self> {
        let table = StoredTable::empty(batch.schema());
        let store = ChunkStore::new(who, table.types(), memory)?;
        let mut writer = store.writer()?;
        let (mut facts, mut scratch) = (table.facts.clone(), Ordinals::default());
        for (number, from) in (0..batch.num_rows()).step_by(CHUNK_ROWS).enumerate() {
            let rows = batch.slice(from, CHUNK_ROWS.min(batch.num_rows() - from));
            let place = Place { morsel: number as u64, sequence: 0 };
            let chunk = Chunk::from_batch(&rows, place)?;
            for (facts, column) in facts.iter_mut().zip(chunk.columns()) {
                facts.add(column, &mut scratch)?;
            }
            writer.push(chunk)?;
        }
        store.add(writer)?;
        store.seal();
        table.with_part(store, &facts)
    }

    /// This table and the rows of one more part.
    ///
    /// # Errors
    /// `Internal` when the part has other columns.
    pub fn with_part(&self, part: Arc<ChunkStore>, facts: &[ColumnFacts]) -> Result<Self> {
        if part.types() != self.types() || facts.len() != self.facts.len() {
            return Err(Error::internal("a part of a table with other columns"));
        }
        let mut table = self.clone();
        if part.rows() > 0 {
            table.parts.push(part);
        }
        table.facts = self.facts.iter().zip(facts).map(|(a, b)| a.and(*b)).collect();
        Ok(table)
    }

    /// Names and types of the columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows()).sum()
    }

    /// What is known of the columns' values, one entry a column.
    pub fn facts(&self) -> &[ColumnFacts] {
        &self.facts
    }

    fn types(&self) -> Vec<DataType> {
        self.schema.fields().iter().map(|field| field.data_type().clone()).collect()
    }
}

impl std::fmt::Debug for StoredTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredTable({} rows of {} columns)", self.rows(), self.facts.len())
    }
}

/// Reads a table that is held in memory.
#[derive(Debug, Clone)]
pub struct TableScan {
    /// What the table is called.
    pub name: String,
    /// The table.
    pub table: StoredTable,
    /// Positions of the columns to give, in this order.
    pub projection: Vec<usize>,
    /// Conditions, over positions in the table; rows that do not pass all are left out.
    pub predicates: Vec<Expr>,
}

impl TableScan {
    /// Refuses: the rows of a plan that was written as JSON are gone.
    ///
    /// # Errors
    /// Always `Input`.
    pub fn from_json(fields: Value, _: &Functions) -> Result<Arc<dyn Spec>> {
        let name = fields.get("table").and_then(Value::as_str).unwrap_or("?");
        Err(Error::input(format!(
            "the plan reads the table `{name}`, which was held in memory where it was made; write \
             the table to a file with COPY and read that"
        )))
    }

    fn declared(&self) -> Declared<'_, FieldRef> {
        Declared {
            columns: self.table.schema.fields(),
            projection: &self.projection,
            predicates: &self.predicates,
            key_filters: &[],
        }
    }
}

impl Spec for TableScan {
    fn name(&self) -> &'static str {
        "table_scan"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.declared().schema(inputs)
    }

    fn explain(&self) -> Vec<Field> {
        let mut lines = vec![("table", self.name.clone())];
        lines.extend(self.declared().explain());
        lines
    }

    /// Its name and columns; the rows are left out.
    fn to_json(&self) -> Result<Value> {
        Ok(json!({
            "table": self.name,
            "projection": self.projection,
            "predicates": self.predicates,
        }))
    }

    fn is_repeatable(&self) -> bool {
        !self.predicates.iter().any(Expr::is_volatile)
    }

    fn build(&self, _: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        Ok(Stream::new(self.declared().output()?, Arc::new(Scan::new(self)), Vec::new()))
    }
}
