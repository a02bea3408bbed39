//! NATURAL JOIN as USING, where the columns of both sides are known before anything is bound.
//!
//! The binder would find a merged column twice and, in a subquery, take one of a query around for
//! it. Where columns are not known, they are merged when they are bound (see `relations`).

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Ident, JoinConstraint, ObjectName, Query, Select, TableFactor, VisitMut, VisitorMut,
};

use super::known_columns::{ColumnsOf, KnownColumns};
use super::using::{constraint, constraint_mut, qualify_in_order, qualify_in_select};

/// Writes the columns that NATURAL JOINs of a query merge.
pub(super) fn write_columns(query: &mut Query, columns_of: ColumnsOf<'_>) {
    let mut writing = Writing { known: KnownColumns::new(columns_of), is_written: false };
    let _ = VisitMut::visit(query, &mut writing);
}

struct Writing<'a> {
    known: KnownColumns<'a>,
    /// Whether a join got columns, by which those of the SELECTs around are qualified.
    is_written: bool,
}

impl VisitorMut for Writing<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.known.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.known.leave();
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
        let sides =
            [&table_with_joins.relation, &join.relation].map(|side| self.known.of_table(side));
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
