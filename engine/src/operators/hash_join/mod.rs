//! Joins its two inputs on equal keys.
//!
//! Phases, of two pipelines:
//! 1. **Build**: the workers store the rows of the build side in row pages, each its own (`build`).
//! 2. **Directory**: when all rows are known (`store`), tasks fill the pieces of a directory
//!    (`finish`, `fill`): by slot when the keys' ordinals are dense (`dense`, `kept`), by hash
//!    otherwise (`hashed`). The last one makes the [`table::Table`] and publishes the key filter.
//! 3. **Probe**: each chunk of the other side looks its keys up (`matcher`), follows groups of
//!    equal keys (`matches`), of large ones those only that the residual may let pass
//!    (`group_bounds`), drops pairs that fail it (`existence`, where one match is enough), and
//!    leaves with a selection or indices over the columns it had (`probe`); the build columns are
//!    fetched last (`emit`).
//!
//! ```text
//! build side ─► BuildSink ── row pages ──► finish tasks ──► Table ──► key filter ──► scans
//!                                                             │
//! probe side ────────────────────────────────────────► ProbeTransform ─► …
//! ```
//!
//! When memory is short the build rows are moved to tape, all of them, in lanes by their keys
//! (`lanes`, `lane_key`), and found again by `stretches`.
//! The probe then stores its rows in the same way (`probe_store`), and a source that comes after
//! it joins lane by lane (`lane_rows`), each with a table of its own (`lane_table`) that its probe
//! rows, read back by `lane_reader`, pass through (`lane_join`).
//!
//! ```text
//! build side ─► BuildSink ─► lanes on tape ───────┐
//! probe side ─► StoreProbe ─► lanes on tape ─────►│─► lane by lane: Table, ProbeWorker ─► …
//! ```
//!
//! Invariants:
//! 1. Rows come out in the order of the probe side, the matches of one row in the order of the
//!    build side, whatever the number of threads. When the build side is out of memory they come
//!    lane by lane, and in this order within a lane that is joined at once.
//! 2. No value of a probe column is copied, except into chunks with few rows left.
//! 3. A NULL among the keys matches nothing, unless `null_equals_null`.
//! 4. A build row counts as matched only by a pair that passes the residual.
//!
//! Memory: pages, directory and payload arrays are charged to one holder, `hash join build`, and
//! freed with the table. A join moves its build rows out of memory when it is refused a page or
//! room for the directory, when others need the memory, and when it would hold more than it leaves
//! to others: they may have no other way. Without a limit it never does.
//! Concurrency: workers share nothing while they build or probe; a task owns its piece.
//!
//! Joins that give build rows by whether they have a match (right, full, right semi, right anti)
//! set a bit for each row that has one beside the table, and a source that reads the bits becomes a
//! second arm of the stream (`build_rows`): its rows come after all pairs, in the order of the
//! build side. The same arm gives all rows of a join whose build side is out of memory.
//! Mark joins are semi joins that emit the flags that those select by. Null-aware ones
//! look into two more tables (`null_aware`).

mod build;
mod build_rows;
mod dense;
mod emit;
mod existence;
mod fill;
mod finish;
mod group_bounds;
mod groups;
mod hashed;
mod kept;
mod lane_join;
mod lane_key;
mod lane_reader;
mod lane_rows;
mod lane_table;
mod lanes;
mod matcher;
mod matches;
mod null_aware;
mod probe;
mod probe_store;
mod shape;
mod store;
mod stretches;
mod table;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::batch::{KeyFilterId, physical_type};
use crate::error::{Error, Result};
use crate::expr::{Expr, Functions};
use crate::operators::JoinKind;
use crate::plan::{Build, Field, Spec, Stream, from_fields_with, take_inputs, to_fields};

use build::BuildSink;
use build_rows::BuildRows;
use null_aware::Members;
use probe::ProbeTransform;
use shape::{Shape, Shared};

/// An equi-join; its inputs are the probe side and the build side. Gives the columns
/// `probe_output` of the one, then `build_output` of the other; a mark join gives a Boolean column
/// named `mark` instead of the latter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HashJoin {
    /// Which rows it gives.
    pub kind: JoinKind,
    /// Key columns of the probe side; may be empty: then every pair has equal keys.
    pub probe_keys: Vec<usize>,
    /// Key columns of the build side, of the same types.
    pub build_keys: Vec<usize>,
    /// A condition that pairs with equal keys must pass too, over the probe side's columns followed
    /// by the build side's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<Expr>,
    /// Probe columns to give, in order; none for right semi and right anti joins.
    pub probe_output: Vec<usize>,
    /// Build columns to give, in order; none for semi, anti and mark joins.
    pub build_output: Vec<usize>,
    /// Whether NULL equals NULL in keys (`IS NOT DISTINCT FROM`).
    #[serde(default)]
    pub null_equals_null: bool,
    /// Whether a mark or anti join means `key 0 IN (…)` in three-valued logic, the list being the
    /// build rows that agree on the other keys and pass the residual. A mark is then NULL where IN
    /// is, and an anti join gives the rows for which IN is FALSE.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub null_aware: bool,
    /// The key filter to publish when the build side is done. Scans of the probe side that name it
    /// leave out rows whose keys do not occur: see [`JoinKind::drops_unmatched_probe`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishes: Option<KeyFilterId>,
}

impl HashJoin {
    /// Reads the spec from its JSON fields; for the registry.
    ///
    /// # Errors
    /// `Input` when the fields are not those of a join, or name a function that is not registered.
    pub fn from_json(fields: Value, functions: &Functions) -> Result<Arc<dyn Spec>> {
        from_fields_with(fields, |join: &mut HashJoin| {
            join.residual.as_mut().map_or(Ok(()), |residual| residual.resolve(functions))
        })
    }

    fn check(&self, probe: &Schema, build: &Schema) -> Result<()> {
        let wrong = |what: String| Err(Error::internal(format!("hash join: {what}")));
        if self.probe_keys.len() != self.build_keys.len() {
            return wrong("its inputs have different numbers of keys".to_string());
        }
        let reads = self.residual.as_ref().map(Expr::columns).unwrap_or_default();
        let width = probe.fields().len() + build.fields().len();
        let probe_reads = self.probe_keys.iter().chain(&self.probe_output);
        let build_reads = self.build_keys.iter().chain(&self.build_output);
        if probe_reads.clone().any(|&c| c >= probe.fields().len())
            || build_reads.clone().any(|&c| c >= build.fields().len())
            || reads.iter().any(|&c| c >= width)
        {
            return wrong("it reads a column that its input does not have".to_string());
        }
        for (&p, &b) in self.probe_keys.iter().zip(&self.build_keys) {
            let (left, right) = (probe.field(p).data_type(), build.field(b).data_type());
            if !comparable(left, right) {
                return wrong(format!("keys of types {left} and {right}"));
            }
        }
        self.check_kind().or_else(wrong)?;
        match &self.residual {
            Some(residual) if residual.data_type() != DataType::Boolean => {
                wrong("its residual is not a condition".to_string())
            }
            _ => Ok(()),
        }
    }

    /// Whether the fields go with the kind; what is wrong otherwise.
    fn check_kind(&self) -> std::result::Result<(), String> {
        let (kind, label) = (self.kind, self.kind.label());
        if !self.build_output.is_empty() && !kind.has_build_columns() {
            return Err(format!("a {label} join gives no build columns"));
        }
        if !self.probe_output.is_empty() && !kind.has_probe_columns() {
            return Err(format!("a {label} join gives no probe columns"));
        }
        if self.publishes.is_some() && !kind.drops_unmatched_probe() {
            return Err(format!("a {label} join keeps rows without match"));
        }
        let is_in = matches!(kind, JoinKind::Mark | JoinKind::Anti) && !self.null_equals_null;
        if self.null_aware && (!is_in || self.probe_keys.is_empty()) {
            return Err(format!("a {label} join cannot be null-aware"));
        }
        Ok(())
    }
}

/// Whether two columns hold their values in the same way, up to the width of decimals.
fn comparable(left: &DataType, right: &DataType) -> bool {
    use DataType::{Decimal64, Decimal128, Decimal256};
    let (left, right) = (physical_type(left), physical_type(right));
    match (&left, &right) {
        (
            Decimal64(_, a) | Decimal128(_, a) | Decimal256(_, a),
            Decimal64(_, b) | Decimal128(_, b) | Decimal256(_, b),
        ) => a == b,
        _ => left == right,
    }
}

impl Spec for HashJoin {
    fn name(&self) -> &'static str {
        "hash_join"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [probe, build] = &take_inputs(inputs.to_vec(), "hash join")?;
        self.check(probe, build)?;
        let probe = (probe.as_ref(), &self.probe_output[..]);
        let build = (build.as_ref(), &self.build_output[..]);
        Ok(self.kind.schema(probe, build, self.null_aware))
    }

    fn explain(&self) -> Vec<Field> {
        let keys: Vec<String> = self
            .probe_keys
            .iter()
            .zip(&self.build_keys)
            .map(|(p, b)| format!("#{p} = build #{b}"))
            .collect();
        let mut fields = vec![("kind", self.kind.label().to_string()), ("keys", keys.join(", "))];
        if let Some(residual) = &self.residual {
            fields.push(("residual", residual.to_string()));
        }
        if self.null_equals_null {
            fields.push(("nulls", "equal".to_string()));
        }
        if self.null_aware {
            fields.push(("nulls", "as in IN".to_string()));
        }
        if let Some(id) = self.publishes {
            fields.push(("publishes filter", id.0.to_string()));
        }
        fields
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let [probe, build_side] = take_inputs(inputs, "hash join")?;
        let schema = self.schema(&[probe.schema.clone(), build_side.schema.clone()])?;
        let shape = Shape::new(self, &probe.schema, &build_side.schema)?;
        // Without a limit nothing is ever refused.
        let may_spill = build.query.memory.limit() < usize::MAX;
        let members = Members::new(self, &probe.schema, &build_side.schema, may_spill)?;
        let slot = self.publishes.map(|id| build.key_filter(id));
        let shared = Arc::new(Shared::new(shape, slot, may_spill));
        let mut tables = vec![shared.clone()];
        tables.extend(members.iter().flat_map(|m| [m.any.clone(), m.null.clone()]));
        let done = build.sink(build_side, Arc::new(BuildSink::new(tables)));
        if let Some(id) = self.publishes {
            build.publish_key_filter(id, &done);
        }
        let transform = Arc::new(ProbeTransform::new(shared.clone(), members.clone()));
        let output = probe.after(&done).then(schema, transform);
        Ok(match self.kind.gives_build_rows() || shared.spills {
            true => {
                let rows = BuildRows::new(shared, members, &build.query.memory);
                output.then_from(Arc::new(rows))
            }
            false => output,
        })
    }
}
