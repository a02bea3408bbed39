//! Whole numbers: with and without a sign that meet in arithmetic, and what is cast to them.
//!
//! The borrowed coercion makes decimals of BIGINT UNSIGNED and an integer with a sign, and a
//! quotient of the two would have digits behind the point. Here whole numbers stay whole:
//!
//! * BIGINT UNSIGNED and a constant that is not below zero are BIGINT UNSIGNED in sums, products,
//!   quotients and remainders;
//! * all else is BIGINT, and a number that does not fit is an error.
//!
//! Comparisons are of decimals, and exact for all numbers.
//!
//! What is cast to a whole number is rounded: decimals and texts in the middle between two away
//! from zero, doubles there to the even one.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{Expr, ExprSchemable, Operator, cast, try_cast};

use crate::functions::{is_whole, to_whole};

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

/// Rounds what is cast to an integer: the cast itself cuts digits off. Says whether it did.
pub(super) fn round_whole(expr: &mut Expr, schema: &DFSchema) -> bool {
    let (operand, field, lenient) = match expr {
        Expr::Cast(cast) => (cast.expr.as_mut(), &cast.field, false),
        Expr::TryCast(cast) => (cast.expr.as_mut(), &cast.field, true),
        _ => return false,
    };
    if !field.data_type().is_integer() || is_whole(operand) {
        return false;
    }
    let Ok(from) = operand.get_type(schema) else { return false };
    match without_scale(&from) {
        Some(whole) if lenient => *operand = try_cast(std::mem::take(operand), whole),
        Some(whole) => *operand = cast(std::mem::take(operand), whole),
        None if from.is_floating() || from.is_string() => {
            *operand = to_whole(std::mem::take(operand));
        }
        None => return false,
    }
    true
}

/// The type of a decimal without its digits behind the point, when it has any. It has a digit more
/// in front of it: 9.5 becomes 10.
fn without_scale(decimal: &DataType) -> Option<DataType> {
    let whole = |precision: u8, scale: i8| {
        let scale = u8::try_from(scale).ok().filter(|scale| *scale > 0)?;
        Some(precision.saturating_sub(scale) + 1)
    };
    Some(match decimal {
        DataType::Decimal32(precision, scale) => DataType::Decimal32(whole(*precision, *scale)?, 0),
        DataType::Decimal64(precision, scale) => DataType::Decimal64(whole(*precision, *scale)?, 0),
        DataType::Decimal128(precision, scale) => {
            DataType::Decimal128(whole(*precision, *scale)?, 0)
        }
        // What has more digits is no integer.
        DataType::Decimal256(..) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
        _ => return None,
    })
}

/// The value of a constant that is not below zero.
fn not_negative(expr: &Expr) -> Option<u64> {
    let Expr::Literal(value, _) = expr else { return None };
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(value))) => u64::try_from(value).ok(),
        _ => None,
    }
}
