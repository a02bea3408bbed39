//! Views: queries with a name, bound anew by every statement that reads them.
//!
//! A view keeps its tokens and not a plan: what it reads may have been replaced since, and files
//! may have changed.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_common::TableReference;
use datafusion_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion_sql::parser::Statement as Parsed;
use datafusion_sql::sqlparser::ast::Statement as Sql;
use gristmill_engine::{Error, Position, Result};

use super::bind::{bind_query, renamed};
use super::context::Binder;
use super::diagnose::to_error;
use super::fold::folded_plan;
use super::script::Statement;
use crate::parameters::Parameters;

/// Begins the alias of every view's plan: equal parts of a statement are found by it.
pub(crate) const VIEW_PREFIX: &str = "__view_";

/// Begins errors that name a view.
const IN_VIEW: &str = "in the view ";

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
            Error::Input { message, .. } => Error::input(self.named_in(&message)),
            other => other,
        })?;
        let plan = folded_plan(plan).map_err(|e| to_error(&e, &Position::default()))?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Ok(ViewSource { schema, plan })
    }

    /// What is wrong in the view. Of those between it and the one that is wrong none is named:
    /// there may be many.
    fn named_in(&self, message: &str) -> String {
        let next = message.strip_prefix(IN_VIEW).and_then(|named| named.split_once(": "));
        let inner = next.map(|(_, said)| said).filter(|said| said.starts_with(IN_VIEW));
        format!("{IN_VIEW}{}: {}", self.name, inner.unwrap_or(message))
    }

    /// The plan of the view's query.
    pub(crate) fn plan(&self, binder: &Binder<'_>) -> Result<LogicalPlan> {
        let no_query = || Error::internal("a view that is no query");
        let parsed = self.query.parse(Some(&self.parameters))?.body;
        let Parsed::Statement(sql) = parsed else { return Err(no_query()) };
        let Sql::Query(query) = *sql else { return Err(no_query()) };
        let plan = bind_query(query, binder, self.query.position())?;
        let plan = renamed(plan, &self.columns, &Position::default())?;
        let alias = TableReference::bare(format!("{VIEW_PREFIX}{}", self.name));
        LogicalPlanBuilder::from(plan)
            .alias(alias)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|e| to_error(&e, &Position::default()))
    }
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
