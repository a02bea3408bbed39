//! Subqueries in WHERE and HAVING.
//!
//! Conditions without subqueries come first, except that those that can fail stay behind the
//! subqueries written before them. IN and EXISTS as conditions of their own are semi and anti
//! joins; others are evaluated in a filter over joins.

use std::sync::Arc;

use datafusion_common::{JoinType, Result};
use datafusion_expr::expr::{Exists, InSubquery};
use datafusion_expr::logical_plan::{Filter, LogicalPlan};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator, lit};

use super::join::joined;
use super::lifted::{Key, Pending};
use super::place::place_of;
use super::row_in::with_keys;
use super::rows::is_one_row;
use super::scope::Scope;
use super::values::Site;
use super::{Unnesting, has_subquery, restored};
use crate::fallible::is_fallible;
use crate::functions::in_place;

impl Unnesting<'_> {
    /// A filter without its subqueries.
    pub(super) fn filter(&mut self, filter: Filter) -> Result<LogicalPlan> {
        let schema = filter.input.schema().clone();
        let (mut first, mut later) = (Vec::new(), Vec::new());
        for condition in split_conjunction_owned(filter.predicate).into_iter().flat_map(split) {
            let is_plain = !has_subquery(&condition);
            if is_plain && (later.is_empty() || !is_fallible(&condition, &schema)) {
                first.push(condition);
            } else {
                later.push(condition);
            }
        }
        let mut plan = filtered(Arc::unwrap_or_clone(filter.input), first);
        let (semi, other): (Vec<Expr>, Vec<Expr>) = match later.iter().any(|c| !has_subquery(c)) {
            // The order matters.
            true => (Vec::new(), later),
            false => later.into_iter().partition(is_semi_join),
        };
        for condition in semi.into_iter().chain(other) {
            plan = self.condition(condition, plan)?;
        }
        restored(plan, &schema)
    }

    fn condition(&mut self, condition: Expr, mut outer: LogicalPlan) -> Result<LogicalPlan> {
        let place = place_of(&condition);
        let site = Site { guards: Vec::new(), drops_null: true };
        match condition {
            Expr::Exists(Exists { subquery, negated }) => {
                let (plan, scope) = self.enter(place, subquery, &mut outer, &site)?;
                self.exists_as_condition(plan, scope, negated)
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                // NULL is in no empty set, and so NOT IN it.
                let value = self.value(*expr, &mut outer, &site.operand(!negated))?;
                let (plan, scope) = self.enter(place, subquery, &mut outer, &site)?;
                if !is_one_row(&plan) {
                    return self.in_as_condition(value, plan, scope, negated);
                }
                let item = self.scalar(plan, scope, &mut outer, &site)?;
                let op = if negated { Operator::NotEq } else { Operator::Eq };
                let (left, right) = (Box::new(value), Box::new(item));
                let equal = Expr::BinaryExpr(BinaryExpr { left, op, right });
                Ok(filtered(outer, vec![equal]))
            }
            other => {
                let condition = self.value(other, &mut outer, &site)?;
                Ok(filtered(outer, vec![condition]))
            }
        }
    }

    fn exists_as_condition(
        &mut self,
        plan: LogicalPlan,
        mut scope: Scope,
        negated: bool,
    ) -> Result<LogicalPlan> {
        if is_one_row(&plan) {
            return Ok(if negated { filtered(scope.plan, vec![lit(false)]) } else { scope.plan });
        }
        let lifted = self.lifted_for_existence(plan, &mut scope)?;
        let (lifted, _) = self.resolved(lifted, &scope, false)?;
        if !negated {
            return joined(scope.plan, lifted.plan, lifted.pending, JoinType::LeftSemi, None);
        }
        let (outer, inner) = (scope.plan.schema(), lifted.plan.schema());
        let (pending, in_pair) = with_keys(lifted.pending, outer, inner)?;
        joined(scope.plan, lifted.plan, pending, JoinType::LeftAnti, in_pair)
    }

    fn in_as_condition(
        &mut self,
        value: Expr,
        plan: LogicalPlan,
        mut scope: Scope,
        negated: bool,
    ) -> Result<LogicalPlan> {
        let lifted = self.lifted_for_set(plan, &mut scope)?;
        let anchor = lifted.anchor(&scope);
        let (depends, fallible) = match lifted.outputs.first() {
            Some(item) => (
                scope.is_read_by(item),
                anchor.is_some() && is_fallible(item, lifted.plan.schema()),
            ),
            None => (false, false),
        };
        let (mut lifted, _) = self.resolved(lifted, &scope, false)?;
        let item = std::mem::take(&mut lifted.outputs).into_iter().next().unwrap_or_default();
        let kind = if negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
        if depends || fallible {
            // The condition as a whole; NOT IN is true when all comparisons are false.
            let equal = value.eq(item);
            let mut condition = if negated { equal.is_not_false() } else { equal };
            if let (true, Some(anchor)) = (fallible, anchor) {
                condition = in_place(condition, scope.resolved(anchor)?);
            }
            lifted.pending.push(Pending::Other(condition));
            return joined(scope.plan, lifted.plan, lifted.pending, kind, None);
        }
        let (of_value, of_item) = (scope.plan.schema(), lifted.plan.schema());
        if negated && (value.nullable(of_value)? || item.nullable(of_item)?) {
            let in_pair = Some((value, item));
            return joined(scope.plan, lifted.plan, lifted.pending, kind, in_pair);
        }
        let key = Key { outer: value, inner: item, null_safe: false };
        lifted.pending.insert(0, Pending::Key(key));
        joined(scope.plan, lifted.plan, lifted.pending, kind, None)
    }
}

/// Whether a condition becomes a semi or anti join, which only drops rows.
fn is_semi_join(condition: &Expr) -> bool {
    match condition {
        Expr::Exists(_) => true,
        Expr::InSubquery(InSubquery { expr, .. }) => !has_subquery(expr),
        _ => false,
    }
}

/// A condition with NOT as far inside as AND, OR, IN and EXISTS let it, in its parts.
fn split(condition: Expr) -> Vec<Expr> {
    if !has_subquery(&condition) {
        return vec![condition];
    }
    let Expr::Not(inner) = condition else { return vec![condition] };
    match *inner {
        Expr::Not(inner) => split_conjunction_owned(*inner).into_iter().flat_map(split).collect(),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let parts = [*left, *right].into_iter();
            parts.flat_map(|part| split(Expr::Not(Box::new(part)))).collect()
        }
        Expr::Exists(exists) => {
            vec![Expr::Exists(Exists { negated: !exists.negated, ..exists })]
        }
        Expr::InSubquery(list) => {
            vec![Expr::InSubquery(InSubquery { negated: !list.negated, ..list })]
        }
        other => vec![Expr::Not(Box::new(other))],
    }
}

/// The rows for which all conditions hold.
pub(super) fn filtered(plan: LogicalPlan, conditions: Vec<Expr>) -> LogicalPlan {
    match conjunction(conditions) {
        Some(predicate) => LogicalPlan::Filter(Filter::new(predicate, Arc::new(plan))),
        None => plan,
    }
}
