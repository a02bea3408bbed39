//! Computes columns: one per expression, under the names given.
//!
//! Columns that only pass through are shared, and the chunk keeps its selection.
//!
//! Memory: none but the chunk at hand and results per dictionary.
//! Concurrency: none; each worker has its own evaluators.

use std::sync::Arc;

use arrow::datatypes::{Field as ArrowField, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::Chunk;
use crate::error::{Error, Result};
use crate::expr::{Evaluator, Expr, Functions};
use crate::pipeline::{Context, Pushed, Transform, TransformWorker};
use crate::plan::{Build, Field, Intake, Spec, Stream, from_fields_with, take_inputs, to_fields};

/// `SELECT expression AS name, …`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// What is computed from the input's columns.
    pub exprs: Vec<Expr>,
    /// The names of the results, one per expression.
    pub names: Vec<String>,
}

impl Project {
    /// Reads the spec from its JSON fields.
    ///
    /// # Errors
    /// `Input` when they are not those of a projection, or name an unknown function.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        from_fields_with(fields, |project: &mut Project| {
            project.exprs.iter_mut().try_for_each(|expr| expr.resolve(functions))
        })
    }
}

impl Spec for Project {
    fn name(&self) -> &'static str {
        "project"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "project")?;
        if self.exprs.len() != self.names.len() {
            return Err(Error::internal("project needs a name for every expression"));
        }
        let fields = self.exprs.iter().zip(&self.names).map(|(expr, name)| {
            expr.check(input)?;
            let nullable = match expr {
                Expr::Column { index, .. } => input.field(*index).is_nullable(),
                Expr::Literal(literal) => literal.is_null(),
                _ => true,
            };
            Ok(ArrowField::new(name, expr.data_type(), nullable))
        });
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
    }

    fn explain(&self) -> Vec<Field> {
        let columns = self.exprs.iter().zip(&self.names);
        let columns: Vec<String> =
            columns.map(|(expr, name)| format!("{expr} AS {name}")).collect();
        vec![("columns", columns.join(", "))]
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn intake(&self) -> Intake {
        Intake::Passes
    }

    fn build(&self, inputs: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "project")?;
        let schema = self.schema(std::slice::from_ref(&input.schema))?;
        let transform = ProjectTransform { exprs: self.exprs.clone() };
        Ok(input.then(schema, Arc::new(transform)))
    }
}

struct ProjectTransform {
    exprs: Vec<Expr>,
}

struct ProjectWorker {
    evaluators: Vec<Evaluator>,
}

impl Transform for ProjectTransform {
    fn name(&self) -> &str {
        "project"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn TransformWorker>> {
        let evaluators = self.exprs.iter().cloned().map(Evaluator::new).collect();
        Ok(Box::new(ProjectWorker { evaluators }))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

impl TransformWorker for ProjectWorker {
    fn push(&mut self, input: Chunk, _: &Context) -> Result<Pushed> {
        let columns = self.evaluators.iter_mut().map(|evaluator| evaluator.evaluate(&input));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(Pushed::Chunk(input.with_columns(columns)))
    }
}
