//! `SELECT -a AS a FROM t ORDER BY t.a`: keys of ORDER BY over columns of tables whose names the
//! SELECT list gives to something else. The binder would put the key beside the column that it
//! cannot tell it from. So the keys get columns of the SELECT, which a query around it leaves out:
//! `SELECT a FROM (SELECT -a AS a, t.a AS "!key_0" FROM t) ORDER BY "!key_0"`. So do keys beside
//! UNNEST in the list, behind which there are no columns but those of the list.
//!
//! Behind DISTINCT there are no others either: a key that is written as an item of the list is that
//! item, `SELECT DISTINCT upper(a) … ORDER BY upper(a)`.
//!
//! In a key that is an expression, its subqueries too, such names are columns of tables first, and
//! else those of the list; the binder would take an item of the list in it for the column of that
//! item's name, `SELECT a AS b FROM t ORDER BY -a`. Whether tables have such columns is not known
//! here. So a query with such keys has another reading, in which they are columns of the SELECT,
//! and which counts if it has a meaning. Keys that read names that only the list has stay where
//! they are: behind the query around they are those of its columns.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion_common::Result;
use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, Value,
    Visit, VisitMut, Visitor, VisitorMut,
};

use super::clauses::of_item;
use super::missing::Missing;
use super::names::{column_name, given_name};
use super::syntax::{any, inner_query, plain_name, select_from_one_row};
use super::using::plain;

/// Begins the names of keys.
const KEY_PREFIX: &str = "!key_";

/// The name of the query with the keys.
const SORTED: &str = "\"!sorted\"";

/// Gives the keys of a query columns, where they need them and can have them.
pub(super) fn write_keys(query: &mut Query) {
    write(query, None);
}

/// The reading of a query in which its keys that are expressions are columns as well, if it has
/// such that need them and a meaning. With `as_written` it is bound as it stands; `has_meaning`
/// says whether it has one with the names of the list written out.
pub(super) fn reading_by_tables(
    query: &Query,
    as_written: impl Fn(Box<Query>) -> Result<LogicalPlan>,
    has_meaning: impl Fn(Box<Query>) -> bool,
) -> Option<Box<Query>> {
    let first = with_keys_of_tables(query, &HashSet::new())?;
    let (mut reading, mut of_list) = (first.clone(), HashSet::new());
    loop {
        let error = match as_written(reading.clone()) {
            Ok(_) => return Some(reading),
            Err(error) => error,
        };
        let missing = Missing::of(&error).map(|missing| missing.name);
        let missing = missing.filter(|name| name.relation.is_none());
        if !missing.is_some_and(|name| of_list.insert(name.name.clone())) {
            break;
        }
        match with_keys_of_tables(query, &of_list) {
            Some(other) => reading = other,
            None => break,
        }
    }
    has_meaning(first.clone()).then_some(first)
}

/// The query with columns for its keys that are expressions as well, if it has such that need them;
/// but for those that read these names of its list.
fn with_keys_of_tables(query: &Query, of_list: &HashSet<String>) -> Option<Box<Query>> {
    let mut search = Search(false);
    let _ = query.visit(&mut search);
    if !search.0 {
        return None;
    }
    let mut query = Box::new(query.clone());
    let mut writing = Writing { of_list, has_written: false };
    let _ = VisitMut::visit(&mut query, &mut writing);
    writing.has_written.then_some(query)
}

/// Whether a query has a key that is an expression.
struct Search(bool);

impl Visitor for Search {
    type Break = ();

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_ref().map(|by| &by.kind) {
            self.0 |= keys.iter().any(|key| is_expression(&key.expr));
        }
        ControlFlow::Continue(())
    }
}

/// Writes queries otherwise.
struct Writing<'a> {
    of_list: &'a HashSet<String>,
    has_written: bool,
}

impl VisitorMut for Writing<'_> {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.has_written |= write(query, Some(self.of_list));
        ControlFlow::Continue(())
    }
}

fn is_expression(key: &Expr) -> bool {
    !matches!(key, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_))
}

/// Gives keys columns; whether it did. Of those that are expressions those only that read no name
/// of the list, or all but those that read some of these.
fn write(query: &mut Query, but: Option<&HashSet<String>>) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    if matches!(select.distinct, Some(Distinct::Distinct)) {
        if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|by| &mut by.kind)
        {
            let list = &select.projection;
            keys.iter_mut().for_each(|key| number_of_item(&mut key.expr, list));
        }
        return false;
    }
    let Some(names) = names_of(select) else { return false };
    let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|by| &mut by.kind)
    else {
        return false;
    };
    let taken = taken_names(select);
    let unnests = select.projection.iter().any(unnests);
    let reads = |key: &Expr, names: &HashSet<String>| {
        any(key, &|expr| matches!(expr, Expr::Identifier(name) if names.contains(&plain(name))))
    };
    let is_kept = |key: &Expr| match key {
        Expr::Identifier(name) => names.contains(&plain(name)),
        Expr::Value(_) => true,
        key => but.is_some_and(|but| reads(key, but)),
    };
    let all = but.is_some();
    if let Some(but) = but {
        // Where such a key stays, these are not what they are in the SELECT.
        let others: HashSet<String> =
            names.iter().filter(|name| !but.contains(*name)).cloned().collect();
        let mixes = |key: &Expr| is_expression(key) && reads(key, but) && reads(key, &others);
        if keys.iter().any(|key| mixes(&key.expr)) {
            return false;
        }
    }
    if all && (taken.is_empty() || matches!(select.group_by, GroupByExpr::All(_))) {
        return false;
    }
    let is_hidden = |key: &Expr| {
        is_called_as_key(key, select)
            || !is_kept(key) && (unnests || all && is_expression(key) || reads_taken(key, &taken))
    };
    // What a name of the list means in an expression, the binder knows.
    let is_movable = |key: &Expr| all || is_kept(key) || reads_tables_alone(key, &names);
    let mut exprs = keys.iter().map(|key| &key.expr);
    if !exprs.clone().any(is_hidden) || !exprs.clone().all(is_movable) {
        return false;
    }
    // A column of the SELECT more would be a key more.
    if matches!(select.group_by, GroupByExpr::All(_)) && !exprs.all(is_kept) {
        return false;
    }
    let mut added = Vec::new();
    for key in keys.iter_mut().filter(|key| !is_kept(&key.expr)) {
        let alias = Ident::with_quote('"', format!("{KEY_PREFIX}{}", added.len()));
        let expr = std::mem::replace(&mut key.expr, Expr::Identifier(alias.clone()));
        added.push(SelectItem::ExprWithAlias { expr, alias });
    }
    enclose(query, names, added);
    true
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
    let items = list.iter().map_while(of_item);
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

/// Whether a key of ORDER BY is the name of a column of the list and that of a column of which a
/// cast may be a key of GROUP BY, written there or in the list: the binder calls the latter by the
/// same name.
fn is_called_as_key(key: &Expr, select: &Select) -> bool {
    let Expr::Identifier(name) = key else { return false };
    let name = plain(name);
    let is_cast = |expr: &Expr| match expr {
        Expr::Cast { expr, .. } => column_name(expr).as_ref() == Some(&name),
        _ => false,
    };
    let (groups, keys) = match &select.group_by {
        GroupByExpr::Expressions(keys, _) => (!keys.is_empty(), &keys[..]),
        GroupByExpr::All(_) => (true, &[][..]),
    };
    let items = select.projection.iter();
    groups
        && items.clone().any(|item| given_name(item).as_ref() == Some(&name))
        && keys.iter().chain(items.filter_map(of_item)).any(is_cast)
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
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => true,
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
    of_item(item).is_some_and(|expr| any(expr, &is_unnest))
}
