//! Gives every row as often as a column of it says.
//!
//! No value is copied: the columns get indices. A row that is repeated more often than a chunk has
//! rows comes out in several chunks.
//!
//! Memory: the indices of one chunk.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{CHUNK_ROWS, Chunk, Indices};
use crate::error::{Error, Result};
use crate::expr::Written;
use crate::pipeline::{Context, Pushed, Step, Transform, TransformWorker};
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};

/// Every row as often as its count says, without the count. Not at all for NULL and numbers below
/// one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Position of the 64-bit integer that says how often.
    pub count: usize,
}

impl Spec for Repeat {
    fn name(&self) -> &'static str {
        "repeat"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "repeat")?;
        match input.fields().get(self.count).map(|field| field.data_type()) {
            Some(DataType::Int64) => {}
            other => return Err(Error::internal(format!("repeat by {other:?}"))),
        }
        let fields = input.fields().iter().enumerate();
        let fields = fields.filter(|(number, _)| *number != self.count).map(|(_, f)| f.clone());
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    fn explain(&self) -> Vec<Field> {
        vec![("count", format!("#{}", self.count))]
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn intake(&self) -> Intake {
        Intake::Passes
    }

    fn build(&self, inputs: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "repeat")?;
        let schema = self.schema(std::slice::from_ref(&input.schema))?;
        Ok(input.then(schema, Arc::new(RepeatTransform { count: self.count })))
    }
}

struct RepeatTransform {
    count: usize,
}

impl Transform for RepeatTransform {
    fn name(&self) -> &str {
        "repeat"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn TransformWorker>> {
        Ok(Box::new(RepeatWorker { count: self.count, input: None, left: Vec::new() }))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

struct RepeatWorker {
    count: usize,
    /// The chunk at hand, without the counts.
    input: Option<Chunk>,
    /// Its rows that are not done, the last one first: position, and how often it is still due.
    left: Vec<(u32, u64)>,
}

impl TransformWorker for RepeatWorker {
    fn written(&self) -> Written {
        Written::Nothing
    }

    fn push(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        cx.check()?;
        let counts = input.live_array(self.count)?;
        let counts = counts.as_primitive_opt::<Int64Type>();
        let counts = counts.ok_or_else(|| Error::internal("counts that are no integers"))?;
        let rows = input.live_positions().iter().zip(counts.iter());
        let due = rows.filter_map(|(&row, count)| {
            let count = u64::try_from(count?).ok().filter(|&count| count > 0)?;
            Some((row, count))
        });
        self.left = due.collect();
        self.left.reverse();
        let columns = input.columns().iter().enumerate();
        let columns = columns.filter(|(number, _)| *number != self.count).map(|(_, c)| c.clone());
        let columns = columns.collect();
        self.input = Some(input.with_columns(columns));
        Ok(match self.step(cx)? {
            Step::Chunk(chunk) if self.left.is_empty() => Pushed::Chunk(chunk),
            Step::Chunk(chunk) => Pushed::HaveMore(chunk),
            _ => Pushed::NeedInput,
        })
    }

    fn resume(&mut self, cx: &Context) -> Result<Step> {
        self.step(cx)
    }
}

impl RepeatWorker {
    fn step(&mut self, cx: &Context) -> Result<Step> {
        cx.check()?;
        let mut rows: Vec<u32> = Vec::new();
        while rows.len() < CHUNK_ROWS
            && let Some((row, left)) = self.left.last_mut()
        {
            let room = CHUNK_ROWS - rows.len();
            let count = usize::try_from(*left).unwrap_or(usize::MAX).min(room);
            rows.resize(rows.len() + count, *row);
            *left -= count as u64;
            if *left == 0 {
                self.left.pop();
            }
        }
        let Some(input) = &self.input else { return Ok(Step::Exhausted) };
        if rows.is_empty() {
            self.input = None;
            return Ok(Step::Exhausted);
        }
        Ok(Step::Chunk(input.reindex(&Arc::new(Indices::new(rows)))))
    }
}
