//! The keys of a join of which some conditions find that NULL equals NULL (`IS NOT DISTINCT FROM`)
//! and others do not.
//!
//! A join's keys are all of one kind, so the front end makes keys of those that are `=` and leaves
//! the others to a condition on pairs, which are many where the keys that are left are few. Here
//! all become keys for which NULL equals NULL. Where `=` was meant, a side whose rows come out with
//! a match only is to have no NULL: then there are none to meet. A full join has no such side, but
//! further keys by which a NULL of one side is no NULL of the other.

use datafusion_common::DFSchema;
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Case, Expr as Logical, ExprSchemable, Operator, lit};
use gristmill_engine::operators::JoinKind;

use super::join::Joined;
use crate::fallible::is_fallible;

/// What a join's pairs agree on.
pub(super) struct Keys {
    /// Pairs of equal expressions, over the left and the right input.
    pub(super) on: Vec<(Logical, Logical)>,
    /// What is left for pairs to pass.
    pub(super) filter: Option<Logical>,
    pub(super) null_equals_null: bool,
    /// Which of `on` must not be NULL on one of the sides.
    pub(super) known: Vec<usize>,
}

impl Keys {
    pub(super) fn of(join: &Joined<'_>) -> Self {
        let (on, filter) = (join.on.to_vec(), join.filter.cloned());
        let (null_equals_null, known) = (join.null_equals_null, Vec::new());
        let given = Keys { on, filter, null_equals_null, known };
        let Some(filter) = join.filter else { return given };
        if join.on.is_empty() || join.null_equals_null || join.null_aware {
            return given;
        }
        let (left, right) = (join.left.schema(), join.right.schema());
        let (mut further, mut rest) = (Vec::new(), Vec::new());
        for condition in split_conjunction_owned(filter.clone()) {
            match same(&condition, left, right) {
                Some(pair) => further.push(pair),
                None => rest.push(condition),
            }
        }
        if further.is_empty() {
            return given;
        }
        let may_be_null = |key: &Logical, schema: &DFSchema| key.nullable(schema).unwrap_or(true);
        let is_wanted = |(l, r): &(Logical, Logical)| may_be_null(l, left) && may_be_null(r, right);
        let mut on = given.on;
        let mut known: Vec<usize> = (0..on.len()).filter(|&key| is_wanted(&on[key])).collect();
        if join.kind == JoinKind::Full {
            let apart = |(l, r): &(Logical, Logical)| (null_as(l, 1), null_as(r, 2));
            further.extend(known.drain(..).map(|key| apart(&on[key])));
        }
        on.extend(further);
        Keys { on, filter: conjunction(rest), null_equals_null: true, known }
    }
}

/// A number for a key that is NULL, and 0 for all others.
fn null_as(key: &Logical, number: i8) -> Logical {
    let is_null = (Box::new(key.clone().is_null()), Box::new(lit(number)));
    Logical::Case(Case::new(None, vec![is_null], Some(Box::new(lit(0i8)))))
}

/// What is compared by `IS NOT DISTINCT FROM`, of the left and of the right side, if it can be a
/// key.
fn same(condition: &Logical, left: &DFSchema, right: &DFSchema) -> Option<(Logical, Logical)> {
    let Logical::BinaryExpr(BinaryExpr { left: a, op: Operator::IsNotDistinctFrom, right: b }) =
        condition
    else {
        return None;
    };
    let (a, b) = if is_of(a, left) && is_of(b, right) { (a, b) } else { (b, a) };
    let fits = is_of(a, left) && is_of(b, right);
    let types = a.get_type(left).ok().zip(b.get_type(right).ok());
    let total = !is_fallible(a, left) && !is_fallible(b, right);
    let drawn = a.is_volatile() || b.is_volatile();
    (fits && total && !drawn && types.is_some_and(|(a, b)| a == b))
        .then(|| (a.as_ref().clone(), b.as_ref().clone()))
}

/// Whether an expression reads columns, all of them of this side.
fn is_of(expr: &Logical, side: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.iter().all(|column| side.has_column(column))
}
