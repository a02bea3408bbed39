//! Texts that are constants, as what they are compared with: beside a Boolean or an interval one is
//! what it writes, as beside numbers and moments. The binder has no type for such a comparison.
//! So are they in arithmetic with numbers, and where one of several values is chosen, beside
//! numbers too: the borrowed coercion would make texts of the results of CASE, and 9 would be more
//! than 10.
//!
//! In an interval the time of a day may be written with colons: `1 day 02:03:04`.

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{Expr, ExprSchemable, cast, lit};
use datafusion_sql::sqlparser::ast::BinaryOperator;
use gristmill_engine::expr::in_units;

use crate::functions::{Meeting, common_type};

/// Reads the constants of comparisons when they are bound.
#[derive(Debug)]
pub(super) struct TextConstants;

impl ExprPlanner for TextConstants {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator::{
            Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Plus,
        };
        if matches!(expr.op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
            read_beside(&mut [&mut expr.left, &mut expr.right], schema, false)?;
        }
        if matches!(expr.op, Plus | Minus | Multiply | Divide | Modulo) {
            read_number(&mut expr.left, &expr.right, schema);
            read_number(&mut expr.right, &expr.left, schema);
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// Casts a text that is a constant to a number, if it is computed with one: to a number of the same
/// kind, or to a double if it has a point and that has none.
fn read_number(operand: &mut Expr, other: &Expr, schema: &DFSchema) {
    let Some(text) = text_of(operand) else { return };
    let Ok(number) = other.get_type(schema) else { return };
    if number.is_numeric() {
        let is_whole = !text.contains(['.', 'e', 'E']);
        let wanted = if is_whole || number.is_floating() { number } else { DataType::Float64 };
        *operand = cast(std::mem::take(operand), wanted);
    }
}

/// Casts those of the operands that are texts and constants to what another one is, to dates and
/// times of a day and to numbers only where one `is_chosen`. Says whether there are any.
///
/// # Errors
/// When the others are chosen from and have no common type.
pub(super) fn read_beside(
    operands: &mut [&mut Expr],
    schema: &DFSchema,
    is_chosen: bool,
) -> Result<bool> {
    if !operands.iter().any(|operand| text_of(operand).is_some()) {
        return Ok(false);
    }
    let known = || operands.iter().filter(|operand| text_of(operand).is_none());
    if is_chosen {
        let types: Vec<DataType> = known()
            .filter_map(|operand| operand.get_type(schema).ok())
            .filter(|data_type| !data_type.is_null())
            .collect();
        if !types.is_empty() && types.iter().all(DataType::is_numeric) {
            let Some(number) = common_type(&types.iter().collect::<Vec<_>>(), Meeting::Chosen)?
            else {
                return Ok(false);
            };
            read_as(operands, &number);
            return Ok(true);
        }
    }
    let wanted = known().filter_map(|operand| match operand.get_type(schema).ok()? {
        DataType::Boolean => Some(DataType::Boolean),
        DataType::Interval(_) | DataType::Duration(_) => {
            Some(DataType::Interval(IntervalUnit::MonthDayNano))
        }
        day @ (DataType::Date32 | DataType::Time32(_) | DataType::Time64(_)) if is_chosen => {
            Some(day)
        }
        // The texts are timestamps for their common type.
        DataType::Timestamp(..) if is_chosen => Some(DataType::Null),
        _ => None,
    });
    let wanted: Vec<DataType> = wanted.collect();
    if wanted.contains(&DataType::Null) {
        return Ok(false);
    }
    let Some(wanted) = wanted.first() else { return Ok(false) };
    read_as(operands, wanted);
    Ok(true)
}

/// Casts the texts among operands that are constants.
fn read_as(operands: &mut [&mut Expr], wanted: &DataType) {
    for operand in operands.iter_mut() {
        let Some(text) = text_of(operand) else { continue };
        let text = match wanted {
            DataType::Interval(_) => in_units(text).unwrap_or_else(|| text.to_string()),
            _ => text.to_string(),
        };
        **operand = cast(lit(text), wanted.clone());
    }
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}
