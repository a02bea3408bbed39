//! Names of tables by query: those that a query reads, and those of the queries around it.

use std::collections::HashSet;

use datafusion_sql::sqlparser::ast::{
    Ident, Query, Select, SetExpr, TableAlias, TableFactor, TableWithJoins,
};

use super::using::plain;

/// The names of tables by query, the innermost last. Kept by a walk over a syntax tree.
#[derive(Default)]
pub(super) struct Scopes(Vec<HashSet<String>>);

impl Scopes {
    pub(super) fn enter(&mut self, select: &Select) {
        let mut names = HashSet::new();
        select.from.iter().for_each(|tables| add_tables(tables, &mut names));
        self.0.push(names);
    }

    /// ORDER BY stands behind the SELECT whose tables it may name.
    pub(super) fn enter_query(&mut self, query: &Query) {
        match query.body.as_ref() {
            SetExpr::Select(select) => self.enter(select),
            _ => self.0.push(HashSet::new()),
        }
    }

    pub(super) fn leave(&mut self) {
        self.0.pop();
    }

    /// Whether there is a table of this name, here or around.
    pub(super) fn is_table(&self, name: &Ident) -> bool {
        let name = plain(name);
        self.0.iter().any(|names| names.contains(&name))
    }

    /// Whether there is one around, and none here.
    pub(super) fn is_around(&self, table: &Ident) -> bool {
        let table = plain(table);
        let Some((own, around)) = self.0.split_last() else { return false };
        !own.contains(&table) && around.iter().any(|names| names.contains(&table))
    }
}

fn add_tables(tables: &TableWithJoins, names: &mut HashSet<String>) {
    let joined = tables.joins.iter().map(|join| &join.relation);
    for table in std::iter::once(&tables.relation).chain(joined) {
        let name = match table {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                add_tables(table_with_joins, names);
                alias.as_ref().map(named)
            }
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. } => Some(named(alias)),
            TableFactor::Table { name, .. } => {
                name.0.last().and_then(|part| part.as_ident()).map(plain)
            }
            _ => None,
        };
        names.extend(name);
    }
}

fn named(alias: &TableAlias) -> String {
    plain(&alias.name)
}
