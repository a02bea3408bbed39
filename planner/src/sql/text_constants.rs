//! Texts that are constants, as what they are compared with: beside a Boolean or an interval one is
//! what it writes, as beside numbers and moments. The binder has no type for such a comparison.
//! So are they in arithmetic with numbers, and where one of several values is chosen, beside
//! numbers too: the borrowed coercion would make texts of the results of CASE, and 9 would be more
//! than 10.
//!
//! In an interval the time of a day may be written with colons: `1 day 02:03:04`.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, IntervalUnit};
use datafusion_common::{DFSchema, Result, ScalarValue};
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
            meet_times([&mut expr.left, &mut expr.right], schema)?;
        }
        if matches!(expr.op, Plus | Minus | Multiply | Divide | Modulo) {
            read_number(&mut expr.left, &expr.right, schema);
            read_number(&mut expr.right, &expr.left, schema);
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// Times of a day that count different units in one of them: the binder has no type for seconds and
/// nanoseconds.
fn meet_times(operands: [&mut Expr; 2], schema: &DFSchema) -> Result<()> {
    let mut types = Vec::with_capacity(operands.len());
    for operand in &operands {
        match operand.get_type(schema) {
            Ok(time @ (DataType::Time32(_) | DataType::Time64(_))) => types.push(time),
            _ => return Ok(()),
        }
    }
    let types: Vec<&DataType> = types.iter().collect();
    let Some(common) = common_type(&types, Meeting::Compared)? else { return Ok(()) };
    for (operand, _) in operands.into_iter().zip(types).filter(|(_, own)| **own != common) {
        *operand = cast(std::mem::take(operand), common.clone());
    }
    Ok(())
}

/// Makes a number of a text that is a constant, if it is computed with one: the number that it
/// writes, or, where it writes none, what says so when it runs.
fn read_number(operand: &mut Expr, other: &Expr, schema: &DFSchema) {
    let Some(text) = text_of(operand) else { return };
    if let Ok(number) = other.get_type(schema)
        && number.is_numeric()
    {
        let read = written_number(text.trim());
        *operand = read.unwrap_or_else(|| cast(std::mem::take(operand), number));
    }
}

/// A number as it would be without quotes: whole, a decimal, or a double.
fn written_number(text: &str) -> Option<Expr> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(lit(whole));
    }
    let digits = text.trim_start_matches(['-', '+']);
    if let Some((front, behind)) = digits.split_once('.')
        && !front.is_empty()
        && (front.len() + behind.len()) <= usize::from(DECIMAL128_MAX_PRECISION)
        && front.bytes().chain(behind.bytes()).all(|b| b.is_ascii_digit())
    {
        let value = text.replace('.', "").parse::<i128>().ok()?;
        let (precision, scale) = ((front.len() + behind.len()) as u8, behind.len() as i8);
        return Some(lit(ScalarValue::Decimal128(Some(value), precision, scale)));
    }
    text.parse::<f64>().ok().filter(|_| digits.starts_with(|c: char| c.is_ascii_digit())).map(lit)
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
