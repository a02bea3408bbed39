//! `keep_lists_apart`: IN lists of one operand stay what they are beside each other.
//!
//! The borrowed simplification makes one list of two whose operands are equal: `a IN (1, 2) AND a
//! NOT IN (3)` becomes a difference of sets. It does so too where a list has NULL or columns in it,
//! and where nothing is left for an operand that may be NULL: `a IN (1, 3) AND a NOT IN (3, NULL)`
//! would be true of 1, and `a IN (1) AND a IN (2)` false of NULL. So where a plan has several lists
//! that differ, the operand of each is put into a function that no rule looks into, with a number
//! that only equal lists have in common: conditions that are told twice are still the same.
//!
//! Sound: the function means its argument.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use datafusion_common::Result;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan};

use crate::functions::apart;
use crate::sql::renewed;

/// The rule's name in explain.
pub(crate) const KEEP_LISTS_APART: &str = "keep_lists_apart";

/// Keeps the lists of a plan without subqueries apart. They are compared with all others of the
/// plan: conditions are moved to where others are, under other names.
pub(crate) fn keep_lists_apart(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut lists: HashSet<Expr> = HashSet::new();
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if matches!(part, Expr::InList(_)) && !lists.contains(part) {
                    lists.insert(part.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if lists.len() < 2 {
        return Ok(Transformed::no(plan));
    }
    // Their operands, which may have lists in them, have been changed before: those of equal lists
    // in the same way.
    let numbers: RefCell<HashMap<Expr, usize>> = RefCell::default();
    plan.transform_up(|node| {
        renewed(node, |expr| {
            if !matches!(expr, Expr::InList(_)) {
                return Ok(Transformed::no(expr));
            }
            let mut numbers = numbers.borrow_mut();
            let next = numbers.len();
            let number = *numbers.entry(expr.clone()).or_insert(next);
            Ok(Transformed::yes(match expr {
                Expr::InList(mut list) => {
                    list.expr = Box::new(apart(*list.expr, number));
                    Expr::InList(list)
                }
                other => other,
            }))
        })
    })
}
