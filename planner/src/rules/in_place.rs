//! `keep_in_place`: conditions that can fail see only rows that the query wrote them for.
//!
//! A condition of WHERE over one of several joined relations would be moved to that relation, where
//! it also sees rows that the joins, and conditions written before it on other relations, leave
//! out: `WHERE t.k = u.k AND 10 / t.x > 1` must not fail for a row of `t` without partner. The same
//! is true of other nodes that leave rows out: EXCEPT ALL, UNNEST, a series. Such a condition
//! becomes a filter of its own over a node that no condition is moved through (`guards`); the node
//! is taken out when the borrowed rules are done.
//!
//! A volatile condition stays above whatever makes other rows of its input's rows: it is drawn once
//! for each row that it was written for, and `random() < 0.5` above a group-by drops groups, above
//! a join pairs, above EXCEPT ALL what is left.
//!
//! Conditions over one table, equalities (join keys may be among them), conditions over several
//! relations and those that cannot fail are moved as far as they go.
//!
//! Sound: rows pass the same conditions, those that can fail after the others.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchemaRef, Result, internal_err};
use datafusion_expr::logical_plan::{Extension, Filter, LogicalPlan};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, Operator, UserDefinedLogicalNodeCore};

use crate::fallible::is_fallible_on_columns;
use crate::functions::is_random;

/// The rule's name in explain.
pub(crate) const KEEP_IN_PLACE: &str = "keep_in_place";

/// Gives the rows of its input. Conditions above it stay above.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Barrier {
    input: LogicalPlan,
}

impl PartialOrd for Barrier {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Barrier {
    fn name(&self) -> &str {
        "Barrier"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Barrier")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.len()) {
            (Some(input), 0) => Ok(Barrier { input }),
            _ => internal_err!("one input"),
        }
    }
}

/// Puts barriers below the conditions that must stay where they are.
pub(crate) fn keep_in_place(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(Transformed::no(node)) };
        let schema = filter.input.schema();
        let fallible = is_fallible_on_columns(&filter.predicate, schema)
            && contains(&filter.input, leaves_rows_out);
        let volatile = is_random(&filter.predicate) && contains(&filter.input, makes_other_rows);
        let wanted = |condition: &Expr| {
            let can_fail =
                || is_moved_alone(condition) && is_fallible_on_columns(condition, schema);
            (fallible && can_fail()) || (volatile && is_random(condition))
        };
        if !fallible && !volatile {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let conditions = split_conjunction_owned(filter.predicate.clone());
        let (kept, moved): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(wanted);
        let Some(kept) = conjunction(kept) else {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        };
        let input = match conjunction(moved) {
            Some(moved) => LogicalPlan::Filter(Filter::new(moved, filter.input)),
            None => Arc::unwrap_or_clone(filter.input),
        };
        let barrier = LogicalPlan::Extension(Extension { node: Arc::new(Barrier { input }) });
        Ok(Transformed::yes(LogicalPlan::Filter(Filter::new(kept, Arc::new(barrier)))))
    })
}

/// Takes all barriers out.
pub(crate) fn release(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|node| match &node {
        LogicalPlan::Extension(extension) => match extension.node.as_any().downcast_ref() {
            Some(Barrier { input }) => Ok(Transformed::yes(input.clone())),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

/// Whether conditions stay above this node.
pub(crate) fn is_barrier(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Extension(extension) if extension.node.as_any().is::<Barrier>())
}

fn contains(plan: &LogicalPlan, is_wanted: fn(&LogicalPlan) -> bool) -> bool {
    plan.exists(|node| Ok(is_wanted(node))).unwrap_or(true)
}

/// Whether some rows of an input may have no part in what the node gives.
fn leaves_rows_out(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Join(_) | LogicalPlan::Unnest(_) => true,
        LogicalPlan::Extension(_) => !is_barrier(node),
        _ => false,
    }
}

/// Whether the node gives anything but its inputs' rows, each of them once.
fn makes_other_rows(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Aggregate(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Window(_) => true,
        LogicalPlan::Sort(sort) => sort.fetch.is_some(),
        _ => leaves_rows_out(node),
    }
}

/// Whether a condition would be moved to the one relation that it reads.
fn is_moved_alone(condition: &Expr) -> bool {
    if matches!(condition, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, left, right })
        if left.any_column_refs() && right.any_column_refs())
    {
        return false;
    }
    let columns = condition.column_refs();
    let mut relations = columns.iter().map(|column| &column.relation);
    let Some(first) = relations.next() else { return false };
    relations.all(|relation| relation == first)
}
