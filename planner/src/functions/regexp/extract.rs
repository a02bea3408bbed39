//! regexp_extract(): the first match of a pattern in a text, or a group of it.
//!
//! An empty text where nothing matches, or where the group has no part in the match; NULL of NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use regex::Regex;

use super::super::each::{is_constant, results};
use super::patterns::{Patterns, group_of, is_text};

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
        taken(self.name(), arguments)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let mut out = StringViewBuilder::with_capacity(call.number_rows);
        searched(&arrays, |found| {
            match found {
                Some((regex, text, group)) => out.append_value(first(regex, text, group)),
                None => out.append_null(),
            }
            Ok(())
        })?;
        results(Arc::new(out.finish()), is_constant)
    }
}

/// The types of a text, a pattern, the number of a group and options, of which the last two need
/// not be.
///
/// # Errors
/// `Plan` for others.
pub(super) fn taken(name: &str, arguments: &[DataType]) -> Result<Vec<DataType>> {
    let is_number = |t: &DataType| t.is_integer() || t.is_null();
    let is_right = match arguments {
        [text, pattern] => is_text(text) && is_text(pattern),
        [text, pattern, group] => is_text(text) && is_text(pattern) && is_number(group),
        [text, pattern, group, options] => {
            [text, pattern, options].into_iter().all(is_text) && is_number(group)
        }
        _ => false,
    };
    if !is_right {
        return plan_err!(
            "{name} takes a text and a pattern, then the number of a group and options if need be"
        );
    }
    let types = [DataType::Utf8View, DataType::Utf8View, DataType::Int64, DataType::Utf8View];
    Ok(types.into_iter().take(arguments.len()).collect())
}

/// Hands over the pattern, text and group of each row, nothing where one of them is NULL.
///
/// # Errors
/// `Execution` for what is no pattern, option or group of it, and those of `take`.
pub(super) fn searched(
    arguments: &[ArrayRef],
    mut take: impl FnMut(Option<(&Regex, &str, usize)>) -> Result<()>,
) -> Result<()> {
    let [texts, patterns, others @ ..] = arguments else {
        return exec_err!("a text and a pattern are missing");
    };
    let texts = texts.as_string_view();
    let groups = others.first().map(|groups| groups.as_primitive::<Int64Type>());
    let mut patterns = Patterns::new(patterns, others.get(1));
    for row in 0..texts.len() {
        let group = match groups {
            Some(groups) if groups.is_null(row) => None,
            Some(groups) => Some(groups.value(row)),
            None => Some(0),
        };
        match (patterns.at(row)?, group) {
            (Some(regex), Some(group)) if texts.is_valid(row) => {
                take(Some((regex, texts.value(row), group_of(regex, group)?)))?;
            }
            _ => take(None)?,
        }
    }
    Ok(())
}

fn first<'t>(regex: &Regex, text: &'t str, group: usize) -> &'t str {
    let found = match group {
        0 => regex.find(text),
        group => regex.captures(text).and_then(|found| found.get(group)),
    };
    found.map_or("", |found| found.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::patterns::compiled;
    use super::*;

    #[test]
    fn groups_count_whether_they_take_part_or_not() {
        let regex = compiled("a(b)?(c)", "").expect("a pattern");
        assert_eq!(first(&regex, "xac", 0), "ac");
        assert_eq!(first(&regex, "xac", 1), "");
        assert_eq!(first(&regex, "xac", 2), "c");
        assert_eq!(first(&regex, "x", 2), "");
        let error = group_of(&regex, 3).expect_err("no such group").to_string();
        assert!(error.contains("no group 3") && error.contains("has 2"), "{error}");
        assert!(group_of(&regex, -1).is_err());
        assert!(compiled("(", "").is_err() && compiled("a", "x").is_err());
        let regex = compiled("A.", "is").expect("options");
        assert_eq!(first(&regex, "a\n", 0), "a\n");
    }
}
