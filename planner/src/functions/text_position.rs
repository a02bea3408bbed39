//! strpos() and `position(… in …)`: where a text is first in another, from 1 on, or 0.
//!
//! The borrowed function compares at every place that begins alike where the text that is sought is
//! no constant, or both are.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::planner::{ExprPlanner, PlannerResult};
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};
use datafusion_functions::unicode::strpos;
use memchr::memmem;

use super::each::{is_constant, results};

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextPosition {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn text_position(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(TextPosition { borrowed }))
}

/// What the parser has an expression of its own for, as calls of this function.
#[derive(Debug)]
pub(crate) struct PositionPlanner;

impl ExprPlanner for PositionPlanner {
    fn plan_position(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(text_position(strpos()).call(args)))
    }
}

impl ScalarUDFImpl for TextPosition {
    as_borrowed!(name, aliases, signature, return_type, return_field_from_args);

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let rows = if is_constant { 1 } else { call.number_rows };
        let [texts, sought] = &call.args[..] else { return exec_err!("strpos takes two texts") };
        if !is_constant && matches!(sought, ColumnarValue::Scalar(_)) {
            return self.borrowed.invoke_with_args(call);
        }
        let views = |texts: &ColumnarValue| -> Result<ArrayRef> {
            Ok(cast(&texts.to_array(rows)?, &DataType::Utf8View)?)
        };
        let (texts, sought) = (views(texts)?, views(sought)?);
        let pairs = texts.as_string_view().iter().zip(sought.as_string_view());
        let places: Int64Array = pairs.map(|(text, sought)| Some(place(text?, sought?))).collect();
        results(cast(&places, call.return_field.data_type())?, is_constant)
    }
}

fn place(text: &str, sought: &str) -> i64 {
    match memmem::find(text.as_bytes(), sought.as_bytes()) {
        Some(begin) => text[..begin].chars().count() as i64 + 1,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters() {
        let cases = [("üab", "b", 3), ("abc", "", 1), ("", "", 1), ("", "a", 0), ("日本", "本", 2)];
        for (text, sought, wanted) in cases {
            assert_eq!(place(text, sought), wanted, "{text} {sought}");
        }
    }
}
