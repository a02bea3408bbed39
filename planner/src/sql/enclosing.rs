//! Names of tables in the queries around: `b.k` where the query at hand has a column `b`, and one
//! around it a table `b`.
//!
//! The binder takes `b.k` for the field `k` of the column `b`, be it of a struct or not, before it
//! looks around. So a query with such names has a second reading, in which they are `k` of the
//! table `b` alone: it counts where the first one has no sense.
//!
//! Sound: `"!enclosing".b.k` can only be the column of a table, and the binder compares the schema
//! with nothing where the table has none.

use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr as Bound, ExprSchemable, LogicalPlan};
use datafusion_sql::sqlparser::ast::{
    Expr, Ident, Query, Select, Visit, VisitMut, Visitor, VisitorMut,
};

use super::renewed::{any_expression, schema_below};
use super::scopes::Scopes;

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

/// Whether a name is that of a column of a table around.
fn reads_around(name: &[Ident], scopes: &Scopes) -> bool {
    matches!(name, [table, _] if scopes.is_around(table))
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
            Expr::CompoundIdentifier(name) if reads_around(name, &self.0) => ControlFlow::Break(()),
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
            && reads_around(name, &self.0)
        {
            name.insert(0, Ident::with_quote('"', ENCLOSING));
        }
        ControlFlow::Continue(())
    }
}
