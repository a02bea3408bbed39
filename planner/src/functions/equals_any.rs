//! `x = ANY (list)`: TRUE when an element is equal, else NULL when one is NULL or `x` is, else
//! FALSE, as of an empty list.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::{is_constant, results};
use super::search::{Search, element_of, searched};

/// What the function is called in the syntax tree.
pub(crate) const EQUALS_ANY: &str = "equals_any";

/// `equals_any(list, x)`
#[derive(Debug, PartialEq, Eq, Hash)]
struct EqualsAny {
    signature: Signature,
}

/// The function.
pub(super) fn equals_any() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(EqualsAny { signature }))
}

impl ScalarUDFImpl for EqualsAny {
    fn name(&self) -> &str {
        EQUALS_ANY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (list, value) = match arguments {
            [list, value] => (list, value),
            _ => return plan_err!("= ANY takes a value and a list"),
        };
        let Some(element) = element_of(list) else {
            return plan_err!("= ANY takes a list or a subquery, not {list}");
        };
        match searched(list, value) {
            Some((list, value)) => Ok(vec![list, value]),
            None => plan_err!("{value} cannot be compared with elements of {element}"),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let [lists, values] = &call.args[..] else {
            return exec_err!("= ANY takes a value and a list");
        };
        let search = Search::new(lists, values)?;
        let rows = if is_constant { 1 } else { call.number_rows };
        let found: BooleanArray = (0..rows).map(|row| is_any(&search, row)).collect();
        results(Arc::new(found), is_constant)
    }
}

fn is_any(search: &Search, row: usize) -> Option<bool> {
    let places = search.places(row)?;
    if places.is_empty() {
        return Some(false);
    }
    if search.is_null_value(row) {
        return None;
    }
    let has_null = search.has_null(places.clone());
    let is_found = search.find(places, row).is_some();
    (is_found || !has_null).then_some(is_found)
}
