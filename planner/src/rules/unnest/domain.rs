//! Values of the query around a subquery, as rows inside it.
//!
//! What cannot wait for a row of the query around (a condition other than an equality below a
//! group-by, an aggregate of outer columns) is computed for each distinct combination of the
//! columns that it reads: the domain. Joined to the subquery's plan, the domain makes them columns
//! of that plan, and an equality with them is what is left to wait.
//!
//! The domain reads the query around once more. Where that query is more than a scan, it becomes a
//! shared plan, of which both take their rows.

use std::sync::Arc;

use datafusion_common::{Column, ExprSchema, JoinType, Result, ScalarValue};
use datafusion_expr::logical_plan::{Aggregate, Filter, LogicalPlan, Projection};
use datafusion_expr::utils::conjunction;
use datafusion_expr::{BinaryExpr, Expr, lit};

use super::join::joined;
use super::lifted::{Key, Lifted, Pending};
use super::scope::Scope;
use super::{Unnesting, case, column_exprs};
use crate::rules::shared::{is_worth_sharing, stand_in};

/// What becomes of bindings for which the subquery's plan has no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unmatched {
    Dropped,
    /// They stay, with NULLs for the plan's columns.
    Kept,
}

impl Unnesting<'_> {
    /// Makes all columns of the query around that are pending, and `more`, columns of the plan.
    /// Gives a column that is NULL in rows that are a binding alone.
    pub(super) fn bind(
        &mut self,
        lifted: Lifted,
        scope: &mut Scope,
        more: &[Column],
        unmatched: Unmatched,
    ) -> Result<(Lifted, Option<Expr>)> {
        let mut columns = scope.columns_of(lifted.pending.iter().flat_map(Pending::exprs));
        for column in more {
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        let (domain, bound) = self.domain(scope, &columns)?;
        let mut keys = Vec::with_capacity(columns.len());
        for (column, inner) in columns.iter().zip(&bound) {
            let nullable = scope.plan.schema().field_from_column(column)?.is_nullable();
            let dropped = unmatched == Unmatched::Dropped
                && lifted.pending.iter().any(|pending| drops_null(pending, column, scope));
            let (outer, inner) = (scope.reference(column)?, Expr::Column(inner.clone()));
            keys.push(Pending::Key(Key { outer, inner, null_safe: nullable && !dropped }));
        }
        let by = |column: &Column| {
            let at = columns.iter().position(|c| c == column)?;
            Some(Expr::Column(bound[at].clone()))
        };
        let lifted = lifted.map(&mut |expr| scope.replaced(expr, &by))?;
        let (plan, marker) = match unmatched {
            Unmatched::Dropped => (lifted.plan, None),
            Unmatched::Kept => {
                let (plan, marker) = self.marked(lifted.plan)?;
                (plan, Some(marker))
            }
        };
        let kind = match unmatched {
            Unmatched::Dropped => JoinType::Inner,
            Unmatched::Kept => JoinType::Left,
        };
        let plan = joined(domain, plan, lifted.pending, kind, None)?;
        Ok((Lifted { plan, pending: keys, ..lifted }, marker))
    }

    /// Gives the row that a subquery has when nothing is left of its plan: it becomes a row of the
    /// plan for every binding without one.
    pub(super) fn settled(&mut self, lifted: Lifted, scope: &mut Scope) -> Result<Lifted> {
        if lifted.absent.is_none() {
            return Ok(lifted);
        }
        let columns = scope.columns_of(lifted.exprs());
        let (mut lifted, marker) = self.bind(lifted, scope, &columns, Unmatched::Kept)?;
        let absent = lifted.absent.take().unwrap_or_default();
        let outputs = std::mem::take(&mut lifted.outputs).into_iter().zip(absent);
        let chosen = outputs.map(|(output, absent)| chosen(marker.as_ref(), output, absent));
        lifted.outputs = chosen.collect();
        Ok(lifted)
    }

    /// The distinct combinations of columns of the query around, and what they are called.
    fn domain(
        &mut self,
        scope: &mut Scope,
        columns: &[Column],
    ) -> Result<(LogicalPlan, Vec<Column>)> {
        if is_worth_sharing(&scope.plan)? {
            let plan = std::mem::take(&mut scope.plan);
            scope.plan = self.shared(plan)?;
        }
        let mut source = Arc::new(scope.plan.clone());
        if let Some(guard) = conjunction(scope.guards.iter().cloned()) {
            source = Arc::new(LogicalPlan::Filter(Filter::new(guard, source)));
        }
        let names: Vec<String> = columns.iter().map(|_| self.fresh("outer")).collect();
        let exprs = columns.iter().zip(&names);
        let exprs = exprs.map(|(column, name)| Expr::Column(column.clone()).alias(name));
        let values = Projection::try_new(exprs.collect(), source)?;
        let bound: Vec<Column> = names.into_iter().map(Column::new_unqualified).collect();
        let keys = bound.iter().cloned().map(Expr::Column).collect();
        let values = Arc::new(LogicalPlan::Projection(values));
        let domain = LogicalPlan::Aggregate(Aggregate::try_new(values, keys, Vec::new())?);
        Ok((domain, bound))
    }

    /// A stand-in for a plan that is computed once and read several times.
    pub(super) fn shared(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let stand_in = stand_in(self.parts.len(), &plan)?;
        self.parts.push(plan);
        Ok(stand_in)
    }

    /// A plan with a column more that is never NULL.
    fn marked(&mut self, plan: LogicalPlan) -> Result<(LogicalPlan, Expr)> {
        let name = self.fresh("found");
        let mut exprs = column_exprs(plan.schema());
        exprs.push(lit(true).alias(&name));
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?);
        Ok((plan, Expr::Column(Column::new_unqualified(name))))
    }
}

/// The value of an output: `absent` where the marker is NULL.
pub(super) fn chosen(marker: Option<&Expr>, output: Expr, absent: Expr) -> Expr {
    let is_null = matches!(&absent, Expr::Literal(value, _) if value.is_null());
    match marker {
        Some(marker) if !(is_null && is_beside(marker, &output)) => {
            case(vec![(marker.clone().is_not_null(), output)], Some(absent))
        }
        _ => output,
    }
}

/// Whether an output is a column beside the marker, and NULL with it. One of the query around is
/// a column, too, and is not.
pub(super) fn is_beside(marker: &Expr, output: &Expr) -> bool {
    match (marker, output) {
        (Expr::Column(marker), Expr::Column(output)) => {
            marker.relation.is_some() && marker.relation == output.relation
        }
        _ => false,
    }
}

/// Whether a condition does not hold when a column of the query around is NULL.
fn drops_null(pending: &Pending, column: &Column, scope: &Scope) -> bool {
    let is_column = |expr: &Expr| match expr {
        Expr::OuterReferenceColumn(_, name) => scope.column(name).as_ref() == Some(column),
        _ => false,
    };
    match pending {
        Pending::Key(key) => !key.null_safe && is_column(&key.outer),
        Pending::Other(Expr::BinaryExpr(BinaryExpr { left, op, right })) => {
            op.returns_null_on_null() && (is_column(left) || is_column(right))
        }
        Pending::Other(_) => false,
    }
}

/// NULL of a type.
pub(super) fn null_of(data_type: &arrow::datatypes::DataType) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::try_from(data_type)?, None))
}
