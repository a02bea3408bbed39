//! Borrowed rules that are wrong about some joins, kept away from them.
//!
//! * Keys of joins in which NULL equals NULL stay what they are. The borrowed rules would add
//!   `a = b` found elsewhere to them, and NULLs would then be equal there too.
//! * Conditions above a single join go to its left input if they read nothing else. The borrowed
//!   rule would move those that read no column, `random() < 0.5`, to both inputs.

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{JoinType, NullEquality, Result};
use datafusion_expr::{Join, LogicalPlan};
use datafusion_optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::rules::{SingleJoin, push_below_single_join};

/// `extract_equijoin_predicate`: ON conditions to join keys.
#[derive(Debug, Default)]
pub(super) struct KeysFromConditions(ExtractEquijoinPredicate);

impl OptimizerRule for KeysFromConditions {
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
        match &plan {
            LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull => {
                Ok(Transformed::no(plan))
            }
            _ => self.0.rewrite(plan, config),
        }
    }
}

/// `eliminate_cross_join`: WHERE conditions to join keys.
#[derive(Debug, Default)]
pub(super) struct KeysFromFilters(EliminateCrossJoin);

impl OptimizerRule for KeysFromFilters {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        match has_keys_to_find(&plan)? {
            true => self.0.rewrite(plan, config),
            false => Ok(Transformed::no(plan)),
        }
    }
}

/// A condition above an inner join, or an inner join without keys, may have keys to find. Without
/// them the rule would take all joins apart and build them again as they were.
fn has_keys_to_find(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    let is_null_safe = plan.exists(|node| {
        let node = match node {
            LogicalPlan::Filter(filter) => {
                found |= inner(&filter.input).is_some();
                return Ok(false);
            }
            node => inner(node),
        };
        found |= node.is_some_and(|join| join.on.is_empty());
        Ok(node.is_some_and(|join| join.null_equality == NullEquality::NullEqualsNull))
    })?;
    Ok(found && !is_null_safe)
}

fn inner(plan: &LogicalPlan) -> Option<&Join> {
    match plan {
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => Some(join),
        _ => None,
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
