//! Where in the text a subquery is.

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan};
use gristmill_engine::Position;

use super::subquery_of;

/// Where an expression with a subquery stands: at its first name that has a place, or at the first
/// one in the subquery.
pub(super) fn place_of(expr: &Expr) -> Option<Position> {
    own_place(expr).or_else(|| {
        let mut place = None;
        let _ = expr.apply(|e| {
            place = subquery_of(e).and_then(|subquery| place_in(&subquery.subquery));
            Ok(if place.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        place
    })
}

/// The place of the first name in a plan.
pub(super) fn place_in(plan: &LogicalPlan) -> Option<Position> {
    let mut first: Option<Position> = None;
    let _ = plan.apply(|node| {
        for place in node.expressions().iter().filter_map(own_place) {
            let is_before =
                |known: &Position| (place.line, place.column) < (known.line, known.column);
            if first.as_ref().is_none_or(is_before) {
                first = Some(place);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    first
}

fn own_place(expr: &Expr) -> Option<Position> {
    let mut place = None;
    let _ = expr.apply(|e| {
        let spans = match e {
            Expr::Column(column) | Expr::OuterReferenceColumn(_, column) => Some(&column.spans),
            other => subquery_of(other).map(|subquery| &subquery.spans),
        };
        place = spans.and_then(|spans| spans.first()).map(|span| Position {
            file: None,
            line: span.start.line,
            column: span.start.column,
        });
        Ok(if place.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    place
}
