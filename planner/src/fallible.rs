//! Which logical expressions can fail on some row, and hence must not see rows they were not
//! written for.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion_common::DFSchema;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use gristmill_engine::expr::widens;

use crate::functions::{TOTAL_OF_BITS, is_opaque};

/// Whether evaluating the expression can fail. Conservative: functions and arithmetic may, except
/// what is known to be total.
pub(crate) fn is_fallible(expr: &Expr, schema: &DFSchema) -> bool {
    any(expr, schema, &|e| can_fail(e, schema))
}

/// As [`is_fallible`], of those parts only that read columns: the others are constants that have
/// not been folded yet.
pub(crate) fn is_fallible_on_columns(expr: &Expr, schema: &DFSchema) -> bool {
    any(expr, schema, &|e| can_fail(e, schema) && e.any_column_refs())
}

fn any(expr: &Expr, schema: &DFSchema, test: &dyn Fn(&Expr) -> bool) -> bool {
    let mut found = false;
    let _ = expr.apply(|e| {
        let of_days = compared_with_date(e, schema);
        found = match &of_days {
            Some(constants) => constants.iter().any(|constant| any(constant, schema, test)),
            None => test(e),
        };
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false if of_days.is_some() => TreeNodeRecursion::Jump,
            false => TreeNodeRecursion::Continue,
        })
    });
    found
}

/// The constant timestamps that a column of dates is compared with: the comparison becomes one of
/// days (`compare_days`), and dates that are no timestamps cannot fail in it.
fn compared_with_date<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<Vec<&'a Expr>> {
    let is_date = |e: &Expr| match e {
        Expr::Cast(cast) => {
            matches!(cast.field.data_type(), DataType::Timestamp(_, None))
                && matches!(cast.expr.as_ref(), Expr::Column(_))
                && matches!(cast.expr.get_type(schema), Ok(DataType::Date32))
        }
        _ => false,
    };
    let (date, constants): (&Expr, Vec<&Expr>) = match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            match is_date(left) {
                true => (left, vec![right]),
                false => (right, vec![left]),
            }
        }
        Expr::Between(between) => (&between.expr, vec![&between.low, &between.high]),
        Expr::InList(list) => (&list.expr, list.list.iter().collect()),
        _ => return None,
    };
    let is_constant = |e: &&Expr| {
        let is_of_other_rows =
            |e: &Expr| matches!(e, Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_));
        let reads = e.exists(|e| Ok(is_of_other_rows(e))).unwrap_or(true);
        !reads && !e.any_column_refs() && !e.is_volatile()
    };
    (is_date(date) && constants.iter().all(is_constant)).then_some(constants)
}

/// Whether an expression can fail though its operands do not.
fn can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::BinaryExpr(binary) => is_fallible_arithmetic(binary, expr, schema),
        Expr::Negative(_) => true,
        Expr::ScalarFunction(call) => {
            let name = call.name();
            let is_total = TOTAL_FUNCTIONS.contains(&name) || TOTAL_OF_BITS.contains(&name);
            !is_total && !is_opaque(name)
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
    "length",
    "lower",
    "ltrim",
    "md5",
    "nullif",
    "octet_length",
    "replace",
    "reverse",
    "right",
    "rtrim",
    "sha256",
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
