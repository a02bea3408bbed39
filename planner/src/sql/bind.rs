//! Names and types: a statement of the program as an analyzed logical plan.

use std::path::PathBuf;

use datafusion_common::config::ConfigOptions;
use datafusion_expr::LogicalPlan;
use datafusion_optimizer::AnalyzerRule;
use datafusion_optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion_sql::parser::{
    CopyToSource, CopyToStatement, ExplainStatement, Statement as Parsed,
};
use datafusion_sql::planner::SqlToRel;
use datafusion_sql::sqlparser::ast::{Query, Statement as Sql};
use gristmill_engine::{Error, Position, Result};

use super::arithmetic::CheckArithmetic;
use super::context::Binder;
use super::diagnose::to_error;
use super::grouping::ResolveGrouping;
use super::operands::WidenOperands;
use super::order::resolve_order;
use super::script::Statement;
use super::windows;
use crate::catalog::Format;

/// What is to become of a plan's rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    /// They are the result.
    Query,
    /// They go to a file.
    Copy(CopyTarget),
}

/// The file that COPY writes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CopyTarget {
    /// Where.
    pub(crate) path: PathBuf,
    /// How.
    pub(crate) format: Format,
    /// Options as written, names in lower case without the `format.` in front.
    pub(crate) options: Vec<(String, String)>,
}

/// A statement with all names and types resolved.
pub(crate) struct Bound {
    /// Where its rows come from.
    pub(crate) plan: LogicalPlan,
    /// Where its rows go.
    pub(crate) request: Request,
    /// EXPLAIN in front: `Some("json")` or another format's name; the plan is not run.
    pub(crate) explain: Option<String>,
}

/// Binds one statement.
///
/// # Errors
/// `Input` with a place for everything that is wrong with the statement, or not supported.
pub(crate) fn bind(statement: &Statement, binder: &Binder<'_>) -> Result<Bound> {
    let parsed = statement.parse()?;
    let (parsed, explain) = unwrap_explain(parsed, statement)?;
    let (query, request) = query_of(parsed, statement)?;
    let position = statement.position();
    windows::refuse_scalars(&query, &|name| binder.is_scalar(name))?;
    let plan = SqlToRel::new(binder)
        .sql_statement_to_plan(Sql::Query(query))
        .and_then(resolve_order)
        .map_err(|e| to_error(&e, position))?;
    Ok(Bound { plan, request, explain })
}

fn unwrap_explain(parsed: Parsed, statement: &Statement) -> Result<(Parsed, Option<String>)> {
    let Parsed::Explain(ExplainStatement { statement: inner, options }) = parsed else {
        return Ok((parsed, None));
    };
    if options.analyze {
        return Err(unsupported("EXPLAIN ANALYZE", statement.position()));
    }
    let format = options.format.map_or_else(String::new, |f| f.to_string().to_lowercase());
    Ok((*inner, Some(format)))
}

fn query_of(parsed: Parsed, statement: &Statement) -> Result<(Box<Query>, Request)> {
    match parsed {
        Parsed::Statement(sql) => match *sql {
            Sql::Query(query) => Ok((query, Request::Query)),
            _ => Err(unsupported(&statement.kind(), statement.position())),
        },
        Parsed::CopyTo(copy) => {
            let target = copy_target(&copy, statement.position())?;
            let query = match copy.source {
                CopyToSource::Query(query) => query,
                CopyToSource::Relation(name) => all_of(&name.to_string(), statement)?,
            };
            Ok((query, Request::Copy(target)))
        }
        _ => Err(unsupported(&statement.kind(), statement.position())),
    }
}

fn unsupported(what: &str, position: &Position) -> Error {
    Error::input_at(format!("not supported: {what}"), position.clone())
}

/// `SELECT * FROM name`, for COPY of a table.
fn all_of(name: &str, statement: &Statement) -> Result<Box<Query>> {
    let text = format!("SELECT * FROM {name}");
    let parsed = super::script::statements(&text)?.into_iter().next().map(|s| s.parse());
    match parsed {
        Some(Ok(Parsed::Statement(sql))) => match *sql {
            Sql::Query(query) => Ok(query),
            _ => Err(unsupported("COPY of this", statement.position())),
        },
        _ => Err(unsupported("COPY of this", statement.position())),
    }
}

fn copy_target(copy: &CopyToStatement, position: &Position) -> Result<CopyTarget> {
    if !copy.partitioned_by.is_empty() {
        return Err(unsupported("PARTITIONED BY in COPY", position));
    }
    let path = PathBuf::from(&copy.target);
    let options = copy.options.iter().map(|(name, value)| {
        let name = name.to_lowercase();
        let name = name.strip_prefix("format.").unwrap_or(&name).to_string();
        let text = value.clone().into_string().unwrap_or_else(|| value.to_string());
        (name, text)
    });
    let (named, options): (Vec<_>, Vec<_>) = options.partition(|(name, _)| name == "format");
    let stored_as = copy.stored_as.iter().chain(named.iter().map(|(_, value)| value));
    let names: Vec<&String> = stored_as.collect();
    if names.windows(2).any(|pair| !pair[0].eq_ignore_ascii_case(pair[1])) {
        let message = "COPY names two formats; name one".to_string();
        return Err(Error::input_at(message, position.clone()));
    }
    let format = match names.first() {
        Some(name) => Format::of_name(name),
        None => Format::of_path(&path),
    };
    let format = format.ok_or_else(|| {
        let message = match names.first() {
            Some(name) => format!("there is no format {name}; use PARQUET or CSV"),
            None => format!(
                "the ending of '{}' names no format; add STORED AS PARQUET or STORED AS CSV",
                copy.target
            ),
        };
        Error::input_at(message, position.clone())
    })?;
    Ok(CopyTarget { path, format, options })
}

/// Resolves types and makes integer arithmetic checked.
///
/// # Errors
/// `Input` with a place where one is known.
pub(crate) fn analyze(
    plan: LogicalPlan,
    options: &ConfigOptions,
    statement: &Position,
) -> Result<LogicalPlan> {
    // One by one: together, they refuse subqueries that the borrowed rules cannot plan.
    let rules: [&dyn AnalyzerRule; 4] =
        [&ResolveGrouping, &WidenOperands, &TypeCoercion::new(), &CheckArithmetic];
    let analyzed = rules.iter().try_fold(plan, |plan, rule| rule.analyze(plan, options));
    analyzed.map_err(|e| to_error(&e, statement))
}
