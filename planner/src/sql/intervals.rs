//! Intervals several times, and parts of them: the binder knows constant intervals alone, and no
//! product of them.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{BinaryExpr, Expr as Bound, ExprSchemable, Operator};
use datafusion_sql::sqlparser::ast::{BinaryOperator, Expr, Interval, Value, ValueWithSpan};

use super::syntax::{call, text};
use crate::functions::{SEVERAL, divided, times};

/// Makes calls of `i * n`, `n * i` and `i / n`, where `i` is an interval.
#[derive(Debug)]
pub(super) struct ScaledIntervals;

impl ExprPlanner for ScaledIntervals {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = &expr;
        let (left, right) = (|| is_interval(left, schema), || is_interval(right, schema));
        let makes = match op {
            BinaryOperator::Multiply if right() => !left(),
            BinaryOperator::Multiply | BinaryOperator::Divide => left() && !right(),
            _ => false,
        };
        if !makes {
            return Ok(PlannerResult::Original(expr));
        }
        let RawBinaryExpr { op, left, right } = expr;
        Ok(PlannerResult::Planned(match op {
            BinaryOperator::Divide => divided(left, right),
            _ if is_interval(&right, schema) => times(right, left),
            _ => times(left, right),
        }))
    }
}

fn is_interval(expr: &Bound, schema: &DFSchema) -> bool {
    // Of a chain of products that would be asked at every link, and no product is one by now.
    let is_product = matches!(
        expr,
        Bound::BinaryExpr(BinaryExpr { op: Operator::Multiply | Operator::Divide, .. })
    );
    !is_product && matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

/// Writes `INTERVAL (n) DAY` as a call; leaves others.
pub(super) fn write_out(expr: &mut Expr) {
    let Expr::Interval(interval) = expr else { return };
    if let Some(unit) = &interval.leading_field
        && !is_constant(&interval.value)
        && interval.last_field.is_none()
    {
        let one = of_text(&format!("1 {unit}"));
        *expr = call(SEVERAL, vec![one, interval.value.as_ref().clone()]);
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

fn is_constant(value: &Expr) -> bool {
    let is_placeholder = |value: &Value| matches!(value, Value::Placeholder(_));
    matches!(value, Expr::Value(ValueWithSpan { value, .. }) if !is_placeholder(value))
}
