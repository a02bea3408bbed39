//! Names and types: a query as an analyzed logical plan.

use arrow::datatypes::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{Column, DataFusionError};
use datafusion_expr::{Expr, LogicalPlan, Projection, cast};
use datafusion_optimizer::AnalyzerRule;
use datafusion_sql::parser::Statement as Parsed;
use datafusion_sql::planner::SqlToRel;
use datafusion_sql::sqlparser::ast::{Query, Statement as Sql};
use gristmill_engine::{Error, Position, Result};

use super::aliases::bound_with_aliases;
use super::apart::{bound_apart, kept};
use super::arithmetic::CheckArithmetic;
use super::clauses;
use super::context::Binder;
use super::diagnose::to_error;
use super::enclosing::{is_senseless, second_reading};
use super::excluded;
use super::fold::{fold, shown_plan, told_apart, with_replaced_left_out};
use super::grouping::ResolveGrouping;
use super::hidden_keys::reading_by_tables;
use super::known_columns::are_asked_for;
use super::merged_around;
use super::missing::Missing;
use super::natural;
use super::paths;
use super::placeholders::fill_plan;
use super::relations::finished;
use super::script::{Statement, statements};
use super::self_reading::{explained, self_readers};
use super::typing::typed;
use super::windows;

/// Binds a query of a statement that begins at `position`.
///
/// # Errors
/// `Input` with a place for everything that is wrong with it, or not supported.
pub(crate) fn bind_query(
    mut query: Box<Query>,
    binder: &Binder<'_>,
    position: &Position,
) -> Result<LogicalPlan> {
    windows::refuse_scalars(&query, &|name| binder.is_scalar(name))?;
    let spelled = fold(&mut query);
    // The parts of columns have names, by which joins and `*` know them.
    paths::write_parts(&mut query);
    if are_asked_for(&query) {
        // Joins say what they merge before that is left out or looked for.
        let columns_of = |name: &_| binder.columns_of(name);
        natural::write_columns(&mut query, &columns_of);
        excluded::write_rest(&mut query, &columns_of);
        merged_around::qualify(&mut query, &columns_of);
    }
    clauses::write_out(&mut query, &|name| binder.is_aggregate(name));
    let readers = self_readers(&query);
    let bound_as_written = |query| {
        SqlToRel::new(binder)
            .sql_statement_to_plan(Sql::Query(query))
            .and_then(finished)
            .and_then(|plan| fill_plan(plan, binder.parameters()))
    };
    let told = |error: &DataFusionError| explained(to_error(error, position), &readers);
    let is_random = |name: &str| binder.is_random(name);
    let bound = |query| bound_with_aliases(query, &is_random, bound_as_written, told);
    if let Some(left_out) = with_replaced_left_out(&query)
        && let Err(error) = bound_as_written(left_out)
        && Missing::of(&error).is_some()
    {
        return Err(told(&error));
    }
    let has_meaning = |query| bound(query).is_ok_and(|plan| !is_senseless(&plan));
    if let Some(by_tables) = reading_by_tables(&query, bound_as_written, has_meaning) {
        query = by_tables;
    }
    let other = second_reading(&query);
    let kept = kept(&query);
    let first = bound(query);
    let first = match kept {
        Some(kept) => bound_apart(kept, first, bound),
        None => first,
    };
    let plan = match (other, first.as_ref().map_or(true, is_senseless)) {
        (Some(other), true) => bound(other).or(first)?,
        _ => first?,
    };
    shown_plan(plan, &spelled).map_err(|error| to_error(&error, position))
}

/// `SELECT * FROM name`.
///
/// # Errors
/// `Input` when `name` is not the text of a table's name.
pub(crate) fn all_of(name: &str) -> Result<Box<Query>> {
    let query = query_of(&format!("SELECT * FROM {name}"))?;
    query.ok_or_else(|| Error::input(format!("{name} is not the name of a table")))
}

/// The query that a text begins with; `None` when it begins with something else.
///
/// # Errors
/// `Input` when it is no SQL.
pub(crate) fn query_of(text: &str) -> Result<Option<Box<Query>>> {
    let parsed = statements(text)?.first().map(|statement: &Statement| statement.parse(None));
    Ok(parsed.transpose()?.and_then(|parsed| as_query(parsed.body)))
}

/// A statement as the query that it is.
pub(crate) fn as_query(body: Parsed) -> Option<Box<Query>> {
    match body {
        Parsed::Statement(sql) => match *sql {
            Sql::Query(query) => Some(query),
            _ => None,
        },
        _ => None,
    }
}

/// The plan with other names for its columns, as far as there are any, and all of them different.
///
/// # Errors
/// `Input` when there are more names than columns.
pub(crate) fn renamed(
    plan: LogicalPlan,
    names: &[String],
    position: &Position,
) -> Result<LogicalPlan> {
    let width = plan.schema().fields().len();
    if names.len() > width {
        let message = format!("{} names for the {width} columns of the query", names.len());
        return Err(Error::input_at(message, position.clone()));
    }
    let given = plan.schema().fields().iter().map(|field| field.name());
    let wanted = names.iter().chain(given.skip(names.len()));
    let names = told_apart(wanted);
    let is_same = plan.schema().fields().iter().map(|field| field.name()).eq(names.iter());
    if is_same && plan.schema().iter().all(|(qualifier, _)| qualifier.is_none()) {
        return Ok(plan);
    }
    shaped(plan, &names, &[], position)
}

/// The plan with these names for its columns, cast to these types where there are any.
///
/// # Errors
/// `Internal` when the plan has other columns.
pub(crate) fn shaped(
    plan: LogicalPlan,
    names: &[String],
    types: &[DataType],
    position: &Position,
) -> Result<LogicalPlan> {
    let columns = plan.schema().iter().zip(names).enumerate();
    let exprs = columns.map(|(at, ((qualifier, field), name))| {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        match types.get(at).filter(|wanted| *wanted != field.data_type()) {
            Some(wanted) => cast(column, wanted.clone()).alias(name),
            None => column.alias(name),
        }
    });
    let plan = Projection::try_new(exprs.collect(), plan.into());
    plan.map(LogicalPlan::Projection).map_err(|e| to_error(&e, position))
}

/// Settles types and makes integer arithmetic checked; says whether there were set operations.
///
/// # Errors
/// `Input` with a place where one is known.
pub(crate) fn analyze(
    plan: LogicalPlan,
    options: &ConfigOptions,
    statement: &Position,
) -> Result<Transformed<LogicalPlan>> {
    analyzed(plan, options).map_err(|e| to_error(&e, statement))
}

/// The same for a part of a statement that is bound on its own.
pub(super) fn analyzed(
    plan: LogicalPlan,
    options: &ConfigOptions,
) -> datafusion_common::Result<Transformed<LogicalPlan>> {
    let typed = typed(ResolveGrouping.analyze(plan, options)?)?;
    let checked = CheckArithmetic.analyze(typed.data, options)?;
    Ok(Transformed::new_transformed(checked, typed.transformed))
}
