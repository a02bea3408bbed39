//! A session: tables, functions, settings, and an engine to run programs on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use gristmill_engine::memory::GovernorOptions;
use gristmill_engine::plan::{Analysis, Plan, Profile};
use gristmill_engine::query::{Engine, EngineOptions, RunOptions, Running};
use gristmill_engine::scheduler::Cancel;
use gristmill_engine::sources::BatchSource;
use gristmill_engine::sources::csv::CsvOptions;
use gristmill_engine::sources::json::JsonOptions;
use gristmill_engine::{Error, Result};

use crate::catalog::{Catalog, FileTable, Reading};
use crate::copy::{CopyTarget, refuse_own_input};
use crate::dataframe::Step;
use crate::files;
use crate::functions::{AggregateFunction, BoundAggregate, BoundScalar, ScalarFunction};
use crate::parameters::Parameters;
use crate::rehearsal::Rehearsal;
use crate::sink::{BatchSink, write_rows};
use crate::sources::{MemoryTable, OwnSource};
use crate::sql::{self, FunctionTable, Statement};
use crate::statements::{
    self, Change, Command, Planned, Scope, Settings, Shared, count_row, text_rows,
};

/// What a session is made from.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Worker threads; `None` for one per core. Fewer are started where the memory limit is small:
    /// one for every 16 MB, and two at least. When the limit is raised, more are.
    pub threads: Option<usize>,
    /// Bytes that all queries of the session together may hold; `None` for no limit.
    pub memory_limit: Option<usize>,
    /// Directories for spilled state, used in turn; empty for the system's.
    pub temp_dirs: Vec<PathBuf>,
    /// Bytes that spilled state may take on disk; `None` for no cap.
    pub spill_limit: Option<u64>,
    /// Results and files may come in any order.
    pub any_order: bool,
    /// Bytes of `memory_limit` that the engine leaves alone, because the process takes them for
    /// itself: what `SET memory_limit` says counts like `memory_limit`. Unless it is 0, 4 MB for
    /// each thread from the third on are left alone too.
    pub memory_outside: usize,
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
    scope: Scope,
    functions: FunctionTable,
    engine: Engine,
    /// Held while settings are changed, from reading the old ones to putting them back.
    changing: Mutex<()>,
}

impl Session {
    /// A session with threads of its own.
    ///
    /// # Errors
    /// `Io` when the system gives no threads.
    pub fn new(config: Config) -> Result<Session> {
        let mut settings = Settings {
            threads: config.threads,
            memory_limit: config.memory_limit,
            temp_dirs: config.temp_dirs,
            spill_limit: config.spill_limit,
            any_order: config.any_order,
            time_limit: None,
            outside: config.memory_outside,
            first: None,
        };
        settings.first = Some(Arc::new(settings.clone()));
        let memory = GovernorOptions {
            limit_bytes: settings.engine_limit(),
            given_bytes: settings.given(),
            temp_dirs: settings.temp_dirs.clone(),
            spill_cap_bytes: settings.spill_limit,
            ..GovernorOptions::default()
        };
        let threads = Some(settings.engine_threads());
        settings.tell_threads();
        let engine = Engine::new(EngineOptions { threads, memory })?;
        let governor = engine.memory().clone();
        let catalog = Catalog::new(move |file| files::open(file, &governor));
        let scope = Scope::new(catalog, settings);
        let functions = FunctionTable::default();
        Ok(Session { scope, functions, engine, changing: Mutex::default() })
    }

    /// Gives a file, or all files of a directory or a pattern such as `data/*.parquet`, a table
    /// name; the endings tell the format. They are opened when they are used.
    ///
    /// # Errors
    /// `Input` when the endings name no format, or several; `Io` for a directory that cannot be
    /// read.
    pub fn register(&self, name: &str, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let format = files::format_of(path)?;
        self.scope.catalog.register_file(name, FileTable::new(path, format));
        Ok(())
    }

    /// Gives a Parquet file a table name, whatever its ending.
    pub fn register_parquet(&self, name: &str, path: impl AsRef<Path>) {
        self.scope.catalog.register_file(name, FileTable::new(path.as_ref(), Reading::Parquet));
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
        let file = FileTable::new(path.as_ref(), Reading::Csv(options));
        self.scope.catalog.register_file(name, file);
    }

    /// Gives a file of lines a table name, whatever its ending: a table with one column, `line`.
    pub fn register_text(&self, name: &str, path: impl AsRef<Path>) {
        self.scope.catalog.register_file(name, FileTable::new(path.as_ref(), Reading::Text));
    }

    /// Gives a JSON file a table name, whatever its ending. What the options do not say is found
    /// out from the file when it is used first.
    pub fn register_json(&self, name: &str, path: impl AsRef<Path>, options: JsonOptions) {
        let file = FileTable::new(path.as_ref(), Reading::Json(options));
        self.scope.catalog.register_file(name, file);
    }

    /// Gives an Arrow file a table name, whatever its ending.
    pub fn register_arrow(&self, name: &str, path: impl AsRef<Path>) {
        self.scope.catalog.register_file(name, FileTable::new(path.as_ref(), Reading::Arrow));
    }

    /// Gives a source of the program's own a table name. What had the name before is replaced;
    /// queries that run keep what they began with.
    ///
    /// # Errors
    /// `Input` when two of its columns have one name.
    pub fn register_source(&self, name: &str, source: impl BatchSource + 'static) -> Result<()> {
        let source = OwnSource::new(name, Arc::new(source))?;
        self.scope.catalog.register_source(name, Arc::new(source));
        Ok(())
    }

    /// Gives record batches a table name. They are read where they are, and their memory does not
    /// count against the limit; `CREATE TABLE … AS` makes a table that does, and that goes to disk
    /// when memory is short.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use gristmill::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    /// use gristmill::{Config, Session};
    ///
    /// # fn main() -> gristmill::Result<()> {
    /// let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    /// let batch = RecordBatch::try_from_iter([("n", numbers)])?;
    /// let session = Session::new(Config::default())?;
    /// session.register_batches("numbers", batch.schema(), vec![batch])?;
    /// assert_eq!(session.collect("select n from numbers where n > 1")?[0].num_rows(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Input` when a batch has not the types of the schema, or two columns have one name.
    pub fn register_batches(
        &self,
        name: &str,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Result<()> {
        self.register_source(name, MemoryTable::new(schema, &batches)?)
    }

    /// Makes a function of the program's own known to SQL and to the builder. One of the same name
    /// that was registered before is replaced; queries that run keep the one they began with.
    ///
    /// # Errors
    /// `Input` when the name is that of a function of SQL or of an aggregate that was registered,
    /// or is no name of a function.
    pub fn register_scalar(&self, function: impl ScalarFunction + 'static) -> Result<()> {
        self.functions.register_scalar(BoundScalar::new(Arc::new(function))?)
    }

    /// Makes an aggregate of the program's own known to SQL and to the builder. One of the same
    /// name that was registered before is replaced; queries that run keep the one they began with.
    ///
    /// # Errors
    /// `Input` when the name is that of a function of SQL or of a scalar function that was
    /// registered, or is no name of a function.
    pub fn register_aggregate(&self, function: impl AggregateFunction + 'static) -> Result<()> {
        self.functions.register_aggregate(BoundAggregate::new(Arc::new(function))?)
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
        self.sql_with(text, &Parameters::new())
    }

    /// As [`Session::sql`], with values for its parameters.
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub fn sql_with(&self, text: &str, parameters: &Parameters) -> Result<Running> {
        match self.script(text)?.as_slice() {
            [statement] => self.execute_with(statement, parameters, Cancel::new()),
            several => Err(Error::input(format!(
                "expected one statement, found {}; run programs with `run_script`",
                several.len()
            ))),
        }
    }

    /// Runs the only statement of `text`, and gives all of its rows.
    ///
    /// # Errors
    /// As [`Session::sql`], and what is met when it runs.
    pub fn collect(&self, text: &str) -> Result<Vec<RecordBatch>> {
        self.sql(text)?.collect()
    }

    /// Runs the only statement of `text`, writes its rows to a sink of the program's own, and says
    /// how many they were.
    ///
    /// # Errors
    /// As [`Session::sql`], what is met when it runs, and those of the sink.
    pub fn write(&self, text: &str, sink: &mut impl BatchSink) -> Result<u64> {
        write_rows(self.sql(text)?, sink)
    }

    /// Runs all statements of `text` in order, each to its end, and leaves their rows out.
    ///
    /// # Errors
    /// Those of the first statement that fails; the ones before it have taken effect.
    pub fn run_script(&self, text: &str) -> Result<()> {
        self.script(text)?.iter().try_for_each(|statement| to_end(self.execute(statement)?))
    }

    /// Plans a statement and starts it. What it changes (tables, views, settings) is changed when
    /// this returns: CREATE TABLE … AS and INSERT run to their end before. Files are written while
    /// the answer is taken.
    ///
    /// # Errors
    /// `Input` with a place for what is wrong with the statement, `Io` for files that cannot be
    /// opened.
    pub fn execute(&self, statement: &Statement) -> Result<Running> {
        self.execute_with(statement, &Parameters::new(), Cancel::new())
    }

    /// As [`Session::execute`], with values for parameters, stopped by a flag of the caller's.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub fn execute_with(
        &self,
        statement: &Statement,
        parameters: &Parameters,
        cancel: Cancel,
    ) -> Result<Running> {
        let planned = self.plan(statement, parameters)?;
        self.start_noted(statement, planned, cancel)
    }

    /// As [`Session::execute_with`], for a statement whose rows the caller writes to a file.
    ///
    /// # Errors
    /// As there, and `Input` when the statement reads that file.
    pub fn execute_for(
        &self,
        file: &Path,
        statement: &Statement,
        parameters: &Parameters,
        cancel: Cancel,
    ) -> Result<Running> {
        let planned = self.plan(statement, parameters)?;
        refuse_own_input(&planned.reads, file)?;
        self.start_noted(statement, planned, cancel)
    }

    /// Starts what was planned for a statement, and notes that.
    fn start_noted(
        &self,
        statement: &Statement,
        planned: Planned,
        cancel: Cancel,
    ) -> Result<Running> {
        let (kind, line) = (statement.first_word(), statement.position().line);
        tracing::debug!(statement = %kind, line, rules = ?planned.fired, "planned");
        self.start(planned, cancel)
    }

    /// Starts what was planned.
    pub(crate) fn start(&self, planned: Planned, cancel: Cancel) -> Result<Running> {
        if let Some(explain) = planned.explain {
            let lines = match explain.analyze {
                true => self.measured(planned, explain.json, cancel.clone())?,
                false => planned.outline(explain.json)?,
            };
            let rows = lines.lines().map(|line| vec![Some(line.to_string())]).collect();
            return self.run(&text_rows(&["plan"], rows)?, cancel);
        }
        match planned.command {
            Command::Rows(plan) | Command::Write { plan, .. } => self.run(&plan, cancel),
            Command::Fill { plan, filling } => {
                to_end(self.run(&plan, cancel.clone())?)?;
                let rows = filling.commit(&self.scope)?;
                self.run(&count_row(rows)?, cancel)
            }
            Command::Change(change) => {
                self.change(change)?;
                self.run(&text_rows(&[], Vec::new())?, cancel)
            }
        }
    }

    /// Statements planned one after the other, none of them run.
    pub fn rehearsal(&self) -> Rehearsal<'_> {
        Rehearsal::new(self, self.scope.fork())
    }

    /// The plan of a statement as text.
    ///
    /// # Errors
    /// `Input` with a place for what is wrong with the statement.
    pub fn explain(&self, statement: &Statement) -> Result<String> {
        self.plan_in(statement, &Parameters::new(), &self.scope, true)?.outline(false)
    }

    /// The plan of a statement as JSON, the form it can be read back from.
    ///
    /// # Errors
    /// As [`Session::explain`], and `Input` when it holds a function that is not registered.
    pub fn plan_json(&self, statement: &Statement) -> Result<String> {
        self.plan_in(statement, &Parameters::new(), &self.scope, true)?.outline(true)
    }

    /// Runs a statement to its end, as EXPLAIN ANALYZE does: its plan as text or as JSON, with what
    /// was measured.
    ///
    /// # Errors
    /// As [`Session::execute_with`], and what is met when it runs.
    pub fn analyze(
        &self,
        statement: &Statement,
        parameters: &Parameters,
        json: bool,
        cancel: Cancel,
    ) -> Result<String> {
        let planned = self.plan_in(statement, parameters, &self.scope, true)?;
        if planned.explain.is_some_and(|explain| !explain.analyze) {
            return planned.outline(json);
        }
        self.measured(planned, json, cancel)
    }

    /// Runs what was planned to its end, and says what was measured.
    pub(crate) fn measured(&self, planned: Planned, json: bool, cancel: Cancel) -> Result<String> {
        let Some(plan) = planned.engine_plan() else {
            let outline = planned.outline(json)?;
            if let Command::Change(change) = planned.command {
                self.change(change)?;
            }
            return Ok(outline);
        };
        let profile = Arc::new(Profile::new(plan));
        let (threads, start) = (self.engine.threads(), Instant::now());
        to_end(self.run_measured(plan, cancel, Some(profile.clone()))?)?;
        if let Command::Fill { filling, .. } = &planned.command {
            filling.commit(&self.scope)?;
        }
        let analysis = Analysis { profile, elapsed: start.elapsed(), threads };
        planned.outline_analyzed(json, &analysis)
    }

    fn plan(&self, statement: &Statement, parameters: &Parameters) -> Result<Planned> {
        self.plan_in(statement, parameters, &self.scope, false)
    }

    /// The rows of a frame, or the file that they go to.
    pub(crate) fn plan_frame(
        &self,
        frame: &Step,
        target: Option<CopyTarget>,
        explained: bool,
    ) -> Result<Planned> {
        statements::plan_frame(frame, target, &self.scope, &self.shared(), explained)
    }

    /// A statement planned in a scope; with the rules that changed it where it is explained.
    pub(crate) fn plan_in(
        &self,
        statement: &Statement,
        parameters: &Parameters,
        scope: &Scope,
        explained: bool,
    ) -> Result<Planned> {
        statements::plan(statement, parameters, scope, &self.shared(), explained)
    }

    fn shared(&self) -> Shared<'_> {
        Shared { functions: &self.functions, memory: self.engine.memory() }
    }

    fn run(&self, plan: &Plan, cancel: Cancel) -> Result<Running> {
        self.run_measured(plan, cancel, None)
    }

    fn run_measured(
        &self,
        plan: &Plan,
        cancel: Cancel,
        profile: Option<Arc<Profile>>,
    ) -> Result<Running> {
        let (any_order, time_limit) = {
            let settings = self.scope.settings();
            (settings.any_order, settings.time_limit)
        };
        let options = RunOptions { cancel, any_order, time_limit, profile };
        let running = self.engine.run(plan, &options).map_err(sql::in_sql)?;
        Ok(running.telling(sql::in_sql))
    }

    fn change(&self, change: Change) -> Result<()> {
        if !matches!(change, Change::Set { .. }) {
            return change.apply(&self.scope);
        }
        let _alone = self.changing.lock().unwrap_or_else(|e| e.into_inner());
        let before = self.scope.settings().clone();
        change.apply(&self.scope)?;
        let after = self.scope.settings().clone();
        if let Err(refused) = after.apply(&before, &self.engine) {
            // What the engine took before it refused goes back; that was possible before.
            let _ = before.apply(&after, &self.engine);
            *self.scope.settings() = before;
            return Err(refused);
        }
        Ok(())
    }
}

/// Runs a query and leaves its rows out.
fn to_end(mut running: Running) -> Result<()> {
    running.try_for_each(|batch| batch.map(drop))
}
