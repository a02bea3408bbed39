//! Clauses of a SELECT in which it matters which functions are aggregates: GROUP BY ALL
//! (`group_all`), HAVING (`having`) and QUALIFY (`qualify`).

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, Function, Ident, Query, Select, SelectItem, Visit, VisitMut, Visitor, VisitorMut,
};

use super::level::{OnLevel, visit_level};
use super::syntax::plain_name;
use super::{group_all, having, qualify};

/// Whether a function of this name, in small letters, is an aggregate.
pub(super) type IsAggregate<'a> = &'a dyn Fn(&str) -> bool;

/// Writes these clauses of the SELECTs of a query otherwise.
pub(super) fn write_out(query: &mut Query, is_aggregate: IsAggregate<'_>) {
    let _ = VisitMut::visit(query, &mut Selects { is_aggregate });
}

struct Selects<'a> {
    is_aggregate: IsAggregate<'a>,
}

impl VisitorMut for Selects<'_> {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        group_all::write_places(select, self.is_aggregate);
        // What is not merged here may be an alias in HAVING.
        qualify::write_names(select, self.is_aggregate);
        having::write_aliases(select, self.is_aggregate);
        ControlFlow::Continue(())
    }
}

/// The expression of a column of a SELECT list.
pub(super) fn of_item(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

pub(super) fn is_window(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(Function { over: Some(_), .. }))
}

/// Whether an expression is an aggregate of a group.
pub(super) fn is_aggregate_call(expr: &Expr, is_aggregate: IsAggregate<'_>) -> bool {
    match expr {
        Expr::Function(Function { name, over: None, .. }) => {
            plain_name(name).is_some_and(|name| is_aggregate(&name.to_lowercase()))
        }
        _ => false,
    }
}

/// The first of the wanted in an expression, but not in its subqueries.
pub(super) fn find(expr: &Expr, is_wanted: &dyn Fn(&Expr) -> bool) -> Option<Expr> {
    let mut search = Search { is_wanted, queries: 0, found: None };
    let _ = expr.visit(&mut search);
    search.found
}

struct Search<'a> {
    is_wanted: &'a dyn Fn(&Expr) -> bool,
    queries: usize,
    found: Option<Expr>,
}

impl Visitor for Search<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.queries > 0 || !(self.is_wanted)(expr) {
            return ControlFlow::Continue(());
        }
        self.found = Some(expr.clone());
        ControlFlow::Break(())
    }
}

/// Replaces names in a clause, but not in its subqueries, by what they mean: `meant` is asked for
/// each, and told whether it stands in an aggregate or a window. What is written is not gone
/// through again.
pub(super) fn replace_names(
    clause: &mut Expr,
    is_aggregate: IsAggregate<'_>,
    meant: &dyn Fn(&Ident, bool) -> Option<Expr>,
) {
    visit_level(clause, &mut Names { is_aggregate, meant, calls: 0 });
}

struct Names<'a> {
    is_aggregate: IsAggregate<'a>,
    meant: &'a dyn Fn(&Ident, bool) -> Option<Expr>,
    /// Aggregates and windows around.
    calls: usize,
}

impl Names<'_> {
    fn is_call(&self, expr: &Expr) -> bool {
        is_window(expr) || is_aggregate_call(expr, self.is_aggregate)
    }
}

impl OnLevel for Names<'_> {
    fn enter(&mut self, expr: &mut Expr) {
        self.calls += usize::from(self.is_call(expr));
    }

    fn leave(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.calls -= usize::from(self.is_call(expr));
        if let Expr::Identifier(name) = expr
            && let Some(meant) = (self.meant)(name, self.calls > 0)
        {
            *expr = meant;
        }
        ControlFlow::Continue(())
    }
}
