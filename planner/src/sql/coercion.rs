//! Operands of one type, by the borrowed rewriter, at those nodes only that have something to do.
//!
//! The borrowed rule brings the columns of all inputs together at every node of a plan, and makes
//! every node's schema anew. Here a node's expressions are looked at when there is more than
//! columns in them, and its schema is made anew when it may have other types than those below.
//!
//! Sound: the rewriter leaves columns as they are; what joins, unions and limits need besides is
//! asked for at every one of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
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
    let mut child = |child: LogicalPlan| coerced(child).map(Transformed::yes);
    let plan = plan.map_subqueries(&mut child)?.data.map_children(&mut child)?.data;
    if has_only_columns(&plan) {
        return if is_fresh(&plan) { Ok(plan) } else { plan.recompute_schema() };
    }
    match plan {
        LogicalPlan::Join(join) if has_only_column_keys(&join) => {
            // Keys are looked up in the schemas of their own sides, and change no column.
            let plan = TypeCoercionRewriter::new(&DFSchema::empty()).coerce_join(join)?;
            if is_fresh(&plan) { Ok(plan) } else { plan.recompute_schema() }
        }
        LogicalPlan::TableScan(scan) => {
            let of_file =
                DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema());
            rewritten(LogicalPlan::TableScan(scan), &of_file?)
        }
        plan => {
            let inputs = plan.inputs();
            let schema = match inputs.as_slice() {
                [input] => Arc::clone(input.schema()),
                inputs => Arc::new(merge_schema(inputs)),
            };
            rewritten(plan, &schema)
        }
    }
}

/// Whether there is nothing to coerce in a node's own expressions.
fn has_only_columns(plan: &LogicalPlan) -> bool {
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

fn has_only_column_keys(join: &Join) -> bool {
    join.filter.is_none() && join.on.iter().all(|(left, right)| is_column(left) && is_column(right))
}

/// Whether a node's schema is known to have the types of its inputs; rules may have changed those
/// and not the nodes above them.
fn is_fresh(plan: &LogicalPlan) -> bool {
    let same = |below: &mut dyn Iterator<Item = &FieldRef>| {
        plan.schema().fields().iter().zip(below).all(|(field, below)| {
            Arc::ptr_eq(field, below) || field.data_type() == below.data_type()
        })
    };
    match plan {
        LogicalPlan::Join(join) => {
            let (left, right) = (join.left.schema(), join.right.schema());
            same(&mut left.fields().iter().chain(right.fields()))
        }
        LogicalPlan::SubqueryAlias(alias) => same(&mut alias.input.schema().fields().iter()),
        LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Subquery(_) => true,
        _ => false,
    }
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
