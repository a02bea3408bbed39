//! `expand_not_in`: NOT IN with NULLs, out of parts that know nothing of NULLs.
//!
//! `x NOT IN (Q)` is true when Q has no row; and when no value of Q equals x, none is NULL, and x
//! is not NULL. As a condition of WHERE only that matters, so it becomes
//!
//! ```sql
//! NOT EXISTS (SELECT * FROM Q WHERE q = x)
//!   AND (SELECT CASE WHEN count(*) = 0 THEN 0 WHEN count(*) = count(q) THEN 1 ELSE 2 END FROM Q)
//!       <= CASE WHEN x IS NULL THEN 0 ELSE 1 END
//! ```
//!
//! with Q under an alias that makes `share_subplans` compute it once. Where neither x nor q can be
//! NULL the plain anti join is right and nothing is done. A correlated Q is left alone: its counts
//! would differ from row to row (lowering refuses it).

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchema, ExprSchema, Result, Spans, plan_datafusion_err};
use datafusion_expr::expr::InSubquery;
use datafusion_expr::logical_plan::{Filter, LogicalPlan, Subquery};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlanBuilder, lit, not_exists, when};
use datafusion_functions_aggregate::count::count_all;
use datafusion_functions_aggregate::expr_fn::count;

/// The rule's name in explain.
pub(crate) const EXPAND_NOT_IN: &str = "expand_not_in";

/// Begins the alias of a list that NOT IN looks at.
pub(super) const LIST_PREFIX: &str = "__list_";

/// Expands the NOT INs of all WHERE clauses of a bound plan.
pub(crate) fn expand_not_in(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut lists = 0;
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(Transformed::no(node)) };
        if !filter.predicate.exists(|e| Ok(matches!(e, Expr::InSubquery(_))))? {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let schema = filter.input.schema();
        let mut changed = false;
        let mut conditions = Vec::new();
        for condition in split_conjunction_owned(filter.predicate) {
            match list_of(condition, schema)? {
                Found::List(value, subquery) => {
                    conditions.extend(expand(value, subquery, schema, lists)?);
                    lists += 1;
                    changed = true;
                }
                Found::Other(condition) => conditions.push(condition),
            }
        }
        let predicate = conjunction(conditions)
            .ok_or_else(|| plan_datafusion_err!("a WHERE clause without conditions"))?;
        let filter = LogicalPlan::Filter(Filter::new(predicate, filter.input));
        Ok(if changed { Transformed::yes(filter) } else { Transformed::no(filter) })
    })
}

enum Found {
    /// The value and the list of a NOT IN in which NULLs matter.
    List(Expr, Subquery),
    Other(Expr),
}

fn list_of(condition: Expr, schema: &DFSchema) -> Result<Found> {
    let (value, subquery) = match condition {
        Expr::InSubquery(InSubquery { expr, subquery, negated: true }) => (expr, subquery),
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(InSubquery { expr, subquery, negated: false }) => (expr, subquery),
            inner => return Ok(Found::Other(Expr::Not(Box::new(inner)))),
        },
        other => return Ok(Found::Other(other)),
    };
    let list = subquery.subquery.schema();
    let nullable = value.nullable(schema)? || list.fields().iter().any(|f| f.is_nullable());
    let plain = subquery.outer_ref_columns.is_empty() && !value.contains_outer();
    if nullable && plain && list.fields().len() == 1 && !value.is_volatile() {
        return Ok(Found::List(*value, subquery));
    }
    Ok(Found::Other(Expr::InSubquery(InSubquery { expr: value, subquery, negated: true })))
}

/// The two conditions that stand for `value NOT IN (list)`.
fn expand(value: Expr, list: Subquery, schema: &DFSchema, number: usize) -> Result<[Expr; 2]> {
    let alias = format!("{LIST_PREFIX}{number}");
    let spans = list.spans;
    let list = LogicalPlanBuilder::from(list.subquery).alias(alias.as_str())?.build()?;
    let item = Expr::Column(Column::from(list.schema().qualified_field(0)));
    let outer = value.clone().transform_up(|e| match e {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    });
    let equal =
        LogicalPlan::Filter(Filter::new(item.clone().eq(outer.data()?), Arc::new(list.clone())));
    let absent = not_exists(Arc::new(equal));
    let (rows, values) = (count_all(), count(item));
    let counts = LogicalPlanBuilder::from(list).aggregate(Vec::<Expr>::new(), [rows, values])?;
    let counts = counts.build()?;
    let columns: Vec<Expr> = counts.schema().columns().into_iter().map(Expr::Column).collect();
    let state = match &columns[..] {
        [rows, values] => when(rows.clone().eq(lit(0_i64)), lit(0_i64))
            .when(rows.clone().eq(values.clone()), lit(1_i64))
            .otherwise(lit(2_i64))?,
        _ => return Err(plan_datafusion_err!("two counts")),
    };
    let plan = LogicalPlanBuilder::from(counts).project([state.alias("state")])?.build()?;
    let state = scalar(plan, spans);
    let limit = when(value.is_null(), lit(0_i64)).otherwise(lit(1_i64))?;
    Ok([absent, state.lt_eq(limit)])
}

fn scalar(plan: LogicalPlan, spans: Spans) -> Expr {
    let subquery = Arc::new(plan);
    Expr::ScalarSubquery(Subquery { subquery, outer_ref_columns: Vec::new(), spans })
}
