//! UNNEST in FROM of lists of the rows to its left: the rows are unnested where they are, without a
//! join.
//!
//! A plan that is made of one row and of nothing else is taken apart into steps, each of which is
//! then done to the rows of the query around. What a step computes becomes a column of these rows:
//! it is computed once, however often the steps after it name it.

use std::sync::Arc;

use datafusion_common::{Column, DFSchemaRef, NullHandling, Result};
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::{Filter, LogicalPlan, Projection, Unnest};

use super::lifted::translated;
use super::scope::Scope;
use super::{Unnesting, column_exprs};

/// A plan over a row of the query around, as what is done to that row.
pub(super) struct Elements {
    /// In the order of the rows' way.
    steps: Vec<Step>,
    /// Whether the last rows are those of one UNNEST of the row, of which nothing is computed and
    /// none left out: a row without elements can be kept there.
    is_plain: bool,
}

/// What is done to rows, in terms of the columns of the step before.
enum Step {
    Project(Vec<Expr>, DFSchemaRef),
    Filter(Expr, DFSchemaRef),
    Unnest(Unnest),
}

impl Elements {
    /// The steps of a plan; nothing when its rows are made of anything else than one row.
    pub(super) fn of(plan: &LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => {
                Some(Elements { steps: Vec::new(), is_plain: false })
            }
            LogicalPlan::SubqueryAlias(alias) => Elements::of(&alias.input),
            LogicalPlan::Projection(projection) => {
                let is_column = |expr: &Expr| matches!(expr.clone().unalias(), Expr::Column(_));
                let keeps = projection.expr.iter().all(is_column);
                let step =
                    Step::Project(projection.expr.clone(), projection.input.schema().clone());
                Some(Elements::of(&projection.input)?.then(step, keeps))
            }
            LogicalPlan::Filter(filter) => {
                let step = Step::Filter(filter.predicate.clone(), filter.input.schema().clone());
                Some(Elements::of(&filter.input)?.then(step, false))
            }
            LogicalPlan::Unnest(unnest) => {
                let lists = &unnest.list_type_columns;
                let is_flat = lists.iter().all(|(_, list)| list.depth == 1)
                    && lists.len() == unnest.exec_columns.len()
                    && unnest.dependency_indices.len() == unnest.input.schema().fields().len();
                if !is_flat {
                    return None;
                }
                let before = Elements::of(&unnest.input)?;
                let is_list = |at: &usize| lists.iter().any(|(list, _)| list == at);
                let is_row = before.steps.iter().all(|step| matches!(step, Step::Project(..)));
                let is_plain = is_row && unnest.dependency_indices.iter().all(is_list);
                Some(Elements { is_plain, ..before.then(Step::Unnest(unnest.clone()), false) })
            }
            _ => None,
        }
    }

    fn then(mut self, step: Step, keeps: bool) -> Self {
        self.steps.push(step);
        Elements { is_plain: self.is_plain && keeps, ..self }
    }

    /// Whether rows without elements can be kept.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }
}

impl Unnesting<'_> {
    /// The rows of the query around, each as often as a plan that is made of it has rows, and the
    /// columns of that plan. With `outer` rows without elements are kept.
    pub(super) fn beside(
        &mut self,
        elements: Elements,
        scope: &Scope,
        outer: bool,
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        let (mut plan, mut columns) = (scope.plan.clone(), Vec::new());
        for step in elements.steps {
            (plan, columns) = match step {
                Step::Project(exprs, schema) => {
                    let exprs = exprs.into_iter().map(|expr| {
                        let expr = over(expr.unalias(), &schema, &columns)?;
                        scope.resolved(expr)
                    });
                    self.computed(plan, exprs.collect::<Result<_>>()?)?
                }
                Step::Filter(predicate, schema) => {
                    let predicate = scope.resolved(over(predicate, &schema, &columns)?)?;
                    (LogicalPlan::Filter(Filter::new(predicate, Arc::new(plan))), columns)
                }
                Step::Unnest(unnest) => self.unnested(unnest, plan, columns, outer)?,
            };
        }
        Ok((plan, columns))
    }

    /// The plan with values that are computed as columns of its own, and where they all are.
    fn computed(
        &mut self,
        plan: LogicalPlan,
        values: Vec<Expr>,
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        if values.iter().all(|value| matches!(value, Expr::Column(_))) {
            return Ok((plan, values));
        }
        let mut exprs = column_exprs(plan.schema());
        let places = values.into_iter().map(|value| {
            if matches!(value, Expr::Column(_)) {
                return value;
            }
            let name = self.fresh("element");
            exprs.push(value.alias(&name));
            Expr::Column(Column::new_unqualified(name))
        });
        let places = places.collect();
        let plan = Projection::try_new(exprs, Arc::new(plan))?;
        Ok((LogicalPlan::Projection(plan), places))
    }

    fn unnested(
        &mut self,
        mut unnest: Unnest,
        plan: LogicalPlan,
        columns: Vec<Expr>,
        outer: bool,
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        // Copies: the lists themselves may be columns that others read.
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

/// An expression over the columns of a step, in terms of where these are.
fn over(expr: Expr, schema: &DFSchemaRef, columns: &[Expr]) -> Result<Expr> {
    translated(expr, &|column| columns.get(schema.maybe_index_of_column(column)?).cloned())
}
