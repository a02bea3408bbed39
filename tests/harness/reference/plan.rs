//! Relational operators over vectors of rows.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use gristmill_engine::expr::Expr;

use super::expr::{Failure, evaluate};
use super::value::{Row, Value};

/// A relation; every node knows only its inputs.
#[derive(Debug, Clone)]
pub enum Relation {
    /// Table number `n` of the tables given to [`run`].
    Table(usize),
    /// Rows for which the predicate is true.
    Filter(Box<Relation>, Expr),
    /// One column per expression.
    Project(Box<Relation>, Vec<Expr>),
    /// Rows `[offset, offset + count)`.
    Limit(Box<Relation>, u64, Option<u64>),
    /// Rows in the order of the keys, ties in the order of the input.
    Sort(Box<Relation>, Vec<Key>),
    /// The rows of all inputs in turn.
    Union(Vec<Relation>),
    /// One row per distinct keys, or one row when there are no keys.
    Aggregate {
        /// Input.
        input: Box<Relation>,
        /// Columns to group by.
        keys: Vec<usize>,
        /// What to compute per group.
        calls: Vec<Call>,
    },
    /// One row per distinct keys, out of each group's rows in order.
    Ordered {
        /// Input.
        input: Box<Relation>,
        /// Columns to group by.
        keys: Vec<usize>,
        /// The order of a group's rows; ties in the order of the input.
        order: Vec<Key>,
        /// What to compute per group.
        calls: Vec<OrderedCall>,
    },
    /// Every row as often as a column says, without that column.
    Repeat(Box<Relation>, usize),
    /// A join on equality of columns.
    Join {
        /// What the join gives.
        on: JoinOn,
        /// The input whose rows come first in pairs.
        left: Box<Relation>,
        /// The other one.
        right: Box<Relation>,
    },
}

/// A sort key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Column.
    pub column: usize,
    /// From great to small.
    pub descending: bool,
    /// NULL before all values.
    pub nulls_first: bool,
}

/// An aggregate over one column, or over rows.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which.
    pub function: Function,
    /// Its argument; `None` for `count(*)`.
    pub column: Option<usize>,
    /// Boolean column: only rows where it is true count.
    pub filter: Option<usize>,
    /// What decides which row is first or last; ties by the order of the input.
    pub order: Vec<Key>,
    /// Type of the argument.
    pub input: DataType,
    /// Type of the result.
    pub output: DataType,
}

/// Aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `count`
    Count,
    /// `sum`
    Sum,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `avg` of integers and decimals
    Average,
    /// `bit_and`
    BitAnd,
    /// `bit_or`
    BitOr,
    /// `bit_xor`
    BitXor,
    /// `first_value`
    First,
    /// `last_value`
    Last,
}

/// An aggregate of a group's rows in order.
#[derive(Debug, Clone)]
pub struct OrderedCall {
    /// Which.
    pub function: OrderedFunction,
    /// Its argument.
    pub column: usize,
    /// Boolean column: only rows where it is true count.
    pub filter: Option<usize>,
}

/// Aggregates of rows in order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OrderedFunction {
    /// The value at a part of the way, between two where none is there.
    PercentileCont(f64),
    /// The first value at or behind a part of all values.
    PercentileDisc(f64),
    /// The value of a row, from 1 on or from the end, NULLs counted.
    Nth(i64),
    /// Strings put together, with `-` between them.
    Concat,
}

/// Join kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Matching pairs.
    Inner,
    /// Matching pairs, and left rows without a match with NULLs.
    Left,
    /// Matching pairs, and right rows without a match with NULLs.
    Right,
    /// Matching pairs, and the rows of both sides without a match.
    Full,
    /// As `Left`; fails for several matches of a row.
    Single,
    /// Left rows with a match.
    Semi,
    /// Left rows without a match.
    Anti,
    /// Left rows and whether they have a match.
    Mark,
    /// Right rows with a match.
    RightSemi,
    /// Right rows without a match.
    RightAnti,
}

/// What a comparison with NULL comes to in a mark or anti join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// No match.
    NoMatch,
    /// The first key is that of IN: unknown, if the other keys and the condition hold.
    In,
    /// Unknown, as the whole condition.
    Any,
}

/// A join, but for its inputs.
#[derive(Debug, Clone)]
pub struct JoinOn {
    /// Which rows it gives.
    pub kind: Join,
    /// Columns of the left and the right input that are equal.
    pub keys: Vec<(usize, usize)>,
    /// What pairs must pass too.
    pub residual: Option<Expr>,
    /// What NULLs mean.
    pub nulls: Nulls,
    /// Columns of the left input.
    pub left_width: usize,
    /// Columns of the right input.
    pub right_width: usize,
}

/// The rows of a relation over the given tables.
///
/// # Errors
/// When an expression fails for a row it is evaluated on.
pub fn run(relation: &Relation, tables: &[Vec<Row>]) -> Result<Vec<Row>, Failure> {
    match relation {
        Relation::Table(number) => Ok(tables[*number].clone()),
        Relation::Filter(input, predicate) => {
            let mut kept = Vec::new();
            for row in run(input, tables)? {
                if matches!(evaluate(predicate, &row)?, Value::Bool(true)) {
                    kept.push(row);
                }
            }
            Ok(kept)
        }
        Relation::Project(input, exprs) => {
            let rows = run(input, tables)?;
            rows.iter().map(|row| exprs.iter().map(|e| evaluate(e, row)).collect()).collect()
        }
        Relation::Limit(input, offset, count) => {
            let rows = run(input, tables)?.into_iter().skip(*offset as usize);
            Ok(match count {
                Some(count) => rows.take(*count as usize).collect(),
                None => rows.collect(),
            })
        }
        Relation::Sort(input, keys) => {
            let mut rows = run(input, tables)?;
            rows.sort_by(|a, b| compare_rows(a, b, keys));
            Ok(rows)
        }
        Relation::Union(inputs) => {
            let all = inputs.iter().map(|input| run(input, tables));
            Ok(all.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Relation::Aggregate { input, keys, calls } => {
            let results = |key: &mut Row, members: &[Row]| {
                for call in calls {
                    key.push(call_over(call, members)?);
                }
                Ok(())
            };
            aggregate(run(input, tables)?, keys, results)
        }
        Relation::Ordered { input, keys, order, calls } => {
            let results = |key: &mut Row, members: &[Row]| {
                let mut members = members.to_vec();
                members.sort_by(|a, b| compare_rows(a, b, order));
                key.extend(calls.iter().map(|call| ordered_over(call, &members)));
                Ok(())
            };
            aggregate(run(input, tables)?, keys, results)
        }
        Relation::Repeat(input, count) => {
            let mut rows = Vec::new();
            for mut row in run(input, tables)? {
                if let Value::Int(count) = row.remove(*count) {
                    rows.extend((0..count).map(|_| row.clone()));
                }
            }
            Ok(rows)
        }
        Relation::Join { on, left, right } => join(on, &run(left, tables)?, &run(right, tables)?),
    }
}

/// Order of two rows by sort keys.
pub fn compare_rows(a: &Row, b: &Row, keys: &[Key]) -> Ordering {
    for key in keys {
        let (x, y) = (&a[key.column], &b[key.column]);
        let order = if x.is_null() || y.is_null() {
            x.compare_nulls(y, key.nulls_first)
        } else if key.descending {
            y.compare(x)
        } else {
            x.compare(y)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn aggregate(
    rows: Vec<Row>,
    keys: &[usize],
    results: impl Fn(&mut Row, &[Row]) -> Result<(), Failure>,
) -> Result<Vec<Row>, Failure> {
    let mut groups: Vec<(Row, Vec<Row>)> = Vec::new();
    if keys.is_empty() {
        groups.push((Vec::new(), Vec::new()));
    }
    for row in rows {
        let key: Row = keys.iter().map(|&k| row[k].clone()).collect();
        let same = |other: &Row| key.iter().zip(other).all(|(a, b)| a.same(b));
        match groups.iter_mut().find(|(other, _)| same(other)) {
            Some((_, members)) => members.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    let result = |(mut key, members): (Row, Vec<Row>)| {
        results(&mut key, &members)?;
        Ok(key)
    };
    groups.into_iter().map(result).collect()
}

fn ordered_over(call: &OrderedCall, members: &[Row]) -> Value {
    let members = members.iter().filter(|row| match call.filter {
        Some(filter) => matches!(row[filter], Value::Bool(true)),
        None => true,
    });
    let all: Vec<&Value> = members.map(|row| &row[call.column]).collect();
    let some: Vec<&Value> = all.iter().copied().filter(|value| !value.is_null()).collect();
    let found = match call.function {
        OrderedFunction::Nth(n) if n > 0 => all.get(n as usize - 1).copied(),
        OrderedFunction::Nth(n) => {
            all.len().checked_sub(n.unsigned_abs() as usize).map(|at| all[at])
        }
        OrderedFunction::PercentileDisc(fraction) => {
            let rank = (fraction * some.len() as f64).ceil() as usize;
            some.get(rank.saturating_sub(1)).copied()
        }
        OrderedFunction::PercentileCont(fraction) => {
            return percentile(&some, fraction).map_or(Value::Null, Value::Float);
        }
        OrderedFunction::Concat => {
            let texts = some.iter().map(|value| match value {
                Value::Text(text) => text.clone(),
                other => panic!("the text of {other:?}"),
            });
            let texts: Vec<String> = texts.collect();
            return if texts.is_empty() { Value::Null } else { Value::Text(texts.join("-")) };
        }
    };
    found.cloned().unwrap_or(Value::Null)
}

fn percentile(values: &[&Value], fraction: f64) -> Option<f64> {
    let number = |at: usize| match values.get(at) {
        Some(Value::Float(v)) => Some(*v),
        None => None,
        other => panic!("between {other:?}"),
    };
    let at = fraction * values.len().checked_sub(1)? as f64;
    let (low, high) = (number(at.floor() as usize)?, number(at.ceil() as usize)?);
    let part = at - at.floor();
    Some(if part == 0.0 || low == high { low } else { low + (high - low) * part })
}

/// An aggregate of some rows.
///
/// # Errors
/// When a sum does not fit its type.
pub fn call_over(call: &Call, members: &[Row]) -> Result<Value, Failure> {
    let passes = |row: &&Row| match call.filter {
        Some(filter) => matches!(row[filter], Value::Bool(true)),
        None => true,
    };
    let members = members.iter().filter(passes);
    let Some(column) = call.column else {
        return Ok(Value::Int(members.count() as i128));
    };
    if matches!(call.function, Function::First | Function::Last) {
        let mut rows: Vec<&Row> = members.collect();
        rows.sort_by(|a, b| compare_rows(a, b, &call.order));
        let row = if call.function == Function::First { rows.first() } else { rows.last() };
        return Ok(row.map_or(Value::Null, |row| row[column].clone()));
    }
    let values: Vec<&Value> = members.map(|row| &row[column]).filter(|v| !v.is_null()).collect();
    let best = |wanted: Ordering| {
        let better = |a: &&Value, b: &&Value| a.compare(b) == wanted;
        values.iter().copied().reduce(|a, b| if better(&b, &a) { b } else { a })
    };
    let found = match call.function {
        Function::Count => return Ok(Value::Int(values.len() as i128)),
        Function::Min => best(Ordering::Less).cloned(),
        Function::Max => best(Ordering::Greater).cloned(),
        _ if values.is_empty() => None,
        Function::Sum => Some(sum(&values, &call.output)?),
        Function::Average => Some(average(&values, call)),
        Function::BitAnd => Some(bits(&values, |a, b| a & b)),
        Function::BitOr => Some(bits(&values, |a, b| a | b)),
        Function::BitXor => Some(bits(&values, |a, b| a ^ b)),
        Function::First | Function::Last => None,
    };
    Ok(found.unwrap_or(Value::Null))
}

fn integer(value: &Value) -> i128 {
    match value {
        Value::Int(v) => *v,
        other => panic!("an integer, not {other:?}"),
    }
}

fn bits(values: &[&Value], op: impl Fn(i128, i128) -> i128) -> Value {
    let all = values.iter().map(|value| integer(value)).reduce(op);
    Value::Int(all.expect("there is a value"))
}

/// Of decimals with the digits of the result's type, those beyond cut off.
fn average(values: &[&Value], call: &Call) -> Value {
    let total: i128 = values.iter().map(|value| integer(value)).sum();
    match (&call.input, &call.output) {
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => {
            let unit = 10i128.pow((to - from) as u32);
            Value::Int(rounded_quotient(total * unit, values.len() as i128))
        }
        _ => Value::Float(total as f64 / values.len() as f64),
    }
}

/// A quotient by what is above zero, halves away from zero.
pub(super) fn rounded_quotient(value: i128, divisor: i128) -> i128 {
    (2 * value.abs() + divisor) / (2 * divisor) * value.signum()
}

fn sum(values: &[&Value], output: &DataType) -> Result<Value, Failure> {
    if *output == DataType::Float64 {
        let number = |v: &&Value| if let Value::Float(v) = v { *v } else { f64::NAN };
        return Ok(Value::Float(values.iter().map(number).sum()));
    }
    let mut total = 0i128;
    for value in values {
        let Value::Int(v) = value else { panic!("the sum of {value:?}") };
        total = total.checked_add(*v).ok_or(Failure::Certain)?;
    }
    let fits = match output {
        DataType::Int64 => i64::try_from(total).is_ok(),
        DataType::Decimal128(p, _) => total.unsigned_abs() < 10u128.pow(u32::from(*p)),
        other => panic!("a sum of type {other}"),
    };
    if fits { Ok(Value::Int(total)) } else { Err(Failure::Certain) }
}

fn join(on: &JoinOn, left: &[Row], right: &[Row]) -> Result<Vec<Row>, Failure> {
    use Join::{Anti, Full, Inner, Left, Mark, Right, RightAnti, RightSemi, Semi, Single};
    let mut out = Vec::new();
    let mut right_matched = vec![false; right.len()];
    let pair = |l: &Row, r: &Row| -> Row { l.iter().chain(r).cloned().collect() };
    let nothing = |width: usize| vec![Value::Null; width];
    for row in left {
        let (mut matches, mut unknown) = (0, false);
        for (other, right_matched) in right.iter().zip(&mut right_matched) {
            match matched(on, row, other)? {
                Some(true) => {
                    (matches, *right_matched) = (matches + 1, true);
                    if matches!(on.kind, Inner | Left | Right | Full | Single) {
                        out.push(pair(row, other));
                    }
                }
                Some(false) => {}
                None => unknown = true,
            }
        }
        let mark = match (matches, unknown) {
            (0, true) => Value::Null,
            _ => Value::Bool(matches > 0),
        };
        match on.kind {
            Single if matches > 1 => return Err(Failure::Certain),
            Left | Full | Single if matches == 0 => out.push(pair(row, &nothing(on.right_width))),
            Semi if matches > 0 => out.push(row.clone()),
            Anti if matches == 0 && !unknown => out.push(row.clone()),
            Mark => out.push(row.iter().cloned().chain([mark]).collect()),
            _ => {}
        }
    }
    for (row, matched) in right.iter().zip(right_matched) {
        match on.kind {
            Right | Full if !matched => out.push(pair(&nothing(on.left_width), row)),
            RightSemi if matched => out.push(row.clone()),
            RightAnti if !matched => out.push(row.clone()),
            _ => {}
        }
    }
    Ok(out)
}

/// Whether two rows match; `None` where it is unknown and that matters.
fn matched(on: &JoinOn, left: &Row, right: &Row) -> Result<Option<bool>, Failure> {
    let is_null = |&(l, r): &(usize, usize)| left[l].is_null() || right[r].is_null();
    let equal = |key: &(usize, usize)| !is_null(key) && left[key.0].same(&right[key.1]);
    let (first, others) = match on.nulls {
        Nulls::In => on.keys.split_at(1),
        _ => on.keys.split_at(0),
    };
    if !others.iter().all(equal) || first.iter().any(|key| !is_null(key) && !equal(key)) {
        return Ok(Some(false));
    }
    let passes = match &on.residual {
        Some(condition) => {
            let pair: Row = left.iter().chain(right).cloned().collect();
            evaluate(condition, &pair)?
        }
        None => Value::Bool(true),
    };
    Ok(match passes {
        Value::Bool(true) if first.iter().any(is_null) => None,
        Value::Bool(passes) => Some(passes),
        _ if on.nulls == Nulls::Any => None,
        _ => Some(false),
    })
}
