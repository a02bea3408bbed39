//! list_max() and list_min() of intervals, which go by their lengths; the borrowed functions
//! compare them part by part.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use super::each::each;
use super::interval_order::lengths;

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListExtreme {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn list_extreme(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ListExtreme { borrowed }))
}

impl ScalarUDFImpl for ListExtreme {
    fn name(&self) -> &str {
        self.borrowed.name()
    }

    fn aliases(&self) -> &[String] {
        self.borrowed.aliases()
    }

    fn signature(&self) -> &Signature {
        self.borrowed.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.borrowed.return_type(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.borrowed.coerce_types(arguments)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &call.args[..] {
            [lists] if is_of_intervals(&lists.data_type()) => {
                each(lists, |lists| extremes(lists, self.name() == "array_max"))
            }
            _ => self.borrowed.inner().invoke_with_args(call),
        }
    }
}

fn is_of_intervals(lists: &DataType) -> bool {
    matches!(lists, DataType::List(field) if matches!(field.data_type(), DataType::Interval(_)))
}

/// The longest or the shortest interval of each list; NULLs are none.
fn extremes(lists: &ArrayRef, is_max: bool) -> Result<ArrayRef> {
    let lists = lists.as_list::<i32>();
    let lengths = lengths(lists.values())?;
    let places = lists.value_offsets().windows(2).enumerate().map(|(row, ends)| {
        let places = (ends[0]..ends[1]).filter(|&place| lengths.is_valid(place as usize));
        let places = places.filter(|_| lists.is_valid(row));
        let length = |place: &i32| lengths.value(*place as usize);
        let found = if is_max { places.max_by_key(length) } else { places.min_by_key(length) };
        found.map(|place| place as u32)
    });
    Ok(take(lists.values(), &places.collect::<UInt32Array>(), None)?)
}
