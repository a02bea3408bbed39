//! `x = ANY (list)`: TRUE when an element is equal, else NULL when one is NULL, else FALSE. The
//! borrowed search of a list says FALSE there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion_functions_nested::array_has::array_has_udf;

use super::each::{is_constant, results};

/// What the function is called in the syntax tree.
pub(crate) const EQUALS_ANY: &str = "equals_any";

/// `equals_any(list, x)`
#[derive(Debug, PartialEq, Eq, Hash)]
struct EqualsAny {
    search: Arc<ScalarUDF>,
}

/// The function.
pub(super) fn equals_any() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(EqualsAny { search: array_has_udf() }))
}

impl ScalarUDFImpl for EqualsAny {
    fn name(&self) -> &str {
        EQUALS_ANY
    }

    fn signature(&self) -> &Signature {
        self.search.signature()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.search.return_field_from_args(arguments)?;
        Ok(Arc::new(field.as_ref().clone().with_nullable(true)))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.search.coerce_types(arguments)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let rows = if is_constant { 1 } else { call.number_rows };
        let lists = call.args.first().map(|lists| lists.to_array(rows)).transpose()?;
        let found = self.search.invoke_with_args(call)?.into_array(rows)?;
        let found = found.as_boolean();
        let has_null = |row: usize| lists.as_ref().is_some_and(|lists| has_null(lists, row));
        let found: BooleanArray = (0..found.len())
            .map(|row| {
                let is_found = found.is_valid(row).then(|| found.value(row));
                is_found.filter(|is_found| *is_found || !has_null(row))
            })
            .collect();
        results(Arc::new(found), is_constant)
    }
}

/// Whether an element of a row's list is NULL.
fn has_null(lists: &ArrayRef, row: usize) -> bool {
    let elements = match lists.data_type() {
        DataType::List(_) => lists.as_list::<i32>().value(row),
        DataType::LargeList(_) => lists.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => lists.as_fixed_size_list().value(row),
        _ => return false,
    };
    elements.logical_null_count() > 0
}
