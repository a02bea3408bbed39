//! Borrowed rules that are wrong about some joins, kept away from them.
//!
//! * Keys of joins in which NULL equals NULL stay what they are. The borrowed rule would add
//!   `a = b` found in their condition to them, and NULLs would then be equal there too.
//! * Conditions above a single join go to its left input if they read nothing else. The borrowed
//!   rule would move those that read no column, `random() < 0.5`, to both inputs.
//! * Conditions that stay in place do so even when they read no column.
//! * An aggregate that gives a row for no rows, as `count(*)` without GROUP BY does, has conditions
//!   without a column above it. The borrowed rule would move them below, where `false` leaves that
//!   row.
//! * Conditions compare a column with a constant, in this order. The borrowed rule takes
//!   `x = 1 AND 1 = x` for two values of one column, which is false, and of `x >= 5 AND 5 < x` it
//!   keeps the first. It makes such conditions itself, of columns that are constants.

use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{NullEquality, Result};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, Filter, LogicalPlan};
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::passes::Rule;
use crate::rules::{SingleJoin, is_barrier, push_below_single_join};

/// A borrowed rule, and what is done at a node instead of its own rewrite.
struct Guarded<R, F> {
    rule: R,
    rewrite: F,
}

/// `rule`, which is reached through `rewrite` alone.
pub(super) fn guarded<R, F>(rule: R, rewrite: F) -> Rule
where
    R: OptimizerRule + Send + Sync + 'static,
    F: Fn(&R, LogicalPlan, &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>>
        + Send
        + Sync
        + 'static,
{
    Box::new(Guarded { rule, rewrite })
}

/// `extract_equijoin_predicate`: ON conditions to join keys.
pub(super) fn keys_from_conditions() -> Rule {
    guarded(ExtractEquijoinPredicate, |rule, plan, config| match &plan {
        LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull => {
            Ok(Transformed::no(plan))
        }
        _ => rule.rewrite(plan, config),
    })
}

/// `push_down_filter`: conditions to the scans.
pub(super) fn conditions_to_relations() -> Rule {
    guarded(PushDownFilter::default(), |rule, plan, config| match &plan {
        LogicalPlan::Filter(filter) if SingleJoin::of(&filter.input).is_some() => {
            Ok(match push_below_single_join(&filter.predicate, &filter.input) {
                Some(pushed) => Transformed::yes(pushed),
                None => Transformed::no(plan),
            })
        }
        LogicalPlan::Filter(filter) if is_barrier(&filter.input) => Ok(Transformed::no(plan)),
        LogicalPlan::Filter(filter) => match above_row_of_none(filter) {
            Some((conditions, input)) => apart(rule, config, plan, conditions, input),
            None => rule.rewrite(constants_last(plan)?, config),
        },
        _ => rule.rewrite(constants_last(plan)?, config),
    })
}

/// The conditions of filters, one above the other, and what is below them, where that gives a row
/// even of no input.
fn above_row_of_none(filter: &Filter) -> Option<(Vec<Expr>, Arc<LogicalPlan>)> {
    let mut filters = vec![filter];
    let mut input = &filter.input;
    while let LogicalPlan::Filter(filter) = input.as_ref() {
        filters.push(filter);
        input = &filter.input;
    }
    let LogicalPlan::Aggregate(aggregate) = input.as_ref() else { return None };
    let keys = &aggregate.group_expr;
    let gives = keys.is_empty() || keys.iter().any(|key| matches!(key, Expr::GroupingSet(_)));
    let each = filters.into_iter().map(|filter| filter.predicate.clone());
    gives.then(|| (each.flat_map(split_conjunction_owned).collect(), input.clone()))
}

/// Such filters, of which the rule gets those that read a column.
fn apart(
    rule: &PushDownFilter,
    config: &dyn OptimizerConfig,
    plan: LogicalPlan,
    conditions: Vec<Expr>,
    input: Arc<LogicalPlan>,
) -> Result<Transformed<LogicalPlan>> {
    let (reading, constant): (Vec<Expr>, Vec<Expr>) =
        conditions.into_iter().partition(|condition| !condition.column_refs().is_empty());
    let Some(constant) = conjunction(constant) else { return rule.rewrite(plan, config) };
    let Some(reading) = conjunction(reading) else { return Ok(Transformed::no(plan)) };
    let below = rule.rewrite(LogicalPlan::Filter(Filter::try_new(reading, input)?), config)?;
    below.map_data(|below| Ok(LogicalPlan::Filter(Filter::try_new(constant, below.into())?)))
}

/// A filter, with those right below, or a join whose condition compares columns with constants,
/// and no constant with a column.
fn constants_last(mut plan: LogicalPlan) -> Result<LogicalPlan> {
    match &mut plan {
        LogicalPlan::Join(join) => {
            if let Some(condition) = join.filter.take() {
                join.filter = Some(condition.transform_up(|expr| Ok(constant_last(expr)))?.data);
            }
        }
        LogicalPlan::Filter(filter) => {
            let condition = std::mem::take(&mut filter.predicate);
            filter.predicate = condition.transform_up(|expr| Ok(constant_last(expr)))?.data;
            if matches!(filter.input.as_ref(), LogicalPlan::Filter(_)) {
                let below = Arc::unwrap_or_clone(std::mem::take(&mut filter.input));
                filter.input = Arc::new(constants_last(below)?);
            }
        }
        _ => {}
    }
    Ok(plan)
}

fn constant_last(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if left.as_literal().is_some() && right.as_literal().is_none() =>
        {
            match op.swap() {
                Some(op) => {
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: right, op, right: left }))
                }
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        _ => Transformed::no(expr),
    }
}

impl<R: fmt::Debug, F> fmt::Debug for Guarded<R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

impl<R, F> OptimizerRule for Guarded<R, F>
where
    R: OptimizerRule,
    F: Fn(&R, LogicalPlan, &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>>,
{
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        (self.rewrite)(&self.rule, plan, config)
    }
}
