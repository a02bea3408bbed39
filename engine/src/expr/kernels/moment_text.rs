//! Texts that are cast to moments, as arrow reads them: it asks a timestamp for its seconds, and
//! takes a text of digits alone for a count of nanoseconds since midnight.

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

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

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
}
