//! The share of rows that conditions leave.
//!
//! Bounds on one column are taken together, so that `d >= a AND d < b` is one range. Conditions on
//! several columns are rarely independent: the most selective counts fully, the next with its
//! square root, and so on.

use std::collections::BTreeMap;

use datafusion_common::DFSchema;
use datafusion_expr::expr::{BinaryExpr, InList, Like};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, Operator};

use super::number::number_of_scalar;
use super::profile::{Profile, column_profile, distinct_of};
use crate::functions::meant;

/// A range of which one end is known only.
const HALF_OPEN: f64 = 0.33;
/// `LIKE` with something to look for.
const LIKE: f64 = 0.1;
/// `a < b` of two columns.
const COMPARE: f64 = 0.5;
/// Equality with something computed.
const EQUAL: f64 = 0.1;
/// Anything else.
const UNKNOWN: f64 = 0.25;

/// The share of a node's rows for which all conditions hold.
pub(crate) fn selectivity(conditions: &[&Expr], schema: &DFSchema, profile: &Profile) -> f64 {
    let mut shares = Vec::new();
    let mut ranges: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for condition in conditions {
        match bound(condition, schema) {
            Some((column, op, value)) if profile.columns.get(column).is_some() => {
                let range = ranges.entry(column).or_insert((f64::NEG_INFINITY, f64::INFINITY));
                match op {
                    Operator::Gt | Operator::GtEq => range.0 = range.0.max(value),
                    _ => range.1 = range.1.min(value),
                }
            }
            _ => shares.push(one(condition, schema, profile)),
        }
    }
    shares.extend(ranges.into_iter().map(|(column, range)| range_share(column, range, profile)));
    combine(shares)
}

/// The share that is left when conditions of these shares are applied together.
fn combine(mut shares: Vec<f64>) -> f64 {
    shares.sort_by(f64::total_cmp);
    let mut exponent = 1.0;
    let mut all = 1.0;
    for share in shares {
        all *= share.clamp(0.0, 1.0).powf(exponent);
        exponent /= 2.0;
    }
    all
}

/// `column < constant` and its relatives, either way round.
fn bound(condition: &Expr, schema: &DFSchema) -> Option<(usize, Operator, f64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let is_bound = matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
    let (column, op, constant) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(constant, _)) => (column, *op, constant),
        (Expr::Literal(constant, _), Expr::Column(column)) => (column, op.swap()?, constant),
        _ => return None,
    };
    is_bound.then_some(())?;
    Some((schema.maybe_index_of_column(column)?, op, number_of_scalar(constant)?))
}

fn range_share(column: usize, (low, high): (f64, f64), profile: &Profile) -> f64 {
    let known = profile.columns.get(column).and_then(|c| c.range);
    match known {
        Some((min, max)) if max > min => {
            let covered = (high.min(max) - low.max(min)) / (max - min);
            covered.clamp(1.0 / profile.base_rows.max(1.0), 1.0)
        }
        _ if low.is_finite() && high.is_finite() => HALF_OPEN * HALF_OPEN,
        _ => HALF_OPEN,
    }
}

fn one(condition: &Expr, schema: &DFSchema, profile: &Profile) -> f64 {
    match condition {
        Expr::Alias(alias) => one(&alias.expr, schema, profile),
        Expr::Literal(value, _) => {
            if *value == datafusion_common::ScalarValue::Boolean(Some(true)) { 1.0 } else { 0.0 }
        }
        Expr::Not(inner) => 1.0 - one(inner, schema, profile),
        Expr::BinaryExpr(binary) => of_binary(binary, condition, schema, profile),
        Expr::InList(InList { expr, list, negated }) => {
            let share = (list.len() as f64 / distinct_of(meant(expr), schema, profile)).min(0.9);
            if *negated { 1.0 - share } else { share }
        }
        Expr::Like(Like { negated, .. }) => {
            if *negated {
                1.0 - LIKE
            } else {
                LIKE
            }
        }
        Expr::IsNull(inner) => null_share(inner, schema, profile),
        Expr::IsNotNull(inner) => 1.0 - null_share(inner, schema, profile),
        Expr::Column(_) => COMPARE,
        _ => UNKNOWN,
    }
}

fn null_share(expr: &Expr, schema: &DFSchema, profile: &Profile) -> f64 {
    let Expr::Column(column) = expr else { return 0.1 };
    column_profile(column, schema, profile).map_or(0.1, |c| c.nulls)
}

fn of_binary(binary: &BinaryExpr, whole: &Expr, schema: &DFSchema, profile: &Profile) -> f64 {
    let equal = || {
        let sides = [&binary.left, &binary.right];
        let is_constant = |e: &Expr| e.column_refs().is_empty();
        if sides.iter().any(|side| is_constant(side)) {
            let expr = if is_constant(&binary.left) { &binary.right } else { &binary.left };
            match meant(expr) {
                expr @ (Expr::Column(_) | Expr::Cast(_)) => {
                    1.0 / distinct_of(expr, schema, profile)
                }
                _ => EQUAL,
            }
        } else {
            let distinct = sides.map(|side| distinct_of(side, schema, profile));
            1.0 / distinct[0].max(distinct[1])
        }
    };
    match binary.op {
        Operator::And => selectivity(&split_conjunction(whole), schema, profile),
        Operator::Or => {
            let left = one(&binary.left, schema, profile);
            let right = one(&binary.right, schema, profile);
            left + right - left * right
        }
        Operator::Eq | Operator::IsNotDistinctFrom => equal(),
        Operator::NotEq | Operator::IsDistinctFrom => 1.0 - equal(),
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
            match bound(whole, schema) {
                Some(_) => selectivity(&[whole], schema, profile),
                None if binary.right.column_refs().is_empty() => HALF_OPEN,
                None => COMPARE,
            }
        }
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_combine_with_doubt() {
        assert_eq!(combine(vec![]), 1.0);
        assert_eq!(combine(vec![0.25]), 0.25);
        assert_eq!(combine(vec![1.0, 0.25, 0.04]), 0.04 * 0.5);
        assert_eq!(combine(vec![0.0, 0.5]), 0.0);
    }
}
