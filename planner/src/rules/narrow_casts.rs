//! `keep_casts`: casts that lose something stay where they are compared.
//!
//! The borrowed simplification takes a cast away from a column that is compared with a constant,
//! and casts the constant instead: `CAST(x AS decimal(5, 1)) = 1.6` would be `x = 1.6`, which is
//! not true of 1.56. Nor does a comparison without the cast know that the cast fails, or that
//! TRY_CAST is NULL. Casts between numbers that may round or overflow, and those between
//! timestamps, are put into a function that no rule looks into; those that keep every value may go,
//! so that conditions on columns that are cast by the rules themselves still reach the statistics
//! of files.
//!
//! Sound: the function means its argument.

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan};

use crate::functions::kept;
use crate::sql::{any_expression, renewed, schema_below};

/// The rule's name in explain.
pub(crate) const KEEP_CASTS: &str = "keep_casts";

/// Keeps such casts of a plan without subqueries, wherever they are: conditions come to read what
/// columns of inputs are made of.
pub(crate) fn keep_casts(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up(|node| {
        if !any_expression(&node, |expr| expr.exists(|e| Ok(is_cast(e))).unwrap_or(true)) {
            return Ok(Transformed::no(node));
        }
        let schema = schema_below(&node);
        renewed(node, |e| Ok(keep(e, &schema)))
    })
}

fn is_cast(expr: &Expr) -> bool {
    matches!(expr, Expr::Cast(_) | Expr::TryCast(_))
}

fn keep(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let (from, to) = match &expr {
        Expr::Cast(cast) => (&cast.expr, cast.field.data_type()),
        Expr::TryCast(cast) => (&cast.expr, cast.field.data_type()),
        _ => return Transformed::no(expr),
    };
    let tries = matches!(&expr, Expr::TryCast(_));
    let loses = from.any_column_refs()
        && from.get_type(schema).is_ok_and(|from| loses(&from, to) || tries && may_miss(&from, to));
    if loses { Transformed::yes(kept(expr)) } else { Transformed::no(expr) }
}

/// Whether TRY_CAST may be NULL of a value that is none, as far as it is not known better.
fn may_miss(from: &DataType, to: &DataType) -> bool {
    from != to && Digits::of(from).zip(Digits::of(to)).is_none()
}

/// Whether two values of a type may become one of another, or a value none, or a constant of the
/// other has no counterpart.
fn loses(from: &DataType, to: &DataType) -> bool {
    if let (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) = (from, to) {
        // To a finer one as well: the constant would be cut to the coarser one.
        return from != to;
    }
    let (Some(from), Some(to)) = (Digits::of(from), Digits::of(to)) else { return false };
    !to.hold(from)
}

/// What an exact number may have: digits before the point and behind it, or bits, and a sign.
#[derive(Clone, Copy)]
enum Digits {
    Bits { bits: i32, is_signed: bool },
    Decimal { whole: i32, fraction: i32 },
}

impl Digits {
    fn of(data_type: &DataType) -> Option<Digits> {
        let bits = |bits, is_signed| Some(Digits::Bits { bits, is_signed });
        match data_type {
            DataType::Int8 => bits(7, true),
            DataType::Int16 => bits(15, true),
            DataType::Int32 => bits(31, true),
            DataType::Int64 => bits(63, true),
            DataType::UInt8 => bits(8, false),
            DataType::UInt16 => bits(16, false),
            DataType::UInt32 => bits(32, false),
            DataType::UInt64 => bits(64, false),
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => Some(Digits::Decimal {
                whole: i32::from(*p) - i32::from(*s),
                fraction: i32::from(*s),
            }),
            _ => None,
        }
    }

    /// Whether every number with the `other` digits has a place in these.
    fn hold(self, other: Digits) -> bool {
        match (self, other) {
            (
                Digits::Bits { bits, is_signed },
                Digits::Bits { bits: other, is_signed: has_sign },
            ) => bits >= other && (is_signed || !has_sign),
            (Digits::Decimal { whole, fraction }, Digits::Bits { bits, .. }) => {
                // 63 bits have up to 19 digits, 64 up to 20.
                fraction >= 0 && whole > bits * 30_103 / 100_000
            }
            (Digits::Bits { .. }, Digits::Decimal { .. }) => false,
            (
                Digits::Decimal { whole, fraction },
                Digits::Decimal { whole: other, fraction: behind },
            ) => whole >= other && fraction >= behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn casts_that_round_or_overflow_lose_something() {
        use DataType::{Decimal128, Int8, Int16, Int32, Int64, UInt8, UInt32, UInt64};
        let all = [
            (Int8, Int64, false),
            (Int64, Int32, true),
            (UInt8, Int8, true),
            (UInt8, Int16, false),
            (UInt32, Int64, false),
            (Int8, UInt64, true),
            (Int64, Decimal128(19, 0), false),
            (Int64, Decimal128(20, 2), true),
            (UInt64, Decimal128(20, 0), false),
            (UInt64, Decimal128(19, 0), true),
            (Decimal128(15, 2), Decimal128(17, 4), false),
            (Decimal128(15, 2), Decimal128(15, 1), true),
            (Decimal128(15, 2), Decimal128(15, 3), true),
            (Decimal128(5, 0), Int64, true),
            (Int64, DataType::Float64, false),
            (DataType::Utf8, Int64, false),
        ];
        for (from, to, expected) in all {
            assert_eq!(loses(&from, &to), expected, "{from} to {to}");
        }
        let stamp = |unit| DataType::Timestamp(unit, None);
        assert!(loses(&stamp(TimeUnit::Nanosecond), &stamp(TimeUnit::Second)));
        assert!(loses(&stamp(TimeUnit::Second), &stamp(TimeUnit::Microsecond)));
        assert!(!loses(&stamp(TimeUnit::Second), &stamp(TimeUnit::Second)));
    }
}
