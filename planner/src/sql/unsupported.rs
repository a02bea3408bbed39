//! What no plan exists for is refused by its name and place, before names are bound: the binder
//! would say something else of it, or nothing.

use std::ops::ControlFlow;

use datafusion_sql::parser::{CopyToSource, Statement};
use datafusion_sql::sqlparser::ast::{
    Distinct, Expr, Function, GroupByExpr, JoinOperator, LimitClause, Query, Select, SetExpr,
    SetOperator, SetQuantifier, Spanned, TableFactor, Visit, Visitor,
};
use datafusion_sql::sqlparser::tokenizer::Span;
use gristmill_engine::{Error, Position, Result};

use super::diagnose::at;

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
    Err(Error::input_at(format!("not supported: {what}"), place))
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
            _ if !query.locks.is_empty() => return found("FOR UPDATE and FOR SHARE", query.span()),
            _ => {}
        }
        // Both would be answered as if ALL were not there.
        let mut open: Vec<&SetExpr> = vec![&query.body];
        while let Some(body) = open.pop() {
            let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { continue };
            open.extend([left.as_ref(), right.as_ref()]);
            let keeps = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
            if keeps && *op != SetOperator::Union {
                return found(&format!("{op} ALL"), right.span());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Unsupported> {
        if let Some(Distinct::On(keys)) = &select.distinct {
            let span = keys.first().map_or(select.select_token.0.span, Spanned::span);
            return found("DISTINCT ON; use GROUP BY with min or max", span);
        }
        if let GroupByExpr::Expressions(keys, modifiers) = &select.group_by {
            let grouping =
                |e: &&Expr| matches!(e, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_));
            let key = keys.iter().find(grouping);
            if key.is_some() || !modifiers.is_empty() {
                let what = "GROUPING SETS, ROLLUP and CUBE; use UNION ALL of several GROUP BYs";
                return found(what, key.map_or(select.select_token.0.span, Spanned::span));
            }
        }
        let joins = select.from.iter().flat_map(|tables| &tables.joins);
        for join in joins {
            let what = match &join.join_operator {
                JoinOperator::FullOuter(_) => "FULL JOIN",
                JoinOperator::AsOf { .. } => "ASOF JOIN",
                JoinOperator::CrossApply | JoinOperator::OuterApply => "APPLY",
                _ => continue,
            };
            return found(what, join.relation.span());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Unsupported> {
        match table {
            TableFactor::UNNEST { .. } => found("UNNEST", table.span()),
            TableFactor::Derived { lateral: true, .. } => found("LATERAL", table.span()),
            TableFactor::Table { sample: Some(_), .. }
            | TableFactor::Derived { sample: Some(_), .. } => found("TABLESAMPLE", table.span()),
            TableFactor::Pivot { .. } => found("PIVOT", table.span()),
            TableFactor::Unpivot { .. } => found("UNPIVOT", table.span()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Unsupported> {
        match expr {
            Expr::Function(Function { name, over: Some(_), .. }) => {
                found(&format!("the window function `{name}(…) OVER`"), name.span())
            }
            Expr::Function(function) if function.name.to_string().to_lowercase() == "unnest" => {
                found("UNNEST", function.name.span())
            }
            // The borrowed rule for EXISTS would leave it out.
            Expr::Exists { subquery, .. } if has_offset(subquery) => {
                found("OFFSET in EXISTS", expr.span())
            }
            Expr::Array(_) => found("arrays", expr.span()),
            Expr::Struct { .. } | Expr::Dictionary(_) | Expr::Map(_) => {
                found("structs and maps", expr.span())
            }
            _ => ControlFlow::Continue(()),
        }
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
    ControlFlow::Break(Unsupported { what: what.to_string(), span })
}

#[cfg(test)]
mod tests {
    use super::super::script::statements;

    #[test]
    fn what_has_no_plan_is_refused_by_name_and_place() {
        let refused = [
            ("select 1,\n row_number() over (order by x) from t", "line 2, column 2", "row_number"),
            ("select * from t full join\n u on true", "line 2, column 2", "FULL JOIN"),
            ("select a from t group by rollup(a)", "line 1, column", "ROLLUP"),
            ("select distinct on (a) a from t", "line 1, column 21", "DISTINCT ON"),
            ("with recursive r as (select 1) select 1", "line 1, column 1", "WITH RECURSIVE"),
            ("select * from t, lateral (select 1)", "line 1, column", "LATERAL"),
            ("select 1 where (select unnest(a) from t) = 1", "line 1, column 24", "UNNEST"),
            ("select 1 union all select 2 except all\nselect 1", "line 2, column", "EXCEPT ALL"),
            ("select * from t tablesample 10 percent", "line 1, column", "TABLESAMPLE"),
            ("select 1 where exists (select 1 offset 5)", "line 1, column", "OFFSET in EXISTS"),
            ("explain select [1]", "line 1, column", "arrays"),
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
