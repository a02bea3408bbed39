//! Statements: what each kind of them does, one family a file.
//!
//! A statement is *planned* (names, types, an engine plan) against a scope, which is the tables and
//! settings it sees; what comes of it is a [`Command`]. Who runs the command makes its effect on
//! the scope afterwards, so that a statement that fails has none. When statements are only checked,
//! the same commands are planned against a scope that nobody uses, and have their effects on that
//! without being run.
//!
//! * `query`: SELECT, and COPY of its rows into a file; `set`: several COPYs as one plan; `frame`:
//!   queries that are not written as statements.
//! * `table`: CREATE TABLE, INSERT; `view`: CREATE VIEW; `external`: CREATE EXTERNAL TABLE;
//!   `drop`: DROP.
//! * `describe`: DESCRIBE and SHOW; `summarize`: SUMMARIZE.
//! * `settings`: SET, RESET, and what there is to set.
//! * `names`: names of tables as statements write them.

mod describe;
mod drop;
mod external;
mod frame;
mod names;
mod query;
mod set;
mod settings;
mod summarize;
mod table;
mod view;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_expr::LogicalPlan;
use datafusion_sql::parser::Statement as Parsed;
use datafusion_sql::sqlparser::ast::{Query, Statement as Sql};
use gristmill_engine::expr::Literal;
use gristmill_engine::memory::Governor;
use gristmill_engine::operators::{Values, ValuesColumn};
use gristmill_engine::plan::{Analysis, Plan};
use gristmill_engine::sinks::NewPart;
use gristmill_engine::sources::StoredTable;
use gristmill_engine::{Error, Position, Result};

use crate::catalog::{Catalog, Entry, IfExists};
use crate::lower::lower_prepared;
use crate::parameters::Parameters;
use crate::prepare::{Prepared, prepare};
use crate::rules::{PARTITION_TOP_K, PUSH_KEY_FILTERS, partition_top_k, push_key_filters};
use crate::sql::{self, Binder, Explain, FunctionTable, Planning, Statement};
use crate::stored::StoredSource;

pub(crate) use frame::plan_frame;
pub(crate) use settings::Settings;

/// What statements see and change.
pub(crate) struct Scope {
    pub(crate) catalog: Catalog,
    settings: Mutex<Settings>,
}

impl Scope {
    pub(crate) fn new(catalog: Catalog, settings: Settings) -> Self {
        Scope { catalog, settings: Mutex::new(settings) }
    }

    /// A scope that begins like this one; what changes it does not change this one.
    pub(crate) fn fork(&self) -> Scope {
        Scope::new(self.catalog.fork(), self.settings().clone())
    }

    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// What comes of a statement.
pub(crate) enum Command {
    /// The rows of a plan are the result.
    Rows(Plan),
    /// A plan writes files.
    Write { plan: Plan, files: Vec<Written> },
    /// A plan makes rows for a table of the session's own.
    Fill { plan: Plan, filling: Filling },
    /// There is no plan.
    Change(Change),
}

/// A file that a plan writes.
pub(crate) struct Written {
    path: PathBuf,
    schema: SchemaRef,
}

/// Rows for a table.
pub(crate) struct Filling {
    name: String,
    schema: SchemaRef,
    part: NewPart,
    /// What becomes of a table of that name; `None` when the rows are added to it.
    creates: Option<IfExists>,
}

/// What changes at once.
pub(crate) enum Change {
    Nothing,
    /// A name stands for something else than before.
    Define {
        name: String,
        entry: Entry,
        if_exists: IfExists,
    },
    /// Names stand for nothing any more.
    Remove(Vec<String>),
    /// A setting gets a value; `None` for what it was in the beginning. No name: all of them.
    Set {
        name: Option<&'static str>,
        value: Option<String>,
    },
}

/// A statement that has been planned.
pub(crate) struct Planned {
    pub(crate) command: Command,
    /// EXPLAIN stands in front.
    pub(crate) explain: Option<Explain>,
    /// Rules of the planner that changed the plan.
    pub(crate) fired: Vec<String>,
    /// The files that a query reads.
    pub(crate) reads: Vec<PathBuf>,
}

/// What all statements of a session are planned with.
pub(crate) struct Shared<'a> {
    pub(crate) functions: &'a FunctionTable,
    pub(crate) memory: &'a Governor,
}

/// Plans a statement.
///
/// # Errors
/// `Input` with a place for what is wrong with it or not supported, `Io` for files that cannot be
/// opened.
pub(crate) fn plan(
    statement: &Statement,
    parameters: &Parameters,
    scope: &Scope,
    shared: &Shared<'_>,
    explained: bool,
) -> Result<Planned> {
    let depth = statement.depth().plus(scope.catalog.depth_of_views(statement.words()));
    sql::with_stack_for(depth, || {
        let task = Task { parameters, scope, shared };
        if !statement.members().is_empty() {
            return set::plan_set(statement, &task, explained);
        }
        let parsed = statement.parse(Some(parameters))?;
        let binder = task.binder();
        let record = explained || parsed.explain.is_some();
        let mut planner = task.planner(statement, &binder, record);
        let command = match parsed.summarize {
            true => planner.summarize(parsed.body)?,
            false => planner.command(parsed.body, parsed.header_row)?,
        };
        let fired = planner.planning.fired().to_vec();
        Ok(Planned { command, explain: parsed.explain, fired, reads: planner.reads })
    })
}

/// What statements are planned with.
struct Task<'a> {
    parameters: &'a Parameters,
    scope: &'a Scope,
    shared: &'a Shared<'a>,
}

impl<'a> Task<'a> {
    fn binder(&self) -> Binder<'a> {
        Binder::new(&self.scope.catalog, self.shared.functions)
            .with_parameters(self.parameters)
            .with_memory(self.shared.memory)
    }

    /// A planner that records the rules which change the plan, if `record` says so.
    fn planner<'b>(
        &self,
        statement: &'b Statement,
        binder: &'b Binder<'a>,
        record: bool,
    ) -> Planner<'b>
    where
        'a: 'b,
    {
        let planning = Planning::new(binder.shared_options(), record);
        let (scope, parameters) = (self.scope, self.parameters);
        Planner { scope, binder, statement, parameters, planning, reads: Vec::new() }
    }
}

/// Plans one statement.
struct Planner<'a> {
    scope: &'a Scope,
    binder: &'a Binder<'a>,
    statement: &'a Statement,
    parameters: &'a Parameters,
    planning: Planning,
    /// The files that the query reads, when it has been planned.
    reads: Vec<PathBuf>,
}

/// A query down to the engine's plan.
struct Lowered {
    plan: Plan,
    prepared: Prepared,
}

impl Planner<'_> {
    fn command(&mut self, body: Parsed, header_row: bool) -> Result<Command> {
        match body {
            Parsed::CopyTo(copy) => self.copy(copy),
            Parsed::CreateExternalTable(table) => self.external_table(table, header_row),
            Parsed::Reset(reset) => self.reset(&reset),
            Parsed::Explain(_) => Err(self.unsupported("EXPLAIN of EXPLAIN")),
            Parsed::Statement(sql) => match *sql {
                Sql::Query(query) => self.query(query),
                Sql::CreateTable(table) => self.create_table(table),
                Sql::CreateView(view) => self.create_view(view),
                Sql::Insert(insert) => self.insert(insert),
                Sql::Drop { object_type, if_exists, names, .. } => {
                    self.drop(object_type, if_exists, &names)
                }
                Sql::Set(set) => self.set(set),
                other => self.describe(other),
            },
        }
    }

    fn position(&self) -> &Position {
        self.statement.position()
    }

    fn unsupported(&self, what: &str) -> Error {
        Error::input_at(format!("not supported: {what}"), self.position().clone())
    }

    fn bind(&self, query: Box<Query>) -> Result<LogicalPlan> {
        sql::bind_query(query, self.binder, self.position())
    }

    fn lower(&mut self, bound: LogicalPlan) -> Result<Lowered> {
        let Lowered { plan, prepared } = self.lower_plainly(bound)?;
        Ok(Lowered { plan: self.thinned_out(plan)?, prepared })
    }

    fn lower_plainly(&mut self, bound: LogicalPlan) -> Result<Lowered> {
        let options = self.binder.shared_options();
        let position = self.statement.position();
        let prepared = prepare(bound, self.binder, &mut self.planning, position)?;
        let plan = lower_prepared(&prepared, &options).map_err(sql::in_sql)?;
        Ok(Lowered { plan, prepared })
    }

    /// The plan with operators that leave out what is not wanted further on.
    fn thinned_out(&mut self, plan: Plan) -> Result<Plan> {
        let (plan, filtered) = push_key_filters(plan)?;
        let (plan, limited) = partition_top_k(plan)?;
        for (rule, fired) in [(PUSH_KEY_FILTERS, filtered), (PARTITION_TOP_K, limited)] {
            if fired {
                self.planning.note(rule);
            }
        }
        Ok(plan)
    }
}

impl Planned {
    /// The plan as text, or as the JSON that it can be read back from; what has no plan is said in
    /// a line.
    ///
    /// # Errors
    /// `Input` when the JSON would hold a function that is not registered.
    pub(crate) fn outline(&self, json: bool) -> Result<String> {
        self.outline_with(json, None)
    }

    /// The same, with what was measured when the plan ran.
    ///
    /// # Errors
    /// As [`Planned::outline`].
    pub(crate) fn outline_analyzed(&self, json: bool, analysis: &Analysis) -> Result<String> {
        self.outline_with(json, Some(analysis))
    }

    /// The engine's plan, if there is one.
    pub(crate) fn engine_plan(&self) -> Option<&Plan> {
        match &self.command {
            Command::Rows(plan) | Command::Write { plan, .. } | Command::Fill { plan, .. } => {
                Some(plan)
            }
            Command::Change(_) => None,
        }
    }

    fn outline_with(&self, json: bool, analysis: Option<&Analysis>) -> Result<String> {
        let plan = match &self.command {
            Command::Rows(plan) | Command::Write { plan, .. } | Command::Fill { plan, .. } => plan,
            Command::Change(change) if json => {
                return Ok(format!("{{\"no_plan\": {:?}}}\n", change.to_string()));
            }
            Command::Change(change) => return Ok(format!("no plan: {change}\n")),
        };
        let mut text = match (json, analysis) {
            (true, None) => return plan.to_json(),
            (true, Some(analysis)) => return plan.to_json_analyzed(analysis),
            (false, None) => plan.explain()?,
            (false, Some(analysis)) => plan.explain_analyzed(analysis)?,
        };
        if !self.fired.is_empty() {
            text.push_str(&format!("rules: {}\n", self.fired.join(", ")));
        }
        Ok(text)
    }

    /// What running the statement would change, without running it.
    ///
    /// # Errors
    /// `Input` when a name is taken.
    pub(crate) fn rehearse(self, scope: &Scope) -> Result<()> {
        if self.explain.is_some_and(|explain| !explain.analyze) {
            return Ok(());
        }
        match self.command {
            Command::Rows(_) => Ok(()),
            Command::Write { files, .. } => {
                for Written { path, schema } in files {
                    let name = path.display().to_string();
                    let source = StoredSource::new(&name, StoredTable::empty(schema));
                    scope.catalog.plan_file(&path, Arc::new(source));
                }
                Ok(())
            }
            Command::Fill { filling, .. } => filling.rehearse(scope),
            Command::Change(change) => change.apply(scope),
        }
    }
}

impl Filling {
    /// Makes the rows that a plan has left part of the table, and says how many they are.
    ///
    /// # Errors
    /// `Input` when the table was dropped in the meantime, or another one has its name now.
    pub(crate) fn commit(&self, scope: &Scope) -> Result<u64> {
        let (part, facts) = self.part.take().ok_or_else(|| {
            Error::internal(format!("the rows for the table {} are gone", self.name))
        })?;
        let rows = part.rows();
        let Some(if_exists) = self.creates else {
            scope.catalog.change(&self.name, |table| table.with_part(part, &facts))?;
            return Ok(rows);
        };
        let table = StoredTable::empty(self.schema.clone()).with_part(part, &facts)?;
        scope.catalog.define(&self.name, Entry::Stored(table), if_exists)?;
        Ok(rows)
    }

    fn rehearse(&self, scope: &Scope) -> Result<()> {
        let Some(if_exists) = self.creates else { return Ok(()) };
        let table = StoredTable::empty(self.schema.clone());
        scope.catalog.define(&self.name, Entry::Stored(table), if_exists)
    }
}

impl Change {
    /// Makes the change, but for what a setting does to the engine.
    ///
    /// # Errors
    /// `Input` when a name is taken.
    pub(crate) fn apply(self, scope: &Scope) -> Result<()> {
        match self {
            Change::Nothing => Ok(()),
            Change::Define { name, entry, if_exists } => {
                scope.catalog.define(&name, entry, if_exists)
            }
            Change::Remove(names) => {
                names.iter().for_each(|name| {
                    scope.catalog.remove(name);
                });
                Ok(())
            }
            Change::Set { name, value } => scope.settings().set(name, value.as_deref()),
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Nothing => f.write_str("nothing is changed"),
            Change::Define { name, entry: Entry::View(_), .. } => {
                write!(f, "makes the view {name}")
            }
            Change::Define { name, .. } => write!(f, "makes the table {name}"),
            Change::Remove(names) if names.is_empty() => f.write_str("nothing is dropped"),
            Change::Remove(names) => write!(f, "drops {}", names.join(", ")),
            Change::Set { name: Some(name), .. } => write!(f, "changes the setting {name}"),
            Change::Set { name: None, .. } => f.write_str("resets all settings"),
        }
    }
}

/// A plan that gives one row: how many rows were written.
pub(crate) fn count_row(rows: u64) -> Result<Plan> {
    let count = i64::try_from(rows).map_err(|_| Error::internal("too many rows to count"))?;
    let columns = vec![ValuesColumn { name: "count".into(), data_type: DataType::Int64 }];
    let mut plan = Plan::new();
    plan.add(Arc::new(Values { columns, rows: vec![vec![Literal::int(count)]] }), &[])?;
    Ok(plan)
}

/// A plan that gives these rows of texts.
pub(crate) fn text_rows(names: &[&str], rows: Vec<Vec<Option<String>>>) -> Result<Plan> {
    let column = |name: &&str| ValuesColumn { name: (*name).into(), data_type: DataType::Utf8View };
    let literal = |text: Option<String>| match text {
        Some(text) => Literal::text(text),
        None => Literal::null(DataType::Utf8View),
    };
    let rows = rows.into_iter().map(|row| row.into_iter().map(literal).collect()).collect();
    let mut plan = Plan::new();
    plan.add(Arc::new(Values { columns: names.iter().map(column).collect(), rows }), &[])?;
    Ok(plan)
}
