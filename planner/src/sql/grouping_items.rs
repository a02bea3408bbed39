//! Numbers in ROLLUP, CUBE and GROUPING SETS: as in GROUP BY itself they are places of the SELECT
//! list, whose expressions are written in their stead.

use datafusion_sql::sqlparser::ast::{Expr, GroupByExpr, Select, SelectItem, Value, ValueWithSpan};

/// Writes expressions for numbers; those that are no place stay.
pub(super) fn write_out(select: &mut Select) {
    let GroupByExpr::Expressions(keys, _) = &mut select.group_by else { return };
    for key in keys {
        if let Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) = key {
            for item in sets.iter_mut().flatten() {
                if let Some(meant) = meant(item, &select.projection) {
                    *item = meant;
                }
            }
        }
    }
}

fn meant(item: &Expr, projection: &[SelectItem]) -> Option<Expr> {
    let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) = item else {
        return None;
    };
    let place = digits.parse::<usize>().ok()?.checked_sub(1)?;
    match projection.get(place)? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    }
}
