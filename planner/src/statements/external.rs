//! CREATE EXTERNAL TABLE: a file with a name, declared columns and options.

use std::path::Path;

use arrow::datatypes::Field;
use datafusion_sql::parser::CreateExternalTable;
use datafusion_sql::planner::SqlToRel;
use gristmill_engine::{Error, Result};

use super::names::{place_of, table_name};
use super::{Change, Command, Planner};
use crate::catalog::{Entry, FileTable, Format, Kind};
use crate::files;
use crate::sql::to_error;

impl Planner<'_> {
    pub(super) fn external_table(
        &mut self,
        table: CreateExternalTable,
        header_row: bool,
    ) -> Result<Command> {
        let beyond = [
            (!table.table_partition_cols.is_empty(), "PARTITIONED BY in CREATE EXTERNAL TABLE"),
            (!table.order_exprs.is_empty(), "WITH ORDER"),
            (table.unbounded, "UNBOUNDED tables"),
            (!table.constraints.is_empty(), "constraints"),
            (table.locations.len() > 1, "several locations"),
        ];
        if let Some((_, what)) = beyond.iter().find(|(is, _)| *is) {
            return Err(self.unsupported(what));
        }
        let name = table_name(&table.name)?;
        let if_exists = self.if_exists(table.or_replace, table.if_not_exists)?;
        if self.stays(&name, Kind::External, if_exists, &place_of(&table.name))? {
            return Ok(Command::Change(Change::Nothing));
        }
        let format = Format::of_name(&table.file_type).ok_or_else(|| {
            let message = format!("there is no format {}; use PARQUET or CSV", table.file_type);
            Error::input_at(message, self.position().clone())
        })?;
        let location = table.locations.first().map(String::as_str).unwrap_or_default();
        let mut file = FileTable::new(Path::new(location), format);
        let columns = SqlToRel::new(self.binder).build_schema(table.columns);
        let columns = columns.map_err(|e| to_error(&e, self.position()))?;
        file.columns = columns.fields().iter().map(|field| Field::clone(field)).collect();
        file.options = table
            .options
            .iter()
            .map(|(name, value)| {
                let name = name.to_lowercase();
                let name = name.strip_prefix("format.").unwrap_or(&name).to_string();
                (name, value.clone().into_string().unwrap_or_else(|| value.to_string()))
            })
            .collect();
        if header_row {
            file.options.push(("header".to_string(), "true".to_string()));
        }
        files::check_options(&file).map_err(|error| match error {
            Error::Input { message, position: None } => {
                Error::input_at(message, self.position().clone())
            }
            other => other,
        })?;
        let entry = Entry::File { file, opened: None };
        Ok(Command::Change(Change::Define { name, entry, if_exists }))
    }
}
