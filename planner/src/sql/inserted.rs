//! The rows of `INSERT INTO t VALUES …`: each value is cast to the type of its column by itself.
//! VALUES that are a query of their own have one type for all values of a column, which would make
//! a text of 7 beside '007' before it gets to the table.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{Expr as Written, Query, SetExpr, Values};
use gristmill_engine::{Error, Position, Result};

use super::context::Binder;
use super::diagnose::to_error;
use super::placeholders::fill_plan;
use super::relations::finished;

/// Whether a query is VALUES and nothing beside them.
pub(super) fn is_only_values(query: &Query) -> bool {
    let is_bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.pipe_operators.is_empty();
    is_bare && matches!(*query.body, SetExpr::Values(_))
}

/// Takes the rows out of a query that is VALUES and nothing beside them.
pub(crate) fn only_values(query: &mut Query) -> Option<Values> {
    if !is_only_values(query) {
        return None;
    }
    let SetExpr::Values(values) = query.body.as_mut() else { return None };
    let rows = std::mem::take(&mut values.rows);
    Some(Values { rows, ..values.clone() })
}

/// Binds rows for columns of the given types; DEFAULT is NULL.
///
/// # Errors
/// `Input` for everything that is wrong with them, rows of another length among that.
pub(crate) fn bind_inserted(
    values: Values,
    types: &[&DataType],
    table: &str,
    binder: &Binder<'_>,
    position: &Position,
) -> Result<LogicalPlan> {
    let from = SqlToRel::new(binder);
    let (mut context, nothing) = (PlannerContext::new(), DFSchema::empty());
    let mut rows = Vec::with_capacity(values.rows.len());
    for row in values.rows {
        let given = row.content.len();
        if given != types.len() {
            let wanted = types.len();
            let message = format!("the table {table} takes {wanted} values here, not {given}");
            return Err(Error::input_at(message, position.clone()));
        }
        let cells = row.content.into_iter().zip(types).map(|(value, &wanted)| {
            if is_default(&value) {
                return Ok(cast(lit(ScalarValue::Null), wanted.clone()));
            }
            let value = from.sql_to_expr(value, &nothing, &mut context)?;
            Ok(cast(value, wanted.clone()))
        });
        let cells: datafusion_common::Result<Vec<Expr>> = cells.collect();
        rows.push(cells.map_err(|e| to_error(&e, position))?);
    }
    LogicalPlanBuilder::values(rows)
        .and_then(LogicalPlanBuilder::build)
        .and_then(finished)
        .and_then(|plan| fill_plan(plan, binder.parameters()))
        .map_err(|e| to_error(&e, position))
}

fn is_default(value: &Written) -> bool {
    matches!(value, Written::Identifier(name)
        if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}
