//! `simplify_expressions`, of the borrowed rules, where it can find something.
//!
//! The rules run again until nothing changes, and an expression that has been made simple stays so:
//! what has gone through the rule once is left alone the next time, wherever it has been moved to.
//! So are columns, and joins of columns, where the rule would bring the columns of both inputs
//! together first, which takes longer than all else it does.
//!
//! Sound: an expression that is not made simpler means the same.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use hashbrown::DefaultHashBuilder;

use super::renewed::any_expression;

/// The rule, for one statement; see the module documentation.
#[derive(Debug, Default)]
pub(super) struct Simpler {
    rule: SimplifyExpressions,
    hasher: DefaultHashBuilder,
    /// Hashes of expressions that have gone through the rule.
    done: Mutex<HashSet<u64>>,
}

impl Simpler {
    fn done(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_done(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Column(_)) || self.done().contains(&self.hasher.hash_one(expr))
    }

    /// Conditions are moved one by one.
    fn note(&self, plan: &LogicalPlan) -> Result<()> {
        plan.apply_expressions(|expr| {
            let mut done = self.done();
            done.insert(self.hasher.hash_one(expr));
            if let LogicalPlan::Filter(_) | LogicalPlan::Join(_) = plan {
                let conditions = split_conjunction(expr);
                done.extend(conditions.into_iter().map(|part| self.hasher.hash_one(part)));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map(drop)
    }
}

impl OptimizerRule for Simpler {
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
        if !any_expression(&plan, |expr| !self.is_done(expr)) {
            return Ok(Transformed::no(plan));
        }
        let plan = self.rule.rewrite(plan, config)?;
        self.note(&plan.data)?;
        Ok(plan)
    }
}
