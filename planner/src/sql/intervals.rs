//! Intervals several times, and parts of them: the binder knows constant intervals alone, and no
//! product of them.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{BinaryExpr, Expr as Bound, ExprSchemable, Operator, cast};
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, DataType as Written, DateTimeField, Expr, Interval, Value, ValueWithSpan,
};
use gristmill_engine::expr::in_units;

use super::syntax::{call, text, written};
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
        if let Some(scaled) = scaled_difference(&expr, schema) {
            return Ok(PlannerResult::Planned(scaled));
        }
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

/// What is between two timestamps, which is a number of units of time, several times, or a part of
/// it.
fn scaled_difference(expr: &RawBinaryExpr, schema: &DFSchema) -> Option<Bound> {
    let divides = match expr.op {
        BinaryOperator::Multiply => false,
        BinaryOperator::Divide => true,
        _ => return None,
    };
    // As above, a chain of products is not asked for its type.
    let unit = |e: &Bound| match e {
        Bound::BinaryExpr(BinaryExpr { op: Operator::Plus | Operator::Minus, .. })
        | Bound::Column(_)
        | Bound::Cast(_)
        | Bound::Negative(_) => match e.get_type(schema) {
            Ok(DataType::Duration(unit)) => Some(unit),
            _ => None,
        },
        _ => None,
    };
    let (difference, unit, number) = match (unit(&expr.left), unit(&expr.right)) {
        (Some(unit), None) => (&expr.left, unit, &expr.right),
        (None, Some(unit)) if !divides => (&expr.right, unit, &expr.left),
        _ => return None,
    };
    let number_type = number.get_type(schema).ok().filter(DataType::is_numeric)?;
    let is_whole = number_type.is_integer();
    let of = if is_whole { DataType::Int64 } else { DataType::Float64 };
    let count = cast(cast(difference.clone(), DataType::Int64), of.clone());
    let number = cast(number.clone(), of);
    let scaled = if divides { count / number } else { count * number };
    // A double is rounded on the way.
    Some(cast(cast(scaled, DataType::Int64), DataType::Duration(unit)))
}

/// Writes `INTERVAL (n) DAY` as a call, times of a day in units, quarters in months, and units that
/// are repeated once; leaves others.
pub(super) fn write_out(expr: &mut Expr) {
    if let Expr::Interval(Interval { value, leading_field: Some(unit), .. }) = expr
        && let DateTimeField::Quarter = unit
        && let Some(number) = number(value)
    {
        *expr = of_text(&format!("{number} quarter"));
    }
    if let Expr::Cast { expr: of, data_type: Written::Interval { .. }, .. }
    | Expr::Interval(Interval { value: of, leading_field: None, .. }) = expr
        && let Some(written) = written(of)
    {
        let once = in_months(written)
            .map_or_else(|| units_once(written), |months| units_once(&months).or(Some(months)));
        if let Some(units) = in_units(once.as_deref().unwrap_or(written)).or(once) {
            **of = text(&units);
        }
    }
    let Expr::Interval(interval) = expr else { return };
    if let Some(unit) = &interval.leading_field
        && !is_constant(&interval.value)
        && interval.last_field.is_none()
    {
        let one = of_text(&format!("1 {unit}"));
        *expr = call(SEVERAL, vec![one, interval.value.as_ref().clone()]);
    }
}

/// The number in front of a unit.
fn number(value: &Expr) -> Option<&str> {
    match value {
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => Some(number),
        other => written(other),
    }
}

/// An interval with its quarters in months, if it has some.
fn in_months(text: &str) -> Option<String> {
    let mut parts: Vec<String> = text.split_whitespace().map(str::to_string).collect();
    let mut has_quarters = false;
    for at in 1..parts.len() {
        let is_quarter =
            ["quarter", "quarters"].iter().any(|unit| parts[at].eq_ignore_ascii_case(unit));
        let months = match parts[at - 1].parse::<i64>() {
            Ok(quarters) => quarters.checked_mul(3).map(|months| months.to_string()),
            Err(_) => {
                parts[at - 1].parse::<f64>().ok().map(|quarters| (quarters * 3.0).to_string())
            }
        };
        if let Some(months) = months.filter(|_| is_quarter) {
            parts[at - 1] = months;
            parts[at] = "months".to_string();
            has_quarters = true;
        }
    }
    has_quarters.then(|| parts.join(" "))
}

/// An interval that has each unit once, if it has one several times: `1 day 2 days` is `3 days`.
fn units_once(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let mut sums: Vec<(String, i64)> = Vec::with_capacity(parts.len() / 2);
    let mut is_repeated = false;
    for pair in parts.chunks(2) {
        let [number, unit] = pair else { return None };
        let unit = unit.to_ascii_lowercase();
        let unit = unit.strip_suffix('s').unwrap_or(&unit);
        let number: i64 = number.parse().ok()?;
        match sums.iter_mut().find(|(known, _)| known == unit) {
            Some((_, sum)) => {
                *sum = sum.checked_add(number)?;
                is_repeated = true;
            }
            None => sums.push((unit.to_string(), number)),
        }
    }
    let written: Vec<String> = sums.iter().map(|(unit, sum)| format!("{sum} {unit}")).collect();
    is_repeated.then(|| written.join(" "))
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
