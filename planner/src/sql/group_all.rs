//! GROUP BY ALL as the places of the columns that it means: those of the SELECT list without
//! aggregate and window that read something. The binder takes constants and windows for keys, too.
//!
//! `SELECT *` is left to the binder, which knows what that is.

use datafusion_sql::sqlparser::ast::{Expr, GroupByExpr, Select};

use super::clauses::{IsAggregate, find, is_aggregate_call, is_window, of_item};
use super::syntax::{any, number};

/// Writes the keys of a SELECT.
pub(super) fn write_places(select: &mut Select, is_aggregate: IsAggregate<'_>) {
    let GroupByExpr::All(modifiers) = &select.group_by else { return };
    let items: Option<Vec<&Expr>> = select.projection.iter().map(of_item).collect();
    if let Some(items) = items.filter(|_| modifiers.is_empty()) {
        let is_call = |expr: &Expr| is_window(expr) || is_aggregate_call(expr, is_aggregate);
        let is_key = |item: &Expr| any(item, &reads) && find(item, &is_call).is_none();
        let keys = (1usize..).zip(items).filter(|(_, item)| is_key(item));
        let keys = keys.map(|(place, _)| number(&place.to_string())).collect();
        select.group_by = GroupByExpr::Expressions(keys, Vec::new());
    }
}

/// Whether an expression by itself may have several values.
pub(super) fn reads(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Function(_)
            | Expr::Subquery(_)
            | Expr::Exists { .. }
            | Expr::InSubquery { .. }
    )
}
