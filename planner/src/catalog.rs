//! Tables by name, and what planning needs to know about them.
//!
//! A table is a file (or another source) with a schema and statistics. Files are opened when a
//! statement first names them and kept while they do not change; a statement that finds a changed
//! file opens it again. Tables that statements make are held by the catalog, and views are queries
//! with a name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_expr::{Expr, TableProviderFilterPushDown, TableSource};
use gristmill_engine::expr::Literal;
use gristmill_engine::plan::Spec;
use gristmill_engine::sources::StoredTable;
use gristmill_engine::{Error, Result};

use crate::files;
pub use crate::format::{Format, Reading};
use crate::sql::{Depth, View, folded_fields, in_any_case};
use crate::stored::StoredSource;

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

    /// Whether the files are still those that were opened; there may be none.
    ///
    /// # Errors
    /// `Io` when they cannot be looked at.
    fn is_current(&self) -> Result<bool> {
        Ok(true)
    }

    /// The files it reads, for the check that no statement writes what it reads.
    fn paths(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// A file that is a table, and what was said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct FileTable {
    /// Where it is.
    pub path: PathBuf,
    /// How it is to be read.
    pub reading: Reading,
    /// Names and types of its columns, where they were declared; empty otherwise.
    pub columns: Vec<Field>,
}

impl FileTable {
    /// A file of which nothing else is said.
    pub fn new(path: &Path, reading: impl Into<Reading>) -> Self {
        FileTable { path: path.to_path_buf(), reading: reading.into(), columns: Vec::new() }
    }
}

/// Opens a file as a source of rows.
pub type Open = dyn Fn(&FileTable) -> Result<Arc<dyn DataSource>> + Send + Sync;

/// A table that a statement reads.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name, or the name of its file.
    pub name: String,
    /// Its rows.
    pub source: Arc<dyn DataSource>,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub(crate) enum Relation {
    Table(Arc<Table>),
    View(Arc<View>),
}

/// Kinds of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A table that a statement made.
    Table,
    /// A file, or a source of the program's own.
    External,
    View,
}

/// What becomes of what has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfExists {
    Fail,
    Replace,
    /// It stays, and nothing happens.
    Skip,
}

/// What a new name stands for.
#[derive(Clone)]
pub(crate) enum Entry {
    File { file: Arc<FileTable>, opened: Option<Arc<Table>> },
    Source(Arc<Table>),
    Stored(StoredTable),
    View(Arc<View>),
}

impl Entry {
    fn kind(&self) -> Kind {
        match self {
            Entry::File { .. } | Entry::Source(_) => Kind::External,
            Entry::Stored(_) => Kind::Table,
            Entry::View(_) => Kind::View,
        }
    }
}

/// The tables of a session.
pub struct Catalog {
    open: Arc<Open>,
    tables: Mutex<BTreeMap<String, Entry>>,
    /// Files that statements would have written, by path, when they are only planned.
    planned: Mutex<BTreeMap<PathBuf, Arc<Table>>>,
}

impl Catalog {
    /// A catalog without tables, whose files are opened by `open`.
    pub fn new(
        open: impl Fn(&FileTable) -> Result<Arc<dyn DataSource>> + Send + Sync + 'static,
    ) -> Self {
        Catalog { open: Arc::new(open), tables: Mutex::default(), planned: Mutex::default() }
    }

    /// A catalog with the same tables, for statements that are planned and not run: what they
    /// change does not change this one.
    pub(crate) fn fork(&self) -> Catalog {
        let planned = self.planned.lock().unwrap_or_else(|e| e.into_inner()).clone();
        Catalog {
            open: self.open.clone(),
            tables: Mutex::new(self.lock().clone()),
            planned: Mutex::new(planned),
        }
    }

    /// Names a file; it is opened when it is used.
    pub fn register_file(&self, name: &str, file: FileTable) {
        self.lock().insert(name.to_string(), Entry::File { file: Arc::new(file), opened: None });
    }

    /// Names a source.
    pub fn register_source(&self, name: &str, source: Arc<dyn DataSource>) {
        let table = Table { name: name.to_string(), source };
        self.lock().insert(name.to_string(), Entry::Source(Arc::new(table)));
    }

    /// Gives something a name.
    ///
    /// # Errors
    /// `Input` when the name is taken, or is that of a table where a view is to replace it, or the
    /// other way round.
    pub(crate) fn define(&self, name: &str, entry: Entry, if_exists: IfExists) -> Result<()> {
        let mut tables = self.lock();
        let known = find(&tables, name);
        if let Some(known) = known {
            match if_exists {
                IfExists::Skip => return Ok(()),
                IfExists::Fail => return Err(taken(&known, &tables)),
                IfExists::Replace => {
                    let is_view = |entry: &Entry| entry.kind() == Kind::View;
                    if tables.get(&known).is_some_and(|old| is_view(old) != is_view(&entry)) {
                        return Err(taken(&known, &tables));
                    }
                    tables.remove(&known);
                }
            }
        }
        tables.insert(name.to_string(), entry);
        Ok(())
    }

    /// Takes a name away; answers whether there was one. A file stays where it is.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let mut tables = self.lock();
        match find(&tables, name) {
            Some(known) => tables.remove(&known).is_some(),
            None => false,
        }
    }

    /// Changes a table that a statement made.
    ///
    /// # Errors
    /// `Input` when there is no such table, and those of `change`.
    pub(crate) fn change(
        &self,
        name: &str,
        change: impl FnOnce(&StoredTable) -> Result<StoredTable>,
    ) -> Result<()> {
        let mut tables = self.lock();
        let known = find(&tables, name);
        match known.and_then(|known| tables.get_mut(&known)) {
            Some(Entry::Stored(table)) => {
                *table = change(table)?;
                Ok(())
            }
            _ => Err(Error::input(format!("there is no table {name} any more"))),
        }
    }

    /// Says that a file will have been written, when that is only planned.
    pub(crate) fn plan_file(&self, path: &Path, source: Arc<dyn DataSource>) {
        let table = Table { name: path.display().to_string(), source };
        let mut planned = self.planned.lock().unwrap_or_else(|e| e.into_inner());
        planned.insert(path.to_path_buf(), Arc::new(table));
    }

    /// The file, or one of the directory or pattern, that will have been written.
    fn planned(&self, path: &Path) -> Option<Arc<Table>> {
        let planned = self.planned.lock().unwrap_or_else(|e| e.into_inner());
        let found = planned.get(path).or_else(|| {
            let mut others = planned.iter();
            others.find(|(file, _)| files::is_one_of(file, path)).map(|(_, table)| table)
        });
        found.cloned()
    }

    /// Names of all tables and views, sorted; files used by name are not among them.
    pub fn names(&self) -> Vec<String> {
        self.list().into_iter().map(|(name, _)| name).collect()
    }

    /// Names and kinds of all tables and views, sorted.
    pub(crate) fn list(&self) -> Vec<(String, Kind)> {
        let tables = self.lock();
        let named = tables.iter().filter(|(name, _)| !name.starts_with(FILE_PREFIX));
        named.map(|(name, entry)| (name.clone(), entry.kind())).collect()
    }

    /// What kind of thing has this name.
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        let tables = self.lock();
        find(&tables, name).and_then(|known| tables.get(&known).map(Entry::kind))
    }

    /// The table of that name that a statement made.
    pub(crate) fn stored(&self, name: &str) -> Option<StoredTable> {
        let tables = self.lock();
        match find(&tables, name).and_then(|known| tables.get(&known)) {
            Some(Entry::Stored(table)) => Some(table.clone()),
            _ => None,
        }
    }

    /// What the name stands for; a name in another case is found when there is only one.
    ///
    /// # Errors
    /// `Io` or `Input` when its file cannot be opened.
    pub(crate) fn relation(&self, name: &str) -> Result<Option<Relation>> {
        let (known, entry) = {
            let tables = self.lock();
            let Some(known) = find(&tables, name) else { return Ok(None) };
            let Some(entry) = tables.get(&known).cloned() else { return Ok(None) };
            (known, entry)
        };
        match entry {
            Entry::View(view) => Ok(Some(Relation::View(view))),
            entry => self.opened(&known, &known, entry).map(|table| Some(Relation::Table(table))),
        }
    }

    /// The file at `path`, or the files of a directory or a pattern, by their endings.
    ///
    /// # Errors
    /// `Io` or `Input` when they cannot be opened.
    pub fn file(&self, path: &Path) -> Result<Arc<Table>> {
        if let Some(planned) = self.planned(path) {
            return Ok(planned);
        }
        let file = FileTable::new(path, files::format_of(path)?);
        self.used(format!("{FILE_PREFIX}{}", path.display()), &file)
    }

    /// The file, or the files of a directory or a pattern, read as is said.
    ///
    /// # Errors
    /// `Io` or `Input` when they cannot be opened.
    pub(crate) fn file_as(&self, file: &FileTable) -> Result<Arc<Table>> {
        self.used(format!("{FILE_PREFIX}{file:?}"), file)
    }

    fn used(&self, key: String, file: &FileTable) -> Result<Arc<Table>> {
        let entry = {
            let mut tables = self.lock();
            let is_path = |key: &&String| key.starts_with(FILE_PREFIX);
            if !tables.contains_key(&key) && tables.keys().filter(is_path).count() >= PATHS_KEPT {
                tables.retain(|key, _| !is_path(&key));
            }
            let new = || Entry::File { file: Arc::new(file.clone()), opened: None };
            tables.entry(key.clone()).or_insert_with(new).clone()
        };
        self.opened(&key, &file.path.display().to_string(), entry)
    }

    /// How deep the syntax trees of the views are that a statement with these words may read.
    pub(crate) fn depth_of_views<'w>(&self, words: impl Iterator<Item = &'w str>) -> Depth {
        let tables = self.lock();
        let mut depth = Depth::default();
        let mut seen: Vec<String> = Vec::new();
        let mut open: Vec<String> = words.map(str::to_string).collect();
        while let Some(word) = open.pop() {
            let Some(known) = find(&tables, &word).filter(|known| !seen.contains(known)) else {
                continue;
            };
            if let Some(Entry::View(view)) = tables.get(&known) {
                depth = depth.plus(view.query.depth()).plus(Depth::OF_A_VIEW);
                open.extend(view.query.words().map(str::to_string));
            }
            seen.push(known);
        }
        depth
    }

    /// The table behind an entry that was found under `key`. Files are opened while nobody waits
    /// for the lock.
    fn opened(&self, key: &str, name: &str, entry: Entry) -> Result<Arc<Table>> {
        match entry {
            Entry::Source(table) => Ok(table),
            Entry::Stored(table) => {
                let source = Arc::new(StoredSource::new(name, table));
                Ok(Arc::new(Table { name: name.to_string(), source }))
            }
            Entry::File { file, opened } => {
                if let Some(planned) = self.planned(&file.path) {
                    return Ok(planned);
                }
                if let Some(table) = opened
                    && table.source.is_current()?
                {
                    return Ok(table);
                }
                let source = (self.open)(&file)?;
                tracing::info!(
                    table = name,
                    file = %file.path.display(),
                    columns = source.schema().fields().len(),
                    rows = source.statistics().rows,
                    "opened"
                );
                let table = Arc::new(Table { name: name.to_string(), source });
                // The name may mean something else by now.
                if let Some(Entry::File { file: known, opened }) = self.lock().get_mut(key)
                    && Arc::ptr_eq(known, &file)
                {
                    *opened = Some(table.clone());
                }
                Ok(table)
            }
            Entry::View(_) => Err(Error::internal("a view is opened like a table")),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Entry>> {
        self.tables.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The entry that a name means: the one that is written so, or the only one in another case.
fn find(tables: &BTreeMap<String, Entry>, name: &str) -> Option<String> {
    in_any_case(tables.keys().map(String::as_str), name).map(str::to_string)
}

fn taken(known: &str, tables: &BTreeMap<String, Entry>) -> Error {
    let kind = match tables.get(known).map(Entry::kind) {
        Some(Kind::View) => "view",
        _ => "table",
    };
    let article = format!("there is already a {kind} {known}");
    Error::input(format!(
        "{article}; drop it first, or replace it by CREATE OR REPLACE {}",
        kind.to_uppercase()
    ))
}

/// So many files used by name stay open; when there are more, all are opened anew.
const PATHS_KEPT: usize = 64;

/// Marks the entries of files used by name; a table cannot be registered under it by accident.
const FILE_PREFIX: &str = "\u{0}file:";

/// A table as the front end sees it: names are folded, strings are views, dictionaries are their
/// values, and a column of which the file says that it has no NULL cannot be NULL.
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

/// The type that expressions over a column of this type have.
pub(crate) fn logical_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, values) => logical_type(values),
        other => other.clone(),
    }
}

/// A source's columns by their folded names, with the types that expressions over them have.
fn logical_schema(schema: &SchemaRef, statistics: &TableStatistics) -> SchemaRef {
    let field = |(index, field): (usize, Field)| {
        let nulls = statistics.columns.get(index).and_then(|column| column.nulls);
        let nullable = field.is_nullable() && nulls != Some(0);
        let data_type = logical_type(field.data_type());
        field.with_data_type(data_type).with_nullable(nullable)
    };
    let fields = folded_fields(schema.fields()).into_iter().enumerate();
    Arc::new(Schema::new(fields.map(field).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeSource;

    fn open(file: &FileTable) -> Result<Arc<dyn DataSource>> {
        if file.path.starts_with("missing") {
            let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::io("open", &file.path, cause));
        }
        Ok(Arc::new(FakeSource::new(&[("a", DataType::Int64)], 10)))
    }

    fn parquet(path: &str) -> FileTable {
        FileTable::new(Path::new(path), Format::Parquet)
    }

    fn table(catalog: &Catalog, name: &str) -> Result<Option<Arc<Table>>> {
        Ok(catalog.relation(name)?.map(|relation| match relation {
            Relation::Table(table) => table,
            Relation::View(view) => panic!("{} is a view", view.name),
        }))
    }

    #[test]
    fn tables_are_found_by_name_and_files_by_path() {
        let catalog = Catalog::new(open);
        catalog.register_file("Orders", parquet("o.parquet"));
        catalog.register_file("gone", FileTable::new(Path::new("missing/x.csv"), Format::Csv));
        assert_eq!(table(&catalog, "orders").expect("opens").expect("found").name, "Orders");
        assert!(table(&catalog, "nothing").expect("no error").is_none());
        assert!(matches!(table(&catalog, "gone"), Err(Error::Io { .. })));
        catalog.file(Path::new("x.csv")).expect("opens");
        assert!(matches!(catalog.file(Path::new("x.zip")), Err(Error::Input { .. })));
        assert_eq!(catalog.names(), ["Orders", "gone"]);
        catalog.register_file("ORDERS", parquet("p.parquet"));
        assert!(table(&catalog, "orders").expect("no error").is_none(), "ambiguous");
    }

    #[test]
    fn changed_files_are_opened_again() {
        let catalog = Catalog::new(open);
        catalog.register_file("t", FileTable::new(Path::new("t.csv"), Format::Csv));
        let first = table(&catalog, "t").expect("opens").expect("found");
        let again = table(&catalog, "t").expect("opens").expect("found");
        assert!(Arc::ptr_eq(&first, &again));
    }

    #[test]
    fn names_are_taken_replaced_and_given_back() {
        let catalog = Catalog::new(open);
        let entry = || {
            let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
            Entry::Stored(StoredTable::empty(schema))
        };
        catalog.define("T", entry(), IfExists::Fail).expect("is new");
        let taken = catalog.define("t", entry(), IfExists::Fail).expect_err("taken").to_string();
        assert!(taken.contains("already a table T"), "{taken}");
        catalog.define("t", entry(), IfExists::Skip).expect("stays");
        assert_eq!(catalog.names(), ["T"]);
        let copy = catalog.fork();
        catalog.define("t", entry(), IfExists::Replace).expect("replaces");
        assert_eq!(catalog.names(), ["t"]);
        assert!(catalog.remove("T") && !catalog.remove("T"));
        assert!(catalog.change("t", |table| Ok(table.clone())).is_err());
        assert_eq!(copy.names(), ["T"], "a fork is not changed");
        copy.plan_file(Path::new("missing/y.csv"), open(&parquet("x")).expect("opens"));
        copy.file(Path::new("missing/y.csv")).expect("will have been written");
        assert!(catalog.file(Path::new("missing/y.csv")).is_err());
    }
}
