//! Series of timestamps, a step apart: the borrowed ones are of nanoseconds.
//!
//! Each is the one before it and a step: the 31st of January, moved by months, becomes the 29th of
//! February and then that of March.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, IntervalMonthDayNanoArray, ListBuilder,
    TimestampMicrosecondArray, TimestampMicrosecondBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion_common::{Result, exec_err};

/// The list that a series from `start` is; nothing when it is none of timestamps, or of
/// nanoseconds.
pub(super) fn stamps_type(start: Option<&DataType>) -> Option<DataType> {
    match start {
        Some(DataType::Timestamp(unit, zone)) if *unit != TimeUnit::Nanosecond => {
            let element = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Some(DataType::List(Arc::new(Field::new_list_field(element, true))))
        }
        _ => None,
    }
}

/// From `start` to `stop`, that one included if it `includes_stop`, by `step`.
///
/// # Errors
/// When a step leads nowhere, to and fro, or out of the timestamps.
pub(super) fn stamps(arguments: &[ArrayRef], includes_stop: bool) -> Result<ArrayRef> {
    let [start, stop, step] = arguments else {
        return exec_err!("a series of timestamps takes a start, an end and a step");
    };
    let zone = match start.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        other => return exec_err!("a series of timestamps begins at one, not at {other}"),
    };
    let element = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    let (start, stop) = (cast(start, &element)?, cast(stop, &element)?);
    let step = cast(step, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let start: &TimestampMicrosecondArray = start.as_primitive();
    let stop: &TimestampMicrosecondArray = stop.as_primitive();
    let step: &IntervalMonthDayNanoArray = step.as_primitive::<IntervalMonthDayNanoType>();
    let clock = Tz::from_str(zone.as_deref().unwrap_or("+00:00"))?;
    let values = TimestampMicrosecondBuilder::new().with_data_type(element.clone());
    let field = Arc::new(Field::new_list_field(element, true));
    let mut lists = ListBuilder::new(values).with_field(field);
    for row in 0..start.len() {
        if start.is_null(row) || stop.is_null(row) || step.is_null(row) {
            lists.append_null();
            continue;
        }
        let (from, to) = (start.value(row), stop.value(row));
        for moment in series(from, to, step.value(row), clock, includes_stop)? {
            if lists.values().len() >= i32::MAX as usize {
                return exec_err!("series of too many timestamps at once");
            }
            lists.values().append_value(moment);
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn series(
    start: i64,
    stop: i64,
    step: IntervalMonthDayNano,
    clock: Tz,
    includes_stop: bool,
) -> Result<Vec<i64>> {
    let next = |at| match TimestampMicrosecondType::add_month_day_nano(at, step, clock) {
        Some(next) => Ok(next),
        None => exec_err!("a step of a series leads out of the timestamps"),
    };
    let ascends = next(start)? > start;
    if next(start)? == start {
        return exec_err!("the step of a series must not be 0");
    }
    let (mut at, mut moments) = (start, Vec::new());
    while if ascends { at < stop } else { at > stop } || includes_stop && at == stop {
        moments.push(at);
        let after = next(at)?;
        if (after > at) != ascends || after == at || moments.len() >= i32::MAX as usize {
            return exec_err!("the steps of a series lead to and fro, or nowhere");
        }
        at = after;
    }
    Ok(moments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_end_at_the_end() {
        let clock = Tz::from_str("+00:00").expect("a zone");
        let (day, hour) = (86_400_000_000, 3_600_000_000);
        let days = |days| IntervalMonthDayNano::new(0, days, 0);
        let of = |from, to, step, includes| series(from, to, step, clock, includes).ok();
        assert_eq!(of(0, 2 * day, days(1), true), Some(vec![0, day, 2 * day]));
        assert_eq!(of(0, 2 * day, days(1), false), Some(vec![0, day]));
        assert_eq!(of(day, -hour, days(-1), true), Some(vec![day, 0]));
        assert_eq!(of(0, -day, days(1), true), Some(Vec::new()));
        assert_eq!(of(0, day, days(0), true), None);
        let far = 2_932_896 * day;
        assert_eq!(of(far, far + hour, days(1), true), Some(vec![far]), "the year 9999");
    }
}
