//! Joins of a query with a subquery that no longer depends on it.

use std::sync::Arc;

use datafusion_common::{
    Column, JoinConstraint, JoinType, NullEquality, Result, TableReference, internal_err,
};
use datafusion_expr::logical_plan::{Join, LogicalPlan, Projection};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{BinaryExpr, Expr, Operator, lit};

use super::Unnesting;
use super::lifted::{Key, Lifted, Pending, translated};
use super::scope::Scope;
use crate::rules::SingleJoin;

/// A join on conditions of which `outer` is over the left input and `inner` over the right. With
/// `in_pair` it is null-aware: it asks whether the pair's left is IN its right.
pub(super) fn joined(
    left: LogicalPlan,
    right: LogicalPlan,
    conditions: Vec<Pending>,
    kind: JoinType,
    in_pair: Option<(Expr, Expr)>,
) -> Result<LogicalPlan> {
    let null_aware = in_pair.is_some();
    let (mut on, mut null_safe, mut others) = (Vec::from_iter(in_pair), Vec::new(), Vec::new());
    for condition in conditions {
        match condition {
            Pending::Key(Key { outer, inner, null_safe: true }) => null_safe.push((outer, inner)),
            Pending::Key(Key { outer, inner, .. }) => on.push((outer, inner)),
            Pending::Other(condition) => others.push(condition),
        }
    }
    let mut null_equality = NullEquality::NullEqualsNothing;
    if on.is_empty() && !null_safe.is_empty() {
        on = null_safe;
        null_equality = NullEquality::NullEqualsNull;
    } else {
        let equal = null_safe.into_iter().map(|(left, right)| not_distinct(left, right));
        others = equal.chain(others).collect();
    }
    let join = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        conjunction(others),
        kind,
        JoinConstraint::On,
        null_equality,
        null_aware,
    )?;
    Ok(LogicalPlan::Join(join))
}

/// A join that gives each left row at most one right one, or fails.
pub(super) fn single_joined(
    left: LogicalPlan,
    right: LogicalPlan,
    conditions: Vec<Pending>,
) -> Result<LogicalPlan> {
    let (mut on, mut others) = (Vec::new(), Vec::new());
    for condition in conditions {
        match condition {
            Pending::Key(Key { outer, inner, null_safe: true }) => {
                others.push(not_distinct(outer, inner));
            }
            Pending::Key(Key { outer, inner, .. }) => on.push((outer, inner)),
            Pending::Other(condition) => others.push(condition),
        }
    }
    Ok(SingleJoin::try_new(left, right, on, conjunction(others))?.into_plan())
}

fn not_distinct(left: Expr, right: Expr) -> Expr {
    let (left, right) = (Box::new(left), Box::new(right));
    Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsNotDistinctFrom, right })
}

/// The column that a mark join adds to its left input.
pub(super) fn mark_of(join: &LogicalPlan) -> Result<Expr> {
    let schema = join.schema();
    match schema.fields().len().checked_sub(1) {
        Some(last) => Ok(Expr::Column(Column::from(schema.qualified_field(last)))),
        None => internal_err!("a mark join without mark"),
    }
}

impl Unnesting<'_> {
    /// The subquery with its columns under names that no others have, those only that are read;
    /// with a marker that is never NULL if wanted.
    pub(super) fn isolated(
        &mut self,
        lifted: Lifted,
        marker: bool,
    ) -> Result<(Lifted, Option<Expr>)> {
        let relation = TableReference::bare(self.fresh("sub"));
        let mut columns: Vec<Column> = Vec::new();
        for column in lifted.exprs().flat_map(|expr| expr.column_refs()) {
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        let mut names: Vec<String> = Vec::with_capacity(columns.len() + 1);
        let mut add_name = |wanted: &str| {
            // A column without a table beside the subquery may be called as one of its columns.
            let mut name = format!("{relation}_{wanted}");
            while names.contains(&name) {
                name.push('_');
            }
            names.push(name);
        };
        columns.iter().for_each(|column| add_name(&column.name));
        add_name("found");
        let exprs = columns.iter().zip(&names);
        let exprs = exprs.map(|(column, name)| {
            Expr::Column(column.clone()).alias_qualified(Some(relation.clone()), name)
        });
        let mut exprs: Vec<Expr> = exprs.collect();
        let marker = (marker || exprs.is_empty()).then(|| {
            let name = &names[columns.len()];
            exprs.push(lit(true).alias_qualified(Some(relation.clone()), name));
            Expr::Column(Column::new(Some(relation.clone()), name))
        });
        let plan = Projection::try_new(exprs, Arc::new(lifted.plan))?;
        let plan = LogicalPlan::Projection(plan);
        let by = |column: &Column| {
            let at = columns.iter().position(|c| c == column)?;
            Some(Expr::Column(Column::new(Some(relation.clone()), &names[at])))
        };
        let lifted = Lifted { plan, ..lifted }.map(&mut |expr| translated(expr, &by))?;
        Ok((lifted, marker))
    }

    /// As [`Unnesting::isolated`], and what refers to the query around are columns of it.
    pub(super) fn resolved(
        &mut self,
        lifted: Lifted,
        scope: &Scope,
        marker: bool,
    ) -> Result<(Lifted, Option<Expr>)> {
        let (lifted, marker) = self.isolated(lifted, marker)?;
        Ok((lifted.map(&mut |expr| scope.resolved(expr))?, marker))
    }
}
