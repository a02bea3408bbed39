//! UNNEST in FROM of lists of the rows to its left: the rows are unnested where they are, without a
//! join.

use std::sync::Arc;

use datafusion_common::{Column, NullHandling, Result};
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::{Filter, LogicalPlan, Projection, Unnest};

use super::lifted::translated;
use super::scope::Scope;
use super::{Unnesting, column_exprs};
use crate::functions::is_random;

/// Whether the rows of a plan are made of a row of the query around and of nothing else.
pub(super) fn is_made_of_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Unnest(unnest) => {
            let is_flat = unnest.list_type_columns.iter().all(|(_, list)| list.depth == 1)
                && unnest.list_type_columns.len() == unnest.exec_columns.len()
                && unnest.dependency_indices.len() == unnest.input.schema().fields().len();
            is_flat && (is_one_row(&unnest.input) || is_made_of_a_row(&unnest.input))
        }
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            // What is computed here may be computed in several places.
            !plan.expressions().iter().any(is_random)
                && plan.inputs().into_iter().all(is_made_of_a_row)
        }
        _ => false,
    }
}

/// Whether a plan is one UNNEST, of which nothing is computed and no row left out: a row without
/// elements can be kept there.
pub(super) fn is_plain_unnest(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => is_plain_unnest(&alias.input),
        LogicalPlan::Projection(projection) => {
            let is_column = |expr: &Expr| matches!(expr.clone().unalias(), Expr::Column(_));
            projection.expr.iter().all(is_column) && is_plain_unnest(&projection.input)
        }
        LogicalPlan::Unnest(unnest) => {
            let is_list = |at: usize| unnest.list_type_columns.iter().any(|(list, _)| *list == at);
            unnest.dependency_indices.iter().all(|&at| is_list(at)) && is_one_row(&unnest.input)
        }
        _ => false,
    }
}

/// Whether a plan is one projection of one row, of which each column is computed once.
fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
            _ => false,
        },
        _ => false,
    }
}

impl Unnesting<'_> {
    /// The rows of the query around, each as often as a plan that is made of it has rows, and the
    /// columns of that plan. With `outer` rows without elements are kept.
    pub(super) fn beside(
        &mut self,
        plan: LogicalPlan,
        scope: &Scope,
        outer: bool,
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        match plan {
            LogicalPlan::Projection(projection) => {
                let schema = projection.input.schema().clone();
                let (plan, outputs) =
                    self.beside(Arc::unwrap_or_clone(projection.input), scope, outer)?;
                let by =
                    |column: &Column| outputs.get(schema.maybe_index_of_column(column)?).cloned();
                let exprs = projection.expr.into_iter();
                let exprs = exprs.map(|expr| scope.resolved(translated(expr.unalias(), &by)?));
                Ok((plan, exprs.collect::<Result<_>>()?))
            }
            LogicalPlan::Filter(filter) => {
                let schema = filter.input.schema().clone();
                let (plan, outputs) =
                    self.beside(Arc::unwrap_or_clone(filter.input), scope, outer)?;
                let by =
                    |column: &Column| outputs.get(schema.maybe_index_of_column(column)?).cloned();
                let predicate = scope.resolved(translated(filter.predicate, &by)?)?;
                let plan = LogicalPlan::Filter(Filter::new(predicate, Arc::new(plan)));
                Ok((plan, outputs))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                self.beside(Arc::unwrap_or_clone(alias.input), scope, outer)
            }
            LogicalPlan::Unnest(unnest) => self.unnest_beside(unnest, scope, outer),
            _ => Ok((scope.plan.clone(), Vec::new())),
        }
    }

    fn unnest_beside(
        &mut self,
        mut unnest: Unnest,
        scope: &Scope,
        outer: bool,
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        let input = Arc::unwrap_or_clone(unnest.input);
        let (plan, columns) = self.beside(input, scope, outer)?;
        let names: Vec<Column> =
            columns.iter().map(|_| Column::new_unqualified(self.fresh("elements"))).collect();
        let mut exprs = column_exprs(plan.schema());
        let named = columns.into_iter().zip(&names);
        exprs.extend(named.map(|(column, name)| column.alias(&name.name)));
        let row = Projection::try_new(exprs, Arc::new(plan))?;
        let lists = unnest.list_type_columns.iter();
        let lists = lists.filter_map(|(at, _)| names.get(*at).cloned()).collect();
        unnest.options.recursions.clear();
        if outer {
            unnest.options.null_handling = NullHandling::PreserveAndExpandEmpty;
        }
        let row = Arc::new(LogicalPlan::Projection(row));
        let elements = Unnest::try_new(row, lists, unnest.options)?;
        let outputs = unnest.dependency_indices.iter();
        let outputs = outputs.filter_map(|&at| names.get(at).cloned().map(Expr::Column)).collect();
        Ok((LogicalPlan::Unnest(elements), outputs))
    }
}
