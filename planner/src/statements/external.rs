//! CREATE EXTERNAL TABLE: a file with a name, declared columns and options.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion_sql::parser::CreateExternalTable;
use datafusion_sql::planner::SqlToRel;
use datafusion_sql::sqlparser::ast::Value;
use gristmill_engine::{Error, Result};

use super::names::{place_of, table_name};
use super::{Change, Command, Planner};
use crate::catalog::{Entry, FileTable, Format, Kind, Reading};
use crate::sql::{to_error, with_place};

impl Planner<'_> {
    pub(super) fn external_table(
        &mut self,
        table: CreateExternalTable,
        header_row: bool,
    ) -> Result<Command> {
        let beyond = [
            (
                !table.table_partition_cols.is_empty(),
                "PARTITIONED BY in CREATE EXTERNAL TABLE; the paths of the files tell",
            ),
            (!table.order_exprs.is_empty(), "WITH ORDER"),
            (table.unbounded, "UNBOUNDED tables"),
            (!table.constraints.is_empty(), "constraints"),
            (table.locations.len() > 1, "several locations; use a pattern, as in '{a,b}.csv'"),
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
            let message = format!("there is no format {}; {}", table.file_type, Format::NAMES);
            Error::input_at(message, self.position().clone())
        })?;
        let location = table.locations.first().map(String::as_str).unwrap_or_default();
        let columns = SqlToRel::new(self.binder).build_schema(table.columns);
        let columns = columns.map_err(|e| to_error(&e, self.position()))?;
        let text = |value: &Value| value.clone().into_string().unwrap_or_else(|| value.to_string());
        let given = table.options.iter().map(|(name, value)| (name.clone(), text(value)));
        let header = header_row.then(|| ("header".to_string(), "true".to_string()));
        let reading = Reading::with_options(format, given.chain(header).collect());
        let reading = reading.map_err(|error| with_place(error, None, self.position()))?;
        let columns = columns.fields().iter().map(|field| Field::clone(field)).collect();
        let file = FileTable { path: PathBuf::from(location), reading, columns };
        let entry = Entry::File { file: Arc::new(file), opened: None };
        Ok(Command::Change(Change::Define { name, entry, if_exists }))
    }
}
