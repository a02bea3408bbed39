//! Lists, structures and maps as texts: `[1, NULL]`, `{'a': 1, 'b': x}`, `{key=value}`.
//!
//! A text in them stands in quotes where it could be taken for something else: when it is empty or
//! `null`, begins or ends with a space, or has a sign that means something there. Names of members
//! always do. The borrowed folder writes nothing for NULL, and no structures.
//!
//! Timestamps, times and intervals as texts, which it writes in another form than columns are
//! written.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gristmill_engine::moment_format;

use super::each::each;

/// Signs that mean something in the text of a list, a structure or a map.
const MEANING: [char; 12] = ['"', '\'', '(', ')', ',', ':', '=', '[', ']', '\\', '{', '}'];

/// The cast of nested values, or of moments, to a type of texts.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ListText {
    target: DataType,
    signature: Signature,
}

/// The text of nested values or of moments, of this type.
pub(crate) fn list_text(list: Expr, target: DataType) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let function = ScalarUDF::from(ListText { target, signature });
    Arc::new(function).call(vec![list])
}

impl ScalarUDFImpl for ListText {
    fn name(&self) -> &str {
        "list_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.first() {
            Some(values) => each(values, |values| texts(values, &self.target)),
            None => exec_err!("the text of no value"),
        }
    }
}

fn texts(values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    if let Some(texts) = moment_format::texts(values)? {
        return Ok(if texts.data_type() == target { texts } else { cast(&texts, target)? });
    }
    let written = Written::of(values)?;
    let mut texts = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    for row in 0..values.len() {
        if values.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        written.write(row, &mut text);
        texts.append_value(&text);
    }
    let texts: ArrayRef = Arc::new(texts.finish());
    Ok(if texts.data_type() == target { texts } else { cast(&texts, target)? })
}

/// Values that are written one by one.
enum Written {
    /// Of another type, as a cast writes them.
    Plain(StringViewArray),
    List {
        offsets: OffsetBuffer<i32>,
        elements: Box<Written>,
        nulls: Option<NullBuffer>,
    },
    /// Each name is in quotes.
    Struct {
        members: Vec<(String, Written)>,
        nulls: Option<NullBuffer>,
    },
    Map {
        offsets: OffsetBuffer<i32>,
        keys: Box<Written>,
        values: Box<Written>,
        nulls: Option<NullBuffer>,
    },
}

impl Written {
    fn of(values: &ArrayRef) -> Result<Written> {
        let nulls = values.logical_nulls();
        Ok(match values.data_type() {
            DataType::List(_) => {
                let lists = values.as_list::<i32>();
                let elements = Box::new(Written::of(lists.values())?);
                Written::List { offsets: lists.offsets().clone(), elements, nulls }
            }
            DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                return Written::of(&cast(values, &DataType::List(field.clone()))?);
            }
            DataType::Struct(fields) => {
                let members = fields.iter().zip(values.as_struct().columns());
                let members = members.map(|(field, member)| {
                    let mut name = String::new();
                    quote(field.name(), &mut name);
                    Ok((name, Written::of(member)?))
                });
                Written::Struct { members: members.collect::<Result<_>>()?, nulls }
            }
            DataType::Map(..) => {
                let maps = values.as_map();
                let keys = Box::new(Written::of(maps.keys())?);
                let values = Box::new(Written::of(maps.values())?);
                Written::Map { offsets: maps.offsets().clone(), keys, values, nulls }
            }
            _ => {
                let texts = match moment_format::texts(values)? {
                    Some(texts) => texts,
                    None => cast(values, &DataType::Utf8View)?,
                };
                Written::Plain(texts.as_string_view().clone())
            }
        })
    }

    fn is_null(&self, at: usize) -> bool {
        let nulls = match self {
            Written::Plain(texts) => texts.nulls(),
            Written::List { nulls, .. }
            | Written::Struct { nulls, .. }
            | Written::Map { nulls, .. } => nulls.as_ref(),
        };
        nulls.is_some_and(|nulls| nulls.is_null(at))
    }

    fn write(&self, at: usize, out: &mut String) {
        if self.is_null(at) {
            return out.push_str("NULL");
        }
        let separate = |is_first: bool, out: &mut String| {
            if !is_first {
                out.push_str(", ");
            }
        };
        match self {
            Written::Plain(texts) => match texts.value(at) {
                text if is_clear(text) => out.push_str(text),
                text => quote(text, out),
            },
            Written::List { offsets, elements, .. } => {
                out.push('[');
                for place in range(offsets, at) {
                    separate(place == range(offsets, at).start, out);
                    elements.write(place, out);
                }
                out.push(']');
            }
            Written::Struct { members, .. } => {
                out.push('{');
                for (number, (name, member)) in members.iter().enumerate() {
                    separate(number == 0, out);
                    // Nothing in it fails.
                    let _ = write!(out, "{name}: ");
                    member.write(at, out);
                }
                out.push('}');
            }
            Written::Map { offsets, keys, values, .. } => {
                out.push('{');
                for place in range(offsets, at) {
                    separate(place == range(offsets, at).start, out);
                    keys.write(place, out);
                    out.push('=');
                    values.write(place, out);
                }
                out.push('}');
            }
        }
    }
}

fn range(offsets: &OffsetBuffer<i32>, at: usize) -> std::ops::Range<usize> {
    offsets[at] as usize..offsets[at + 1] as usize
}

/// Whether a text is no other one without quotes.
fn is_clear(text: &str) -> bool {
    let ends = |found: Option<char>| found.is_none_or(char::is_whitespace);
    !ends(text.chars().next())
        && !ends(text.chars().next_back())
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(MEANING)
}

fn quote(text: &str, out: &mut String) {
    out.push('\'');
    for sign in text.chars() {
        if matches!(sign, '\'' | '\\') {
            out.push('\\');
        }
        out.push(sign);
    }
    out.push('\'');
}
