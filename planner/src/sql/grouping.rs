//! grouping() as a function of the number that tells grouping sets apart.
//!
//! An aggregate over grouping sets has a column with a number for each set: a bit for each grouping
//! expression, the first one highest, set where the expression is not in the set. `grouping(a, b)`
//! is made of the bits of its arguments. Without grouping sets it is 0.

use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_common::{Column, Result, ScalarValue, plan_err};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::logical_plan::{Aggregate, LogicalPlan, Projection};
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_expr::{Expr, lit};
use datafusion_optimizer::analyzer::AnalyzerRule;

use crate::functions::grouping_bits;

/// The most arguments of one call.
const ARGUMENTS_MAX: usize = 31;

/// The rule; see the module documentation.
#[derive(Debug)]
pub(super) struct ResolveGrouping;

impl AnalyzerRule for ResolveGrouping {
    fn name(&self) -> &str {
        "resolve_grouping"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(aggregate)
                if aggregate.aggr_expr.iter().any(|e| arguments(e).is_some()) =>
            {
                Ok(Transformed::yes(resolved(aggregate)?))
            }
            other => Ok(Transformed::no(other)),
        })
        .data()
    }
}

/// The arguments of a call of grouping().
fn arguments(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Alias(alias) => arguments(&alias.expr),
        Expr::AggregateFunction(AggregateFunction { func, params })
            if func.name() == "grouping" =>
        {
            Some(&params.args)
        }
        _ => None,
    }
}

/// The aggregate without the calls, and a projection that computes them.
fn resolved(aggregate: Aggregate) -> Result<LogicalPlan> {
    let keys: Vec<Expr> =
        grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect();
    let is_set = matches!(&aggregate.group_expr[..], [Expr::GroupingSet(_)]);
    let first = keys.len() + usize::from(is_set);
    let columns = aggregate.schema.columns();
    let mut exprs: Vec<Expr> = columns.iter().take(keys.len()).cloned().map(Expr::Column).collect();
    let mut kept = Vec::with_capacity(aggregate.aggr_expr.len());
    for (call, column) in aggregate.aggr_expr.into_iter().zip(columns.into_iter().skip(first)) {
        match arguments(&call) {
            Some(arguments) => {
                let value = grouping(arguments, &keys, is_set)?;
                exprs.push(value.alias_qualified(column.relation, column.name));
            }
            None => {
                exprs.push(Expr::Column(column));
                kept.push(call);
            }
        }
    }
    let plan = if aggregate.group_expr.is_empty() && kept.is_empty() {
        Arc::unwrap_or_clone(aggregate.input)
    } else {
        LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input, aggregate.group_expr, kept)?)
    };
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

fn grouping(arguments: &[Expr], keys: &[Expr], is_set: bool) -> Result<Expr> {
    if arguments.is_empty() || arguments.len() > ARGUMENTS_MAX {
        return plan_err!("grouping() takes 1 to {ARGUMENTS_MAX} of the expressions of GROUP BY");
    }
    let places =
        arguments.iter().map(|argument| match keys.iter().rev().position(|key| key == argument) {
            Some(place) => Ok(place as u32),
            None => plan_err!("grouping() takes expressions of GROUP BY, not {argument}"),
        });
    let places = places.collect::<Result<Vec<u32>>>()?;
    if !is_set {
        return Ok(lit(ScalarValue::Int32(Some(0))));
    }
    let id = Expr::Column(Column::from_name(Aggregate::INTERNAL_GROUPING_ID));
    Ok(grouping_bits(id, places))
}
