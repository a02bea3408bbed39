//! Lists of texts that a pattern makes of one: regexp_extract_all(), what matches or a group of it,
//! and regexp_split_to_array(), what is between the matches. As in PostgreSQL, a match of nothing
//! splits no text at its ends, nor right behind another match.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{Result, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use regex::Regex;

use super::super::each::{is_constant, results};
use super::extract::{searched, taken};
use super::patterns::{Patterns, is_text};

/// Which list is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    /// `regexp_extract_all(text, pattern [, group [, options]])`
    Matches,
    /// `regexp_split_to_array(text, pattern [, options])`
    Between,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Texts {
    which: Which,
    aliases: Vec<String>,
    signature: Signature,
}

/// regexp_extract_all().
pub(super) fn regexp_extract_all() -> Arc<ScalarUDF> {
    function(Which::Matches, &[])
}

/// regexp_split_to_array().
pub(super) fn regexp_split() -> Arc<ScalarUDF> {
    function(Which::Between, &["str_split_regex", "string_split_regex"])
}

fn function(which: Which, aliases: &[&str]) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    let aliases = aliases.iter().map(|alias| (*alias).to_string()).collect();
    Arc::new(ScalarUDF::from(Texts { which, aliases, signature }))
}

impl ScalarUDFImpl for Texts {
    fn name(&self) -> &str {
        match self.which {
            Which::Matches => "regexp_extract_all",
            Which::Between => "regexp_split_to_array",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Utf8View, true))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match self.which {
            Which::Matches => taken(self.name(), arguments),
            Which::Between if matches!(arguments.len(), 2 | 3) && arguments.iter().all(is_text) => {
                Ok(vec![DataType::Utf8View; arguments.len()])
            }
            Which::Between => plan_err!("{} takes a text, a pattern and options", self.name()),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let lists = match self.which {
            Which::Matches => matches(&arrays)?,
            Which::Between => between(&arrays)?,
        };
        results(lists, is_constant)
    }
}

fn matches(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut out = ListBuilder::new(StringViewBuilder::new());
    searched(arguments, |found| {
        let Some((regex, text, group)) = found else {
            out.append_null();
            return Ok(());
        };
        match group {
            0 => regex.find_iter(text).for_each(|found| out.values().append_value(found.as_str())),
            group => regex.captures_iter(text).for_each(|found| {
                out.values().append_value(found.get(group).map_or("", |found| found.as_str()));
            }),
        }
        out.append(true);
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

fn between(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let mut out = ListBuilder::new(StringViewBuilder::new());
    if let [texts, patterns, options @ ..] = arguments {
        let texts = texts.as_string_view();
        let mut patterns = Patterns::new(patterns, options.first());
        for row in 0..texts.len() {
            if let (Some(regex), true) = (patterns.at(row)?, texts.is_valid(row)) {
                parts(regex, texts.value(row), |part| out.values().append_value(part));
                out.append(true);
            } else {
                out.append_null();
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

fn parts<'t>(regex: &Regex, text: &'t str, mut take: impl FnMut(&'t str)) {
    let mut start = 0;
    for found in regex.find_iter(text) {
        if !found.is_empty() || (found.start() > start && found.start() < text.len()) {
            take(&text[start..found.start()]);
            start = found.end();
        }
    }
    take(&text[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_of_nothing_split_between_two_characters_only() {
        for (text, pattern, expected) in [
            ("abc", "", vec!["a", "b", "c"]),
            ("", "", vec![""]),
            ("", "x", vec![""]),
            ("aXbX", "X", vec!["a", "b", ""]),
            ("XaXbX", "X", vec!["", "a", "b", ""]),
            ("axxbc", "x*", vec!["a", "b", "c"]),
            ("abc", "^|$", vec!["abc"]),
            ("ab cd", r"\b", vec!["ab", " ", "cd"]),
            ("äöü", "", vec!["ä", "ö", "ü"]),
        ] {
            let regex = Regex::new(pattern).expect(pattern);
            let mut found = Vec::new();
            parts(&regex, text, |part| found.push(part));
            assert_eq!(found, expected, "{text:?} by {pattern:?}");
        }
    }
}
