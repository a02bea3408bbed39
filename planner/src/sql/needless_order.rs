//! ORDER BY of queries in queries, kept where somebody sees it. The standard gives rows of a query
//! in FROM no order; but people write the order into a view or a subquery and take its first rows,
//! or put its texts together, and other engines let them. So rows keep an order through conditions
//! and lists of columns up to what asks for it: the end of a program's query, LIMIT, aggregates of
//! values one behind the other, and windows without an order. Below all else, joins among that, a
//! sort is left out.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_expr::{Aggregate, Distinct, Expr, LogicalPlan, Window};

use super::renewed::any_expression;
use crate::rules::has_subquery;

/// Aggregates whose result is the same in any order of the rows, or how the names of several begin.
/// All others, those of programs among them, see it.
const UNORDERED: [&str; 16] = [
    "approx_",
    "avg",
    "bit_",
    "bool_",
    "corr",
    "count",
    "covar",
    "grouping",
    "max",
    "median",
    "min",
    "percentile_",
    "quantile",
    "regr_",
    "stddev",
    "sum",
];

/// A plan without the sorts that nobody sees.
///
/// # Errors
/// None that is to be expected.
pub(super) fn without_needless_sorts(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut sorts = 0usize;
    plan.apply_with_subqueries(|node| {
        sorts += usize::from(matches!(node, LogicalPlan::Sort(_)));
        Ok(TreeNodeRecursion::Continue)
    })?;
    let is_last = matches!(plan, LogicalPlan::Sort(_));
    if sorts == usize::from(is_last) { Ok(plan) } else { seen(plan, true) }
}

/// The same of a plan whose order `matters` or not.
fn seen(plan: LogicalPlan, matters: bool) -> Result<LogicalPlan> {
    let plan = match plan {
        LogicalPlan::Sort(sort) if !matters && sort.fetch.is_none() => {
            return seen(Arc::unwrap_or_clone(sort.input), false);
        }
        plan => plan,
    };
    let below = match &plan {
        LogicalPlan::Limit(_) | LogicalPlan::Distinct(Distinct::On(_)) => true,
        // Queries in them become joins.
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) => {
            matters && !any_expression(&plan, has_subquery)
        }
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Union(_) => matters,
        LogicalPlan::Aggregate(aggregate) => is_ordered(aggregate),
        LogicalPlan::Window(window) => matters || is_in_order_of_rows(window),
        LogicalPlan::Extension(_) => true,
        _ => false,
    };
    let plan = plan.map_children(|child| seen(child, below).map(Transformed::yes))?.data;
    Ok(plan.map_subqueries(|query| seen(query, false).map(Transformed::yes))?.data)
}

fn is_ordered(aggregate: &Aggregate) -> bool {
    let is_so = |expr: &Expr| match expr {
        Expr::AggregateFunction(call) => {
            let name = call.func.name();
            let is_free = UNORDERED.iter().any(|free| name.starts_with(free));
            call.params.order_by.is_empty() && !is_free && !name.starts_with("var")
        }
        _ => false,
    };
    aggregate.aggr_expr.iter().any(|expr| expr.exists(|e| Ok(is_so(e))).unwrap_or(true))
}

/// Whether a window has rows in the order in which they come.
fn is_in_order_of_rows(window: &Window) -> bool {
    let is_so = |expr: &Expr| match expr {
        Expr::WindowFunction(call) => call.params.order_by.is_empty(),
        _ => false,
    };
    window.window_expr.iter().any(|expr| expr.exists(|e| Ok(is_so(e))).unwrap_or(true))
}
