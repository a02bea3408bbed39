//! date_trunc(), for all moments that a timestamp holds: the borrowed one goes through nanoseconds,
//! which end in 2262.
//!
//! Zones other than UTC, times and what is not a name of a unit are left to the borrowed one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowTimestampType, DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use datafusion_common::types::{NativeType, logical_date, logical_string};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{
    Coercion, ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, TypeSignature, TypeSignatureClass, Volatility,
};
use gristmill_engine::calendar::{date_of, first_of, per_second};

use super::each::each;
use super::timezone::is_utc;

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc {
    borrowed: Arc<ScalarUDF>,
    signature: Signature,
}

impl DateTrunc {
    pub(super) fn new(borrowed: Arc<ScalarUDF>) -> Self {
        let text = || TypeSignatureClass::Native(logical_string());
        let unit = Coercion::new_exact(text());
        let moment = Coercion::new_implicit(
            TypeSignatureClass::Timestamp,
            vec![text(), TypeSignatureClass::Native(logical_date())],
            NativeType::Timestamp(TimeUnit::Microsecond, None),
        );
        let time = Coercion::new_exact(TypeSignatureClass::Time);
        let of_moment = TypeSignature::Coercible(vec![unit.clone(), moment]);
        let of_time = TypeSignature::Coercible(vec![unit, time]);
        let signature = Signature::one_of(vec![of_moment, of_time], Volatility::Immutable);
        DateTrunc { borrowed, signature }
    }
}

impl ScalarUDFImpl for DateTrunc {
    as_borrowed!(name, aliases, return_type);

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        if arguments.arg_fields.get(1).is_some_and(|field| field.data_type().is_null()) {
            let data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
            return Ok(Arc::new(Field::new(self.name(), data_type, true)));
        }
        self.borrowed.return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unit = match call.args.first() {
            Some(ColumnarValue::Scalar(unit)) => unit.try_as_str().flatten().and_then(Unit::of),
            _ => None,
        };
        if let [ColumnarValue::Scalar(unit), moments] = &call.args[..]
            && unit.is_null()
        {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(moments.data_type())?));
        }
        let (Some(unit), Some(moments)) = (unit, call.args.get(1)) else {
            return self.borrowed.invoke_with_args(call);
        };
        let DataType::Timestamp(precision, zone) = moments.data_type() else {
            return self.borrowed.invoke_with_args(call);
        };
        if !zone.as_deref().is_none_or(is_utc) {
            return self.borrowed.invoke_with_args(call);
        }
        each(moments, |moments| match precision {
            TimeUnit::Second => unit.truncated::<TimestampSecondType>(moments),
            TimeUnit::Millisecond => unit.truncated::<TimestampMillisecondType>(moments),
            TimeUnit::Microsecond => unit.truncated::<TimestampMicrosecondType>(moments),
            TimeUnit::Nanosecond => unit.truncated::<TimestampNanosecondType>(moments),
        })
    }
}

/// What moments are truncated to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Of so many microseconds.
    Micros(i64),
    Week,
    /// Of so many months.
    Months(i64),
}

impl Unit {
    fn of(name: &str) -> Option<Self> {
        const SECOND: i64 = 1_000_000;
        let name = name.to_lowercase();
        let singular = name.strip_suffix('s').filter(|name| name.len() > 2).unwrap_or(&name);
        Some(match singular {
            "microsecond" | "us" | "usec" => Unit::Micros(1),
            "millisecond" | "ms" | "msec" => Unit::Micros(SECOND / 1_000),
            "second" | "s" | "sec" => Unit::Micros(SECOND),
            "minute" | "m" | "min" => Unit::Micros(60 * SECOND),
            "hour" | "h" | "hr" => Unit::Micros(3_600 * SECOND),
            "day" | "d" => Unit::Micros(86_400 * SECOND),
            "week" | "w" => Unit::Week,
            "month" | "mon" => Unit::Months(1),
            "quarter" => Unit::Months(3),
            "year" | "y" | "yr" => Unit::Months(12),
            "decade" | "dec" => Unit::Months(120),
            "century" | "centurie" | "cent" => Unit::Months(1_200),
            "millennium" | "millennia" | "mil" => Unit::Months(12_000),
            _ => return None,
        })
    }

    fn truncated<T: ArrowTimestampType>(self, moments: &ArrayRef) -> Result<ArrayRef> {
        let moments = moments.as_primitive::<T>();
        let second = per_second(T::UNIT);
        let truncated: PrimitiveArray<T> = moments.try_unary(|moment| {
            self.begin(moment, second).ok_or_else(|| {
                let message = "date_trunc: the unit begins before the first timestamp there is";
                ArrowError::ArithmeticOverflow(message.to_string())
            })
        })?;
        Ok(Arc::new(truncated.with_data_type(moments.data_type().clone())))
    }

    /// When the unit begins that a moment is in; there are so many moments in a second.
    fn begin(self, moment: i64, second: i64) -> Option<i64> {
        let day = 86_400 * second;
        let days = moment.div_euclid(day);
        match self {
            Unit::Micros(micros) => {
                let step = i128::from(micros) * i128::from(second) / 1_000_000;
                let step = i64::try_from(step).ok()?.max(1);
                moment.checked_sub(moment.rem_euclid(step))
            }
            // 1970 began on a Thursday.
            Unit::Week => (days - (days + 3).rem_euclid(7)).checked_mul(day),
            Unit::Months(months) => {
                let (year, month, _) = date_of(days);
                let number = year * 12 + month - 1;
                let number = number - number.rem_euclid(months);
                first_of(number.div_euclid(12), number.rem_euclid(12) + 1).checked_mul(day)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_begin_at_or_before_the_moments_in_them() {
        let begin = |unit: &str, moment: i64, second: i64| {
            Unit::of(unit).and_then(|unit| unit.begin(moment, second))
        };
        let first = -719_162 * 86_400;
        for unit in ["second", "Day", "weeks", "month", "quarter", "year"] {
            assert_eq!(begin(unit, first, 1), Some(first), "the year 1 begins on a Monday");
        }
        let last = 2_932_896 * 86_400 + 86_399;
        assert_eq!(begin("decades", last, 1), Some((2_932_896 - 3_651) * 86_400));
        assert_eq!(begin("hour", last * 1_000_000, 1_000_000), Some((last - 3_599) * 1_000_000));
        assert_eq!(begin("milliseconds", -1, 1_000_000), Some(-1_000));
        assert_eq!(begin("milliseconds", -1, 1), Some(-1));
        assert_eq!(begin("microsecond", -1, 1_000_000_000), Some(-1_000));
        assert_eq!(
            (begin("year", i64::MIN, 1_000_000_000), begin("fortnight", 0, 1)),
            (None, None)
        );
    }
}
