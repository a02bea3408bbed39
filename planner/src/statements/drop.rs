//! DROP TABLE and DROP VIEW. What is dropped is the name: files stay where they are.

use datafusion_sql::sqlparser::ast::{ObjectName, ObjectType};
use gristmill_engine::{Error, Result};

use super::names::{place_of, table_name};
use super::{Change, Command, Planner};
use crate::catalog::Kind;
use crate::sql::nearest;

impl Planner<'_> {
    pub(super) fn drop(
        &mut self,
        object: ObjectType,
        if_exists: bool,
        names: &[ObjectName],
    ) -> Result<Command> {
        let wants_view = match object {
            ObjectType::Table => false,
            ObjectType::View => true,
            other => return Err(self.unsupported(&format!("DROP {other}"))),
        };
        let mut dropped = Vec::new();
        for object in names {
            let name = table_name(object)?;
            let message = match self.scope.catalog.kind(&name) {
                Some(kind) if (kind == Kind::View) == wants_view => {
                    dropped.push(name);
                    continue;
                }
                Some(Kind::View) => format!("{name} is a view; use DROP VIEW"),
                Some(_) => format!("{name} is a table; use DROP TABLE"),
                None if if_exists => continue,
                None => {
                    let all = self.scope.catalog.names();
                    let what = if wants_view { "view" } else { "table" };
                    let near = nearest(&name, all.iter().map(String::as_str));
                    let hint = near.map(|near| format!("; did you mean {near}?"));
                    format!("there is no {what} {name}{}", hint.unwrap_or_default())
                }
            };
            return Err(Error::input_at(message, place_of(object)));
        }
        Ok(Command::Change(Change::Remove(dropped)))
    }
}
