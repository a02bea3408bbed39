//! ORDER BY of queries in queries, kept where somebody sees it. The standard gives rows of a query
//! in FROM no order; but people write the order into a view or a subquery and take its first rows,
//! or put its texts together, and other engines let them. So rows keep an order through conditions
//! and lists of columns up to what asks for it: the end of a program's query, LIMIT, aggregates of
//! values one behind the other, and windows over all rows. Below all else a sort is left out.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_expr::{Aggregate, Distinct, Expr, LogicalPlan, Window};

/// Aggregates whose result depends on the order of the rows.
const ORDERED: [&str; 8] = [
    "any_value",
    "array_agg",
    "first",
    "first_value",
    "last",
    "last_value",
    "nth_value",
    "string_agg",
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
    let mut plan = plan;
    while !matters && let LogicalPlan::Sort(sort) = plan {
        if sort.fetch.is_some() {
            plan = LogicalPlan::Sort(sort);
            break;
        }
        plan = Arc::unwrap_or_clone(sort.input);
    }
    let below = match &plan {
        LogicalPlan::Limit(_) | LogicalPlan::Distinct(Distinct::On(_)) => true,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Union(_) => matters,
        LogicalPlan::Aggregate(aggregate) => is_ordered(aggregate),
        LogicalPlan::Window(window) => matters || is_over_all(window),
        LogicalPlan::Extension(_) => true,
        _ => false,
    };
    let plan = plan.map_children(|child| seen(child, below).map(Transformed::yes))?.data;
    Ok(plan.map_subqueries(|query| seen(query, false).map(Transformed::yes))?.data)
}

fn is_ordered(aggregate: &Aggregate) -> bool {
    let is_so = |expr: &Expr| match expr {
        Expr::AggregateFunction(call) => {
            call.params.order_by.is_empty() && ORDERED.contains(&call.func.name())
        }
        _ => false,
    };
    aggregate.aggr_expr.iter().any(|expr| expr.exists(|e| Ok(is_so(e))).unwrap_or(true))
}

/// Whether a window has all rows in the order in which they come.
fn is_over_all(window: &Window) -> bool {
    let is_so = |expr: &Expr| match expr {
        Expr::WindowFunction(call) => call.params.order_by.is_empty(),
        _ => false,
    };
    window.window_expr.iter().any(|expr| expr.exists(|e| Ok(is_so(e))).unwrap_or(true))
}
