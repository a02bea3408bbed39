//! Record batches that somebody else makes: a trait for sources outside of the engine, and their
//! scan.
//!
//! * `scan`: the source.

mod scan;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, SchemaRef};
use serde_json::{Value, json};

use self::scan::Scan;
use crate::error::{Error, Result};
use crate::expr::{Expr, Functions};
use crate::plan::{Build, Field, Spec, Stream};
use crate::sources::declared::Declared;

/// The batches of one partition, in the order of its rows.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A table whose rows come as record batches.
///
/// A source has one or more partitions, each a part of the rows that can be read by itself. Worker
/// threads read different partitions side by side, and share the batches of one where there are
/// fewer partitions than threads. The order of the rows is that of the partitions, and within each
/// that of its batches.
///
/// A call that blocks (on a network, on a channel) holds one thread for as long. A panic ends the
/// query with an error that names the source.
pub trait BatchSource: Send + Sync {
    /// Names and types of the columns. Asked for whenever a statement is planned that reads the
    /// source.
    fn schema(&self) -> SchemaRef;

    /// How many partitions there are.
    fn partitions(&self) -> usize {
        1
    }

    /// How many rows there are, where that is known: queries are planned better then.
    fn rows(&self) -> Option<u64> {
        None
    }

    /// The batches of a partition, counted from 0. It is read once by every scan, and a query may
    /// scan a source several times.
    ///
    /// `columns` are the positions of the columns that the query reads, increasing. Batches have
    /// either these columns, in this order (which saves making the others), or all of the schema.
    ///
    /// # Errors
    /// Any error ends the query; so does one among the batches.
    fn read(&self, partition: usize, columns: &[usize]) -> Result<Batches>;
}

/// Reads a [`BatchSource`].
#[derive(Clone)]
pub struct BatchScan {
    /// What the table is called.
    pub name: String,
    /// The table.
    pub source: Arc<dyn BatchSource>,
    /// What the source's columns were when the plan was made.
    pub schema: SchemaRef,
    /// Positions of the columns to give, in this order.
    pub projection: Vec<usize>,
    /// Conditions, over positions in the table; rows that do not pass all are left out.
    pub predicates: Vec<Expr>,
}

impl BatchScan {
    /// Refuses: a plan that was written as JSON does not have the source.
    ///
    /// # Errors
    /// Always `Input`.
    pub fn from_json(fields: Value, _: &Functions) -> Result<Arc<dyn Spec>> {
        let name = fields.get("table").and_then(Value::as_str).unwrap_or("?");
        Err(Error::input(format!(
            "the plan reads the table `{name}`, which was a source of the program that made the \
             plan; write the table to a file with COPY and read that"
        )))
    }

    fn declared(&self) -> Declared<'_, FieldRef> {
        Declared {
            columns: self.schema.fields(),
            projection: &self.projection,
            predicates: &self.predicates,
            key_filters: &[],
        }
    }
}

impl fmt::Debug for BatchScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchScan({}, {:?})", self.name, self.projection)
    }
}

impl Spec for BatchScan {
    fn name(&self) -> &'static str {
        "batch_scan"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        self.declared().schema(inputs)
    }

    fn explain(&self) -> Vec<Field> {
        let mut lines = vec![("table", self.name.clone())];
        lines.extend(self.declared().explain());
        lines
    }

    /// Its name and columns; the source is left out.
    fn to_json(&self) -> Result<Value> {
        Ok(json!({
            "table": self.name,
            "projection": self.projection,
            "predicates": self.predicates,
        }))
    }

    fn build(&self, _: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let scan = Scan::new(self, build.query.threads)?;
        Ok(Stream::new(self.declared().output()?, Arc::new(scan), Vec::new()))
    }
}
