//! Aggregates OVER windows of the sorted values of a frame: percentiles, the most frequent
//! value.
//!
//! The values of all groups are kept and sorted when results are asked for. NULLs do not count;
//! NaN is equal to NaN and the greatest number, -0.0 is equal to 0.0.
//!
//! Memory: the values, as the window is told by `size_bytes`.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float32Array, Float64Array,
    Int64Array, ListArray, UInt32Array, new_empty_array,
};
use arrow::buffer::{BooleanBuffer, OffsetBuffer};
use arrow::compute::{SortColumn, cast, concat, filter, is_not_null, lexsort_to_indices};
use arrow::compute::{partition, take};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float32Type, Float64Type, Int64Type};
use gristmill_engine::expr::{AggregateFunction, GroupStates, Literal};
use gristmill_engine::{Error, Result};

use crate::functions::measured;
use crate::sql::type_name;

/// What is wanted of the sorted values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SortedValues {
    /// The value at this part of the way from the first to the last, between two where none is.
    PercentileCont(f64),
    /// The first value at or behind this part of all values.
    PercentileDisc(f64),
    /// The value that is there most often; of several the least.
    Mode,
}

impl AggregateFunction for SortedValues {
    fn name(&self) -> &str {
        match self {
            SortedValues::PercentileCont(_) => "percentile_cont",
            SortedValues::PercentileDisc(_) => "percentile_disc",
            SortedValues::Mode => "mode",
        }
    }

    fn states(
        &self,
        args: &[DataType],
        _: &[Literal],
        returns: &DataType,
    ) -> Result<Box<dyn GroupStates>> {
        let [data_type] = args else { return Err(Error::internal("one argument")) };
        Ok(Box::new(States {
            wanted: *self,
            data_type: data_type.clone(),
            returns: returns.clone(),
            values: Vec::new(),
            groups: Vec::new(),
            count: 0,
        }))
    }
}

/// All values by group and in order.
struct Sorted {
    values: ArrayRef,
    /// What they go by.
    keys: ArrayRef,
    /// Where those of each group are.
    ranges: Vec<Range<usize>>,
}

/// Values, and of which group each is.
struct States {
    wanted: SortedValues,
    data_type: DataType,
    returns: DataType,
    values: Vec<ArrayRef>,
    groups: Vec<u32>,
    count: usize,
}

impl GroupStates for States {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        condition: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.count = group_count;
        let [values] = args else { return Err(Error::internal("one argument")) };
        let mut counts: BooleanBuffer = is_not_null(values)?.values().clone();
        if let Some(condition) = condition {
            let passed = match condition.nulls() {
                Some(nulls) => condition.values() & nulls.inner(),
                None => condition.values().clone(),
            };
            counts = &counts & &passed;
        }
        let own = groups.iter().zip(counts.iter()).filter_map(|(&g, counts)| counts.then_some(g));
        self.groups.extend(own);
        let values = filter(values, &BooleanArray::new(counts, None))?;
        self.values.push(alike(values));
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], group_count: usize) -> Result<()> {
        self.count = group_count;
        let lists = states.first().and_then(|lists| lists.as_list_opt::<i32>());
        let lists = lists.ok_or_else(|| Error::internal("states that are no lists"))?;
        for (row, &group) in groups.iter().enumerate() {
            let values = lists.value(row);
            self.groups.resize(self.groups.len() + values.len(), group);
            self.values.push(values);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        let Sorted { values, ranges, .. } = self.sorted()?;
        let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(ranges.iter().map(Range::len));
        Ok(vec![Arc::new(ListArray::try_new(field, offsets, values, None)?)])
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        let Sorted { values, keys, ranges } = self.sorted()?;
        match self.wanted {
            SortedValues::PercentileCont(part) => between(&values, &ranges, part, &self.returns),
            SortedValues::PercentileDisc(part) => {
                let rank = |range: &Range<usize>| {
                    let rank = (part * range.len() as f64).ceil() as usize;
                    let last = range.len().checked_sub(1)?;
                    Some((range.start + rank.saturating_sub(1).min(last)) as u32)
                };
                let at: UInt32Array = ranges.iter().map(rank).collect();
                Ok(take(&values, &at, None)?)
            }
            SortedValues::Mode => {
                let at: Vec<Option<u32>> = ranges
                    .iter()
                    .map(|range| {
                        let runs = runs(&keys, range)?;
                        let best =
                            runs.into_iter().reduce(|a, b| if b.len() > a.len() { b } else { a });
                        Ok(best.map(|run| run.start as u32))
                    })
                    .collect::<Result<_>>()?;
                Ok(take(&values, &UInt32Array::from(at), None)?)
            }
        }
    }

    fn size_bytes(&self) -> usize {
        let values: usize = self.values.iter().map(|array| array.get_array_memory_size()).sum();
        // Sorting takes them once more, with their places.
        2 * values + (size_of::<u32>() * 3) * self.groups.capacity()
    }
}

impl States {
    /// Sorts all values. None are kept.
    fn sorted(&mut self) -> Result<Sorted> {
        let arrays = std::mem::take(&mut self.values);
        let groups = UInt32Array::from(std::mem::take(&mut self.groups));
        let count = std::mem::take(&mut self.count);
        if groups.is_empty() {
            let values = new_empty_array(&self.data_type);
            return Ok(Sorted { keys: keys(&values)?, values, ranges: vec![0..0; count] });
        }
        let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
        let values = concat(&arrays)?;
        let mut ends = vec![0; count];
        groups.values().iter().for_each(|&group| ends[group as usize] += 1);
        let mut end = 0;
        let ranges = ends.into_iter().map(|rows| {
            end += rows;
            end - rows..end
        });
        let ranges = ranges.collect();
        let column = |values: ArrayRef| SortColumn { values, options: None };
        let keys = keys(&values)?;
        let by = [column(Arc::new(groups)), column(keys.clone())];
        let order = lexsort_to_indices(&by, None)?;
        let sorted = take(&values, &order, None)?;
        let keys = match Arc::ptr_eq(&keys, &values) {
            true => sorted.clone(),
            false => take(&keys, &order, None)?,
        };
        Ok(Sorted { values: sorted, keys, ranges })
    }
}

/// What values go by: intervals by their lengths.
fn keys(values: &ArrayRef) -> Result<ArrayRef> {
    measured(values).map_err(|e| Error::internal(e.strip_backtrace()))
}

/// The runs of equal values in a range of sorted ones.
fn runs(values: &ArrayRef, range: &Range<usize>) -> Result<Vec<Range<usize>>> {
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let runs = partition(&[values.slice(range.start, range.len())])?.ranges();
    Ok(runs.into_iter().map(|run| run.start + range.start..run.end + range.start).collect())
}

/// Numbers whose equal values have equal bits.
fn alike(values: ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float64 => {
            let one = |v: f64| if v.is_nan() { f64::NAN } else { v + 0.0 };
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        DataType::Float32 => {
            let one = |v: f32| if v.is_nan() { f32::NAN } else { v + 0.0 };
            let values: Float32Array = values.as_primitive::<Float32Type>().unary(one);
            Arc::new(values)
        }
        _ => values,
    }
}

/// In each range the value at a part of the way from the first to the last.
fn between(
    values: &ArrayRef,
    ranges: &[Range<usize>],
    part: f64,
    returns: &DataType,
) -> Result<ArrayRef> {
    let places = ranges.iter().map(|range| {
        let last = range.len().checked_sub(1)?;
        let at = part * last as f64;
        let (low, high) = (at.floor() as usize, at.ceil() as usize);
        Some((range.start + low.min(last), range.start + high.min(last), at - at.floor()))
    });
    let exactly = |numbers: &[i128]| -> Vec<Option<i128>> {
        let one = |(low, high, part): (usize, usize, f64)| {
            let (low, high) = (numbers[low], numbers[high]);
            low + ((high - low) as f64 * part).round() as i128
        };
        places.clone().map(|place| place.map(one)).collect()
    };
    let results: ArrayRef = match values.data_type() {
        float if float.is_floating() => {
            let numbers = cast(values, &DataType::Float64)?;
            let numbers = numbers.as_primitive::<Float64Type>().values();
            let one = |(low, high, part): (usize, usize, f64)| {
                let (low, high) = (numbers[low], numbers[high]);
                if part == 0.0 || low == high { low } else { low + (high - low) * part }
            };
            Arc::new(places.map(|place| place.map(one)).collect::<Float64Array>())
        }
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale) => {
            let numbers = cast(values, &DataType::Decimal128(38, *scale))?;
            let numbers = exactly(numbers.as_primitive::<Decimal128Type>().values());
            Arc::new(Decimal128Array::from(numbers).with_precision_and_scale(38, *scale)?)
        }
        DataType::Timestamp(..) | DataType::Duration(_) => {
            let numbers = cast(values, &DataType::Int64)?;
            let numbers = numbers.as_primitive::<Int64Type>().values().iter();
            let numbers: Vec<i128> = numbers.map(|&number| number.into()).collect();
            let numbers = exactly(&numbers).into_iter();
            // What is between two values of 64 bits has as many.
            Arc::new(numbers.map(|number| number.map(|n| n as i64)).collect::<Int64Array>())
        }
        other => {
            let other = type_name(other);
            return Err(Error::input(format!("there is nothing between values of {other}")));
        }
    };
    Ok(cast(&results, returns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(wanted: SortedValues, returns: &DataType, halves: bool) -> ArrayRef {
        let states = || wanted.states(&[DataType::Float64], &[], returns).expect("states");
        let values: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(3.0),
            None,
            Some(-0.0),
            Some(1.5),
            Some(0.0),
            Some(f64::NAN),
            Some(-f64::NAN),
            Some(9.0),
        ]));
        let groups = [0, 0, 1, 0, 1, 2, 2, 0];
        let counts = BooleanArray::from(vec![true, true, true, true, true, true, true, false]);
        let mut whole = states();
        if halves {
            for rows in [0..3, 3..8] {
                let mut part = states();
                let values = values.slice(rows.start, rows.len());
                let counts = counts.slice(rows.start, rows.len());
                part.update(&[values], &groups[rows], Some(&counts), 4).expect("updates");
                whole.merge(&part.state().expect("states"), &[0, 1, 2, 3], 4).expect("merges");
            }
        } else {
            whole.update(&[values], &groups, Some(&counts), 4).expect("updates");
        }
        whole.evaluate().expect("evaluates")
    }

    #[test]
    fn sorted_values_of_groups_are_asked_for_once_or_in_parts() {
        for halves in [false, true] {
            let cont =
                |part| results(SortedValues::PercentileCont(part), &DataType::Float64, halves);
            let found = cont(0.1);
            let found = found.as_primitive::<Float64Type>();
            assert_eq!(found.value(0), 1.65);
            assert_eq!(found.value(1), 0.0);
            assert!(found.value(2).is_nan() && found.is_null(3));
            let disc = results(SortedValues::PercentileDisc(0.5), &DataType::Float64, halves);
            assert_eq!(disc.as_primitive::<Float64Type>().value(0), 1.5);
            let mode = results(SortedValues::Mode, &DataType::Float64, halves);
            assert_eq!(mode.as_primitive::<Float64Type>().value(0), 1.5);
            assert!(mode.is_null(3));
        }
    }
}
