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
        Relation::Aggregate { input, keys, calls } => aggregate(run(input, tables)?, keys, calls),
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

fn aggregate(rows: Vec<Row>, keys: &[usize], calls: &[Call]) -> Result<Vec<Row>, Failure> {
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
        for call in calls {
            key.push(call_over(call, &members)?);
        }
        Ok(key)
    };
    groups.into_iter().map(result).collect()
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
    let values: Vec<&Value> = members.map(|row| &row[column]).filter(|v| !v.is_null()).collect();
    let best = |wanted: Ordering| {
        let better = |a: &&Value, b: &&Value| a.compare(b) == wanted;
        values.iter().copied().reduce(|a, b| if better(&b, &a) { b } else { a })
    };
    let found = match call.function {
        Function::Count => return Ok(Value::Int(values.len() as i128)),
        Function::Min => best(Ordering::Less).cloned(),
        Function::Max => best(Ordering::Greater).cloned(),
        Function::Sum if values.is_empty() => None,
        Function::Sum => Some(sum(&values, &call.output)?),
    };
    Ok(found.unwrap_or(Value::Null))
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
