//! The numbers that casts to integers make of others: doubles are rounded to the nearest integer,
//! those in the middle to the even one; decimals in texts are rounded away from zero there, as
//! decimals are. What is no such number stays as it is, and the cast says so. Decimals are rounded
//! by a cast to others without digits behind the point. In lists and structures the same is done
//! with what is in them.
//!
//! Decimals become the nearest doubles, where the borrowed casts divide two doubles: those in lists
//! and structures, and constants.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Float64Array, LargeListArray,
    ListArray, StringViewArray, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, FieldRef, Fields, Float32Type, Float64Type,
};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gristmill_engine::expr::{nearest_double, nearest_float};

use super::each::each;
use super::seconds::TO_SECONDS;

const NAME: &str = "to_whole";

/// More than any integer has.
const DIGITS_MAX: usize = 40;

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToWhole {
    /// What the result is cast to.
    target: DataType,
    signature: Signature,
}

/// What is cast to a type, with the doubles and the numbers in texts whole where that has integers.
pub(crate) fn to_whole(values: Expr, target: DataType) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(ToWhole { target, signature }).call(vec![values])
}

/// Decimals as the nearest floating-point numbers of a type.
pub(crate) fn to_nearest(decimals: Expr, target: DataType) -> Expr {
    to_whole(decimals, target)
}

/// The type of values that were made whole, decimals in lists and structures as they are; `None`
/// where there is nothing to do.
pub(crate) fn whole_type(from: &DataType, target: &DataType) -> Option<DataType> {
    let is_nearest = from.is_decimal() && target.is_floating();
    if is_nearest { None } else { number_type(from, target, false) }
}

/// The same, decimals as floating-point numbers where they become these and are `nearest`.
fn number_type(from: &DataType, target: &DataType, nearest: bool) -> Option<DataType> {
    let member = |from: &FieldRef, target: &FieldRef| {
        let whole = number_type(from.data_type(), target.data_type(), nearest)?;
        Some(Arc::new(from.as_ref().clone().with_data_type(whole)))
    };
    match (from, target) {
        (from, DataType::Float32 | DataType::Float64) if from.is_decimal() => {
            Some(if nearest { target.clone() } else { from.clone() })
        }
        (from, target) if target.is_integer() => match from {
            decimal if decimal.is_decimal() => without_scale(decimal),
            from => (from.is_floating() || from.is_string()).then(|| from.clone()),
        },
        (DataType::List(from), target) => Some(DataType::List(member(from, element_of(target)?)?)),
        (DataType::LargeList(from), target) => {
            Some(DataType::LargeList(member(from, element_of(target)?)?))
        }
        (DataType::FixedSizeList(from, size), target) => {
            Some(DataType::FixedSizeList(member(from, element_of(target)?)?, *size))
        }
        (DataType::Struct(from), DataType::Struct(target)) => {
            let pairs =
                || from.iter().enumerate().map(|(at, from)| (from, other(target, at, from)));
            let whole = |(from, target): (&FieldRef, Option<&FieldRef>)| member(from, target?);
            if pairs().all(|pair| whole(pair).is_none()) {
                return None;
            }
            let members = pairs().map(|pair| whole(pair).unwrap_or_else(|| pair.0.clone()));
            Some(DataType::Struct(members.collect()))
        }
        _ => None,
    }
}

/// The elements of a type of lists.
fn element_of(lists: &DataType) -> Option<&FieldRef> {
    match lists {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            Some(field)
        }
        _ => None,
    }
}

/// What a member is cast to: the one of its name, or the one in its place.
fn other<'a>(target: &'a Fields, at: usize, from: &FieldRef) -> Option<&'a FieldRef> {
    let named = target.iter().find(|field| field.name() == from.name());
    named.or_else(|| target.get(at))
}

/// The type of a decimal without its digits behind the point, when it has any. It has a digit more
/// in front of it: 9.5 becomes 10.
pub(crate) fn without_scale(decimal: &DataType) -> Option<DataType> {
    let whole = |precision: u8, scale: i8| {
        let scale = u8::try_from(scale).ok().filter(|scale| *scale > 0)?;
        Some(precision.saturating_sub(scale) + 1)
    };
    Some(match decimal {
        DataType::Decimal32(precision, scale) => DataType::Decimal32(whole(*precision, *scale)?, 0),
        DataType::Decimal64(precision, scale) => DataType::Decimal64(whole(*precision, *scale)?, 0),
        DataType::Decimal128(precision, scale) => {
            DataType::Decimal128(whole(*precision, *scale)?, 0)
        }
        // What has more digits is no integer.
        DataType::Decimal256(..) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
        _ => return None,
    })
}

/// Whether an expression is whole already, or is of seconds, which are cut.
pub(crate) fn is_whole(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => match (call.name(), call.args.len()) {
            ("ceil" | "floor" | "round" | "trunc", count) => count == 1,
            (name, _) => name == NAME || name == TO_SECONDS,
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
            [one] => Ok(number_type(one, &self.target, true).unwrap_or_else(|| one.clone())),
            _ => exec_err!("{NAME} takes one argument"),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.first() {
            Some(values) => each(values, |values| rounded(values, &self.target)),
            None => exec_err!("{NAME} takes one argument"),
        }
    }
}

fn rounded(values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let Some(whole) = number_type(values.data_type(), target, true) else {
        return Ok(values.clone());
    };
    let nulls = values.nulls().cloned();
    let elements = |elements: &ArrayRef| {
        let element = element_of(target).map_or(target, |element| element.data_type());
        rounded(elements, element)
    };
    Ok(match (values.data_type(), &whole) {
        (DataType::List(_), DataType::List(field)) => {
            let lists = values.as_list::<i32>();
            let (offsets, elements) = (lists.offsets().clone(), elements(lists.values())?);
            Arc::new(ListArray::try_new(field.clone(), offsets, elements, nulls)?)
        }
        (DataType::LargeList(_), DataType::LargeList(field)) => {
            let lists = values.as_list::<i64>();
            let (offsets, elements) = (lists.offsets().clone(), elements(lists.values())?);
            Arc::new(LargeListArray::try_new(field.clone(), offsets, elements, nulls)?)
        }
        (DataType::FixedSizeList(..), DataType::FixedSizeList(field, size)) => {
            let elements = elements(values.as_fixed_size_list().values())?;
            let (field, rows) = (field.clone(), values.len());
            Arc::new(FixedSizeListArray::try_new_with_length(field, *size, elements, nulls, rows)?)
        }
        (DataType::Struct(from), DataType::Struct(fields)) => {
            let DataType::Struct(target) = target else { return Ok(values.clone()) };
            let members = values.as_struct().columns().iter().zip(from).enumerate();
            let members = members.map(|(at, (member, from))| match other(target, at, from) {
                Some(target) => rounded(member, target.data_type()),
                None => Ok(member.clone()),
            });
            let members = members.collect::<Result<_>>()?;
            Arc::new(StructArray::try_new(fields.clone(), members, nulls)?)
        }
        (decimals, DataType::Float32 | DataType::Float64) if decimals.is_decimal() => {
            nearest(values, &whole)?
        }
        _ => rounded_numbers(values)?,
    })
}

/// The floating-point numbers of a type that are nearest to decimals.
fn nearest(decimals: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let (DataType::Decimal32(_, scale)
    | DataType::Decimal64(_, scale)
    | DataType::Decimal128(_, scale)) = *decimals.data_type()
    else {
        return Ok(cast(decimals, target)?);
    };
    let decimals = cast(decimals, &DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale))?;
    let decimals = decimals.as_primitive::<Decimal128Type>();
    Ok(match target {
        DataType::Float32 => {
            let floats: Float32Array = decimals.unary(|value| nearest_float(value, scale));
            Arc::new(floats)
        }
        _ => {
            let doubles: Float64Array = decimals.unary(|value| nearest_double(value, scale));
            Arc::new(doubles)
        }
    })
}

fn rounded_numbers(values: &ArrayRef) -> Result<ArrayRef> {
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
