//! Moments of different types that meet.
//!
//! What they are cast to is told in `functions/common_type`. Nanoseconds that meet a constant
//! beyond their years are compared as microseconds: the constant is far from them all.
//!
//! What has no zone is by the clock of UTC where a zone is needed, and timestamps of other zones,
//! which files and `arrow_cast` have, are shown and taken apart by it too.

use std::borrow::Cow;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion_expr::expr::{InList, ScalarFunction};
use datafusion_expr::{Expr, ExprSchemable, Operator, cast, lit, try_cast, when};
use gristmill_engine::calendar::per_second;
use gristmill_engine::expr::{in_units, is_time, not_a_time, with_seconds};

use crate::functions::{
    UTC, coarser, finer_unit, from_seconds, interval_order, is_utc, seconds_type, to_seconds,
};

/// A timestamp of another zone than UTC by the clock of UTC. Says whether it was one.
pub(super) fn by_utc(moment: &mut Expr, schema: &DFSchema) -> bool {
    match moment.get_type(schema) {
        Ok(DataType::Timestamp(unit, Some(zone))) if !is_utc(&zone) => {
            let target = DataType::Timestamp(unit, Some(UTC.into()));
            *moment = cast(std::mem::take(moment), target);
            true
        }
        _ => false,
    }
}

/// The same in a cast to what shows it by a clock.
fn cast_by_utc(expr: &mut Expr, schema: &DFSchema) -> bool {
    let (operand, field) = match expr {
        Expr::Cast(cast) => (&mut cast.expr, &cast.field),
        Expr::TryCast(cast) => (&mut cast.expr, &cast.field),
        _ => return false,
    };
    let shows = match field.data_type() {
        DataType::Timestamp(_, zone) => zone.is_none(),
        other => other.is_string() || other.is_temporal(),
    };
    shows && by_utc(operand, schema)
}

/// Whether an expression counts nanoseconds.
pub(super) fn is_fine(operand: &Expr, schema: &DFSchema) -> bool {
    matches!(operand.get_type(schema), Ok(DataType::Timestamp(TimeUnit::Nanosecond, _)))
}

/// Casts nanoseconds to microseconds where they are compared with a constant that is none of
/// theirs. Says whether they are.
pub(super) fn meet_far_constant(operands: &mut [&mut Expr], schema: &DFSchema) -> bool {
    if !operands.iter().any(|o| is_fine(o, schema))
        || !operands.iter().any(|o| is_far_constant(o, schema))
    {
        return false;
    }
    for operand in operands.iter_mut().filter(|operand| is_fine(operand, schema)) {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
        **operand = cast(std::mem::take(*operand), data_type);
    }
    true
}

/// Takes constants that are none of the nanoseconds that are looked for out of a list, but the last
/// one: that is left when all are. Says whether there are any.
pub(super) fn leave_far_constants(list: &mut InList, schema: &DFSchema) -> bool {
    if !is_fine(&list.expr, schema) {
        return false;
    }
    let (mut far, near): (Vec<Expr>, Vec<Expr>) =
        std::mem::take(&mut list.list).into_iter().partition(|item| is_far_constant(item, schema));
    list.list = near;
    let found = !far.is_empty();
    if list.list.is_empty()
        && let Some(mut last) = far.pop()
    {
        meet_far_constant(&mut [&mut list.expr, &mut last], schema);
        list.list.push(last);
    }
    found
}

/// Whether an expression is a constant moment that has no nanoseconds.
pub(super) fn is_far_constant(expr: &Expr, schema: &DFSchema) -> bool {
    let is_moment = expr.get_type(schema).is_ok_and(|t| t.is_temporal() || t.is_string());
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let moment = match expr {
        Expr::Literal(value, _) if is_moment => value.cast_to(&micros),
        Expr::Cast(cast) => match (cast.expr.as_ref(), cast.field.data_type()) {
            (Expr::Literal(value, _), data_type @ DataType::Timestamp(..)) => {
                value.cast_to(data_type).and_then(|value| value.cast_to(&micros))
            }
            (Expr::Literal(value, _), DataType::Date32) => {
                value.cast_to(&DataType::Date32).and_then(|value| value.cast_to(&micros))
            }
            _ => return false,
        },
        _ => return false,
    };
    match moment {
        Ok(ScalarValue::TimestampMicrosecond(Some(micros), _)) => {
            micros.checked_mul(1_000).is_none()
        }
        _ => false,
    }
}

/// A date and a time of a day are a timestamp. Says whether they are.
pub(super) fn meet_time(date: &mut Expr, time: &mut Expr, schema: &DFSchema) -> bool {
    let is_date = matches!(date.get_type(schema), Ok(DataType::Date32 | DataType::Date64));
    let is_time = matches!(time.get_type(schema), Ok(DataType::Time32(_) | DataType::Time64(_)));
    if is_date && is_time {
        *date = cast(std::mem::take(date), DataType::Timestamp(TimeUnit::Microsecond, None));
        let micros = cast(std::mem::take(time), DataType::Time64(TimeUnit::Microsecond));
        *time = cast(cast(micros, DataType::Int64), DataType::Duration(TimeUnit::Microsecond));
    }
    is_date && is_time
}

/// Whether one is what is between two timestamps, and the other an interval.
pub(super) fn are_lengths(left: &Expr, right: &Expr, schema: &DFSchema) -> bool {
    use DataType::{Duration, Interval};
    let types = (left.get_type(schema), right.get_type(schema));
    matches!(types, (Ok(Duration(_)), Ok(Interval(_))) | (Ok(Interval(_)), Ok(Duration(_))))
}

/// What is between two timestamps is compared with an interval by its length: as an interval it
/// would be one of nanoseconds, which end after 292 years. Says whether it is.
pub(super) fn meet_lengths(
    left: &mut Expr,
    op: Operator,
    right: &mut Expr,
    schema: &DFSchema,
) -> bool {
    if !op.supports_propagation() || !are_lengths(left, right, schema) {
        return false;
    }
    for operand in [left, right] {
        let length = std::mem::take(operand);
        *operand = match length.get_type(schema) {
            Ok(DataType::Duration(unit)) => {
                let each = i128::from(per_second(TimeUnit::Nanosecond) / per_second(unit));
                let count = cast(cast(length, DataType::Int64), DataType::Decimal128(20, 0));
                count * lit(ScalarValue::Decimal128(Some(each), 10, 0))
            }
            _ => interval_order(length),
        };
    }
    true
}

/// The parts of moments and intervals that are made of others, or have another name there.
pub(super) fn part_of(call: &ScalarFunction, schema: &DFSchema) -> Option<Expr> {
    let [Expr::Literal(part, _), moment] = &call.args[..] else { return None };
    let part = part.try_as_str().flatten()?.to_lowercase();
    let of = |part: &str| {
        let args = vec![lit(part), moment.clone()];
        Expr::ScalarFunction(ScalarFunction::new_udf(call.func.clone(), args))
    };
    let years = |count: i32| match moment.get_type(schema) {
        Ok(DataType::Interval(_) | DataType::Duration(_)) => Some(of("year") / lit(count)),
        // There is no year 0, and no such century: that before the first one is -1.
        _ => when(of("year").gt(lit(0_i32)), (of("year") + lit(count - 1)) / lit(count))
            .otherwise(of("year") / lit(count) - lit(1_i32))
            .ok(),
    };
    match moment.get_type(schema) {
        Ok(DataType::Duration(unit)) => return part_of_duration(&part, moment, unit),
        Ok(DataType::Interval(_)) => match part.as_str() {
            "epoch" => return Some(seconds_of_interval(&of, moment)),
            "millisecond" | "milliseconds" => return Some(of_minute(&of, moment, 1_000_000)),
            "microsecond" | "microseconds" => return Some(of_minute(&of, moment, 1_000)),
            "nanosecond" | "nanoseconds" => return Some(of_minute(&of, moment, 1)),
            _ => {}
        },
        _ => {}
    }
    Some(match part.as_str() {
        "dayofweek" | "weekday" => of("dow"),
        "dayofmonth" => of("day"),
        "dayofyear" => of("doy"),
        "decade" | "decades" => of("year") / lit(10_i32),
        "century" | "centuries" => years(100)?,
        "millennium" | "millennia" => years(1_000)?,
        "yearweek" => of("isoyear") * lit(100_i32) + of("week"),
        "quarter" | "quarters" => match moment.get_type(schema) {
            Ok(DataType::Interval(_)) => of("month") / lit(3_i32) + lit(1_i32),
            _ => return None,
        },
        _ => return None,
    })
}

/// Seconds of an interval whose parts are `of` their names. A year has 365.25 days, and a month
/// that is left over 30.
fn seconds_of_interval(of: &impl Fn(&str) -> Expr, interval: &Expr) -> Expr {
    let parts = [
        ("year", 31_557_600.0),
        ("month", 2_592_000.0),
        ("day", 86_400.0),
        ("hour", 3_600.0),
        ("minute", 60.0),
    ];
    let rest = cast(of_minute(of, interval, 1_000), DataType::Float64) / lit(1e6);
    let of = |part: &str| cast(of(part), DataType::Float64);
    parts.into_iter().fold(rest, |sum, (part, each)| sum + of(part) * lit(each))
}

/// What an interval has beyond whole minutes, in units of so many nanoseconds. The borrowed
/// function counts nanoseconds in 32 bits, which end after two seconds.
fn of_minute(of: &impl Fn(&str) -> Expr, interval: &Expr, unit: i64) -> Expr {
    let nanoseconds = |n| lit(ScalarValue::Decimal128(Some(n), 15, 0));
    let of = |part: &str| cast(of(part), DataType::Int64);
    // Months and days may have another sign.
    let days = (of("year") * lit(12_i64) + of("month")) * lit(30_i64) + of("day");
    let days = cast(days, DataType::Decimal128(20, 0)) * nanoseconds(86_400_000_000_000);
    let time = interval_order(interval.clone()) - days;
    cast(time % nanoseconds(60_000_000_000), DataType::Int64) / lit(unit)
}

/// The parts of what is between two timestamps: days, and what is left over of them. The borrowed
/// function makes nanoseconds of it, which end after 292 years.
fn part_of_duration(part: &str, duration: &Expr, unit: TimeUnit) -> Option<Expr> {
    let second = per_second(unit);
    let count = cast(duration.clone(), DataType::Int64);
    let whole = |seconds: i64| count.clone() / lit(seconds * second);
    let of_minute = |each: i64| count.clone() % lit(60 * second) * lit(each) / lit(second);
    let part = match part {
        "epoch" => {
            // In two parts, of which each is exact as a double.
            let rest = cast(count.clone() % lit(second), DataType::Float64);
            return Some(cast(whole(1), DataType::Float64) + rest / lit(second as f64));
        }
        "day" | "days" => whole(86_400),
        "hour" | "hours" => whole(3_600) % lit(24_i64),
        "minute" | "minutes" => whole(60) % lit(60_i64),
        "second" | "seconds" => whole(1) % lit(60_i64),
        "millisecond" | "milliseconds" => of_minute(1_000),
        "microsecond" | "microseconds" => of_minute(1_000_000),
        _ => return None,
    };
    Some(cast(part, DataType::Int32))
}

/// Casts between timestamps and numbers, which are seconds whatever a timestamp counts. Says
/// whether there is one.
fn count_seconds(expr: &mut Expr, schema: &DFSchema) -> bool {
    let (operand, field, lenient) = match expr {
        Expr::Cast(cast) => (&mut cast.expr, &cast.field, false),
        Expr::TryCast(cast) => (&mut cast.expr, &cast.field, true),
        _ => return false,
    };
    let Ok(from) = operand.get_type(schema) else { return false };
    let to = field.data_type().clone();
    let cast_to = |expr: Expr, to| if lenient { try_cast(expr, to) } else { cast(expr, to) };
    match (&from, &to) {
        (DataType::Timestamp(..), to) if to.is_numeric() => {
            **operand = to_seconds(std::mem::take(operand.as_mut()));
        }
        (from, DataType::Timestamp(_, zone)) if from.is_integer() => {
            let seconds = DataType::Timestamp(TimeUnit::Second, zone.clone());
            let count = cast_to(std::mem::take(operand.as_mut()), DataType::Int64);
            // One cast more is one to the same type, which the next look at it does not change.
            **operand = cast_to(count, seconds);
        }
        (from, DataType::Timestamp(unit, _)) if from.is_numeric() => {
            let seconds = cast_to(std::mem::take(operand.as_mut()), seconds_type(*unit));
            *expr = from_seconds(seconds, to, lenient);
        }
        _ => return false,
    }
    true
}

/// Casts to timestamps of a coarser unit, which are the nearest ones. Says whether there is one.
fn round_moment(expr: &mut Expr, schema: &DFSchema) -> bool {
    let (operand, field, lenient) = match expr {
        Expr::Cast(cast) => (&mut cast.expr, &cast.field, false),
        Expr::TryCast(cast) => (&mut cast.expr, &cast.field, true),
        _ => return false,
    };
    let Ok(from) = operand.get_type(schema) else { return false };
    let DataType::Timestamp(unit, zone) = field.data_type() else { return false };
    let Some(finer) = finer_unit(&from, field.data_type()) else { return false };
    let moments = std::mem::take(operand.as_mut());
    // What is no timestamp yet becomes one as the cast says.
    let moments = match (from.is_string(), DataType::Timestamp(finer, zone.clone())) {
        (true, fine) if lenient => try_cast(moments, fine),
        (true, fine) => cast(moments, fine),
        (false, _) => moments,
    };
    **operand = coarser(moments, *unit);
    true
}

/// Casts to and from moments that mean more than the borrowed ones. Says whether there is one.
///
/// # Errors
/// As [`read_constant`].
pub(super) fn cast_moment(expr: &mut Expr, schema: &DFSchema) -> Result<bool> {
    Ok(read_constant(expr)?
        || count_seconds(expr, schema)
        || cast_by_utc(expr, schema)
        || round_moment(expr, schema))
}

/// Casts of constants that are texts to moments, which the borrowed rules would read as arrow does.
/// Says whether there is one that they would read otherwise than the engine.
///
/// # Errors
/// When one is no time of a day.
pub(super) fn read_constant(expr: &mut Expr) -> Result<bool> {
    let (operand, field, lenient) = match expr {
        Expr::Cast(cast) => (&mut cast.expr, &cast.field, false),
        Expr::TryCast(cast) => (&mut cast.expr, &cast.field, true),
        _ => return Ok(false),
    };
    let text = match operand.as_ref() {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    };
    match (text, field.data_type()) {
        (Some(text), DataType::Timestamp(..)) => match with_seconds(text) {
            Cow::Owned(text) => **operand = lit(text),
            Cow::Borrowed(_) => return Ok(false),
        },
        (Some(text), DataType::Interval(_)) => match in_units(text) {
            Some(units) => **operand = lit(units),
            None => return Ok(false),
        },
        (Some(text), DataType::Time32(_) | DataType::Time64(_)) if !is_time(text) => {
            if !lenient {
                return plan_err!("{}", not_a_time(text));
            }
            **operand = lit(ScalarValue::Utf8(None));
        }
        _ => return Ok(false),
    }
    Ok(true)
}
