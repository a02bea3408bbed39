//! The numbers that casts to integers make of others: doubles are rounded to the nearest integer,
//! those in the middle to the even one; decimals in texts are rounded away from zero there, as
//! decimals are. What is no such number stays as it is, and the cast says so.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::each;

const NAME: &str = "to_whole";

/// More than any integer has.
const DIGITS_MAX: usize = 40;

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToWhole {
    signature: Signature,
}

/// Doubles or texts as whole numbers of the same type.
pub(crate) fn to_whole(values: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(ToWhole { signature }).call(vec![values])
}

/// Whether an expression is whole already.
pub(crate) fn is_whole(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => match (call.name(), call.args.len()) {
            ("ceil" | "floor" | "round" | "trunc", count) => count == 1,
            (name, _) => name == NAME,
        },
        _ => false,
    }
}

impl ScalarUDFImpl for ToWhole {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [one] => Ok(one.clone()),
            _ => exec_err!("{NAME} takes one argument"),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.first() {
            Some(values) => each(values, rounded),
            None => exec_err!("{NAME} takes one argument"),
        }
    }
}

fn rounded(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>();
            let rounded: Float64Array = values.unary(f64::round_ties_even);
            Arc::new(rounded)
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>();
            let rounded: Float32Array = values.unary(f32::round_ties_even);
            Arc::new(rounded)
        }
        text if text.is_string() => {
            let views = cast(values, &DataType::Utf8View)?;
            let texts = views.as_string_view();
            if texts.iter().flatten().all(|text| whole_text(text).is_none()) {
                return Ok(values.clone());
            }
            let whole = |text: &str| whole_text(text).unwrap_or_else(|| text.to_string());
            let whole = texts.iter().map(|text| text.map(whole));
            cast(&whole.collect::<StringViewArray>(), values.data_type())?
        }
        _ => values.clone(),
    })
}

/// The whole number next to one that is written with a point or an exponent; `None` of others.
fn whole_text(text: &str) -> Option<String> {
    if !text.contains(['.', 'e', 'E']) {
        return None;
    }
    let text = text.trim();
    let (is_negative, number) = match text.strip_prefix(['-', '+']) {
        Some(number) => (text.starts_with('-'), number),
        None => (false, text),
    };
    let (number, exponent) = match number.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let point = (whole.len() as i64) + i64::from(exponent);
    // The digit behind the point decides.
    let digits = format!("0{digits}");
    let point = usize::try_from(point + 1).unwrap_or(0);
    if point > DIGITS_MAX + digits.len() {
        return None;
    }
    let behind = match point {
        0 => None,
        point => digits.as_bytes().get(point),
    };
    let kept: String = digits.chars().chain(std::iter::repeat('0')).take(point).collect();
    let kept = kept.trim_start_matches('0');
    if kept.len() > DIGITS_MAX - 2 {
        return None;
    }
    let mut number: u128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    number += u128::from(behind.is_some_and(|digit| *digit >= b'5'));
    let sign = if is_negative && number > 0 { "-" } else { "" };
    Some(format!("{sign}{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_in_texts_are_rounded_away_from_zero() {
        let cases = [
            ("2.5", Some("3")),
            ("-2.5", Some("-3")),
            ("2.4999999999999999999999", Some("2")),
            ("-0.4", Some("0")),
            (".5", Some("1")),
            ("5.", Some("5")),
            ("+1.55e1", Some("16")),
            ("1e3", Some("1000")),
            ("5e-1", Some("1")),
            ("5e-2", Some("0")),
            ("9e-999", Some("0")),
            ("9.5e0", Some("10")),
            ("9223372036854775807.4", Some("9223372036854775807")),
            (" 1.5 ", Some("2")),
            ("17", None),
            ("1e999", None),
            ("1.5x", None),
            ("1.-5", None),
            (".", None),
            ("e5", None),
            ("--1.5", None),
            ("1e5e5", None),
        ];
        for (text, whole) in cases {
            assert_eq!(whole_text(text).as_deref(), whole, "{text}");
        }
    }
}
