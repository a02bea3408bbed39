//! Types of outer references: those that the columns of the query around have by now.
//!
//! A reference keeps the type that the column had when it was bound. Where the sides of a UNION or
//! the branches of a CASE meet in another type, the reference has to follow.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, LogicalPlan, Subquery};

use super::renewed::any_expression;
use crate::rules::has_subquery;

/// The plan with outer references of the types of their columns; whether any had another.
pub(super) fn retyped(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = in_plan(plan, &mut Vec::new())?;
    if !plan.transformed {
        return Ok(plan);
    }
    let recomputed = plan
        .data
        .transform_up_with_subqueries(|node| Ok(Transformed::yes(node.recompute_schema()?)))
        .data()?;
    Ok(Transformed::yes(recomputed))
}

/// `scopes` are the schemas of the queries around, the innermost last.
fn in_plan(plan: LogicalPlan, scopes: &mut Vec<DFSchema>) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up(|node| {
        let mut schema = None;
        if any_expression(&node, has_subquery) {
            schema = Some(merge_schema(&node.inputs()));
        } else if scopes.is_empty() {
            return Ok(Transformed::no(node));
        }
        node.map_expressions(|expr| in_expr(expr, schema.as_ref(), scopes))
    })
}

fn in_expr(
    expr: Expr,
    schema: Option<&DFSchema>,
    scopes: &mut Vec<DFSchema>,
) -> Result<Transformed<Expr>> {
    expr.transform_down(|e| match e {
        Expr::OuterReferenceColumn(field, column) => {
            let found = scopes.iter().rev().find_map(|scope| {
                let index = scope.maybe_index_of_column(&column)?;
                Some(scope.field(index).data_type().clone())
            });
            match found {
                Some(found) if found != *field.data_type() => {
                    let field = Arc::new(field.as_ref().clone().with_data_type(found));
                    Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
                }
                _ => Ok(Transformed::no(Expr::OuterReferenceColumn(field, column))),
            }
        }
        Expr::ScalarSubquery(subquery) => {
            Ok(inside(subquery, schema, scopes)?.update_data(Expr::ScalarSubquery))
        }
        Expr::Exists(Exists { subquery, negated }) => {
            let subquery = inside(subquery, schema, scopes)?;
            Ok(subquery.update_data(|subquery| Expr::Exists(Exists { subquery, negated })))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let subquery = inside(subquery, schema, scopes)?;
            Ok(subquery
                .update_data(|subquery| Expr::InSubquery(InSubquery { expr, subquery, negated })))
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            let subquery = inside(subquery, schema, scopes)?;
            Ok(subquery.update_data(|subquery| {
                Expr::SetComparison(SetComparison { expr, subquery, op, quantifier })
            }))
        }
        other => Ok(Transformed::no(other)),
    })
}

fn inside(
    subquery: Subquery,
    schema: Option<&DFSchema>,
    scopes: &mut Vec<DFSchema>,
) -> Result<Transformed<Subquery>> {
    scopes.push(schema.cloned().unwrap_or_else(DFSchema::empty));
    let plan = in_plan(Arc::unwrap_or_clone(subquery.subquery), scopes)?;
    let references = subquery.outer_ref_columns.into_iter();
    let references = references.map(|expr| in_expr(expr, None, scopes).data());
    let outer_ref_columns = references.collect::<Result<_>>()?;
    scopes.pop();
    Ok(plan.update_data(|plan| Subquery {
        subquery: Arc::new(plan),
        outer_ref_columns,
        spans: subquery.spans,
    }))
}
