//! `timezone(zone, moment)`, which is `moment AT TIME ZONE zone`: what clocks in a zone show at a
//! moment, as a timestamp without zone; or the moment at which they show a timestamp without zone.
//!
//! An hour that clocks show twice is the later one. One that they skip is counted on from before.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowTimestampType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::temporal_conversions::as_datetime_with_timezone;
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use gristmill_engine::calendar::per_second;

use super::each::each;

/// The zone of moments.
pub(crate) const UTC: &str = "+00:00";
/// Its other names.
const NAMES_OF_UTC: [&str; 3] = ["UTC", "Etc/UTC", "Z"];

const SECONDS_PER_DAY: i64 = 86_400;

/// Whether a zone is UTC by some name.
pub(crate) fn is_utc(zone: &str) -> bool {
    zone == UTC || NAMES_OF_UTC.contains(&zone)
}

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Timezone {
    signature: Signature,
}

impl Timezone {
    pub(super) fn new() -> Self {
        Timezone { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [_, DataType::Timestamp(unit, None)] => {
                Ok(DataType::Timestamp(*unit, Some(UTC.into())))
            }
            [_, DataType::Timestamp(unit, Some(_))] => Ok(DataType::Timestamp(*unit, None)),
            _ => plan_err!("AT TIME ZONE takes a timestamp and the name of a zone"),
        }
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [zone, moment] = arguments else {
            return plan_err!("timezone takes the name of a zone and a timestamp");
        };
        if !zone.is_string() && !zone.is_null() {
            return plan_err!("AT TIME ZONE takes the name of a zone, and not {zone}");
        }
        let moment = match moment {
            DataType::Timestamp(..) => moment.clone(),
            DataType::Date32 | DataType::Date64 | DataType::Null => {
                DataType::Timestamp(TimeUnit::Microsecond, None)
            }
            text if text.is_string() => {
                return plan_err!(
                    "AT TIME ZONE takes a timestamp, and this is a text: cast it to TIMESTAMP or \
                     to TIMESTAMP WITH TIME ZONE"
                );
            }
            other => return plan_err!("AT TIME ZONE takes a timestamp, and not {other}"),
        };
        Ok(vec![DataType::Utf8, moment])
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(zone), moments] = &call.args[..] else {
            return exec_err!("AT TIME ZONE takes a constant zone");
        };
        let target = call.return_field.data_type().clone();
        let Some(Some(zone)) = zone.try_as_str() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&target)?));
        };
        let Ok(clock) = Tz::from_str(zone) else {
            return exec_err!("there is no time zone {zone}: name one as Europe/Berlin or +01:00");
        };
        let DataType::Timestamp(unit, from) = moments.data_type() else {
            return exec_err!("AT TIME ZONE takes a timestamp");
        };
        let is_moment = from.is_some();
        let moved = match unit {
            TimeUnit::Second => moved::<TimestampSecondType>,
            TimeUnit::Millisecond => moved::<TimestampMillisecondType>,
            TimeUnit::Microsecond => moved::<TimestampMicrosecondType>,
            TimeUnit::Nanosecond => moved::<TimestampNanosecondType>,
        };
        each(moments, |moments| moved(moments, clock, is_moment, &target))
    }
}

fn moved<T: ArrowTimestampType>(
    moments: &ArrayRef,
    clock: Tz,
    is_moment: bool,
    target: &DataType,
) -> Result<ArrayRef> {
    let second = per_second(T::UNIT);
    let moved: PrimitiveArray<T> = moments.as_primitive::<T>().try_unary(|moment| {
        let seconds = moment.div_euclid(second);
        let by = match is_moment {
            true => offset(clock, seconds),
            false => offset_at_local(clock, seconds).map(|offset| -offset),
        };
        by.and_then(|by| moment.checked_add(by.checked_mul(second)?)).ok_or_else(|| {
            let message = "AT TIME ZONE leads out of the timestamps";
            ArrowError::ArithmeticOverflow(message.to_string())
        })
    })?;
    Ok(Arc::new(moved.with_data_type(target.clone())))
}

/// Seconds by which a clock is ahead of UTC at a moment.
fn offset(clock: Tz, seconds: i64) -> Option<i64> {
    let shown = as_datetime_with_timezone::<TimestampSecondType>(seconds, clock)?;
    Some(shown.naive_local().and_utc().timestamp() - seconds)
}

/// The same when it shows these seconds.
fn offset_at_local(clock: Tz, local: i64) -> Option<i64> {
    // No clock is a day ahead, and none is set twice in two days.
    let before = offset(clock, local.checked_sub(SECONDS_PER_DAY)?)?;
    let after = offset(clock, local.checked_add(SECONDS_PER_DAY)?)?;
    let is_shown = before != after && offset(clock, local - after)? == after;
    Some(if is_shown { after } else { before })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_set() {
        let at = |zone: &str, local: i64| {
            let clock = Tz::from_str(zone).expect("a zone");
            let ahead = offset_at_local(clock, local).expect("an offset");
            (local - ahead, offset(clock, local - ahead).expect("an offset"))
        };
        let hour = 3_600;
        assert_eq!(at("Asia/Tokyo", 9 * hour), (0, 9 * hour));
        assert_eq!(at("+01:30", 0), (-5_400, 5_400));
        // 31 March 2024, 01:59, 02:30 and 03:00 in Berlin: clocks skip an hour at 02:00.
        let midnight = 1_711_843_200;
        assert_eq!(at("Europe/Berlin", midnight + 7_140), (midnight + 3_540, hour));
        assert_eq!(at("Europe/Berlin", midnight + 9_000), (midnight + 5_400, 2 * hour));
        assert_eq!(at("Europe/Berlin", midnight + 3 * hour), (midnight + hour, 2 * hour));
        // 27 October 2024, 01:59, 02:30 and 03:00: they show an hour twice.
        let midnight = 1_729_987_200;
        assert_eq!(at("Europe/Berlin", midnight + 7_140), (midnight - 60, 2 * hour));
        assert_eq!(at("Europe/Berlin", midnight + 9_000), (midnight + 5_400, hour));
        assert_eq!(at("Europe/Berlin", midnight + 3 * hour), (midnight + 2 * hour, hour));
    }
}
