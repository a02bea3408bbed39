//! The query around a subquery: which outer references are its columns.
//!
//! An outer reference names a column and no query. The binder takes the innermost query that has
//! the column; so does the search here, as subqueries are unnested from the inside out, each
//! against the query right around it. References that this one does not have are left for those
//! further out, and are constants meanwhile.

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, ExprSchema, Result};
use datafusion_expr::{Expr, LogicalPlan};

use super::refuse;

/// The query around a subquery.
pub(super) struct Scope {
    /// Where its rows come from.
    pub(super) plan: LogicalPlan,
    /// Conditions over its columns; rows for which one does not hold do not need the subquery.
    pub(super) guards: Vec<Expr>,
}

impl Scope {
    /// A query with rows that all need the subquery.
    pub(super) fn new(plan: LogicalPlan) -> Self {
        Scope { plan, guards: Vec::new() }
    }

    /// The query's column that an outer reference names.
    pub(super) fn column(&self, name: &Column) -> Option<Column> {
        let schema = self.plan.schema();
        let index = schema.maybe_index_of_column(name)?;
        Some(Column::from(schema.qualified_field(index)))
    }

    /// Whether an expression reads a column of the query.
    pub(super) fn is_read_by(&self, expr: &Expr) -> bool {
        let is_own = |e: &Expr| match e {
            Expr::OuterReferenceColumn(_, column) => self.column(column).is_some(),
            _ => false,
        };
        expr.exists(|e| Ok(is_own(e))).unwrap_or(true)
    }

    /// Whether a plan without subqueries reads a column of the query.
    pub(super) fn is_read_in(&self, plan: &LogicalPlan) -> bool {
        let found = plan.exists(|node| {
            let mut reads = false;
            node.apply_expressions(|expr| {
                reads |= self.is_read_by(expr);
                Ok(if reads { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })?;
            Ok(reads)
        });
        found.unwrap_or(true)
    }

    /// Adds the query's columns that an expression reads.
    pub(super) fn add_columns(&self, expr: &Expr, columns: &mut Vec<Column>) {
        let _ = expr.apply(|e| {
            if let Expr::OuterReferenceColumn(_, name) = e
                && let Some(column) = self.column(name)
                && !columns.contains(&column)
            {
                columns.push(column);
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }

    /// The query's columns that some expressions read.
    pub(super) fn columns_of<'a>(&self, exprs: impl IntoIterator<Item = &'a Expr>) -> Vec<Column> {
        let mut columns = Vec::new();
        exprs.into_iter().for_each(|expr| self.add_columns(expr, &mut columns));
        columns
    }

    /// The outer reference to a column of the query.
    pub(super) fn reference(&self, column: &Column) -> Result<Expr> {
        let field = self.plan.schema().field_from_column(column)?;
        Ok(Expr::OuterReferenceColumn(field.clone(), column.clone()))
    }

    /// The expression with its references to the query's columns replaced, where there is something
    /// to replace them by.
    ///
    /// # Errors
    /// `Input` when a column has another type than the reference was bound to.
    pub(super) fn replaced(
        &self,
        expr: Expr,
        by: &dyn Fn(&Column) -> Option<Expr>,
    ) -> Result<Expr> {
        if !self.is_read_by(&expr) {
            return Ok(expr);
        }
        expr.transform_down(|e| {
            let Expr::OuterReferenceColumn(bound, name) = &e else {
                return Ok(Transformed::no(e));
            };
            let Some(column) = self.column(name) else { return Ok(Transformed::no(e)) };
            let Some(put) = by(&column) else { return Ok(Transformed::no(e)) };
            let given = self.plan.schema().field_from_column(&column)?.data_type();
            if given != bound.data_type() {
                let bound = bound.data_type();
                return Err(refuse(
                    &format!(
                        "`{column}` of type {given} in a subquery that takes it for {bound}; cast \
                         it where it is defined"
                    ),
                    None,
                ));
            }
            Ok(Transformed::new(put, true, TreeNodeRecursion::Jump))
        })
        .data()
    }

    /// The expression over the query's columns instead of references to them.
    ///
    /// # Errors
    /// As [`Scope::replaced`].
    pub(super) fn resolved(&self, expr: Expr) -> Result<Expr> {
        self.replaced(expr, &|column| Some(Expr::Column(column.clone())))
    }
}
