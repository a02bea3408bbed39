//! An interval several times, or a part of one: what `n * INTERVAL '1 day'`, `i / 2` and
//! `INTERVAL (n) DAY` are calls of.
//!
//! By a whole number each part is multiplied by itself. By any other, and where one is divided,
//! what is left of the months becomes days, and what is left of the days becomes time: a month has
//! 30 days for that, and the time is exact to the microsecond.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion_common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::{is_constant, results};
use crate::sql::type_name;

/// The name of the function that multiplies.
pub(crate) const SEVERAL: &str = "interval_times";

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

const DAYS_PER_MONTH: f64 = 30.0;
const SECONDS_PER_DAY: f64 = 86_400.0;
const PER_SECOND: f64 = 1e6;
const NANOSECONDS: f64 = 1e3;
const NANOSECONDS_PER_DAY: i128 = 86_400_000_000_000;

/// An interval times a number, or divided by it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Several {
    divides: bool,
    signature: Signature,
}

/// The function that multiplies.
pub(super) fn several() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Several::new(false)))
}

/// An interval times a number.
pub(crate) fn times(interval: Expr, number: Expr) -> Expr {
    ScalarUDF::from(Several::new(false)).call(vec![interval, number])
}

/// An interval divided by a number.
pub(crate) fn divided(interval: Expr, number: Expr) -> Expr {
    ScalarUDF::from(Several::new(true)).call(vec![interval, number])
}

impl Several {
    fn new(divides: bool) -> Self {
        Several { divides, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Several {
    fn name(&self) -> &str {
        if self.divides { "interval_divided" } else { SEVERAL }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let done = if self.divides { "divided" } else { "multiplied" };
        match arguments {
            [DataType::Interval(_), number] if number.is_numeric() || number.is_null() => {
                let is_whole = !self.divides && (number.is_integer() || number.is_null());
                let number = if is_whole { DataType::Int64 } else { DataType::Float64 };
                Ok(vec![INTERVAL, number])
            }
            [_, other] => plan_err!("intervals are {done} by numbers, not by {}", type_name(other)),
            _ => plan_err!("{} takes an interval and a number", self.name()),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let [intervals, numbers] = &ColumnarValue::values_to_arrays(&call.args)?[..] else {
            return exec_err!("{} takes two arguments", self.name());
        };
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>().iter();
        let found: IntervalMonthDayNanoArray = match numbers.as_primitive_opt::<Int64Type>() {
            Some(numbers) => intervals
                .zip(numbers)
                .map(|(interval, times)| interval.zip(times).map(multiplied).transpose())
                .collect::<Result<_>>()?,
            None => intervals
                .zip(numbers.as_primitive::<Float64Type>())
                .map(|(interval, by)| interval.zip(by).map(|pair| self.part(pair)).transpose())
                .collect::<Result<_>>()?,
        };
        let found: ArrayRef = Arc::new(found);
        results(found, is_constant)
    }
}

impl Several {
    fn part(&self, (interval, by): (IntervalMonthDayNano, f64)) -> Result<IntervalMonthDayNano> {
        let found = match self.divides {
            true if by == 0.0 => return exec_err!("division by zero"),
            true => scaled(interval, |part| part / by),
            false => scaled(interval, |part| part * by),
        };
        let done = if self.divides { "divided by" } else { "times" };
        found.ok_or_else(|| exec_datafusion_err!("an interval {done} {by:?} is too long"))
    }
}

fn multiplied((interval, times): (IntervalMonthDayNano, i64)) -> Result<IntervalMonthDayNano> {
    let small = |part: i32| i64::from(part).checked_mul(times).and_then(|p| p.try_into().ok());
    let product = || {
        let (months, days) = (small(interval.months)?, small(interval.days)?);
        if let Some(nanoseconds) = interval.nanoseconds.checked_mul(times) {
            return Some(IntervalMonthDayNano::new(months, days, nanoseconds));
        }
        // Time that is longer than nanoseconds count is one of days.
        let time = i128::from(interval.nanoseconds) * i128::from(times);
        let more_days = i32::try_from(time / NANOSECONDS_PER_DAY).ok()?;
        let nanoseconds = (time % NANOSECONDS_PER_DAY) as i64;
        Some(IntervalMonthDayNano::new(months, days.checked_add(more_days)?, nanoseconds))
    };
    product().ok_or_else(|| exec_datafusion_err!("an interval {times} times is too long"))
}

/// The interval whose parts are scaled; `None` when one has no place in it.
fn scaled(
    interval: IntervalMonthDayNano,
    scale: impl Fn(f64) -> f64,
) -> Option<IntervalMonthDayNano> {
    // To the microsecond: what doubles make of decimals is no part of a day.
    let exact = |value: f64| (value * PER_SECOND).round_ties_even() / PER_SECOND;
    let months = scale(f64::from(interval.months));
    let days = scale(f64::from(interval.days));
    let days_of_months = exact(months.fract() * DAYS_PER_MONTH);
    let mut seconds = exact((days.fract() + days_of_months.fract()) * SECONDS_PER_DAY);
    let more_days = (seconds / SECONDS_PER_DAY).trunc();
    seconds -= more_days * SECONDS_PER_DAY;
    let time = scale(interval.nanoseconds as f64 / NANOSECONDS) + seconds * PER_SECOND;
    let time = time.round_ties_even() * NANOSECONDS;
    let small = |value: f64| (value.abs() < 2f64.powi(31)).then_some(value as i32);
    let nanoseconds = (time.abs() < 2f64.powi(63)).then_some(time as i64)?;
    let days = small(days.trunc() + days_of_months.trunc() + more_days)?;
    Some(IntervalMonthDayNano::new(small(months)?, days, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_beyond_nanoseconds_is_one_of_days() {
        let hour = IntervalMonthDayNano::new(0, 1, 3_600_000_000_000);
        let found = multiplied((hour, 25_000_000)).expect("fits");
        let wanted = IntervalMonthDayNano::new(0, 26_041_666, 16 * 3_600_000_000_000);
        assert_eq!(found, wanted);
        multiplied((hour, i64::MAX)).expect_err("too long");
    }

    #[test]
    fn what_is_left_of_a_part_becomes_the_next_one() {
        let part = |months, days, nanoseconds, by: f64| {
            let interval = IntervalMonthDayNano { months, days, nanoseconds };
            scaled(interval, |part| part * by).map(|i| (i.months, i.days, i.nanoseconds))
        };
        let hour = 3_600_000_000_000;
        assert_eq!(part(1, 0, 0, 0.5), Some((0, 15, 0)));
        assert_eq!(part(13, 3, 0, 0.5), Some((6, 16, 12 * hour)));
        assert_eq!(part(-1, 1, hour, 1.5), Some((-1, -14, 12 * hour + hour * 3 / 2)));
        assert_eq!(part(0, 0, 1_000, 0.5), Some((0, 0, 0)));
        assert_eq!(part(1, 0, 0, 1.1), Some((1, 3, 0)));
        assert_eq!(part(i32::MAX, 0, 0, 2.0), None);
        assert_eq!(part(1, 0, 0, f64::NAN), None);
    }
}
