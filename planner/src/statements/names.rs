//! Names of tables as statements write them.

use datafusion_sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Spanned};
use gristmill_engine::{Error, Position, Result};

use crate::sql::MAIN_SCHEMA;

/// The name of a table or view that a statement makes, fills or drops.
///
/// # Errors
/// `Input` with its place when it has another schema than `main`.
pub(super) fn table_name(name: &ObjectName) -> Result<String> {
    let parts: Vec<String> = name.0.iter().filter_map(part).collect();
    match parts.as_slice() {
        [table] if name.0.len() == 1 => Ok(table.clone()),
        [schema, table] if name.0.len() == 2 && schema == MAIN_SCHEMA => Ok(table.clone()),
        _ => {
            let message = format!("tables have plain names here, `{name}` has a schema");
            Err(Error::input_at(message, place_of(name)))
        }
    }
}

/// Where a name stands.
pub(super) fn place_of(name: &ObjectName) -> Position {
    let start = name.span().start;
    Position { file: None, line: start.line, column: start.column }
}

fn part(part: &ObjectNamePart) -> Option<String> {
    match part {
        ObjectNamePart::Identifier(ident) => Some(ident_name(ident)),
        ObjectNamePart::Function(_) => None,
    }
}

/// What an identifier means: quotes keep its case.
pub(super) fn ident_name(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}
