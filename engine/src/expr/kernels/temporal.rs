//! Arithmetic on dates and times that arrow's kernels lack or define otherwise: the difference of
//! two dates is a number of days, and a time of day wraps around at midnight.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, IntervalMonthDayNano, IntervalMonthDayNanoType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
};

use super::native::{Native, native};
use super::rows::{Values, map};
use super::{Operand, union_nulls};
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
