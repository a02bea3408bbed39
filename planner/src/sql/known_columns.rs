//! Columns that are known before anything is bound: those of tables, views and files, of queries
//! that name theirs, and of joins of those.

use datafusion_sql::sqlparser::ast::{
    ObjectName, Query, SelectItem, SetExpr, SetQuantifier, TableAlias, TableFactor,
};

use super::names::given_name;
use super::using::plain;

/// The columns of a table that is named, where there is one.
pub(super) type ColumnsOf<'a> = &'a dyn Fn(&ObjectName) -> Option<Vec<String>>;

/// Tells columns in a walk over a query.
pub(super) struct KnownColumns<'a> {
    columns_of: ColumnsOf<'a>,
    /// The CTEs of the queries around, by their names, and the columns of those that are known.
    ctes: Vec<Vec<(String, Option<Vec<String>>)>>,
}

impl<'a> KnownColumns<'a> {
    pub(super) fn new(columns_of: ColumnsOf<'a>) -> Self {
        KnownColumns { columns_of, ctes: Vec::new() }
    }

    /// The walk goes into a query.
    pub(super) fn enter(&mut self, query: &Query) {
        self.ctes.push(Vec::new());
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = renamed(self.of_query(&cte.query.body), Some(&cte.alias));
            if let Some(ctes) = self.ctes.last_mut() {
                ctes.push((plain(&cte.alias.name), columns));
            }
        }
    }

    /// The walk leaves a query.
    pub(super) fn leave(&mut self) {
        self.ctes.pop();
    }

    /// The columns of what stands in FROM.
    pub(super) fn of_table(&self, table: &TableFactor) -> Option<Vec<String>> {
        match table {
            TableFactor::Table { name, args: None, alias, .. } => {
                let own = plain(name.0.last()?.as_ident()?);
                let cte = self.ctes.iter().flatten().rev().find(|(cte, _)| *cte == own);
                let columns = match cte {
                    Some((_, columns)) => columns.clone(),
                    None => (self.columns_of)(name),
                };
                renamed(columns, alias.as_ref())
            }
            TableFactor::Derived { subquery, alias, .. } => {
                renamed(self.of_query(&subquery.body), alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                let mut columns = self.of_table(&table_with_joins.relation)?;
                for join in &table_with_joins.joins {
                    columns.extend(self.of_table(&join.relation)?);
                }
                Some(columns)
            }
            _ => None,
        }
    }

    fn of_query(&self, query: &SetExpr) -> Option<Vec<String>> {
        match query {
            SetExpr::Query(query) => self.of_query(&query.body),
            SetExpr::SetOperation { left, set_quantifier, .. } => match set_quantifier {
                SetQuantifier::ByName
                | SetQuantifier::AllByName
                | SetQuantifier::DistinctByName => None,
                _ => self.of_query(left),
            },
            SetExpr::Values(values) => {
                let width = values.rows.first()?.len();
                Some((1..=width).map(|at| format!("column{at}")).collect())
            }
            SetExpr::Select(select) => {
                let mut columns = Vec::new();
                for item in &select.projection {
                    match (item, &select.from[..]) {
                        (SelectItem::Wildcard(options), [all])
                            if all.joins.is_empty() && *options == Default::default() =>
                        {
                            columns.extend(self.of_table(&all.relation)?);
                        }
                        _ => columns.push(given_name(item)?),
                    }
                }
                Some(columns)
            }
            _ => None,
        }
    }
}

/// Columns under the names that an alias gives them.
fn renamed(columns: Option<Vec<String>>, alias: Option<&TableAlias>) -> Option<Vec<String>> {
    let mut columns = columns?;
    for (column, name) in columns.iter_mut().zip(alias.iter().flat_map(|alias| &alias.columns)) {
        *column = plain(&name.name);
    }
    Some(columns)
}
