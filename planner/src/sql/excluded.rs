//! `* EXCLUDE (k)` over tables that have several columns `k`, all of which are left out, and
//! `* EXCLUDE (t.k)`: the binder wants one column by its name alone, so `*` is written out where
//! the columns of the tables are known.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, JoinConstraint, ObjectName, Query, Select, SelectItem,
    TableFactor, TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};

use super::known_columns::{ColumnsOf, KnownColumns};
use super::using::{USING_PREFIX, constraint, gives_both, plain};

/// Writes out what is left of `*` in the SELECTs of a query.
pub(super) fn write_rest(query: &mut Query, columns_of: ColumnsOf<'_>) {
    let _ = VisitMut::visit(query, &mut Writing(KnownColumns::new(columns_of)));
}

struct Writing<'a>(KnownColumns<'a>);

impl VisitorMut for Writing<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.0.leave();
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut written = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            let rest = match &item {
                SelectItem::Wildcard(options) => self.rest(options, &select.from),
                _ => None,
            };
            match rest {
                Some(columns) => written.extend(columns),
                None => written.push(item),
            }
        }
        select.projection = written;
        ControlFlow::Continue(())
    }
}

/// A column by the name of its table.
#[derive(Clone, PartialEq)]
struct Named {
    table: String,
    column: String,
}

impl Writing<'_> {
    /// The columns that are left; `None` where the binder finds them, or says what is wrong.
    fn rest(
        &self,
        options: &WildcardAdditionalOptions,
        from: &[TableWithJoins],
    ) -> Option<Vec<SelectItem>> {
        let excluded: Vec<&ObjectName> = match options.opt_exclude.as_ref()? {
            ExcludeSelectItem::Single(name) => vec![name],
            ExcludeSelectItem::Multiple(names) => names.iter().collect(),
        };
        let names = |name: &ObjectName| {
            name.0.iter().map(|part| part.as_ident().map(plain)).collect::<Option<Vec<_>>>()
        };
        let excluded = excluded.into_iter().map(names).collect::<Option<Vec<_>>>()?;
        let is_other = options.opt_rename.is_some() || options.opt_ilike.is_some();
        if is_other || options.opt_except.is_some() {
            return None;
        }
        let mut all = Vec::new();
        for tables in from {
            all.extend(self.listed(tables)?);
        }
        let is_meant = |name: &[String], column: &Named| match name {
            [name] => *name == column.column,
            [table, name] => *table == column.table && *name == column.column,
            _ => false,
        };
        let meant: Vec<Vec<&Named>> = excluded
            .iter()
            .map(|name| all.iter().filter(|column| is_meant(name, column)).collect())
            .collect();
        // A merged column is there under the names of both sides, too.
        let is_found = |columns: &Vec<&Named>| match &columns[..] {
            [column] => !column.table.starts_with(USING_PREFIX),
            _ => false,
        };
        let is_plain = excluded.iter().all(|name| name.len() == 1);
        if meant.iter().any(Vec::is_empty) || (is_plain && meant.iter().all(is_found)) {
            return None;
        }
        let left = all.iter().filter(|c| !excluded.iter().any(|name| is_meant(name, c)));
        let replaced = options.opt_replace.iter().flat_map(|replace| &replace.items);
        let replaced: Vec<_> = replaced.collect();
        let item = |column: &Named| {
            let of = replaced.iter().find(|of| plain(&of.column_name) == column.column);
            match of {
                Some(of) => SelectItem::ExprWithAlias {
                    expr: of.expr.clone(),
                    alias: of.column_name.clone(),
                },
                None => SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![
                    Ident::with_quote('"', &column.table),
                    Ident::with_quote('"', &column.column),
                ])),
            }
        };
        Some(left.map(item).collect())
    }

    /// What `*` stands for.
    fn listed(&self, tables: &TableWithJoins) -> Option<Vec<Named>> {
        let mut columns = self.listed_of(&tables.relation)?;
        for join in &tables.joins {
            if gives_both(join) {
                columns.extend(self.listed_of(&join.relation)?);
            }
        }
        Some(columns)
    }

    fn listed_of(&self, table: &TableFactor) -> Option<Vec<Named>> {
        let name = match table {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let columns = self.listed(table_with_joins)?;
                return match alias {
                    None => Some(columns),
                    Some(name) if name.name.value.starts_with(USING_PREFIX) => {
                        merged(table_with_joins, &name.name.value, columns)
                    }
                    Some(_) => None,
                };
            }
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. } => plain(&alias.name),
            TableFactor::Table { name, .. } => plain(name.0.last()?.as_ident()?),
            _ => return None,
        };
        let columns = self.0.of_table(table)?.into_iter();
        Some(columns.map(|column| Named { table: name.clone(), column }).collect())
    }
}

/// The columns of a join that merges some: those, and the others of both sides.
fn merged(tables: &TableWithJoins, name: &str, sides: Vec<Named>) -> Option<Vec<Named>> {
    let Some(JoinConstraint::Using(keys)) = tables.joins.first().and_then(constraint) else {
        return None;
    };
    let key = |key: &ObjectName| Some(plain(key.0.first()?.as_ident()?));
    let keys = keys.iter().map(key).collect::<Option<Vec<_>>>()?;
    let named = |key: &String| Named { table: name.to_string(), column: key.clone() };
    let mut columns: Vec<Named> = keys.iter().map(named).collect();
    columns.extend(sides.into_iter().filter(|column| !keys.contains(&column.column)));
    Some(columns)
}
