//! The borrowed rules, picked one by one.
//!
//! Two lists with the join order between them: the first brings conditions to their relations and
//! runs until nothing changes, the second makes the tree narrow and runs once. Left out on purpose:
//! what turns subqueries into joins (rules of ours have done that), `unions_to_filter` and the
//! leaf-expression rules (no use yet), `eliminate_join` (makes semi joins whose sides are fixed
//! before the join order is known), `filter_null_join_keys` (the join drops NULL keys itself),
//! `single_distinct_aggregation_to_group_by` (lowering plans DISTINCT aggregates, any number).
//!
//! Some rules are kept from what they get wrong: see `guards` and `empty_unions`.

use datafusion_common::Result;
use datafusion_expr::LogicalPlan;
use datafusion_optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion_optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion_optimizer::eliminate_filter::EliminateFilter;
use datafusion_optimizer::eliminate_group_by_constant::EliminateGroupByConstant;
use datafusion_optimizer::eliminate_limit::EliminateLimit;
use datafusion_optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::optimize_unions::OptimizeUnions;
use datafusion_optimizer::push_down_limit::PushDownLimit;
use datafusion_optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;

use super::days::CompareDays;
use super::dependencies::{ForgetDependencies, forget};
use super::empty_unions::empty_relations;
use super::guards::{conditions_to_relations, keys_from_conditions};
use super::passes::{Planning, Rule};
use super::simpler::simpler;
use crate::rules::FilterKeys;

/// Conditions to their relations.
pub(crate) fn before_join_order(plan: LogicalPlan, planning: &mut Planning) -> Result<LogicalPlan> {
    let rules: Vec<Rule> = vec![
        // `a UNION ALL b UNION ALL c` is one union of three.
        Box::new(OptimizeUnions::new()),
        // WHERE conditions to join keys, those common to all branches of an OR too: before
        // what is left of the OR is looked at.
        Box::new(FilterKeys),
        // Folds constants; `now`, `coalesce` and others exist only until here.
        simpler(),
        // `date < timestamp` to `date < date`.
        Box::new(CompareDays),
        // What the next rule must not go by.
        Box::new(ForgetDependencies),
        // DISTINCT is a group-by without aggregates: one operator for both.
        Box::new(ReplaceDistinctWithAggregate::new()),
        // ON conditions to join keys.
        keys_from_conditions(),
        Box::new(ForgetDependencies),
        // The same key twice in GROUP BY or ORDER BY.
        Box::new(EliminateDuplicatedExpr::new()),
        // WHERE true, WHERE false.
        Box::new(EliminateFilter::new()),
        // LIMIT 0.
        Box::new(EliminateLimit::new()),
        // What an empty input makes empty.
        empty_relations(),
        // An outer join whose NULL rows a condition drops is an inner join.
        Box::new(EliminateOuterJoin::new()),
        // Limits into sorts: top-k.
        Box::new(PushDownLimit::new()),
        // Conditions to the scans.
        conditions_to_relations(),
        // GROUP BY 'constant'.
        Box::new(EliminateGroupByConstant::new()),
    ];
    planning.run(&rules, plan)
}

/// Each value computed once, and only the columns that are read.
pub(crate) fn after_join_order(plan: LogicalPlan, planning: &mut Planning) -> Result<LogicalPlan> {
    // An expression used twice is computed below.
    let plan = planning.once(&CommonSubexprEliminate::new(), plan)?;
    // Columns that nobody reads leave the tree as low as they can.
    planning.once(&OptimizeProjections::new(), forget(plan)?)
}
