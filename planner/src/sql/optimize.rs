//! The borrowed rules, picked one by one.
//!
//! Two lists with the join order between them: the first brings conditions to their relations and
//! runs until nothing changes, the second makes the tree narrow and runs once. Left out on purpose:
//! what turns subqueries into joins (rules of ours have done that), `unions_to_filter` and the
//! leaf-expression rules (no use yet), `eliminate_join` (makes semi joins whose sides are fixed
//! before the join order is known), `filter_null_join_keys` (the join drops NULL keys itself),
//! `single_distinct_aggregation_to_group_by` (lowering plans DISTINCT aggregates, any number).
//!
//! Three rules are kept from what they get wrong: see `guards`.

use std::hash::BuildHasher;
use std::sync::Arc;

#[cfg(debug_assertions)]
use datafusion_common::DFSchemaRef;
use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_expr::LogicalPlan;
#[cfg(debug_assertions)]
use datafusion_expr::logical_plan::{InvariantLevel, assert_expected_schema};
use datafusion_optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion_optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion_optimizer::eliminate_filter::EliminateFilter;
use datafusion_optimizer::eliminate_group_by_constant::EliminateGroupByConstant;
use datafusion_optimizer::eliminate_limit::EliminateLimit;
use datafusion_optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::optimize_unions::OptimizeUnions;
use datafusion_optimizer::propagate_empty_relation::PropagateEmptyRelation;
use datafusion_optimizer::push_down_limit::PushDownLimit;
use datafusion_optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion_optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use hashbrown::DefaultHashBuilder;

use super::days::CompareDays;
use super::guards::{ConditionsToRelations, keys_from_conditions, simpler};
use crate::rules::FilterKeys;

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// What the rules of one statement share: options, names for new columns, what fired.
pub(crate) struct Planning {
    context: OptimizerContext,
    record: bool,
    fired: Vec<String>,
}

impl Planning {
    /// `record` notes which rules changed the plan, for explain.
    pub(crate) fn new(options: Arc<ConfigOptions>, record: bool) -> Self {
        let context = OptimizerContext::new_with_config_options(options);
        Planning { context, record, fired: Vec::new() }
    }

    /// Names of the rules that changed a plan, in the order they first did.
    pub(crate) fn fired(&self) -> &[String] {
        &self.fired
    }

    /// Notes that a rule of ours changed the plan.
    pub(crate) fn note(&mut self, rule: &str) {
        if !self.fired.iter().any(|name| name == rule) {
            self.fired.push(rule.to_string());
        }
    }

    /// Applies the rules one after another, and all of them again until nothing changes.
    fn run(&mut self, rules: Vec<Rule>, plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut seen = Changes::of(&plan, self.record);
        let mut fired = Vec::new();
        let plan = Optimizer::with_rules(rules).optimize(plan, &self.context, |plan, rule| {
            if seen.is_changed(plan) {
                fired.push(rule.name().to_string());
            }
        })?;
        fired.iter().for_each(|rule| self.note(rule));
        Ok(plan)
    }

    /// Applies a rule that walks the plan by itself, once.
    fn once(&mut self, rule: &impl OptimizerRule, plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut seen = Changes::of(&plan, self.record);
        #[cfg(debug_assertions)]
        let schema = plan.schema().clone();
        let plan = rule.rewrite(plan, &self.context)?.data;
        #[cfg(debug_assertions)]
        checked(rule.name(), &schema, &plan)?;
        if seen.is_changed(&plan) {
            self.note(rule.name());
        }
        Ok(plan)
    }
}

/// What the borrowed optimizer checks after each of its rules.
#[cfg(debug_assertions)]
fn checked(rule: &str, schema: &DFSchemaRef, plan: &LogicalPlan) -> Result<()> {
    assert_expected_schema(schema, plan)
        .and_then(|()| plan.check_invariants(InvariantLevel::Executable))
        .map_err(|e| e.context(format!("after the rule {rule}")))
}

/// Says whether a plan is another than the last: rules say that they changed a plan when they
/// only built it anew.
struct Changes {
    hasher: DefaultHashBuilder,
    /// The hash of the last plan; nothing is recorded without one.
    last: Option<u64>,
}

impl Changes {
    fn of(plan: &LogicalPlan, record: bool) -> Self {
        let hasher = DefaultHashBuilder::default();
        let last = record.then(|| hasher.hash_one(plan));
        Changes { hasher, last }
    }

    fn is_changed(&mut self, plan: &LogicalPlan) -> bool {
        let Some(last) = &mut self.last else { return false };
        let now = self.hasher.hash_one(plan);
        std::mem::replace(last, now) != now
    }
}

/// Conditions to their relations.
pub(crate) fn before_join_order(plan: LogicalPlan, planning: &mut Planning) -> Result<LogicalPlan> {
    let rules: Vec<Rule> = vec![
        // `a UNION ALL b UNION ALL c` is one union of three.
        Arc::new(OptimizeUnions::new()),
        // Folds constants; `now`, `coalesce` and others exist only until here.
        Arc::new(simpler()),
        // `date < timestamp` to `date < date`.
        Arc::new(CompareDays),
        // DISTINCT is a group-by without aggregates: one operator for both.
        Arc::new(ReplaceDistinctWithAggregate::new()),
        // ON conditions to join keys.
        Arc::new(keys_from_conditions()),
        // The same key twice in GROUP BY or ORDER BY.
        Arc::new(EliminateDuplicatedExpr::new()),
        // WHERE true, WHERE false.
        Arc::new(EliminateFilter::new()),
        // WHERE conditions to join keys, those common to all branches of an OR too.
        Arc::new(FilterKeys),
        // LIMIT 0.
        Arc::new(EliminateLimit::new()),
        // What an empty input makes empty.
        Arc::new(PropagateEmptyRelation::new()),
        // An outer join whose NULL rows a condition drops is an inner join.
        Arc::new(EliminateOuterJoin::new()),
        // Limits into sorts: top-k.
        Arc::new(PushDownLimit::new()),
        // Conditions to the scans.
        Arc::new(ConditionsToRelations::default()),
        // GROUP BY 'constant'.
        Arc::new(EliminateGroupByConstant::new()),
    ];
    planning.run(rules, plan)
}

/// Each value computed once, and only the columns that are read.
pub(crate) fn after_join_order(plan: LogicalPlan, planning: &mut Planning) -> Result<LogicalPlan> {
    // An expression used twice is computed below.
    let plan = planning.once(&CommonSubexprEliminate::new(), plan)?;
    // Columns that nobody reads leave the tree as low as they can.
    planning.once(&OptimizeProjections::new(), plan)
}
