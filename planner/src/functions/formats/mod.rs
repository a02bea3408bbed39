//! Texts with values in them: `format('{:>5}', x)` and `printf('%5d', x)`.
//!
//! * `pieces`: a form as what stands between the values, and how these are written.
//! * `written`: a value as its piece says.

mod pieces;
mod written;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::{is_constant, results};
use pieces::{Piece, pieces_of_format, pieces_of_printf};
use written::{Value, bytes_at_most, write};

/// How a form says where the values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Style {
    /// `{}`
    Braces,
    /// `%d`
    Percent,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Formatted {
    style: Style,
    signature: Signature,
}

/// `format` and `printf`.
pub(super) fn formats() -> [Arc<ScalarUDF>; 2] {
    [Style::Braces, Style::Percent].map(|style| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Formatted { style, signature }))
    })
}

impl ScalarUDFImpl for Formatted {
    fn name(&self) -> &str {
        match self.style {
            Style::Braces => "format",
            Style::Percent => "printf",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [form, values @ ..] if form.is_string() || form.is_null() => {
                let values = values.iter().map(|value| match value {
                    whole if whole.is_integer() => DataType::Int64,
                    number if number.is_numeric() => DataType::Float64,
                    _ => DataType::Utf8View,
                });
                Ok(std::iter::once(DataType::Utf8View).chain(values).collect())
            }
            _ => plan_err!("{} takes a form, which is a text, and values", self.name()),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let Some((forms, values)) = arrays.split_first() else {
            return exec_err!("{} takes a form", self.name());
        };
        let forms = cast(forms, &DataType::Utf8View)?;
        let values = values.iter().map(Values::new).collect::<Result<Vec<_>>>()?;
        let mut out = StringViewBuilder::with_capacity(forms.len());
        let mut text = String::new();
        // Of the last form, which most often is that of all rows.
        let mut known: Option<(String, Vec<Piece>)> = None;
        for (row, form) in forms.as_string_view().iter().enumerate() {
            let Some(form) = form.filter(|_| values.iter().all(|v| v.is_valid(row))) else {
                out.append_null();
                continue;
            };
            if known.as_ref().is_none_or(|(last, _)| last != form) {
                known = Some((form.to_string(), self.pieces(form)?));
            }
            text.clear();
            for piece in known.iter().flat_map(|(_, pieces)| pieces) {
                match piece {
                    Piece::Text(between) => text.push_str(between),
                    Piece::Value { place, spec } => match values.get(*place) {
                        Some(values) => write(values.at(row), spec, &mut text)?,
                        None => {
                            return exec_err!("the form has no value for place {}", place + 1);
                        }
                    },
                }
            }
            out.append_value(&text);
        }
        results(Arc::new(out.finish()), is_constant)
    }
}

/// Bytes that a call makes of each row of this form, and how often each of its `values` values is
/// in it; `None` when it is no form.
pub(super) fn bytes_of_form(name: &str, form: &str, values: usize) -> Option<(usize, Vec<usize>)> {
    let pieces = match name {
        "format" => pieces_of_format(form),
        _ => pieces_of_printf(form),
    };
    let mut times = vec![0; values];
    let mut bytes = 0;
    for piece in pieces.ok()? {
        bytes += match &piece {
            Piece::Text(between) => between.len(),
            Piece::Value { place, spec } => {
                *times.get_mut(*place)? += 1;
                bytes_at_most(spec)
            }
        };
    }
    Some((bytes, times))
}

impl Formatted {
    fn pieces(&self, form: &str) -> Result<Vec<Piece>> {
        match self.style {
            Style::Braces => pieces_of_format(form),
            Style::Percent => pieces_of_printf(form),
        }
    }
}

/// The values of one argument.
enum Values<'a> {
    Whole(&'a ArrayRef),
    Number(&'a ArrayRef),
    Text(StringViewArray),
}

impl<'a> Values<'a> {
    fn new(array: &'a ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Int64 => Values::Whole(array),
            DataType::Float64 => Values::Number(array),
            _ => Values::Text(cast(array, &DataType::Utf8View)?.as_string_view().clone()),
        })
    }

    fn is_valid(&self, row: usize) -> bool {
        match self {
            Values::Whole(array) | Values::Number(array) => array.is_valid(row),
            Values::Text(array) => array.is_valid(row),
        }
    }

    fn at(&self, row: usize) -> Value<'_> {
        match self {
            Values::Whole(array) => Value::Whole(array.as_primitive::<Int64Type>().value(row)),
            Values::Number(array) => Value::Number(array.as_primitive::<Float64Type>().value(row)),
            Values::Text(array) => Value::Text(array.value(row)),
        }
    }
}
