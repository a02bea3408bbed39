//! Functions of moments that are other ways to write what there is.
//!
//! Forms of strftime and strptime are constants whose signs mean the same here; a call with others
//! is left to be refused by its name.

use datafusion_sql::sqlparser::ast::{BinaryOperator, DataType, Expr, TimezoneInfo};

use super::intervals;
use super::syntax::{binary, call, case, cast, joined, nested, number, text, written};
use crate::functions::SEVERAL;

/// The units that date_diff counts.
pub(super) const UNITS: [&str; 14] = [
    "millennium",
    "century",
    "decade",
    "year",
    "isoyear",
    "quarter",
    "month",
    "week",
    "day",
    "hour",
    "minute",
    "second",
    "millisecond",
    "microsecond",
];

/// What a call means; nothing when it is none of these.
pub(super) fn meaning(name: &str, args: &[Expr]) -> Option<Expr> {
    Some(match (name, args) {
        ("strftime", [moment, form]) => {
            let (moment, form) = match written(form) {
                Some(form) => (moment, form),
                None => (form, written(moment)?),
            };
            call("to_char", vec![moment.clone(), text(&form_of_output(form)?)])
        }
        ("strptime", [value, form]) => {
            call("to_timestamp", vec![value.clone(), text(form_of_input(written(form)?)?)])
        }
        ("date_diff" | "datediff", [part, start, end]) => {
            boundaries(&written(part)?.to_ascii_lowercase(), start, end)?
        }
        ("monthname", [moment]) => call("to_char", vec![moment.clone(), text("%B")]),
        ("dayname", [moment]) => call("to_char", vec![moment.clone(), text("%A")]),
        ("date_add", [moment, by]) => joined(moment, BinaryOperator::Plus, by),
        ("era", [moment]) => {
            let is_ours = binary(part_in("year", moment), BinaryOperator::Gt, number("0"));
            cast(nested(is_ours), DataType::BigInt(None))
        }
        ("make_timestamp", [micros]) => call("to_timestamp_micros", vec![micros.clone()]),
        ("make_timestamp", [year, month, day, hour, minute, second]) => {
            let date = call("make_date", vec![year.clone(), month.clone(), day.clone()]);
            // A minute may end with its sixtieth second, and seconds have fractions.
            let is_end = binary(nested(second.clone()), BinaryOperator::Eq, number("60"));
            let whole = case(vec![(is_end, number("59"))], call("floor", vec![second.clone()]));
            let whole = cast(whole, DataType::Integer(None));
            let time = call("make_time", vec![hour.clone(), minute.clone(), whole.clone()]);
            let begin = binary(date, BinaryOperator::Plus, time);
            let rest = nested(binary(nested(second.clone()), BinaryOperator::Minus, whole));
            let micros = binary(rest, BinaryOperator::Multiply, number("1000000"));
            let micros = cast(call("round", vec![micros]), DataType::BigInt(None));
            let rest = call(SEVERAL, vec![intervals::of_text("1 microsecond"), micros]);
            nested(binary(nested(begin), BinaryOperator::Plus, rest))
        }
        ("yearweek", [moment]) => {
            let years = binary(part_in("isoyear", moment), BinaryOperator::Multiply, number("100"));
            nested(binary(years, BinaryOperator::Plus, part_in("week", moment)))
        }
        ("time_bucket", [width, moment]) => {
            let from = text(if is_of_months(width) { "2000-01-01" } else { "2000-01-03" });
            let from = cast(from, DataType::Timestamp(None, TimezoneInfo::None));
            call("date_bin", vec![width.clone(), moment.clone(), from])
        }
        (
            "to_years" | "to_months" | "to_weeks" | "to_days" | "to_hours" | "to_minutes"
            | "to_seconds",
            [times],
        ) => {
            let one = intervals::of_text(&format!("1 {}", name.trim_start_matches("to_")));
            call(SEVERAL, vec![one, times.clone()])
        }
        (part, [moment]) => call("date_part", vec![text(part_of(part)?), moment.clone()]),
        _ => return None,
    })
}

/// What date_part calls the part that a function is named after.
fn part_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "century" => "century",
        "day" | "dayofmonth" => "day",
        "dayofweek" | "weekday" => "dow",
        "dayofyear" => "doy",
        "decade" => "decade",
        "epoch" => "epoch",
        "hour" => "hour",
        "isodow" => "isodow",
        "isoyear" => "isoyear",
        "microsecond" => "microsecond",
        "millennium" => "millennium",
        "millisecond" => "millisecond",
        "minute" => "minute",
        "month" => "month",
        "nanosecond" => "nanosecond",
        "quarter" => "quarter",
        "second" => "second",
        "week" | "weekofyear" => "week",
        "year" => "year",
        _ => return None,
    })
}

/// Whether a constant interval is written in months, or in years and the like.
fn is_of_months(width: &Expr) -> bool {
    let text = width.to_string().to_ascii_lowercase();
    ["month", "quarter", "year", "decade", "century"].iter().any(|unit| text.contains(unit))
}

/// How many begins of years, days and so on are between two moments.
fn boundaries(part: &str, start: &Expr, end: &Expr) -> Option<Expr> {
    let number_of: &dyn Fn(&Expr) -> Expr = match part {
        "year" | "years" => &|moment| part_in("year", moment),
        "isoyear" => &|moment| part_in("isoyear", moment),
        "decade" | "decades" => &|moment| part_in("decade", moment),
        "century" | "centuries" => &|moment| part_in("century", moment),
        "millennium" | "millennia" => &|moment| part_in("millennium", moment),
        "quarter" | "quarters" => &|moment| count_of("4", part_in("quarter", moment), moment),
        "month" | "months" => &|moment| count_of("12", part_in("month", moment), moment),
        "week" | "weeks" => &|moment| as_date(start_of("week", moment)),
        "day" | "days" => &|moment| as_date(moment.clone()),
        "hour" | "hours" => &|moment| seconds(start_of("hour", moment)),
        "minute" | "minutes" => &|moment| seconds(start_of("minute", moment)),
        "second" | "seconds" => &|moment| seconds(start_of("second", moment)),
        "millisecond" | "milliseconds" => {
            &|moment| call("epoch_ms", vec![start_of("millisecond", moment)])
        }
        "microsecond" | "microseconds" => &|moment| call("epoch_us", vec![moment.clone()]),
        _ => return None,
    };
    let difference = binary(number_of(end), BinaryOperator::Minus, number_of(start));
    let unit = match part.trim_end_matches('s') {
        "week" => "7",
        "hour" => "3600",
        "minute" => "60",
        _ => return Some(nested(difference)),
    };
    Some(nested(binary(nested(difference), BinaryOperator::Divide, number(unit))))
}

/// Quarters or months since the begin of the calendar: `of_year` and those of the years before.
fn count_of(a_year: &str, of_year: Expr, moment: &Expr) -> Expr {
    let before = binary(part_in("year", moment), BinaryOperator::Multiply, number(a_year));
    nested(binary(nested(before), BinaryOperator::Plus, of_year))
}

fn part_in(part: &str, moment: &Expr) -> Expr {
    call("date_part", vec![text(part), moment.clone()])
}

fn start_of(part: &str, moment: &Expr) -> Expr {
    call("date_trunc", vec![text(part), moment.clone()])
}

fn as_date(moment: Expr) -> Expr {
    cast(moment, DataType::Date)
}

/// Whole seconds since 1970.
fn seconds(moment: Expr) -> Expr {
    cast(part_in("epoch", &moment), DataType::BigInt(None))
}

/// The form of a text of a moment. `%f` are microseconds and `%g` milliseconds, `%n` nanoseconds.
pub(super) fn form_of_output(form: &str) -> Option<String> {
    let mut out = String::new();
    let mut signs = form.chars();
    while let Some(sign) = signs.next() {
        if sign != '%' {
            out.push(sign);
            continue;
        }
        match signs.next()? {
            'f' => out.push_str("%6f"),
            'g' => out.push_str("%3f"),
            'n' => out.push_str("%9f"),
            'c' => out.push_str("%Y-%m-%d %H:%M:%S"),
            'x' => out.push_str("%Y-%m-%d"),
            'X' => out.push_str("%H:%M:%S"),
            '-' => {
                out.push_str("%-");
                out.push(signs.next().filter(|sign| "dmyHIMSj".contains(*sign))?);
            }
            sign if "aAbBdmyYHIpMSjuwGVUW%".contains(sign) => out.extend(['%', sign]),
            _ => return None,
        }
    }
    Some(out)
}

/// The form of a text that is a moment: with a date, and no time but one with hours and minutes.
pub(super) fn form_of_input(form: &str) -> Option<&str> {
    let mut found = Vec::new();
    let mut signs = form.chars();
    while let Some(sign) = signs.next() {
        if sign == '%' {
            found.push(signs.next().filter(|sign| "bBdmyYHIpMSj%".contains(*sign))?);
        }
    }
    let has = |sign: char| found.contains(&sign);
    let has_date =
        (has('Y') || has('y')) && (has('j') || has('d') && (has('m') || has('b') || has('B')));
    let has_hour = has('H') || has('I') && has('p');
    let has_time = "HIpMS".chars().any(has);
    (has_date && (!has_time || has_hour && has('M'))).then_some(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_mean_the_same_or_nothing() {
        assert_eq!(form_of_output("%d.%m %f%%").as_deref(), Some("%d.%m %6f%%"));
        assert_eq!(form_of_output("%-d %g").as_deref(), Some("%-d %3f"));
        assert_eq!(form_of_output("%x, %u").as_deref(), Some("%Y-%m-%d, %u"));
        assert_eq!(form_of_output("%Q"), None);
        assert_eq!(form_of_output("100%"), None);
        assert_eq!(form_of_input("%d/%m/%Y %H:%M"), Some("%d/%m/%Y %H:%M"));
        assert_eq!(form_of_input("%Y-%m-%d"), Some("%Y-%m-%d"));
        assert_eq!(form_of_input("%Y-%m-%d %H"), None);
        assert_eq!(form_of_input("%H:%M"), None);
        assert_eq!(form_of_input("%Y-%m-%d %f"), None);
    }
}
