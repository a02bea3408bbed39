//! Frames of RANGE: those over keys that nothing is added to, and offsets with more digits behind
//! the point than keys.
//!
//! The borrowed coercion wants a type for the offsets of every RANGE frame, those without offsets
//! too, and fails for keys such as times, intervals and binaries. Without offsets a frame of RANGE
//! reaches as far as one of GROUPS: to whole groups of peers. So it becomes that.
//!
//! Sound: both take the first key's peers, which ORDER BY alone decides. Names stay what they were.
//!
//! An offset gets the digits that keys have, so that the same keys are in the frame: it is made
//! less where the frame reaches as far as it, and greater where it begins behind it. Keys whose
//! type has no room for an offset get a wider one.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType};
use datafusion_common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::{Expr, ExprSchemable, WindowFrameBound, WindowFrameUnits, cast};

/// See the module documentation.
///
/// # Errors
/// For offsets from keys that have none.
pub(super) fn settled(mut expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Expr::WindowFunction(function) = &mut expr else { return Ok(expr) };
    let frame = &mut function.params.window_frame;
    let Some(key) = function.params.order_by.first() else { return Ok(expr) };
    if frame.units != WindowFrameUnits::Range {
        return Ok(expr);
    }
    let data_type = key.expr.get_type(schema)?;
    if has_offsets(&data_type) {
        for bound in [&mut frame.start_bound, &mut frame.end_bound] {
            if let WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) = bound
            {
                with_unit(offset, &data_type)?;
            }
        }
        if let Some(digits) = digits_of(&data_type) {
            use WindowFrameBound::{Following, Preceding};
            match &mut frame.start_bound {
                Preceding(offset) => cut(offset, digits, false),
                Following(offset) => cut(offset, digits, true),
                _ => {}
            }
            match &mut frame.end_bound {
                Preceding(offset) => cut(offset, digits, true),
                Following(offset) => cut(offset, digits, false),
                _ => {}
            }
        }
        let offsets = [&frame.start_bound, &frame.end_bound].into_iter().filter_map(offset_of);
        let wider = offsets.filter_map(|offset| wider(&data_type, offset)).next();
        if let (Some(wider), Some(key)) = (wider, function.params.order_by.first_mut()) {
            key.expr = cast(std::mem::take(&mut key.expr), wider);
        }
        return Ok(expr);
    }
    for bound in [&frame.start_bound, &frame.end_bound] {
        if let WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) = bound
            && !offset.is_null()
        {
            return plan_err!("a RANGE frame with an offset cannot be over keys of {data_type}");
        }
    }
    frame.units = WindowFrameUnits::Groups;
    Ok(expr)
}

fn offset_of(bound: &WindowFrameBound) -> Option<&ScalarValue> {
    match bound {
        WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) => Some(offset),
        WindowFrameBound::CurrentRow => None,
    }
}

/// The type for keys of this one beside an offset that is none of its values: the offset becomes
/// one of the keys' type.
fn wider(key: &DataType, offset: &ScalarValue) -> Option<DataType> {
    let offset: f64 = offset.try_as_str().flatten()?.trim().parse().ok()?;
    match key {
        DataType::Dictionary(_, values) => wider(values, &ScalarValue::from(offset.to_string())),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => {
            let digits = i32::from(*precision) - i32::from(*scale);
            let fits = offset < 10_f64.powi(digits);
            (!fits).then_some(DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale))
        }
        DataType::Int8 | DataType::UInt8 | DataType::Int16 | DataType::UInt16 => {
            Some(DataType::Int64)
        }
        DataType::Int32 | DataType::UInt32 => {
            (offset > f64::from(i32::MAX)).then_some(DataType::Int64)
        }
        _ => None,
    }
}

/// A number alone, which is a text here, is one of days beside dates. Beside timestamps it is none
/// of anything.
fn with_unit(offset: &mut ScalarValue, key: &DataType) -> Result<()> {
    let text = offset.try_as_str().flatten().map(str::trim);
    let Some(number) = text.filter(|text| text.parse::<f64>().is_ok()) else { return Ok(()) };
    match key {
        DataType::Date32 => *offset = ScalarValue::Utf8(Some(format!("{number} days"))),
        DataType::Timestamp(..) | DataType::Date64 => {
            return plan_err!(
                "a RANGE frame over timestamps goes by intervals: write INTERVAL '{number} days'"
            );
        }
        _ => {}
    }
    Ok(())
}

/// Whether the borrowed coercion knows a type for offsets from keys of this one.
fn has_offsets(key: &DataType) -> bool {
    use DataType as T;
    match key {
        T::Dictionary(_, values) => has_offsets(values),
        T::Date32 | T::Date64 | T::Timestamp(_, _) | T::Boolean => true,
        T::List(_) | T::LargeList(_) | T::FixedSizeList(_, _) => true,
        other => other.is_numeric() || other.is_string() || other.is_null(),
    }
}

/// Digits behind the point of keys of a type that has as many of them in all values.
fn digits_of(key: &DataType) -> Option<u32> {
    match key {
        DataType::Dictionary(_, values) => digits_of(values),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => u32::try_from(*scale).ok(),
        other => other.is_integer().then_some(0),
    }
}

/// Digits behind the point that offsets are read with.
const DIGITS_MAX: u32 = 18;

/// Leaves an offset, which is a text here, no more digits behind the point than these. What is no
/// number stays as it is, to be refused.
fn cut(offset: &mut ScalarValue, digits: u32, up: bool) {
    let exact = DataType::Decimal128(38, DIGITS_MAX as i8);
    let Ok(ScalarValue::Decimal128(Some(value), ..)) = offset.cast_to(&exact) else { return };
    let unit = 10i128.pow(DIGITS_MAX.saturating_sub(digits));
    if value % unit == 0 {
        return;
    }
    let kept = value.div_euclid(unit) + i128::from(up);
    let text = Decimal128Type::format_decimal(kept, 38, digits as i8);
    *offset = ScalarValue::Utf8(Some(text));
}
