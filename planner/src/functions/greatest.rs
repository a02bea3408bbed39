//! greatest() of lists in the order that they have everywhere else, elements that are NULL behind
//! all others: the borrowed one has them in front.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use gristmill_engine::batch::nested_order;

use super::each::{is_constant, results};
use super::user::to_front_end;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Greatest {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn greatest(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Greatest { borrowed }))
}

impl ScalarUDFImpl for Greatest {
    fn name(&self) -> &str {
        self.borrowed.name()
    }

    fn signature(&self) -> &Signature {
        self.borrowed.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.borrowed.inner().return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.borrowed.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.borrowed.coerce_types(arguments)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if !call.args.iter().any(|arg| arg.data_type().is_nested()) {
            return self.borrowed.inner().invoke_with_args(call);
        }
        let is_constant = is_constant(&call.args);
        let mut arrays = ColumnarValue::values_to_arrays(&call.args)?.into_iter();
        let Some(first) = arrays.next() else {
            return self.borrowed.inner().invoke_with_args(call);
        };
        let found = arrays.try_fold(first, |found, other| greater(&found, &other))?;
        results(found, is_constant)
    }
}

/// The greater of two values each; a NULL is none.
fn greater(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let order = nested_order(left, right).map_err(to_front_end)?;
    let is_left = |row: usize| match (left.is_valid(row), right.is_valid(row)) {
        (true, true) => order(row, row).is_ge(),
        (is_valid, _) => is_valid,
    };
    let is_left: BooleanArray = (0..left.len()).map(|row| Some(is_left(row))).collect();
    Ok(zip(&is_left, left, right)?)
}
