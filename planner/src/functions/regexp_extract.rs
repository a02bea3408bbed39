//! regexp_extract(): the first match of a pattern in a text, or a group of it.
//!
//! An empty text where nothing matches, or the group has no part in the match; NULL of NULL. Not
//! finding a group with that number at all is an error.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use regex::{Captures, Regex, RegexBuilder};

use super::each::{is_constant, results};

/// `regexp_extract(text, pattern [, group [, options]])`
#[derive(Debug, PartialEq, Eq, Hash)]
struct RegexpExtract {
    signature: Signature,
}

/// The function.
pub(super) fn regexp_extract() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(RegexpExtract { signature }))
}

impl ScalarUDFImpl for RegexpExtract {
    fn name(&self) -> &str {
        "regexp_extract"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        const TAKES: &str = "regexp_extract takes a text, a pattern, the number of a group and \
                             options, the last two if need be";
        let is_text = |t: &DataType| t.is_string() || t.is_null() || is_dictionary_of_text(t);
        let is_right = match arguments {
            [text, pattern, others @ ..] if is_text(text) && is_text(pattern) => match others {
                [] => true,
                [group] => group.is_integer() || group.is_null(),
                [group, options] => (group.is_integer() || group.is_null()) && is_text(options),
                _ => false,
            },
            _ => false,
        };
        if !is_right {
            return plan_err!("{TAKES}");
        }
        let types = [DataType::Utf8View, DataType::Utf8View, DataType::Int64, DataType::Utf8View];
        Ok(types[..arguments.len()].to_vec())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let [texts, patterns, others @ ..] = &arrays[..] else {
            return exec_err!("regexp_extract takes a text and a pattern");
        };
        let columns = Columns {
            texts: texts.as_string_view(),
            patterns: patterns.as_string_view(),
            groups: others.first().map(|groups| groups.as_primitive::<Int64Type>()),
            options: others.get(1).map(|options| options.as_string_view()),
        };
        results(columns.extracted()?, is_constant)
    }
}

fn is_dictionary_of_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Dictionary(_, values) if values.is_string())
}

/// The arguments of the calls, a row each.
struct Columns<'a> {
    texts: &'a StringViewArray,
    patterns: &'a StringViewArray,
    groups: Option<&'a Int64Array>,
    options: Option<&'a StringViewArray>,
}

impl Columns<'_> {
    fn extracted(&self) -> Result<ArrayRef> {
        let mut out = StringViewBuilder::with_capacity(self.texts.len());
        // Patterns are constants as a rule.
        let mut last: Option<(&str, &str, Regex)> = None;
        for row in 0..self.texts.len() {
            let options = match self.options {
                Some(options) if options.is_null(row) => None,
                Some(options) => Some(options.value(row)),
                None => Some(""),
            };
            let group = match self.groups {
                Some(groups) if groups.is_null(row) => None,
                Some(groups) => Some(groups.value(row)),
                None => Some(0),
            };
            let is_null = self.texts.is_null(row) || self.patterns.is_null(row);
            let (Some(options), Some(group), false) = (options, group, is_null) else {
                out.append_null();
                continue;
            };
            let pattern = self.patterns.value(row);
            let regex = match &mut last {
                Some((p, o, regex)) if *p == pattern && *o == options => &*regex,
                last => &last.insert((pattern, options, compiled(pattern, options)?)).2,
            };
            out.append_value(group_of(regex, self.texts.value(row), group)?);
        }
        Ok(Arc::new(out.finish()))
    }
}

fn group_of<'t>(regex: &Regex, text: &'t str, group: i64) -> Result<&'t str> {
    let count = regex.captures_len();
    let Some(group) = usize::try_from(group).ok().filter(|group| *group < count) else {
        return exec_err!(
            "regexp_extract has no group {group}: the pattern '{regex}' has {}",
            count - 1
        );
    };
    let found = match group {
        0 => regex.find(text),
        group => regex.captures(text).and_then(|found: Captures<'t>| found.get(group)),
    };
    Ok(found.map_or("", |found| found.as_str()))
}

/// # Errors
/// `Execution` for a pattern that is none, and for unknown options.
fn compiled(pattern: &str, options: &str) -> Result<Regex> {
    let mut builder = RegexBuilder::new(pattern);
    for option in options.chars() {
        match option {
            'i' => builder.case_insensitive(true),
            'c' => builder.case_insensitive(false),
            's' => builder.dot_matches_new_line(true),
            'm' | 'n' | 'p' => builder.multi_line(true),
            other => {
                return exec_err!(
                    "regexp_extract has no option '{other}': there are c, i, m and s"
                );
            }
        };
    }
    builder
        .build()
        .map_err(|e| exec_datafusion_err!("'{pattern}' is not a regular expression: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_count_whether_they_take_part_or_not() {
        let regex = compiled("a(b)?(c)", "").expect("a pattern");
        assert_eq!(group_of(&regex, "xac", 0).expect("a match"), "ac");
        assert_eq!(group_of(&regex, "xac", 1).expect("no part"), "");
        assert_eq!(group_of(&regex, "xac", 2).expect("a part"), "c");
        assert_eq!(group_of(&regex, "x", 2).expect("no match"), "");
        let error = group_of(&regex, "xac", 3).expect_err("no such group").to_string();
        assert!(error.contains("no group 3") && error.contains("has 2"), "{error}");
        assert!(compiled("(", "").is_err() && compiled("a", "x").is_err());
        let regex = compiled("A.", "is").expect("options");
        assert_eq!(group_of(&regex, "a\n", 0).expect("a match"), "a\n");
    }
}
