//! Which logical expressions can fail on some row, and hence must not see rows they were not
//! written for.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion_common::DFSchema;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use crate::functions::is_opaque;

/// Whether evaluating the expression can fail. Conservative: functions and arithmetic may, except
/// what is known to be total.
pub(crate) fn is_fallible(expr: &Expr, schema: &DFSchema) -> bool {
    any(expr, |e| can_fail(e, schema))
}

/// As [`is_fallible`], of those parts only that read columns: the others are constants that have
/// not been folded yet.
pub(crate) fn is_fallible_on_columns(expr: &Expr, schema: &DFSchema) -> bool {
    any(expr, |e| can_fail(e, schema) && e.any_column_refs())
}

fn any(expr: &Expr, test: impl Fn(&Expr) -> bool) -> bool {
    let mut found = false;
    let _ = expr.apply(|e| {
        found = test(e);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

/// Whether an expression can fail though its operands do not.
fn can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::BinaryExpr(binary) => is_fallible_arithmetic(binary, expr, schema),
        Expr::Negative(_) => true,
        Expr::ScalarFunction(call) => {
            !TOTAL_FUNCTIONS.contains(&call.name()) && !is_opaque(call.name())
        }
        Expr::Cast(cast) => {
            cast.expr.get_type(schema).map_or(true, |from| !widens(&from, cast.field.data_type()))
        }
        _ => false,
    }
}

/// Functions that are defined on all values of their arguments' types.
const TOTAL_FUNCTIONS: &[&str] = &[
    "btrim",
    "character_length",
    "coalesce",
    "concat",
    "contains",
    "date_part",
    "date_trunc",
    "ends_with",
    "left",
    "lower",
    "ltrim",
    "nullif",
    "octet_length",
    "replace",
    "reverse",
    "right",
    "rtrim",
    "starts_with",
    "strpos",
    "upper",
];

/// Arithmetic fails on overflow and on division by zero. Floats do neither; sums and products of
/// decimals have types that hold every result, until the type is as wide as it gets.
fn is_fallible_arithmetic(binary: &BinaryExpr, expr: &Expr, schema: &DFSchema) -> bool {
    let exact = match binary.op {
        Operator::Plus | Operator::Minus | Operator::Multiply => true,
        Operator::Divide | Operator::Modulo => false,
        _ => return false,
    };
    match expr.get_type(schema) {
        Ok(data_type) if data_type.is_floating() => false,
        Ok(DataType::Decimal128(precision, _)) => !exact || precision == DECIMAL128_MAX_PRECISION,
        _ => true,
    }
}

/// Whether every value of one type is a value of the other.
fn widens(from: &DataType, to: &DataType) -> bool {
    let decimal = |data_type: &DataType| match data_type {
        DataType::Decimal128(p, s) => Some((i16::from(*p) - i16::from(*s), i16::from(*s))),
        DataType::Int8 | DataType::UInt8 => Some((3, 0)),
        DataType::Int16 | DataType::UInt16 => Some((5, 0)),
        DataType::Int32 | DataType::UInt32 => Some((10, 0)),
        DataType::Int64 | DataType::UInt64 => Some((20, 0)),
        _ => None,
    };
    match (from, to) {
        (from, to) if from == to => true,
        (from, DataType::Float64) => from.is_numeric(),
        (from, DataType::Decimal128(..)) => match (decimal(from), decimal(to)) {
            (Some((digits, scale)), Some((digits_to, scale_to))) => {
                digits_to >= digits && scale_to >= scale
            }
            _ => false,
        },
        (DataType::Int8 | DataType::UInt8, DataType::Int16 | DataType::Int32 | DataType::Int64)
        | (DataType::Int16 | DataType::UInt16, DataType::Int32 | DataType::Int64)
        | (DataType::Int32 | DataType::UInt32, DataType::Int64) => true,
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, to) => to.is_string(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_loses_nothing() {
        use DataType::{Decimal128, Float64, Int32, Int64, Utf8, Utf8View};
        assert!(widens(&Decimal128(15, 2), &Decimal128(21, 7)));
        assert!(!widens(&Decimal128(15, 2), &Decimal128(15, 3)));
        assert!(widens(&Int32, &Decimal128(10, 0)) && !widens(&Int64, &Decimal128(19, 0)));
        assert!(widens(&Utf8, &Utf8View) && !widens(&Utf8, &Int64));
        assert!(widens(&Int64, &Float64) && !widens(&Int64, &Int32));
    }
}
