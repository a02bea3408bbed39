//! greatest() and least() of lists and intervals in the orders that these have everywhere else:
//! elements that are NULL are behind all others, and intervals go by their lengths. The borrowed
//! ones have NULLs in front, and compare intervals part by part.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};

use super::each::{is_constant, results};
use super::interval_order::value_order;

/// One of the two.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Furthest {
    borrowed: Arc<ScalarUDF>,
    /// The one that is wanted compares so with others.
    wanted: Ordering,
}

/// greatest() in place of the borrowed one.
pub(super) fn greatest(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Furthest { borrowed, wanted: Ordering::Greater }))
}

/// least() in place of the borrowed one.
pub(super) fn least(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Furthest { borrowed, wanted: Ordering::Less }))
}

impl ScalarUDFImpl for Furthest {
    as_borrowed!(name, signature, return_type, coerce_types, return_field_from_args);

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_ours = |t: DataType| t.is_nested() || matches!(t, DataType::Interval(_));
        if !call.args.iter().any(|arg| is_ours(arg.data_type())) {
            return self.borrowed.inner().invoke_with_args(call);
        }
        let is_constant = is_constant(&call.args);
        let mut arrays = ColumnarValue::values_to_arrays(&call.args)?.into_iter();
        let Some(first) = arrays.next() else {
            return self.borrowed.inner().invoke_with_args(call);
        };
        let found = arrays.try_fold(first, |found, other| further(&found, &other, self.wanted))?;
        results(found, is_constant)
    }
}

/// Of two values each the one that compares with the other as `wanted`; a NULL is none.
fn further(left: &ArrayRef, right: &ArrayRef, wanted: Ordering) -> Result<ArrayRef> {
    let order = value_order(left, right)?;
    let is_left = |row: usize| match (left.is_valid(row), right.is_valid(row)) {
        (true, true) => order(row, row) != wanted.reverse(),
        (is_valid, _) => is_valid,
    };
    let is_left: BooleanArray = (0..left.len()).map(|row| Some(is_left(row))).collect();
    Ok(zip(&is_left, left, right)?)
}
