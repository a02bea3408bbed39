//! Dates, timestamps, times of a day and intervals as texts: what casts, tables and CSV show.
//!
//! * a timestamp as `2020-01-01 10:00:00.5`, with `Z` behind it in UTC, and with the distance to
//!   UTC in other zones;
//! * an interval or a difference of timestamps as `1 year 2 months 3 days 04:05:06.5`, each part
//!   with its own sign.
//!
//! Fractions of a second have as many digits as they need.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, IntervalMonthDayNanoType, IntervalUnit};
use arrow::error::ArrowError;
use arrow::util::display::{
    ArrayFormatter, ArrayFormatterFactory, DisplayIndex, FormatOptions, FormatResult,
};

use crate::calendar::{date_of, per_second};

const DAY: i64 = 86_400;
const NANOS: i64 = 1_000_000_000;

/// How values of all types are written, moments in them as they are written here, NULL as `NULL`.
pub fn options() -> FormatOptions<'static> {
    FormatOptions::new()
        .with_null("NULL")
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"))
        .with_formatter_factory(Some(&Moments))
}

/// The values of an array as texts, one by one.
///
/// # Errors
/// When values of the type have no text.
pub fn formatter(array: &dyn Array) -> Result<ArrayFormatter<'_>, ArrowError> {
    let options = options();
    match Moments.create_array_formatter(array, &options, None)? {
        Some(moments) => Ok(moments),
        None => ArrayFormatter::try_new(array, &options),
    }
}

/// The texts of moments; `None` for values of other types.
///
/// # Errors
/// When one is beyond what the calendar of its zone has.
pub fn texts(array: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
    let mut texts = StringViewBuilder::with_capacity(array.len());
    let mut text = Vec::new();
    if let Some(values) = Values::of(array)? {
        for row in 0..array.len() {
            if array.is_null(row) {
                texts.append_null();
                continue;
            }
            text.clear();
            values.write(row, &mut text);
            texts.append_value(str_of(&text));
        }
    } else if matches!(array.data_type(), DataType::Timestamp(..)) {
        let formatter = formatter(array)?;
        for row in 0..array.len() {
            match array.is_null(row) {
                true => texts.append_null(),
                false => texts.append_value(formatter.value(row).try_to_string()?),
            }
        }
    } else {
        return Ok(None);
    }
    Ok(Some(Arc::new(texts.finish())))
}

/// Makes the formatters of moments, at any depth of nested values.
#[derive(Debug)]
struct Moments;

impl ArrayFormatterFactory for Moments {
    fn create_array_formatter<'f>(
        &self,
        array: &'f dyn Array,
        options: &FormatOptions<'f>,
        _: Option<&'f Field>,
    ) -> Result<Option<ArrayFormatter<'f>>, ArrowError> {
        let values = Values::of(array)?;
        Ok(values.map(|values| {
            let shown = Shown { values, array, null: options.null() };
            ArrayFormatter::new(Box::new(shown), options.safe())
        }))
    }
}

struct Shown<'a> {
    values: Values,
    array: &'a dyn Array,
    null: &'a str,
}

impl DisplayIndex for Shown<'_> {
    fn write(&self, row: usize, out: &mut dyn Write) -> FormatResult {
        if self.array.is_null(row) {
            return Ok(out.write_str(self.null)?);
        }
        let mut text = Vec::new();
        self.values.write(row, &mut text);
        Ok(out.write_str(str_of(&text))?)
    }
}

/// What is written here is ASCII.
fn str_of(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

/// Moments in units of so many to the second.
enum Values {
    /// And whether they are in UTC.
    Stamps(Int64Array, i64, bool),
    Times(Int64Array, i64),
    Differences(Int64Array, i64),
    Intervals(PrimitiveArray<IntervalMonthDayNanoType>),
}

impl Values {
    fn of(array: &dyn Array) -> Result<Option<Values>, ArrowError> {
        let units = |array: &dyn Array| -> Result<Int64Array, ArrowError> {
            Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        };
        Ok(Some(match array.data_type() {
            DataType::Timestamp(unit, None) => {
                Values::Stamps(units(array)?, per_second(*unit), false)
            }
            DataType::Timestamp(unit, Some(zone)) if is_utc(zone) => {
                Values::Stamps(units(array)?, per_second(*unit), true)
            }
            DataType::Time32(unit) => {
                Values::Times(units(&cast(array, &DataType::Int32)?)?, per_second(*unit))
            }
            DataType::Time64(unit) => Values::Times(units(array)?, per_second(*unit)),
            DataType::Duration(unit) => Values::Differences(units(array)?, per_second(*unit)),
            DataType::Interval(_) => {
                let intervals = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
                Values::Intervals(intervals.as_primitive().clone())
            }
            _ => return Ok(None),
        }))
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Values::Stamps(units, per_second, is_utc) => {
                stamp(units.value(row), *per_second, *is_utc, b' ', out);
            }
            Values::Times(units, per_second) => time(units.value(row), *per_second, out),
            Values::Differences(units, per_second) => {
                let (units, day) = (units.value(row), DAY * per_second);
                interval(0, units / day, units % day, *per_second, out);
            }
            Values::Intervals(intervals) => {
                let value = intervals.value(row);
                interval(value.months.into(), value.days.into(), value.nanoseconds, NANOS, out);
            }
        }
    }
}

fn is_utc(zone: &str) -> bool {
    ["UTC", "Etc/UTC", "Z", "+00:00", "-00:00", "+00", "+0000"].contains(&zone)
}

/// `YYYY-MM-DD`.
pub(crate) fn date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = date_of(days);
    if year < 0 {
        out.push(b'-');
    }
    padded(year, 4, out);
    out.push(b'-');
    padded(month, 2, out);
    out.push(b'-');
    padded(day, 2, out);
}

/// `YYYY-MM-DD HH:MM:SS`, `separator` in the place of the blank, with as many digits of a second
/// as there are, and `Z` for UTC.
pub(crate) fn stamp(units: i64, per_second: i64, is_utc: bool, separator: u8, out: &mut Vec<u8>) {
    let day = DAY * per_second;
    date(units.div_euclid(day), out);
    out.push(separator);
    time(units.rem_euclid(day), per_second, out);
    if is_utc {
        out.push(b'Z');
    }
}

/// `HH:MM:SS`, with as many digits of a second as there are; more than 24 hours of an interval.
fn time(units: i64, per_second: i64, out: &mut Vec<u8>) {
    let (units, per_second) = (units.unsigned_abs(), per_second.unsigned_abs());
    let (seconds, fraction) = (units / per_second, units % per_second);
    for (at, value) in [seconds / 3600, seconds / 60 % 60, seconds % 60].into_iter().enumerate() {
        if at > 0 {
            out.push(b':');
        }
        padded(value.cast_signed(), 2, out);
    }
    if fraction > 0 {
        let nanoseconds = fraction * (NANOS.unsigned_abs() / per_second);
        out.push(b'.');
        padded(nanoseconds.cast_signed(), 9, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// `1 year 2 months 3 days 04:05:06`, without the parts that are zero.
fn interval(months: i64, days: i64, units: i64, per_second: i64, out: &mut Vec<u8>) {
    let begin = out.len();
    for (value, name) in [(months / 12, "year"), (months % 12, "month"), (days, "day")] {
        if value == 0 {
            continue;
        }
        if out.len() > begin {
            out.push(b' ');
        }
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        if value.abs() != 1 {
            out.push(b's');
        }
    }
    if units == 0 && out.len() > begin {
        return;
    }
    if out.len() > begin {
        out.push(b' ');
    }
    if units < 0 {
        out.push(b'-');
    }
    time(units, per_second, out);
}

/// `value` without its sign, with at least `width` digits.
fn padded(value: i64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    let mut left = value.unsigned_abs();
    while left > 0 || at > digits.len() - width {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        DurationSecondArray, Int32Array, IntervalMonthDayNanoArray, StructArray,
        Time32MillisecondArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::IntervalMonthDayNano;

    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    fn shown(array: impl Array + 'static) -> Vec<String> {
        let array: ArrayRef = Arc::new(array);
        let formatter = formatter(&array).expect("a printable type");
        (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
    }

    #[test]
    fn dates_and_stamps() {
        assert_eq!(written(|out| date(0, out)), "1970-01-01");
        assert_eq!(written(|out| date(11_016, out)), "2000-02-29");
        assert_eq!(written(|out| date(-719_528, out)), "0000-01-01");
        assert_eq!(written(|out| date(-719_529, out)), "-0001-12-31");
        assert_eq!(written(|out| stamp(-1, 1000, false, b' ', out)), "1969-12-31 23:59:59.999");
        assert_eq!(written(|out| stamp(3_600, 1, true, b' ', out)), "1970-01-01 01:00:00Z");
        let half = written(|out| stamp(1_500_000, 1_000_000, true, b' ', out));
        assert_eq!(half, "1970-01-01 00:00:01.5Z");
    }

    #[test]
    fn intervals_have_the_sign_of_each_part() {
        let nanos = |months, days, nanos| written(|out| interval(months, days, nanos, NANOS, out));
        assert_eq!(nanos(0, 0, 0), "00:00:00");
        assert_eq!(nanos(14, 3, 14_706_500_000_000), "1 year 2 months 3 days 04:05:06.5");
        assert_eq!(nanos(-14, 1, -NANOS), "-1 year -2 months 1 day -00:00:01");
        assert_eq!(nanos(0, 0, 360_000 * NANOS), "100:00:00");
        assert_eq!(nanos(0, 0, i64::MIN), "-2562047:47:16.854775808");
    }

    #[test]
    fn arrays_of_all_kinds_are_written_the_same_at_any_depth() {
        let stamps = TimestampMicrosecondArray::from(vec![Some(500_000), None]);
        assert_eq!(shown(stamps.clone()), ["1970-01-01 00:00:00.5", "NULL"]);
        let there = stamps.clone().with_timezone("+01:00");
        assert_eq!(shown(there.clone()), ["1970-01-01 01:00:00.500+01:00", "NULL"]);
        let there: ArrayRef = Arc::new(there);
        let there = texts(&there).expect("of this year").expect("moments");
        assert_eq!(there.as_string_view().value(0), "1970-01-01 01:00:00.500+01:00");
        assert!(there.is_null(1));
        let apart = DurationSecondArray::from(vec![97_440, -97_440]);
        assert_eq!(shown(apart), ["1 day 03:04:00", "-1 day -03:04:00"]);
        assert_eq!(shown(Time32MillisecondArray::from(vec![36_000_500])), ["10:00:00.5"]);
        let month = IntervalMonthDayNano::new(1, 0, 0);
        assert_eq!(shown(IntervalMonthDayNanoArray::from(vec![month])), ["1 month"]);
        let field = |of: &dyn Array| Arc::new(Field::new("a", of.data_type().clone(), true));
        let stamps: ArrayRef = Arc::new(stamps);
        let nested = StructArray::from(vec![(field(&stamps), stamps)]);
        assert_eq!(shown(nested), ["{a: 1970-01-01 00:00:00.5}", "{a: NULL}"]);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        assert!(texts(&numbers).expect("no moments").is_none());
    }
}
