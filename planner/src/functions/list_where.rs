//! list_where(): the elements of a list at whose places another one, of Booleans, is true. Beyond
//! the end of the list they are NULL.

use std::sync::Arc;

use arrow::array::{Array, AsArray, ListArray, UInt64Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::{is_constant, results};
use super::search::element_of;

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListWhere {
    signature: Signature,
    aliases: Vec<String>,
}

/// The function.
pub(super) fn list_where() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    let aliases = vec!["array_where".to_string()];
    Arc::new(ScalarUDF::from(ListWhere { signature, aliases }))
}

impl ScalarUDFImpl for ListWhere {
    fn name(&self) -> &str {
        "list_where"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let is_truth = |element: &DataType| matches!(element, DataType::Boolean | DataType::Null);
        match arguments {
            [list, truths] if element_of(truths).is_some_and(is_truth) => match element_of(list) {
                Some(element) => {
                    let truths = DataType::new_list(DataType::Boolean, true);
                    Ok(vec![DataType::new_list(element.clone(), true), truths])
                }
                None => plan_err!("list_where takes a list and a list of Booleans"),
            },
            _ => plan_err!("list_where takes a list and a list of Booleans"),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first() {
            Some(list) => Ok(list.clone()),
            None => plan_err!("list_where takes a list and a list of Booleans"),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        match &arrays[..] {
            [lists, truths] => {
                let found = taken(lists.as_list::<i32>(), truths.as_list::<i32>())?;
                results(Arc::new(found), is_constant)
            }
            _ => exec_err!("list_where takes two lists"),
        }
    }
}

fn taken(lists: &ListArray, truths: &ListArray) -> Result<ListArray> {
    let known = truths.values().as_boolean();
    let (offsets, offsets_of_truths) = (lists.value_offsets(), truths.value_offsets());
    let nulls = NullBuffer::union(lists.nulls(), truths.nulls());
    let mut places: Vec<Option<u64>> = Vec::new();
    let mut lengths = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        let before = places.len();
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            let (begin, end) = (offsets[row], offsets[row + 1]);
            let of_row = offsets_of_truths[row]..offsets_of_truths[row + 1];
            for (place, truth) in (begin..).zip(of_row) {
                if known.is_null(truth as usize) {
                    return exec_err!("one of the Booleans is NULL");
                }
                if known.value(truth as usize) {
                    places.push((place < end).then_some(place as u64));
                }
            }
        }
        lengths.push(places.len() - before);
    }
    let values = take(lists.values(), &UInt64Array::from(places), None)?;
    let DataType::List(field) = lists.data_type() else { return exec_err!("not a list") };
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(ListArray::try_new(field.clone(), offsets, values, nulls)?)
}
