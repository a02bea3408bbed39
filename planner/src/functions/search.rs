//! The search for a value among the elements of lists, by the equality of `=`: zeros are equal
//! whatever their sign, at any depth, and so are intervals of one length. An element that is NULL
//! is where a value that is NULL is.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::ColumnarValue;
use gristmill_engine::batch::{Find, finder};

use super::common_type::{Meeting, common_type};
use super::interval_order::measured;
use super::user::to_front_end;

/// Lists, and a value for each of them.
pub(super) struct Search {
    lists: ListArray,
    /// One list is searched in all rows.
    one_list: bool,
    values: Option<NullBuffer>,
    /// One value is searched in all rows.
    one_value: bool,
    nulls: Option<NullBuffer>,
    find: Find,
}

impl Search {
    /// # Errors
    /// When the elements and the values cannot be compared.
    pub(super) fn new(lists: &ColumnarValue, values: &ColumnarValue) -> Result<Self> {
        let is_one = |operand: &ColumnarValue| matches!(operand, ColumnarValue::Scalar(_));
        let (one_list, one_value) = (is_one(lists), is_one(values));
        let lists = one_or_many(lists)?.as_list::<i32>().clone();
        let values = one_or_many(values)?;
        let nulls = lists.values().logical_nulls();
        let find = finder(&measured(lists.values())?, &measured(&values)?).map_err(to_front_end)?;
        Ok(Self { lists, one_list, values: values.logical_nulls(), one_value, nulls, find })
    }

    /// Where the elements of a row's list are among all; nothing of a list that is NULL.
    pub(super) fn places(&self, row: usize) -> Option<Range<usize>> {
        let row = if self.one_list { 0 } else { row };
        let offsets = self.lists.value_offsets();
        self.lists.is_valid(row).then(|| offsets[row] as usize..offsets[row + 1] as usize)
    }

    /// Whether the value of a row is NULL.
    pub(super) fn is_null_value(&self, row: usize) -> bool {
        let row = if self.one_value { 0 } else { row };
        self.values.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Whether one of the elements at these places is NULL.
    pub(super) fn has_null(&self, mut places: Range<usize>) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| places.any(|place| nulls.is_null(place)))
    }

    /// The first of these places whose element is the value of a row.
    pub(super) fn find(&self, places: Range<usize>, row: usize) -> Option<usize> {
        (self.find)(places, if self.one_value { 0 } else { row })
    }
}

fn one_or_many(operand: &ColumnarValue) -> Result<ArrayRef> {
    match operand {
        ColumnarValue::Array(values) => Ok(values.clone()),
        ColumnarValue::Scalar(value) => value.to_array(),
    }
}

/// The types of a list and a value of which the elements and the value are of one type; nothing
/// when none of that type is equal to the other. NULLs alone are of any type.
pub(super) fn searched(list: &DataType, value: &DataType) -> Option<(DataType, DataType)> {
    let common = match element_of(list)? {
        element if element == value => value.clone(),
        element => common_type(&[element, value], Meeting::Compared).ok()??,
    };
    let common = if common.is_null() { DataType::Boolean } else { common };
    let list = match list {
        DataType::List(field) if *field.data_type() == common => list.clone(),
        _ => DataType::new_list(common.clone(), true),
    };
    Some((list, common))
}

/// What the elements of a list are; NULL of what is no more than NULL.
pub(super) fn element_of(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::Null => Some(&DataType::Null),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Some(field.data_type()),
        _ => None,
    }
}
