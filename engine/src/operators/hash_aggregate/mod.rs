//! Groups rows by key columns and aggregates each group.
//!
//! Phases:
//! 1. `consume` (`worker`): every worker finds the group of each row and folds the row's values
//!    into the group's states (`table`, `fold`). The way to a group is the shortest that the chunk
//!    allows: an index for keys of few values (`direct`), otherwise a directory by hash
//!    (`directory`). Where groups are few, rows are sorted by group first (`cluster`).
//! 2. `combine`, `prepare` (`sink`, `handed`): the workers hand their rows over; small tables are
//!    one partition, larger ones are partitioned by hash.
//! 3. The rows of all workers are merged in place (`merge`): those of a part of a partition by who
//!    reads it, where there is room for what that takes; otherwise a task of `finish` merges a
//!    partition.
//! 4. The source gathers keys and results (`output`), and gives memory back as it goes.
//!
//! A group is a row in row pages: the key columns, the hash, and the states (`plan`). Strings that
//! are the least or greatest, and the values of first and last rows, are in row pages of their own
//! (`stores`, `candidates`). Functions that are not built in keep their states by group number,
//! which is in the row, too.
//!
//! Memory: charged to one reservation a worker, then to the shared state. A worker asks for what a
//! chunk can need (`need`) before it takes it in. When that is refused or others press for memory,
//! or when somebody cannot do without it between two chunks (`shelf`), all its groups are written
//! to a tape, by partition (`spill`, `stretches`), and it begins anew; at the end the groups of the
//! other workers are written as well, a task each. Where all groups have room, but not what merging
//! them takes, partitions are written by themselves (`handed`). The source then reads a partition
//! at a time (`reload`, `parts`), splitting those that do not fit (`partition`). What workers have
//! handed over, and finished partitions that no reader has come to, are written out for others too
//! (`waiting`). What writing and reading take is set aside before it is needed. How much is written
//! depends on the number of groups, not of rows. Without keys nothing is written. Rows are appended
//! without merging only where that at most doubles them.
//! Concurrency: workers own their tables; finish tasks own their partition.
//!
//! Invariants:
//! 1. Without keys there is exactly one group, whatever the input.
//! 2. The groups come out in the order of their hashes, hence in the same order for any number of
//!    workers and any amount of memory.

mod candidates;
mod cluster;
mod direct;
mod directory;
mod fold;
mod handed;
mod merge;
mod need;
mod output;
mod partition;
mod parts;
mod plan;
mod reload;
mod shelf;
mod sink;
mod sketch;
mod spill;
mod stores;
mod stretches;
mod table;
mod waiting;
mod worker;

use std::sync::Arc;

use arrow::datatypes::{Field as ArrowField, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::expr::{AggregateCall, AggregateKind, Functions};
use crate::plan::{Build, Field, Intake, Spec, Stream, from_fields_with, take_inputs, to_fields};
use output::AggregateSource;
use plan::Plan;
use sink::{AggregateSink, Shared};

/// `SELECT keys, aggregates … GROUP BY keys`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HashAggregate {
    /// Positions of the key columns; none for one group of all rows.
    pub keys: Vec<usize>,
    /// What is computed for each group.
    pub aggregates: Vec<AggregateCall>,
    /// The names of the columns that come out: the keys, then the aggregates.
    pub names: Vec<String>,
}

impl HashAggregate {
    /// Reads the spec from its JSON fields.
    ///
    /// # Errors
    /// `Input` when they are not those of an aggregate, or name an unknown function.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        from_fields_with(fields, |aggregate: &mut HashAggregate| {
            aggregate.aggregates.iter_mut().try_for_each(|call| match &mut call.function {
                AggregateKind::Custom { function, .. } => function.resolve(functions),
                _ => Ok(()),
            })
        })
    }
}

impl Spec for HashAggregate {
    fn name(&self) -> &'static str {
        "hash_aggregate"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "hash aggregate")?;
        if self.names.len() != self.keys.len() + self.aggregates.len() {
            return Err(Error::internal("hash aggregate needs a name for every column"));
        }
        let (key_names, names) = self.names.split_at(self.keys.len());
        let mut fields = Vec::with_capacity(self.names.len());
        for (&key, name) in self.keys.iter().zip(key_names) {
            let field = input.fields().get(key);
            let field = field.ok_or_else(|| Error::internal(format!("no key column {key}")))?;
            fields.push(ArrowField::new(name, field.data_type().clone(), field.is_nullable()));
        }
        for (call, name) in self.aggregates.iter().zip(names) {
            let order = call.function.order().iter().map(|key| &key.column);
            let columns = call.arguments.iter().chain(&call.filter).chain(order);
            if let Some(column) = columns.copied().find(|&c| c >= input.fields().len()) {
                return Err(Error::internal(format!("{call} of a column {column} that is not")));
            }
            let is_count = call.function.is_count();
            fields.push(ArrowField::new(name, call.data_type.clone(), !is_count));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn explain(&self) -> Vec<Field> {
        let keys: Vec<String> = self.keys.iter().map(|key| format!("#{key}")).collect();
        let (_, names) = self.names.split_at(self.keys.len().min(self.names.len()));
        let calls = self.aggregates.iter().zip(names);
        let calls: Vec<String> = calls.map(|(call, name)| format!("{call} AS {name}")).collect();
        let mut fields = Vec::new();
        if !keys.is_empty() {
            fields.push(("keys", keys.join(", ")));
        }
        if !calls.is_empty() {
            fields.push(("aggregates", calls.join(", ")));
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
        let [input] = take_inputs(inputs, "hash aggregate")?;
        let schema = self.schema(std::slice::from_ref(&input.schema))?;
        let shared = Shared::new(Plan::new(self, &input.schema, schema.clone())?);
        let after = build.sink(input, Arc::new(AggregateSink(shared.clone())));
        Ok(Stream::new(schema, Arc::new(AggregateSource::new(shared)), after))
    }
}

#[cfg(test)]
mod tests;
