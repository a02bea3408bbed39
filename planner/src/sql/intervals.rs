//! Intervals several times, as calls of a function: the binder knows constant intervals alone, and
//! no product of them.

use datafusion_sql::sqlparser::ast::{BinaryOperator, Expr, Interval, Value, ValueWithSpan};

use super::syntax::{call, text};
use crate::functions::SEVERAL;

/// Writes `n * INTERVAL '1 day'` and `INTERVAL (n) DAY` as calls; leaves others.
pub(super) fn write_out(expr: &mut Expr) {
    let several = match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Multiply, right } => {
            match (is_interval(left), is_interval(right)) {
                (true, false) => Some((left.as_ref().clone(), right.as_ref().clone())),
                (false, true) => Some((right.as_ref().clone(), left.as_ref().clone())),
                _ => None,
            }
        }
        Expr::Interval(interval) => match &interval.leading_field {
            Some(unit) if !is_constant(&interval.value) && interval.last_field.is_none() => {
                Some((of_text(&format!("1 {unit}")), interval.value.as_ref().clone()))
            }
            _ => None,
        },
        _ => None,
    };
    if let Some((interval, times)) = several {
        *expr = call(SEVERAL, vec![interval, times]);
    }
}

/// A constant such as `1 month`.
pub(super) fn of_text(written: &str) -> Expr {
    Expr::Interval(Interval {
        value: Box::new(text(written)),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    })
}

fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_interval(inner),
        Expr::Interval(_) => true,
        _ => false,
    }
}

fn is_constant(value: &Expr) -> bool {
    let is_placeholder = |value: &Value| matches!(value, Value::Placeholder(_));
    matches!(value, Expr::Value(ValueWithSpan { value, .. }) if !is_placeholder(value))
}
