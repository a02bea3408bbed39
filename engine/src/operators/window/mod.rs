//! Window functions: every row with values computed from the rows around it.
//!
//! ```text
//! input ─► SortSink: a run builder per worker ─► runs ─► spilled and merged until they are few
//! output ◄─ WindowSource: a merger per worker, whole partitions each ─► Evaluation
//! ```
//!
//! 1. Rows are brought into the order of partitions and, within them, of the window, as a sort
//!    does (see [`crate::memory::runs`]). The output is cut into ranges where partitions begin, so
//!    that a worker has all rows of a partition.
//! 2. A worker takes merged rows block by block, marks where keys change (`changes`), finds the
//!    frame of each row (`bounds`, `range`), and computes the calls (`rank`, `values`, `totals`,
//!    `distinct`, `extremes`, `statistics`, `sorted`, `custom`; chosen in `plan` and `aggregate`).
//!    All of them go through the rows once, forwards.
//! 3. Blocks that somebody still waits for or reaches back to are in a store (`store`), which puts
//!    them on tape when memory is refused. A partition can be larger than the budget.
//!
//! The rows come out in the order of the keys, ties in the order of the input, with the results
//! behind their columns.
//!
//! Memory: as a sort; and a store for each worker, of [`store::STORE_BYTES`] at least, and the
//! results of a few rows where they are texts or lists. What is
//! computed in memory proportional to a frame, and ends in `OutOfMemory` when there is none: moving
//! sums, extremes and statistics of values that cannot be taken off again, aggregates of distinct
//! values, percentiles and modes, and those that are not built in.
//!
//! Concurrency: a worker owns its merger, its store and its evaluators. One partition is one
//! worker's.

mod aggregate;
mod bounds;
mod changes;
mod custom;
mod distinct;
mod evaluate;
mod extremes;
mod forms;
mod lane;
mod plan;
mod queue;
mod range;
mod rank;
mod sorted;
mod sorted_blocks;
mod source;
mod statistics;
mod store;
mod totals;
mod values;

use std::sync::Arc;

use arrow::datatypes::{Field as ArrowField, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::expr::{AggregateKind, Functions, SortKey, WindowArgument, WindowCall, WindowKind};
use crate::memory::runs::Sorting;
use crate::operators::SortSink;
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};

use plan::Plan;
use source::WindowSource;

/// `SELECT *, f(…) OVER (PARTITION BY … ORDER BY …), …`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// The order of the rows: the calls' partitions and peers are told apart by the first of these
    /// keys, by as many as each call says.
    pub keys: Vec<SortKey>,
    /// What is computed.
    pub calls: Vec<WindowCall>,
    /// The names of the results' columns.
    pub names: Vec<String>,
}

impl Window {
    /// Reads the spec from its JSON fields.
    ///
    /// # Errors
    /// `Input` when they are not those of a window, or name an unknown function.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        let mut spec: Window =
            serde_json::from_value(fields).map_err(|e| Error::input(e.to_string()))?;
        for call in &mut spec.calls {
            if let WindowKind::Aggregate(AggregateKind::Custom { function, .. }) =
                &mut call.function
            {
                function.resolve(functions)?;
            }
        }
        Ok(Arc::new(spec))
    }

    fn check(&self, input: &SchemaRef) -> Result<()> {
        let columns = input.fields().len();
        let internal = |what: String| Err(Error::internal(what));
        if self.names.len() != self.calls.len() {
            return internal("a window needs a name for every result".into());
        }
        if self.keys.len() >= usize::from(u16::MAX) {
            return internal("a window of too many keys".into());
        }
        if let Some(key) = self.keys.iter().find(|key| key.column >= columns) {
            return internal(format!("a window by column {}", key.column));
        }
        for call in &self.calls {
            let arguments = call.arguments.iter().filter_map(|argument| match argument {
                WindowArgument::Column(column) => Some(*column),
                WindowArgument::Constant(_) => None,
            });
            if let Some(column) = arguments.chain(call.filter).find(|&column| column >= columns) {
                return internal(format!("{call} of a column {column} that is not"));
            }
            if call.over.partition > call.over.order || call.over.order > self.keys.len() {
                return internal(format!("{call} over keys that are not"));
            }
        }
        Ok(())
    }

    /// What stands behind OVER.
    fn over_text(&self, call: &WindowCall) -> String {
        let text =
            |keys: &[SortKey]| keys.iter().map(SortKey::to_string).collect::<Vec<_>>().join(", ");
        let (partition, order) = (call.over.partition, call.over.order);
        let mut parts = Vec::new();
        if partition > 0 {
            let keys = self.keys[..partition].iter().map(|key| format!("#{}", key.column));
            parts.push(format!("PARTITION BY {}", keys.collect::<Vec<_>>().join(", ")));
        }
        if order > partition {
            parts.push(format!("ORDER BY {}", text(&self.keys[partition..order])));
        }
        if call.function.has_frame() {
            parts.push(call.frame.to_string());
        }
        parts.join(" ")
    }
}

impl Spec for Window {
    fn name(&self) -> &'static str {
        "window"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "window")?;
        self.check(input)?;
        let mut fields: Vec<ArrowField> =
            input.fields().iter().map(|field| field.as_ref().clone()).collect();
        for (call, name) in self.calls.iter().zip(&self.names) {
            let nullable = call.function.is_nullable();
            fields.push(ArrowField::new(name, call.data_type.clone(), nullable));
        }
        let schema = Arc::new(Schema::new(fields));
        Plan::new(self, input, schema.clone())?;
        Ok(schema)
    }

    fn explain(&self) -> Vec<Field> {
        let keys: Vec<String> = self.keys.iter().map(SortKey::to_string).collect();
        let calls = self.calls.iter().zip(&self.names);
        let calls =
            calls.map(|(call, name)| format!("{call} OVER ({}) AS {name}", self.over_text(call)));
        let mut fields = vec![("calls", calls.collect::<Vec<_>>().join(", "))];
        if !keys.is_empty() {
            fields.insert(0, ("by", keys.join(", ")));
        }
        fields
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn intake(&self) -> Intake {
        Intake::Collects
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "window")?;
        let schema = self.schema(std::slice::from_ref(&input.schema))?;
        let plan = Arc::new(Plan::new(self, &input.schema, schema.clone())?);
        let sorting = Sorting::new("window", plan.types.clone(), plan.order(), plan.partition())?;
        let bytes = store::STORE_BYTES + evaluate::result_bytes(&plan);
        let sorting = Arc::new(sorting.with_reader_bytes(bytes));
        let source = Arc::new(WindowSource::new(plan, sorting.clone()));
        let after = build.sink(input, Arc::new(SortSink::new(sorting)));
        Ok(Stream::new(schema, source, after))
    }
}
