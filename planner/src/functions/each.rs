//! Calls of functions with values that are constant or not: what is made of constants is one.

use arrow::array::ArrayRef;
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::ColumnarValue;

/// What `of` makes of values; of a constant once, which gives a constant.
///
/// # Errors
/// Those of `of`.
pub(super) fn each(
    values: &ColumnarValue,
    of: impl FnOnce(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    Ok(match values {
        ColumnarValue::Array(values) => ColumnarValue::Array(of(values)?),
        ColumnarValue::Scalar(value) => return results(of(&value.to_array()?)?, true),
    })
}

/// Whether all arguments of a call are constants.
pub(super) fn is_constant(arguments: &[ColumnarValue]) -> bool {
    arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)))
}

/// The results of a call; one of constants has one.
///
/// # Errors
/// `Internal` when a value cannot be a constant.
pub(super) fn results(results: ArrayRef, is_constant: bool) -> Result<ColumnarValue> {
    Ok(match is_constant {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&results, 0)?),
        false => ColumnarValue::Array(results),
    })
}
