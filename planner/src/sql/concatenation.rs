//! `||` binds less than arithmetic, as in PostgreSQL and DuckDB: `s || n + 1` is `s || (n + 1)`.
//! The parser gives it the rank of `*`, from the left.
//!
//! Sound: parentheses are nodes of their own in the syntax tree, so an operand that is a `||` was
//! written without them.

use std::mem;

use datafusion_sql::sqlparser::ast::{BinaryOperator, Expr, Value};

use super::lists::CHAINED_CONCAT;

/// Makes `||` the outer one of an arithmetic operation whose operands have it; those have been seen
/// to before.
pub(super) fn bind_less(expr: &mut Expr) {
    let Expr::BinaryOp { left, op, right } = expr else { return };
    if !is_arithmetic(op) || !(is_concatenation(left) || is_concatenation(right)) {
        return;
    }
    let null = || Box::new(Expr::value(Value::Null));
    let mut outer = mem::replace(right, null());
    if is_concatenation(&outer) {
        let first = end(&mut outer, |left, _| left);
        **right = mem::replace(first, Expr::value(Value::Null));
        *first = mem::replace(expr, Expr::value(Value::Null));
        bind_less(first);
    } else {
        **right = *outer;
        outer = mem::replace(left, null());
        let last = end(&mut outer, |_, right| right);
        **left = mem::replace(last, Expr::value(Value::Null));
        *last = mem::replace(expr, Expr::value(Value::Null));
    }
    *expr = *outer;
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Divide, DuckIntegerDivide, Minus, Modulo, Multiply, Plus};
    matches!(op, Plus | Minus | Multiply | Divide | DuckIntegerDivide | Modulo)
}

fn is_concatenation(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::StringConcat, .. } => true,
        Expr::BinaryOp { op: BinaryOperator::Custom(op), .. } => op == CHAINED_CONCAT,
        _ => false,
    }
}

/// The first or last operand of a chain of concatenations.
fn end(expr: &mut Expr, side: for<'a> fn(&'a mut Expr, &'a mut Expr) -> &'a mut Expr) -> &mut Expr {
    if !is_concatenation(expr) {
        return expr;
    }
    match expr {
        Expr::BinaryOp { left, right, .. } => end(side(left, right), side),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use datafusion_sql::sqlparser::ast::VisitMut;
    use datafusion_sql::sqlparser::dialect::GenericDialect;
    use datafusion_sql::sqlparser::parser::Parser;

    use super::*;

    fn bound(text: &str) -> Expr {
        let dialect = GenericDialect {};
        let parser = Parser::new(&dialect).try_with_sql(text);
        let mut expr = parser.and_then(|mut parser| parser.parse_expr()).expect(text);
        struct Bind;
        impl datafusion_sql::sqlparser::ast::VisitorMut for Bind {
            type Break = ();
            fn post_visit_expr(&mut self, expr: &mut Expr) -> std::ops::ControlFlow<()> {
                bind_less(expr);
                std::ops::ControlFlow::Continue(())
            }
        }
        let _ = VisitMut::visit(&mut expr, &mut Bind);
        expr
    }

    #[test]
    fn arithmetic_binds_more() {
        for (text, meant) in [
            ("a || b + c", "a || (b + c)"),
            ("a || b * c", "a || (b * c)"),
            ("a + b || c", "(a + b) || c"),
            ("a * b || c * d || e", "((a * b) || (c * d)) || e"),
            ("a || b * c + d || e - f", "(a || ((b * c) + d)) || (e - f)"),
            ("a + b || c + d || e % f", "((a + b) || (c + d)) || (e % f)"),
            ("(a || b) * c", "((a || b)) * c"),
            ("a || b = c || d + 1", "(a || b) = (c || (d + 1))"),
            ("a - b - c || d", "((a - b) - c) || d"),
        ] {
            assert_eq!(grouped(&bound(text)), grouped(&bound(meant)), "{text}");
        }
    }

    /// The expression with all its parentheses, and no others.
    fn grouped(expr: &Expr) -> String {
        match expr {
            Expr::Nested(inner) => grouped(inner),
            Expr::BinaryOp { left, op, right } => {
                format!("({} {op} {})", grouped(left), grouped(right))
            }
            other => other.to_string(),
        }
    }
}
