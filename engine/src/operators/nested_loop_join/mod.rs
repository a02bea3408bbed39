//! Joins its two inputs on any condition, or none, by looking at every pair of rows that
//! comparisons in the condition do not rule out together with others (`expr::bounds`).
//!
//! Phases, of two pipelines:
//! 1. **Build**: workers store the rows of the build side in blocks of row pages (`build`), and
//!    write them to tapes when memory is short. The blocks are put in the order of the input and
//!    into groups of about [`store::BLOCK_ROWS`] rows (`store`), which `reader` decodes.
//! 2. **Probe**: each chunk of the other side meets one group after the other (`probe`). The rows
//!    of the smaller of the two are taken one by one, as constants, against the columns of the
//!    larger, so the condition is evaluated over whole vectors and no value is copied for it
//!    (`condition`). What passes leaves as a selection, or as indices over the columns of both.
//!
//! Joins that give build rows by whether they have a match set a bit for each that has one, and a
//! source that reads them becomes a second arm of the stream (`build_rows`).
//!
//! Invariants:
//! 1. The order of the output follows from the inputs' chunks and morsels alone, not from threads
//!    or memory: blocks end at morsels or after a fixed number of rows or bytes. Rows of a probe
//!    chunk come out together, those without match last.
//! 2. No value of a probe column is copied, except into chunks with few rows left.
//!
//! Memory: blocks are charged to `nested loop join`, and written to tape when that is refused or
//! others need the memory; a group is read back, decoded and charged for the time it is looked at.
//! Small build sides are decoded once, larger ones while memory is plenty; so is what each worker
//! knows of groups kept. What reading takes is set aside before the first row.
//! Concurrency: workers share nothing while they build; the finished groups are read-only.

mod build;
mod build_rows;
mod condition;
mod group_bounds;
mod probe;
mod reader;
mod shape;
mod store;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::expr::bounds::order_of_bounds;
use crate::expr::{Expr, Functions};
use crate::operators::JoinKind;
use crate::plan::{Build, Field, Spec, Stream, from_fields_with, take_inputs, to_fields};

use build::BuildSink;
use build_rows::BuildRows;
use probe::ProbeTransform;
use shape::{Shape, Shared};

/// A join on any condition; its inputs are the probe side and the build side. Gives the columns
/// `probe_output` of the one, then `build_output` of the other; a mark join gives a Boolean column
/// named `mark` instead of the latter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NestedLoopJoin {
    /// Which rows it gives.
    pub kind: JoinKind,
    /// What a pair must pass to be a match, over the probe side's columns followed by the build
    /// side's; without it all pairs match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expr>,
    /// Probe columns to give, in order; none for right semi and right anti joins.
    pub probe_output: Vec<usize>,
    /// Build columns to give, in order; none for semi, anti and mark joins.
    pub build_output: Vec<usize>,
    /// Whether a mark or anti join means `ANY` in three-valued logic: TRUE if the condition is for
    /// some build row, else NULL if it is for some, else FALSE. A mark then has that value, and an
    /// anti join gives the rows for which it is FALSE.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub null_aware: bool,
}

impl NestedLoopJoin {
    /// Reads the spec from its JSON fields; for the registry.
    ///
    /// # Errors
    /// `Input` when the fields are not those of a join, or name a function that is not registered.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        from_fields_with(fields, |join: &mut NestedLoopJoin| {
            join.condition.as_mut().map_or(Ok(()), |condition| condition.resolve(functions))
        })
    }

    /// The column that the build side had better come in the order of: then few pairs are looked
    /// at. `None` where no order helps.
    pub fn order_of_build(&self, probe: &Schema) -> Option<usize> {
        let condition = self.condition.as_ref().filter(|_| !self.null_aware)?;
        order_of_bounds(condition, probe.fields().len())
    }

    fn check(&self, probe: &Schema, build: &Schema) -> Result<()> {
        let wrong = |what: &str| Err(Error::internal(format!("nested loop join: {what}")));
        if self.probe_output.iter().any(|&c| c >= probe.fields().len())
            || self.build_output.iter().any(|&c| c >= build.fields().len())
        {
            return wrong("it gives a column that its input does not have");
        }
        if !self.build_output.is_empty() && !self.kind.has_build_columns() {
            return wrong("its kind gives no build columns");
        }
        if !self.probe_output.is_empty() && !self.kind.has_probe_columns() {
            return wrong("its kind gives no probe columns");
        }
        if self.null_aware && !matches!(self.kind, JoinKind::Mark | JoinKind::Anti) {
            return wrong("its kind cannot be null-aware");
        }
        let both = probe.fields().iter().chain(build.fields()).cloned().collect::<Vec<_>>();
        let both = Schema::new(both);
        self.condition.as_ref().map_or(Ok(()), |condition| condition.check_condition(&both))
    }
}

impl Spec for NestedLoopJoin {
    fn name(&self) -> &'static str {
        "nested_loop_join"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [probe, build] = &take_inputs(inputs.to_vec(), "nested loop join")?;
        self.check(probe, build)?;
        let probe = (probe.as_ref(), &self.probe_output[..]);
        let build = (build.as_ref(), &self.build_output[..]);
        Ok(self.kind.schema(probe, build, self.null_aware))
    }

    fn explain(&self) -> Vec<Field> {
        let mut fields = vec![("kind", self.kind.label().to_string())];
        if let Some(condition) = &self.condition {
            fields.push(("condition", condition.to_string()));
        }
        if self.null_aware {
            fields.push(("nulls", "as in ANY".to_string()));
        }
        fields
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let [probe, build_side] = take_inputs(inputs, "nested loop join")?;
        let schema = self.schema(&[probe.schema.clone(), build_side.schema.clone()])?;
        let shape = Shape::new(self, &probe.schema, &build_side.schema)?;
        let shared = Arc::new(Shared::new(shape));
        let done = build.sink(build_side, Arc::new(BuildSink::new(shared.clone())));
        let transform = Arc::new(ProbeTransform::new(shared.clone()));
        let output = probe.after(&done).then(schema, transform);
        Ok(match self.kind.gives_build_rows() {
            true => output.then_from(Arc::new(BuildRows::new(shared))),
            false => output,
        })
    }
}
