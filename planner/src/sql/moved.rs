//! A date moved by hours is a timestamp: the borrowed coercion leaves it a date, and the hours are
//! lost. Moved by days or months that are constant it stays a date.
//!
//! What moves a date or a timestamp may be a parameter: its text is a number of days for a date, or
//! an interval; one that is a moment is subtracted.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{Expr, ExprSchemable, cast, lit};
use datafusion_sql::sqlparser::ast::BinaryOperator;
use gristmill_engine::expr::in_units;

use super::placeholders::name_of;
use crate::parameters::{Parameter, Parameters};

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

/// Puts in parameters that move dates and timestamps: others take the type of what they are added
/// to.
#[derive(Debug)]
pub(super) struct MovedByParameters {
    pub(super) parameters: Parameters,
}

impl ExprPlanner for MovedByParameters {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_sum = expr.op == BinaryOperator::Plus;
        if is_sum || expr.op == BinaryOperator::Minus {
            if let Some(by) = self.distance(&expr.right, &expr.left, is_sum, schema) {
                expr.right = by;
            } else if is_sum && let Some(by) = self.distance(&expr.left, &expr.right, true, schema)
            {
                expr.left = by;
            }
        }
        Ok(PlannerResult::Original(expr))
    }
}

impl MovedByParameters {
    /// How far a moment is moved, if `by` is a parameter that says it.
    fn distance(&self, by: &Expr, from: &Expr, is_sum: bool, schema: &DFSchema) -> Option<Expr> {
        let Expr::Placeholder(place) = by else { return None };
        let Some(Parameter::Text(text)) = self.parameters.get(name_of(&place.id)) else {
            return None;
        };
        let moment = from.get_type(schema).ok()?;
        let is_date = matches!(moment, DataType::Date32 | DataType::Date64);
        if !is_date && !matches!(moment, DataType::Timestamp(..)) {
            return None;
        }
        if let Ok(days) = text.trim().parse::<i64>()
            && is_date
        {
            return Some(lit(days));
        }
        let value = ScalarValue::from(text.as_str());
        if !is_sum && value.cast_to(&moment).is_ok() {
            return None;
        }
        let units = in_units(text).unwrap_or_else(|| text.clone());
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let interval = ScalarValue::from(units.as_str()).cast_to(&interval).ok()?;
        Some(Expr::Literal(interval, None))
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
