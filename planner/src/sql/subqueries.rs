//! Subqueries: what the borrowed rules would get wrong, or leave in the plan, is refused by name
//! with its place; a scalar subquery that may give several rows fails when it does.
//!
//! * A mark join (a subquery inside OR, NOT or a SELECT list) knows true and false, no NULL. That
//!   is exact for EXISTS, and for `x IN (…)` where NULL and false come to the same: under AND and
//!   OR of a condition, not under NOT.
//! * A condition that correlates is taken out of the subquery and put to the join, also from below
//!   a window, which would see all rows then.
//! * EXISTS and IN over an aggregate without groups see a row even where nothing correlates; the
//!   rules turn them into joins that do not.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DataFusionError};
use datafusion_expr::expr::{Exists, InSubquery};
use datafusion_expr::logical_plan::{Distinct, Subquery};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator};
use gristmill_engine::{Error, Position, Result};

use super::diagnose::start_of;
use crate::functions::single_value;

/// Refuses the subqueries that the rules would plan wrongly or not at all.
///
/// # Errors
/// `Input` with the name and place of the first one.
pub(super) fn refuse_unplannable(plan: &LogicalPlan) -> Result<()> {
    let mut refusal = None;
    let walked = plan.apply_with_subqueries(|node| {
        refusal = refuse_in_node(node).err();
        Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|e| Error::internal(e.to_string()))?;
    refusal.map_or(Ok(()), Err)
}

/// Refuses what is left of subqueries after the rules.
///
/// # Errors
/// `Input` with the name and place of the first one.
pub(super) fn refuse_remaining(plan: &LogicalPlan) -> Result<()> {
    let mut refusal = None;
    let walked = plan.apply(|node| {
        for expr in node.expressions() {
            refusal = refusal.take().or_else(|| remaining(&expr));
        }
        Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|e| Error::internal(e.to_string()))?;
    refusal.map_or(Ok(()), Err)
}

fn remaining(expr: &Expr) -> Option<Error> {
    let mut refusal = None;
    let _ = expr.apply(|e| {
        let what = match e {
            Expr::ScalarSubquery(_) => "a scalar subquery of this shape",
            Expr::InSubquery(_) => "an IN subquery of this shape",
            Expr::Exists(_) => "an EXISTS subquery of this shape",
            Expr::SetComparison(_) => "a comparison with ANY or ALL of a subquery",
            Expr::OuterReferenceColumn(..) => "a correlated subquery of this shape",
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        refusal = Some(refuse(what, place_of(e)));
        Ok(TreeNodeRecursion::Stop)
    });
    refusal
}

fn refuse(what: &str, position: Option<Position>) -> Error {
    let message = format!("not supported: {what}; write it as a join, or move it to WHERE");
    Error::Input { message, position }
}

fn refuse_in_node(node: &LogicalPlan) -> Result<()> {
    node.expressions().iter().try_for_each(|e| refuse_far_reference(e, node))?;
    node.expressions().iter().try_for_each(refuse_window)?;
    match node {
        LogicalPlan::Filter(filter) => split_conjunction(&filter.predicate)
            .into_iter()
            .try_for_each(|conjunct| match conjunct {
                Expr::Not(inner) if matches!(**inner, Expr::InSubquery(_) | Expr::Exists(_)) => {
                    refuse_aggregate(inner)
                }
                Expr::InSubquery(_) | Expr::Exists(_) => refuse_aggregate(conjunct),
                other => refuse_embedded(other, true),
            }),
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().try_for_each(|e| refuse_any(e, "the SELECT list", true))
        }
        LogicalPlan::Window(_) => {
            node.expressions().iter().try_for_each(|e| refuse_any(e, "a window function", false))
        }
        LogicalPlan::Aggregate(_) => {
            node.expressions().iter().try_for_each(|e| refuse_any(e, "an aggregate", false))
        }
        LogicalPlan::Sort(_) => {
            node.expressions().iter().try_for_each(|e| refuse_any(e, "ORDER BY", false))
        }
        LogicalPlan::Join(_) => {
            node.expressions().iter().try_for_each(|e| refuse_any(e, "a join condition", false))
        }
        other => other.expressions().iter().try_for_each(|e| refuse_any(e, "this clause", false)),
    }
}

/// Refuses a subquery that refers to a query further out than the one it stands in: the rules join
/// it to the nearest.
fn refuse_far_reference(expr: &Expr, node: &LogicalPlan) -> Result<()> {
    let mut far = None;
    let _ = expr.apply(|e| {
        let (Expr::ScalarSubquery(subquery)
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::Exists(Exists { subquery, .. })) = e
        else {
            return Ok(TreeNodeRecursion::Continue);
        };
        far = far.take().or_else(|| {
            subquery.outer_ref_columns.iter().find_map(|reference| match reference {
                Expr::OuterReferenceColumn(_, column) => {
                    let near = node.inputs().iter().any(|input| input.schema().has_column(column));
                    (!near).then(|| (column.flat_name(), place_of(e)))
                }
                _ => None,
            })
        });
        Ok(TreeNodeRecursion::Continue)
    });
    match far {
        Some((name, place)) => Err(refuse(
            &format!("a subquery that refers to `{name}` of a query more than one level out"),
            place,
        )),
        None => Ok(()),
    }
}

/// Refuses a subquery with a window over rows that depend on an outer query's.
fn refuse_window(expr: &Expr) -> Result<()> {
    let mut refusal = None;
    let _ = expr.apply(|e| {
        if let Expr::ScalarSubquery(subquery)
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::Exists(Exists { subquery, .. }) = e
            && !subquery.outer_ref_columns.is_empty()
            && subquery.subquery.exists(|node| Ok(is_correlated_window(node))).unwrap_or(true)
        {
            let what = "a window function over the rows of a correlated subquery";
            refusal = Some(refuse(what, place_of(e)));
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    refusal.map_or(Ok(()), Err)
}

fn is_correlated_window(node: &LogicalPlan) -> bool {
    matches!(node, LogicalPlan::Window(_)) && !node.all_out_ref_exprs().is_empty()
}

/// `decides` says that NULL and false come to the same here.
fn refuse_embedded(expr: &Expr, decides: bool) -> Result<()> {
    match expr {
        Expr::InSubquery(InSubquery { negated: false, .. }) if decides => refuse_aggregate(expr),
        Expr::InSubquery(InSubquery { negated, .. }) => {
            let name = if *negated { "NOT IN (subquery)" } else { "IN (subquery)" };
            Err(refuse(&format!("{name} inside a larger condition"), place_of(expr)))
        }
        Expr::Exists(_) => refuse_aggregate(expr),
        Expr::SetComparison(_) => {
            Err(refuse("a comparison with ANY or ALL of a subquery", place_of(expr)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            refuse_embedded(left, decides)?;
            refuse_embedded(right, decides)
        }
        other => {
            let mut children: Vec<&Expr> = Vec::new();
            let _ = other.apply_children(|child| {
                children.push(child);
                Ok(TreeNodeRecursion::Continue)
            });
            children.into_iter().try_for_each(|child| refuse_embedded(child, false))
        }
    }
}

fn refuse_any(expr: &Expr, place: &str, scalar_allowed: bool) -> Result<()> {
    let mut refusal = None;
    let _ = expr.apply(|e| {
        let what = match e {
            Expr::InSubquery(_) => "IN (subquery)",
            Expr::Exists(_) => "EXISTS",
            Expr::SetComparison(_) => "ANY or ALL of a subquery",
            Expr::ScalarSubquery(_) if !scalar_allowed => "a scalar subquery",
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        refusal = Some(refuse(&format!("{what} in {place}"), place_of(e)));
        Ok(TreeNodeRecursion::Stop)
    });
    refusal.map_or(Ok(()), Err)
}

/// Refuses a correlated EXISTS or IN over an aggregate without groups.
fn refuse_aggregate(expr: &Expr) -> Result<()> {
    let (Expr::InSubquery(InSubquery { subquery, .. }) | Expr::Exists(Exists { subquery, .. })) =
        expr
    else {
        return Ok(());
    };
    if !subquery.outer_ref_columns.is_empty() && is_global_aggregate(&subquery.subquery) {
        return Err(refuse("a correlated subquery over an aggregate", place_of(expr)));
    }
    Ok(())
}

fn is_global_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Distinct(Distinct::All(input)) => is_global_aggregate(input),
        LogicalPlan::Projection(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_) => plan.inputs().into_iter().any(is_global_aggregate),
        _ => false,
    }
}

/// Where an expression stands in the text: at its first name that has a place.
pub(super) fn place_of(expr: &Expr) -> Option<Position> {
    let mut place = None;
    let _ = expr.apply(|e| {
        let spans = match e {
            Expr::ScalarSubquery(subquery)
            | Expr::InSubquery(InSubquery { subquery, .. })
            | Expr::Exists(Exists { subquery, .. }) => Some(&subquery.spans),
            Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => Some(&column.spans),
            _ => None,
        };
        place = spans.and_then(|spans| spans.first()).as_ref().map(start_of);
        Ok(if place.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    place
}

/// Makes every uncorrelated scalar subquery one that gives exactly one row, failing when there are
/// more: `(SELECT x FROM t)` becomes `(SELECT single_value(x) FROM t)`.
pub(super) fn guard_scalar_subqueries(plan: LogicalPlan) -> datafusion_common::Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| expr.transform_up(guard_scalar))
    })
    .data()
}

fn guard_scalar(expr: Expr) -> Result<Transformed<Expr>, DataFusionError> {
    match expr {
        Expr::ScalarSubquery(subquery)
            if subquery.outer_ref_columns.is_empty()
                && subquery.subquery.max_rows().is_none_or(|rows| rows > 1)
                && subquery.subquery.schema().fields().len() == 1 =>
        {
            let input = subquery.subquery.as_ref().clone();
            let (qualifier, field) = input.schema().qualified_field(0);
            let column = Column::new(qualifier.cloned(), field.name());
            let name = field.name().clone();
            let value = single_value().call(vec![Expr::Column(column)]);
            let plan = LogicalPlanBuilder::from(input)
                .aggregate(Vec::<Expr>::new(), vec![value.alias(name)])?
                .build()?;
            let guarded = Subquery { subquery: Arc::new(plan), ..subquery };
            Ok(Transformed::yes(Expr::ScalarSubquery(guarded)))
        }
        other => Ok(Transformed::no(other)),
    }
}
