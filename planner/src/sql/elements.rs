//! UNNEST in FROM: the elements of lists as rows, with their positions if asked for. Functions that
//! make a series are tables too: those of its elements.
//!
//! Columns without other names are `unnest`, or have the name of the function, and `ordinality`.

use std::sync::Arc;

use datafusion_common::{Column, DFSchema, NullHandling, Result, UnnestOptions};
use datafusion_expr::logical_plan::{LogicalPlan, Projection, Unnest};
use datafusion_expr::planner::RelationPlannerContext;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlanBuilder};
use datafusion_sql::sqlparser::ast;
use gristmill_engine::Error;

use super::syntax::plain_name;
use super::type_names::type_name;
use crate::functions::positions;

/// The column of positions.
const ORDINALITY: &str = "ordinality";

/// The column of elements.
const UNNEST: &str = "unnest";

/// Functions that make a series, hence are tables.
const SERIES: [&str; 2] = ["generate_series", "range"];

/// Whether the function of that name makes a series.
pub(super) fn is_series(name: &ast::ObjectName) -> bool {
    plain_name(name).is_some_and(|name| SERIES.iter().any(|s| name.eq_ignore_ascii_case(s)))
}

/// The rows of `range(…) [WITH ORDINALITY]` and its kin.
///
/// # Errors
/// `Input` when the function does not take such arguments.
pub(super) fn elements_of_series(
    function: &ast::ObjectName,
    args: Vec<ast::FunctionArg>,
    with_ordinality: bool,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    if args.is_empty() || args.len() > 3 {
        let name = function.to_string().to_lowercase();
        return refused(format!("{name} takes one to three arguments, not {}", args.len()));
    }
    for arg in &args {
        refuse_bound(function, arg, context)?;
    }
    let list = ast::FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    let call = ast::Expr::Function(ast::Function {
        name: function.clone(),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    });
    elements(vec![call], &function.to_string().to_lowercase(), with_ordinality, context)
}

/// Refuses what no series goes to, before the function does in many words.
fn refuse_bound(
    function: &ast::ObjectName,
    arg: &ast::FunctionArg,
    context: &mut dyn RelationPlannerContext,
) -> Result<()> {
    let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(bound)) = arg else { return Ok(()) };
    let nothing = DFSchema::empty();
    let data_type = context.sql_to_expr(bound.clone(), &nothing)?.get_type(&nothing)?;
    if data_type.is_integer() || data_type.is_temporal() || data_type.is_null() {
        return Ok(());
    }
    let name = function.to_string().to_lowercase();
    let message = format!(
        "{name} takes whole numbers, or moments with an interval, and `{bound}` is {}",
        type_name(&data_type)
    );
    refused(message)
}

fn refused<T>(message: String) -> Result<T> {
    Err(datafusion_common::DataFusionError::External(Box::new(Error::input(message))))
}

/// The rows of `UNNEST(lists) [WITH ORDINALITY]`.
///
/// # Errors
/// `Input` for what is no list.
pub(super) fn unnested(
    lists: Vec<ast::Expr>,
    with_ordinality: bool,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    elements(lists, UNNEST, with_ordinality, context)
}

fn elements(
    lists: Vec<ast::Expr>,
    name: &str,
    with_ordinality: bool,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let nothing = DFSchema::empty();
    let lists = lists.into_iter().map(|list| {
        let list = context.sql_to_expr(list, &nothing)?;
        let data_type = list.get_type(&nothing)?;
        if datafusion_common::utils::list_ndims(&data_type) == 0 {
            return refused(format!("UNNEST takes lists, and this is {}", type_name(&data_type)));
        }
        Ok(list)
    });
    let lists: Vec<Expr> = lists.collect::<Result<_>>()?;
    let mut names: Vec<String> = (0..lists.len())
        .map(|number| match number {
            0 => name.to_string(),
            number => format!("{name}_{number}"),
        })
        .collect();
    let lists = lists.into_iter().zip(&names).map(|(list, name)| list.alias(name));
    let mut row = projected(lists.collect(), LogicalPlanBuilder::empty(true).build()?)?;
    if with_ordinality {
        // Of the lists as they are, which may be others when they are made again.
        let mut columns: Vec<Expr> = row.schema().columns().into_iter().map(Expr::Column).collect();
        columns.push(positions(columns.clone()).alias(ORDINALITY));
        names.push(ORDINALITY.to_string());
        row = projected(columns, row)?;
    }
    let options = UnnestOptions::new().with_null_handling(NullHandling::Drop);
    let names = names.into_iter().map(Column::new_unqualified).collect();
    Ok(LogicalPlan::Unnest(Unnest::try_new(Arc::new(row), names, options)?))
}

fn projected(columns: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?))
}
