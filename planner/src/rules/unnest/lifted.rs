//! A subquery that no longer depends on the query around it.
//!
//! Invariant: for each row of the query around, the rows of the subquery are those of `plan` for
//! which everything in `pending` holds, and its columns are `outputs` computed on them. When none
//! is left and `absent` is given, the subquery has one row instead, with these columns,
//! which read none of the plan.

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, Result};
use datafusion_expr::utils::can_hash;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, SortExpr};

use super::scope::Scope;

/// See the module documentation.
pub(super) struct Lifted {
    pub(super) plan: LogicalPlan,
    pub(super) pending: Vec<Pending>,
    pub(super) outputs: Vec<Expr>,
    pub(super) absent: Option<Vec<Expr>>,
    /// The order of the rows, if it was asked for.
    pub(super) order: Vec<SortExpr>,
}

/// A condition that waits for a row of the query around.
#[derive(Debug, Clone)]
pub(super) enum Pending {
    Key(Key),
    Other(Expr),
}

/// An equality of something of the query around and something of the subquery's plan.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) outer: Expr,
    pub(super) inner: Expr,
    /// Whether NULL equals NULL.
    pub(super) null_safe: bool,
}

impl Pending {
    /// A condition that reads columns of the query around.
    pub(super) fn new(condition: Expr, scope: &Scope, schema: &DFSchema) -> Self {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &condition else {
            return Pending::Other(condition);
        };
        let null_safe = match op {
            Operator::Eq => false,
            Operator::IsNotDistinctFrom => true,
            _ => return Pending::Other(condition),
        };
        for (outer, inner) in [(left, right), (right, left)] {
            let is_key = scope.is_read_by(outer)
                && !outer.any_column_refs()
                && !scope.is_read_by(inner)
                && inner.any_column_refs()
                && inner.get_type(schema).is_ok_and(|t| can_hash(&t));
            if is_key {
                let (outer, inner) = (outer.as_ref().clone(), inner.as_ref().clone());
                return Pending::Key(Key { outer, inner, null_safe });
            }
        }
        Pending::Other(condition)
    }

    /// Changes what it says of the subquery's plan and of the query around.
    pub(super) fn map(self, change: &mut dyn FnMut(Expr) -> Result<Expr>) -> Result<Self> {
        Ok(match self {
            Pending::Key(key) => {
                let (outer, inner) = (change(key.outer)?, change(key.inner)?);
                Pending::Key(Key { outer, inner, ..key })
            }
            Pending::Other(condition) => Pending::Other(change(condition)?),
        })
    }

    /// What it reads.
    pub(super) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let (first, second) = match self {
            Pending::Key(key) => (&key.outer, Some(&key.inner)),
            Pending::Other(condition) => (condition, None),
        };
        std::iter::once(first).chain(second)
    }
}

impl Lifted {
    /// A plan that does not depend on anything.
    pub(super) fn whole(plan: LogicalPlan) -> Self {
        let outputs = plan.schema().columns().into_iter().map(Expr::Column).collect();
        Lifted { plan, pending: Vec::new(), outputs, absent: None, order: Vec::new() }
    }

    /// Whether all that is pending are keys.
    pub(super) fn has_only_keys(&self) -> bool {
        self.pending.iter().all(|pending| matches!(pending, Pending::Key(_)))
    }

    /// The keys that are pending.
    pub(super) fn keys_mut(&mut self) -> impl Iterator<Item = &mut Key> {
        self.pending.iter_mut().filter_map(|pending| match pending {
            Pending::Key(key) => Some(key),
            Pending::Other(_) => None,
        })
    }

    /// Everything that is computed on the plan's rows.
    pub(super) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let pending = self.pending.iter().flat_map(Pending::exprs);
        let outputs = self.outputs.iter().chain(self.absent.iter().flatten());
        pending.chain(outputs).chain(self.order.iter().map(|key| &key.expr))
    }

    /// Changes everything that is computed on the plan's rows.
    pub(super) fn map(mut self, change: &mut dyn FnMut(Expr) -> Result<Expr>) -> Result<Self> {
        let pending = self.pending.into_iter().map(|pending| pending.map(change));
        self.pending = pending.collect::<Result<_>>()?;
        self.outputs = self.outputs.into_iter().map(&mut *change).collect::<Result<_>>()?;
        if let Some(absent) = self.absent {
            self.absent = Some(absent.into_iter().map(&mut *change).collect::<Result<_>>()?);
        }
        for key in &mut self.order {
            key.expr = change(std::mem::take(&mut key.expr))?;
        }
        Ok(self)
    }

    /// An expression over the columns of the node that was lifted, over those of the plan instead.
    pub(super) fn translated(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        translated(expr, &|column| self.outputs.get(schema.maybe_index_of_column(column)?).cloned())
    }

    /// An outer reference to a column of the query around that some row of the plan has met: it
    /// keeps a condition from being moved before that.
    pub(super) fn anchor(&self, scope: &Scope) -> Option<Expr> {
        let columns = scope.columns_of(self.pending.iter().flat_map(Pending::exprs));
        columns.first().and_then(|column| scope.reference(column).ok())
    }
}

/// The expression with other expressions for its columns, where there are some.
pub(super) fn translated(expr: Expr, by: &dyn Fn(&Column) -> Option<Expr>) -> Result<Expr> {
    expr.transform_down(|e| {
        let Expr::Column(column) = &e else { return Ok(Transformed::no(e)) };
        match by(column) {
            Some(put) => Ok(Transformed::new(put, true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(e)),
        }
    })
    .data()
}
