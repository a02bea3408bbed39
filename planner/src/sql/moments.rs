//! Moments of different types that meet.
//!
//! The borrowed coercion makes nanoseconds of dates and texts that meet timestamps, and of the
//! timestamps: those hold the years from 1677 to 2262 only. Here dates and texts become what the
//! finest of the timestamps is. Nanoseconds that meet a constant beyond their years are compared
//! as microseconds: the constant is far from them all.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{Expr, ExprSchemable, cast, lit};

/// What operands of these types are cast to, those that need it. Texts are moments where they are
/// `compared`.
pub(super) fn targets(types: &[Option<DataType>], compared: bool) -> Vec<Option<DataType>> {
    let stamps = types.iter().flatten().filter_map(|data_type| match data_type {
        DataType::Timestamp(unit, zone) => Some((unit, zone)),
        _ => None,
    });
    let Some((_, zone)) = stamps.clone().max_by_key(|(_, zone)| zone.is_some()) else {
        return vec![None; types.len()];
    };
    let finest = stamps.map(|(unit, _)| *unit).max().unwrap_or(TimeUnit::Microsecond);
    let target = |data_type: &Option<DataType>| match data_type.as_ref()? {
        DataType::Date32 | DataType::Date64 => {
            Some(DataType::Timestamp(finest, zone.as_ref().map(|_| "+00:00".into())))
        }
        text if compared && text.is_string() => {
            Some(DataType::Timestamp(finest.max(TimeUnit::Microsecond), zone.clone()))
        }
        _ => None,
    };
    types.iter().map(target).collect()
}

/// Casts nanoseconds to microseconds where they are compared with a constant that is none of
/// theirs. Says whether they are.
pub(super) fn meet_far_constant(operands: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let is_fine = |operand: &Expr| {
        matches!(operand.get_type(schema), Ok(DataType::Timestamp(TimeUnit::Nanosecond, _)))
    };
    if !operands.iter().any(|o| is_fine(o)) || !operands.iter().any(|o| is_far_constant(o)) {
        return false;
    }
    for operand in operands.iter_mut().filter(|operand| is_fine(operand)) {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
        **operand = cast(std::mem::take(*operand), data_type);
    }
    true
}

/// Whether an expression is a constant moment that has no nanoseconds.
pub(super) fn is_far_constant(expr: &Expr) -> bool {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let moment = match expr {
        Expr::Literal(value, _) => value.cast_to(&micros),
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

/// The parts of moments that are made of others, or have another name there.
pub(super) fn part_of(call: &ScalarFunction) -> Option<Expr> {
    let [Expr::Literal(part, _), moment] = &call.args[..] else { return None };
    let part = part.try_as_str().flatten()?.to_lowercase();
    let of = |part: &str| {
        let args = vec![lit(part), moment.clone()];
        Expr::ScalarFunction(ScalarFunction::new_udf(call.func.clone(), args))
    };
    Some(match part.as_str() {
        "dayofweek" | "weekday" => of("dow"),
        "dayofmonth" => of("day"),
        "dayofyear" => of("doy"),
        "decade" | "decades" => of("year") / lit(10_i32),
        "century" | "centuries" => (of("year") + lit(99_i32)) / lit(100_i32),
        "millennium" | "millennia" => (of("year") + lit(999_i32)) / lit(1_000_i32),
        "yearweek" => of("isoyear") * lit(100_i32) + of("week"),
        _ => return None,
    })
}

/// AT TIME ZONE keeps the precision of a timestamp, which the binder makes nanoseconds of. Says
/// whether it does.
pub(super) fn keep_precision(expr: &mut Expr, schema: &DFSchema) -> bool {
    let Expr::Cast(to) = expr else { return false };
    let (DataType::Timestamp(TimeUnit::Nanosecond, Some(zone)), Ok(DataType::Timestamp(unit, _))) =
        (to.field.data_type(), to.expr.get_type(schema))
    else {
        return false;
    };
    // The zone of a type that is written as such.
    if &**zone == "+00:00" || unit == TimeUnit::Nanosecond {
        return false;
    }
    let target = DataType::Timestamp(unit, Some(zone.clone()));
    *expr = cast(std::mem::take(to.expr.as_mut()), target);
    true
}

/// An integer that is cast to a timestamp is a number of seconds, whatever a timestamp counts.
pub(super) fn seconds_of(expr: &mut Expr, schema: &DFSchema) -> bool {
    let (operand, field) = match expr {
        Expr::Cast(cast) => (&mut cast.expr, &cast.field),
        Expr::TryCast(cast) => (&mut cast.expr, &cast.field),
        _ => return false,
    };
    let DataType::Timestamp(TimeUnit::Microsecond, zone) = field.data_type() else { return false };
    if !operand.get_type(schema).is_ok_and(|data_type| data_type.is_integer()) {
        return false;
    }
    let seconds = DataType::Timestamp(TimeUnit::Second, zone.clone());
    **operand = cast(cast(std::mem::take(operand.as_mut()), DataType::Int64), seconds);
    true
}
