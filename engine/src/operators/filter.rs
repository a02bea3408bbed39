//! Lets the rows through for which all conditions are true.
//!
//! A filter copies nothing: it narrows the chunk's selection. Only when few rows are left it
//! copies them together, so that what comes after does not drag the dead ones along.
//!
//! Memory: the conjunction's, which charges what it makes and remembers, and the chunk at hand.
//! Concurrency: none; each worker has its own conditions and measures them itself.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{COMPACT_BELOW, Chunk};
use crate::error::Result;
use crate::expr::{Conjunction, Expr, Functions, Written};
use crate::pipeline::{Context, Pushed, Transform, TransformWorker};
use crate::plan::{Build, Field, Intake, Spec, Stream, from_fields_with, take_inputs, to_fields};

/// `WHERE condition AND condition …`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// Conditions over the input's columns, in the order written.
    pub conditions: Vec<Expr>,
}

impl Filter {
    /// Reads the spec from its JSON fields.
    ///
    /// # Errors
    /// `Input` when they are not those of a filter, or name an unknown function.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        from_fields_with(fields, |filter: &mut Filter| {
            filter.conditions.iter_mut().try_for_each(|expr| expr.resolve(functions))
        })
    }
}

impl Spec for Filter {
    fn name(&self) -> &'static str {
        "filter"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "filter")?;
        self.conditions.iter().try_for_each(|expr| expr.check_condition(input))?;
        Ok(input.clone())
    }

    fn explain(&self) -> Vec<Field> {
        let conditions: Vec<String> = self.conditions.iter().map(ToString::to_string).collect();
        vec![("where", conditions.join(" AND "))]
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn intake(&self) -> Intake {
        Intake::Passes
    }

    fn is_repeatable(&self) -> bool {
        !self.conditions.iter().any(Expr::is_volatile)
    }

    fn build(&self, inputs: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "filter")?;
        let schema = input.schema.clone();
        let transform = FilterTransform { conditions: self.conditions.clone() };
        Ok(input.then(schema, Arc::new(transform)))
    }
}

struct FilterTransform {
    conditions: Vec<Expr>,
}

struct FilterWorker {
    conjunction: Conjunction,
}

impl Transform for FilterTransform {
    fn name(&self) -> &str {
        "filter"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn TransformWorker>> {
        let conjunction = Conjunction::new(self.conditions.clone(), cx.memory());
        Ok(Box::new(FilterWorker { conjunction }))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

impl TransformWorker for FilterWorker {
    fn written(&self) -> Written {
        Written::Varying
    }

    fn push(&mut self, input: Chunk, _: &Context) -> Result<Pushed> {
        let output = match self.conjunction.select(&input)? {
            None => input,
            Some(selection) => input.select(selection),
        };
        let live = output.live_rows();
        if live == 0 {
            return Ok(Pushed::NeedInput);
        }
        if (live as f64) < COMPACT_BELOW * output.rows() as f64 {
            return Ok(Pushed::Chunk(output.copy_live()?));
        }
        Ok(Pushed::Chunk(output))
    }
}
