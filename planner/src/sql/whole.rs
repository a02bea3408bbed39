//! Whole numbers: with and without a sign that meet in arithmetic, and what is cast to them.
//!
//! The borrowed coercion makes decimals of BIGINT UNSIGNED and an integer with a sign, and a
//! quotient of the two would have digits behind the point. Here whole numbers stay whole:
//!
//! * a constant beyond BIGINT and a number with a sign are decimals, as larger ones are;
//! * BIGINT UNSIGNED and a constant that is not below zero are BIGINT UNSIGNED in sums, products,
//!   quotients and remainders;
//! * all else is BIGINT, and a number that does not fit is an error.
//!
//! Comparisons are of decimals, and exact for all numbers.
//!
//! Numbers with a point that become doubles are the nearest ones, too.
//!
//! What is cast to a whole number is rounded: decimals and texts in the middle between two away
//! from zero, doubles there to the even one.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::{Expr, ExprSchemable, Operator, cast, lit, try_cast};
use gristmill_engine::expr::nearest_double;

use crate::functions::{is_whole, to_nearest, to_whole, whole_type};

/// Holds all numbers of BIGINT and of BIGINT UNSIGNED.
const DECIMAL: DataType = DataType::Decimal128(20, 0);

/// Casts the operands of arithmetic, of which one has no sign. Says whether it did.
pub(super) fn meet_whole(
    left: &mut Expr,
    op: Operator,
    right: &mut Expr,
    schema: &DFSchema,
) -> bool {
    use Operator::{Divide, Minus, Modulo, Multiply, Plus};
    if !matches!(op, Plus | Minus | Multiply | Divide | Modulo) {
        return false;
    }
    let types = (left.get_type(schema), right.get_type(schema));
    let (unsigned, other) = match types {
        (Ok(DataType::UInt64), Ok(other)) if other.is_signed_integer() => (left, right),
        (Ok(other), Ok(DataType::UInt64)) if other.is_signed_integer() => (right, left),
        _ => return false,
    };
    if is_beyond_bigint(unsigned) {
        for operand in [unsigned, other] {
            *operand = cast(std::mem::take(operand), DECIMAL);
        }
        return true;
    }
    match not_negative(other).filter(|_| op != Minus) {
        Some(constant) => *other = Expr::Literal(ScalarValue::UInt64(Some(constant)), None),
        None => {
            for operand in [unsigned, other] {
                *operand = cast(std::mem::take(operand), DataType::Int64);
            }
        }
    }
    true
}

/// Casts the operands of an operator of bits, of which one has no sign: those of shifts have the
/// type of what is shifted. Says whether it did.
///
/// # Errors
/// When they are no integers, which the borrowed coercion would make of them.
pub(super) fn meet_bits(
    left: &mut Expr,
    op: Operator,
    right: &mut Expr,
    schema: &DFSchema,
) -> Result<bool> {
    use Operator::{BitwiseAnd, BitwiseOr, BitwiseShiftLeft, BitwiseShiftRight, BitwiseXor};
    if !matches!(op, BitwiseAnd | BitwiseOr | BitwiseXor | BitwiseShiftLeft | BitwiseShiftRight) {
        return Ok(false);
    }
    let is_known = |t: &DataType| t.is_integer() || t.is_null();
    let types = (left.get_type(schema)?, right.get_type(schema)?);
    if let Some(other) = [&types.0, &types.1].into_iter().find(|t| !is_known(t)) {
        let op = if op == BitwiseXor { "xor" } else { &op.to_string() };
        return plan_err!("`{op}` is of integers, and this is {other}; cast it");
    }
    let is_shift = matches!(op, BitwiseShiftLeft | BitwiseShiftRight);
    let (unsigned, other) = match types {
        (DataType::UInt64, signed) if signed.is_signed_integer() => (left, right),
        (signed, DataType::UInt64) if signed.is_signed_integer() && is_shift => {
            *right = cast(std::mem::take(right), DataType::Int64);
            return Ok(true);
        }
        (signed, DataType::UInt64) if signed.is_signed_integer() => (right, left),
        _ => return Ok(false),
    };
    match not_negative(other) {
        Some(constant) => *other = Expr::Literal(ScalarValue::UInt64(Some(constant)), None),
        None if is_shift => *other = cast(std::mem::take(other), DataType::UInt64),
        None => *unsigned = cast(std::mem::take(unsigned), DataType::Int64),
    }
    Ok(true)
}

/// Rounds what is cast to an integer: the cast itself cuts digits off. A constant that is cast to a
/// double is the nearest. Says whether it did.
pub(super) fn round_cast(expr: &mut Expr, schema: &DFSchema) -> bool {
    let (operand, field, lenient) = match expr {
        Expr::Cast(cast) => (cast.expr.as_mut(), &cast.field, false),
        Expr::TryCast(cast) => (cast.expr.as_mut(), &cast.field, true),
        _ => return false,
    };
    let target = field.data_type();
    if is_whole(operand) {
        return false;
    }
    let Ok(from) = operand.get_type(schema) else { return false };
    match nearest_constant(operand, &from, target) {
        Some(number @ Expr::Literal(..)) => {
            *expr = number;
            return true;
        }
        Some(number) => {
            *operand = number;
            return true;
        }
        None => {}
    }
    let Some(whole) = whole_type(&from, target) else { return false };
    if is_whole_text(operand) {
        return false;
    }
    // Decimals lose their digits in a cast, which fails or gives NULL as the one around it does.
    if whole != from {
        let decimals = std::mem::take(operand);
        *operand =
            if lenient { try_cast(decimals, whole.clone()) } else { cast(decimals, whole.clone()) };
    }
    if whole_type(&whole, target).is_some() {
        *operand = to_whole(std::mem::take(operand), target.clone());
    }
    true
}

/// What a constant that is a decimal is as a floating-point number: the borrowed folding divides
/// two doubles, and is off by a last digit.
fn nearest_constant(decimal: &Expr, from: &DataType, target: &DataType) -> Option<Expr> {
    if !from.is_decimal() || !target.is_floating() || decimal.any_column_refs() {
        return None;
    }
    Some(match (decimal, target) {
        (Expr::Literal(ScalarValue::Decimal128(Some(digits), _, scale), _), DataType::Float64) => {
            lit(nearest_double(*digits, *scale))
        }
        _ => to_nearest(decimal.clone(), target.clone()),
    })
}

/// Whether an expression is a text without a point or an exponent.
fn is_whole_text(expr: &Expr) -> bool {
    let Expr::Literal(text, _) = expr else { return false };
    text.try_as_str().flatten().is_some_and(|text| !text.contains(['.', 'e', 'E']))
}

/// Whether a number without a sign is a constant that BIGINT does not hold.
fn is_beyond_bigint(unsigned: &Expr) -> bool {
    match unsigned {
        Expr::Literal(ScalarValue::UInt64(Some(value)), _) => i64::try_from(*value).is_err(),
        Expr::Cast(cast) => is_beyond_bigint(&cast.expr),
        _ => false,
    }
}

/// The value of a constant that is not below zero.
fn not_negative(expr: &Expr) -> Option<u64> {
    let Expr::Literal(value, _) = expr else { return None };
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(value))) => u64::try_from(value).ok(),
        _ => None,
    }
}
