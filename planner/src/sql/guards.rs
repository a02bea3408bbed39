//! Borrowed rules that are wrong about some joins, kept away from them.
//!
//! * Keys of joins in which NULL equals NULL stay what they are. The borrowed rule would add
//!   `a = b` found in their condition to them, and NULLs would then be equal there too.
//! * Conditions above a single join go to its left input if they read nothing else. The borrowed
//!   rule would move those that read no column, `random() < 0.5`, to both inputs.

use datafusion_common::tree_node::Transformed;
use datafusion_common::{NullEquality, Result};
use datafusion_expr::LogicalPlan;
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::rules::{SingleJoin, push_below_single_join};

/// A borrowed rule that leaves some nodes alone.
#[derive(Debug)]
pub(super) struct Except<R> {
    rule: R,
    leaves: fn(&LogicalPlan) -> bool,
}

/// `extract_equijoin_predicate`: ON conditions to join keys.
pub(super) fn keys_from_conditions() -> Except<ExtractEquijoinPredicate> {
    let leaves = |plan: &LogicalPlan| match plan {
        LogicalPlan::Join(join) => join.null_equality == NullEquality::NullEqualsNull,
        _ => false,
    };
    Except { rule: ExtractEquijoinPredicate, leaves }
}

impl<R: OptimizerRule> OptimizerRule for Except<R> {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match (self.leaves)(&plan) {
            true => Ok(Transformed::no(plan)),
            false => self.rule.rewrite(plan, config),
        }
    }
}

/// `push_down_filter`: conditions to the scans.
#[derive(Debug, Default)]
pub(super) struct ConditionsToRelations(PushDownFilter);

impl OptimizerRule for ConditionsToRelations {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        if let LogicalPlan::Filter(filter) = &plan
            && SingleJoin::of(&filter.input).is_some()
        {
            return Ok(match push_below_single_join(&filter.predicate, &filter.input) {
                Some(pushed) => Transformed::yes(pushed),
                None => Transformed::no(plan),
            });
        }
        self.0.rewrite(plan, config)
    }
}
