//! Functions that are other ways to write what there is: `year(d)` is `date_part('year', d)`.
//!
//! They exist in the syntax tree alone. Forms of times, of strftime and strptime, are constants
//! whose signs mean the same here; a call with others is left to be refused by its name.

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, TimezoneInfo, UnaryOperator, Value, ValueWithSpan,
};

use super::intervals;
use super::syntax::{binary, call, case, cast, nested, number};
use crate::functions::SEVERAL;

/// The names that mean something as calls.
const NAMES: [&str; 55] = [
    "array_sort",
    "base64",
    "century",
    "date_add",
    "date_diff",
    "datediff",
    "day",
    "dayname",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "decade",
    "epoch",
    "epoch_ms",
    "from_base64",
    "geomean",
    "hour",
    "if",
    "isfinite",
    "isinf",
    "isodow",
    "isoyear",
    "last_day",
    "list_aggregate",
    "list_first",
    "list_last",
    "list_reverse_sort",
    "list_sort",
    "list_unique",
    "minute",
    "mod",
    "month",
    "monthname",
    "quarter",
    "regexp_extract",
    "regexp_full_match",
    "second",
    "strftime",
    "strptime",
    "time_bucket",
    "to_base64",
    "to_days",
    "to_hours",
    "to_minutes",
    "to_months",
    "to_seconds",
    "to_weeks",
    "to_years",
    "today",
    "week",
    "weekday",
    "weekofyear",
    "xor",
    "year",
    "yearweek",
];

/// Whether a name is one of these.
pub(super) fn is_synonym(name: &str) -> bool {
    NAMES.binary_search(&name).is_ok()
}

/// Writes a call as what it is another name for.
pub(super) fn write_out(expr: &mut Expr) {
    let Expr::Function(function) = expr else { return };
    let [name] = &function.name.0[..] else { return };
    let Some(name) = name.as_ident().filter(|name| name.value.len() <= 17) else { return };
    let name = name.value.to_ascii_lowercase();
    if is_synonym(&name)
        && let Some(args) = plain_args(function)
        && let Some(meant) = meaning(&name, args)
    {
        *expr = meant;
    }
}

/// The arguments of a call that is nothing but one.
fn plain_args(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let is_plain = function.over.is_none()
        && function.filter.is_none()
        && function.within_group.is_empty()
        && list.duplicate_treatment.is_none()
        && list.clauses.is_empty();
    let args = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) => Some(arg.clone()),
        _ => None,
    });
    args.collect::<Option<Vec<_>>>().filter(|_| is_plain)
}

fn meaning(name: &str, mut args: Vec<Expr>) -> Option<Expr> {
    Some(match (name, &args[..]) {
        ("today", []) => call("current_date", args),
        ("if", [condition, then, otherwise]) => {
            case(vec![(condition.clone(), then.clone())], otherwise.clone())
        }
        ("base64" | "to_base64", [value]) => call("encode", vec![value.clone(), text("base64pad")]),
        ("from_base64", [value]) => call("decode", vec![value.clone(), text("base64pad")]),
        ("list_first", [list]) => call("array_element", vec![list.clone(), number("1")]),
        ("list_last", [list]) => {
            let last = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number("1")) };
            call("array_element", vec![list.clone(), last])
        }
        ("list_sort" | "array_sort", [_] | [_, _]) => {
            if args.len() == 1 {
                args.push(text("ASC"));
            }
            args.push(text("NULLS LAST"));
            call("array_sort", args)
        }
        ("list_reverse_sort", [list]) => {
            call("array_sort", vec![list.clone(), text("DESC"), text("NULLS LAST")])
        }
        ("list_unique", [list]) => call("length", vec![call("array_distinct", vec![list.clone()])]),
        ("regexp_full_match", [value, pattern]) => {
            let whole = wrapped("^(?:", pattern, ")$");
            call("regexp_like", vec![value.clone(), whole])
        }
        ("regexp_extract", [value, pattern]) => extracted(value, pattern, number("1")),
        ("regexp_extract", [value, pattern, group]) => {
            let group = binary(group.clone(), BinaryOperator::Plus, number("1"));
            extracted(value, pattern, group)
        }
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
        ("last_day", [moment]) => {
            let next = binary(
                start_of("month", moment),
                BinaryOperator::Plus,
                intervals::of_text("1 month"),
            );
            as_date(binary(next, BinaryOperator::Minus, intervals::of_text("1 day")))
        }
        ("monthname", [moment]) => call("to_char", vec![moment.clone(), text("%B")]),
        ("dayname", [moment]) => call("to_char", vec![moment.clone(), text("%A")]),
        ("date_add", [moment, by]) => joined(moment, BinaryOperator::Plus, by),
        ("mod", [left, right]) => joined(left, BinaryOperator::Modulo, right),
        ("xor", [left, right]) => joined(left, BinaryOperator::BitwiseXor, right),
        ("epoch_ms", [moment]) => {
            let seconds = part_in("epoch", moment);
            let thousands = binary(seconds, BinaryOperator::Multiply, number("1000"));
            cast(call("round", vec![thousands]), DataType::BigInt(None))
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
        ("list_aggregate", [list, function]) => {
            let name = match written(function)?.to_ascii_lowercase().as_str() {
                "sum" => "list_sum",
                "min" => "list_min",
                "max" => "list_max",
                "avg" => "list_avg",
                _ => return None,
            };
            call(name, vec![list.clone()])
        }
        ("isinf", [value]) => {
            binary(call("abs", vec![value.clone()]), BinaryOperator::Eq, infinity())
        }
        // Of NaN it is false: NaN is above all numbers.
        ("isfinite", [value]) => {
            binary(call("abs", vec![value.clone()]), BinaryOperator::Lt, infinity())
        }
        ("geomean", [value]) => {
            call("exp", vec![call("avg", vec![call("ln", vec![value.clone()])])])
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
        "minute" => "minute",
        "month" => "month",
        "quarter" => "quarter",
        "second" => "second",
        "week" | "weekofyear" => "week",
        "year" => "year",
        _ => return None,
    })
}

fn joined(left: &Expr, op: BinaryOperator, right: &Expr) -> Expr {
    nested(binary(nested(left.clone()), op, nested(right.clone())))
}

fn infinity() -> Expr {
    cast(text("inf"), DataType::Double(ExactNumberInfo::None))
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
        "quarter" | "quarters" => &|moment| count_of("4", part_in("quarter", moment), moment),
        "month" | "months" => &|moment| count_of("12", part_in("month", moment), moment),
        "week" | "weeks" => &|moment| as_date(start_of("week", moment)),
        "day" | "days" => &|moment| as_date(moment.clone()),
        "hour" | "hours" => &|moment| seconds(start_of("hour", moment)),
        "minute" | "minutes" => &|moment| seconds(start_of("minute", moment)),
        "second" | "seconds" => &|moment| seconds(start_of("second", moment)),
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

/// A group of what a pattern finds, an empty text when it finds nothing, NULL of NULL.
fn extracted(value: &Expr, pattern: &Expr, group: Expr) -> Expr {
    let found = call("regexp_match", vec![value.clone(), wrapped("(", pattern, ")")]);
    let found = call("array_element", vec![found, group]);
    let is_null = |e: &Expr| Expr::IsNull(Box::new(nested(e.clone())));
    let is_null = binary(is_null(value), BinaryOperator::Or, is_null(pattern));
    let found = call("coalesce", vec![found, text("")]);
    case(vec![(is_null, Expr::value(Value::Null))], found)
}

fn wrapped(before: &str, pattern: &Expr, behind: &str) -> Expr {
    if let Some(pattern) = written(pattern) {
        return text(&format!("{before}{pattern}{behind}"));
    }
    let concat = BinaryOperator::StringConcat;
    let begun = binary(text(before), concat.clone(), nested(pattern.clone()));
    binary(begun, concat, text(behind))
}

/// The form of a text of a moment. `%f` are microseconds and `%g` milliseconds, `%n` nanoseconds.
fn form_of_output(form: &str) -> Option<String> {
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
fn form_of_input(form: &str) -> Option<&str> {
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

/// The text that a constant is.
fn written(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text),
        _ => None,
    }
}

fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_forms_mean_the_same_or_nothing() {
        assert!(NAMES.is_sorted() && NAMES.iter().all(|name| is_synonym(name)));
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
