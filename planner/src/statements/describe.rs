//! DESCRIBE and SHOW: what there is, as rows of texts.

use arrow::datatypes::SchemaRef;
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Query, ShowStatementOptions, Statement as Sql,
};
use gristmill_engine::{Error, Result};

use super::names::ident_name;
use super::settings::SETTINGS;
use super::{Command, Planner, Settings, text_rows};
use crate::catalog::{Kind, PlannedTable};
use crate::sql::{all_of, analyze, nearest, told_apart, type_name};

impl Planner<'_> {
    /// A statement that asks what there is; all others are refused by name.
    pub(super) fn describe(&mut self, statement: Sql) -> Result<Command> {
        match statement {
            Sql::ExplainTable { table_name, .. } => self.columns_of(&table_name.to_string()),
            Sql::Explain { statement, analyze: false, .. } => match *statement {
                Sql::Query(query) => self.columns(query),
                _ => Err(self.unsupported("DESCRIBE of this")),
            },
            Sql::ShowColumns { show_options, .. } => {
                let name = show_options.show_in.as_ref().and_then(|show| show.parent_name.clone());
                let plain = ShowStatementOptions { show_in: None, ..show_options };
                self.refuse_filters(&plain)?;
                match name {
                    Some(name) => self.columns_of(&name.to_string()),
                    None => Err(self.unsupported("SHOW COLUMNS without FROM and a table")),
                }
            }
            Sql::ShowTables { show_options, .. } => {
                self.refuse_filters(&show_options)?;
                self.tables(|_| true)
            }
            Sql::ShowViews { show_options, materialized: false, .. } => {
                self.refuse_filters(&show_options)?;
                self.tables(|kind| kind == Kind::View)
            }
            Sql::ShowVariable { variable } => self.show(&variable),
            _ => Err(self.unsupported(&self.statement.kind())),
        }
    }

    fn refuse_filters(&self, options: &ShowStatementOptions) -> Result<()> {
        if *options == no_options() {
            return Ok(());
        }
        let what = "filters of SHOW; use information_schema.tables and information_schema.columns";
        Err(self.unsupported(what))
    }

    fn columns_of(&self, name: &str) -> Result<Command> {
        let query = all_of(name).map_err(|_| self.unsupported("DESCRIBE of this"))?;
        self.columns(query)
    }

    /// The columns of a query.
    fn columns(&self, query: Box<Query>) -> Result<Command> {
        let bound = self.bind(query)?;
        let plan = analyze(bound, &self.binder.shared_options(), self.position())?.data;
        let declared = declared(&plan);
        let rows = plan.schema().fields().iter().enumerate().map(|(at, field)| {
            let declared = declared.as_ref().and_then(|schema| schema.fields().get(at));
            let nullable = declared.map_or(field.is_nullable(), |field| field.is_nullable());
            let null = if nullable { "YES" } else { "NO" };
            vec![Some(field.name().clone()), Some(type_name(field.data_type())), Some(null.into())]
        });
        let names = ["column_name", "column_type", "null"];
        Ok(Command::Rows(text_rows(&names, rows.collect())?))
    }

    fn tables(&self, wanted: impl Fn(Kind) -> bool) -> Result<Command> {
        let tables = self.scope.catalog.list().into_iter().filter(|(_, kind)| wanted(*kind));
        let rows = tables.map(|(name, kind)| {
            let kind = match kind {
                Kind::Table => "table",
                Kind::External => "external table",
                Kind::View => "view",
            };
            vec![Some(name), Some(kind.to_string())]
        });
        Ok(Command::Rows(text_rows(&["name", "kind"], rows.collect())?))
    }

    /// SHOW of a setting, of all settings, or of a table's columns.
    fn show(&self, variable: &[Ident]) -> Result<Command> {
        let name = variable.iter().map(ident_name).collect::<Vec<_>>().join(".");
        let settings = self.scope.settings().clone();
        if name == "all" {
            let rows = SETTINGS.iter().map(|setting| {
                let value = settings.get(setting.name);
                vec![Some(setting.name.into()), value, Some(setting.about.to_string())]
            });
            return Ok(Command::Rows(text_rows(
                &["name", "value", "description"],
                rows.collect(),
            )?));
        }
        if let Some(setting) = Settings::find(&name) {
            let rows = vec![vec![settings.get(setting.name)]];
            return Ok(Command::Rows(text_rows(&[setting.name], rows)?));
        }
        if self.scope.catalog.kind(&name).is_some() {
            let parts = variable.iter().cloned().map(ObjectNamePart::Identifier).collect();
            return self.columns_of(&ObjectName(parts).to_string());
        }
        let tables = self.scope.catalog.names();
        let names = SETTINGS.iter().map(|setting| setting.name);
        let all = names.chain(tables.iter().map(String::as_str)).chain(["all", "tables"]);
        let hint = match nearest(&name, all) {
            Some(near) => format!("did you mean SHOW {near}?"),
            None => "SHOW ALL lists the settings".to_string(),
        };
        let message = format!("there is no setting and no table {name}; {hint}");
        Err(Error::input_at(message, self.position().clone()))
    }
}

/// What is declared of the columns of a table all of which a plan gives: that no row has a NULL is
/// known to the plan, and may be otherwise in the next row.
fn declared(plan: &LogicalPlan) -> Option<SchemaRef> {
    let mut all = plan;
    while let LogicalPlan::Projection(projection) = all {
        let is_column = |expr: &Expr| match expr {
            Expr::Alias(alias) => matches!(*alias.expr, Expr::Column(_)),
            expr => matches!(expr, Expr::Column(_)),
        };
        if !projection.expr.iter().all(is_column) {
            return None;
        }
        all = projection.input.as_ref();
    }
    let LogicalPlan::TableScan(scan) = all else { return None };
    let table = scan.source.downcast_ref::<PlannedTable>()?;
    let schema = table.table().source.schema();
    let names = told_apart(schema.fields().iter().map(|field| field.name()));
    let shown = plan.schema().fields().iter().map(|field| field.name());
    shown.eq(&names).then_some(schema)
}

fn no_options() -> ShowStatementOptions {
    ShowStatementOptions {
        show_in: None,
        starts_with: None,
        limit: None,
        limit_from: None,
        filter_position: None,
    }
}
