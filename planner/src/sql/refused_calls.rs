//! What is wrong with calls of functions that exist in the syntax tree alone (see `synonyms` and
//! `structs`): the binder would say of a call that meant nothing that there is no function of its
//! name.

use datafusion_sql::sqlparser::ast::{Expr, Function};

use super::moment_names::{UNITS, form_of_input, form_of_output};
use super::moment_patterns;
use super::synonyms::{is_synonym, plain_args};
use super::syntax::{plain_name, written};

/// What is wrong with a call by a name that has been written out where it had a meaning.
pub(super) fn what_is_wrong(function: &Function) -> Option<String> {
    let name = plain_name(&function.name)?.to_ascii_lowercase();
    let takes = match name.as_str() {
        moment_patterns::REFUSED => return Some(moment_patterns::WHAT_IS_KNOWN.to_string()),
        "struct_pack" => "named values, struct_pack(name := value)",
        "struct_extract" => "a structure and the name of a field",
        name if is_synonym(name) => takes(name)?,
        _ => return None,
    };
    let Some(args) = plain_args(function) else {
        return Some(format!("{name} takes {takes}, without DISTINCT, FILTER or OVER"));
    };
    Some(of_constants(&name, &args).unwrap_or_else(|| format!("{name} takes {takes}")))
}

/// What is wrong with the constants among the arguments of a call.
fn of_constants(name: &str, args: &[Expr]) -> Option<String> {
    match (name, args) {
        ("strftime", [moment, form]) => {
            let form = written(form).or_else(|| written(moment));
            let sign = form.map(|form| first_unknown(form, &|form| form_of_output(form).is_some()));
            Some(match sign.flatten() {
                Some(sign) => format!(
                    "strftime knows no sign {sign}; it knows %a %A %b %B %c %d %f %g %G %H %I %j \
                     %m %M %n %p %S %u %U %V %w %W %x %X %y %Y %% and %-d and the like without \
                     zeros in front"
                ),
                None => "strftime takes a moment and a form, which is a constant".to_string(),
            })
        }
        ("strptime", [_, form]) => Some(match written(form) {
            None => "strptime takes a text and a form, which is a constant".to_string(),
            Some(form) if form_of_input(form).is_none() => {
                "strptime takes a form with a date (%Y or %y, %m or %b, %d, or %j for both), and \
                 no time or one with hours and minutes (%H or %I %p, %M, %S); it knows no others"
                    .to_string()
            }
            Some(_) => return None,
        }),
        ("date_diff" | "datediff", [unit, _, _]) => Some(match written(unit) {
            None => format!("the unit of {name} is a constant: {}", UNITS.join(", ")),
            Some(unit) => {
                format!("{name} has no unit '{unit}'; its units are {}", UNITS.join(", "))
            }
        }),
        ("list_aggregate", [_, function]) => Some(match written(function) {
            None => "the function of list_aggregate is a constant: sum, min, max, avg".to_string(),
            Some(function) => {
                format!("list_aggregate has no function '{function}'; it has sum, min, max, avg")
            }
        }),
        _ => None,
    }
}

/// The first sign of a form with which it is not `known`.
fn first_unknown(form: &str, known: &dyn Fn(&str) -> bool) -> Option<String> {
    let ends = form.char_indices().map(|(at, c)| at + c.len_utf8());
    let mut begin = 0;
    for end in ends {
        let part = &form[begin..end];
        if known(part) {
            begin = end;
        } else if part.len() > 3 {
            break;
        }
    }
    (begin < form.len()).then(|| form[begin..].chars().take(2).collect())
}

/// What a function takes; nothing of those that there are besides.
fn takes(name: &str) -> Option<&'static str> {
    Some(match name {
        "age" | "array_sort" | "list_sort" => return None,
        "today" => "no arguments",
        "if" => "a condition and two values",
        "ifnull" | "nvl" => "two values",
        "nvl2" => "three values",
        "base64" | "to_base64" => "one text or binary value",
        "from_base64" => "one text",
        "list_first" | "list_last" | "list_reverse_sort" | "list_unique" => "one list",
        "list_aggregate" => "a list and the name of a function",
        "regexp_full_match" => "a text and a pattern",
        "regexp_extract" => "a text, a pattern and perhaps the number of a group",
        "mod" | "xor" => "two integers",
        "geomean" => "one number",
        "make_timestamp" => {
            "a year, a month, a day, an hour, a minute and a second, or one number of microseconds"
        }
        "strftime" => "a moment and a form",
        "strptime" => "a text and a form",
        "date_diff" | "datediff" => "a unit, a start and an end",
        "date_add" => "a moment and an interval",
        "time_bucket" => "an interval and a moment",
        name if name.starts_with("to_") => "one integer",
        _ => "one moment",
    })
}
