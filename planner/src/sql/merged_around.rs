//! Columns that a join merges, in the subqueries of its SELECT: `x` in
//! `SELECT … FROM a JOIN b USING (x) WHERE EXISTS (SELECT 1 FROM c WHERE c.k = x)`.
//!
//! The binder finds several columns `x` there, and goes on to the next query around, or finds none.
//! So such a name is qualified as one in the SELECT itself, where the tables of the subquery are
//! known not to have it. Where that is not known, it is when the binder has found nothing (see
//! `aliases`).

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, Ident, Query, Select, TableFactor, VisitMut, VisitorMut,
};

use super::known_columns::{ColumnsOf, KnownColumns};
use super::names::given_name;
use super::using::{Merged, column_of, merged_in, plain};

/// Qualifies the merged columns in the subqueries of a query.
pub(super) fn qualify(query: &mut Query, columns_of: ColumnsOf<'_>) {
    let known = KnownColumns::new(columns_of);
    let _ = VisitMut::visit(query, &mut Walk { known, around: Vec::new(), lambdas: Vec::new() });
}

struct Walk<'a> {
    known: KnownColumns<'a>,
    /// The SELECTs around, the innermost last.
    around: Vec<Level>,
    /// The parameters of lambdas around.
    lambdas: Vec<HashSet<String>>,
}

/// What a SELECT has names for.
#[derive(Default)]
struct Level {
    merged: Merged,
    /// The columns of its tables, if they are known and were asked for.
    columns: Option<HashSet<String>>,
    given: HashSet<String>,
}

impl Walk<'_> {
    fn level(&self, select: &Select) -> Level {
        let is_asked_for = self.around.iter().any(|level| !level.merged.is_empty());
        let columns = || {
            let mut all = HashSet::new();
            for tables in &select.from {
                all.extend(self.known.of_tables(tables)?);
            }
            Some(all)
        };
        Level {
            merged: merged_in(&select.from),
            columns: is_asked_for.then(columns).flatten(),
            given: select.projection.iter().filter_map(given_name).collect(),
        }
    }

    /// The join around that a name is a merged column of.
    fn join_of(&self, name: &Ident) -> Option<&str> {
        let name = plain(name);
        let (own, around) = self.around.split_last()?;
        let is_other = |level: &Level| level.columns.as_ref().is_none_or(|all| all.contains(&name));
        if self.lambdas.iter().any(|parameters| parameters.contains(&name))
            || own.given.contains(&name)
            || own.merged.contains_key(&name)
            || is_other(own)
        {
            return None;
        }
        for level in around.iter().rev() {
            match level.merged.get(&name) {
                Some(join) => return join.as_deref(),
                None if is_other(level) => return None,
                None => {}
            }
        }
        None
    }
}

impl VisitorMut for Walk<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.known.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.known.leave();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let level = self.level(select);
        self.around.push(level);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.around.pop();
        ControlFlow::Continue(())
    }

    /// A query in FROM does not see the tables beside it, or not all of them.
    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { .. } = table {
            self.around.push(Level::default());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { .. } = table {
            self.around.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Lambda(lambda) => {
                self.lambdas.push(lambda.params.iter().map(|param| plain(&param.name)).collect());
            }
            Expr::Identifier(name) => {
                if let Some(join) = self.join_of(name) {
                    *expr = column_of(join, name);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Lambda(_) = expr {
            self.lambdas.pop();
        }
        ControlFlow::Continue(())
    }
}
