//! Aggregates of a group's rows in order: the rows are sorted by the keys of the groups and the
//! order, and what comes out of the merge is folded as it comes.
//!
//! ```text
//! input ─► SortSink ─► runs ─► GroupSource: a merger per worker, whole groups in each range
//! ```
//!
//! * `groups`: the source, and where a group begins and ends.
//! * `folds`: what each call makes of a group's rows: lists (`pieces`), strings (`concat`), and
//!   `ranks` for percentiles; `picks`: results that are values of the rows.
//!
//! Memory: that of the sort; and what a group's results hold on to, large ones until whoever got
//! them comes for more. Percentiles give that up when it is refused and read a large group twice
//! instead. A list or string that does not fit ends the query with `OutOfMemory`.
//! Concurrency: each worker folds ranges of its own.

mod concat;
mod folds;
mod groups;
mod picks;
mod pieces;
mod ranks;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::expr::{OrderedCall, SortKey};
use crate::memory::rows::RowOrder;
use crate::memory::runs::Sorting;
use crate::operators::SortSink;
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};
use groups::{GroupSource, HELD_BYTES_MIN};

/// `array_agg(x ORDER BY y)` and its like, for each group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SortAggregate {
    /// Positions of the key columns; none for one group of all rows.
    pub keys: Vec<usize>,
    /// The order of a group's rows; those that are equal keep the order of the input.
    pub order: Vec<SortKey>,
    /// What is computed for each group.
    pub aggregates: Vec<OrderedCall>,
    /// The names of the columns that come out: the keys, then the aggregates.
    pub names: Vec<String>,
}

impl SortAggregate {
    /// The keys of the groups, then the order.
    fn sort_keys(&self) -> Vec<SortKey> {
        let key = |&column: &usize| SortKey { column, descending: false, nulls_first: true };
        self.keys.iter().map(key).chain(self.order.iter().copied()).collect()
    }
}

impl Spec for SortAggregate {
    fn name(&self) -> &'static str {
        "sort_aggregate"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "sort_aggregate")?;
        if let Some(key) = self.sort_keys().iter().find(|k| k.column >= input.fields().len()) {
            return Err(Error::internal(format!("sort_aggregate by column {}", key.column)));
        }
        if self.names.len() != self.keys.len() + self.aggregates.len() {
            return Err(Error::internal("sort_aggregate needs a name for every column"));
        }
        let (key_names, names) = self.names.split_at(self.keys.len());
        let mut fields = Vec::with_capacity(self.names.len());
        for (&key, name) in self.keys.iter().zip(key_names) {
            fields.push(input.field(key).clone().with_name(name));
        }
        for (call, name) in self.aggregates.iter().zip(names) {
            let mut columns = std::iter::once(call.argument).chain(call.filter);
            if let Some(column) = columns.find(|&c| c >= input.fields().len()) {
                return Err(Error::internal(format!("{call} of a column {column} that is not")));
            }
            fields.push(ArrowField::new(name, call.data_type.clone(), true));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn explain(&self) -> Vec<Field> {
        let keys: Vec<String> = self.keys.iter().map(|key| format!("#{key}")).collect();
        let (_, names) = self.names.split_at(self.keys.len().min(self.names.len()));
        let calls = self.aggregates.iter().zip(names);
        let calls: Vec<String> = calls.map(|(call, name)| format!("{call} AS {name}")).collect();
        let by: Vec<String> = self.order.iter().map(SortKey::to_string).collect();
        let parts =
            [("keys", keys.join(", ")), ("by", by.join(", ")), ("aggregates", calls.join(", "))];
        parts.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn intake(&self) -> Intake {
        Intake::Collects
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "sort_aggregate")?;
        let schema = self.schema(std::slice::from_ref(&input.schema))?;
        let types: Vec<DataType> =
            schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let order = self.sort_keys().into_iter().map(|key| RowOrder {
            column: key.column,
            descending: key.descending,
            nulls_first: key.nulls_first,
            nullable: input.schema.field(key.column).is_nullable(),
        });
        let order: Vec<RowOrder> = order.collect();
        let fields = input.schema.fields().iter();
        let columns = fields.map(|field| field.data_type().clone()).collect();
        let sorting = Sorting::new("sort aggregate", columns, &order, self.keys.len())?;
        let sorting = Arc::new(sorting.with_reader_bytes(HELD_BYTES_MIN));
        let source = GroupSource::new(sorting.clone(), Arc::new(self.clone()), types);
        let after = build.sink(input, Arc::new(SortSink::new(sorting)));
        Ok(Stream::new(schema, Arc::new(source), after))
    }
}
