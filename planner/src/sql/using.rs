//! USING and NATURAL in the syntax tree: each such join stands in parentheses of its own, under a
//! name that its merged columns are reached by.
//!
//! `a FULL JOIN b USING (x)` has one column `x`, neither that of `a` nor that of `b`. The binder
//! knows the two only, takes the left one for `x` in the SELECT list, and calls `x` ambiguous in
//! WHERE. So the join becomes `(a FULL JOIN b USING (x)) "!using_0"`, which `relations` binds with
//! a column more, and `x` in the same SELECT becomes `"!using_0".x`.
//!
//! Sound: subqueries are left alone, where `x` may be a column of their own, until it is known that
//! it is none (see `merged_around`) or the binder has found none; so is a name that the SELECT list
//! gives to something else, in the clauses that see it, and a key of ORDER BY or DISTINCT ON that
//! is the name of a column of the list, `SELECT a.x … ORDER BY x`.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Distinct, Expr, Ident, Join, JoinConstraint, JoinOperator, OrderByKind, Query, Select,
    SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};

use super::fold::folded;
use super::level::{OnLevel, visit_level};
use super::merged_keys;
use super::names::given_name;

/// Begins the names of joins with merged columns; sorts before the names of tables.
pub(crate) const USING_PREFIX: &str = "!using_";

/// Begins the names of queries in such joins that have none; sorts behind those of the joins.
const QUERY_PREFIX: &str = "!without_name_";

/// Merged columns and the names of their joins; `None` for those of several.
pub(super) type Merged = HashMap<String, Option<String>>;

/// Whether a join merges columns and keeps those of both inputs.
pub(super) fn merges(join: &Join) -> bool {
    matches!(constraint(join), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
}

/// The condition of an inner or outer join.
pub(super) fn constraint(join: &Join) -> Option<&JoinConstraint> {
    match &join.join_operator {
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on)
        | JoinOperator::Right(on)
        | JoinOperator::RightOuter(on)
        | JoinOperator::FullOuter(on) => Some(on),
        _ => None,
    }
}

/// Whether a join has the columns of both inputs.
pub(super) fn gives_both(join: &Join) -> bool {
    constraint(join).is_some() || matches!(join.join_operator, JoinOperator::CrossJoin(_))
}

/// The same to be changed.
pub(super) fn constraint_mut(join: &mut Join) -> Option<&mut JoinConstraint> {
    match &mut join.join_operator {
        JoinOperator::Join(on)
        | JoinOperator::Inner(on)
        | JoinOperator::Left(on)
        | JoinOperator::LeftOuter(on)
        | JoinOperator::Right(on)
        | JoinOperator::RightOuter(on)
        | JoinOperator::FullOuter(on) => Some(on),
        _ => None,
    }
}

/// Names the joins of a FROM clause, or of one in parentheses.
pub(super) fn name_joins(tables: &mut TableWithJoins, count: &mut usize) {
    if !tables.joins.iter().any(merges) {
        return;
    }
    for mut join in std::mem::take(&mut tables.joins) {
        if !merges(&join) {
            let merged = merged_in(std::iter::once(&*tables));
            visit_level(&mut join.join_operator, &mut Qualifier { merged: &merged });
            tables.joins.push(join);
            continue;
        }
        if !tables.joins.is_empty() {
            nest(tables, None);
        }
        name_query(&mut tables.relation, &format!("{QUERY_PREFIX}{count}_0"));
        name_query(&mut join.relation, &format!("{QUERY_PREFIX}{count}_1"));
        tables.joins.push(join);
        nest(tables, Some(format!("{USING_PREFIX}{count}")));
        *count += 1;
    }
}

/// Names a query in FROM that has no name: the binder tells the columns of both sides apart by the
/// names of their tables.
fn name_query(table: &mut TableFactor, name: &str) {
    if let TableFactor::Derived { alias: alias @ None, .. } = table {
        *alias = Some(alias_of(name.to_string()));
    }
}

fn alias_of(name: String) -> TableAlias {
    let name = Ident::with_quote('"', name);
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

fn nest(tables: &mut TableWithJoins, name: Option<String>) {
    let nothing = TableFactor::TableFunction { expr: Expr::value(Value::Null), alias: None };
    let relation = std::mem::replace(&mut tables.relation, nothing);
    let joins = std::mem::take(&mut tables.joins);
    let alias = name.map(alias_of);
    let table_with_joins = Box::new(TableWithJoins { relation, joins });
    tables.relation = TableFactor::NestedJoin { table_with_joins, alias };
}

/// Qualifies the merged columns of a SELECT by the names of their joins.
pub(super) fn qualify_in_select(select: &mut Select) {
    let mut merged = merged_in(&select.from);
    if merged.is_empty() {
        return;
    }
    let qualifier = &mut Qualifier { merged: &merged };
    visit_level(&mut select.projection, qualifier);
    visit_level(&mut select.selection, qualifier);
    if let Some(Distinct::On(keys)) = &mut select.distinct {
        let mut keys = std::mem::take(keys);
        keys.iter_mut().for_each(|key| qualify_key(key, &merged, select));
        select.distinct = Some(Distinct::On(keys));
    }
    hide(&mut merged, select);
    let qualifier = &mut Qualifier { merged: &merged };
    visit_level(&mut select.group_by, qualifier);
    visit_level(&mut select.having, qualifier);
    visit_level(&mut select.qualify, qualifier);
    merged_keys::add_keys(select, &[]);
}

/// Qualifies the merged columns in a query's ORDER BY.
pub(super) fn qualify_in_order(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut merged = merged_in(&select.from);
    if merged.is_empty() {
        return;
    }
    hide(&mut merged, select);
    if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|by| &mut by.kind) {
        keys.iter_mut().for_each(|key| qualify_key(&mut key.expr, &merged, select));
        let keys: Vec<&Expr> = keys.iter().map(|key| &key.expr).collect();
        merged_keys::add_keys(select, &keys);
    }
}

/// Qualifies the merged columns in a key, unless it is the name of a column of the list: that is
/// written then.
fn qualify_key(key: &mut Expr, merged: &Merged, select: &Select) {
    let meant = match key {
        Expr::Identifier(name) => merged.get(&plain(name)).map(|join| (name.clone(), join)),
        _ => None,
    };
    if let Some((name, join)) = meant {
        let named = select.projection.iter().find(|item| given_name(item) == Some(plain(&name)));
        let in_list = || merged_keys::in_list(select, join.as_ref()?, &name);
        match named {
            Some(SelectItem::UnnamedExpr(column)) => *key = column.clone(),
            Some(_) => {}
            None => match in_list() {
                Some(column) => *key = column,
                None => visit_level(key, &mut Qualifier { merged }),
            },
        }
        return;
    }
    visit_level(key, &mut Qualifier { merged });
}

/// Qualifies a name in a subquery, where the binder found no column of it, as one that a SELECT
/// around has merged; whether there is one.
pub(super) fn qualify_around(query: &mut Query, is_name: &dyn Fn(&Ident) -> bool) -> bool {
    let mut around = Around { merged: Vec::new(), is_name, is_found: false };
    let _ = VisitMut::visit(query, &mut around);
    around.is_found
}

/// Looks for a name, with what the SELECTs around it merge, the innermost last.
struct Around<'a> {
    merged: Vec<Merged>,
    is_name: &'a dyn Fn(&Ident) -> bool,
    is_found: bool,
}

impl VisitorMut for Around<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.merged.push(merged_by(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.merged.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.merged.push(merged_in(&select.from));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.merged.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(column) = expr
            && (self.is_name)(column)
        {
            let name = plain(column);
            let merged = self.merged.iter().rev().find_map(|merged| merged.get(&name));
            if let Some(Some(relation)) = merged {
                *expr = column_of(relation, column);
                self.is_found = true;
            }
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// What ORDER BY of a query may read.
pub(super) fn merged_by(query: &Query) -> Merged {
    match query.body.as_ref() {
        SetExpr::Select(select) => merged_in(&select.from),
        _ => Merged::new(),
    }
}

/// A merged column by the name of its join.
pub(super) fn column_of(relation: &str, column: &Ident) -> Expr {
    let mut relation = Ident::with_quote('"', relation);
    relation.span = column.span;
    Expr::CompoundIdentifier(vec![relation, column.clone()])
}

/// Leaves out what the SELECT list gives the name of a merged column to.
fn hide(merged: &mut Merged, select: &Select) {
    for item in &select.projection {
        if let SelectItem::ExprWithAlias { alias, .. } = item {
            merged.remove(&plain(alias));
        }
    }
}

pub(super) fn merged_in<'a>(from: impl IntoIterator<Item = &'a TableWithJoins>) -> Merged {
    let mut merged = Merged::new();
    for tables in from {
        let joined = tables.joins.iter().map(|join| &join.relation);
        for table in std::iter::once(&tables.relation).chain(joined) {
            for (column, name) in merged_of(table) {
                merged.entry(column).and_modify(|other| *other = None).or_insert(name);
            }
        }
    }
    merged
}

/// A column that is merged again is that of the outer join.
fn merged_of(table: &TableFactor) -> Merged {
    let TableFactor::NestedJoin { table_with_joins, alias } = table else { return Merged::new() };
    if alias.as_ref().is_some_and(|alias| !alias.name.value.starts_with(USING_PREFIX)) {
        return Merged::new();
    }
    let mut merged = merged_in(std::iter::once(&**table_with_joins));
    let Some(JoinConstraint::Using(columns)) = table_with_joins.joins.first().and_then(constraint)
    else {
        return merged;
    };
    for column in columns {
        if let ([part], Some(alias)) = (&column.0[..], alias)
            && let Some(ident) = part.as_ident()
        {
            merged.insert(plain(ident), Some(alias.name.value.clone()));
        }
    }
    merged
}

/// A name as the binder knows it.
pub(super) fn plain(ident: &Ident) -> String {
    folded(&ident.value)
}

struct Qualifier<'a> {
    merged: &'a Merged,
}

impl OnLevel for Qualifier<'_> {
    fn leave(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(column) = expr
            && let Some(Some(name)) = self.merged.get(&plain(column))
        {
            *expr = column_of(name, column);
        }
        ControlFlow::Continue(())
    }
}
