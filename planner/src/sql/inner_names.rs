//! Names of CTEs that hide those of the queries around: the binder takes each name once.
//!
//! An inner CTE of an outer one's name gets a name of its own, and what names it keeps the name
//! that was written as an alias. A CTE names itself only where it is recursive, otherwise the outer
//! one, or a table.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Ident, ObjectName, Query, TableAlias, TableFactor, VisitMut, VisitorMut,
};

use super::using::plain;

/// Gives inner CTEs names of their own.
pub(super) fn tell_apart(node: &mut impl VisitMut) {
    let _ = VisitMut::visit(node, &mut Scopes::default());
}

/// The names that the CTEs of the queries around have.
#[derive(Default)]
struct Scopes {
    names: Vec<Vec<String>>,
    renamed: usize,
}

impl VisitorMut for Scopes {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.names.push(ctes.map(|cte| plain(&cte.alias.name)).collect());
        ControlFlow::Continue(())
    }

    /// The queries inside have no name left that one of this query's hides.
    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let names = self.names.pop().unwrap_or_default();
        for (at, name) in names.iter().enumerate() {
            let is_outer = self.names.iter().flatten().any(|outer| outer == name);
            // A name that is there twice is an error.
            if is_outer && names.iter().filter(|other| *other == name).count() == 1 {
                self.renamed += 1;
                rename(query, at, name, &format!("{name}!{}", self.renamed));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Renames a query's CTE of this number.
fn rename(query: &mut Query, at: usize, from: &str, to: &str) {
    let Some(mut with) = query.with.take() else { return };
    let mut renaming = Renaming { from, to };
    let first = if with.recursive { at } else { at + 1 };
    for cte in with.cte_tables.iter_mut().skip(first) {
        let _ = VisitMut::visit(&mut cte.query, &mut renaming);
    }
    if let Some(cte) = with.cte_tables.get_mut(at) {
        cte.alias.name = renamed(&cte.alias.name, to);
    }
    let _ = VisitMut::visit(query, &mut renaming);
    query.with = Some(with);
}

struct Renaming<'a> {
    from: &'a str,
    to: &'a str,
}

impl VisitorMut for Renaming<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else {
            return ControlFlow::Continue(());
        };
        let written = match &name.0[..] {
            [part] => part.as_ident().filter(|ident| plain(ident) == self.from).cloned(),
            _ => None,
        };
        if let Some(written) = written {
            *name = ObjectName::from(vec![renamed(&written, self.to)]);
            alias.get_or_insert_with(|| TableAlias {
                explicit: true,
                name: written,
                columns: Vec::new(),
                at: None,
            });
        }
        ControlFlow::Continue(())
    }
}

fn renamed(ident: &Ident, to: &str) -> Ident {
    Ident { value: to.to_string(), quote_style: Some('"'), span: ident.span }
}
