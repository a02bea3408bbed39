//! The positions of the elements of lists, for UNNEST WITH ORDINALITY.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `positions(a, b, …)`: the numbers from 1 to the length of the longest of these lists.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Positions {
    signature: Signature,
}

/// The call for these lists.
pub(crate) fn positions(lists: Vec<Expr>) -> Expr {
    let signature = Signature::variadic_any(Volatility::Immutable);
    ScalarUDF::from(Positions { signature }).call(lists)
}

impl ScalarUDFImpl for Positions {
    fn name(&self) -> &str {
        "positions"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Int64, true))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let lists = ColumnarValue::values_to_arrays(&call.args)?;
        let mut lengths = vec![0; lists.first().map_or(0, |list| list.len())];
        for list in &lists {
            for (longest, length) in lengths.iter_mut().zip(lengths_of(list)?.iter()) {
                *longest = length.unwrap_or(0).max(*longest);
            }
        }
        let total: usize = lengths.iter().map(|&length| length as usize).sum();
        if i32::try_from(total).is_err() {
            return exec_err!("UNNEST WITH ORDINALITY of too many elements at once");
        }
        let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|&length| length as usize));
        let numbers = Int64Array::from_iter_values(lengths.iter().flat_map(|&last| 1..=last));
        let field = Arc::new(Field::new_list_field(DataType::Int64, true));
        let positions = ListArray::try_new(field, offsets, Arc::new(numbers), None)?;
        Ok(ColumnarValue::Array(Arc::new(positions)))
    }
}

fn lengths_of(lists: &ArrayRef) -> Result<Int64Array> {
    if lists.data_type().is_null() {
        return Ok(Int64Array::new_null(lists.len()));
    }
    let lengths = cast(&length(lists)?, &DataType::Int64)?;
    Ok(arrow::array::AsArray::as_primitive::<Int64Type>(&lengths).clone())
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn the_longest_list_counts() {
        let list = |lists: Vec<Option<Vec<Option<i64>>>>| -> ArrayRef {
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
        };
        let some = |length: i64| Some((0..length).map(Some).collect());
        let a = list(vec![some(2), None, some(0), some(1)]);
        let b = list(vec![some(1), None, some(0), some(3)]);
        let returns = DataType::new_list(DataType::Int64, true);
        let call = ScalarFunctionArgs {
            arg_fields: Vec::new(),
            args: vec![ColumnarValue::Array(a), ColumnarValue::Array(b)],
            number_rows: 4,
            return_field: Arc::new(Field::new("positions", returns, true)),
            config_options: Arc::default(),
        };
        let signature = Signature::variadic_any(Volatility::Immutable);
        let result = Positions { signature }.invoke_with_args(call).expect("counts");
        let result = result.into_array(4).expect("an array");
        let rows = (0..4).map(|row| result.as_list::<i32>().value(row));
        let rows: Vec<Vec<i64>> =
            rows.map(|row| row.as_primitive::<Int64Type>().values().to_vec()).collect();
        assert_eq!(rows, [vec![1, 2], vec![], vec![], vec![1, 2, 3]]);
    }
}
