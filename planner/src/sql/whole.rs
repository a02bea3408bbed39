//! Whole numbers with and without a sign that meet in arithmetic.
//!
//! The borrowed coercion makes decimals of BIGINT UNSIGNED and an integer with a sign, and a
//! quotient of the two would have digits behind the point. Here whole numbers stay whole:
//!
//! * BIGINT UNSIGNED and a constant that is not below zero are BIGINT UNSIGNED in sums, products,
//!   quotients and remainders;
//! * all else is BIGINT, and a number that does not fit is an error.
//!
//! Comparisons are of decimals, and exact for all numbers.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::{Expr, ExprSchemable, Operator, cast};

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

/// The value of a constant that is not below zero.
fn not_negative(expr: &Expr) -> Option<u64> {
    let Expr::Literal(value, _) = expr else { return None };
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(value))) => u64::try_from(value).ok(),
        _ => None,
    }
}
