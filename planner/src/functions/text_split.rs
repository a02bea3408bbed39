//! string_to_array(), also called string_split(): the parts of a text between separators, those of
//! an empty one its characters. An empty text has one part, which is empty.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::{is_constant, results};

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextSplit {
    borrowed: Arc<ScalarUDF>,
    signature: Signature,
}

/// The function in place of the borrowed one.
pub(super) fn text_split(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(TextSplit { borrowed, signature }))
}

impl ScalarUDFImpl for TextSplit {
    as_borrowed!(name, aliases);

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if !matches!(arguments.len(), 2 | 3) {
            return plan_err!(
                "{} takes a text, a separator and perhaps a part that is NULL",
                self.name()
            );
        }
        let text = |data_type: &DataType| match data_type {
            DataType::Dictionary(_, values) => values.is_string(),
            other => other.is_string() || other.is_null(),
        };
        match arguments.iter().find(|argument| !text(argument)) {
            Some(other) => plan_err!("{} takes texts, not {other}", self.name()),
            None => Ok(vec![DataType::Utf8View; arguments.len()]),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Utf8View, true))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let rows = if is_constant { 1 } else { call.number_rows };
        let mut texts: Vec<StringViewArray> = Vec::with_capacity(call.args.len());
        for argument in &call.args {
            let views = cast(&argument.to_array(rows)?, &DataType::Utf8View)?;
            texts.push(views.as_string_view().clone());
        }
        match &texts[..] {
            [texts, separators, nulls @ ..] => {
                results(split(texts, separators, nulls.first()), is_constant)
            }
            _ => exec_err!("{} takes a text and a separator", self.name()),
        }
    }
}

fn split(
    texts: &StringViewArray,
    separators: &StringViewArray,
    nulls: Option<&StringViewArray>,
) -> ArrayRef {
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for row in 0..texts.len() {
        if texts.is_null(row) {
            lists.append_null();
            continue;
        }
        let null = nulls.filter(|nulls| nulls.is_valid(row)).map(|nulls| nulls.value(row));
        let parts = lists.values();
        let mut add = |part: &str| parts.append_option(Some(part).filter(|_| null != Some(part)));
        let text = texts.value(row);
        match separators.is_valid(row).then(|| separators.value(row)) {
            // Nothing is between unknown separators.
            None => add(text),
            Some("") if !text.is_empty() => {
                let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
                ends.fold(0, |begin, end| {
                    add(&text[begin..end]);
                    end
                });
            }
            Some("") => add(text),
            Some(separator) => match one_character(separator) {
                Some(separator) => text.split(separator).for_each(add),
                None => text.split(separator).for_each(add),
            },
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

/// The character that a text is, which is found faster.
fn one_character(text: &str) -> Option<char> {
    text.chars().next().filter(|character| character.len_utf8() == text.len())
}
