//! The elements of lists in order: numbers, intervals, lists and structures as ORDER BY has them.
//! The borrowed function tells zeros apart, has some NaN in front, compares intervals part by part,
//! and has NULLs in elements where it has NULLs that are elements.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};
use gristmill_engine::batch::has_float;

use super::each::{is_constant, results};
use super::interval_order::{has_interval, value_order};

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListSort {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn list_sort(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ListSort { borrowed }))
}

impl ScalarUDFImpl for ListSort {
    as_borrowed!(name, aliases, signature, return_type);

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_ours = match call.args.first().map(ColumnarValue::data_type) {
            Some(DataType::List(field)) => {
                has_interval(field.data_type())
                    || field.data_type().is_nested()
                    || has_float(field.data_type())
            }
            _ => false,
        };
        if !is_ours {
            return self.borrowed.inner().invoke_with_args(call);
        }
        let is_constant = is_constant(&call.args);
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let Some((lists, how)) = arrays.split_first() else {
            return exec_err!("array_sort takes a list");
        };
        results(sorted(lists.as_list::<i32>(), how)?, is_constant)
    }
}

/// Lists in the orders that texts say; NULL where one of these is.
fn sorted(lists: &ListArray, how: &[ArrayRef]) -> Result<ArrayRef> {
    let how = how.iter().map(|texts| Ok(cast(texts, &DataType::Utf8)?));
    let how = how.collect::<Result<Vec<ArrayRef>>>()?;
    let how: Vec<&StringArray> = how.iter().map(|texts| texts.as_string()).collect();
    let values = lists.values();
    let nulls = values.logical_nulls();
    let is_null = |place: u32| nulls.as_ref().is_some_and(|nulls| nulls.is_null(place as usize));
    let order = value_order(values, values)?;
    let mut places = Vec::with_capacity(values.len());
    let mut lengths = Vec::with_capacity(lists.len());
    let mut is_known = Vec::with_capacity(lists.len());
    for (row, ends) in lists.value_offsets().windows(2).enumerate() {
        let begin = places.len();
        is_known.push(lists.is_valid(row) && how.iter().all(|texts| texts.is_valid(row)));
        if is_known[row] {
            let descends = is_second(&how, 0, row, ["ASC", "DESC"])?;
            // Without a word NULLs are in front.
            let nulls_last = is_second(&how, 1, row, ["NULLS FIRST", "NULLS LAST"])?;
            places.extend(ends[0] as u32..ends[1] as u32);
            places[begin..].sort_by(|&left, &right| match (is_null(left), is_null(right)) {
                (false, false) => {
                    let ordering = order(left as usize, right as usize);
                    if descends { ordering.reverse() } else { ordering }
                }
                (true, true) => Ordering::Equal,
                (left, _) => {
                    if left == nulls_last {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    }
                }
            });
        }
        lengths.push(places.len() - begin);
    }
    let DataType::List(field) = lists.data_type() else {
        return exec_err!("array_sort takes a list");
    };
    let values = take(values, &UInt32Array::from(places), None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let lists = ListArray::try_new(field.clone(), offsets, values, Some(is_known.into()))?;
    Ok(Arc::new(lists))
}

/// Whether a row's text is the second of two words for an order; the first where there is none.
fn is_second(how: &[&StringArray], at: usize, row: usize, words: [&str; 2]) -> Result<bool> {
    let Some(texts) = how.get(at) else { return Ok(false) };
    match texts.value(row).to_ascii_uppercase() {
        word if word == words[0] => Ok(false),
        word if word == words[1] => Ok(true),
        word => exec_err!("array_sort: {word} is no order, {} or {} is", words[0], words[1]),
    }
}
