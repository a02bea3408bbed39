//! Names of tables in the queries around: `b.k` where the query at hand has a column `b`, and one
//! around it a table `b`.
//!
//! The binder takes `b.k` for the field `k` of the column `b`, be it of a struct or not, before it
//! looks around. So a query with such names has a second reading, in which they are `k` of the
//! table `b` alone: it counts where the first one has no sense.
//!
//! Sound: `"!enclosing".b.k` can only be the column of a table, and the binder compares the schema
//! with nothing where the table has none.

use std::collections::HashSet;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr as Bound, ExprSchemable, LogicalPlan};
use datafusion_sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SetExpr, TableAlias, TableFactor, TableWithJoins, Visit, VisitMut,
    Visitor, VisitorMut,
};

use super::renewed::{any_expression, schema_below};
use super::using::plain;

/// The schema that makes the name of a column of three parts.
const ENCLOSING: &str = "!enclosing";

/// The query's second reading, if it has one.
pub(super) fn second_reading(query: &Query) -> Option<Box<Query>> {
    if query.visit(&mut Search(Scopes::default())).is_continue() {
        return None;
    }
    let mut query = Box::new(query.clone());
    let _ = VisitMut::visit(&mut query, &mut Naming(Scopes::default()));
    Some(query)
}

/// Whether a plan takes fields of what has none.
pub(super) fn is_senseless(plan: &LogicalPlan) -> bool {
    let mut found = false;
    // Nothing in it fails.
    let _ = plan.apply_with_subqueries(|node| {
        found |= any_expression(node, names_field) && takes_no_field(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

fn names_field(expr: &Bound) -> bool {
    expr.exists(|e| Ok(field_of(e).is_some())).unwrap_or(false)
}

fn field_of(expr: &Bound) -> Option<&Bound> {
    match expr {
        Bound::ScalarFunction(call) if call.name() == "get_field" => call.args.first(),
        _ => None,
    }
}

fn takes_no_field(node: &LogicalPlan) -> bool {
    let schema = schema_below(node);
    let has_fields = |e: &Bound| matches!(e.get_type(&schema), Ok(DataType::Struct(_)));
    let is_wrong = |e: &Bound| field_of(e).is_some_and(|value| !has_fields(value));
    any_expression(node, |expr| expr.exists(|e| Ok(is_wrong(e))).unwrap_or(true))
}

/// The names of tables by query, the innermost last.
#[derive(Default)]
struct Scopes(Vec<HashSet<String>>);

impl Scopes {
    fn enter(&mut self, select: &Select) {
        let mut names = HashSet::new();
        select.from.iter().for_each(|tables| add_tables(tables, &mut names));
        self.0.push(names);
    }

    /// ORDER BY stands behind the SELECT whose tables it may name.
    fn enter_query(&mut self, query: &Query) {
        match query.body.as_ref() {
            SetExpr::Select(select) => self.enter(select),
            _ => self.0.push(HashSet::new()),
        }
    }

    fn leave(&mut self) {
        self.0.pop();
    }

    /// Whether a name is that of a column of a table around.
    fn reads_around(&self, name: &[Ident]) -> bool {
        let ([table, _], Some((own, around))) = (name, self.0.split_last()) else { return false };
        let table = plain(table);
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

struct Search(Scopes);

impl Visitor for Search {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.0.enter_query(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.0.leave();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.0.enter(select);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.0.leave();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(name) if self.0.reads_around(name) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

struct Naming(Scopes);

impl VisitorMut for Naming {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.0.enter_query(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.0.leave();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.0.enter(select);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.0.leave();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(name) = expr
            && self.0.reads_around(name)
        {
            name.insert(0, Ident::with_quote('"', ENCLOSING));
        }
        ControlFlow::Continue(())
    }
}
