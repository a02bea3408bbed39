//! CTEs that read themselves, for an error that says so: the binder knows a CTE behind its query
//! only, and looks for a table of that name there.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{Query, Visit, Visitor, visit_relations};
use gristmill_engine::Error;

/// The names of the CTEs in a query, without RECURSIVE, whose queries name them.
pub(super) fn self_readers(query: &Query) -> Vec<String> {
    let mut search = Search { names: Vec::new() };
    let _ = query.visit(&mut search);
    search.names
}

/// The error for a table that there is not, said of the CTE that it was meant to be.
pub(super) fn explained(error: Error, readers: &[String]) -> Error {
    let Error::Input { message, position } = error else { return error };
    let missing = message.strip_prefix("there is no table ").unwrap_or_default();
    let name = missing.split(';').next().unwrap_or_default();
    let message = match readers.iter().any(|reader| reader.eq_ignore_ascii_case(name)) {
        true => format!(
            "the CTE {name} reads itself, and there is no table {name}; WITH RECURSIVE is not \
             supported"
        ),
        false => message,
    };
    Error::Input { message, position }
}

struct Search {
    names: Vec<String>,
}

impl Visitor for Search {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let with = query.with.iter().filter(|with| !with.recursive);
        for cte in with.flat_map(|with| &with.cte_tables) {
            let name = &cte.alias.name.value;
            let reads = visit_relations(&cte.query, |relation| {
                let is_it = relation.0.len() == 1
                    && relation.0[0].as_ident().is_some_and(|n| n.value.eq_ignore_ascii_case(name));
                if is_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if reads.is_break() {
                self.names.push(name.clone());
            }
        }
        ControlFlow::Continue(())
    }
}
