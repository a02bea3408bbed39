//! `SELECT -a AS a FROM t ORDER BY t.a`: keys of ORDER BY over columns of tables whose names the
//! SELECT list gives to something else. The binder would put the key beside the column that it
//! cannot tell it from. So the keys get columns of the SELECT, which a query around it leaves out:
//! `SELECT a FROM (SELECT -a AS a, t.a AS "!key_0" FROM t) ORDER BY "!key_0"`. So do keys beside
//! UNNEST in the list, behind which there are no columns but those of the list.
//!
//! Behind DISTINCT there are no others either: a key that is written as an item of the list is that
//! item, `SELECT DISTINCT upper(a) … ORDER BY upper(a)`.

use std::collections::HashSet;

use datafusion_sql::sqlparser::ast::{
    Distinct, Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, Value,
};

use super::names::{column_name, given_name};
use super::syntax::{any, inner_query, plain_name, select_from_one_row};
use super::using::plain;

/// Begins the names of keys.
const KEY_PREFIX: &str = "!key_";

/// The name of the query with the keys.
const SORTED: &str = "\"!sorted\"";

/// Gives the keys of a query columns, where they need them and can have them.
pub(super) fn write_keys(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    if matches!(select.distinct, Some(Distinct::Distinct)) {
        if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|by| &mut by.kind)
        {
            let list = &select.projection;
            keys.iter_mut().for_each(|key| number_of_item(&mut key.expr, list));
        }
        return;
    }
    let Some(names) = names_of(select) else { return };
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|by| &mut by.kind)
    else {
        return;
    };
    let taken = taken_names(select);
    let unnests = select.projection.iter().any(unnests);
    let is_kept = |key: &Expr| match key {
        Expr::Identifier(name) => names.contains(&plain(name)),
        Expr::Value(_) => true,
        _ => false,
    };
    let is_hidden = |key: &Expr| !is_kept(key) && (unnests || reads_taken(key, &taken));
    // What a name of the list means in an expression, the binder knows.
    let is_movable = |key: &Expr| is_kept(key) || reads_tables_alone(key, &names);
    let mut exprs = keys.iter().map(|key| &key.expr);
    if !exprs.clone().any(is_hidden) || !exprs.all(is_movable) {
        return;
    }
    let mut added = Vec::new();
    for key in keys.iter_mut().filter(|key| !is_kept(&key.expr)) {
        let alias = Ident::with_quote('"', format!("{KEY_PREFIX}{}", added.len()));
        let expr = std::mem::replace(&mut key.expr, Expr::Identifier(alias.clone()));
        added.push(SelectItem::ExprWithAlias { expr, alias });
    }
    enclose(query, names, added);
}

/// Makes a key that is written as an item of the list the number of the item.
fn number_of_item(key: &mut Expr, list: &[SelectItem]) {
    while let Expr::Nested(inner) = key {
        *key = std::mem::replace(inner.as_mut(), Expr::value(Value::Null));
    }
    if matches!(key, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)) {
        return;
    }
    // Behind `*` items have other numbers.
    let items = list.iter().map_while(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    if let Some(at) = items.into_iter().position(|item| item == key) {
        *key = Expr::value(Value::Number((at + 1).to_string(), false));
    }
}

/// Writes a query around the SELECT that gives these columns of it, but not those that are added.
fn enclose(query: &mut Query, names: Vec<String>, mut added: Vec<SelectItem>) {
    let Some(mut named) = select_from_one_row(SORTED) else { return };
    let Some(inner) = inner_query(&mut named) else { return };
    std::mem::swap(&mut inner.body, &mut query.body);
    if let SetExpr::Select(select) = inner.body.as_mut() {
        select.projection.append(&mut added);
    }
    let column = |name| SelectItem::UnnamedExpr(Expr::Identifier(Ident::with_quote('"', name)));
    if let SetExpr::Select(around) = named.body.as_mut() {
        around.projection = names.into_iter().map(column).collect();
    }
    query.body = named.body;
}

/// The names of the columns, if all have one, and each another.
fn names_of(select: &Select) -> Option<Vec<String>> {
    let names = select.projection.iter().map(given_name).collect::<Option<Vec<_>>>()?;
    let different: HashSet<&String> = names.iter().collect();
    (select.distinct.is_none() && different.len() == names.len()).then_some(names)
}

/// Names that the SELECT list gives to what is no column of that name.
fn taken_names(select: &Select) -> HashSet<String> {
    let taken = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => {
            let name = plain(alias);
            (column_name(expr).as_ref() != Some(&name)).then_some(name)
        }
        _ => None,
    });
    taken.collect()
}

/// Whether a key reads a column of a table that is called by one of the names.
fn reads_taken(key: &Expr, taken: &HashSet<String>) -> bool {
    let is_taken = |expr: &Expr| match expr {
        Expr::CompoundIdentifier(names) => {
            names[1..].iter().any(|name| taken.contains(&plain(name)))
        }
        _ => false,
    };
    any(key, &is_taken)
}

/// Whether a key reads columns of tables, and none of the list.
fn reads_tables_alone(key: &Expr, list: &[String]) -> bool {
    let is_other = |expr: &Expr| match expr {
        Expr::Identifier(name) => list.contains(&plain(name)),
        Expr::Subquery(_) | Expr::Exists { .. } => true,
        _ => false,
    };
    !any(key, &is_other)
}

fn unnests(item: &SelectItem) -> bool {
    let is_unnest = |expr: &Expr| match expr {
        Expr::Function(call) => {
            plain_name(&call.name).is_some_and(|name| name.eq_ignore_ascii_case("unnest"))
        }
        _ => false,
    };
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            any(expr, &is_unnest)
        }
        _ => false,
    }
}
