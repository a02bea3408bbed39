//! list_max() and list_min() of intervals, which go by their lengths; the borrowed functions
//! compare them part by part.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};

use super::each::each;
use super::interval_order::{has_interval, value_order};

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListExtreme {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn list_extreme(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ListExtreme { borrowed }))
}

impl ScalarUDFImpl for ListExtreme {
    as_borrowed!(name, aliases, signature, return_type, coerce_types);

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &call.args[..] {
            [lists] if is_of_intervals(&lists.data_type()) => {
                each(lists, |lists| extremes(lists, self.name() == "array_max"))
            }
            _ => self.borrowed.inner().invoke_with_args(call),
        }
    }
}

/// Whether the elements of lists go by the lengths of intervals.
fn is_of_intervals(lists: &DataType) -> bool {
    matches!(lists, DataType::List(field) if has_interval(field.data_type()))
}

/// The longest or the shortest element of each list; NULLs are none.
fn extremes(lists: &ArrayRef, is_max: bool) -> Result<ArrayRef> {
    let lists = lists.as_list::<i32>();
    let values = lists.values();
    let nulls = values.logical_nulls();
    let order = value_order(values, values)?;
    let is_valid = |place: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*place));
    let places = lists.value_offsets().windows(2).enumerate().map(|(row, ends)| {
        let places = (ends[0] as usize..ends[1] as usize).filter(is_valid);
        let places = places.filter(|_| lists.is_valid(row));
        let found = match is_max {
            true => places.max_by(|left, right| order(*left, *right)),
            false => places.min_by(|left, right| order(*left, *right)),
        };
        found.map(|place| place as u32)
    });
    Ok(take(values, &places.collect::<UInt32Array>(), None)?)
}
