//! age(): how long it is from one moment to another, in months, days and time as calendars and
//! clocks count them. A month that is not full has the days of the month that the earlier moment is
//! in.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion_common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gristmill_engine::calendar::{date_of, first_of};

use super::each::{is_constant, results};
use crate::sql::type_name;

const PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Age {
    signature: Signature,
}

/// `age(moment, since)`
pub(super) fn age() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Age { signature }))
}

impl ScalarUDFImpl for Age {
    fn name(&self) -> &str {
        "age"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if arguments.len() != 2 {
            return plan_err!("age takes one moment or two");
        }
        let moment = |argument: &DataType| match argument {
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) | DataType::Null => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
            }
            text if text.is_string() => Ok(DataType::Timestamp(TimeUnit::Microsecond, None)),
            other => plan_err!("age takes dates and timestamps, not {}", type_name(other)),
        };
        arguments.iter().map(moment).collect()
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let [moments, since] = &ColumnarValue::values_to_arrays(&call.args)?[..] else {
            return exec_err!("age takes two moments");
        };
        let moments = moments.as_primitive::<TimestampMicrosecondType>().iter();
        let pairs = moments.zip(since.as_primitive::<TimestampMicrosecondType>());
        let ages = pairs.map(|(moment, since)| match (moment, since) {
            (Some(moment), Some(since)) => between(moment, since).map(Some),
            _ => Ok(None),
        });
        let ages: ArrayRef = Arc::new(ages.collect::<Result<IntervalMonthDayNanoArray>>()?);
        results(ages, is_constant)
    }
}

/// From `since` to a moment, both in microseconds since 1970.
fn between(moment: i64, since: i64) -> Result<IntervalMonthDayNano> {
    let (late, early) = (moment.max(since), moment.min(since));
    let (late_day, early_day) = (late.div_euclid(PER_DAY), early.div_euclid(PER_DAY));
    let (year, month, day) = date_of(late_day);
    let (early_year, early_month, early_of_month) = date_of(early_day);
    let mut months = (year - early_year) * 12 + (month - early_month);
    let mut days = day - early_of_month;
    let mut time = late.rem_euclid(PER_DAY) - early.rem_euclid(PER_DAY);
    if time < 0 {
        time += PER_DAY;
        days -= 1;
    }
    if days < 0 {
        let (next_year, next_month) = match early_month {
            12 => (early_year + 1, 1),
            month => (early_year, month + 1),
        };
        days += first_of(next_year, next_month) - first_of(early_year, early_month);
        months -= 1;
    }
    let sign = if moment < since { -1 } else { 1 };
    let small = |part: i64| i32::try_from(part * sign).ok();
    let interval = || {
        let nanoseconds = time * sign * 1_000;
        Some(IntervalMonthDayNano::new(small(months)?, small(days)?, nanoseconds))
    };
    interval().ok_or_else(|| exec_datafusion_err!("an age of {months} months is too long"))
}
