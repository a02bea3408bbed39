//! Texts that are cast to moments, as arrow reads them: it asks a timestamp for its seconds, and
//! takes a text of digits alone for a count of nanoseconds since midnight. In an interval it knows
//! no time of a day, as in `1 day 02:03:04`.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};

/// The texts as arrow reads them when they are cast to `target`; NULL where one is no time of a
/// day, if `lenient`.
///
/// # Errors
/// `Input` when one is no time of a day and the cast is not lenient.
pub(super) fn read_as(texts: &ArrayRef, target: &DataType, lenient: bool) -> Result<ArrayRef> {
    let texts = texts.as_string_view();
    if matches!(target, DataType::Interval(_)) {
        let read = texts
            .iter()
            .map(|text| text.map(|text| in_units(text).map_or(Cow::Borrowed(text), Cow::Owned)));
        return Ok(Arc::new(read.collect::<StringViewArray>()));
    }
    let is_timestamp = matches!(target, DataType::Timestamp(..));
    let is_as_read = |text| match is_timestamp {
        true => matches!(with_seconds(text), Cow::Borrowed(_)),
        false => is_time(text),
    };
    if texts.iter().flatten().all(is_as_read) {
        return Ok(Arc::new(texts.clone()));
    }
    let read = texts.iter().map(|text| match text {
        Some(text) if is_timestamp => Ok(Some(with_seconds(text))),
        Some(text) if is_time(text) => Ok(Some(Cow::Borrowed(text))),
        Some(text) if !lenient => Err(Error::input(not_a_time(text))),
        _ => Ok(None),
    });
    Ok(Arc::new(read.collect::<Result<StringViewArray>>()?))
}

/// A timestamp whose minutes are its last part, as `2020-01-03 01:00` or `2020-01-03 01:00Z`, with
/// its seconds; any other text as it is.
pub fn with_seconds(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes.get(from..from + 2).is_some_and(is_digits);
    let is_minute = digits(11) && bytes.get(13) == Some(&b':') && digits(14);
    let ends = matches!(bytes.get(16), None | Some(b'Z' | b'z' | b'+' | b'-' | b' '));
    match text.split_at_checked(16) {
        Some((minutes, zone)) if is_minute && ends => Cow::Owned(format!("{minutes}:00{zone}")),
        _ => Cow::Borrowed(text),
    }
}

fn is_digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

/// Whether a text can be the time of a day.
pub fn is_time(text: &str) -> bool {
    text.contains(':')
}

/// What is wrong with a text that cannot be the time of a day.
pub fn not_a_time(text: &str) -> String {
    format!("'{text}' is no TIME: write hours and minutes, as in 12:30 or 12:30:45")
}

/// An interval whose last part is the time of a day, with that in units; a number alone is one of
/// seconds. `None` for any other.
pub fn in_units(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    if digits.bytes().all(|byte| is_part(&byte)) && digits.parse::<f64>().is_ok() {
        return Some(format!("{text} seconds"));
    }
    let (front, time) = text.rsplit_once(char::is_whitespace).unwrap_or(("", text));
    // Each part in front is a number and a unit.
    if !front.split_whitespace().count().is_multiple_of(2) {
        return None;
    }
    let (sign, time) = match time.strip_prefix(['-', '+']) {
        Some(rest) => (if time.starts_with('-') { "-" } else { "" }, rest),
        None => ("", time),
    };
    let parts: Vec<&str> = time.split(':').collect();
    let (whole, seconds) = match parts[..] {
        [_, _] => (&parts[..], "0"),
        [_, _, seconds] => (&parts[..2], seconds),
        _ => return None,
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_second = match seconds.split_once('.') {
        Some((whole, fraction)) => is_number(whole) && is_number(fraction),
        None => is_number(seconds),
    };
    let below_sixty = |part: &str| part.parse::<f64>().is_ok_and(|part| part < 60.0);
    if !whole.iter().all(|part| is_number(part))
        || !is_second
        || !below_sixty(whole[1])
        || !below_sixty(seconds)
    {
        return None;
    }
    let (hours, minutes) = (whole[0], whole[1]);
    let units = format!("{sign}{hours} hours {sign}{minutes} minutes {sign}{seconds} seconds");
    Some(format!("{front} {units}").trim_start().to_string())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{IntervalUnit, TimeUnit};

    use super::*;

    #[test]
    fn minutes_get_seconds() {
        let cases = [
            ("2020-01-03 01:00", "2020-01-03 01:00:00"),
            ("2020-01-03T01:00Z", "2020-01-03T01:00:00Z"),
            ("2020-01-03 01:00+02:00", "2020-01-03 01:00:00+02:00"),
            ("2020-01-03 01:00 Europe/Berlin", "2020-01-03 01:00:00 Europe/Berlin"),
            ("2020-01-03 01:00:01", "2020-01-03 01:00:01"),
            ("2020-01-03 01:00.5", "2020-01-03 01:00.5"),
            ("2020-01-03 010000+02", "2020-01-03 010000+02"),
            ("2020-01-03", "2020-01-03"),
            ("2020-01-03 1:00", "2020-01-03 1:00"),
            ("üüüüüüüüüüüüüüüü", "üüüüüüüüüüüüüüüü"),
        ];
        for (text, read) in cases {
            assert_eq!(with_seconds(text), read);
        }
    }

    #[test]
    fn a_number_is_no_time() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("12"), Some("1:02"), None]));
        let time = DataType::Time64(TimeUnit::Nanosecond);
        let read = read_as(&texts, &time, true).expect("a lenient cast");
        assert_eq!(read.as_string_view().iter().collect::<Vec<_>>(), [None, Some("1:02"), None]);
        assert!(read_as(&texts, &time, false).is_err());
    }

    #[test]
    fn times_of_a_day_are_units() {
        let cases = [
            ("02:03:04", Some("02 hours 03 minutes 04 seconds")),
            ("-1:02", Some("-1 hours -02 minutes -0 seconds")),
            ("1 day  100:00:00.5", Some("1 day  100 hours 00 minutes 00.5 seconds")),
            ("1 02:03", None),
            ("1 day", None),
            ("1:60", None),
            ("1:2:3:4", None),
            ("1:2:x", None),
        ];
        for (text, units) in cases {
            assert_eq!(in_units(text).as_deref(), units, "{text}");
        }
    }

    #[test]
    fn intervals_are_read_as_they_are_written() {
        assert_eq!(in_units(" -12.5 ").as_deref(), Some("-12.5 seconds"));
        assert_eq!(in_units("5 days"), None);
        let texts = ["1 year 2 months 3 days 04:05:06.5", "-00:00:01", "-1 day 02:00:00"];
        let texts: ArrayRef = Arc::new(StringViewArray::from(texts.to_vec()));
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let read = crate::expr::kernels::cast::cast(&texts, &interval, false).expect("intervals");
        let written =
            crate::expr::kernels::cast::cast(&read, &DataType::Utf8View, false).expect("texts");
        assert_eq!(written.as_string_view(), texts.as_string_view());
    }
}
