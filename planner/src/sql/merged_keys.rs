//! What merged columns of joins (see `using`) are beside those of their tables.
//!
//! `SELECT t.a … t LEFT JOIN u USING (a) GROUP BY a`: the merged column is that of `t`, so `t.a` is
//! a key as well. In `SELECT t.* … ORDER BY a` the column of the list is meant.

use datafusion_sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableFactor, TableWithJoins,
};

use super::clauses::of_item;
use super::syntax::any;
use super::using::{constraint, plain};

/// Makes keys of GROUP BY of what the list, HAVING, QUALIFY and `others` read by the name of a
/// table, where a merged column that is a key is the same.
pub(super) fn add_keys(select: &mut Select, others: &[&Expr]) {
    let GroupByExpr::Expressions(keys, modifiers) = &select.group_by else { return };
    if !modifiers.is_empty() {
        return;
    }
    let items = select.projection.iter().filter_map(of_item);
    let clauses = select.having.iter().chain(&select.qualify).chain(others.iter().copied());
    let exprs: Vec<&Expr> = items.chain(clauses).collect();
    let mut added = Vec::new();
    for key in keys {
        let Expr::CompoundIdentifier(names) = key else { continue };
        let [join, column] = &names[..] else { continue };
        let Some([left, right]) = sides(&select.from, &join.value, column) else { continue };
        for table in left.same.into_iter().chain(right.same) {
            let name = Expr::CompoundIdentifier(vec![table, column.clone()]);
            if exprs.iter().any(|expr| any(expr, &|expr| is_same(expr, &name))) {
                added.push(name);
            }
        }
    }
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        keys.extend(added);
    }
}

fn is_same(one: &Expr, other: &Expr) -> bool {
    match (one, other) {
        (Expr::CompoundIdentifier(one), Expr::CompoundIdentifier(other)) => {
            one.iter().map(plain).eq(other.iter().map(plain))
        }
        _ => false,
    }
}

/// The column of a table, all of whose columns the list has, that is merged by a join of this name.
pub(super) fn in_list(select: &Select, join: &str, column: &Ident) -> Option<Expr> {
    let [left, right] = sides(&select.from, join, column)?;
    let owners = [left.owners, right.owners].concat();
    select.projection.iter().find_map(|item| {
        let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) =
            item
        else {
            return None;
        };
        let [part] = &name.0[..] else { return None };
        let table = part.as_ident()?;
        let is_it = owners.iter().any(|owner| plain(owner) == plain(table));
        is_it.then(|| Expr::CompoundIdentifier(vec![table.clone(), column.clone()]))
    })
}

/// The tables of one side of a join.
#[derive(Default)]
struct Side {
    /// Whose column is the merged one.
    same: Vec<Ident>,
    /// That surely have a column of its name.
    owners: Vec<Ident>,
}

/// The sides of the join of this name.
fn sides(from: &[TableWithJoins], name: &str, column: &Ident) -> Option<[Side; 2]> {
    from.iter().find_map(|tables| {
        let joined = tables.joins.iter().map(|join| &join.relation);
        std::iter::once(&tables.relation).chain(joined).find_map(|table| {
            let TableFactor::NestedJoin { table_with_joins: inside, alias } = table else {
                return None;
            };
            if alias.as_ref().is_none_or(|alias| alias.name.value != name) {
                return sides(std::slice::from_ref(&**inside), name, column);
            }
            let join = inside.joins.first()?;
            let (keeps_left, keeps_right) = kept(&join.join_operator);
            let side = |table: &TableFactor, is_kept: bool| Side {
                same: if is_kept { same(table, column) } else { Vec::new() },
                owners: owners(table, column),
            };
            Some([side(&inside.relation, keeps_left), side(&join.relation, keeps_right)])
        })
    })
}

/// Of which sides of a join the merged columns are.
fn kept(operator: &JoinOperator) -> (bool, bool) {
    match operator {
        JoinOperator::Join(_) | JoinOperator::Inner(_) => (true, true),
        JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (true, false),
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (false, true),
        _ => (false, false),
    }
}

/// The tables in one side of a join that may have its column, as that of the side.
fn same(table: &TableFactor, column: &Ident) -> Vec<Ident> {
    let TableFactor::NestedJoin { table_with_joins: inside, .. } = table else {
        return name_of(table).into_iter().collect();
    };
    if let [join] = &inside.joins[..]
        && is_merged(join, column)
    {
        let (keeps_left, keeps_right) = kept(&join.join_operator);
        let sides = [(&inside.relation, keeps_left), (&join.relation, keeps_right)];
        let sides = sides.into_iter().filter(|(_, keeps)| *keeps);
        return sides.flat_map(|(table, _)| same(table, column)).collect();
    }
    let joined = inside.joins.iter().map(|join| &join.relation);
    std::iter::once(&inside.relation).chain(joined).flat_map(|t| same(t, column)).collect()
}

/// The tables in one side of a join that surely have the column by which it is joined.
fn owners(table: &TableFactor, column: &Ident) -> Vec<Ident> {
    let TableFactor::NestedJoin { table_with_joins: inside, .. } = table else {
        return name_of(table).into_iter().collect();
    };
    let [join] = &inside.joins[..] else { return Vec::new() };
    if !is_merged(join, column) {
        return Vec::new();
    }
    [&inside.relation, &join.relation].into_iter().flat_map(|t| owners(t, column)).collect()
}

fn is_merged(join: &Join, column: &Ident) -> bool {
    let Some(JoinConstraint::Using(merged)) = constraint(join) else { return false };
    let mut merged = merged.iter().filter_map(|name| name.0.first()?.as_ident());
    merged.any(|merged| plain(merged) == plain(column))
}

/// What a table is called.
fn name_of(table: &TableFactor) -> Option<Ident> {
    match table {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}
