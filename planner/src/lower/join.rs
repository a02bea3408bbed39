//! Joins: which side is built, keys as columns, and the further condition over both sides.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::{DFSchema, JoinType, NullEquality};
use datafusion_expr::logical_plan as df;
use datafusion_expr::{Expr as Logical, LogicalPlan};
use gristmill_engine::expr::{Expr, SortKey};
use gristmill_engine::operators::{Filter, HashJoin, JoinKind, NestedLoopJoin, Sort};
use gristmill_engine::plan::NodeId;
use gristmill_engine::{Error, Result};

use super::join_keys::Keys;
use super::plan::{PlanLowering, all_columns, field_names};
use crate::rules::SingleJoin;

/// A logical join, whichever node it stands in.
pub(super) struct Joined<'a> {
    pub(super) left: &'a LogicalPlan,
    pub(super) right: &'a LogicalPlan,
    /// Pairs of equal expressions, over the left and the right input.
    pub(super) on: &'a [(Logical, Logical)],
    pub(super) filter: Option<&'a Logical>,
    /// The kind with the left side as the probe side, or with the right one if it is `swapped`.
    pub(super) kind: JoinKind,
    pub(super) swapped: bool,
    pub(super) null_equals_null: bool,
    pub(super) null_aware: bool,
}

impl PlanLowering {
    pub(super) fn join(&mut self, join: &df::Join) -> Result<NodeId> {
        let (kind, swapped) = self.sides(join);
        self.joined(&Joined {
            left: &join.left,
            right: &join.right,
            on: &join.on,
            filter: join.filter.as_ref(),
            kind,
            swapped,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            null_aware: join.null_aware,
        })
    }

    /// A subquery that is used as a value.
    pub(super) fn single_join(&mut self, join: &SingleJoin) -> Result<NodeId> {
        self.joined(&Joined {
            left: &join.left,
            right: &join.right,
            on: &join.on,
            filter: join.filter.as_ref(),
            kind: JoinKind::Single,
            swapped: false,
            null_equals_null: false,
            null_aware: false,
        })
    }

    /// The kind of a join and whether its right side is the probe side.
    fn sides(&self, join: &df::Join) -> (JoinKind, bool) {
        let (left, right) = (&join.left, &join.right);
        // What IN means in three-valued logic is found for probe rows only; without keys, probe
        // rows stop at their first match.
        let may_hold = !join.null_aware && !join.on.is_empty();
        match join.join_type {
            JoinType::Inner => (JoinKind::Inner, self.is_better_held(left, right)),
            JoinType::Full => (JoinKind::Full, self.is_better_held(left, right)),
            JoinType::Left if self.is_better_held(left, right) => (JoinKind::Right, true),
            JoinType::Left => (JoinKind::Left, false),
            JoinType::Right if self.is_better_held(right, left) => (JoinKind::Right, false),
            JoinType::Right => (JoinKind::Left, true),
            JoinType::LeftSemi if may_hold && self.is_better_held(left, right) => {
                (JoinKind::RightSemi, true)
            }
            JoinType::LeftSemi => (JoinKind::Semi, false),
            JoinType::RightSemi => (JoinKind::Semi, true),
            JoinType::LeftAnti if may_hold && self.is_better_held(left, right) => {
                (JoinKind::RightAnti, true)
            }
            JoinType::LeftAnti => (JoinKind::Anti, false),
            JoinType::RightAnti => (JoinKind::Anti, true),
            JoinType::LeftMark => (JoinKind::Mark, false),
            JoinType::RightMark => (JoinKind::Mark, true),
        }
    }

    /// A hash join where keys are equal, a nested loop otherwise. Its columns are the left side's
    /// and then the right side's, of those that the kind gives.
    pub(super) fn joined(&mut self, join: &Joined<'_>) -> Result<NodeId> {
        let (left, right) = (self.node(join.left)?, self.node(join.right)?);
        let (left_width, right_width) = (self.width(left)?, self.width(right)?);
        let keys = Keys::of(join);
        let key = |side: &LogicalPlan, e: &Logical| self.expr(e, side.schema());
        let left_keys = keys.on.iter().map(|(l, _)| key(join.left, l));
        let left_keys = left_keys.collect::<Result<_>>()?;
        let right_keys = keys.on.iter().map(|(_, r)| key(join.right, r));
        let right_keys = right_keys.collect::<Result<_>>()?;
        let (left, left_keys) = self.with_columns(left, left_keys)?;
        let (right, right_keys) = self.with_columns(right, right_keys)?;
        let sides = if join.swapped {
            Sides { probe: right, build: left, probe_width: right_width, build_width: left_width }
        } else {
            Sides { probe: left, build: right, probe_width: left_width, build_width: right_width }
        };
        let (probe_keys, build_keys) =
            if join.swapped { (right_keys, left_keys) } else { (left_keys, right_keys) };
        let sides = self.known(sides, &keys.known, join.kind, [&probe_keys, &build_keys])?;
        let condition = self.residual(join, keys.filter.as_ref(), left_width, &sides)?;
        let (kind, null_aware) = (join.kind, join.null_aware);
        let given = |does: bool, width: usize| if does { (0..width).collect() } else { Vec::new() };
        let probe_output = given(kind.has_probe_columns(), sides.probe_width);
        let build_output = given(kind.has_build_columns(), sides.build_width);
        let inputs = [sides.probe, sides.build];
        let node = if keys.on.is_empty() {
            let spec = NestedLoopJoin { kind, condition, probe_output, build_output, null_aware };
            let held = if join.swapped { join.left } else { join.right };
            let build = self.ordered_for(&spec, inputs, held)?;
            self.plan.add(Arc::new(spec), &[sides.probe, build])?
        } else {
            let spec = HashJoin {
                kind,
                probe_keys,
                build_keys,
                residual: condition,
                probe_output,
                build_output,
                null_equals_null: keys.null_equals_null,
                null_aware,
                publishes: None,
            };
            self.plan.add(Arc::new(spec), &inputs)?
        };
        if !(join.swapped && kind.gives_pairs()) {
            return Ok(node);
        }
        let schema = self.plan.node(node)?.schema.clone();
        let (columns, names) = (all_columns(&schema), field_names(&schema));
        let order = (right_width..right_width + left_width).chain(0..right_width);
        let order: Vec<usize> = order.collect();
        let exprs = order.iter().map(|&i| columns[i].clone()).collect();
        self.project(node, exprs, order.iter().map(|&i| names[i].clone()).collect())
    }

    /// The sides, of which one has no NULL among some keys: rows of it come out with a match only.
    fn known(
        &mut self,
        sides: Sides,
        keys: &[usize],
        kind: JoinKind,
        [probe_keys, build_keys]: [&[usize]; 2],
    ) -> Result<Sides> {
        if keys.is_empty() {
            return Ok(sides);
        }
        let keeps_build = kind.gives_build_rows() && kind != JoinKind::RightSemi;
        let (side, columns) =
            if keeps_build { (sides.probe, probe_keys) } else { (sides.build, build_keys) };
        let schema = self.plan.node(side)?.schema.clone();
        let known = keys.iter().map(|&key| {
            let column = columns[key];
            let value = Expr::column(column, schema.field(column).data_type().clone());
            Expr::Not(Box::new(Expr::IsNull(Box::new(value))))
        });
        let filter = Filter { conditions: known.collect() };
        let side = self.plan.add(Arc::new(filter), &[side])?;
        Ok(match keeps_build {
            true => Sides { probe: side, ..sides },
            false => Sides { build: side, ..sides },
        })
    }

    /// The build side of a nested loop, in an order in which few pairs have to be looked at.
    fn ordered_for(
        &mut self,
        spec: &NestedLoopJoin,
        [probe, build]: [NodeId; 2],
        held: &LogicalPlan,
    ) -> Result<NodeId> {
        let column = spec.order_of_build(&self.plan.node(probe)?.schema);
        let is_small = self.profiles.get(held).is_some_and(|held| held.rows < ORDERED_ROWS_MIN);
        let Some(column) = column.filter(|_| !is_small) else { return Ok(build) };
        let keys = vec![SortKey { column, descending: false, nulls_first: false }];
        self.plan.add(Arc::new(Sort { keys }), &[build])
    }

    /// Whether a join costs clearly less when `left` is held and `right` is looked up in it:
    /// the order of the joins has chosen by rows, and knows nothing of their bytes.
    fn is_better_held(&self, left: &LogicalPlan, right: &LogicalPlan) -> bool {
        let (Some(l), Some(r)) = (self.profiles.get(left), self.profiles.get(right)) else {
            return false;
        };
        let (hold_left, hold_right) = (holding(left.schema()), holding(right.schema()));
        l.rows * hold_left + r.rows < CLEARLY * (r.rows * hold_right + l.rows)
    }

    /// The join's further condition, over the columns of the probe side and then the build side
    /// (keys computed for the join included).
    fn residual(
        &self,
        join: &Joined<'_>,
        filter: Option<&Logical>,
        left_width: usize,
        sides: &Sides,
    ) -> Result<Option<Expr>> {
        let Some(filter) = filter else { return Ok(None) };
        let both = join.left.schema().join(join.right.schema());
        let both = both.map_err(|e| Error::internal(e.to_string()))?;
        let probe_columns = self.width(sides.probe)?;
        let place = |column: usize| match (column < left_width, join.swapped) {
            (true, false) => column,
            (false, false) => column - left_width + probe_columns,
            (true, true) => column + probe_columns,
            (false, true) => column - left_width,
        };
        Ok(Some(self.expr(filter, &both)?.map_columns(&place)))
    }

    fn width(&self, node: NodeId) -> Result<usize> {
        Ok(self.plan.node(node)?.schema.fields().len())
    }
}

/// Build rows of a nested loop from which on an order of them pays.
const ORDERED_ROWS_MIN: f64 = 500.0;

/// The share of a cost below which another is clearly less, guesses being what they are.
const CLEARLY: f64 = 0.7;

/// What it costs to hold one row, relative to looking one up: copying it to pages takes time by its
/// bytes, linking it into the table does not.
fn holding(schema: &DFSchema) -> f64 {
    const LINK: f64 = 2.5;
    const BYTES_PER_LOOKUP: f64 = 16.0;
    const TEXT_BYTES: usize = 24;
    let bytes = |field: &Arc<Field>| field.data_type().primitive_width().unwrap_or(TEXT_BYTES);
    let bytes: usize = schema.fields().iter().map(bytes).sum();
    LINK + bytes as f64 / BYTES_PER_LOOKUP
}

/// Which input of a join is probed and which is built, with their widths before keys were added.
struct Sides {
    probe: NodeId,
    build: NodeId,
    probe_width: usize,
    build_width: usize,
}
