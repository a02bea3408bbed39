//! The names of columns that a SELECT list gives none: their expressions as they were written.
//!
//! The binder would name them after its own form of the expression, with the types of literals and
//! the names of tables in it, and refuse two that are equal. Sound: an alias changes no value, and
//! the binder looks through it when ORDER BY repeats the expression.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, OrderByKind, Query, Select, SelectItem, SetExpr, Value,
    visit_expressions,
};

use super::fold::folded;
use super::syntax::number;
use super::using::{constraint, plain};

/// Characters of an expression that go into its column's name.
const LENGTH_MAX: usize = 200;

/// Gives the second of two columns of one name in a SELECT list another, where one of them has it
/// from an alias. ORDER BY means the last alias of a name.
pub(super) fn name_aliases(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for (name, alias) in rename(select, true) {
        follow_in_order(query, &name, &alias);
    }
}

/// Makes the name of a column alone another one in a query's ORDER BY.
pub(super) fn follow_in_order(query: &mut Query, name: &str, other: &str) {
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|by| &mut by.kind)
    else {
        return;
    };
    for key in keys {
        if let Expr::Identifier(ident) = &mut key.expr
            && plain(ident) == name
        {
            (ident.value, ident.quote_style) = (other.to_string(), Some('"'));
        }
    }
}

/// Writes the place of a column for a key of ORDER BY that is its expression, where the column is
/// called as one that the expression reads: `SELECT sum(a) AS a … ORDER BY sum(a)`. The binder
/// would take the column for the one that is read.
pub(super) fn write_places(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|by| &mut by.kind)
    else {
        return;
    };
    let is_all = |item: &SelectItem| {
        matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
    };
    let counted = select.projection.iter().take_while(|item| !is_all(item));
    let items: Vec<(usize, &Expr, String)> = counted
        .enumerate()
        .filter_map(|(at, item)| match item {
            SelectItem::ExprWithAlias { expr, alias } => Some((at + 1, expr, plain(alias))),
            _ => None,
        })
        .collect();
    for key in keys {
        if matches!(key.expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)) {
            continue;
        }
        let written = key.expr.to_string();
        let reads = |name: &str| {
            let is_it = |expr: &Expr| match column_name(expr) {
                Some(column) if column == name => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            };
            visit_expressions(&key.expr, is_it).is_break()
        };
        let found = items.iter().find(|(_, expr, name)| reads(name) && expr.to_string() == written);
        if let Some((place, ..)) = found {
            key.expr = number(&place.to_string());
        }
    }
}

/// A name with a number behind it that no other column has.
pub(super) fn other_name(name: &str, taken: &mut HashSet<String>) -> String {
    let mut number = 1;
    while !taken.insert(folded(&format!("{name}_{number}"))) {
        number += 1;
    }
    format!("{name}_{number}")
}

/// Names the columns of one SELECT list. Equal names are told apart by a number.
pub(super) fn name_columns(select: &mut Select) {
    let mut taken: HashSet<String> = select.projection.iter().filter_map(given_name).collect();
    let mut columns: HashSet<String> = HashSet::new();
    // A merged column is none of those that it is made of.
    let joins: Vec<&Join> = select.from.iter().flat_map(|tables| &tables.joins).collect();
    let is_natural = joins.iter().any(|join| constraint(join) == Some(&JoinConstraint::Natural));
    let merged: HashSet<String> = joins.into_iter().flat_map(merged_by).collect();
    let may_be_merged = |name: &str| is_natural || merged.contains(&folded(name));
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let written = written(expr);
        let name = match column_name(expr) {
            // A column has a name, except for the second time.
            Some(_) if is_new(&written, &mut columns, &may_be_merged) => continue,
            Some(name) => other_name(&name, &mut taken),
            None if taken.insert(folded(&written)) => written,
            None => other_name(&written, &mut taken),
        };
        let expr = std::mem::replace(expr, Expr::value(Value::Null));
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
    }
}

/// The names of the columns that a join merges as it says itself.
fn merged_by(join: &Join) -> Vec<String> {
    match constraint(join) {
        Some(JoinConstraint::Using(columns)) => {
            columns.iter().filter_map(|name| Some(plain(name.0.last()?.as_ident()?))).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a column is none of those before, which may be written with more names in front or with
/// fewer (`a`, `s.a` and `t.s.a`).
fn is_new(
    written: &str,
    columns: &mut HashSet<String>,
    may_be_merged: &dyn Fn(&str) -> bool,
) -> bool {
    let ends_with = |long: &str, short: &str| {
        (short.contains('.') || !may_be_merged(short))
            && long.strip_suffix(short).is_some_and(|rest| rest.ends_with('.'))
    };
    let is_known = columns.iter().any(|c| ends_with(c, written) || ends_with(written, c));
    columns.insert(written.to_string()) && !is_known
}

/// Tells the columns of a part of a set operation apart, which are looked for by their names.
pub(super) fn name_apart(select: &mut Select) {
    rename(select, false);
}

/// Gives the second column of a name, and those behind it, others. `with_alias`: only where an
/// alias gives the name to one of them. Returns what last aliases of a name became, with the name.
fn rename(select: &mut Select, with_alias: bool) -> HashMap<String, String> {
    let mut last = HashMap::new();
    let given: Vec<String> = select.projection.iter().filter_map(given_name).collect();
    let mut taken: HashSet<String> = given.iter().cloned().collect();
    if taken.len() == given.len() {
        return last;
    }
    let mut seen: HashSet<String> = HashSet::new();
    let mut aliases: HashSet<String> = HashSet::new();
    for item in &mut select.projection {
        let Some(given) = given_name(item) else { continue };
        let is_alias = matches!(item, SelectItem::ExprWithAlias { .. });
        if is_alias {
            aliases.insert(given.clone());
        }
        if seen.insert(given.clone()) || (with_alias && !aliases.contains(&given)) {
            continue;
        }
        let written = match item {
            SelectItem::ExprWithAlias { alias, .. } if alias.quote_style.is_some() => {
                alias.value.clone()
            }
            _ => given.clone(),
        };
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        let other = other_name(&written, &mut taken);
        let expr = std::mem::replace(expr, Expr::value(Value::Null));
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', &other) };
        if is_alias {
            last.insert(given, other);
        }
    }
    last
}

/// The name that an alias or a column gives.
pub(super) fn given_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(plain(alias)),
        SelectItem::UnnamedExpr(expr) => column_name(expr),
        _ => None,
    }
}

/// The name of a column, without its table's.
pub(super) fn column_name(expr: &Expr) -> Option<String> {
    let ident = match expr {
        Expr::Identifier(ident) => ident,
        Expr::CompoundIdentifier(idents) => idents.last()?,
        _ => return None,
    };
    Some(plain(ident))
}

fn written(expr: &Expr) -> String {
    let text = match expr {
        Expr::Identifier(name) => return plain(name),
        Expr::CompoundIdentifier(names) => {
            return names.iter().map(plain).collect::<Vec<_>>().join(".");
        }
        other => other.to_string(),
    };
    match text.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
