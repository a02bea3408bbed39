//! Operators that look at several rows of a subquery at once, made to look at those of one row of
//! the query around: DISTINCT, window functions, LIMIT and UNION. And UNNEST, which needs its lists
//! as columns.

use std::sync::Arc;

use datafusion_common::{Column, Result, internal_err};
use datafusion_expr::expr::WindowFunction;
use datafusion_expr::logical_plan::{
    Distinct, Filter, Limit, LogicalPlan, Projection, Union, Unnest, Window,
};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{Expr, FetchType, SkipType, WindowFunctionDefinition, lit};

use super::domain::Unmatched;
use super::lift::Use;
use super::lifted::{Key, Lifted, Pending};
use super::rows::has_at_most_one_row;
use super::scope::Scope;
use super::{Unnesting, column_exprs};
use crate::fallible::is_fallible;
use crate::functions::window_function;

impl Unnesting<'_> {
    /// Only keys are left pending, and `exprs`, over the plan's columns, read nothing else than it
    /// and can be computed on all its rows; `exprs` are given back as they are then.
    pub(super) fn keyed(
        &mut self,
        lifted: Lifted,
        exprs: Vec<Expr>,
        scope: &mut Scope,
    ) -> Result<(Lifted, Vec<Expr>)> {
        let waits = !lifted.pending.is_empty();
        let schema = lifted.plan.schema().clone();
        let free = |e: &Expr| !(scope.is_read_by(e) || waits && is_fallible(e, &schema));
        if lifted.has_only_keys() && exprs.iter().all(free) {
            return Ok((lifted, exprs));
        }
        let columns = scope.columns_of(lifted.exprs().chain(&exprs));
        let count = exprs.len();
        let mut both = lifted;
        both.outputs.extend(exprs);
        let (mut both, _) = self.bind(both, scope, &columns, Unmatched::Dropped)?;
        let exprs = both.outputs.split_off(both.outputs.len() - count);
        Ok((both, exprs))
    }

    /// The outputs as columns of the plan under these names, and no other columns but the keys.
    fn narrowed(
        &mut self,
        mut lifted: Lifted,
        names: Vec<Column>,
        scope: &mut Scope,
    ) -> Result<Lifted> {
        lifted.order.clear();
        let outputs = std::mem::take(&mut lifted.outputs);
        let (mut lifted, outputs) = self.keyed(lifted, outputs, scope)?;
        let named = outputs.into_iter().zip(&names);
        let named =
            named.map(|(expr, name)| expr.alias_qualified(name.relation.clone(), &name.name));
        let mut exprs: Vec<Expr> = named.collect();
        for key in lifted.keys_mut() {
            let name = self.fresh("key");
            let inner = Expr::Column(Column::new_unqualified(&name));
            exprs.push(std::mem::replace(&mut key.inner, inner).alias(name));
        }
        let projection = Projection::try_new(exprs, Arc::new(lifted.plan))?;
        lifted.plan = LogicalPlan::Projection(projection);
        lifted.outputs = names.into_iter().map(Expr::Column).collect();
        Ok(lifted)
    }

    pub(super) fn lift_distinct(
        &mut self,
        input: Arc<LogicalPlan>,
        scope: &mut Scope,
    ) -> Result<Lifted> {
        let names = input.schema().columns();
        let lifted = self.lift(Arc::unwrap_or_clone(input), scope, Use::Rows)?;
        let lifted = self.settled(lifted, scope)?;
        let mut lifted = self.narrowed(lifted, names, scope)?;
        lifted.plan = LogicalPlan::Distinct(Distinct::All(Arc::new(lifted.plan)));
        Ok(lifted)
    }

    pub(super) fn lift_window(&mut self, window: Window, scope: &mut Scope) -> Result<Lifted> {
        let schema = window.input.schema().clone();
        let width = schema.fields().len();
        let lifted = self.lift(Arc::unwrap_or_clone(window.input), scope, Use::Rows)?;
        let lifted = self.settled(lifted, scope)?;
        let exprs = window.window_expr.into_iter();
        let exprs = exprs.map(|expr| lifted.translated(expr.unalias(), &schema));
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let (mut lifted, mut exprs) = self.keyed(lifted, exprs, scope)?;
        let keys: Vec<Expr> = lifted.keys_mut().map(|key| key.inner.clone()).collect();
        for (expr, (relation, field)) in exprs.iter_mut().zip(window.schema.iter().skip(width)) {
            if let Expr::WindowFunction(call) = expr {
                partition_further(call, &keys);
            }
            let name = Column::new(relation.cloned(), field.name());
            *expr = std::mem::take(expr).alias_qualified(name.relation.clone(), &name.name);
            lifted.outputs.push(Expr::Column(name));
        }
        lifted.order.clear();
        lifted.plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(lifted.plan))?);
        Ok(lifted)
    }

    pub(super) fn lift_limit(&mut self, limit: Limit, scope: &mut Scope) -> Result<Lifted> {
        let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) =
            (limit.get_skip_type(), limit.get_fetch_type())
        else {
            return Err(self.refuse("LIMIT and OFFSET that are not constants"));
        };
        let is_idle = skip == 0 && fetch != Some(0) && has_at_most_one_row(&limit.input);
        let lifted = self.lift(Arc::unwrap_or_clone(limit.input), scope, Use::Rows)?;
        if is_idle {
            return Ok(lifted);
        }
        let mut lifted = self.settled(lifted, scope)?;
        if fetch == Some(0) {
            let none = Filter::new(lit(false), Arc::new(lifted.plan));
            lifted.plan = LogicalPlan::Filter(none);
            return Ok(lifted);
        }
        self.numbered(lifted, skip, fetch, scope)
    }

    /// The rows from number `skip` on, `fetch` of them at most, of those for each row of the query
    /// around, in their order: they are numbered, apart for what the keys equal.
    fn numbered(
        &mut self,
        lifted: Lifted,
        skip: usize,
        fetch: Option<usize>,
        scope: &mut Scope,
    ) -> Result<Lifted> {
        let order = lifted.order.iter().map(|key| key.expr.clone()).collect();
        let (mut lifted, order) = self.keyed(lifted, order, scope)?;
        for (key, expr) in lifted.order.iter_mut().zip(order) {
            key.expr = expr;
        }
        let Some(row_number) = window_function("row_number") else {
            return internal_err!("rows have no numbers");
        };
        let function = WindowFunctionDefinition::WindowUDF(row_number);
        let mut number = WindowFunction::new(function, Vec::new());
        let keys: Vec<Expr> = lifted.keys_mut().map(|key| key.inner.clone()).collect();
        partition_further(&mut number, &keys);
        number.params.order_by.clone_from(&lifted.order);
        let name = self.fresh("number");
        let number = Expr::from(number).alias(&name);
        let window = Window::try_new(vec![number], Arc::new(lifted.plan))?;
        let number = Expr::Column(Column::new_unqualified(name));
        // Numbers begin with 1, and are 64-bit integers.
        let bound = |rows: usize| lit(i64::try_from(rows).unwrap_or(i64::MAX));
        let first = (skip > 0).then(|| number.clone().gt(bound(skip)));
        let last = fetch.map(|fetch| number.lt_eq(bound(skip.saturating_add(fetch))));
        let window = Arc::new(LogicalPlan::Window(window));
        lifted.plan = match conjunction(first.into_iter().chain(last)) {
            Some(condition) => LogicalPlan::Filter(Filter::try_new(condition, window)?),
            None => Arc::unwrap_or_clone(window),
        };
        Ok(lifted)
    }

    pub(super) fn lift_unnest(&mut self, unnest: Unnest, scope: &mut Scope) -> Result<Lifted> {
        let names = unnest.input.schema().columns();
        let lifted = self.lift(Arc::unwrap_or_clone(unnest.input), scope, Use::Rows)?;
        let lifted = self.settled(lifted, scope)?;
        let mut lifted = self.narrowed(lifted, names, scope)?;
        let input = Arc::new(lifted.plan);
        let elements = Unnest::try_new(input, unnest.exec_columns, unnest.options)?;
        lifted.outputs = unnest.schema.columns().into_iter().map(Expr::Column).collect();
        lifted.plan = LogicalPlan::Unnest(elements);
        Ok(lifted)
    }

    pub(super) fn lift_union(
        &mut self,
        union: Union,
        scope: &mut Scope,
        goal: Use,
    ) -> Result<Lifted> {
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in union.inputs {
            let lifted = self.lift(Arc::unwrap_or_clone(input), scope, goal)?;
            inputs.push(self.settled(lifted, scope)?);
        }
        let columns = scope.columns_of(inputs.iter().flat_map(Lifted::exprs));
        let names: Vec<Column> =
            union.schema.fields().iter().map(|f| Column::new_unqualified(f.name())).collect();
        let mut plans = Vec::with_capacity(inputs.len());
        let mut null_safe = vec![false; columns.len()];
        for lifted in inputs {
            let lifted = match has_one_key_each(&lifted, &columns, scope) {
                true => lifted,
                false => self.bind(lifted, scope, &columns, Unmatched::Dropped)?.0,
            };
            let mut lifted = self.narrowed(lifted, names.clone(), scope)?;
            // Those that were bound meanwhile have keys in another order.
            let keys = keys_of(&mut lifted, &columns, scope);
            null_safe.iter_mut().zip(&keys).for_each(|(all, key)| *all |= key.null_safe);
            plans.push((lifted.plan, keys));
        }
        // The rules that drop an input without rows take the names of the others.
        let key_names: Vec<String> = columns.iter().map(|_| self.fresh("key")).collect();
        let inputs = plans.into_iter().map(|(plan, keys)| {
            let mut plan = plan;
            let mut exprs: Vec<Expr> = names.iter().cloned().map(Expr::Column).collect();
            for ((key, &null_safe), name) in keys.into_iter().zip(&null_safe).zip(&key_names) {
                if null_safe && !key.null_safe {
                    let present = Filter::new(key.inner.clone().is_not_null(), Arc::new(plan));
                    plan = LogicalPlan::Filter(present);
                }
                exprs.push(key.inner.alias(name));
            }
            Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?)))
        });
        let union = Union::try_new_with_loose_types(inputs.collect::<Result<_>>()?)?;
        let mut outputs = column_exprs(&union.schema);
        let inner = outputs.split_off(names.len());
        let keys = columns.iter().zip(inner).zip(null_safe).map(|((column, inner), null_safe)| {
            let outer = scope.reference(column)?;
            Ok(Pending::Key(Key { outer, inner, null_safe }))
        });
        let pending = keys.collect::<Result<_>>()?;
        let plan = LogicalPlan::Union(union);
        Ok(Lifted { plan, pending, outputs, absent: None, order: Vec::new() })
    }
}

/// Whether all that is pending is one equality for each of these columns.
fn has_one_key_each(lifted: &Lifted, columns: &[Column], scope: &Scope) -> bool {
    let mut keyed = Vec::with_capacity(columns.len());
    for pending in &lifted.pending {
        match pending {
            Pending::Key(Key { outer: Expr::OuterReferenceColumn(_, name), .. }) => {
                keyed.push(scope.column(name));
            }
            _ => return false,
        }
    }
    let is_keyed = |column: &Column| keyed.iter().any(|k| k.as_ref() == Some(column));
    keyed.len() == columns.len() && columns.iter().all(is_keyed)
}

/// The keys in the order of the columns that they equal.
fn keys_of(lifted: &mut Lifted, columns: &[Column], scope: &Scope) -> Vec<Key> {
    let keys: Vec<Key> = lifted.keys_mut().map(|key| key.clone()).collect();
    let key_of = |column: &Column| {
        let equals = |key: &&Key| match &key.outer {
            Expr::OuterReferenceColumn(_, name) => scope.column(name).as_ref() == Some(column),
            _ => false,
        };
        keys.iter().find(equals).cloned()
    };
    columns.iter().filter_map(key_of).collect()
}

/// Makes a window function's partitions smaller.
fn partition_further(call: &mut WindowFunction, keys: &[Expr]) {
    for key in keys {
        if !call.params.partition_by.contains(key) {
            call.params.partition_by.push(key.clone());
        }
    }
}
