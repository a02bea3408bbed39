//! Numbers in DISTINCT ON, and in ORDER BY behind it: places of the SELECT list, whose expressions
//! are written in their stead. The binder takes the former for constants.

use datafusion_sql::sqlparser::ast::{Distinct, OrderByKind, Query, SetExpr};

use super::grouping_items::meant;

/// Writes expressions for the numbers in a query's DISTINCT ON.
pub(super) fn write_out(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let Some(Distinct::On(keys)) = &mut select.distinct else { return };
    let order = query.order_by.as_mut().map(|by| &mut by.kind);
    let sorted = match order {
        Some(OrderByKind::Expressions(keys)) => &mut keys[..],
        _ => &mut [],
    };
    for key in keys.iter_mut().chain(sorted.iter_mut().map(|key| &mut key.expr)) {
        if let Some(item) = meant(key, &select.projection) {
            *key = item;
        }
    }
}
