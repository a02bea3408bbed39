//! Expressions on one row.

use std::cmp::Ordering;

use arrow::datatypes::{DataType, i256};
use gristmill_engine::expr::{ArithmeticOp, CompareOp, Expr, Literal, MatchKind, Value as Exact};

use super::pattern;
use super::value::{Row, Value};

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The engine must report an error.
    Certain,
    /// Whether an error is reported depends on the order of conditions, which is free.
    Possible,
}

type Outcome = Result<Value, Failure>;

/// The value of `expr` for `row`.
///
/// # Errors
/// When evaluation fails: overflow, division by zero, a cast that does not fit.
///
/// # Panics
/// On functions and types that the tests do not use.
pub fn evaluate(expr: &Expr, row: &Row) -> Outcome {
    match expr {
        Expr::Column { index, .. } => Ok(row[*index].clone()),
        Expr::Literal(literal) => Ok(constant(literal)),
        Expr::Arithmetic { op, left, right, data_type } => {
            let (a, b) = (evaluate(left, row)?, evaluate(right, row)?);
            arithmetic(*op, (a, &left.data_type()), (b, &right.data_type()), data_type)
        }
        Expr::Compare { op, left, right } => {
            Ok(compare(*op, &evaluate(left, row)?, &evaluate(right, row)?))
        }
        Expr::And(terms) => connective(terms, row, false),
        Expr::Or(terms) => connective(terms, row, true),
        Expr::Not(e) => Ok(match evaluate(e, row)? {
            Value::Bool(v) => Value::Bool(!v),
            other => other,
        }),
        Expr::IsNull(e) => Ok(Value::Bool(evaluate(e, row)?.is_null())),
        Expr::Negate(e) => match evaluate(e, row)? {
            Value::Int(v) => fit(v.checked_neg(), &e.data_type()),
            Value::Float(v) => Ok(Value::Float(-v)),
            other => Ok(other),
        },
        Expr::Cast { input, data_type, lenient } => {
            match cast(evaluate(input, row)?, &input.data_type(), data_type) {
                Err(_) if *lenient => Ok(Value::Null),
                outcome => outcome,
            }
        }
        Expr::Case { branches, otherwise, .. } => {
            for (when, then) in branches {
                if matches!(evaluate(when, row)?, Value::Bool(true)) {
                    return evaluate(then, row);
                }
            }
            otherwise.as_ref().map_or(Ok(Value::Null), |e| evaluate(e, row))
        }
        Expr::InList { input, list, negated } => {
            let needle = evaluate(input, row)?;
            let list: Vec<Value> = list.iter().map(constant).collect();
            Ok(in_list(&needle, &list, *negated))
        }
        Expr::Match { kind, input, pattern, escape, negated } => {
            match (evaluate(input, row)?, evaluate(pattern, row)?) {
                (Value::Text(text), Value::Text(pattern)) => {
                    let ignore_case = *kind == MatchKind::ILike;
                    let escape = escape.unwrap_or('\\');
                    let found = pattern::matches(&text, &pattern, escape, ignore_case);
                    Ok(Value::Bool(found != *negated))
                }
                _ => Ok(Value::Null),
            }
        }
        Expr::Call { function, .. } => panic!("the tests do not call {}", function.name()),
    }
}

/// The value of a constant.
fn constant(literal: &Literal) -> Value {
    match &literal.value {
        Exact::Null => Value::Null,
        Exact::Bool(v) => Value::Bool(*v),
        Exact::Int(v) => Value::Int((*v).into()),
        Exact::UInt(v) => Value::Int((*v).into()),
        Exact::Decimal(v) => Value::Int(*v),
        Exact::Float(v) => Value::Float(*v),
        Exact::Text(v) => Value::Text(v.clone()),
        other => panic!("the tests do not use {other:?}"),
    }
}

fn in_list(needle: &Value, list: &[Value], negated: bool) -> Value {
    if list.is_empty() {
        return Value::Bool(negated);
    }
    if needle.is_null() {
        return Value::Null;
    }
    if list.iter().any(|item| !item.is_null() && item.same(needle)) {
        return Value::Bool(!negated);
    }
    if list.iter().any(Value::is_null) { Value::Null } else { Value::Bool(negated) }
}

/// AND (decided by false) and OR (decided by true). A term that fails may or may not be reached
/// when another decides, or is NULL, which decides in a filter.
fn connective(terms: &[Expr], row: &Row, decisive: bool) -> Outcome {
    let outcomes: Vec<Outcome> = terms.iter().map(|term| evaluate(term, row)).collect();
    let decides = |o: &Outcome| matches!(o, Ok(Value::Bool(v)) if *v == decisive);
    let is_null = |o: &Outcome| matches!(o, Ok(Value::Null));
    for outcome in &outcomes {
        if decides(outcome) {
            return Ok(Value::Bool(decisive));
        }
        if let Err(failure) = outcome {
            let free = outcomes.iter().any(|o| decides(o) || is_null(o));
            return Err(if free { Failure::Possible } else { *failure });
        }
    }
    if outcomes.iter().any(is_null) { Ok(Value::Null) } else { Ok(Value::Bool(!decisive)) }
}

fn compare(op: CompareOp, a: &Value, b: &Value) -> Value {
    match op {
        CompareOp::Distinct => return Value::Bool(!a.same(b)),
        CompareOp::NotDistinct => return Value::Bool(a.same(b)),
        _ if a.is_null() || b.is_null() => return Value::Null,
        _ => {}
    }
    let order = a.compare(b);
    Value::Bool(match op {
        CompareOp::Equal => order == Ordering::Equal,
        CompareOp::NotEqual => order != Ordering::Equal,
        CompareOp::Less => order == Ordering::Less,
        CompareOp::LessOrEqual => order != Ordering::Greater,
        CompareOp::Greater => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

fn scale_of(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal64(_, s) | DataType::Decimal128(_, s) => i32::from(*s),
        _ => 0,
    }
}

fn arithmetic(
    op: ArithmeticOp,
    (a, a_type): (Value, &DataType),
    (b, b_type): (Value, &DataType),
    to: &DataType,
) -> Outcome {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
        (Value::Float(a), Value::Float(b)) => Ok(Value::Float(match op {
            ArithmeticOp::Add => a + b,
            ArithmeticOp::Subtract => a - b,
            ArithmeticOp::Multiply => a * b,
            ArithmeticOp::Divide => a / b,
            ArithmeticOp::Modulo => a % b,
        })),
        (Value::Int(a), Value::Int(b)) => {
            exact(op, (a, scale_of(a_type)), (b, scale_of(b_type)), to)
        }
        (a, b) => panic!("{a:?} {op} {b:?}"),
    }
}

/// Exact in 256 bits; a quotient is cut off.
fn exact(op: ArithmeticOp, a: (i128, i32), b: (i128, i32), to: &DataType) -> Outcome {
    let scale = scale_of(to);
    let aligned = |(v, s): (i128, i32)| shift(i256::from_i128(v), scale - s);
    let both = || aligned(a).zip(aligned(b));
    let result = match op {
        ArithmeticOp::Add => both().and_then(|(a, b)| a.checked_add(b)),
        ArithmeticOp::Subtract => both().and_then(|(a, b)| a.checked_sub(b)),
        ArithmeticOp::Multiply => i256::from_i128(a.0).checked_mul(i256::from_i128(b.0)),
        ArithmeticOp::Divide => shift(i256::from_i128(a.0), scale - a.1 + b.1)
            .and_then(|a| a.checked_div(i256::from_i128(b.0))),
        ArithmeticOp::Modulo => both().and_then(|(a, b)| a.checked_rem(b)),
    };
    fit(result.and_then(i256::to_i128), to)
}

/// `value × 10^places`, which is not negative.
fn shift(value: i256, places: i32) -> Option<i256> {
    let places = u32::try_from(places).ok()?;
    value.checked_mul(i256::from_i128(10).checked_pow(places)?)
}

/// The value, if it fits the type.
fn fit(value: Option<i128>, data_type: &DataType) -> Outcome {
    let value = value.ok_or(Failure::Certain)?;
    let fits = match data_type {
        DataType::Int8 => i8::try_from(value).is_ok(),
        DataType::Int16 => i16::try_from(value).is_ok(),
        DataType::Int32 | DataType::Date32 => i32::try_from(value).is_ok(),
        DataType::Int64 => i64::try_from(value).is_ok(),
        DataType::Decimal64(p, _) | DataType::Decimal128(p, _) => {
            value.unsigned_abs() < 10u128.pow(u32::from(*p))
        }
        other => panic!("the tests do not compute {other}"),
    };
    if fits { Ok(Value::Int(value)) } else { Err(Failure::Certain) }
}

fn cast(value: Value, from: &DataType, to: &DataType) -> Outcome {
    let places = scale_of(to) - scale_of(from);
    match (value, to) {
        (Value::Null, _) => Ok(Value::Null),
        (value, _) if from == to => Ok(value),
        (Value::Int(v), DataType::Float64) => {
            Ok(Value::Float(v as f64 / 10f64.powi(scale_of(from))))
        }
        (Value::Int(v), DataType::Boolean) => Ok(Value::Bool(v != 0)),
        (Value::Int(v), DataType::Utf8View) => Ok(Value::Text(v.to_string())),
        (Value::Int(v), _) if places < 0 => fit(Some(lower_scale(v, -places, to)), to),
        (Value::Int(v), _) => fit(shift(i256::from_i128(v), places).and_then(i256::to_i128), to),
        (Value::Bool(v), _) => Ok(Value::Int(v.into())),
        (Value::Float(v), DataType::Int32 | DataType::Int64) => fit(as_integer(v.trunc()), to),
        (Value::Float(v), _) => fit(as_integer((v * 10f64.powi(scale_of(to))).round()), to),
        (Value::Text(text), _) => fit(whole_number(&text), to),
    }
}

/// Decimals round half away from zero, integers cut the fraction off.
fn lower_scale(value: i128, places: i32, to: &DataType) -> i128 {
    let Some(divisor) = 10i128.checked_pow(places.unsigned_abs()) else { return 0 };
    let (quotient, rest) = (value / divisor, (value % divisor).abs());
    let rounds = scale_of(to) > 0 || to.is_decimal();
    if rounds && rest >= divisor - rest { quotient + value.signum() } else { quotient }
}

fn as_integer(value: f64) -> Option<i128> {
    (value.abs() < 1e38).then_some(value as i128)
}

/// Digits with a sign at most; `parse` takes the same except for the empty rest.
fn whole_number(text: &str) -> Option<i128> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
