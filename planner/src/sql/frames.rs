//! Frames over keys that nothing is added to.
//!
//! The borrowed coercion wants a type for the offsets of every RANGE frame, those without offsets
//! too, and fails for keys such as times, intervals and binaries. Without offsets a frame of RANGE
//! reaches as far as one of GROUPS: to whole groups of peers. So it becomes that.
//!
//! Sound: both take the first key's peers, which ORDER BY alone decides. Names stay what they were.

use arrow::datatypes::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_common::{DFSchema, Result, plan_err};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, WindowFrameBound, WindowFrameUnits};
use datafusion_optimizer::analyzer::AnalyzerRule;

use super::renewed::{renewed, schema_below};

/// See the module documentation.
#[derive(Debug)]
pub(super) struct PeerFrames;

impl AnalyzerRule for PeerFrames {
    fn name(&self) -> &str {
        "peer_frames"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            if !matches!(node, LogicalPlan::Window(_)) {
                return Ok(Transformed::no(node));
            }
            let schema = schema_below(&node);
            renewed(node, |e| by_peers(e, &schema))
        })
        .data()
    }
}

fn by_peers(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::WindowFunction(function) = &mut expr else { return Ok(Transformed::no(expr)) };
    let frame = &mut function.params.window_frame;
    let Some(key) = function.params.order_by.first() else { return Ok(Transformed::no(expr)) };
    if frame.units != WindowFrameUnits::Range || has_offsets(&key.expr.get_type(schema)?) {
        return Ok(Transformed::no(expr));
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
    Ok(Transformed::yes(expr))
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
