//! date_bin(), for all moments that a timestamp holds: the borrowed one goes through nanoseconds,
//! which end in 2262, and is NULL for what is beyond them.
//!
//! Bins are as long as a stride, and one of them begins at an origin, which is 1970 when none is
//! given. Times of a day are left to the borrowed one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowTimestampType, DataType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gristmill_engine::calendar::{add_months, date_of, per_second};

use super::each::each;
use super::seconds::counted;

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const NANOS_PER_DAY: i128 = 86_400 * NANOS_PER_SECOND;

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateBin {
    borrowed: Arc<ScalarUDF>,
    signature: Signature,
}

impl DateBin {
    pub(super) fn new(borrowed: Arc<ScalarUDF>) -> Self {
        DateBin { borrowed, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &str {
        self.borrowed.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.get(1) {
            Some(moment) => Ok(moment.clone()),
            None => plan_err!("date_bin takes a stride, a moment and perhaps an origin"),
        }
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (stride, moment, origin) = match arguments {
            [stride, moment] => (stride, moment, None),
            [stride, moment, origin] => (stride, moment, Some(origin)),
            _ => return plan_err!("date_bin takes a stride, a moment and perhaps an origin"),
        };
        let is_stride = matches!(stride, DataType::Interval(_) | DataType::Null);
        if !is_stride && !stride.is_string() {
            return plan_err!("the stride of date_bin is an interval, and not {stride}");
        }
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let moment = match moment {
            DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => moment.clone(),
            DataType::Date32 | DataType::Date64 | DataType::Null => micros,
            text if text.is_string() => micros,
            other => return plan_err!("date_bin takes a timestamp or a time, and not {other}"),
        };
        // An origin is by the same clock.
        let origin = origin.map(|origin| match (&moment, origin) {
            (DataType::Timestamp(_, zone), DataType::Timestamp(unit, _)) => {
                DataType::Timestamp(*unit, zone.clone())
            }
            (DataType::Timestamp(_, zone), _) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            (time, _) => time.clone(),
        });
        let stride = DataType::Interval(IntervalUnit::MonthDayNano);
        Ok([stride, moment].into_iter().chain(origin).collect())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let moments = match call.args.get(1).map(ColumnarValue::data_type) {
            Some(DataType::Timestamp(unit, _)) => unit,
            _ => return self.borrowed.invoke_with_args(call),
        };
        let [stride, values, origin @ ..] = &call.args[..] else {
            return exec_err!("date_bin takes a stride, a moment and perhaps an origin");
        };
        let data_type = values.data_type();
        let origin = match origin {
            [] => Some(0),
            [ColumnarValue::Scalar(origin), ..] => nanos_of(origin)?,
            _ => return exec_err!("date_bin takes a constant origin"),
        };
        let ColumnarValue::Scalar(stride) = stride else {
            return exec_err!("date_bin takes a constant stride");
        };
        let (Some(stride), Some(origin)) = (Stride::of(stride)?, origin) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&data_type)?));
        };
        let bins = Bins { stride, origin, second: per_second(moments) };
        each(values, |values| match moments {
            TimeUnit::Second => bins.begins::<TimestampSecondType>(values),
            TimeUnit::Millisecond => bins.begins::<TimestampMillisecondType>(values),
            TimeUnit::Microsecond => bins.begins::<TimestampMicrosecondType>(values),
            TimeUnit::Nanosecond => bins.begins::<TimestampNanosecondType>(values),
        })
    }
}

/// How long a bin is; longer than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stride {
    Nanos(i128),
    Months(i64),
}

impl Stride {
    fn of(stride: &ScalarValue) -> Result<Option<Self>> {
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let stride = cast(&stride.to_array()?, &interval)?;
        let stride = stride.as_primitive::<IntervalMonthDayNanoType>();
        if stride.is_null(0) {
            return Ok(None);
        }
        let stride = stride.value(0);
        let nanos = i128::from(stride.days) * NANOS_PER_DAY + i128::from(stride.nanoseconds);
        match (i64::from(stride.months), nanos) {
            (0, nanos) if nanos > 0 => Ok(Some(Stride::Nanos(nanos))),
            (months, 0) if months > 0 => Ok(Some(Stride::Months(months))),
            (months, nanos) if months != 0 && nanos != 0 => {
                exec_err!("the stride of date_bin is one of months, or of days and parts of them")
            }
            _ => exec_err!("the stride of date_bin must be longer than nothing"),
        }
    }
}

/// Nanoseconds since 1970.
fn nanos_of(moment: &ScalarValue) -> Result<Option<i128>> {
    let Some((count, second)) = counted(moment) else {
        return exec_err!("the origin of date_bin is {}", moment.data_type());
    };
    Ok(count.map(|count| i128::from(count) * (NANOS_PER_SECOND / i128::from(second))))
}

/// Bins of timestamps of which a second has `second`.
#[derive(Debug, Clone, Copy)]
struct Bins {
    stride: Stride,
    /// In nanoseconds.
    origin: i128,
    second: i64,
}

impl Bins {
    fn begins<T: ArrowTimestampType>(self, moments: &ArrayRef) -> Result<ArrayRef> {
        let moments = moments.as_primitive::<T>();
        let whole = self.whole();
        let begins: PrimitiveArray<T> = moments.try_unary(|moment| {
            let begin = match whole {
                Some((stride, origin)) => begin(moment, stride, origin),
                None => self.begin(moment),
            };
            begin.ok_or_else(|| {
                let message = "date_bin: the bin begins before the first timestamp there is";
                ArrowError::ArithmeticOverflow(message.to_string())
            })
        })?;
        Ok(Arc::new(begins.with_data_type(moments.data_type().clone())))
    }

    /// Nanoseconds of one unit.
    fn unit(self) -> i128 {
        NANOS_PER_SECOND / i128::from(self.second)
    }

    /// Stride and origin, when both are a number of units.
    fn whole(self) -> Option<(i64, i64)> {
        let Stride::Nanos(stride) = self.stride else { return None };
        let units = |nanos: i128| {
            let is_whole = nanos % self.unit() == 0;
            if is_whole { i64::try_from(nanos / self.unit()).ok() } else { None }
        };
        Some((units(stride)?, units(self.origin)?))
    }

    /// When the bin of a moment begins, rounded down.
    fn begin(self, moment: i64) -> Option<i64> {
        let moment = i128::from(moment) * self.unit();
        let begin = match self.stride {
            Stride::Nanos(stride) => moment - (moment - self.origin).rem_euclid(stride),
            Stride::Months(stride) => self.month_begin(moment, stride),
        };
        i64::try_from(begin.div_euclid(self.unit())).ok()
    }

    fn month_begin(self, moment: i128, stride: i64) -> i128 {
        // Days of 64 bits of seconds have less than 50.
        let day = |nanos: i128| nanos.div_euclid(NANOS_PER_DAY) as i64;
        let month = |day: i64| {
            let (year, month, _) = date_of(day);
            year * 12 + month
        };
        let (origin, of_day) = (day(self.origin), self.origin.rem_euclid(NANOS_PER_DAY));
        let between = month(day(moment)) - month(origin);
        let begin = |months| i128::from(add_months(origin, months)) * NANOS_PER_DAY + of_day;
        let months = between - between.rem_euclid(stride);
        // The day of the month on which bins begin may be yet to come.
        if begin(months) <= moment { begin(months) } else { begin(months - stride) }
    }
}

/// The same in units. A difference that has no place in 64 bits takes a part of the stride off the
/// origin first.
#[inline]
fn begin(moment: i64, stride: i64, origin: i64) -> Option<i64> {
    let phase = origin.rem_euclid(stride);
    let past = match moment.checked_sub(phase) {
        Some(since) => since.rem_euclid(stride),
        None => (i128::from(moment) - i128::from(phase)).rem_euclid(stride.into()) as i64,
    };
    moment.checked_sub(past)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn micros(stride: Stride, origin: i128, moment: i64) -> Option<i64> {
        let bins = Bins { stride, origin, second: 1_000_000 };
        let slow = bins.begin(moment);
        if let Some((stride, origin)) = bins.whole() {
            assert_eq!(begin(moment, stride, origin), slow, "{moment} in {bins:?}");
        }
        slow
    }

    #[test]
    fn bins_of_all_years() {
        let day = DAY * 1_000_000;
        let days = |days: i128| Stride::Nanos(days * NANOS_PER_DAY);
        for first in [-719_162, -1, 0, 2_932_896] {
            for rest in [0, 1, day / 2, day - 1] {
                assert_eq!(micros(days(1), 0, first * day + rest), Some(first * day));
                let origin = 5 * NANOS_PER_DAY - 1_000;
                let expected = if rest == day - 1 { first * day + rest } else { first * day - 1 };
                assert_eq!(micros(days(1), origin, first * day + rest), Some(expected));
            }
        }
        assert_eq!(micros(days(7), 3 * NANOS_PER_DAY, 2 * day), Some(-4 * day));
        for far in [i64::MIN, i64::MIN + 1, i64::MAX] {
            let begin = micros(days(1), 1_000, far);
            assert_eq!(begin.is_some(), far == i64::MAX);
        }
        assert_eq!(micros(Stride::Nanos(1_500), 0, 2), Some(1), "rounded down from 1.5");
    }

    #[test]
    fn bins_of_months() {
        let day = DAY * 1_000_000;
        let months = |months, origin: i128, days: i64| {
            micros(Stride::Months(months), origin * NANOS_PER_DAY, days * day + 1)
        };
        // The first of January of the years 1 and 9999.
        assert_eq!(months(1, 0, -719_162), Some(-719_162 * day));
        assert_eq!(months(12, 0, 2_932_896), Some((2_932_896 - 364) * day));
        // Bins that begin on the 31st: of January, of February's last day, of March.
        assert_eq!(months(1, 30, 57), Some(30 * day));
        assert_eq!(months(1, 30, 58), Some(58 * day));
        assert_eq!(months(2, 30, 88), Some(30 * day));
        assert_eq!(months(2, 30, 89), Some(89 * day));
        assert_eq!(months(2, 30, -1), Some(-32 * day));
    }
}
