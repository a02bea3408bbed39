//! Lets the rows `[offset, offset + count)` of its input's order through, then asks the source to
//! stop.
//!
//! In order: rows before a chunk are counted only when all morsels below the chunk's are complete,
//! so a worker that is ahead of the low mark blocks until it is its turn. Without order (the
//! query gave it up) any rows will do, and workers draw them from the same counter at once.
//!
//! Memory: none.
//! Concurrency: one counter behind a lock, taken once per chunk.
//! Invariant 1: rows let through by all workers never exceed `count`.

use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::Chunk;
use crate::error::Result;
use crate::expr::Written;
use crate::pipeline::{Context, Pushed, Transform, TransformWorker};
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};

/// `OFFSET offset LIMIT count`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Rows to leave out first.
    pub offset: u64,
    /// Rows to let through after them; `None` for all.
    pub count: Option<u64>,
}

impl Spec for Limit {
    fn name(&self) -> &'static str {
        "limit"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = take_inputs(inputs.to_vec(), "limit")?;
        Ok(input)
    }

    fn explain(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(count) = self.count {
            fields.push(("count", count.to_string()));
        }
        if self.offset > 0 {
            fields.push(("offset", self.offset.to_string()));
        }
        fields
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn intake(&self) -> Intake {
        Intake::Passes
    }

    fn build(&self, inputs: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "limit")?;
        let schema = input.schema.clone();
        let end = self.count.map_or(u64::MAX, |count| self.offset.saturating_add(count));
        let transform =
            LimitTransform { window: Window { start: self.offset, end }, seen: Default::default() };
        Ok(input.then(schema, Arc::new(transform)))
    }
}

#[derive(Clone, Copy)]
struct Window {
    start: u64,
    end: u64,
}

/// Shared state: how many rows of the input have gone by.
struct LimitTransform {
    window: Window,
    seen: Arc<Mutex<u64>>,
}

struct LimitWorker {
    window: Window,
    seen: Arc<Mutex<u64>>,
}

impl Transform for LimitTransform {
    fn name(&self) -> &str {
        "limit"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn TransformWorker>> {
        Ok(Box::new(LimitWorker { window: self.window, seen: self.seen.clone() }))
    }

    fn reset(&self) -> Result<()> {
        *self.seen.lock().unwrap_or_else(|e| e.into_inner()) = 0;
        Ok(())
    }
}

impl TransformWorker for LimitWorker {
    fn written(&self) -> Written {
        Written::Nothing
    }

    fn push(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        if cx.query.keep_order {
            let token = cx.order.token();
            if cx.order.low() < input.place().morsel {
                return Ok(Pushed::Blocked(token, input));
            }
        }
        let rows = input.live_rows() as u64;
        let before = {
            let mut seen = self.seen.lock().unwrap_or_else(|e| e.into_inner());
            let before = *seen;
            *seen = before.saturating_add(rows);
            before
        };
        let from = self.window.start.clamp(before, before + rows) - before;
        let to = self.window.end.clamp(before, before + rows) - before;
        let taken = (from < to).then(|| input.slice(from as usize, (to - from) as usize));
        Ok(if before + rows >= self.window.end {
            Pushed::Finished(taken)
        } else {
            taken.map_or(Pushed::NeedInput, Pushed::Chunk)
        })
    }
}
