//! `unnest_subqueries`: every subquery becomes a join.
//!
//! From the inside out, a subquery in an expression is joined to the input of the node that has the
//! expression, and what it stood for becomes columns of the join: a mark for IN and EXISTS, the
//! value of a subquery used as one. As conditions of WHERE, IN and EXISTS are semi and anti joins.
//! A subquery that depends on the query around it is made independent first (see `lift`).
//!
//! * `conditions`: WHERE; `nodes`: the other places of expressions; `lateral`: subqueries in FROM;
//!   `elements`: UNNEST in FROM.
//! * `values`: a subquery inside an expression; `quantified`: ANY and ALL; `row_in`: NOT IN of
//!   rows.
//! * `scope`: the query around; `lifted`, `lift`, `lift_aggregate`, `lift_join`, `lift_rows`:
//!   subqueries made independent; `domain`: the values of the query around as rows; `join`: the
//!   joins that come out.
//! * `rows`: what is known of the number of rows; `place`: where in the text a subquery is.
//!
//! Sound: NULLs are those of the standard. Marks of IN are three-valued, NOT IN as a condition is a
//! null-aware anti join; an aggregate over nothing has its row; a value of several rows is an
//! error.
//! What can fail is evaluated for rows only that the query would evaluate it for.

mod conditions;
mod domain;
mod elements;
mod join;
mod lateral;
mod lift;
mod lift_aggregate;
mod lift_join;
mod lift_rows;
mod lifted;
mod nodes;
mod place;
mod quantified;
mod row_in;
mod rows;
mod scope;
mod values;

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DataFusionError, Result};
use datafusion_expr::expr::{Case, Exists, InSubquery, SetComparison};
use datafusion_expr::logical_plan::{LogicalPlan, Projection};
use datafusion_expr::{Expr, Subquery};
use gristmill_engine::{Error, Position};

use crate::sql::any_expression;

/// The rule's name in explain.
pub(crate) const UNNEST_SUBQUERIES: &str = "unnest_subqueries";

/// Unnests the subqueries of one analyzed plan of a statement. `parts` are the statement's shared
/// plans, by number; those that come of it are added, with no subqueries in them.
///
/// # Errors
/// `Input` with a place where one is known, for subqueries that cannot be unnested.
pub(crate) fn unnest_subqueries(
    plan: LogicalPlan,
    parts: &mut Vec<LogicalPlan>,
) -> Result<Transformed<LogicalPlan>> {
    if !plan.exists(|node| Ok(depends_on_others(node)))? {
        return Ok(Transformed::no(plan));
    }
    let plan = Unnesting { parts, names: 0, place: None }.plan(plan)?.data;
    match plan.exists(|node| Ok(!free_references(node).is_empty()))? {
        false => Ok(Transformed::yes(plan)),
        true => Err(unresolved(&plan)),
    }
}

/// Whether a node has subqueries, in its expressions or as one.
fn depends_on_others(node: &LogicalPlan) -> bool {
    matches!(node, LogicalPlan::Subquery(_)) || any_expression(node, has_subquery)
}

fn unresolved(plan: &LogicalPlan) -> DataFusionError {
    let names = plan.all_out_ref_exprs();
    let name = names.first().map_or_else(String::new, ToString::to_string);
    let what = format!("`{name}` is not a column where this subquery stands");
    DataFusionError::External(Box::new(Error::input(what)))
}

/// The names of outer references in a node's own expressions, their subqueries left out.
fn free_references(node: &LogicalPlan) -> Vec<datafusion_common::Column> {
    let mut names = Vec::new();
    let _ = node.apply_expressions(|expr| {
        expr.apply(|e| {
            if let Expr::OuterReferenceColumn(_, name) = e {
                names.push(name.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
    names
}

/// One unnesting of one plan.
struct Unnesting<'a> {
    parts: &'a mut Vec<LogicalPlan>,
    /// Names given so far.
    names: usize,
    /// Where the subquery at hand is.
    place: Option<Position>,
}

impl Unnesting<'_> {
    /// A name that nothing else has.
    fn fresh(&mut self, what: &str) -> String {
        self.names += 1;
        format!("__{what}_{}", self.names)
    }

    /// Unnests all subqueries of a plan.
    fn plan(&mut self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let plan = match plan {
            LogicalPlan::Join(join) if !lateral::references(&join).is_empty() => {
                return Ok(Transformed::yes(self.lateral(join)?));
            }
            // One in FROM that depends on nothing around it, but has such in it.
            LogicalPlan::Subquery(Subquery { subquery, .. }) => {
                return self.plan(Arc::unwrap_or_clone(subquery)).map(|p| Transformed::yes(p.data));
            }
            other => other.map_children(|input| self.plan(input))?,
        };
        let plan = if plan.transformed { plan.map_data(|p| p.recompute_schema())? } else { plan };
        if !any_expression(&plan.data, has_subquery) {
            return Ok(plan);
        }
        Ok(Transformed::yes(self.node(plan.data)?))
    }

    /// The error for what cannot be unnested, at the place of the subquery at hand.
    fn refuse(&self, what: &str) -> DataFusionError {
        refuse(what, self.place.clone())
    }
}

/// The error for what cannot be unnested.
fn refuse(what: &str, position: Option<Position>) -> DataFusionError {
    let message = format!("not supported: {what}");
    DataFusionError::External(Box::new(Error::Input { message, position }))
}

/// The subquery that an expression is.
pub(super) fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::Exists(Exists { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery),
        _ => None,
    }
}

pub(crate) fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| Ok(subquery_of(e).is_some())).unwrap_or(true)
}

/// The columns of a schema as expressions.
fn column_exprs(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

/// CASE WHEN … THEN … ELSE … END.
fn case(branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    let branches = branches.into_iter().map(|(when, then)| (Box::new(when), Box::new(then)));
    Expr::Case(Case::new(None, branches.collect(), otherwise.map(Box::new)))
}

/// A plan with columns of this schema, which it has among others.
fn restored(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    if plan.schema().fields().len() == schema.fields().len() {
        return Ok(plan);
    }
    let projection = Projection::try_new(column_exprs(schema), Arc::new(plan))?;
    Ok(LogicalPlan::Projection(projection))
}
