//! Calls that read a file, as `read_csv('flights.csv')`: the file by its name, which says the same.

use std::path::Path;

use datafusion_sql::sqlparser::ast::{
    FunctionArg, FunctionArgExpr, Ident, ObjectName, TableFactor,
};

use super::syntax::{plain_name, written};
use crate::format::Format;

/// The calls, and what each reads.
const CALLS: [(&str, Format); 8] = [
    ("read_parquet", Format::Parquet),
    ("parquet_scan", Format::Parquet),
    ("read_csv", Format::Csv),
    ("read_csv_auto", Format::Csv),
    ("read_json", Format::Json),
    ("read_json_auto", Format::Json),
    ("read_ndjson", Format::Json),
    ("read_text", Format::Text),
];

fn format_of(name: &ObjectName) -> Option<Format> {
    let name = plain_name(name)?;
    CALLS.iter().find(|(call, _)| name.eq_ignore_ascii_case(call)).map(|(_, format)| *format)
}

/// Puts the file's name in the place of a call that names nothing else, where the ending says that
/// it is read so.
pub(super) fn name_file(table: &mut TableFactor) {
    let TableFactor::Table { name, args, .. } = table else { return };
    let (Some(call), Some(format)) = (&*args, format_of(name)) else { return };
    let file = match &call.args[..] {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(file))] if call.settings.is_none() => file,
        _ => return,
    };
    let Some(file) = written(file) else { return };
    if Format::of_path(Path::new(file)) == Some(format) {
        *name = ObjectName::from(vec![Ident::with_quote('\'', file)]);
        *args = None;
    }
}

/// What is wrong with a call in FROM that nothing else has taken.
pub(super) fn what_is_wrong(name: &ObjectName) -> String {
    match format_of(name) {
        Some(format) => format!(
            "{name} takes one file with an ending of {format}; for options and other files use \
             CREATE EXTERNAL TABLE t STORED AS {format} LOCATION 'file' OPTIONS (…)",
            format = format.name(),
        ),
        None => format!("not supported: the function {name} in FROM"),
    }
}
