//! NOT IN of rows: an anti join that a hash table finds most matches for.
//!
//! It drops a row of the query around where `(a = x AND b = y) IS NOT FALSE` for some row of the
//! subquery, which is that each of the equalities is not false. One of sides that are never NULL is
//! a key. The others together are one value of a null-aware join, NULL where one of them is NULL:
//! rows without NULLs meet by their hash, and those with some are compared one by one, which the
//! equalities that stay as conditions decide.

use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::utils::{can_hash, conjunction, split_conjunction};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator, when};
use datafusion_functions::core::expr_fn::r#struct;

use super::lifted::{Key, Pending};

/// Sides of an equality, of the query around and of the subquery.
type Pair = (Expr, Expr);

/// What is pending with keys for the first condition on rows that are equal or may be, and the pair
/// of a null-aware join if it needs one.
pub(super) fn with_keys(
    pending: Vec<Pending>,
    outer: &DFSchema,
    inner: &DFSchema,
) -> Result<(Vec<Pending>, Option<Pair>)> {
    let mut result = Vec::with_capacity(pending.len());
    let (mut in_pair, mut is_found) = (None, false);
    for condition in pending {
        let pairs = match &condition {
            Pending::Other(Expr::IsNotFalse(equal)) if !is_found => pairs(equal, outer, inner),
            _ => None,
        };
        let Some(pairs) = pairs else {
            result.push(condition);
            continue;
        };
        is_found = true;
        let mut nullable = Vec::new();
        for (left, right) in pairs {
            if left.nullable(outer)? || right.nullable(inner)? {
                nullable.push((left, right));
            } else {
                result.push(Pending::Key(Key { outer: left, inner: right, null_safe: false }));
            }
        }
        if nullable.len() > 1 {
            result.extend(nullable.iter().map(|(left, right)| {
                Pending::Other(left.clone().eq(right.clone()).is_not_false())
            }));
            let (left, right) = nullable.into_iter().unzip();
            nullable = vec![(whole(left)?, whole(right)?)];
        }
        in_pair = nullable.pop();
    }
    Ok((result, in_pair))
}

fn pairs(equal: &Expr, outer: &DFSchema, inner: &DFSchema) -> Option<Vec<Pair>> {
    split_conjunction(equal).into_iter().map(|equal| pair(equal, outer, inner)).collect()
}

fn pair(equal: &Expr, outer: &DFSchema, inner: &DFSchema) -> Option<Pair> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = equal else { return None };
    let reads_only = |e: &Expr, of: &DFSchema| e.column_refs().iter().all(|c| of.has_column(c));
    for (left, right) in [(left, right), (right, left)] {
        let is_key = reads_only(left, outer)
            && right.any_column_refs()
            && reads_only(right, inner)
            && !left.is_volatile()
            && !right.is_volatile()
            && right
                .get_type(inner)
                .is_ok_and(|t| can_hash(&t) && left.get_type(outer).is_ok_and(|other| other == t));
        if is_key {
            return Some((left.as_ref().clone(), right.as_ref().clone()));
        }
    }
    None
}

/// The members of a row as one value; NULL where one is.
fn whole(members: Vec<Expr>) -> Result<Expr> {
    let known = conjunction(members.iter().map(|member| member.clone().is_not_null()));
    let known = known.unwrap_or(Expr::Literal(ScalarValue::Boolean(Some(true)), None));
    when(known, r#struct(members)).end()
}
