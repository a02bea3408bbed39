//! Patterns of GLOB as regular expressions: `*`, `?`, `[a-z]` and `[!a-z]`, and `\` before a sign
//! that means itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::functions::each::each;

/// The function that makes a regular expression of a pattern.
pub(crate) const GLOB_REGEX: &str = "glob_regex";

#[derive(Debug, PartialEq, Eq, Hash)]
struct GlobRegex {
    signature: Signature,
}

/// `glob_regex(pattern)`
pub(super) fn glob_regex() -> ScalarUDF {
    ScalarUDF::from(GlobRegex { signature: Signature::string(1, Volatility::Immutable) })
}

impl ScalarUDFImpl for GlobRegex {
    fn name(&self) -> &str {
        GLOB_REGEX
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [patterns] = &call.args[..] else {
            return exec_err!("{GLOB_REGEX} takes a pattern");
        };
        each(patterns, |patterns: &ArrayRef| {
            let patterns = cast(patterns, &DataType::Utf8)?;
            let patterns = patterns.as_string::<i32>();
            let made: StringArray = patterns.iter().map(|p| p.map(regex_of)).collect();
            Ok(Arc::new(made))
        })
    }
}

/// The regular expression that a pattern of GLOB is.
pub(crate) fn regex_of(pattern: &str) -> String {
    let mut regex = String::from("(?s)");
    let mut rest = pattern.chars();
    while let Some(sign) = rest.next() {
        match sign {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => match class_of(rest.as_str()) {
                Some((class, length)) => {
                    regex.push_str(&class);
                    rest = rest.as_str()[length..].chars();
                }
                // A class without an end fits nothing.
                None => return r"[^\s\S]".to_string(),
            },
            '\\' => regex.push_str(&regex_of_sign(rest.next().unwrap_or('\\'))),
            sign => regex.push_str(&regex_of_sign(sign)),
        }
    }
    regex
}

/// The class that begins behind a bracket, and its length.
fn class_of(text: &str) -> Option<(String, usize)> {
    let negated = text.starts_with('!');
    let begin = usize::from(negated);
    let inner = &text[begin..];
    // A bracket in front is one of the signs.
    let first = inner.chars().next()?.len_utf8();
    let end = first + inner[first..].find(']')?;
    let mut class = String::from(if negated { "[^" } else { "[" });
    for (at, sign) in inner[..end].char_indices() {
        let is_range = sign == '-' && at > 0 && at + 1 < end;
        class.push_str(&if is_range { sign.to_string() } else { regex_of_sign(sign) });
    }
    class.push(']');
    Some((class, begin + end + 1))
}

fn regex_of_sign(sign: char) -> String {
    match sign.is_ascii_punctuation() {
        true => format!("\\{sign}"),
        false => sign.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_regular_expressions() {
        let cases = [
            ("a*.c?", r"(?s)a.*\.c."),
            ("[a-c][!x]", "(?s)[a-c][^x]"),
            (r"\*[]^-]", r"(?s)\*[\]\^\-]"),
            ("[ab", r"[^\s\S]"),
            ("ü(|)", r"(?s)ü\(\|\)"),
        ];
        for (pattern, regex) in cases {
            assert_eq!(regex_of(pattern), regex, "{pattern}");
        }
    }
}
