//! Takes the dependence on the query around out of a subquery's plan, from the leaves up.
//!
//! Conditions that read columns of the query around are not applied but kept pending, and columns
//! computed from them are not computed but kept as outputs: both travel up through the operators
//! that they commute with. Equalities commute with all: a group-by takes the subquery's side of
//! them as further keys, a union and a limit by row numbers likewise. Before an operator that
//! something else does not commute with, the columns are bound (see `domain`).
//!
//! Source: T. Neumann, A. Kemper, Unnesting Arbitrary Queries, BTW 2015; T. Neumann, Improving
//! Unnesting of Complex Queries, BTW 2025. There the domain is pushed down as far as it goes and
//! taken out where equalities make up for it; here what depends is pulled up as far as it goes, and
//! the domain is put in where that ends.
//!
//! A condition or column that can fail must not see rows that the subquery would have dropped:
//! while something is pending it waits too, behind it.

use std::sync::Arc;

use datafusion_common::{Column, DFSchema, Result};
use datafusion_expr::logical_plan::{Distinct, Filter, LogicalPlan, Projection, Sort};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, FetchType, SkipType, lit};

use super::Unnesting;
use super::lifted::{Lifted, Pending, translated};
use super::rows::{kind_of, rows_as_union};
use super::scope::Scope;
use crate::fallible::is_fallible;
use crate::functions::{in_place, is_random};
use crate::rules::SingleJoin;

/// What the rows of a subquery are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Each counts, and so may their order.
    Rows,
    /// Only which there are.
    Set,
    /// Only whether there are any.
    Existence,
}

impl Use {
    /// The use of an input of which rows are dropped or combined.
    pub(super) fn below(self) -> Self {
        if self == Use::Existence { Use::Set } else { self }
    }
}

impl Unnesting<'_> {
    /// Lifts the plan of a subquery, which has no subqueries left of its own.
    ///
    /// # Errors
    /// `Input` for operators that cannot be made independent.
    pub(super) fn lift(
        &mut self,
        plan: LogicalPlan,
        scope: &mut Scope,
        goal: Use,
    ) -> Result<Lifted> {
        if !scope.is_read_in(&plan) {
            return Ok(Lifted::whole(plan));
        }
        self.refuse_volatile(&plan)?;
        match plan {
            LogicalPlan::Projection(projection) => self.lift_projection(projection, scope, goal),
            LogicalPlan::SubqueryAlias(alias) => {
                let lifted = self.lift(Arc::unwrap_or_clone(alias.input), scope, goal)?;
                let columns = lifted.outputs.clone();
                self.projected(lifted, columns, &alias.schema, scope)
            }
            LogicalPlan::Filter(filter) => self.lift_filter(filter, scope, goal),
            LogicalPlan::Sort(sort) => self.lift_sort(sort, scope, goal),
            LogicalPlan::Limit(limit) => {
                let keeps_one = matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)))
                    && matches!(limit.get_fetch_type(), Ok(FetchType::Literal(n)) if n != Some(0));
                if goal == Use::Existence && keeps_one {
                    return self.lift(Arc::unwrap_or_clone(limit.input), scope, goal);
                }
                self.lift_limit(limit, scope)
            }
            LogicalPlan::Distinct(Distinct::All(input)) if goal != Use::Rows => {
                self.lift(Arc::unwrap_or_clone(input), scope, goal)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => self.lift_distinct(input, scope),
            LogicalPlan::Aggregate(aggregate) => self.lift_aggregate(aggregate, scope),
            LogicalPlan::Window(window) => self.lift_window(window, scope),
            LogicalPlan::Join(join) => self.lift_join(join, scope, goal),
            LogicalPlan::Union(union) => self.lift_union(union, scope, goal),
            LogicalPlan::Unnest(unnest) => self.lift_unnest(unnest, scope),
            LogicalPlan::Subquery(subquery) => {
                self.lift(Arc::unwrap_or_clone(subquery.subquery), scope, goal)
            }
            LogicalPlan::Values(values) => {
                let plan = rows_as_union(values)?;
                self.lift(plan, scope, goal)
            }
            LogicalPlan::Extension(node) => match node.node.as_any().downcast_ref::<SingleJoin>() {
                Some(join) => self.lift_single_join(join.clone(), scope, goal),
                None => Err(self.refuse(&format!("{} in a subquery", node.node.name()))),
            },
            other => Err(self.refuse(&format!(
                "{} in a subquery that refers to the query around it",
                kind_of(&other)
            ))),
        }
    }

    fn refuse_volatile(&self, plan: &LogicalPlan) -> Result<()> {
        match plan.expressions().iter().find(|expr| is_random(expr)) {
            Some(_) => Err(self.refuse(
                "a function like random() in a subquery that refers to the query around it",
            )),
            None => Ok(()),
        }
    }

    fn lift_projection(
        &mut self,
        projection: Projection,
        scope: &mut Scope,
        goal: Use,
    ) -> Result<Lifted> {
        let schema = projection.input.schema().clone();
        let mut lifted = self.lift(Arc::unwrap_or_clone(projection.input), scope, goal)?;
        if let Some(absent) = lifted.absent.take() {
            let value =
                |column: &Column| absent.get(schema.maybe_index_of_column(column)?).cloned();
            let exprs = projection.expr.iter();
            let exprs = exprs.map(|expr| translated(expr.clone().unalias(), &value));
            lifted.absent = Some(exprs.collect::<Result<_>>()?);
        }
        let exprs = projection.expr.into_iter();
        let exprs = exprs.map(|expr| lifted.translated(expr.unalias(), &schema));
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        self.projected(lifted, exprs, &projection.schema, scope)
    }

    /// The plan with columns of these names, computed by `exprs`; those that depend on the query
    /// around, or could fail for rows that it does not ask for, are outputs only.
    pub(super) fn projected(
        &mut self,
        mut lifted: Lifted,
        exprs: Vec<Expr>,
        names: &DFSchema,
        scope: &Scope,
    ) -> Result<Lifted> {
        let waits = !lifted.pending.is_empty();
        let mut columns = Columns::default();
        let (mut computed, mut deferred) = (Vec::new(), Vec::new());
        for (expr, (relation, field)) in exprs.into_iter().zip(names.iter()) {
            let depends = scope.is_read_by(&expr);
            if depends || waits && is_fallible(&expr, lifted.plan.schema()) {
                deferred.push(expr);
                computed.push(None);
                continue;
            }
            let name = Column::new(relation.cloned(), field.name());
            columns.push(expr, name.clone());
            computed.push(Some(Expr::Column(name)));
        }
        lifted.outputs = deferred;
        let mut lifted = lifted.map(&mut |expr| {
            // The names are given as they are needed.
            for column in expr.column_refs() {
                columns.carry(column, || self.fresh("carried"));
            }
            translated(expr, &|column| columns.name_of(column))
        })?;
        if columns.columns.is_empty() {
            columns.push(lit(true), Column::new_unqualified(self.fresh("row")));
        }
        let mut deferred = std::mem::take(&mut lifted.outputs).into_iter();
        let outputs = computed.into_iter().map(|name| name.or_else(|| deferred.next()));
        lifted.outputs = outputs.flatten().collect();
        let projection = Projection::try_new(columns.exprs(), Arc::new(lifted.plan))?;
        lifted.plan = LogicalPlan::Projection(projection);
        Ok(lifted)
    }

    fn lift_filter(&mut self, filter: Filter, scope: &mut Scope, goal: Use) -> Result<Lifted> {
        let schema = filter.input.schema().clone();
        let lifted = self.lift(Arc::unwrap_or_clone(filter.input), scope, goal.below())?;
        let mut lifted = self.settled(lifted, scope)?;
        let mut applied = Vec::new();
        for condition in split_conjunction_owned(filter.predicate) {
            let condition = lifted.translated(condition, &schema)?;
            if let Some(condition) = self.wait(condition, &mut lifted, scope) {
                applied.push(condition);
            }
        }
        if let Some(predicate) = conjunction(applied) {
            let input = Arc::new(lifted.plan);
            lifted.plan = LogicalPlan::Filter(Filter::new(predicate, input));
        }
        Ok(lifted)
    }

    /// Adds a condition to what is pending if it has to wait; gives it back if it has not.
    pub(super) fn wait(&self, condition: Expr, lifted: &mut Lifted, scope: &Scope) -> Option<Expr> {
        let depends = scope.is_read_by(&condition);
        let waits = !lifted.pending.is_empty() || depends && !scope.guards.is_empty();
        if waits && is_fallible(&condition, lifted.plan.schema()) {
            let columns = scope.columns_of([&condition]);
            let own = columns.first().and_then(|column| scope.reference(column).ok());
            let Some(anchor) = lifted.anchor(scope).or(own) else { return Some(condition) };
            lifted.pending.push(Pending::Other(in_place(condition, anchor)));
        } else if depends {
            let pending = Pending::new(condition, scope, lifted.plan.schema());
            lifted.pending.push(pending);
        } else {
            return Some(condition);
        }
        None
    }

    fn lift_sort(&mut self, sort: Sort, scope: &mut Scope, goal: Use) -> Result<Lifted> {
        let schema = sort.input.schema().clone();
        let mut lifted = self.lift(Arc::unwrap_or_clone(sort.input), scope, goal)?;
        lifted.order.clear();
        if goal == Use::Rows {
            for mut key in sort.expr {
                key.expr = lifted.translated(key.expr, &schema)?;
                lifted.order.push(key);
            }
        }
        Ok(lifted)
    }
}

/// The columns of a projection in the making.
#[derive(Default)]
struct Columns {
    columns: Vec<(Expr, Column)>,
}

impl Columns {
    fn push(&mut self, expr: Expr, name: Column) {
        self.columns.push((expr, name));
    }

    /// What a column of the input is called.
    fn name_of(&self, column: &Column) -> Option<Expr> {
        let is_it = |(expr, _): &&(Expr, Column)| matches!(expr, Expr::Column(c) if c == column);
        self.columns.iter().find(is_it).map(|(_, name)| Expr::Column(name.clone()))
    }

    /// Adds a column of the input, unless it is there.
    fn carry(&mut self, column: &Column, fresh: impl FnOnce() -> String) {
        if self.name_of(column).is_none() {
            let name = if is_own(column) { column.name.clone() } else { fresh() };
            self.push(Expr::Column(column.clone()), Column::new_unqualified(name));
        }
    }

    fn exprs(self) -> Vec<Expr> {
        let named = |(expr, name): (Expr, Column)| match &expr {
            Expr::Column(column) if *column == name => expr,
            _ => expr.alias_qualified(name.relation, name.name),
        };
        self.columns.into_iter().map(named).collect()
    }
}

/// Whether a column has a name of ours, which no other has.
fn is_own(column: &Column) -> bool {
    column.relation.is_none() && column.name.starts_with("__")
}
