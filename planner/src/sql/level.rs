//! Goes through the expressions of one query, but not through their subqueries, whose names are
//! others.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{Expr, Query, VisitMut, VisitorMut};

/// What is done with each expression.
pub(super) trait OnLevel {
    /// Before what it consists of.
    fn enter(&mut self, _: &mut Expr) {}

    /// Behind that; what is written then is not gone through again.
    fn leave(&mut self, _: &mut Expr) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Goes through what a node of the syntax tree consists of, as far as `on` wants.
pub(super) fn visit_level(node: &mut impl VisitMut, on: &mut impl OnLevel) {
    let _ = VisitMut::visit(node, &mut Level { on, queries: 0 });
}

struct Level<'a, O> {
    on: &'a mut O,
    /// Queries around the expression at hand.
    queries: usize,
}

impl<O: OnLevel> VisitorMut for Level<'_, O> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.queries == 0 {
            self.on.enter(expr);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.queries == 0 { self.on.leave(expr) } else { ControlFlow::Continue(()) }
    }
}
