//! What functions that stand for an operator are called: they print and name their columns as it
//! does.

use datafusion_common::{Result, internal_err};
use datafusion_expr::{BinaryExpr, Expr, Operator};

/// As the operator is printed.
///
/// # Errors
/// `Internal` when there are not two operands.
pub(crate) fn shown_operation(op: Operator, args: &[Expr]) -> Result<String> {
    let [left, right] = args else { return internal_err!("two operands") };
    Ok(BinaryExpr::new(left.clone().into(), op, right.clone().into()).to_string())
}

/// As its column is called.
///
/// # Errors
/// As [`shown_operation`].
pub(crate) fn named_operation(op: Operator, args: &[Expr]) -> Result<String> {
    let [left, right] = args else { return internal_err!("two operands") };
    Ok(format!("{} {op} {}", left.schema_name(), right.schema_name()))
}
