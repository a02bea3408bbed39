//! Distinct expressions, by position: what a projection below a node computes.

use gristmill_engine::expr::Expr;

/// See the module documentation.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) exprs: Vec<Expr>,
}

impl Columns {
    /// Begins with these columns, whether they are distinct or not.
    pub(super) fn new(exprs: Vec<Expr>) -> Self {
        Columns { exprs }
    }

    /// The position of an expression, which is put behind the others unless it is among them.
    pub(super) fn add(&mut self, expr: Expr) -> usize {
        if !expr.is_volatile()
            && let Some(position) = self.exprs.iter().position(|e| *e == expr)
        {
            return position;
        }
        self.exprs.push(expr);
        self.exprs.len() - 1
    }
}
