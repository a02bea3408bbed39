//! Frames over keys that nothing is added to.
//!
//! The borrowed coercion wants a type for the offsets of every RANGE frame, those without offsets
//! too, and fails for keys such as times, intervals and binaries. Without offsets a frame of RANGE
//! reaches as far as one of GROUPS: to whole groups of peers. So it becomes that.
//!
//! Sound: both take the first key's peers, which ORDER BY alone decides. Names stay what they were.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result, plan_err};
use datafusion_expr::{Expr, ExprSchemable, WindowFrameBound, WindowFrameUnits};

/// See the module documentation.
///
/// # Errors
/// For offsets from keys that have none.
pub(super) fn by_peers(mut expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Expr::WindowFunction(function) = &mut expr else { return Ok(expr) };
    let frame = &mut function.params.window_frame;
    let Some(key) = function.params.order_by.first() else { return Ok(expr) };
    if frame.units != WindowFrameUnits::Range || has_offsets(&key.expr.get_type(schema)?) {
        return Ok(expr);
    }
    for bound in [&frame.start_bound, &frame.end_bound] {
        if let WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) = bound
            && !offset.is_null()
        {
            let data_type = key.expr.get_type(schema)?;
            return plan_err!("a RANGE frame with an offset cannot be over keys of {data_type}");
        }
    }
    frame.units = WindowFrameUnits::Groups;
    Ok(expr)
}

/// Whether the borrowed coercion knows a type for offsets from keys of this one.
fn has_offsets(key: &DataType) -> bool {
    use DataType as T;
    match key {
        T::Dictionary(_, values) => has_offsets(values),
        T::Date32 | T::Date64 | T::Timestamp(_, _) | T::Boolean => true,
        T::List(_) | T::LargeList(_) | T::FixedSizeList(_, _) => true,
        other => other.is_numeric() || other.is_string() || other.is_null(),
    }
}
