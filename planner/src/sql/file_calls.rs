//! Calls that read files, as `read_csv('flights.csv', delim = ';')`.
//!
//! A call that says no more than the ending of its file is the file by its name. Of others the
//! syntax tree keeps texts alone: the file, and the names and values of options, of which the
//! binder makes a table (see [`file_of`]).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use arrow::datatypes::Field;
use datafusion_expr::planner::ContextProvider;
use datafusion_sql::parser::Statement as Parsed;
use datafusion_sql::planner::SqlToRel;
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, DictionaryField, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName,
    TableAlias, TableFactor, UnaryOperator, Value, ValueWithSpan,
};
use gristmill_engine::{Error, Position, Result};

use super::diagnose::to_error;
use super::script::statements;
use super::syntax::{plain_name, text, written};
use crate::catalog::FileTable;
use crate::files::is_set;
use crate::format::{Format, Reading};

/// The calls, and what each reads.
const CALLS: [(&str, Format); 9] = [
    ("read_parquet", Format::Parquet),
    ("parquet_scan", Format::Parquet),
    ("read_csv", Format::Csv),
    ("read_csv_auto", Format::Csv),
    ("read_json", Format::Json),
    ("read_json_auto", Format::Json),
    ("read_ndjson", Format::Json),
    ("read_ndjson_auto", Format::Json),
    ("read_text", Format::Text),
];

/// Begins the names of calls whose arguments are texts.
const WRITTEN: &str = "!";

/// Begins the names of options that declare a column's type.
const COLUMN: &str = "column ";

/// The name of options that are files which have to be there.
const FILE: &str = "a file";

/// Options that say what is done anyway.
const ALWAYS: [&str; 3] = ["auto_detect", HIVE, "union_by_name"];
const HIVE: &str = "hive_partitioning";

fn format_of(name: &ObjectName) -> Option<Format> {
    let name = plain_name(name)?;
    CALLS.iter().find(|(call, _)| name.eq_ignore_ascii_case(call)).map(|(_, format)| *format)
}

/// Puts the file's name in the place of a call, or its texts in that of its arguments.
pub(super) fn name_file(table: &mut TableFactor) {
    let TableFactor::Table { name, args, alias, .. } = table else { return };
    let (Some(call), Some(format)) = (&mut *args, format_of(name)) else { return };
    let Some(texts) = texts_of(&call.args).filter(|_| call.settings.is_none()) else { return };
    let own = plain_name(name).unwrap_or_default().to_lowercase();
    match &texts[..] {
        [file] if Format::of_path(Path::new(file)) == Some(format) => {
            *name = ObjectName::from(vec![Ident::with_quote('\'', file)]);
            *args = None;
        }
        texts => {
            let unnamed = |value: &String| FunctionArg::Unnamed(FunctionArgExpr::Expr(text(value)));
            call.args = texts.iter().map(unnamed).collect();
            *name = ObjectName::from(vec![Ident::with_quote('"', format!("{WRITTEN}{own}"))]);
        }
    }
    alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: Ident::new(own),
        columns: Vec::new(),
        at: None,
    });
}

/// Whether a call is one of texts.
pub(super) fn is_written(name: &ObjectName) -> bool {
    plain_name(name).is_some_and(|name| name.starts_with(WRITTEN))
}

/// The file, and the names and values of options, of the arguments of a call.
fn texts_of(args: &[FunctionArg]) -> Option<Vec<String>> {
    let (file, options) = args.split_first()?;
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(file)) = file else { return None };
    let mut texts = match file {
        Expr::Array(files) => any_of(&files.elem)?,
        file => vec![written(file)?.to_string()],
    };
    for option in options {
        let (name, value) = match option {
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. }
            | FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg: FunctionArgExpr::Expr(value),
                ..
            } => (name, value),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            })) => match left.as_ref() {
                Expr::Identifier(name) => (name, &**right),
                _ => return None,
            },
            _ => return None,
        };
        let name = name.value.to_lowercase();
        match value {
            Expr::Dictionary(columns) if name == "columns" => {
                for DictionaryField { key, value } in columns {
                    texts.push(format!("{COLUMN}{}", key.value));
                    texts.push(written(value)?.to_string());
                }
            }
            Expr::Array(values) => {
                let quoted = values.elem.iter().map(|value| {
                    written(value).map(|value| format!("'{}'", value.replace('\'', "''")))
                });
                let quoted = quoted.collect::<Option<Vec<_>>>()?;
                texts.extend([name, format!("[{}]", quoted.join(", "))]);
            }
            value if name != "columns" => texts.extend([name, plain_text(value)?]),
            _ => return None,
        }
    }
    Some(texts)
}

/// A pattern for several files, and each of them: of a pattern's none need be there.
fn any_of(files: &[Expr]) -> Option<Vec<String>> {
    let files = files.iter().map(written).collect::<Option<Vec<_>>>()?;
    let is_plain = |file: &&str| !file.contains(['{', '}', ',', '*', '?', '[']);
    match &files[..] {
        [one] => Some(vec![(*one).to_string()]),
        several if several.iter().all(is_plain) => {
            let mut texts = vec![format!("{{{}}}", several.join(","))];
            texts.extend(several.iter().flat_map(|file| [FILE.to_string(), file.to_string()]));
            Some(texts)
        }
        _ => None,
    }
}

fn plain_text(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(ValueWithSpan { value, .. }) => match value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Number(digits, _) => Some(digits.clone()),
            Value::Boolean(truth) => Some(truth.to_string()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            plain_text(expr).map(|number| format!("-{number}"))
        }
        _ => None,
    }
}

/// The file that a call of texts reads, by the name of the call and its texts.
///
/// # Errors
/// `Input` for options that there are not, and types that are none.
pub(super) fn file_of(
    call: &str,
    texts: &[String],
    types: &impl ContextProvider,
) -> Result<FileTable> {
    let name = call.trim_matches('"').trim_start_matches(WRITTEN);
    let format = CALLS.iter().find(|(known, _)| *known == name).map(|(_, format)| *format);
    let (Some(format), Some((file, options))) = (format, texts.split_first()) else {
        return Err(Error::input(format!("not supported: the function {name} in FROM")));
    };
    let options = options.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    let (files, options): (Vec<_>, Vec<_>) = options.partition(|(name, _)| name == FILE);
    check_files(files.iter().map(|(_, file)| Path::new(file)))?;
    let (always, options): (Vec<_>, Vec<_>) =
        options.into_iter().partition(|(name, _)| ALWAYS.contains(&name.as_str()));
    for (name, value) in always {
        if !matches!(value.as_str(), "true" | "1") {
            return Err(Error::input(format!("{name} cannot be {value}")));
        }
        if name == HIVE && !is_set(Path::new(file)) {
            let message = format!("{name} is for directories and patterns, and {file} is one file");
            return Err(Error::input(message));
        }
    }
    let (columns, options): (Vec<_>, Vec<_>) =
        options.into_iter().partition(|(name, _)| name.starts_with(COLUMN));
    let reading = Reading::with_options(format, options)?;
    let columns = declared(&columns, types)?;
    Ok(FileTable { path: PathBuf::from(file), reading, columns })
}

/// Files that a list names are there, and are not named twice.
fn check_files<'a>(files: impl Iterator<Item = &'a Path>) -> Result<()> {
    let mut seen = HashSet::new();
    for file in files {
        let real = std::fs::canonicalize(file).map_err(|e| Error::io("open", file, e))?;
        if !seen.insert(real) {
            let file = file.display();
            return Err(Error::input(format!("the list of files names {file} twice")));
        }
    }
    Ok(())
}

/// Columns of these names and types.
fn declared(columns: &[(String, String)], types: &impl ContextProvider) -> Result<Vec<Field>> {
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let named = columns.iter().map(|(name, data_type)| {
        let name = name.strip_prefix(COLUMN).unwrap_or(name).replace('"', "\"\"");
        format!("\"{name}\" {data_type}")
    });
    let written = named.collect::<Vec<_>>().join(", ");
    let wrong = || {
        let written: Vec<&str> = columns.iter().map(|(_, data_type)| data_type.as_str()).collect();
        Error::input(format!(
            "columns takes names and types, as in {{'id': 'INTEGER'}}, not {}",
            written.join(", ")
        ))
    };
    let text = format!("CREATE EXTERNAL TABLE t ({written}) STORED AS CSV LOCATION ''");
    let parsed = statements(&text).and_then(|all| all[0].parse(None)).map_err(|_| wrong())?;
    let Parsed::CreateExternalTable(table) = parsed.body else { return Err(wrong()) };
    if table.columns.iter().any(|column| !column.options.is_empty()) {
        return Err(wrong());
    }
    let schema = SqlToRel::new(types).build_schema(table.columns);
    let schema = schema.map_err(|e| to_error(&e, &Position::default()))?;
    let fields: Vec<Field> = schema.fields().iter().map(|field| Field::clone(field)).collect();
    if fields.len() == columns.len() { Ok(fields) } else { Err(wrong()) }
}

/// What is wrong with a call in FROM that nothing else has taken.
pub(super) fn what_is_wrong(name: &ObjectName) -> String {
    match format_of(name) {
        Some(_) => format!(
            "{name} takes the name of a file, or a list of plain ones, and options, as in \
             {name}('file', option = 'value')",
        ),
        None => format!("not supported: the function {name} in FROM"),
    }
}
