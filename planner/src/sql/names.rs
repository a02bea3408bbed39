//! The names of columns that a SELECT list gives none: their expressions as they were written.
//!
//! The binder would name them after its own form of the expression, with the types of literals and
//! the names of tables in it, and refuse two that are equal. Sound: an alias changes no value, and
//! the binder looks through it when ORDER BY repeats the expression.

use std::collections::HashSet;

use datafusion_sql::sqlparser::ast::{Expr, Ident, Select, SelectItem, Value};

use super::using::plain;

/// Characters of an expression that go into its column's name.
const LENGTH_MAX: usize = 200;

/// Names the columns of one SELECT list. Equal names are told apart by a number.
pub(super) fn name_columns(select: &mut Select) {
    rename(select, &|item| matches!(item, SelectItem::ExprWithAlias { .. }));
    let mut taken: HashSet<String> = select.projection.iter().filter_map(given_name).collect();
    let mut columns: HashSet<String> = HashSet::new();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let mut written = written(expr);
        if let Some(name) = column_name(expr) {
            // A column has a name, except for the second time.
            if columns.insert(written) {
                continue;
            }
            written = name;
        }
        let mut name = written.clone();
        let mut number = 0;
        while !taken.insert(name.clone()) {
            number += 1;
            name = format!("{written}_{number}");
        }
        let expr = std::mem::replace(expr, Expr::value(Value::Null));
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', name) };
    }
}

/// Tells the columns of a part of a set operation apart, which are looked for by their names.
pub(super) fn name_apart(select: &mut Select) {
    rename(select, &|item| given_name(item).is_some());
}

/// Gives the second column of a name, and those behind it, others, if they are like that.
fn rename(select: &mut Select, is_so: &dyn Fn(&SelectItem) -> bool) {
    let given: Vec<String> = select.projection.iter().filter_map(given_name).collect();
    let mut taken: HashSet<String> = given.iter().cloned().collect();
    if taken.len() == given.len() {
        return;
    }
    let mut seen: HashSet<String> = HashSet::new();
    for item in &mut select.projection {
        let Some(given) = given_name(item) else { continue };
        if seen.insert(given.clone()) || !is_so(item) {
            continue;
        }
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            continue;
        };
        let mut number = 1;
        while !taken.insert(format!("{given}_{number}")) {
            number += 1;
        }
        let expr = std::mem::replace(expr, Expr::value(Value::Null));
        let alias = Ident::with_quote('"', format!("{given}_{number}"));
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
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
    let text = expr.to_string();
    match text.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
