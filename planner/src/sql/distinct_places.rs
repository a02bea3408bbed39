//! Numbers in DISTINCT ON, and in ORDER BY behind it: places of the SELECT list. The binder takes
//! the former for constants, and wants keys of both to be the same.
//!
//! In DISTINCT ON the expressions of the list are written in their stead. In ORDER BY they are
//! where they are keys of DISTINCT ON; others are called by the name that the list gives them, as
//! names in their expressions may mean something else there, and constants are left out.

use datafusion_sql::sqlparser::ast::{
    Distinct, Expr, OrderBy, OrderByKind, Query, SelectItem, SetExpr,
};

use super::group_all::reads;
use super::grouping_items::{item_at, meant};
use super::names::given_name;
use super::syntax::any;
use super::using::plain;

/// Writes what is meant for the numbers in a query's DISTINCT ON and ORDER BY.
pub(super) fn write_out(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let Some(Distinct::On(on)) = &mut select.distinct else { return };
    let list = &select.projection;
    for key in on.iter_mut() {
        if let Some(item) = meant(key, list) {
            *key = item;
        }
    }
    let Some(OrderBy { kind: OrderByKind::Expressions(keys), .. }) = &mut query.order_by else {
        return;
    };
    keys.retain_mut(|key| {
        let Some(item) = item_at(&key.expr, list) else { return true };
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            return true;
        };
        if !any(expr, &reads) {
            return false;
        }
        key.expr = match item {
            SelectItem::ExprWithAlias { alias, .. }
                if !on.contains(expr) && is_only_one(&plain(alias), list) =>
            {
                Expr::Identifier(alias.clone())
            }
            _ => expr.clone(),
        };
        true
    });
    if keys.is_empty() {
        query.order_by = None;
    }
}

/// Whether one column of the list has the name.
fn is_only_one(name: &str, list: &[SelectItem]) -> bool {
    list.iter().filter(|item| given_name(item).as_deref() == Some(name)).count() == 1
}
