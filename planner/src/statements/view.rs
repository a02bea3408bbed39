//! CREATE VIEW. Views of a session are all temporary, and none is materialized.

use std::sync::Arc;

use datafusion_sql::sqlparser::ast::{CreateTableOptions, CreateView};
use gristmill_engine::{Error, Result};

use super::names::{ident_name, place_of, table_name};
use super::{Change, Command, Planner};
use crate::catalog::{Entry, Kind};
use crate::sql::View;

impl Planner<'_> {
    pub(super) fn create_view(&mut self, view: CreateView) -> Result<Command> {
        let beyond = [
            (view.materialized, "MATERIALIZED; use CREATE TABLE … AS"),
            (view.secure || view.or_alter || view.copy_grants, "this kind of view"),
            (view.options != CreateTableOptions::None, "options of a view"),
            (view.to.is_some() || !view.cluster_by.is_empty(), "TO and CLUSTER BY"),
            (view.columns.iter().any(|c| c.data_type.is_some()), "types of a view's columns"),
        ];
        if let Some((_, what)) = beyond.iter().find(|(is, _)| *is) {
            return Err(self.unsupported(what));
        }
        let name = table_name(&view.name)?;
        let if_exists = self.if_exists(view.or_replace, view.if_not_exists)?;
        if self.stays(&name, Kind::View, if_exists, &place_of(&view.name))? {
            return Ok(Command::Change(Change::Nothing));
        }
        let query = self.statement.query_of_view();
        let query = query.ok_or_else(|| Error::internal("a view without AS"))?;
        let view = View {
            name: name.clone(),
            query,
            columns: view.columns.iter().map(|column| ident_name(&column.name)).collect(),
            parameters: self.parameters.clone(),
        };
        // Planned once, to find what is wrong with it where it stands.
        let bound = view.plan(&self.binder.within(&view)?)?;
        self.lower(bound)?;
        let entry = Entry::View(Arc::new(view));
        Ok(Command::Change(Change::Define { name, entry, if_exists }))
    }
}
