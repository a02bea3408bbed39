//! Tables about tables: `information_schema.tables` and `information_schema.columns`, made anew
//! from the catalog by every statement that reads them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Schema};
use datafusion_expr::TableSource;
use gristmill_engine::sources::StoredTable;
use gristmill_engine::{Error, Position, Result};

use super::bind::analyze;
use super::context::Binder;
use super::fold::spelled;
use super::type_names::type_name;
use crate::catalog::{Kind, PlannedTable, Relation, Table};
use crate::stored::StoredSource;

/// The schema of the tables about tables.
pub(super) const INFORMATION_SCHEMA: &str = "information_schema";

/// The schema of all other tables.
pub(crate) const MAIN_SCHEMA: &str = "main";

/// The catalog of all tables.
const CATALOG: &str = "gristmill";

/// The table of that name in `information_schema`.
///
/// # Errors
/// `Input` when there is none.
pub(super) fn information_table(name: &str, binder: &Binder<'_>) -> Result<Arc<Table>> {
    let batch = match name {
        "tables" => tables(binder)?,
        "columns" => columns(binder)?,
        _ => {
            return Err(Error::input(format!(
                "there is no table {INFORMATION_SCHEMA}.{name}; there are tables and columns"
            )));
        }
    };
    let Some(memory) = binder.memory() else {
        return Err(Error::internal("tables about tables without memory"));
    };
    let table = StoredTable::of_batch(INFORMATION_SCHEMA, &batch, memory)?;
    let name = format!("{INFORMATION_SCHEMA}.{name}");
    let source = Arc::new(StoredSource::new(&name, table));
    Ok(Arc::new(Table { name, source }))
}

fn tables(binder: &Binder<'_>) -> Result<RecordBatch> {
    let list = binder.catalog().list();
    let kind = |kind: &Kind| if *kind == Kind::View { "VIEW" } else { "BASE TABLE" };
    let all = |text: &'static str| texts(list.iter().map(|_| Some(text)));
    batch(vec![
        ("table_catalog", all(CATALOG)),
        ("table_schema", all(MAIN_SCHEMA)),
        ("table_name", texts(list.iter().map(|(name, _)| Some(name.as_str())))),
        ("table_type", texts(list.iter().map(|(_, k)| Some(kind(k))))),
    ])
}

/// One column of a table.
struct Described {
    table: String,
    name: String,
    number: i64,
    nullable: bool,
    data_type: DataType,
}

fn columns(binder: &Binder<'_>) -> Result<RecordBatch> {
    let mut all: Vec<Described> = Vec::new();
    for (table, _) in binder.catalog().list() {
        match schema_of(&table, binder) {
            Ok(Some(schema)) => {
                all.extend(schema.fields().iter().enumerate().map(|(at, field)| Described {
                    table: table.clone(),
                    name: field.name().clone(),
                    number: at as i64 + 1,
                    nullable: field.is_nullable(),
                    data_type: field.data_type().clone(),
                }));
            }
            Ok(None) => {}
            // One file that is gone does not hide all others.
            Err(error) => tracing::warn!(%table, %error, "left out of information_schema"),
        }
    }
    let text = |get: &dyn Fn(&Described) -> Option<String>| texts(all.iter().map(get));
    let number = |get: &dyn Fn(&Described) -> Option<i64>| {
        Arc::new(all.iter().map(get).collect::<Int64Array>()) as ArrayRef
    };
    batch(vec![
        ("table_catalog", text(&|_| Some(CATALOG.to_string()))),
        ("table_schema", text(&|_| Some(MAIN_SCHEMA.to_string()))),
        ("table_name", text(&|c| Some(c.table.clone()))),
        ("column_name", text(&|c| Some(c.name.clone()))),
        ("ordinal_position", number(&|c| Some(c.number))),
        ("column_default", text(&|_| None)),
        ("is_nullable", text(&|c| Some(if c.nullable { "YES" } else { "NO" }.to_string()))),
        ("data_type", text(&|c| Some(type_name(&c.data_type)))),
        ("numeric_precision", number(&|c| digits(&c.data_type).map(|(p, _)| p))),
        ("numeric_scale", number(&|c| digits(&c.data_type).map(|(_, s)| s))),
    ])
}

fn schema_of(name: &str, binder: &Binder<'_>) -> Result<Option<Arc<Schema>>> {
    Ok(match binder.catalog().relation(name)? {
        Some(Relation::Table(table)) => {
            let schema = PlannedTable::new(table.clone()).schema();
            // That no row has a NULL says nothing about the next.
            let declared = table.source.schema();
            let fields = schema.fields().iter().zip(declared.fields());
            let fields = fields.map(|(field, declared)| {
                let name = spelled(field).clone();
                field.as_ref().clone().with_name(name).with_nullable(declared.is_nullable())
            });
            Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
        }
        Some(Relation::View(view)) => {
            let plan = view.plan(&binder.within(&view)?)?;
            let plan = analyze(plan, &binder.shared_options(), &Position::default())?.data;
            Some(Arc::new(plan.schema().as_arrow().clone()))
        }
        None => None,
    })
}

/// Precision and scale of a number that has them.
fn digits(data_type: &DataType) -> Option<(i64, i64)> {
    match data_type {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((i64::from(*p), i64::from(*s))),
        _ => None,
    }
}

fn texts<T: AsRef<str>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.collect::<StringViewArray>())
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).map_err(Error::from)
}
