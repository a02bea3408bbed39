//! What is said of calls with too many or too few arguments: what the function takes. The front end
//! calls some of them errors of its own.

/// What a message of the front end means, when it is about the number of arguments.
pub(super) fn said_of_count(message: &str) -> Option<String> {
    let counts = Counts::of(message)?;
    let name = counts.name;
    let given = match counts.given {
        0 => "none".to_string(),
        1 => "one argument".to_string(),
        given => format!("{given} arguments"),
    };
    if let Some(takes) = takes(name) {
        return Some(format!("{name} takes {takes}, not {given}"));
    }
    let mut wanted = counts.wanted;
    wanted.sort_unstable();
    wanted.dedup();
    let takes = match wanted[..] {
        [] => return Some(format!("{name} takes arguments, and has none here")),
        [0] => "no arguments".to_string(),
        [1] => "one argument".to_string(),
        [count] => format!("{count} arguments"),
        _ => {
            let wanted: Vec<String> = wanted.iter().map(usize::to_string).collect();
            format!("{} arguments", wanted.join(" or "))
        }
    };
    Some(format!("{name} takes {takes}, not {given}"))
}

/// What some functions take, where the front end tells of types alone.
pub(super) fn takes(name: &str) -> Option<&'static str> {
    Some(match name {
        "abs" | "acos" | "asin" | "atan" | "cbrt" | "cos" | "cot" | "degrees" | "exp" | "ln"
        | "log10" | "log2" | "radians" | "sin" | "sqrt" | "tan" => "one number",
        "avg" | "sum" | "stddev" | "stddev_pop" | "var" | "var_pop" => "one number",
        "min" | "max" | "min/max" | "first_value" | "last_value" | "array_agg" | "any_value" => {
            "one value"
        }
        "ascii" | "bit_length" | "initcap" | "lower" | "octet_length" | "reverse" | "upper" => {
            "one text"
        }
        "arg_max" | "arg_min" => "a value, and another that is compared",
        "array_has_all" | "array_has_any" => "two lists",
        "array_slice" => "a list, a place to begin and one to end",
        "array_to_string" => "a list and a separator",
        "btrim" | "ltrim" | "rtrim" | "trim" => "a text and perhaps the characters to cut off",
        "chr" => "one integer",
        "contains" | "ends_with" | "starts_with" | "strpos" | "levenshtein" => "two texts",
        "corr" | "covar_pop" | "covar_samp" => "two numbers",
        "date_part" | "date_trunc" => "the name of a part and a moment",
        "generate_series" | "range" => "an end, or a start, an end and perhaps a step",
        "left" | "right" => "a text and a number of characters",
        "log" => "a number, or a base and a number",
        "lpad" | "rpad" => "a text, a length and perhaps what fills it up",
        "make_date" => "a year, a month and a day",
        "make_time" => "an hour, a minute and a second",
        "map_keys" | "map_values" => "one map",
        "power" => "two numbers",
        "regexp_like" => "a text, a pattern and perhaps options",
        "regexp_replace" => "a text, a pattern, what stands in its place and perhaps options",
        "repeat" => "a text and a number of times",
        "replace" | "translate" => "three texts",
        "round" => "a number and perhaps a number of digits",
        "split_part" => "a text, a separator and the number of a part",
        "string_agg" => "a text and perhaps a separator",
        "to_char" => "a moment and a form",
        "to_hex" => "one integer",
        _ => return None,
    })
}

struct Counts<'a> {
    name: &'a str,
    given: usize,
    /// What it takes, in one or another way.
    wanted: Vec<usize>,
}

impl<'a> Counts<'a> {
    fn of(message: &'a str) -> Option<Counts<'a>> {
        if let Some((name, _)) = message.split_once(" does not support zero arguments") {
            let name = name.rsplit(' ').next()?.trim_matches('\'');
            return Some(Counts { name, given: 0, wanted: Vec::new() });
        }
        if let Some((name, rest)) = message.split_once(" was called without any arguments") {
            let wanted = if rest.contains("at least 1") { Vec::new() } else { vec![1] };
            return Some(Counts { name: name.rsplit(' ').next()?, given: 0, wanted });
        }
        if let Some((name, rest)) = message.split_once(" was called with ")
            && let Some((given, _)) = rest.split_once(" arguments. It requires only 1")
        {
            let name = name.rsplit(' ').next()?;
            return Some(Counts { name, given: given.parse().ok()?, wanted: vec![1] });
        }
        let errors = match message.split_once("failed to match any signature, errors: ") {
            Some((_, errors)) => errors,
            None => message,
        };
        let mut counts: Option<Counts<'a>> = None;
        for error in errors.split("unction '").skip(1) {
            let (name, rest) = error.split_once("' expect")?;
            let rest = rest.trim_start_matches("ed").trim_start_matches('s').trim_start();
            let (wanted, rest) = rest.split_once(" argument")?;
            let wanted = if wanted == "zero" { 0 } else { wanted.parse().ok()? };
            let (_, given) = rest.split_once("but received ")?;
            let digits = given.find(|c: char| !c.is_ascii_digit()).unwrap_or(given.len());
            let given = given[..digits].parse().ok()?;
            match &mut counts {
                Some(counts) => counts.wanted.push(wanted),
                None => counts = Some(Counts { name, given, wanted: vec![wanted] }),
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_and_other_messages_left() {
        let cases = [
            (
                "Function 'round' failed to match any signature, errors: Error during planning: \
                 Function 'round' expects 2 arguments but received 3,Error during planning: \
                 Function 'round' expects 1 arguments but received 3",
                Some("round takes a number and perhaps a number of digits, not 3 arguments"),
            ),
            (
                "The function 'pi' expected zero argument but received 1",
                Some("pi takes no arguments, not one argument"),
            ),
            (
                "Function 'approx' failed to match any signature, errors: Error during planning: \
                 Function 'approx' expects 3 arguments but received 1,Error during planning: \
                 Function 'approx' expects 2 arguments but received 1",
                Some("approx takes 2 or 3 arguments, not one argument"),
            ),
            ("'sum' does not support zero arguments", Some("sum takes one number, not none")),
            ("'f' does not support zero arguments", Some("f takes arguments, and has none here")),
            (
                "min/max was called with 2 arguments. It requires only 1.",
                Some("min/max takes one value, not 2 arguments"),
            ),
            ("Function 'f' requires Decimal, but received String", None),
            ("there is no table t", None),
        ];
        for (message, wanted) in cases {
            assert_eq!(said_of_count(message).as_deref(), wanted, "{message}");
        }
    }
}
