//! Texts of moments in forms that are given, as `%d.%m.%Y %H:%M`, and to_date() of them.
//!
//! The borrowed functions go through nanoseconds, which hold the years from 1677 to 2262, and take
//! 69 for 2069; here `%y` is what POSIX says: 69 to 99 are of 1969 to 1999.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, AsArray, Date32Array, Int64Array, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{NaiveDateTime, NaiveTime, ParseError};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};

use super::each::{is_constant, results};

const MICROS_OF_A_DAY: i64 = 86_400_000_000;

/// The first year that two digits stand for.
const FIRST_OF_TWO_DIGITS: i32 = 69;

/// The moments of texts, in microseconds since 1970, each in the first form that it has.
///
/// # Errors
/// When a text has none of the forms, or these are no texts.
pub(super) fn moments(arguments: &[ColumnarValue]) -> Result<Int64Array> {
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    let mut texts: Vec<StringViewArray> = Vec::with_capacity(arrays.len());
    for array in &arrays {
        if !array.data_type().is_string() && !array.data_type().is_null() {
            return exec_err!("it takes a text and its forms, not {}", array.data_type());
        }
        texts.push(cast(array, &DataType::Utf8View)?.as_string_view().clone());
    }
    let Some((texts, forms)) = texts.split_first() else { return exec_err!("it takes a text") };
    let mut known: Vec<Option<Form>> = forms.iter().map(|_| None).collect();
    let mut moments = Int64Array::builder(texts.len());
    for row in 0..texts.len() {
        if texts.is_null(row) {
            moments.append_null();
            continue;
        }
        let mut failure = None;
        let mut found = None;
        for (forms, known) in forms.iter().zip(&mut known) {
            if found.is_some() || forms.is_null(row) {
                continue;
            }
            match Form::of(forms.value(row), known).moment(texts.value(row)) {
                Ok(moment) => found = Some(moment),
                Err(error) => failure = Some((forms.value(row), error)),
            }
        }
        match (found, failure) {
            (None, Some((form, error))) => {
                let text = texts.value(row);
                return exec_err!("'{text}' is no moment in the form '{form}': {error}");
            }
            (found, _) => moments.append_option(found),
        }
    }
    Ok(moments.finish())
}

/// A form and its parts.
struct Form<'a> {
    text: &'a str,
    parts: Vec<Item<'a>>,
    /// Whether the name of a zone is behind it.
    has_zone: bool,
}

impl<'a> Form<'a> {
    /// A form, which may be that of the row before.
    fn of<'f>(text: &'a str, known: &'f mut Option<Form<'a>>) -> &'f Form<'a> {
        if known.as_ref().is_some_and(|known| known.text != text) {
            *known = None;
        }
        known.get_or_insert_with(|| {
            let front = text.trim_end().strip_suffix(" %Z");
            let parts = StrftimeItems::new(front.unwrap_or(text)).collect();
            Form { text, parts, has_zone: front.is_some() }
        })
    }

    fn moment(&self, text: &str) -> std::result::Result<i64, String> {
        let said = |error: ParseError| error.to_string();
        let (text, zone) = match text.trim_end().rsplit_once(' ') {
            Some((text, zone)) if self.has_zone => {
                (text, Some(zone.parse::<Tz>().map_err(|error| error.to_string())?))
            }
            _ => (text, None),
        };
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.parts.iter()).map_err(said)?;
        if let (None, None, Some(year)) =
            (parsed.year(), parsed.year_div_100(), parsed.year_mod_100())
        {
            let century = if year < FIRST_OF_TWO_DIGITS { 20 } else { 19 };
            parsed.set_year_div_100(century).map_err(said)?;
        }
        let with_zone = match zone {
            Some(zone) => parsed.to_datetime_with_timezone(&zone).map(|moment| moment.to_utc()),
            None => parsed.to_datetime().map(|moment| moment.to_utc()),
        };
        if let Ok(moment) = with_zone {
            return Ok(moment.timestamp_micros());
        }
        let at_midnight = |date| NaiveDateTime::new(date, NaiveTime::MIN);
        let moment = parsed
            .to_naive_datetime_with_offset(0)
            .or_else(|_| parsed.to_naive_date().map(at_midnight))
            .map_err(said)?;
        Ok(moment.and_utc().timestamp_micros())
    }
}

/// The date of a text, or of a moment.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToDate {
    borrowed: Arc<ScalarUDF>,
}

/// to_date() in place of the borrowed one.
pub(super) fn to_date(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ToDate { borrowed }))
}

impl ScalarUDFImpl for ToDate {
    as_borrowed!(name, aliases, signature, return_type);

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if call.args.len() < 2 {
            return self.borrowed.invoke_with_args(call);
        }
        let days = |micros: i64| micros.div_euclid(MICROS_OF_A_DAY) as i32;
        let dates: Date32Array = moments(&call.args)?.unary(days);
        results(Arc::new(dates), is_constant(&call.args))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str, form: &str) -> Option<String> {
        let moment = Form::of(form, &mut None).moment(text).ok()?;
        let moment = chrono::DateTime::from_timestamp_micros(moment)?;
        Some(moment.naive_utc().to_string())
    }

    #[test]
    fn forms_have_all_years_and_those_of_two_digits() {
        let cases = [
            ("1500-12-31", "%Y-%m-%d", Some("1500-12-31 00:00:00")),
            ("0001-01-01", "%Y-%m-%d", Some("0001-01-01 00:00:00")),
            ("9999-12-31 23:59:59", "%Y-%m-%d %H:%M:%S", Some("9999-12-31 23:59:59")),
            ("68", "%y", None),
            ("1.1.68", "%d.%m.%y", Some("2068-01-01 00:00:00")),
            ("1.1.69", "%d.%m.%y", Some("1969-01-01 00:00:00")),
            ("1.1.99", "%d.%m.%y", Some("1999-01-01 00:00:00")),
            ("1.1.00", "%d.%m.%y", Some("2000-01-01 00:00:00")),
            ("2024-07-01 12:00 +02:00", "%Y-%m-%d %H:%M %z", Some("2024-07-01 10:00:00")),
            ("2024-07-01 12:00 Europe/Berlin", "%Y-%m-%d %H:%M %Z", Some("2024-07-01 10:00:00")),
            ("2024-07-01 12:00 Nowhere", "%Y-%m-%d %H:%M %Z", None),
            ("2024-02-30", "%Y-%m-%d", None),
        ];
        for (text, form, wanted) in cases {
            assert_eq!(moment(text, form).as_deref(), wanted, "{text}");
        }
    }
}
