//! Columns that are known before anything is bound: those of tables, views and files, of queries
//! that name theirs, and of joins of those.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Ident, ObjectName, Query, Select, SelectItem, SetExpr, SetQuantifier, TableAlias, TableFactor,
    TableWithJoins, Visit, Visitor,
};

use super::names::given_name;
use super::using::{USING_PREFIX, gives_both, plain};

/// The columns of a table that is named, where there is one.
pub(super) type ColumnsOf<'a> = &'a dyn Fn(&ObjectName) -> Option<Vec<String>>;

/// Tells columns in a walk over a query, which goes through the CTEs of a query before its body.
#[derive(Clone)]
pub(super) struct KnownColumns<'a> {
    columns_of: ColumnsOf<'a>,
    /// Of the queries around, the innermost last.
    queries: Vec<Ctes>,
}

/// The CTEs of a query.
#[derive(Clone, Default)]
struct Ctes {
    /// Their names, and the columns of those that are known.
    all: Vec<(String, Option<Vec<String>>)>,
    /// Those that the walk has gone into, the last of which it may be in. It sees those before.
    entered: usize,
    is_inside: bool,
}

impl Ctes {
    fn visible(&self) -> &[(String, Option<Vec<String>>)] {
        match self.is_inside {
            true => &self.all[..self.entered - 1],
            false => &self.all,
        }
    }
}

impl<'a> KnownColumns<'a> {
    pub(super) fn new(columns_of: ColumnsOf<'a>) -> Self {
        KnownColumns { columns_of, queries: Vec::new() }
    }

    /// The walk goes into a query.
    pub(super) fn enter(&mut self, query: &Query) {
        if let Some(around) = self.queries.last_mut()
            && !around.is_inside
            && around.entered < around.all.len()
        {
            around.entered += 1;
            around.is_inside = true;
        }
        self.queries.push(Ctes::default());
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = renamed(self.of_query(&cte.query), Some(&cte.alias));
            if let Some(own) = self.queries.last_mut() {
                own.all.push((plain(&cte.alias.name), columns));
            }
        }
    }

    /// The walk leaves a query.
    pub(super) fn leave(&mut self) {
        self.queries.pop();
        if let Some(around) = self.queries.last_mut() {
            around.is_inside = false;
        }
    }

    /// The columns of what stands in FROM.
    pub(super) fn of_table(&self, table: &TableFactor) -> Option<Vec<String>> {
        match table {
            TableFactor::Table { name, args: None, alias, .. } => {
                let cte = match &name.0[..] {
                    [own] => self.cte(own.as_ident()?),
                    _ => None,
                };
                let columns = match cte {
                    Some(columns) => columns.clone(),
                    None => (self.columns_of)(name),
                };
                renamed(columns, alias.as_ref())
            }
            TableFactor::Derived { subquery, alias, .. } => {
                renamed(self.of_query(subquery), alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.of_tables(table_with_joins),
            _ => None,
        }
    }

    /// Those of a join.
    pub(super) fn of_tables(&self, tables: &TableWithJoins) -> Option<Vec<String>> {
        let mut columns = self.of_table(&tables.relation)?;
        for join in tables.joins.iter().filter(|join| gives_both(join)) {
            columns.extend(self.of_table(&join.relation)?);
        }
        Some(columns)
    }

    fn cte(&self, name: &Ident) -> Option<&Option<Vec<String>>> {
        let name = plain(name);
        let visible = self.queries.iter().rev().flat_map(|query| query.visible().iter().rev());
        visible.into_iter().find(|(cte, _)| *cte == name).map(|(_, columns)| columns)
    }

    fn of_query(&self, query: &Query) -> Option<Vec<String>> {
        if query.with.is_none() {
            return self.of_body(&query.body);
        }
        let mut inside = self.clone();
        inside.queries.push(Ctes::default());
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = renamed(inside.of_query(&cte.query), Some(&cte.alias));
            if let Some(own) = inside.queries.last_mut() {
                own.all.push((plain(&cte.alias.name), columns));
            }
        }
        inside.of_body(&query.body)
    }

    fn of_body(&self, body: &SetExpr) -> Option<Vec<String>> {
        match body {
            SetExpr::Query(query) => self.of_query(query),
            SetExpr::SetOperation { left, set_quantifier, .. } => match set_quantifier {
                SetQuantifier::ByName
                | SetQuantifier::AllByName
                | SetQuantifier::DistinctByName => None,
                _ => self.of_body(left),
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

/// Whether a query has joins that merge columns, or leaves columns of `*` out: others need not know
/// the columns of their tables before they are bound.
pub(super) fn are_asked_for(query: &Query) -> bool {
    query.visit(&mut Asking).is_break()
}

struct Asking;

impl Visitor for Asking {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let leaves_out = |item: &SelectItem| match item {
            SelectItem::Wildcard(options) => options.opt_exclude.is_some(),
            _ => false,
        };
        match select.projection.iter().any(leaves_out) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::NestedJoin { alias: Some(alias), .. }
                if alias.name.value.starts_with(USING_PREFIX) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
