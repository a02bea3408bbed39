//! Operands of one type, by the borrowed rewriter, at those nodes only that have something to do.
//!
//! The borrowed rule brings the columns of all inputs together at every node of a plan, and makes
//! every node's schema anew. Here a node is looked at by itself when it has more than columns in
//! its expressions, and its schema is made anew when its own types or those below it changed.
//!
//! Sound: the rewriter leaves columns as they are; what joins, unions and limits need besides is
//! asked for at every one of them.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::expr::Alias;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, ExprSchemable, Join, LogicalPlan};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;

use super::renewed::any_expression;

/// Brings the operands of all expressions of a plan to one type, in subqueries too.
///
/// # Errors
/// When two types have no common one.
pub(super) fn coerced(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(coerced_below(plan)?.data)
}

/// The plan, and whether its schema is another than before.
fn coerced_below(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut is_stale = false;
    let mut child = |child: LogicalPlan| {
        let child = coerced_below(child)?;
        is_stale |= child.transformed;
        Ok(child)
    };
    let plan = plan.map_subqueries(&mut child)?.data.map_children(&mut child)?.data;
    if !is_stale && is_settled(&plan) {
        return Ok(Transformed::no(plan));
    }
    let before = Arc::clone(plan.schema());
    let plan = coerced_here(plan, is_stale)?;
    let is_other = before.as_ref() != plan.schema().as_ref();
    Ok(Transformed::new_transformed(plan, is_other))
}

/// Whether there is nothing to coerce in a node's own expressions.
fn is_settled(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => join.on.is_empty() && join.filter.is_none(),
        LogicalPlan::TableScan(scan) => scan.filters.is_empty(),
        LogicalPlan::Projection(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::EmptyRelation(_) => !any_expression(plan, |expr| !is_column(expr)),
        _ => false,
    }
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Alias(Alias { expr, .. }) => is_column(expr),
        _ => false,
    }
}

/// The keys of a join are all that it has.
fn has_only_column_keys(join: &Join) -> bool {
    join.filter.is_none() && join.on.iter().all(|(left, right)| is_column(left) && is_column(right))
}

/// `is_stale` when a schema below is another than it was.
fn coerced_here(plan: LogicalPlan, is_stale: bool) -> Result<LogicalPlan> {
    let plan = match plan {
        LogicalPlan::Join(join) if has_only_column_keys(&join) => {
            // Keys are looked up in the schemas of their own sides, and change no column.
            let plan = TypeCoercionRewriter::new(&DFSchema::empty()).coerce_join(join)?;
            return if is_stale { plan.recompute_schema() } else { Ok(plan) };
        }
        LogicalPlan::TableScan(scan) => {
            let of_file =
                DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema());
            return rewritten(LogicalPlan::TableScan(scan), &of_file?);
        }
        other => other,
    };
    let inputs = plan.inputs();
    let schema = match inputs.as_slice() {
        [input] => Arc::clone(input.schema()),
        inputs => Arc::new(merge_schema(inputs)),
    };
    rewritten(plan, &schema)
}

/// A node whose expressions read columns of `schema`.
fn rewritten(mut plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    if let LogicalPlan::Filter(filter) = &mut plan {
        // `WHERE NULL`.
        let condition = std::mem::take(&mut filter.predicate);
        filter.predicate = condition.cast_to(&DataType::Boolean, schema)?;
    }
    let mut rewriter = TypeCoercionRewriter::new(schema);
    let names = NamePreserver::new(&plan);
    let plan = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(expr.rewrite(&mut rewriter)?.update_data(|expr| name.restore(expr)))
    })?;
    rewriter.coerce_plan(plan.data)?.recompute_schema()
}
