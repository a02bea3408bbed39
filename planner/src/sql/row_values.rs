//! Rows as values, `(a, b)`, in comparisons: these become comparisons of their members.
//!
//! * `(a, b) = (x, y)` is `a = x AND b = y`; `<` and its kin look at the first members that differ.
//!   IN a list is an OR of equalities, BETWEEN two comparisons.
//! * `(a, b) IN (Q)` as a condition of WHERE is EXISTS of a row of Q that is equal; NOT IN is NOT
//!   EXISTS of one that is equal or may be. Anywhere else it is a CASE that looks for rows that are
//!   equal, then for those that may be, and is NULL for the latter.
//!
//! Sound: NULLs are those of the standard, as far as members decide. Members move into the query
//! of the EXISTS, whose only table has names that no member can mean; what counts the rows of the
//! query around, aggregates and window functions, may not move, and `unsupported` refuses what is
//! left: among it members like `random()` that would be written, and drawn, more than once.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, Select, SetExpr, UnaryOperator, Value, VisitMut,
    visit_expressions,
};

use super::level::{OnLevel, visit_level};
use super::syntax::{balanced, binary, case, name_query, nested};

/// The table of rows that are looked through.
const ROWS: &str = "!rows";

/// Makes comparisons of members of one of rows.
pub(super) fn compare_members(expr: &mut Expr) {
    let compared = match expr {
        Expr::BinaryOp { left, op, right } => match pair(left, right) {
            Some((left, right)) => compared(left, op, right),
            None => return,
        },
        Expr::IsDistinctFrom(left, right) => {
            pair(left, right).map(|(left, right)| negated(same(left, right)))
        }
        Expr::IsNotDistinctFrom(left, right) => pair(left, right).map(|(l, r)| same(l, r)),
        Expr::InList { expr, list, negated: is_negated } => {
            let equal = list.iter().map(|row| pair(expr, row).map(|(l, r)| equal(l, r)));
            let found = equal.collect::<Option<Vec<_>>>().filter(|equal| !equal.is_empty());
            let found = found.map(any_of);
            found.map(|found| if *is_negated { negated(found) } else { found })
        }
        Expr::Between { expr, negated: is_negated, low, high } => {
            match (pair(low, expr), pair(expr, high)) {
                (Some((low, row)), Some((_, high))) => {
                    let order = BinaryOperator::LtEq;
                    let bounds = [compared(low, &order, row), compared(row, &order, high)];
                    let within = bounds.into_iter().collect::<Option<Vec<_>>>().map(all_of);
                    within.map(|within| if *is_negated { negated(within) } else { within })
                }
                _ => None,
            }
        }
        _ => None,
    };
    if let Some(compared) = compared
        && !(writes_members_twice(expr) && draws(expr))
    {
        *expr = compared;
    }
}

/// Whether members of a row in a comparison stand more than once in what becomes of it.
fn writes_members_twice(expr: &Expr) -> bool {
    use BinaryOperator::{Eq, NotEq};
    !matches!(
        expr,
        Expr::BinaryOp { op: Eq | NotEq, .. }
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
    )
}

/// Whether a borrowed function is called that gives something else each time.
fn draws(expr: &Expr) -> bool {
    visit_expressions(expr, |e| match e {
        Expr::Function(call) if is_drawn(&call.name.to_string()) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

fn is_drawn(name: &str) -> bool {
    ["random", "uuid"].iter().any(|drawn| name.eq_ignore_ascii_case(drawn))
}

/// Whether it asks for a row among those of a subquery.
pub(super) fn is_row_in_query(expr: &Expr) -> bool {
    matches!(expr, Expr::InSubquery { expr, .. } if members(expr).is_some())
}

/// What is wrong with a comparison of rows that is left.
pub(super) fn what_is_left(expr: &Expr) -> Option<&'static str> {
    const LENGTHS: &str = "rows of different lengths, or a row and another value, in a comparison";
    const DRAWN: &str = "random() or uuid() in a row that is compared";
    let is_row = |e: &Expr| members(e).is_some();
    match expr {
        Expr::InList { expr: row, .. } | Expr::Between { expr: row, .. }
            if is_row(row) && draws(expr) =>
        {
            Some(DRAWN)
        }
        Expr::BinaryOp { left, op, right }
            if is_comparison(op) && is_row(left) && is_row(right) && draws(expr) =>
        {
            Some(DRAWN)
        }
        Expr::InSubquery { expr, .. } if is_row(expr) => {
            Some("IN (query) of a row with function calls, outside of WHERE and ON")
        }
        Expr::InList { expr, list, .. } if is_row(expr) && list.iter().any(is_row) => Some(LENGTHS),
        Expr::BinaryOp { left, op, right } if is_row(left) && is_row(right) => {
            Some(if is_comparison(op) { LENGTHS } else { "rows in this operation" })
        }
        _ => None,
    }
}

/// Makes EXISTS of what asks for rows among those of subqueries, in the clauses of a SELECT.
pub(super) fn look_up_in_select(select: &mut Select) {
    let mut open: Vec<&mut Expr> = select.selection.iter_mut().collect();
    while let Some(expr) = open.pop() {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                open.extend([left.as_mut(), right.as_mut()]);
            }
            Expr::Nested(inner) => open.push(inner),
            Expr::InSubquery { .. } => look_up(expr, existence),
            _ => {}
        }
    }
    visit_level(&mut select.selection, &mut LookUp { takes_calls: true });
    visit_level(&mut select.from, &mut LookUp { takes_calls: true });
    look_up_in(select);
}

/// The same anywhere else, where members may count the rows of a group.
pub(super) fn look_up_in(node: &mut impl VisitMut) {
    visit_level(node, &mut LookUp { takes_calls: false });
}

/// Looks through the expressions of one query; those below have been looked through before.
struct LookUp {
    takes_calls: bool,
}

impl OnLevel for LookUp {
    fn enter(&mut self, expr: &mut Expr) {
        if let Expr::InSubquery { expr: row, .. } = expr
            && (self.takes_calls || !has_calls(row))
        {
            look_up(expr, mark);
        }
    }
}

fn has_calls(expr: &Expr) -> bool {
    visit_expressions(expr, |e| match e {
        Expr::Function(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// What the rows of a subquery have to do with a row: an equality, and whether it is of NOT IN.
type Existence = fn(Box<Query>, Expr, bool) -> Option<Expr>;

fn look_up(expr: &mut Expr, existence: Existence) {
    let Expr::InSubquery { expr: row, subquery, negated } = expr else { return };
    let Some(row) = members(row) else { return };
    let column = |number| {
        let name = [ROWS.to_string(), column_name(number)];
        Expr::CompoundIdentifier(name.map(|part| Ident::with_quote('"', part)).into())
    };
    let columns: Vec<Expr> = (0..row.len()).map(column).collect();
    let names: Vec<String> = (0..row.len()).map(|n| format!("\"{}\"", column_name(n))).collect();
    let mut query = subquery.clone();
    name_query(&mut query, &format!("\"{ROWS}\"({})", names.join(", ")));
    if let Some(exists) = existence(query, equal(&columns, row), *negated) {
        *expr = exists;
    }
}

fn column_name(number: usize) -> String {
    format!("!{number}")
}

/// As a condition, where NULL and FALSE are one.
fn existence(query: Box<Query>, equal: Expr, negated: bool) -> Option<Expr> {
    let equal = if negated { Expr::IsNotFalse(Box::new(nested(equal))) } else { equal };
    exists(query, equal, negated)
}

/// As a value.
fn mark(query: Box<Query>, equal: Expr, negated: bool) -> Option<Expr> {
    let unknown = Expr::IsNull(Box::new(nested(equal.clone())));
    let known = exists(query.clone(), equal, false)?;
    let unknown = exists(query, unknown, false)?;
    let boolean = |value| Expr::value(Value::Boolean(value));
    let branches = vec![(known, boolean(!negated)), (unknown, Expr::value(Value::Null))];
    Some(case(branches, boolean(negated)))
}

fn exists(mut subquery: Box<Query>, condition: Expr, negated: bool) -> Option<Expr> {
    let SetExpr::Select(select) = subquery.body.as_mut() else { return None };
    select.selection = Some(condition);
    Some(Expr::Exists { subquery, negated })
}

/// The members of a row.
fn members(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Tuple(members) if !members.is_empty() => Some(members),
        _ => None,
    }
}

fn pair<'a>(left: &'a Expr, right: &'a Expr) -> Option<(&'a [Expr], &'a [Expr])> {
    let pair = (members(left)?, members(right)?);
    (pair.0.len() == pair.1.len()).then_some(pair)
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    let strict = match op {
        BinaryOperator::Eq => return Some(equal(left, right)),
        BinaryOperator::NotEq => return Some(any_of(each(left, op, right))),
        BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
        BinaryOperator::Gt | BinaryOperator::GtEq => BinaryOperator::Gt,
        _ => return None,
    };
    let mut pairs = left.iter().zip(right).rev();
    let (left, right) = pairs.next()?;
    let last = binary(left.clone(), op.clone(), right.clone());
    // a < x OR (a = x AND rest)
    Some(pairs.fold(last, |rest, (left, right)| {
        let first = binary(left.clone(), strict.clone(), right.clone());
        let equal = binary(left.clone(), BinaryOperator::Eq, right.clone());
        any_of(vec![first, all_of(vec![equal, rest])])
    }))
}

fn each(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Vec<Expr> {
    let pairs = left.iter().zip(right);
    pairs.map(|(left, right)| binary(left.clone(), op.clone(), right.clone())).collect()
}

fn equal(left: &[Expr], right: &[Expr]) -> Expr {
    all_of(each(left, &BinaryOperator::Eq, right))
}

fn same(left: &[Expr], right: &[Expr]) -> Expr {
    let pairs = left.iter().zip(right);
    let same = pairs.map(|(left, right)| {
        nested(Expr::IsNotDistinctFrom(Box::new(left.clone()), Box::new(right.clone())))
    });
    all_of(same.collect())
}

fn all_of(terms: Vec<Expr>) -> Expr {
    nested(balanced(terms, &BinaryOperator::And))
}

fn any_of(terms: Vec<Expr>) -> Expr {
    nested(balanced(terms, &BinaryOperator::Or))
}

fn negated(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) }
}
