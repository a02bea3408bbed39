//! Arithmetic on dates and times that arrow's kernels lack or define otherwise: the difference of
//! two dates is a number of days, a time of day wraps around at midnight, and a timestamp that
//! loses digits of its seconds becomes the nearest one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
};

use super::native::{Native, native};
use super::rows::{Values, map};
use super::{Operand, union_nulls};
use crate::calendar::per_second;
use crate::error::{Error, Result};

const DAY_MILLISECONDS: i64 = 86_400_000;
const DAY_NANOSECONDS: i64 = 86_400_000_000_000;

/// Whole days from `right` to `left`.
pub(super) fn days_between(left: &Operand, right: &Operand, rows: usize) -> Result<ArrayRef> {
    let days = match (native(left.array.as_ref()), native(right.array.as_ref())) {
        (Native::I32(l), Native::I32(r)) => {
            let (l, r) = (Values::new(l, left.constant), Values::new(r, right.constant));
            map(rows, l, r, |l, r| i64::from(l) - i64::from(r))
        }
        (Native::I64(l), Native::I64(r)) => {
            let (l, r) = (Values::new(l, left.constant), Values::new(r, right.constant));
            // In 128 bits the difference cannot overflow, and the days fit again.
            let days = |l: i64, r: i64| {
                ((i128::from(l) - i128::from(r)) / i128::from(DAY_MILLISECONDS)) as i64
            };
            map(rows, l, r, days)
        }
        _ => return Err(Error::internal("days between values that are not dates")),
    };
    Ok(Arc::new(Int64Array::new(days.into(), union_nulls(left, right))))
}

/// `time + interval` or `time - interval`: only the part of the interval below a day counts, and
/// the clock wraps around. The sum is taken in nanoseconds and rounded down to the time's unit.
pub(super) fn time_and_interval(
    time: &Operand,
    interval: &Operand,
    rows: usize,
    subtract: bool,
) -> Result<ArrayRef> {
    match time.array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            wrapped::<Time32SecondType>(time, interval, rows, subtract, 1_000_000_000)
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            wrapped::<Time32MillisecondType>(time, interval, rows, subtract, 1_000_000)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            wrapped::<Time64MicrosecondType>(time, interval, rows, subtract, 1_000)
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            wrapped::<Time64NanosecondType>(time, interval, rows, subtract, 1)
        }
        other => Err(Error::internal(format!("{other} is not a time"))),
    }
}

fn wrapped<T>(
    time: &Operand,
    interval: &Operand,
    rows: usize,
    subtract: bool,
    unit_nanoseconds: i64,
) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64> + TryFrom<i64>,
{
    let day = DAY_NANOSECONDS / unit_nanoseconds;
    let add = |time: T::Native, interval: IntervalMonthDayNano| {
        let below_a_day = interval.nanoseconds % DAY_NANOSECONDS;
        let signed = if subtract { -below_a_day } else { below_a_day };
        let time: i64 = time.into();
        let sum = (time % day + signed.div_euclid(unit_nanoseconds)).rem_euclid(day);
        T::Native::try_from(sum).unwrap_or_default()
    };
    let times = Values::new(time.array.as_primitive::<T>().values(), time.constant);
    let intervals = interval.array.as_primitive::<IntervalMonthDayNanoType>();
    let intervals = Values::new(intervals.values(), interval.constant);
    let values = map(rows, times, intervals, add);
    let array = PrimitiveArray::<T>::new(values.into(), union_nulls(time, interval));
    Ok(Arc::new(array))
}

/// Timestamps in a coarser unit: the nearest ones, of two the one that is farther from 1970. Those
/// that count no finer unit stay as they are.
///
/// # Errors
/// `Internal` when they cannot be what they count.
pub fn in_coarser_unit(moments: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef> {
    let DataType::Timestamp(from, zone) = moments.data_type() else {
        return Ok(moments.clone());
    };
    if *from <= unit {
        return Ok(moments.clone());
    }
    let each = per_second(*from) / per_second(unit);
    let nearest = |counted: i64| {
        let (whole, rest) = (counted / each, counted % each);
        if rest.abs() >= each / 2 { whole + counted.signum() } else { whole }
    };
    let counted = cast(moments, &DataType::Int64)?;
    let counted: Int64Array = counted.as_primitive::<Int64Type>().unary(nearest);
    Ok(cast(&counted, &DataType::Timestamp(unit, zone.clone()))?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{TimestampMicrosecondArray, TimestampMillisecondArray};

    use super::*;

    #[test]
    fn coarser_timestamps_are_the_nearest() {
        let counted = [1_499, 1_500, 999, 400, -400, -1_499, -1_500, -1_501];
        let micros: ArrayRef = Arc::new(TimestampMicrosecondArray::from(counted.to_vec()));
        let found = in_coarser_unit(&micros, TimeUnit::Millisecond).expect("timestamps");
        let wanted = TimestampMillisecondArray::from(vec![1, 2, 1, 0, 0, -1, -2, -2]);
        assert_eq!(found.to_data(), wanted.to_data());
        let same = in_coarser_unit(&micros, TimeUnit::Nanosecond).expect("timestamps");
        assert_eq!(same.data_type(), micros.data_type());
    }
}
