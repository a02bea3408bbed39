//! `expand_distinct_on`: DISTINCT ON as a group-by of the first rows.
//!
//! ```sql
//! SELECT DISTINCT ON (a) b, c FROM t ORDER BY a, d
//! -- is
//! SELECT first_value(b ORDER BY a, d), first_value(c ORDER BY a, d) FROM t GROUP BY a ORDER BY a
//! ```
//!
//! Sound: all values are of one row, since equal orders pick the same one; NULLs of that row are
//! kept. One row is left for each key, so the order of the keys is the order of the result.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::tree_node::Transformed;
use datafusion_expr::expr_rewriter::normalize_cols;
use datafusion_expr::logical_plan::{
    Aggregate, Distinct, DistinctOn, LogicalPlan, Projection, Sort,
};
use datafusion_expr::{Expr, ExprFunctionExt, SortExpr};
use datafusion_functions_aggregate::first_last::first_value_udaf;

/// The rule's name in explain.
pub(crate) const EXPAND_DISTINCT_ON: &str = "expand_distinct_on";

/// Expands every DISTINCT ON of a bound plan.
pub(crate) fn expand_distinct_on(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Distinct(Distinct::On(distinct)) => Ok(Transformed::yes(expanded(distinct)?)),
        other => Ok(Transformed::no(other)),
    })
}

fn expanded(distinct: DistinctOn) -> Result<LogicalPlan> {
    let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = distinct;
    let sort_expr = sort_expr.unwrap_or_default();
    // The binder looks up names without a table only.
    for column in sort_expr.iter().flat_map(|key| key.expr.column_refs()) {
        input.schema().index_of_column(column)?;
    }
    let mut keys: Vec<Expr> = Vec::new();
    for key in normalize_cols(on_expr, &input)? {
        // A key that is there twice would be one column.
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let firsts = select_expr.into_iter().enumerate().map(|(number, expr)| {
        let first = first_value_udaf().call(vec![expr.unalias()]);
        let first = match sort_expr.is_empty() {
            true => first,
            false => first.order_by(sort_expr.clone()).build()?,
        };
        Ok(first.alias(format!("__first_{number}")))
    });
    let firsts = normalize_cols(firsts.collect::<Result<Vec<Expr>>>()?, &input)?;
    let groups = LogicalPlan::Aggregate(Aggregate::try_new(input, keys.clone(), firsts)?);
    let columns = groups.schema().columns();
    let order = sort_expr.iter().map_while(|key| {
        let place = keys.iter().position(|expr| *expr == key.expr)?;
        Some(SortExpr { expr: Expr::Column(columns.get(place)?.clone()), ..key.clone() })
    });
    let order: Vec<SortExpr> = order.collect();
    let results = columns.iter().skip(keys.len()).zip(schema.iter());
    let results = results.map(|(column, (qualifier, field))| {
        Expr::Column(column.clone()).alias_qualified(qualifier.cloned(), field.name())
    });
    let results: Vec<Expr> = results.collect();
    let rows = match order.is_empty() {
        true => groups,
        false => LogicalPlan::Sort(Sort { expr: order, input: Arc::new(groups), fetch: None }),
    };
    Ok(LogicalPlan::Projection(Projection::try_new(results, Arc::new(rows))?))
}
