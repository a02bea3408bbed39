//! `SELECT k, sum(a) AS a … GROUP BY k HAVING a > 1`: names in HAVING that are those of a column
//! of the SELECT list and of one of a table. The binder takes the latter, which is no key, and
//! refuses it; what is meant is the one of the list.
//!
//! Of constants, without GROUP BY and aggregates, HAVING makes one group of all rows.
//!
//! Sound: a column that is read outside of aggregates has to be a key, and names of keys are left
//! alone. So are those in aggregates and in subqueries.

use std::collections::HashMap;

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Select, SelectItem, Value,
};

use super::clauses::{IsAggregate, find, is_aggregate_call, is_window, of_item, replace_names};
use super::names::column_name;
use super::syntax::{any, binary, call, nested, number};
use super::using::plain;

/// Writes what is meant into the HAVING of a SELECT.
pub(super) fn write_aliases(select: &mut Select, is_aggregate: IsAggregate<'_>) {
    let Some(having) = select.having.as_mut() else { return };
    if has_no_keys(&select.group_by) {
        let in_list: Option<Vec<&Expr>> = select.projection.iter().map(of_item).collect();
        let is_call = |expr: &Expr| is_aggregate_call(expr, is_aggregate);
        let has_aggregate = |expr: &Expr| find(expr, &is_call).is_some();
        let is_constant = |expr: &Expr| !has_aggregate(expr) && !any(expr, &is_column);
        if is_constant(having) && in_list.is_some_and(|list| list.into_iter().all(is_constant)) {
            // All rows are one group, as an aggregate says.
            let rows = call("count", vec![number("1")]);
            let all = binary(rows, BinaryOperator::GtEq, number("0"));
            let condition = nested(std::mem::replace(having, Expr::value(Value::Null)));
            *having = binary(all, BinaryOperator::And, condition);
        }
    }
    let mut meant = HashMap::new();
    for item in &select.projection {
        if let SelectItem::ExprWithAlias { expr, alias } = item {
            let name = plain(alias);
            if column_name(expr).as_ref() != Some(&name) && find(expr, &is_window).is_none() {
                meant.insert(name, nested(expr.clone()));
            }
        }
    }
    meant.retain(|name, _| !is_key(&select.group_by, &select.projection, name));
    if !meant.is_empty() {
        replace_names(having, is_aggregate, &|name, is_inside| {
            if is_inside { None } else { meant.get(&plain(name)).cloned() }
        });
    }
}

fn has_no_keys(group_by: &GroupByExpr) -> bool {
    matches!(group_by, GroupByExpr::Expressions(keys, modifiers)
        if keys.is_empty() && modifiers.is_empty())
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

/// Whether an expression reads a column of this name.
fn reads(expr: &Expr, name: &str) -> bool {
    any(expr, &|expr| column_name(expr).as_deref() == Some(name))
}

/// Whether a name may be that of a key.
pub(super) fn is_key(group_by: &GroupByExpr, projection: &[SelectItem], name: &str) -> bool {
    let is_name = |expr: &Expr| column_name(expr).as_deref() == Some(name);
    let is_item = || {
        projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => is_name(expr),
            _ => true,
        })
    };
    let GroupByExpr::Expressions(keys, _) = group_by else { return is_item() };
    // A number is one of the columns of the list.
    let has_number = keys.iter().any(|key| matches!(key, Expr::Value(_)));
    let stands_for = |key: &Expr| {
        projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } => {
                (column_name(key)? == plain(alias)).then_some(expr)
            }
            _ => None,
        })
    };
    let is_read =
        |key: &Expr| reads(key, name) || stands_for(key).is_some_and(|expr| reads(expr, name));
    keys.iter().any(is_read) || (has_number && is_item())
}
