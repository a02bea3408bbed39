//! A subquery inside an expression: its value becomes a column of a join.
//!
//! What an expression evaluates only for some rows (a branch of CASE, what stands behind AND) is a
//! guard for the subqueries there: a row for which it does not hold needs no match, so what could
//! fail for it is not evaluated.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{JoinType, Result};
use datafusion_expr::expr::{Case, Exists, InSubquery};
use datafusion_expr::logical_plan::{Limit, LogicalPlan};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator, Subquery, lit};
use gristmill_engine::Position;

use super::domain::{chosen, null_of};
use super::join::{joined, mark_of, single_joined};
use super::lift::Use;
use super::lifted::{Key, Lifted, Pending};
use super::place::{place_in, place_of};
use super::rows::{has_at_most_one_row, is_one_row, one_row, without_order};
use super::scope::Scope;
use super::{Unnesting, case, free_references, has_subquery};
use crate::fallible::is_fallible;
use crate::functions::{is_of_bits, three_valued};

/// Where an expression with subqueries is evaluated.
#[derive(Debug, Clone, Default)]
pub(super) struct Site {
    /// What holds for the rows it is evaluated for.
    pub(super) guards: Vec<Expr>,
    /// Whether the row is dropped when it is NULL.
    pub(super) drops_null: bool,
}

impl Site {
    /// The site of an operand that makes all of it NULL, or does not.
    pub(super) fn operand(&self, passes_null: bool) -> Self {
        Site { guards: self.guards.clone(), drops_null: self.drops_null && passes_null }
    }

    /// The site of what is evaluated only where a condition holds.
    fn guarded(&self, guards: &[Expr]) -> Self {
        let guards = guards.iter().filter(|guard| !guard.is_volatile()).cloned();
        Site { guards: self.guards.iter().cloned().chain(guards).collect(), drops_null: false }
    }
}

impl Unnesting<'_> {
    /// An expression over `outer` without its subqueries: `outer` is joined with them.
    pub(super) fn value(
        &mut self,
        expr: Expr,
        outer: &mut LogicalPlan,
        site: &Site,
    ) -> Result<Expr> {
        if !has_subquery(&expr) {
            return Ok(expr);
        }
        let place = place_of(&expr);
        match expr {
            Expr::ScalarSubquery(subquery) => {
                let (plan, scope) = self.enter(place, subquery, outer, site)?;
                self.scalar(plan, scope, outer, site)
            }
            Expr::Exists(Exists { subquery, negated }) => {
                let (plan, scope) = self.enter(place, subquery, outer, site)?;
                let exists = self.exists(plan, scope, outer)?;
                Ok(negated_if(negated, exists))
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let value = self.value(*expr, outer, &site.operand(false))?;
                let (plan, scope) = self.enter(place, subquery, outer, site)?;
                let found = self.found_in(value, plan, scope, outer, site)?;
                Ok(negated_if(negated, found))
            }
            Expr::SetComparison(comparison) => self.quantified(comparison, place, outer, site),
            Expr::Case(case) => self.value_of_case(case, outer, site),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let below = site.operand(op.returns_null_on_null());
                let left = self.value(*left, outer, &below)?;
                let behind = match op {
                    Operator::And => site.guarded(&[left.clone().is_not_false()]),
                    Operator::Or => site.guarded(&[left.clone().is_not_true()]),
                    _ => below,
                };
                let right = self.value(*right, outer, &behind)?;
                let (left, right) = (Box::new(left), Box::new(right));
                Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            Expr::ScalarFunction(mut call) if call.name() == "coalesce" => {
                let mut behind = site.operand(false);
                for arg in &mut call.args {
                    *arg = self.value(std::mem::take(arg), outer, &behind)?;
                    behind = behind.guarded(&[arg.clone().is_null()]);
                }
                Ok(Expr::ScalarFunction(call))
            }
            other => {
                let passes_null = match &other {
                    Expr::Not(_) | Expr::Negative(_) | Expr::Cast(_) | Expr::Alias(_) => true,
                    Expr::ScalarFunction(call) => {
                        call.name().starts_with("checked_") || is_of_bits(call.name())
                    }
                    _ => false,
                };
                let below = site.operand(passes_null);
                other.map_children(|e| Ok(Transformed::yes(self.value(e, outer, &below)?))).data()
            }
        }
    }

    fn value_of_case(&mut self, case: Case, outer: &mut LogicalPlan, site: &Site) -> Result<Expr> {
        let whole = site.operand(false);
        let operand = match case.expr {
            Some(expr) => Some(self.value(*expr, outer, &whole)?),
            None => None,
        };
        let mut behind = whole;
        let mut branches = Vec::with_capacity(case.when_then_expr.len());
        for (when, then) in case.when_then_expr {
            let when = self.value(*when, outer, &behind)?;
            let holds = match &operand {
                Some(operand) => operand.clone().eq(when.clone()),
                None => when.clone(),
            };
            let then = self.value(*then, outer, &behind.guarded(&[holds.clone().is_true()]))?;
            behind = behind.guarded(&[holds.is_not_true()]);
            branches.push((Box::new(when), Box::new(then)));
        }
        let otherwise = match case.else_expr {
            Some(expr) => Some(Box::new(self.value(*expr, outer, &behind)?)),
            None => None,
        };
        Ok(Expr::Case(Case::new(operand.map(Box::new), branches, otherwise)))
    }

    /// The plan of a subquery, itself without subqueries, and the query around it, which is taken
    /// out of `outer` until they are joined.
    pub(super) fn enter(
        &mut self,
        place: Option<Position>,
        subquery: Subquery,
        outer: &mut LogicalPlan,
        site: &Site,
    ) -> Result<(LogicalPlan, Scope)> {
        let place = place.or_else(|| place_in(&subquery.subquery)).or_else(|| self.place.clone());
        self.place = place.clone();
        let plan = self.plan(Arc::unwrap_or_clone(subquery.subquery))?.data;
        self.place = place;
        self.refuse_ungrouped(&plan, outer)?;
        let scope = Scope { plan: std::mem::take(outer), guards: site.guards.clone() };
        Ok((plan, scope))
    }

    /// The value of a subquery with one column and at most one row; NULL when it has none.
    pub(super) fn scalar(
        &mut self,
        plan: LogicalPlan,
        mut scope: Scope,
        outer: &mut LogicalPlan,
        site: &Site,
    ) -> Result<Expr> {
        if let Some(expr) = bare_value(&plan) {
            let value = scope.resolved(expr)?;
            *outer = scope.plan;
            return Ok(value);
        }
        if !scope.is_read_in(&plan) {
            let values = self.independent(plan, scope, outer)?;
            return Ok(values.into_iter().next().unwrap_or_default());
        }
        let is_single = has_at_most_one_row(&plan);
        let data_type = plan.schema().field(0).data_type().clone();
        let lifted = self.lift(plan, &mut scope, Use::Rows)?;
        let absent = match lifted.absent.as_ref().and_then(|absent| absent.first()) {
            Some(absent) => absent.clone(),
            None => null_of(&data_type)?,
        };
        let lifted = Lifted { absent: Some(vec![absent]), ..lifted };
        let values = self.looked_up(lifted, scope, outer, is_single, site)?;
        Ok(values.into_iter().next().unwrap_or_default())
    }

    /// The columns of a subquery that depends on nothing, of which one row is added to all rows of
    /// the query around.
    pub(super) fn independent(
        &mut self,
        plan: LogicalPlan,
        scope: Scope,
        outer: &mut LogicalPlan,
    ) -> Result<Vec<Expr>> {
        let is_one = is_one_row(&plan);
        let plan = match is_one || has_at_most_one_row(&plan) {
            true => plan,
            // The second row is the error.
            false => first_rows(plan, 2)?,
        };
        let (mut lifted, _) = self.isolated(Lifted::whole(plan), false)?;
        if !is_one && !scope.guards.is_empty() {
            let guards = conjunction(scope.guards).map(Pending::Other);
            *outer = single_joined(scope.plan, lifted.plan, Vec::from_iter(guards))?;
            return Ok(lifted.outputs);
        }
        if !is_one {
            lifted.plan = single_joined(one_row(), lifted.plan, Vec::new())?;
        }
        *outer = match &scope.plan {
            LogicalPlan::EmptyRelation(empty)
                if empty.produce_one_row && empty.schema.fields().is_empty() =>
            {
                lifted.plan
            }
            _ => joined(scope.plan, lifted.plan, Vec::new(), JoinType::Inner, None)?,
        };
        Ok(lifted.outputs)
    }

    /// The columns of a subquery, for each row of the query around; its `absent` where it has no
    /// row.
    pub(super) fn looked_up(
        &mut self,
        mut lifted: Lifted,
        scope: Scope,
        outer: &mut LogicalPlan,
        is_single: bool,
        site: &Site,
    ) -> Result<Vec<Expr>> {
        lifted.order.clear();
        let absent = lifted.absent.take().unwrap_or_default();
        let all_null = absent.iter().all(is_null);
        let drops = is_single && all_null && site.drops_null;
        let schema = lifted.plan.schema().clone();
        let is_plain = |(output, absent): (&Expr, &Expr)| {
            matches!(output, Expr::Column(_))
                && (is_null(absent) || !output.nullable(&schema).unwrap_or(true))
        };
        let plain: Vec<bool> = lifted.outputs.iter().zip(&absent).map(is_plain).collect();
        let marks = !drops && plain.contains(&false);
        let (mut lifted, marker) = self.resolved(lifted, &scope, marks)?;
        let absent = absent.into_iter().map(|absent| scope.resolved(absent));
        let absent = absent.collect::<Result<Vec<_>>>()?;
        if !is_single || lifted.pending.iter().any(is_in_place) {
            lifted.pending.splice(0..0, conjunction(scope.guards).map(Pending::Other));
        }
        *outer = match is_single {
            true => {
                let kind = if drops { JoinType::Inner } else { JoinType::Left };
                joined(scope.plan, lifted.plan, lifted.pending, kind, None)?
            }
            false => single_joined(scope.plan, lifted.plan, lifted.pending)?,
        };
        let outputs = lifted.outputs.into_iter().zip(absent).zip(plain);
        let value = |((output, absent), plain): ((Expr, Expr), bool)| match plain {
            _ if drops => output,
            true if is_null(&absent) => output,
            true => case(vec![(output.clone().is_not_null(), output)], Some(absent)),
            false => chosen(marker.as_ref(), output, absent),
        };
        Ok(outputs.map(value).collect())
    }

    /// Whether a subquery has rows.
    fn exists(
        &mut self,
        plan: LogicalPlan,
        mut scope: Scope,
        outer: &mut LogicalPlan,
    ) -> Result<Expr> {
        if is_one_row(&plan) {
            *outer = scope.plan;
            return Ok(lit(true));
        }
        let lifted = self.lifted_for_existence(plan, &mut scope)?;
        self.marked_join(lifted, scope, outer, None)
    }

    /// The rows of a subquery of which only the existence counts.
    pub(super) fn lifted_for_existence(
        &mut self,
        plan: LogicalPlan,
        scope: &mut Scope,
    ) -> Result<Lifted> {
        let mut lifted = match scope.is_read_in(&plan) {
            true => {
                let lifted = self.lift(plan, scope, Use::Existence)?;
                self.settled(lifted, scope)?
            }
            false => Lifted::whole(first_rows(without_order(plan)?, 1)?),
        };
        lifted.outputs.clear();
        lifted.order.clear();
        Ok(lifted)
    }

    /// The rows of a subquery of which only the values of its column count.
    pub(super) fn lifted_for_set(
        &mut self,
        plan: LogicalPlan,
        scope: &mut Scope,
    ) -> Result<Lifted> {
        let mut lifted = match scope.is_read_in(&plan) {
            true => {
                let lifted = self.lift(plan, scope, Use::Set)?;
                self.settled(lifted, scope)?
            }
            false => Lifted::whole(without_order(plan)?),
        };
        lifted.order.clear();
        Ok(lifted)
    }

    /// Whether a value is in a subquery, in three-valued logic.
    pub(super) fn found_in(
        &mut self,
        value: Expr,
        plan: LogicalPlan,
        mut scope: Scope,
        outer: &mut LogicalPlan,
        site: &Site,
    ) -> Result<Expr> {
        if is_one_row(&plan) {
            let item = self.scalar(plan, scope, outer, &site.operand(false))?;
            return Ok(value.eq(item));
        }
        let lifted = self.lifted_for_set(plan, &mut scope)?;
        let outputs = lifted.outputs.clone();
        let (mut lifted, outputs) = self.keyed_unless_plain(lifted, outputs, &mut scope)?;
        lifted.outputs = outputs;
        let value = match conjunction(scope.guards.iter().cloned()) {
            Some(guard) if is_fallible(&value, scope.plan.schema()) => {
                case(vec![(guard, value)], None)
            }
            _ => value,
        };
        self.marked_join(lifted, scope, outer, Some(value))
    }

    /// Only keys need to be left pending where an output depends or cannot be computed on all rows.
    pub(super) fn keyed_unless_plain(
        &mut self,
        lifted: Lifted,
        outputs: Vec<Expr>,
        scope: &mut Scope,
    ) -> Result<(Lifted, Vec<Expr>)> {
        let waits = !lifted.pending.is_empty();
        let schema = lifted.plan.schema().clone();
        let is_free = |e: &Expr| !(scope.is_read_by(e) || waits && is_fallible(e, &schema));
        if outputs.iter().all(is_free) {
            return Ok((lifted, outputs));
        }
        self.keyed(lifted, outputs, scope)
    }

    /// The mark of a join: whether there are rows, or the value among them.
    fn marked_join(
        &mut self,
        lifted: Lifted,
        scope: Scope,
        outer: &mut LogicalPlan,
        value: Option<Expr>,
    ) -> Result<Expr> {
        let (mut lifted, _) = self.resolved(lifted, &scope, false)?;
        let item = std::mem::take(&mut lifted.outputs).into_iter().next();
        if lifted.pending.iter().any(is_in_place) {
            lifted.pending.splice(0..0, conjunction(scope.guards).map(Pending::Other));
        }
        let mut in_pair = None;
        if let Some((value, item)) = value.zip(item) {
            let (of_value, of_item) = (scope.plan.schema(), lifted.plan.schema());
            if value.nullable(of_value)? || item.nullable(of_item)? {
                in_pair = Some((value, item));
            } else {
                let key = Key { outer: value, inner: item, null_safe: false };
                lifted.pending.insert(0, Pending::Key(key));
            }
        }
        let is_three_valued = in_pair.is_some();
        let kind = JoinType::LeftMark;
        *outer = joined(scope.plan, lifted.plan, lifted.pending, kind, in_pair)?;
        let mark = mark_of(outer)?;
        Ok(if is_three_valued { three_valued(mark) } else { mark })
    }
}

fn negated_if(negated: bool, expr: Expr) -> Expr {
    if negated { Expr::Not(Box::new(expr)) } else { expr }
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}

/// Whether a condition is one that must not see other rows than those that have met.
fn is_in_place(pending: &Pending) -> bool {
    match pending {
        Pending::Other(Expr::ScalarFunction(call)) => crate::functions::is_opaque(call.name()),
        _ => false,
    }
}

/// The value of `(SELECT expr)`, which reads no table.
fn bare_value(plan: &LogicalPlan) -> Option<Expr> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let is_one_row = matches!(projection.input.as_ref(),
        LogicalPlan::EmptyRelation(empty) if empty.produce_one_row);
    match &projection.expr[..] {
        [expr] if is_one_row && !expr.is_volatile() => Some(expr.clone().unalias()),
        _ => None,
    }
}

/// The first rows of a plan; all of one that depends on a query further out, whose rows each have
/// first rows of their own.
fn first_rows(plan: LogicalPlan, count: i64) -> Result<LogicalPlan> {
    if plan.exists(|node| Ok(!free_references(node).is_empty()))? {
        return Ok(plan);
    }
    let (skip, fetch) = (None, Some(Box::new(lit(count))));
    Ok(LogicalPlan::Limit(Limit { skip, fetch, input: Arc::new(plan) }))
}
