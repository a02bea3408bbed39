//! Computes columns: one per expression, under the names given.
//!
//! Columns that only pass through are shared, and the chunk keeps its selection.
//!
//! A chunk comes out in pieces when there is no room for what functions make of all its rows.
//!
//! Memory: the evaluator's, which charges what it makes and remembers, and the chunk at hand.
//! Concurrency: none; each worker has its own evaluators.

use std::sync::Arc;

use arrow::datatypes::{Field as ArrowField, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::Chunk;
use crate::error::{Error, Result};
use crate::expr::{Evaluator, Expr, Functions, Piece, Written};
use crate::pipeline::{Context, Pushed, Step, Transform, TransformWorker};
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

    fn is_repeatable(&self) -> bool {
        !self.exprs.iter().any(Expr::is_volatile)
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
    evaluator: Evaluator,
    /// A chunk of which pieces are still to come, and how many of its live rows have been given.
    rest: Option<(Chunk, usize)>,
}

impl Transform for ProjectTransform {
    fn name(&self) -> &str {
        "project"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn TransformWorker>> {
        let evaluator = Evaluator::new(&self.exprs, cx.memory());
        Ok(Box::new(ProjectWorker { evaluator, rest: None }))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

impl TransformWorker for ProjectWorker {
    fn written(&self) -> Written {
        Written::Varying
    }

    fn push(&mut self, input: Chunk, _: &Context) -> Result<Pushed> {
        self.rest = None;
        let output = self.piece(input, 0)?;
        Ok(match self.rest {
            None => Pushed::Chunk(output),
            Some(_) => Pushed::HaveMore(output),
        })
    }

    fn resume(&mut self, _: &Context) -> Result<Step> {
        match self.rest.take() {
            Some((input, from)) => Ok(Step::Chunk(self.piece(input, from)?)),
            None => Ok(Step::Exhausted),
        }
    }
}

impl ProjectWorker {
    /// The values for the live rows of `input` from number `from` on, or for some of them; then
    /// the others are kept.
    fn piece(&mut self, input: Chunk, from: usize) -> Result<Chunk> {
        let Piece { value: columns, rows, until } = self.evaluator.evaluate(&input, from)?;
        let Some(rows) = rows else { return Ok(input.with_columns(columns)) };
        if until < input.live_rows() {
            self.rest = Some((input.clone(), until));
        }
        Ok(input.select(rows).with_columns(columns))
    }
}
