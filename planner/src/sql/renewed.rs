//! The expressions of a plan's node, looked at, or changed while the node's columns keep their
//! names.

use std::cell::Cell;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchemaRef, Result};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, LogicalPlan};

use super::grouping_items::in_sets;

/// The columns that the expressions of a node are about.
pub(crate) fn schema_below(node: &LogicalPlan) -> DFSchemaRef {
    match (node, &node.inputs()[..]) {
        (LogicalPlan::TableScan(scan), _) => Arc::clone(&scan.projected_schema),
        (_, [input]) => Arc::clone(input.schema()),
        (_, inputs) => Arc::new(merge_schema(inputs)),
    }
}

/// Whether some expression of a node is like that.
pub(crate) fn any_expression(node: &LogicalPlan, is_so: impl Fn(&Expr) -> bool) -> bool {
    let mut found = false;
    // Nothing in it fails.
    let _ = node.apply_expressions(|expr| {
        found |= is_so(expr);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

/// The node with every expression, and every part of one, as `change` makes it. Expressions that
/// have another name afterwards get the old one as an alias.
///
/// # Errors
/// Those of `change`.
pub(crate) fn renewed(
    node: LogicalPlan,
    change: impl Fn(Expr) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let is_changed = Cell::new(false);
        let one = |expr: Expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(&change)?;
            is_changed.set(is_changed.get() || changed.transformed);
            Ok(name.restore(changed.data))
        };
        // Grouping sets have no name, but what is in them has.
        let expr = in_sets(expr, &one)?;
        Ok(Transformed::new_transformed(expr, is_changed.get()))
    })
}
