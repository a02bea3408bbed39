//! Patterns of moments as PostgreSQL writes them, `YYYY-MM-DD HH24:MI`, in `to_char`, `to_date` and
//! `to_timestamp`: they become those that the functions know, `%Y-%m-%d %H:%M`. A pattern without a
//! `%` would be a text that is always the same.

use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Value,
    ValueWithSpan,
};

use super::syntax::plain_name;

/// The name of calls whose patterns mean nothing.
pub(super) const REFUSED: &str = "moment_pattern";

/// What is said of them.
pub(super) const WHAT_IS_KNOWN: &str = "patterns of moments are as %Y-%m-%d %H:%M, or of YYYY, \
     YY, MM, DD, DDD, HH24, HH12, MI, SS, MS, US, Month, Mon, Day, Dy, IYYY, IW, ID, AM, PM and \
     TZ, with other words in double quotes";

const FUNCTIONS: [&str; 3] = ["to_char", "to_date", "to_timestamp"];

/// What stands for what, longer ones before those that they begin with. Letters may be of any case,
/// but for words that are written in theirs.
const PARTS: [(&str, &str); 26] = [
    ("yyyy", "%Y"),
    ("iyyy", "%G"),
    ("yy", "%y"),
    ("Month", "%B"),
    ("Mon", "%b"),
    ("mm", "%m"),
    ("ddd", "%j"),
    ("dd", "%d"),
    ("Day", "%A"),
    ("Dy", "%a"),
    ("id", "%u"),
    ("iw", "%V"),
    ("hh24", "%H"),
    ("hh12", "%I"),
    ("hh", "%I"),
    ("mi", "%M"),
    ("ss", "%S"),
    ("ms", "%3f"),
    ("us", "%6f"),
    ("ff3", "%3f"),
    ("ff6", "%6f"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("am", "%P"),
    ("pm", "%P"),
    ("tz", "%Z"),
];

/// Translates the patterns of a call that are constants.
pub(super) fn translate(call: &mut Function) {
    let is_one = plain_name(&call.name)
        .is_some_and(|name| FUNCTIONS.iter().any(|known| name.eq_ignore_ascii_case(known)));
    let FunctionArguments::List(list) = &mut call.args else { return };
    let mut is_refused = false;
    for arg in list.args.iter_mut().skip(1).filter(|_| is_one) {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(pattern),
            ..
        }))) = arg
        {
            match translated(pattern) {
                Some(known) => *pattern = known,
                None if is_unknown(pattern) => is_refused = true,
                None => {}
            }
        }
    }
    if is_refused {
        call.name = ObjectName::from(vec![Ident::new(REFUSED)]);
    }
}

/// Whether a pattern is meant to be one and means nothing.
fn is_unknown(pattern: &str) -> bool {
    !pattern.contains('%') && pattern.contains(|c: char| c.is_ascii_alphabetic())
}

/// The pattern, if all letters in it mean something.
fn translated(pattern: &str) -> Option<String> {
    if pattern.contains('%') {
        return None;
    }
    let (mut known, mut rest) = (String::new(), pattern);
    while let Some(first) = rest.chars().next() {
        let part = PARTS.iter().find(|(part, _)| begins(rest, part));
        if let Some((part, meant)) = part {
            known.push_str(meant);
            rest = &rest[part.len()..];
        } else if first == '"' {
            // A text of its own.
            let (quoted, behind) = rest[1..].split_once('"')?;
            known.push_str(quoted);
            rest = behind;
        } else if first.is_alphabetic() && first != 'T' {
            return None;
        } else {
            known.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    (known.contains('%')).then_some(known)
}

fn begins(text: &str, part: &str) -> bool {
    let is_word = part.chars().any(|c| c.is_ascii_uppercase()) || matches!(part, "am" | "pm");
    match text.get(..part.len()) {
        Some(begin) if is_word => begin == part,
        Some(begin) => begin.eq_ignore_ascii_case(part),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_translated_whole_or_not_at_all() {
        let cases = [
            ("YYYY-MM-DD HH24:MI:SS.US", Some("%Y-%m-%d %H:%M:%S.%6f")),
            ("dd.mm.yy", Some("%d.%m.%y")),
            ("Dy, DD Mon YYYY HH12:MI AM", Some("%a, %d %b %Y %I:%M %p")),
            ("YYYY\"year\"", Some("%Yyear")),
            ("YYYY-MM-DDTHH24", Some("%Y-%m-%dT%H")),
            ("%Y-%m", None),
            ("MONTH", None),
            ("at noon", None),
            ("---", None),
            ("ä", None),
        ];
        for (pattern, known) in cases {
            assert_eq!(translated(pattern).as_deref(), known, "{pattern}");
        }
    }
}
