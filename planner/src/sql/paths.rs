//! Names behind the names of columns, `t.s.a` and `s.a.b`: parts of columns, as calls.
//!
//! The binder would ask for schemas and catalogs first, though tables have none here, and finds the
//! table whatever stands in front of its name: `s.s.a` is to it `a` of the table `s`, when it has
//! one. And it knows no parts of columns of queries around. Which name is that of the column the
//! tables in sight tell: the second one behind a table, else the first.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, Query, Select, SelectItem, VisitMut, VisitorMut,
};

use super::information::{INFORMATION_SCHEMA, MAIN_SCHEMA};
use super::scopes::Scopes;
use super::structs::PART;
use super::syntax::{call, nested, text};
use super::using::plain;

/// What some put in front of [`MAIN_SCHEMA`].
const MAIN_CATALOG: &str = "memory";

/// Writes parts of columns as calls, in the whole query.
pub(super) fn write_parts(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Parts { tables: Scopes::default(), queries: 0 });
}

struct Parts {
    /// The tables in sight.
    tables: Scopes,
    /// Queries around the expression at hand.
    queries: usize,
}

impl VisitorMut for Parts {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.tables.enter_query(query);
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.tables.leave();
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.tables.enter(select);
        // A part is called by its own name.
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) = item else { continue };
            let inside = self.without_schema(names);
            let of_column = self.names_of_column(inside);
            if let Some(last) = inside[of_column.min(inside.len())..].last() {
                let (alias, names) = (last.clone(), std::mem::take(names));
                let expr = Expr::CompoundIdentifier(names);
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.tables.leave();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(names) => {
                if let Some(meant) = self.meant(names) {
                    *expr = meant;
                }
            }
            // `t.s.a[1].b`
            Expr::CompoundFieldAccess { root, access_chain } => {
                let mut names = match root.as_ref() {
                    Expr::Identifier(name) => vec![name.clone()],
                    Expr::CompoundIdentifier(names) => names.clone(),
                    _ => return ControlFlow::Continue(()),
                };
                let dots = access_chain.iter().map_while(|access| match access {
                    AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
                    _ => None,
                });
                let roots = names.len();
                names.extend(dots);
                if let Some(meant) = self.meant(&names) {
                    access_chain.drain(..names.len() - roots);
                    **root = nested(meant);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Parts {
    /// A name as parts of a column; `None` where the binder knows it.
    fn meant(&self, names: &[Ident]) -> Option<Expr> {
        let names = self.without_schema(names);
        if names.len() < 2 {
            return None;
        }
        let of_column = self.names_of_column(names);
        // Two names are a column of a table or a part of a column here, which the binder knows.
        let is_known = names.len() == 2 && (of_column == 2 || self.queries == 1);
        if is_known {
            return None;
        }
        let (column, parts) = names.split_at(of_column);
        let column = match column {
            [column] => Expr::Identifier(column.clone()),
            column => Expr::CompoundIdentifier(column.to_vec()),
        };
        let part = |value, name: &Ident| call(PART, vec![value, text(&name.value)]);
        Some(parts.iter().fold(column, part))
    }

    /// How many names are those of the column: with that of its table, or alone.
    fn names_of_column(&self, names: &[Ident]) -> usize {
        let is_table = |name: &Ident| name.value.starts_with('!') || self.tables.is_table(name);
        if names.first().is_some_and(is_table) { 2 } else { 1 }
    }

    /// The names behind the schema that tables are in.
    fn without_schema<'a>(&self, names: &'a [Ident]) -> &'a [Ident] {
        let is_main = |name: &Ident| {
            [MAIN_SCHEMA, INFORMATION_SCHEMA].contains(&&*plain(name))
                && !self.tables.is_table(name)
        };
        match names {
            [main, table, _, ..] if is_main(main) && self.tables.is_table(table) => &names[1..],
            [catalog, main, table, _, ..]
                if plain(catalog) == MAIN_CATALOG
                    && is_main(main)
                    && self.tables.is_table(table) =>
            {
                &names[2..]
            }
            _ => names,
        }
    }
}
