//! Puts rows in order: all of them ([`Sort`]), the first few ([`TopK`]), or those of each group,
//! for aggregates that need them so ([`SortAggregate`]).
//!
//! ```text
//! input ─► SortSink: a builder per worker ─► runs ─► prepare, finish: spilled and merged until
//!                                                     they can be merged at once
//! output ◄─ SortSource: a merger per worker, one range of keys a morsel, in order
//! ```
//!
//! How runs are formed and merged is in [`crate::memory::runs`]; here is who calls it when, and
//! how much memory it may take: while rows come, builders take what they get and spill when they
//! are refused. When all have come, runs stay in memory if they take at most half of the budget
//! and none had to be spilled, because whoever reads them needs memory too; otherwise they are all
//! written. Merging takes at most a quarter of the budget for its windows.
//!
//! * `sink`, `source`: the two ends; `state`: what they share.
//!
//! Rows with equal keys keep the order of the input.
//!
//! Memory: reservations `sort` (or `top k`), one per builder and merger, and those of the runs.
//! The least it works with, declared when the first rows come, is a builder for each worker
//! ([`crate::memory::runs::BUILDER_MINIMUM`]) and what one merger of eight runs needs: about
//! 0.4 MB a worker and 2.4 MB. Less is `OutOfMemory`, as is one row larger than the budget.
//! Between the last row in and the first row out the runs are idle and can be revoked: whoever
//! needs memory spills them.
//! Concurrency: builders and mergers belong to workers; what they share is behind one lock that is
//! held while runs change hands.

mod aggregate;
mod folds;
mod groups;
mod picks;
mod ranks;
mod sink;
mod source;
mod state;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::expr::SortKey;
use crate::plan::{Build, Field, Intake, Spec, Stream, to_fields};

pub use aggregate::SortAggregate;
use sink::SortSink;
use source::{Mergers, SortSource};
use state::SortState;

/// `ORDER BY`: all rows in the order of the keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sort {
    /// The columns to sort by, the first one first.
    pub keys: Vec<SortKey>,
}

/// `ORDER BY … LIMIT`: the first rows in the order of the keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// The columns to sort by, the first one first.
    pub keys: Vec<SortKey>,
    /// How many rows to keep.
    pub count: u64,
}

impl Spec for Sort {
    fn name(&self) -> &'static str {
        "sort"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        sorted_schema("sort", &self.keys, inputs)
    }

    fn explain(&self) -> Vec<Field> {
        vec![("by", keys_text(&self.keys))]
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn intake(&self) -> Intake {
        Intake::Collects
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        build_sort("sort", &self.keys, None, inputs, build)
    }
}

impl Spec for TopK {
    fn name(&self) -> &'static str {
        "top_k"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        sorted_schema("top_k", &self.keys, inputs)
    }

    fn explain(&self) -> Vec<Field> {
        vec![("by", keys_text(&self.keys)), ("rows", self.count.to_string())]
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn intake(&self) -> Intake {
        Intake::Collects
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        build_sort("top k", &self.keys, Some(self.count), inputs, build)
    }
}

fn keys_text(keys: &[SortKey]) -> String {
    let keys: Vec<String> = keys.iter().map(SortKey::to_string).collect();
    keys.join(", ")
}

fn sorted_schema(name: &str, keys: &[SortKey], inputs: &[SchemaRef]) -> Result<SchemaRef> {
    let [input] = inputs else { return Err(Error::internal(format!("{name} has one input"))) };
    match keys.iter().find(|key| key.column >= input.fields().len()) {
        Some(key) => Err(Error::internal(format!("{name} by column {}", key.column))),
        None => Ok(input.clone()),
    }
}

fn build_sort(
    name: &'static str,
    keys: &[SortKey],
    limit: Option<u64>,
    inputs: Vec<Stream>,
    build: &mut Build,
) -> Result<Stream> {
    let Ok([input]) = <[Stream; 1]>::try_from(inputs) else {
        return Err(Error::internal(format!("{name} has one input")));
    };
    let schema = input.schema.clone();
    let state = Arc::new(SortState::new(name, &schema, keys, None, limit)?);
    let source = Arc::new(SortSource::new(Mergers::new(state.clone())));
    let after = build.sink(input, Arc::new(SortSink::new(state)));
    Ok(Stream::new(schema, source, after))
}

#[cfg(test)]
mod tests;
