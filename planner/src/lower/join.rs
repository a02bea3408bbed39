//! Joins: which side is built, keys as columns, and the further condition over both sides.

use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_common::{DFSchema, JoinType, NullEquality};
use datafusion_expr::logical_plan as df;
use datafusion_expr::{Expr as Logical, LogicalPlan};
use gristmill_engine::expr::Expr;
use gristmill_engine::operators::{HashJoin, JoinKind};
use gristmill_engine::plan::NodeId;
use gristmill_engine::{Error, Result};

use super::plan::{PlanLowering, all_columns, field_names};

impl PlanLowering {
    pub(super) fn join(&mut self, join: &df::Join) -> Result<NodeId> {
        use JoinType::{Inner, Left, LeftAnti, LeftSemi, Right, RightAnti, RightSemi};
        let (kind, swapped) = match join.join_type {
            Inner => (JoinKind::Inner, self.is_better_held(&join.left, &join.right)),
            Left => (JoinKind::Left, false),
            LeftSemi => (JoinKind::Semi, false),
            LeftAnti if !join.null_aware => (JoinKind::Anti, false),
            Right => (JoinKind::Left, true),
            RightSemi => (JoinKind::Semi, true),
            RightAnti if !join.null_aware => (JoinKind::Anti, true),
            LeftAnti | RightAnti => return Err(Error::input("NOT IN (subquery) is not supported")),
            other => return Err(Error::input(format!("{other} joins are not supported"))),
        };
        let (left, right) = (self.node(&join.left)?, self.node(&join.right)?);
        let (left_width, right_width) = (self.width(left)?, self.width(right)?);
        let key = |side: &LogicalPlan, e: &Logical| self.expr(e, side.schema());
        let left_keys = join.on.iter().map(|(l, _)| key(&join.left, l));
        let left_keys = left_keys.collect::<Result<_>>()?;
        let right_keys = join.on.iter().map(|(_, r)| key(&join.right, r));
        let right_keys = right_keys.collect::<Result<_>>()?;
        let (left, left_keys) = self.with_columns(left, left_keys)?;
        let (right, right_keys) = self.with_columns(right, right_keys)?;
        let sides = if swapped {
            Sides { probe: right, build: left, probe_width: right_width, build_width: left_width }
        } else {
            Sides { probe: left, build: right, probe_width: left_width, build_width: right_width }
        };
        let (probe_keys, build_keys) =
            if swapped { (right_keys, left_keys) } else { (left_keys, right_keys) };
        let residual = self.residual(join, left_width, swapped, &sides)?;
        let pairs = matches!(kind, JoinKind::Inner | JoinKind::Left);
        let spec = HashJoin {
            kind,
            probe_keys,
            build_keys,
            residual,
            probe_output: (0..sides.probe_width).collect(),
            build_output: if pairs { (0..sides.build_width).collect() } else { Vec::new() },
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            publishes: None,
        };
        let node = self.plan.add(Arc::new(spec), &[sides.probe, sides.build])?;
        if !(swapped && pairs) {
            return Ok(node);
        }
        let schema = self.plan.node(node)?.schema.clone();
        let (columns, names) = (all_columns(&schema), field_names(&schema));
        let order = (right_width..right_width + left_width).chain(0..right_width);
        let order: Vec<usize> = order.collect();
        let exprs = order.iter().map(|&i| columns[i].clone()).collect();
        self.project(node, exprs, order.iter().map(|&i| names[i].clone()).collect())
    }

    /// Whether an inner join costs clearly less when `left` is held and `right` is looked up in it:
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
        join: &df::Join,
        left_width: usize,
        swapped: bool,
        sides: &Sides,
    ) -> Result<Option<Expr>> {
        let Some(filter) = &join.filter else { return Ok(None) };
        let both = join.left.schema().join(join.right.schema());
        let both = both.map_err(|e| Error::internal(e.to_string()))?;
        let probe_columns = self.width(sides.probe)?;
        let place = |column: usize| match (column < left_width, swapped) {
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
