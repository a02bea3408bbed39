//! A session: tables, functions, and an engine to run programs on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::DataType;
use gristmill_engine::expr::{Literal, Value};
use gristmill_engine::memory::GovernorOptions;
use gristmill_engine::operators::{Values, ValuesColumn};
use gristmill_engine::plan::Plan;
use gristmill_engine::query::{Engine, EngineOptions, RunOptions, Running};
use gristmill_engine::scheduler::Cancel;
use gristmill_engine::sources::csv::CsvOptions;
use gristmill_engine::sources::json::JsonOptions;
use gristmill_engine::{Error, Result};

use crate::catalog::{Catalog, DataSource, Format, Reading};
use crate::copy;
use crate::files;
use crate::lower::lower_prepared;
use crate::prepare::prepare;
use crate::rules::{PUSH_KEY_FILTERS, push_key_filters};
use crate::sql::{self, Binder, FunctionTable, Planning, Request, Statement};

/// What a session is made from.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Worker threads; `None` for one per core.
    pub threads: Option<usize>,
    /// Bytes that all queries of the session together may hold; `None` for no limit.
    pub memory_limit: Option<usize>,
    /// Directories for spilled state, used in turn; empty for the system's.
    pub temp_dirs: Vec<PathBuf>,
    /// Bytes that spilled state may take on disk; `None` for no cap.
    pub spill_limit: Option<u64>,
    /// Results and files may come in any order.
    pub any_order: bool,
}

/// Tables, functions and an engine; queries may run side by side on it.
///
/// ```
/// use gristmill::{Config, Session};
///
/// # fn main() -> gristmill::Result<()> {
/// let session = Session::new(Config { threads: Some(1), ..Config::default() })?;
/// let mut rows = 0;
/// for batch in session.sql("select * from (values (1, 'a'), (2, 'b')) t(n, s) where n > 1")? {
///     rows += batch?.num_rows();
/// }
/// assert_eq!(rows, 1);
/// # Ok(())
/// # }
/// ```
pub struct Session {
    catalog: Catalog,
    functions: FunctionTable,
    engine: Engine,
    any_order: bool,
}

/// A statement that is ready to run.
struct Planned {
    plan: Plan,
    /// Rules of the planner that changed it.
    fired: Vec<String>,
    /// EXPLAIN stands in front; with the format asked for.
    explain: Option<String>,
}

impl Session {
    /// A session with threads of its own.
    ///
    /// # Errors
    /// `Io` when the system gives no threads.
    pub fn new(config: Config) -> Result<Session> {
        let memory = GovernorOptions {
            limit_bytes: config.memory_limit,
            temp_dirs: config.temp_dirs,
            spill_cap_bytes: config.spill_limit,
            ..GovernorOptions::default()
        };
        let engine = Engine::new(EngineOptions { threads: config.threads, memory })?;
        let governor = engine.memory().clone();
        let catalog = Catalog::new(move |path, reading| files::open(path, reading, &governor));
        let functions = FunctionTable::default();
        Ok(Session { catalog, functions, engine, any_order: config.any_order })
    }

    /// Gives a file, or all files of a directory or a pattern such as `data/*.parquet`, a table
    /// name; the endings tell the format. They are opened when they are used.
    ///
    /// # Errors
    /// `Input` when the endings name no format, or several; `Io` for a directory that cannot be
    /// read.
    pub fn register(&self, name: &str, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.catalog.register_file(name, path, files::format_of(path)?);
        Ok(())
    }

    /// Gives a Parquet file a table name, whatever its ending.
    pub fn register_parquet(&self, name: &str, path: impl AsRef<Path>) {
        self.catalog.register_file(name, path.as_ref(), Format::Parquet);
    }

    /// Gives a CSV file a table name, whatever its ending. What the options do not say is found
    /// out from the file when it is used first.
    ///
    /// ```
    /// use gristmill::{Config, CsvOptions, Session};
    ///
    /// # fn main() -> gristmill::Result<()> {
    /// let session = Session::new(Config::default())?;
    /// session.register_csv("part", "part.tbl", CsvOptions::new().delimiter('|').header(false));
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_csv(&self, name: &str, path: impl AsRef<Path>, options: CsvOptions) {
        self.catalog.register_file(name, path.as_ref(), Reading::Csv(options));
    }

    /// Gives a file of lines a table name, whatever its ending: a table with one column, `line`.
    pub fn register_text(&self, name: &str, path: impl AsRef<Path>) {
        self.catalog.register_file(name, path.as_ref(), Reading::Text);
    }

    /// Gives a JSON file a table name, whatever its ending. What the options do not say is found
    /// out from the file when it is used first.
    pub fn register_json(&self, name: &str, path: impl AsRef<Path>, options: JsonOptions) {
        self.catalog.register_file(name, path.as_ref(), Reading::Json(options));
    }

    /// Gives an Arrow file a table name, whatever its ending.
    pub fn register_arrow(&self, name: &str, path: impl AsRef<Path>) {
        self.catalog.register_file(name, path.as_ref(), Format::Arrow);
    }

    /// Gives a source of the program's own a table name.
    pub fn register_source(&self, name: &str, source: Arc<dyn DataSource>) {
        self.catalog.register_source(name, source);
    }

    /// The engine, for its memory figures.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The statements of a program, parsed.
    ///
    /// # Errors
    /// `Input` with line and column for the first thing that is not SQL.
    pub fn script(&self, text: &str) -> Result<Vec<Statement>> {
        sql::statements(text)
    }

    /// Starts the only statement of `text`; its rows are taken from the answer.
    ///
    /// # Errors
    /// `Input` when there is not exactly one statement, and those of [`Session::execute`].
    pub fn sql(&self, text: &str) -> Result<Running> {
        match self.script(text)?.as_slice() {
            [statement] => self.execute(statement),
            several => Err(Error::input(format!(
                "expected one statement, found {}; run programs with `run_script`",
                several.len()
            ))),
        }
    }

    /// Runs all statements of `text` in order, each to its end, and leaves their rows out.
    ///
    /// # Errors
    /// Those of the first statement that fails; the ones before it have taken effect.
    pub fn run_script(&self, text: &str) -> Result<()> {
        for statement in self.script(text)? {
            for batch in self.execute(&statement)? {
                batch?;
            }
        }
        Ok(())
    }

    /// Plans a statement and starts it.
    ///
    /// # Errors
    /// `Input` with a place for what is wrong with the statement, `Io` for files that cannot be
    /// opened.
    pub fn execute(&self, statement: &Statement) -> Result<Running> {
        self.execute_with(statement, Cancel::new())
    }

    /// As [`Session::execute`], stopped by a flag of the caller's.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub fn execute_with(&self, statement: &Statement, cancel: Cancel) -> Result<Running> {
        let planned = self.plan_statement(statement)?;
        let plan = match &planned.explain {
            Some(format) => lines(&explained(&planned, format == "json")?)?,
            None => planned.plan,
        };
        let options = RunOptions { cancel, any_order: self.any_order, time_limit: None };
        self.engine.run(&plan, &options)
    }

    /// The plan of a statement as text.
    ///
    /// # Errors
    /// `Input` with a place for what is wrong with the statement.
    pub fn explain(&self, statement: &Statement) -> Result<String> {
        explained(&self.plan_statement(statement)?, false)
    }

    /// The plan of a statement as JSON, the form it can be read back from.
    ///
    /// # Errors
    /// As [`Session::explain`], and `Input` when it holds a function that is not registered.
    pub fn plan_json(&self, statement: &Statement) -> Result<String> {
        explained(&self.plan_statement(statement)?, true)
    }

    fn plan_statement(&self, statement: &Statement) -> Result<Planned> {
        sql::with_stack_for(statement.depth(), || {
            let binder = Binder::new(&self.catalog, &self.functions);
            let bound = sql::bind(statement, &binder)?;
            let options = binder.shared_options();
            let mut planning = Planning::new(options.clone(), bound.explain.is_some());
            let prepared = prepare(bound.plan, &binder, &mut planning, statement.position())?;
            let lowered = lower_prepared(&prepared, &options)?;
            let (mut plan, filtered) = push_key_filters(lowered)?;
            if filtered {
                planning.note(PUSH_KEY_FILTERS);
            }
            if let Request::Copy(target) = &bound.request {
                copy::add_sink(&mut plan, target, &prepared)?;
            }
            Ok(Planned { plan, fired: planning.fired().to_vec(), explain: bound.explain })
        })
    }
}

fn explained(planned: &Planned, json: bool) -> Result<String> {
    if json {
        return planned.plan.to_json();
    }
    let mut text = planned.plan.explain()?;
    if !planned.fired.is_empty() {
        text.push_str(&format!("rules: {}\n", planned.fired.join(", ")));
    }
    Ok(text)
}

/// A plan that gives the lines of a text.
fn lines(text: &str) -> Result<Plan> {
    let row =
        |line: &str| vec![Literal { data_type: DataType::Utf8, value: Value::Text(line.into()) }];
    let columns = vec![ValuesColumn { name: "plan".into(), data_type: DataType::Utf8 }];
    let rows = text.lines().map(row).collect();
    let mut plan = Plan::new();
    plan.add(Arc::new(Values { columns, rows }), &[])?;
    Ok(plan)
}
