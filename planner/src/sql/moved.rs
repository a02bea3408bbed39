//! A date moved by hours is a timestamp: the borrowed coercion leaves it a date, and the hours are
//! lost. Moved by days or months that are constant it stays a date.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{Expr, ExprSchemable, cast};
use datafusion_sql::sqlparser::ast::BinaryOperator;

/// Moves dates when they are bound: what is around has its type by that of a sum.
#[derive(Debug)]
pub(super) struct MovedDates;

impl ExprPlanner for MovedDates {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if matches!(expr.op, BinaryOperator::Plus | BinaryOperator::Minus) {
            let _ = move_date(&mut expr.left, &expr.right, schema)
                || move_date(&mut expr.right, &expr.left, schema);
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// Casts a date that is moved by a part of a day. Says whether it was one.
pub(super) fn move_date(date: &mut Expr, by: &Expr, schema: &DFSchema) -> bool {
    // The right operand is the shallow one of a chain: `by` is asked first, unless it is a chain.
    if matches!(by, Expr::BinaryExpr(_)) && !is_date(date, schema) {
        return false;
    }
    if !has_parts_of_a_day(by, schema) || !is_date(date, schema) {
        return false;
    }
    *date = cast(std::mem::take(date), DataType::Timestamp(TimeUnit::Microsecond, None));
    true
}

fn is_date(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Date32 | DataType::Date64))
}

fn has_parts_of_a_day(by: &Expr, schema: &DFSchema) -> bool {
    match by {
        Expr::Negative(by) => has_parts_of_a_day(by, schema),
        Expr::Literal(ScalarValue::IntervalMonthDayNano(by), _) => {
            by.is_some_and(|by| by.nanoseconds != 0)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(by), _) => {
            by.is_some_and(|by| by.milliseconds != 0)
        }
        // It may have some.
        by => match by.get_type(schema) {
            Ok(DataType::Interval(unit)) => unit != IntervalUnit::YearMonth,
            Ok(DataType::Duration(_)) => true,
            _ => false,
        },
    }
}
