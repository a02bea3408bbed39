//! Window functions for the front end: their names, arguments and types. The engine computes them.
//!
//! Positions and counts are 64-bit integers with a sign, as in the standard: `row_number() - 5` is
//! no overflow.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, internal_err, plan_err};
use datafusion_expr::expr::{WindowFunction as WindowFunctionExpr, WindowFunctionParams};
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawWindowExpr};
use datafusion_expr::utils::COUNT_STAR_EXPANSION;
use datafusion_expr::{Expr, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};

use super::common_type::{Meeting, common_type};

/// The names of all window functions.
pub(crate) const WINDOW_FUNCTIONS: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// The window function of that name, for logical plans.
pub(crate) fn window_function(name: &str) -> Option<Arc<WindowUDF>> {
    let shape = match name {
        "row_number" | "rank" | "dense_rank" => Shape::Number,
        "percent_rank" | "cume_dist" => Shape::Share,
        "ntile" => Shape::Tile,
        "lag" | "lead" => Shape::Shift,
        "first_value" | "last_value" => Shape::Value,
        "nth_value" => Shape::Nth,
        _ => return None,
    };
    let name = WINDOW_FUNCTIONS.iter().find(|known| **known == name)?;
    let signature = match shape {
        Shape::Number | Shape::Share => Signature::nullary(Volatility::Immutable),
        _ => Signature::user_defined(Volatility::Immutable),
    };
    Some(Arc::new(WindowUDF::from(WindowFunction { name, shape, signature })))
}

/// Makes `count(*) OVER` and `count() OVER` the count of a constant.
#[derive(Debug)]
pub(crate) struct CountWindowPlanner;

impl ExprPlanner for CountWindowPlanner {
    fn plan_window(&self, expr: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        // The binder still has `*` as an expression.
        #[expect(deprecated)]
        let counts_rows = matches!(expr.args[..], [] | [Expr::Wildcard { .. }]);
        if expr.func_def.name() != "count" || !counts_rows {
            return Ok(PlannerResult::Original(expr));
        }
        Ok(PlannerResult::Planned(Expr::from(WindowFunctionExpr {
            fun: expr.func_def,
            params: WindowFunctionParams {
                args: vec![Expr::Literal(COUNT_STAR_EXPANSION, None)],
                partition_by: expr.partition_by,
                order_by: expr.order_by,
                window_frame: expr.window_frame,
                filter: expr.filter,
                null_treatment: expr.null_treatment,
                distinct: expr.distinct,
            },
        })))
    }
}

/// What goes in and what comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shape {
    /// `f()`: a whole number.
    Number,
    /// `f()`: between 0 and 1.
    Share,
    /// `f(n)`: a whole number.
    Tile,
    /// `f(x [, n [, default]])`: of the type of `x`, which for decimals holds the default too.
    Shift,
    /// `f(x)`: of the type of `x`.
    Value,
    /// `f(x, n)`: of the type of `x`.
    Nth,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowFunction {
    name: &'static str,
    shape: Shape,
    signature: Signature,
}

impl WindowUDFImpl for WindowFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let number = || DataType::Int64;
        Ok(match (self.shape, types) {
            (Shape::Tile, [_]) => vec![number()],
            (Shape::Value | Shape::Shift, [value]) => vec![value.clone()],
            (Shape::Nth | Shape::Shift, [value, _]) => vec![value.clone(), number()],
            (Shape::Shift, [value, _, other]) => {
                // Constants have no more digits than they are written with.
                let decimals = value.is_decimal() && (other.is_decimal() || other.is_integer());
                let both = match decimals {
                    true => common_type(&[value, other], Meeting::United)?,
                    false => None,
                };
                let united = both.unwrap_or_else(|| value.clone());
                vec![united.clone(), number(), united]
            }
            (shape, _) => {
                let takes = match shape {
                    Shape::Tile => "a number of parts",
                    Shape::Value => "a value",
                    Shape::Nth => "a value and a number",
                    _ => "a value, a number of rows and a default",
                };
                return plan_err!("{} takes {takes}", self.name);
            }
        })
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let (data_type, nullable) = match self.shape {
            Shape::Number | Shape::Tile => (DataType::Int64, false),
            Shape::Share => (DataType::Float64, false),
            Shape::Shift | Shape::Value | Shape::Nth => match args.get_input_field(0) {
                Some(field) => (field.data_type().clone(), true),
                None => return plan_err!("{} takes a value", self.name),
            },
        };
        Ok(Arc::new(Field::new(args.name(), data_type, nullable)))
    }

    fn partition_evaluator(
        &self,
        _: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        internal_err!("{} is computed by the engine", self.name)
    }
}
