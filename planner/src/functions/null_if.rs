//! nullif() with the equality of `=`: the borrowed one tells the zeros of floating-point numbers
//! apart, and intervals that are equally long.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};

use super::each::{is_constant, results};
use super::interval_order::{has_interval, value_order};

#[derive(Debug, PartialEq, Eq, Hash)]
struct NullIf {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn null_if(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(NullIf { borrowed }))
}

impl ScalarUDFImpl for NullIf {
    as_borrowed!(name, signature, return_type);

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_ours = |t: DataType| t.is_floating() || has_interval(&t);
        if !call.args.iter().all(|arg| is_ours(arg.data_type())) {
            return self.borrowed.invoke_with_args(call);
        }
        let is_constant = is_constant(&call.args);
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let rows = arrays.first().map_or(0, |array| array.len());
        if let [value, other] = &arrays[..] {
            let other = match value.data_type() {
                DataType::Float32 => identical::<Float32Type>(value, other),
                DataType::Float64 => identical::<Float64Type>(value, other),
                intervals if has_interval(intervals) => {
                    return results(unless_equal(value, other)?, is_constant);
                }
                _ => other.clone(),
            };
            call.args = vec![ColumnarValue::Array(value.clone()), ColumnarValue::Array(other)];
            call.number_rows = rows;
        }
        let result = self.borrowed.invoke_with_args(call)?.into_array(rows)?;
        results(result, is_constant)
    }
}

/// The values that are not equal to the others.
fn unless_equal(values: &ArrayRef, others: &ArrayRef) -> Result<ArrayRef> {
    let order = value_order(values, others)?;
    let is_equal =
        |row: usize| values.is_valid(row) && others.is_valid(row) && order(row, row).is_eq();
    let is_equal: BooleanArray = (0..values.len()).map(|row| Some(is_equal(row))).collect();
    Ok(nullif(values, &is_equal)?)
}

/// The others, where they are equal to a value as that value.
fn identical<T: ArrowPrimitiveType>(values: &ArrayRef, others: &ArrayRef) -> ArrayRef {
    let pairs = values.as_primitive::<T>().iter().zip(others.as_primitive::<T>());
    let others: PrimitiveArray<T> =
        pairs.map(|(value, other)| if value == other { value } else { other }).collect();
    Arc::new(others)
}
