//! What no plan exists for is refused by its name and place, before names are bound: the binder
//! would say something else of it, or nothing.

use std::ops::ControlFlow;

use datafusion_sql::parser::{CopyToSource, Statement};
use datafusion_sql::sqlparser::ast::{
    Distinct, Expr, Function, GroupByExpr, JoinConstraint, JoinOperator, LimitClause, Query,
    Select, SetExpr, Spanned, TableFactor, Visit, Visitor,
};
use datafusion_sql::sqlparser::tokenizer::Span;
use gristmill_engine::{Error, Position, Result};

use super::diagnose::at;
use super::elements::is_series;
use super::using::constraint;
use super::{file_calls, refused_calls, row_values, windows};

/// Refuses a statement that asks for what cannot be planned. `position` is where it begins, for
/// what has no better place.
///
/// # Errors
/// `Input` with the name and place of the first such thing.
pub(super) fn refuse(statement: &Statement, position: &Position) -> Result<()> {
    let found = match statement {
        Statement::Statement(statement) => statement.visit(&mut Search),
        Statement::CopyTo(copy) => match &copy.source {
            CopyToSource::Query(query) => query.visit(&mut Search),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        Statement::Explain(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => {
            ControlFlow::Continue(())
        }
    };
    let ControlFlow::Break(Unsupported { what, span }) = found else { return Ok(()) };
    let place = if span.start.line == 0 {
        position.clone()
    } else {
        at(span.start.line, span.start.column)
    };
    Err(Error::input_at(what, place))
}

struct Unsupported {
    what: String,
    span: Span,
}

struct Search;

impl Visitor for Search {
    type Break = Unsupported;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Unsupported> {
        match &query.with {
            Some(with) if with.recursive => {
                return found("WITH RECURSIVE", with.with_token.0.span);
            }
            _ if query.fetch.is_some() => {
                return found("FETCH … PERCENT, WITH TIES, and beside LIMIT", query.span());
            }
            _ if !query.locks.is_empty() => return found("FOR UPDATE and FOR SHARE", query.span()),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Unsupported> {
        if let GroupByExpr::Expressions(_, modifiers) = &select.group_by
            && let Some(modifier) = modifiers.first()
        {
            let what = format!("GROUP BY … {modifier}; use ROLLUP, CUBE or GROUPING SETS");
            return found(&what, select.select_token.0.span);
        }
        if let Some(Distinct::On(keys)) = &select.distinct
            && keys.iter().any(|key| matches!(key, Expr::Value(_)))
        {
            let what = "a constant in DISTINCT ON, and a place of a column behind `*`";
            return found(what, select.select_token.0.span);
        }
        let joins = select.from.iter().flat_map(|tables| &tables.joins);
        for join in joins {
            let what = match &join.join_operator {
                JoinOperator::AsOf { .. } => "ASOF JOIN",
                JoinOperator::CrossApply | JoinOperator::OuterApply => "APPLY",
                _ if matches!(constraint(join), Some(JoinConstraint::None)) => {
                    let what = "JOIN needs ON or USING; every row of one with every row of the \
                                other is CROSS JOIN";
                    return wrong(what.to_string(), join.relation.span());
                }
                _ => continue,
            };
            return found(what, join.relation.span());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Unsupported> {
        match table {
            TableFactor::Table { sample: Some(_), .. }
            | TableFactor::Derived { sample: Some(_), .. } => found("TABLESAMPLE", table.span()),
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. }
                if !is_series(name) && !file_calls::is_written(name) =>
            {
                wrong(file_calls::what_is_wrong(name), name.span())
            }
            TableFactor::Pivot { .. } => found("PIVOT", table.span()),
            TableFactor::Unpivot { .. } => found("UNPIVOT", table.span()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Unsupported> {
        if let Expr::Function(function) = expr
            && let Some(what) = refused_calls::what_is_wrong(function)
        {
            return wrong(what, function.name.span());
        }
        match expr {
            Expr::Substring { substring_from: None, substring_for: None, .. } => {
                let what = "substr takes a text, a place and perhaps a length";
                wrong(what.to_string(), expr.span())
            }
            Expr::Function(Function { name, over: Some(over), .. }) => {
                match windows::unresolved(over) {
                    Some(what) => found(&what, name.span()),
                    None => ControlFlow::Continue(()),
                }
            }
            // The borrowed rule for EXISTS would leave it out.
            Expr::Exists { subquery, .. } if has_offset(subquery) => {
                found("OFFSET in EXISTS", expr.span())
            }
            Expr::Subquery(query) | Expr::InSubquery { subquery: query, .. }
                if gives_no_column(&query.body) =>
            {
                wrong("the subquery gives no column, and has to give one".to_string(), query.span())
            }
            Expr::Struct { .. } | Expr::Dictionary(_) => {
                found("this way to write a struct; use {'name': value}", expr.span())
            }
            _ => match row_values::what_is_left(expr) {
                Some(what) => found(what, expr.span()),
                None => ControlFlow::Continue(()),
            },
        }
    }
}

/// Whether a SELECT has nothing in its list.
fn gives_no_column(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.projection.is_empty(),
        SetExpr::Query(query) => gives_no_column(&query.body),
        _ => false,
    }
}

fn has_offset(query: &Query) -> bool {
    match &query.limit_clause {
        Some(LimitClause::LimitOffset { offset, .. }) => offset.is_some(),
        Some(LimitClause::OffsetCommaLimit { .. }) => true,
        None => false,
    }
}

fn found(what: &str, span: Span) -> ControlFlow<Unsupported> {
    wrong(format!("not supported: {what}"), span)
}

fn wrong(what: String, span: Span) -> ControlFlow<Unsupported> {
    ControlFlow::Break(Unsupported { what, span })
}

#[cfg(test)]
mod tests {
    use super::super::script::statements;

    #[test]
    fn what_has_no_plan_is_refused_by_name_and_place() {
        let refused = [
            ("select 1 from t qualify rank() over w > 1", "line 1, column 25", "no window w"),
            ("select rank() over (w order by a) from t window w as (order by b)", "8", "extended"),
            ("select * from t asof join\n u match_condition (a > b)", "line 2", "ASOF JOIN"),
            ("select * from t asof join u\n on t.a > u.a", "line 2", "ASOF JOIN"),
            ("select distinct on (1) * from t", "line 1", "DISTINCT ON"),
            ("select a from t group by a with rollup", "line 1, column", "WITH ROLLUP"),
            ("with recursive r as (select 1) select 1", "line 1, column 1", "WITH RECURSIVE"),
            ("select * from t tablesample 10 percent", "line 1, column", "TABLESAMPLE"),
            ("select 1 where exists (select 1 offset 5)", "line 1, column", "OFFSET in EXISTS"),
            ("select (random(), 1) in ((2, 3))", "line 1, column", "random()"),
            ("select (a, 1) < (uuid(), 2) from t", "line 1, column", "uuid()"),
            ("select struct<a int>(1)", "line 1, column", "this way to write a struct"),
            ("select (select from t)", "line 1, column", "gives no column"),
            ("select 1 in (select from t)", "line 1, column", "gives no column"),
            ("select {}", "line 1, column", "this way to write a struct"),
        ];
        for (text, place, what) in refused {
            let error = statements(text).and_then(|all| all[0].parse(None)).expect_err(text);
            let error = error.to_string();
            assert!(error.contains(place) && error.contains(what), "{text}\n{error}");
        }
        statements("select count(*) filter (where a) from t right join u on a = b")
            .and_then(|all| all[0].parse(None))
            .expect("is supported");
    }
}
