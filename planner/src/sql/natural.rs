//! NATURAL JOIN as USING, where the columns of both sides are known before anything is bound.
//!
//! The binder would find a merged column twice and, in a subquery, take one of a query around for
//! it. What is known are the columns of tables, views and files, of queries that name theirs, and
//! of joins of those; others are merged when they are bound (see `relations`).

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Ident, JoinConstraint, ObjectName, Query, Select, SelectItem, SetExpr, SetQuantifier,
    TableAlias, TableFactor, VisitMut, VisitorMut,
};

use super::names::given_name;
use super::using::{constraint, constraint_mut, plain, qualify_in_order, qualify_in_select};

/// The columns of a table that is named, where there is one.
pub(super) type ColumnsOf<'a> = &'a dyn Fn(&ObjectName) -> Option<Vec<String>>;

/// Writes the columns that NATURAL JOINs of a query merge.
pub(super) fn write_columns(query: &mut Query, columns_of: ColumnsOf<'_>) {
    let _ =
        VisitMut::visit(query, &mut Writing { columns_of, ctes: Vec::new(), is_written: false });
}

struct Writing<'a> {
    columns_of: ColumnsOf<'a>,
    /// The CTEs of the queries around, by their names, and the columns of those that are known.
    ctes: Vec<Vec<(String, Option<Vec<String>>)>>,
    /// Whether a join got columns, by which those of the SELECTs around are qualified.
    is_written: bool,
}

impl Writing<'_> {
    fn columns_of_query(&self, query: &SetExpr) -> Option<Vec<String>> {
        match query {
            SetExpr::Query(query) => self.columns_of_query(&query.body),
            SetExpr::SetOperation { left, set_quantifier, .. } => match set_quantifier {
                SetQuantifier::ByName
                | SetQuantifier::AllByName
                | SetQuantifier::DistinctByName => None,
                _ => self.columns_of_query(left),
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
                            columns.extend(self.columns(&all.relation)?);
                        }
                        _ => columns.push(given_name(item)?),
                    }
                }
                Some(columns)
            }
            _ => None,
        }
    }

    fn columns(&self, table: &TableFactor) -> Option<Vec<String>> {
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
                renamed(self.columns_of_query(&subquery.body), alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                let mut columns = self.columns(&table_with_joins.relation)?;
                for join in &table_with_joins.joins {
                    columns.extend(self.columns(&join.relation)?);
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

impl VisitorMut for Writing<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.ctes.push(Vec::new());
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = renamed(self.columns_of_query(&cte.query.body), Some(&cte.alias));
            if let Some(ctes) = self.ctes.last_mut() {
                ctes.push((plain(&cte.alias.name), columns));
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.ctes.pop();
        if self.is_written {
            qualify_in_order(query);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::NestedJoin { table_with_joins, alias: Some(_) } = table else {
            return ControlFlow::Continue(());
        };
        let [join] = &table_with_joins.joins[..] else { return ControlFlow::Continue(()) };
        if !matches!(constraint(join), Some(JoinConstraint::Natural)) {
            return ControlFlow::Continue(());
        }
        let sides = [&table_with_joins.relation, &join.relation].map(|side| self.columns(side));
        let [Some(left), Some(right)] = sides else { return ControlFlow::Continue(()) };
        let mut common: Vec<String> = Vec::new();
        for name in left {
            if right.contains(&name) && !common.contains(&name) {
                common.push(name);
            }
        }
        if let Some(constraint) = table_with_joins.joins.first_mut().and_then(constraint_mut)
            && !common.is_empty()
        {
            let names = common.into_iter().map(|name| Ident::with_quote('"', name));
            let names = names.map(|name| ObjectName::from(vec![name]));
            *constraint = JoinConstraint::Using(names.collect());
            self.is_written = true;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if self.is_written {
            qualify_in_select(select);
        }
        ControlFlow::Continue(())
    }
}
