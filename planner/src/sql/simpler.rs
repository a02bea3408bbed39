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
use datafusion_optimizer::OptimizerRule;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use hashbrown::DefaultHashBuilder;

use super::guards::guarded;
use super::passes::Rule;
use super::renewed::any_expression;

/// The rule, for one statement; see the module documentation.
pub(super) fn simpler() -> Rule {
    let done = Done::default();
    guarded(SimplifyExpressions::default(), move |rule, plan, config| {
        if !any_expression(&plan, |expr| !done.has(expr)) {
            return Ok(Transformed::no(plan));
        }
        let plan = rule.rewrite(plan, config)?;
        done.note(&plan.data)?;
        Ok(plan)
    })
}

/// Hashes of expressions that have gone through the rule.
#[derive(Default)]
struct Done {
    hasher: DefaultHashBuilder,
    hashes: Mutex<HashSet<u64>>,
}

impl Done {
    fn hashes(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Column(_)) || self.hashes().contains(&self.hasher.hash_one(expr))
    }

    /// Conditions are moved one by one.
    fn note(&self, plan: &LogicalPlan) -> Result<()> {
        plan.apply_expressions(|expr| {
            let mut hashes = self.hashes();
            hashes.insert(self.hasher.hash_one(expr));
            if let LogicalPlan::Filter(_) | LogicalPlan::Join(_) = plan {
                let conditions = split_conjunction(expr);
                hashes.extend(conditions.into_iter().map(|part| self.hasher.hash_one(part)));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map(drop)
    }
}
