//! Views: queries with a name, bound anew by every statement that reads them.
//!
//! A view keeps its tokens and not a plan: what it reads may have been replaced since, and files
//! may have changed.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::TableReference;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion_sql::parser::Statement as Parsed;
use datafusion_sql::sqlparser::ast::Statement as Sql;
use gristmill_engine::{Error, Position, Result};

use super::bind::{bind_query, renamed};
use super::context::Binder;
use super::diagnose::to_error;
use super::script::Statement;
use crate::parameters::Parameters;

/// Begins the alias of every view's plan: equal parts of a statement are found by it.
pub(crate) const VIEW_PREFIX: &str = "__view_";

/// A view.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) query: Statement,
    /// Names of its columns, where they are not the query's.
    pub(crate) columns: Vec<String>,
    /// The values that parameters had when it was made.
    pub(crate) parameters: Parameters,
}

impl View {
    /// Binds the view's query.
    ///
    /// # Errors
    /// `Input` that names the view; places in its text are left out, which may be another one.
    pub(super) fn bind(&self, binder: &Binder<'_>) -> Result<ViewSource> {
        let plan = binder.within(self).and_then(|binder| self.plan(&binder));
        let plan = plan.map_err(|error| match error {
            Error::Input { message, .. } => {
                Error::input(format!("in the view {}: {message}", self.name))
            }
            other => other,
        })?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Ok(ViewSource { schema, plan })
    }

    /// The plan of the view's query.
    pub(crate) fn plan(&self, binder: &Binder<'_>) -> Result<LogicalPlan> {
        let mut plan = self.numbered(0, binder)?;
        if is_volatile(&plan).map_err(|e| to_error(&e, &Position::default()))? {
            // Equal texts in two references are two definitions.
            plan = self.numbered(binder.next_definitions(), binder)?;
        }
        let plan = renamed(plan, &self.columns, &Position::default())?;
        let alias = TableReference::bare(format!("{VIEW_PREFIX}{}", self.name));
        LogicalPlanBuilder::from(plan)
            .alias(alias)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| to_error(&e, &Position::default()))
    }

    fn numbered(&self, first_definition: usize, binder: &Binder<'_>) -> Result<LogicalPlan> {
        let parsed = self.query.parse_numbered(Some(&self.parameters), first_definition)?;
        if let Parsed::Statement(sql) = parsed.body
            && let Sql::Query(query) = *sql
        {
            return bind_query(query, binder, self.query.position());
        }
        Err(Error::internal("a view that is no query"))
    }
}

fn is_volatile(plan: &LogicalPlan) -> datafusion_common::Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= node.expressions().iter().any(Expr::is_volatile);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// A view as the front end sees it: its plan takes the place of the scan.
#[derive(Debug)]
pub(super) struct ViewSource {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn get_logical_plan(&self) -> Option<std::borrow::Cow<'_, LogicalPlan>> {
        Some(std::borrow::Cow::Borrowed(&self.plan))
    }
}
