//! What is known of the number of a plan's rows, and rows written in the text.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::logical_plan::{
    Distinct, EmptyRelation, LogicalPlan, Projection, Union, Values,
};
use datafusion_expr::{FetchType, JoinType, SkipType};

use crate::rules::SingleJoin;

/// Whether a plan has one row whatever its tables hold.
pub(super) fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Values(values) => values.values.len() == 1,
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => plan.inputs().into_iter().all(is_one_row),
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)))
                && matches!(limit.get_fetch_type(), Ok(FetchType::Literal(n)) if n != Some(0))
                && is_one_row(&limit.input)
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::LeftMark => is_one_row(&join.left),
            JoinType::Inner => {
                let free = join.on.is_empty() && join.filter.is_none();
                free && is_one_row(&join.left) && is_one_row(&join.right)
            }
            JoinType::Left => is_one_row(&join.left) && has_at_most_one_row(&join.right),
            _ => false,
        },
        other => SingleJoin::of(other).is_some_and(|join| is_one_row(&join.left)),
    }
}

/// Whether a plan has no more than one row whatever its tables hold.
pub(super) fn has_at_most_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.group_expr.is_empty() || has_at_most_one_row(&aggregate.input)
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Distinct(_) => plan.inputs().into_iter().all(has_at_most_one_row),
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1))))
                || has_at_most_one_row(&limit.input)
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                has_at_most_one_row(&join.left)
            }
            JoinType::Inner | JoinType::Left | JoinType::Right => {
                has_at_most_one_row(&join.left) && has_at_most_one_row(&join.right)
            }
            _ => false,
        },
        other => SingleJoin::of(other).is_some_and(|join| has_at_most_one_row(&join.left)),
    }
}

/// The plan without an order that makes no difference.
pub(super) fn without_order(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
            without_order(Arc::unwrap_or_clone(sort.input))
        }
        LogicalPlan::Projection(projection) => {
            let input = without_order(Arc::unwrap_or_clone(projection.input))?;
            let projection = Projection::try_new(projection.expr, Arc::new(input))?;
            Ok(LogicalPlan::Projection(projection))
        }
        other => Ok(other),
    }
}

/// A relation of one row without columns.
pub(super) fn one_row() -> LogicalPlan {
    LogicalPlan::EmptyRelation(EmptyRelation {
        produce_one_row: true,
        schema: Arc::new(datafusion_common::DFSchema::empty()),
    })
}

/// VALUES as a union of its rows.
pub(super) fn rows_as_union(values: Values) -> Result<LogicalPlan> {
    let input = Arc::new(one_row());
    let rows = values.values.into_iter().map(|row| {
        let fields = row.into_iter().zip(values.schema.fields());
        let exprs = fields.map(|(expr, field)| expr.alias(field.name())).collect();
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, input.clone())?)))
    });
    let mut rows = rows.collect::<Result<Vec<_>>>()?;
    match (rows.pop(), rows.is_empty()) {
        (Some(only), true) => Ok(Arc::unwrap_or_clone(only)),
        (last, _) => {
            rows.extend(last);
            Ok(LogicalPlan::Union(Union { inputs: rows, schema: values.schema }))
        }
    }
}

/// What to call a node in an error.
pub(super) fn kind_of(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Distinct(_) => "DISTINCT ON",
        LogicalPlan::Unnest(_) => "UNNEST",
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        LogicalPlan::TableScan(_) => "a table function",
        _ => "this relation",
    }
}
