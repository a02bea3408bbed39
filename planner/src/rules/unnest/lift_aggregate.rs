//! GROUP BY in a subquery: grouped by the keys too, it groups for all rows of the query around at
//! once.
//!
//! An aggregate without groups has a row even for nothing. Where there are keys, that row is
//! remembered (see `lifted`); where something else has to be bound, it is made from the bindings.

use std::sync::Arc;

use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::logical_plan::{Aggregate, LogicalPlan};
use datafusion_expr::{Expr, ExprSchemable};

use super::domain::{Unmatched, null_of};
use super::lift::Use;
use super::lifted::Lifted;
use super::scope::Scope;
use super::{Unnesting, case, column_exprs};
use crate::fallible::is_fallible;

impl Unnesting<'_> {
    pub(super) fn lift_aggregate(
        &mut self,
        aggregate: Aggregate,
        scope: &mut Scope,
    ) -> Result<Lifted> {
        if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            let what = "GROUPING SETS in a subquery that refers to the query around it";
            return Err(self.refuse(what));
        }
        self.refuse_outer_aggregate(&aggregate)?;
        let schema = aggregate.input.schema().clone();
        let lifted = self.lift(Arc::unwrap_or_clone(aggregate.input), scope, Use::Rows)?;
        let mut lifted = self.settled(lifted, scope)?;
        lifted.order.clear();
        // A key that is there twice is one column of the aggregate.
        let (keys, _) = distinct(aggregate.group_expr);
        let exprs = keys.iter().chain(&aggregate.aggr_expr);
        let exprs = exprs.map(|expr| lifted.translated(expr.clone().unalias(), &schema));
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let is_whole = keys.is_empty();
        let (mut lifted, mut groups, is_settled) = match is_whole {
            true => self.bound_for_whole(lifted, exprs, scope)?,
            false => {
                let (lifted, exprs) = self.keyed(lifted, exprs, scope)?;
                (lifted, exprs, false)
            }
        };
        let calls = groups.split_off(keys.len());
        // So are keys that are the same column of what is below.
        let (mut groups, own) = distinct(groups);
        let absent = match is_whole && !is_settled && !lifted.pending.is_empty() {
            true => Some(on_nothing(&aggregate.aggr_expr, &schema)?),
            false => None,
        };
        let mut places = Vec::new();
        for key in lifted.keys_mut() {
            let same = groups.iter().position(|group| group.clone().unalias() == key.inner);
            places.push(same.unwrap_or(groups.len()));
            if same.is_none() {
                groups.push(match &key.inner {
                    column @ Expr::Column(_) => column.clone(),
                    // A cast has the name of what it casts, which may be a key as well.
                    other => other.clone().alias(self.fresh("key")),
                });
            }
        }
        let grouped = groups.len();
        let aggregate =
            Aggregate::try_new(Arc::new(std::mem::take(&mut lifted.plan)), groups, calls)?;
        let mut columns = column_exprs(&aggregate.schema);
        let calls = columns.split_off(grouped);
        for (key, place) in lifted.keys_mut().zip(places) {
            key.inner = columns[place].clone();
        }
        let outputs = own.into_iter().map(|place| columns[place].clone()).chain(calls).collect();
        let plan = LogicalPlan::Aggregate(aggregate);
        Ok(Lifted { plan, outputs, absent, ..lifted })
    }

    /// For an aggregate without groups: only keys are left pending, and the calls read nothing but
    /// the plan. Says whether every binding has rows now, of which the calls leave out those that
    /// are a binding alone.
    fn bound_for_whole(
        &mut self,
        lifted: Lifted,
        calls: Vec<Expr>,
        scope: &mut Scope,
    ) -> Result<(Lifted, Vec<Expr>, bool)> {
        let schema = lifted.plan.schema().clone();
        let free = |e: &Expr| !scope.is_read_by(e) && !is_fallible(e, &schema);
        let waits = !lifted.pending.is_empty();
        let on_nothing_is_known = calls.iter().all(|call| on_nothing_of(call).is_some());
        let reads = calls.iter().any(|call| scope.is_read_by(call));
        let settles = waits && !(calls.iter().all(free) && on_nothing_is_known);
        if lifted.has_only_keys() && !reads && !settles {
            return Ok((lifted, calls, false));
        }
        let columns = scope.columns_of(lifted.exprs().chain(&calls));
        let mut both = lifted;
        both.outputs = calls;
        let (mut both, marker) = self.bind(both, scope, &columns, Unmatched::Kept)?;
        let calls = std::mem::take(&mut both.outputs);
        let Some(marker) = marker else { return Ok((both, calls, true)) };
        let found = marker.is_not_null();
        let schema = both.plan.schema().clone();
        let only_found = |call: Expr| match call {
            Expr::AggregateFunction(mut call) => {
                for arg in &mut call.params.args {
                    if is_fallible(arg, &schema) {
                        *arg = case(vec![(found.clone(), std::mem::take(arg))], None);
                    }
                }
                let filter = call.params.filter.take().map(|filter| *filter);
                let filter = filter.map_or(found.clone(), |f| found.clone().and(f));
                call.params.filter = Some(Box::new(filter));
                Expr::AggregateFunction(call)
            }
            other => other,
        };
        let calls = calls.into_iter().map(only_found).collect();
        Ok((both, calls, true))
    }

    /// An aggregate of outer columns alone is one of the query around, which is not computed there.
    fn refuse_outer_aggregate(&self, aggregate: &Aggregate) -> Result<()> {
        let is_outer = |call: &Expr| call.contains_outer() && !call.any_column_refs();
        match aggregate.aggr_expr.iter().find(|call| is_outer(call)) {
            Some(_) => Err(self.refuse(
                "an aggregate in a subquery over nothing but columns of the query around it",
            )),
            None => Ok(()),
        }
    }
}

/// Each expression once, and which of them each is.
fn distinct(exprs: Vec<Expr>) -> (Vec<Expr>, Vec<usize>) {
    let mut once = Vec::new();
    let place = |expr| match once.iter().position(|other| *other == expr) {
        Some(place) => place,
        None => {
            once.push(expr);
            once.len() - 1
        }
    };
    let places = exprs.into_iter().map(place).collect();
    (once, places)
}

/// What the calls of an aggregate without groups give for no rows.
fn on_nothing(calls: &[Expr], schema: &DFSchema) -> Result<Vec<Expr>> {
    let value = |call: &Expr| match on_nothing_of(call) {
        Some(Some(value)) => Ok(Expr::Literal(value, None)),
        _ => null_of(&call.get_type(schema)?),
    };
    calls.iter().map(value).collect()
}

/// What a call gives for no rows: `Some(None)` for NULL, `None` when it is not known.
fn on_nothing_of(call: &Expr) -> Option<Option<ScalarValue>> {
    let Expr::AggregateFunction(AggregateFunction { func, .. }) = call.clone().unalias() else {
        return None;
    };
    match func.name() {
        "count" => Some(Some(ScalarValue::Int64(Some(0)))),
        "sum" | "min" | "max" | "avg" | "median" | "stddev" | "stddev_pop" | "var" | "var_pop"
        | "bool_and" | "bool_or" | "first_value" | "last_value" | "string_agg" | "corr" => {
            Some(None)
        }
        _ => None,
    }
}
