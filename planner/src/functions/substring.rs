//! substr() with places and lengths of any type of integers: the borrowed one takes two of them.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};
use datafusion_expr::planner::{ExprPlanner, PlannerResult};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_functions::unicode::substr;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Substring {
    borrowed: Arc<ScalarUDF>,
    signature: Signature,
}

/// The function in place of the borrowed one.
pub(super) fn substring(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Substring { borrowed, signature }))
}

/// What the parser has an expression of its own for, as calls of this function.
#[derive(Debug)]
pub(crate) struct SubstringPlanner;

impl ExprPlanner for SubstringPlanner {
    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(substring(substr()).call(args)))
    }
}

impl ScalarUDFImpl for Substring {
    as_borrowed!(name, aliases, return_type, return_field_from_args);

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (text, numbers) = match arguments {
            [text, numbers @ ..] if matches!(numbers.len(), 1 | 2) => (text, numbers),
            _ => return plan_err!("substr takes a text, a place and perhaps a length"),
        };
        let text = match text {
            DataType::Dictionary(_, values) => values.as_ref(),
            text => text,
        };
        let text = match text {
            text if text.is_string() => text.clone(),
            DataType::Null => DataType::Utf8View,
            other => return plan_err!("substr takes a part of a text, and this is {other}"),
        };
        if let Some(other) = numbers.iter().find(|number| !number.is_integer() && !number.is_null())
        {
            return plan_err!("substr takes integers for place and length, and this is {other}");
        }
        Ok([text].into_iter().chain(numbers.iter().map(|_| DataType::Int64)).collect())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.borrowed.invoke_with_args(call)
    }
}
