//! Tables by name, and what planning needs to know about them.
//!
//! A table is a file (or another source) with a schema and statistics. Files are opened when a
//! statement first names them and kept while they do not change; a statement that finds a changed
//! file opens it again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_expr::{Expr, TableProviderFilterPushDown, TableSource};
use gristmill_engine::Result;
use gristmill_engine::expr::Literal;
use gristmill_engine::plan::Spec;
use gristmill_engine::sources::csv::CsvOptions;
use gristmill_engine::sources::json::JsonOptions;

use crate::files;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values.
    Csv,
    /// Lines of text, which are read as they stand.
    Text,
    /// JSON: an object a line, or an array of objects.
    Json,
    /// Apache Arrow, also known as Feather.
    Arrow,
}

impl Format {
    /// What to do about a file whose ending names no format.
    pub(crate) const ENDINGS: &str = "use .parquet, .csv, .tsv, .txt, .json, .ndjson or .arrow";

    /// The format that a file's ending names; the ending of a compression may stand behind it.
    pub fn of_path(path: &Path) -> Option<Format> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "parquet" | "pq" => Some(Format::Parquet),
            "csv" | "tsv" => Some(Format::Csv),
            "txt" | "text" => Some(Format::Text),
            "json" | "ndjson" | "jsonl" => Some(Format::Json),
            "arrow" | "arrows" | "feather" | "ipc" => Some(Format::Arrow),
            "gz" | "zst" => {
                let inner = Path::new(path.file_stem()?);
                Format::of_path(inner).filter(|f| matches!(f, Format::Csv | Format::Text))
            }
            _ => None,
        }
    }

    /// The format of that name, as in `STORED AS`.
    pub fn of_name(name: &str) -> Option<Format> {
        match name.to_ascii_lowercase().as_str() {
            "parquet" => Some(Format::Parquet),
            "csv" => Some(Format::Csv),
            "text" => Some(Format::Text),
            "json" | "ndjson" | "jsonl" => Some(Format::Json),
            "arrow" | "feather" | "ipc" => Some(Format::Arrow),
            _ => None,
        }
    }
}

/// How a file is to be read: its format, and what is said about it.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// As Apache Parquet, which says everything itself.
    Parquet,
    /// As comma-separated values; what is not said is found out.
    Csv(CsvOptions),
    /// As lines of text: rows of one column, `line`.
    Text,
    /// As JSON; what is not said is found out.
    Json(JsonOptions),
    /// As Apache Arrow, which says everything itself.
    Arrow,
}

impl From<Format> for Reading {
    fn from(format: Format) -> Self {
        match format {
            Format::Parquet => Reading::Parquet,
            Format::Csv => Reading::Csv(CsvOptions::new()),
            Format::Text => Reading::Text,
            Format::Json => Reading::Json(JsonOptions::default()),
            Format::Arrow => Reading::Arrow,
        }
    }
}

/// What is known about a column without reading it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnStatistics {
    /// The smallest value, or something smaller.
    pub min: Option<Literal>,
    /// The largest value, or something larger.
    pub max: Option<Literal>,
    /// Number of NULLs.
    pub nulls: Option<u64>,
    /// Number of distinct values, when the file says.
    pub distinct: Option<u64>,
}

/// What is known about a table without reading it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableStatistics {
    /// Number of rows, when it is known exactly.
    pub rows: Option<u64>,
    /// Number of rows guessed from the size of the file, when it is not.
    pub rows_guess: Option<u64>,
    /// One entry per column of the schema.
    pub columns: Vec<ColumnStatistics>,
}

impl TableStatistics {
    /// Rows to reckon with.
    pub fn rows_or_guess(&self) -> f64 {
        self.rows.or(self.rows_guess).unwrap_or(1_000) as f64
    }
}

/// Where a table's rows come from.
pub trait DataSource: Send + Sync + fmt::Debug {
    /// Names and types of the columns.
    fn schema(&self) -> SchemaRef;

    /// What is known about the rows.
    fn statistics(&self) -> TableStatistics;

    /// An operator that gives the columns at `columns`, in that order, of the rows for which every
    /// condition holds. Conditions name columns by position in [`DataSource::schema`].
    ///
    /// # Errors
    /// `Internal` when a position does not exist.
    fn scan(
        &self,
        columns: &[usize],
        conditions: Vec<gristmill_engine::expr::Expr>,
    ) -> Result<Arc<dyn Spec>>;

    /// Whether the files are still those that were opened.
    ///
    /// # Errors
    /// `Io` when they cannot be looked at.
    fn is_current(&self) -> Result<bool>;

    /// The files it reads, for the check that no statement writes what it reads.
    fn paths(&self) -> Vec<PathBuf>;
}

/// Opens a file as a source of rows.
pub type Open = dyn Fn(&Path, &Reading) -> Result<Arc<dyn DataSource>> + Send + Sync;

/// A table that a statement reads.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name, or the name of its file.
    pub name: String,
    /// Its rows.
    pub source: Arc<dyn DataSource>,
}

enum Entry {
    File { path: PathBuf, reading: Reading, opened: Option<Arc<Table>> },
    Source(Arc<Table>),
}

/// The tables of a session.
pub struct Catalog {
    open: Box<Open>,
    tables: Mutex<BTreeMap<String, Entry>>,
}

impl Catalog {
    /// A catalog without tables, whose files are opened by `open`.
    pub fn new(
        open: impl Fn(&Path, &Reading) -> Result<Arc<dyn DataSource>> + Send + Sync + 'static,
    ) -> Self {
        Catalog { open: Box::new(open), tables: Mutex::default() }
    }

    /// Names a file; it is opened when it is used.
    pub fn register_file(&self, name: &str, path: &Path, reading: impl Into<Reading>) {
        let entry = Entry::File { path: path.to_path_buf(), reading: reading.into(), opened: None };
        self.lock().insert(name.to_string(), entry);
    }

    /// Names a source.
    pub fn register_source(&self, name: &str, source: Arc<dyn DataSource>) {
        let table = Table { name: name.to_string(), source };
        self.lock().insert(name.to_string(), Entry::Source(Arc::new(table)));
    }

    /// Names of all tables, sorted; files used by name are not among them.
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().filter(|name| !name.starts_with(FILE_PREFIX)).cloned().collect()
    }

    /// The table of that name; a name in another case is found when there is only one.
    ///
    /// # Errors
    /// `Io` or `Input` when its file cannot be opened.
    pub fn table(&self, name: &str) -> Result<Option<Arc<Table>>> {
        let mut tables = self.lock();
        let key = if tables.contains_key(name) {
            Some(name.to_string())
        } else {
            let mut same = tables.keys().filter(|key| key.eq_ignore_ascii_case(name));
            same.next().filter(|_| same.next().is_none()).cloned()
        };
        let Some(key) = key else { return Ok(None) };
        match tables.get_mut(&key) {
            Some(entry) => self.opened(&key, entry).map(Some),
            None => Ok(None),
        }
    }

    /// The file at `path`, or the files of a directory or a pattern, by their endings.
    ///
    /// # Errors
    /// `Io` or `Input` when they cannot be opened.
    pub fn file(&self, path: &Path) -> Result<Arc<Table>> {
        let name = path.display().to_string();
        let format = files::format_of(path)?;
        let mut tables = self.lock();
        let entry = tables.entry(format!("{FILE_PREFIX}{name}")).or_insert_with(|| Entry::File {
            path: path.to_path_buf(),
            reading: format.into(),
            opened: None,
        });
        self.opened(&name, entry)
    }

    fn opened(&self, name: &str, entry: &mut Entry) -> Result<Arc<Table>> {
        match entry {
            Entry::Source(table) => Ok(table.clone()),
            Entry::File { path, reading, opened } => {
                if let Some(table) = opened
                    && table.source.is_current()?
                {
                    return Ok(table.clone());
                }
                let source = (self.open)(path, reading)?;
                let table = Arc::new(Table { name: name.to_string(), source });
                *opened = Some(table.clone());
                Ok(table)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Entry>> {
        self.tables.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Marks the entries of files used by name; a table cannot be registered under it by accident.
const FILE_PREFIX: &str = "\u{0}file:";

/// A table as the front end sees it: strings are views, dictionaries are their values, and a column
/// of which the file says that it has no NULL cannot be NULL.
#[derive(Debug, Clone)]
pub(crate) struct PlannedTable {
    table: Arc<Table>,
    schema: SchemaRef,
    statistics: Arc<TableStatistics>,
}

impl PlannedTable {
    /// The front end's view of a table.
    pub(crate) fn new(table: Arc<Table>) -> Self {
        let statistics = Arc::new(table.source.statistics());
        let schema = logical_schema(&table.source.schema(), &statistics);
        PlannedTable { table, schema, statistics }
    }

    /// The table.
    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// What is known about its rows.
    pub(crate) fn statistics(&self) -> &TableStatistics {
        &self.statistics
    }

    /// The type of a column.
    pub(crate) fn column_type(&self, index: usize) -> DataType {
        let field = self.schema.fields().get(index);
        field.map_or(DataType::Null, |field| field.data_type().clone())
    }
}

impl TableSource for PlannedTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Scans take any condition over their columns.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion_common::Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }
}

/// The types that expressions over a source's columns have.
fn logical_schema(schema: &SchemaRef, statistics: &TableStatistics) -> SchemaRef {
    fn logical(data_type: &DataType) -> DataType {
        match data_type {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            DataType::Dictionary(_, values) => logical(values),
            other => other.clone(),
        }
    }
    let field = |(index, field): (usize, &Arc<Field>)| {
        let nulls = statistics.columns.get(index).and_then(|column| column.nulls);
        let nullable = field.is_nullable() && nulls != Some(0);
        Field::new(field.name(), logical(field.data_type()), nullable)
    };
    Arc::new(Schema::new(schema.fields().iter().enumerate().map(field).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use gristmill_engine::Error;

    use super::*;
    use crate::testing::FakeSource;

    fn open(path: &Path, _: &Reading) -> Result<Arc<dyn DataSource>> {
        if path.starts_with("missing") {
            let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::io("open", path, cause));
        }
        Ok(Arc::new(FakeSource::new(&[("a", DataType::Int64)], 10)))
    }

    #[test]
    fn tables_are_found_by_name_and_files_by_path() {
        let catalog = Catalog::new(open);
        catalog.register_file("Orders", Path::new("o.parquet"), Format::Parquet);
        catalog.register_file("gone", Path::new("missing/x.csv"), Format::Csv);
        assert_eq!(catalog.table("orders").expect("opens").expect("found").name, "Orders");
        assert!(catalog.table("nothing").expect("no error").is_none());
        assert!(matches!(catalog.table("gone"), Err(Error::Io { .. })));
        catalog.file(Path::new("x.csv")).expect("opens");
        assert!(matches!(catalog.file(Path::new("x.zip")), Err(Error::Input { .. })));
        assert_eq!(catalog.names(), ["Orders", "gone"]);
        catalog.register_file("ORDERS", Path::new("p.parquet"), Format::Parquet);
        assert!(catalog.table("orders").expect("no error").is_none(), "ambiguous");
    }

    #[test]
    fn changed_files_are_opened_again() {
        let catalog = Catalog::new(open);
        catalog.register_file("t", Path::new("t.csv"), Format::Csv);
        let first = catalog.table("t").expect("opens").expect("found");
        let again = catalog.table("t").expect("opens").expect("found");
        assert!(Arc::ptr_eq(&first, &again));
    }
}
