//! `draw_once`: volatile values that rules would write twice are columns.
//!
//! `floor(random() * 3) = 1` becomes a comparison of `random() * 3` with two bounds, BETWEEN is two
//! comparisons, IN several, CASE with an operand compares it with one value after another, and
//! `coalesce` asks for NULL before it gives a value. Each occurrence would be drawn anew. So the
//! volatile calls in such places are columns of a projection below:
//!
//! ```text
//! Filter: floor(random() * 3) = 1       Projection: t.a
//!   TableScan: t                          Filter: floor(drawn * 3) = 1
//!                                           Projection: t.a, random() AS drawn
//!                                             TableScan: t
//! ```
//!
//! Sound: the call is made once for each row that the expression is for, and no rule writes the
//! definition of a volatile column in its place. A call that can fail would be made for rows too
//! that a condition before it drops: it is refused. A condition of an inner join is one of
//! WHERE; in that of another join, whose rows come from two inputs, such a call is refused.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchemaRef, JoinType, Result, plan_err};
use datafusion_expr::expr::{Between, Case, Cast, InList, TryCast};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::{
    Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection, Union, Values,
};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr};

use crate::fallible::is_fallible;
use crate::functions::{is_random, is_random_call};
use crate::sql::any_expression;

/// The rule's name in explain.
pub(crate) const DRAW_ONCE: &str = "draw_once";

/// The function that is simplified to what has an argument twice.
const ASKED_TWICE: &str = "coalesce";

/// Makes columns of the volatile calls of a plan without subqueries.
pub(crate) fn draw_once(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut count = 0;
    plan.transform_up(|node| {
        if !any_expression(&node, has_place) {
            return Ok(Transformed::no(node));
        }
        match node {
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
                drawn(conditions_above(join)?, &mut count)
            }
            node if node.inputs().len() == 1 => drawn(node, &mut count),
            LogicalPlan::Values(values) => drawn_values(values, &mut count),
            _ => plan_err!(
                "random() and its kin within the condition of an outer join, in an operand of a \
                 comparison, BETWEEN, IN or CASE; compute it in a subquery first"
            ),
        }
    })
}

/// Rows of values as projections of one row each.
fn drawn_values(values: Values, count: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let names: Vec<String> = values.schema.fields().iter().map(|f| f.name().clone()).collect();
    let rows = values.values.into_iter().map(|row| {
        let row = row.into_iter().zip(&names).map(|(value, name)| value.alias(name));
        let row = LogicalPlanBuilder::empty(true).project(row)?.build()?;
        Ok(Arc::new(drawn(row, count)?.data))
    });
    let mut rows = rows.collect::<Result<Vec<_>>>()?;
    let plan = match rows.len() {
        1 => Arc::unwrap_or_clone(rows.remove(0)),
        _ => LogicalPlan::Union(Union { inputs: rows, schema: values.schema }),
    };
    Ok(Transformed::yes(plan))
}

/// An inner join whose volatile conditions are a filter of what it gives.
fn conditions_above(mut join: Join) -> Result<LogicalPlan> {
    let conditions = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
    let (above, within): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(is_random);
    join.filter = conjunction(within);
    let join = Arc::new(LogicalPlan::Join(join));
    match conjunction(above) {
        Some(above) => Ok(LogicalPlan::Filter(Filter::try_new(above, join)?)),
        None => {
            plan_err!("random() and its kin in a key of a join; compute it in a subquery first")
        }
    }
}

fn drawn(node: LogicalPlan, count: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let (input, schema) = (node.inputs()[0].clone(), Arc::clone(node.schema()));
    let mut draws = Draws { schema: Arc::clone(input.schema()), count, columns: Vec::new() };
    let names = NamePreserver::new(&node);
    let node = node.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(draws.in_places(expr)?.update_data(|expr| name.restore(expr)))
    })?;
    if draws.columns.is_empty() {
        return Ok(Transformed::no(node.data));
    }
    let mut columns: Vec<Expr> = draws.schema.iter().map(Expr::from).collect();
    columns.extend(draws.columns);
    let below = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?);
    let expressions = node.data.expressions();
    let mut plan = node.data.with_new_exprs(expressions, vec![below])?;
    if plan.schema() != &schema {
        let columns = schema.iter().map(Expr::from).collect();
        plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
    }
    Ok(Transformed::yes(plan))
}

/// Whether an operand of this expression, or of one in it, may be written twice and is volatile.
fn has_place(expr: &Expr) -> bool {
    expr.exists(|e| Ok(is_place(e))).unwrap_or(false)
}

fn is_place(expr: &Expr) -> bool {
    match expr {
        Expr::Between(Between { expr, .. })
        | Expr::InList(InList { expr, .. })
        | Expr::Case(Case { expr: Some(expr), .. }) => is_random(expr),
        // A comparison of a function becomes one or two of its argument.
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            [left, right].into_iter().any(|side| is_function(side) && is_random(side))
        }
        Expr::ScalarFunction(call) if call.name() == ASKED_TWICE => call.args.iter().any(is_random),
        _ => false,
    }
}

/// Whether an expression is a call of something else than what may give another value each time.
fn is_function(expr: &Expr) -> bool {
    match expr {
        Expr::Cast(Cast { expr, .. }) | Expr::TryCast(TryCast { expr, .. }) => is_function(expr),
        other => matches!(other, Expr::ScalarFunction(_)) && !is_random_call(other),
    }
}

/// The columns that the calls of a node's expressions become.
struct Draws<'a> {
    schema: DFSchemaRef,
    count: &'a mut usize,
    columns: Vec<Expr>,
}

impl Draws<'_> {
    /// The expression, with columns for the calls in such places.
    fn in_places(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        expr.transform_down(|e| match is_place(&e) {
            true => e.map_children(|operand| self.calls(operand)),
            false => Ok(Transformed::no(e)),
        })
    }

    /// An operand, with a column for each of its calls.
    fn calls(&mut self, operand: Expr) -> Result<Transformed<Expr>> {
        operand.transform_up(|e| {
            if !is_random_call(&e) {
                return Ok(Transformed::no(e));
            }
            if e.any_column_refs() && is_fallible(&e, &self.schema) {
                return plan_err!(
                    "{e} may be something else each time, and rules would write it more than once \
                     here; compute it in a subquery first"
                );
            }
            *self.count += 1;
            let name = format!("!drawn {}", self.count);
            self.columns.push(e.alias(&name));
            Ok(Transformed::yes(Expr::Column(Column::new_unqualified(name))))
        })
    }
}
