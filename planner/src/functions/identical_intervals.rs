//! Elements that are equal because they are equally long, made identical for functions that tell
//! intervals apart by what they are made of.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_common::Result;
use datafusion_expr::ColumnarValue;
use gristmill_engine::batch::with_float_keys;

use super::each::{is_constant, results};
use super::interval_order::measured;
use super::user::to_front_end;

/// The arguments of a call in which all equal elements of a row are the first of them. Elements
/// are those of lists, and values of the same type.
///
/// # Errors
/// Those of Arrow.
pub(super) fn identical_intervals(arguments: Vec<ColumnarValue>) -> Result<Vec<ColumnarValue>> {
    let is_constant = is_constant(&arguments);
    let mut arrays = ColumnarValue::values_to_arrays(&arguments)?;
    let Some(element) = arrays.first().and_then(|array| array.as_list_opt::<i32>()) else {
        return Ok(arguments);
    };
    let (element, rows) = (element.value_type(), element.len());
    let operands = arrays.iter().enumerate().filter_map(|(at, array)| {
        let operand = match array.as_list_opt::<i32>() {
            Some(lists) if lists.value_type() == element => {
                (lists.values().clone(), lists.offsets().clone())
            }
            _ if *array.data_type() == element => {
                (array.clone(), OffsetBuffer::from_repeated_length(1, rows))
            }
            _ => return None,
        };
        Some((at, operand))
    });
    let operands: Vec<(usize, (ArrayRef, OffsetBuffer<i32>))> = operands.collect();
    let all: Vec<&dyn Array> = operands.iter().map(|(_, (values, _))| values.as_ref()).collect();
    let all = concat(&all)?;
    let keys = keys(&all)?;
    let mut places: Vec<u32> = (0..all.len() as u32).collect();
    let mut firsts = HashMap::new();
    for row in 0..rows {
        firsts.clear();
        let mut begin = 0;
        for (_, (values, offsets)) in &operands {
            let own = begin + offsets[row] as usize..begin + offsets[row + 1] as usize;
            for place in &mut places[own] {
                *place = *firsts.entry(keys.row(*place as usize)).or_insert(*place);
            }
            begin += values.len();
        }
    }
    let all = take(&all, &UInt32Array::from(places), None)?;
    let mut begin = 0;
    for (at, (values, offsets)) in operands {
        let elements = all.slice(begin, values.len());
        begin += values.len();
        arrays[at] = match arrays[at].data_type() {
            DataType::List(field) if *field.data_type() == element => {
                let nulls = arrays[at].nulls().cloned();
                Arc::new(ListArray::try_new(field.clone(), offsets, elements, nulls)?)
            }
            _ => elements,
        };
    }
    arrays.into_iter().map(|array| results(array, is_constant)).collect()
}

/// How many elements of a list a search takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Taken {
    One,
    /// As many as the last argument says.
    Said,
    All,
}

/// The arguments of a search for the second of them in the list that is the first, in which the
/// first elements that are equal to what is sought are it, as many as the search takes. All others
/// stay what they are.
///
/// # Errors
/// Those of Arrow.
pub(super) fn sought_intervals(
    mut arguments: Vec<ColumnarValue>,
    taken: Taken,
) -> Result<Vec<ColumnarValue>> {
    let is_constant = is_constant(&arguments);
    let arrays = ColumnarValue::values_to_arrays(&arguments)?;
    let [lists, sought, ..] = &arrays[..] else { return Ok(arguments) };
    let Some(list) = lists.as_list_opt::<i32>() else { return Ok(arguments) };
    if list.value_type() != *sought.data_type() {
        return Ok(arguments);
    }
    let said = arrays.last().and_then(|array| array.as_primitive_opt::<Int64Type>());
    let most = |row: usize| match (taken, said) {
        (Taken::One, _) => 1,
        (Taken::Said, Some(said)) if said.is_valid(row) => said.value(row).max(0) as usize,
        (Taken::Said, Some(_)) => 0,
        (Taken::Said, None) | (Taken::All, _) => usize::MAX,
    };
    let all = concat(&[list.values().as_ref(), sought.as_ref()])?;
    let keys = keys(&all)?;
    let mut places: Vec<u32> = (0..list.values().len() as u32).collect();
    for (row, ends) in list.offsets().windows(2).enumerate() {
        let own = list.values().len() + row;
        let elements = places[ends[0] as usize..ends[1] as usize].iter_mut();
        let equal = elements.filter(|place| keys.row(**place as usize) == keys.row(own));
        equal.take(most(row)).for_each(|place| *place = own as u32);
    }
    let DataType::List(field) = list.data_type() else { return Ok(arguments) };
    let elements = take(&all, &UInt32Array::from(places), None)?;
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    let lists = Arc::new(ListArray::try_new(field.clone(), offsets, elements, nulls)?);
    arguments[0] = results(lists, is_constant)?;
    Ok(arguments)
}

/// What is the same for values that are equal.
///
/// # Errors
/// Those of Arrow.
pub(super) fn keys(values: &ArrayRef) -> Result<Rows> {
    let keys = with_float_keys(&measured(values)?).map_err(to_front_end)?;
    let converter = RowConverter::new(vec![SortField::new(keys.data_type().clone())])?;
    Ok(converter.convert_columns(&[keys])?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, IntervalMonthDayNanoArray};
    use arrow::datatypes::{Field, IntervalMonthDayNano, IntervalUnit};

    use super::*;

    const DAY: IntervalMonthDayNano = IntervalMonthDayNano::new(0, 1, 0);
    const HOURS_24: IntervalMonthDayNano = hours(24);
    const HOURS_3: IntervalMonthDayNano = hours(3);

    const fn hours(count: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano::new(0, 0, count * 3_600_000_000_000)
    }

    fn values(values: &[Option<IntervalMonthDayNano>]) -> ArrayRef {
        Arc::new(IntervalMonthDayNanoArray::from(values.to_vec()))
    }

    fn lists(rows: &[&[IntervalMonthDayNano]]) -> ArrayRef {
        let all: Vec<Option<IntervalMonthDayNano>> = rows.concat().into_iter().map(Some).collect();
        let field = Field::new_list_field(DataType::Interval(IntervalUnit::MonthDayNano), true);
        let offsets = OffsetBuffer::from_lengths(rows.iter().map(|row| row.len()));
        Arc::new(ListArray::new(Arc::new(field), offsets, values(&all), None))
    }

    fn called(
        of: impl Fn(Vec<ColumnarValue>) -> Result<Vec<ColumnarValue>>,
        arguments: &[&ArrayRef],
    ) -> Vec<ArrayRef> {
        let arguments = arguments.iter().map(|&array| ColumnarValue::Array(array.clone()));
        let results = of(arguments.collect()).expect("arguments");
        ColumnarValue::values_to_arrays(&results).expect("arrays")
    }

    #[test]
    fn elements_are_the_first_equal_ones_of_their_own_row() {
        let one = lists(&[&[HOURS_24, HOURS_3, DAY], &[DAY], &[]]);
        let other = lists(&[&[DAY, DAY], &[HOURS_3, HOURS_24], &[HOURS_24]]);
        let made = called(identical_intervals, &[&one, &other]);
        assert_eq!(&made[0], &lists(&[&[HOURS_24, HOURS_3, HOURS_24], &[DAY], &[]]));
        assert_eq!(&made[1], &lists(&[&[HOURS_24, HOURS_24], &[HOURS_3, DAY], &[HOURS_24]]));
    }

    #[test]
    fn only_elements_that_are_sought_become_what_is_sought_in_their_row() {
        let list = lists(&[
            &[DAY, HOURS_24, HOURS_3],
            &[DAY, HOURS_3],
            &[HOURS_24, HOURS_3, DAY],
            &[DAY, HOURS_24],
        ]);
        let sought = values(&[Some(HOURS_3), Some(HOURS_24), Some(DAY), None]);
        let put = values(&[Some(DAY), Some(DAY), Some(HOURS_24), Some(HOURS_24)]);
        let all = |arguments| sought_intervals(arguments, Taken::All);
        let made = called(all, &[&list, &sought, &put]);
        let wanted = lists(&[
            &[DAY, HOURS_24, HOURS_3],
            &[HOURS_24, HOURS_3],
            &[DAY, HOURS_3, DAY],
            &[DAY, HOURS_24],
        ]);
        assert_eq!(made, [wanted, sought.clone(), put]);
        let part = called(all, &[&list.slice(1, 2), &sought.slice(1, 2)]);
        assert_eq!(&part[0], &lists(&[&[HOURS_24, HOURS_3], &[DAY, HOURS_3, DAY]]));
    }

    #[test]
    fn elements_beyond_those_that_are_taken_stay_what_they_are() {
        let list = lists(&[&[DAY, HOURS_3, DAY, DAY], &[HOURS_24, DAY, DAY], &[DAY], &[DAY]]);
        let sought = values(&[Some(HOURS_24); 4]);
        let said: ArrayRef = Arc::new(Int64Array::from(vec![Some(2), Some(2), Some(-1), None]));
        let said = called(|args| sought_intervals(args, Taken::Said), &[&list, &sought, &said]);
        let wanted = lists(&[
            &[HOURS_24, HOURS_3, HOURS_24, DAY],
            &[HOURS_24, HOURS_24, DAY],
            &[DAY],
            &[DAY],
        ]);
        assert_eq!(&said[0], &wanted);
        let one = called(|args| sought_intervals(args, Taken::One), &[&list, &sought]);
        let wanted = [&[HOURS_24, HOURS_3, DAY, DAY][..], &[HOURS_24, DAY, DAY]];
        let wanted = lists(&[wanted[0], wanted[1], &[HOURS_24], &[HOURS_24]]);
        assert_eq!(&one[0], &wanted);
    }
}
