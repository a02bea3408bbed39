//! Puts rows in order: all of them ([`Sort`]), or the first few ([`TopK`]).
//!
//! ```text
//! input ─► SortSink: a builder per worker ─► runs ─► prepare, finish: spilled and merged until
//!                                                     they can be merged at once
//! output ◄─ SortSource: a merger per worker, one range of keys a morsel, in order
//! ```
//!
//! How runs are formed and merged, who may take how much memory and what is the least is in
//! [`crate::memory::runs`]; here is who calls it when.
//!
//! * `source`: the end that gives the rows.
//!
//! Rows with equal keys keep the order of the input.
//!
//! Memory: reservations `sort` (or `top k`), one per builder and merger, and those of the runs.
//! Less than their minimum is `OutOfMemory`, as is one row larger than the budget. Between the last
//! row in and the first row out the runs are idle and can be revoked: whoever needs memory spills
//! them.

mod source;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::expr::SortKey;
use crate::memory::rows::RowOrder;
use crate::memory::runs::Sorting;
use crate::operators::SortSink;
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};

use source::SortSource;

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
    let [input] = &take_inputs(inputs.to_vec(), name)?;
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
    let [input] = take_inputs(inputs, name)?;
    let schema = input.schema.clone();
    let types = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let order = keys.iter().map(|key| RowOrder {
        column: key.column,
        descending: key.descending,
        nulls_first: key.nulls_first,
        nullable: schema.fields().get(key.column).is_none_or(|field| field.is_nullable()),
    });
    let order: Vec<RowOrder> = order.collect();
    let sorting = Sorting::new(name, types, &order, order.len())?.with_limit(limit);
    let sorting = Arc::new(sorting);
    let source = Arc::new(SortSource::new(sorting.clone()));
    let after = build.sink(input, Arc::new(SortSink::new(sorting)));
    Ok(Stream::new(schema, source, after))
}

#[cfg(test)]
mod tests;
