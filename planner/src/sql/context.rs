//! What binding may ask: tables of the catalog, files by name, functions, options.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, Result, TableReference};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion_functions::core::planner::CoreFunctionPlanner;
use datafusion_functions::datetime::planner::DatetimeFunctionPlanner;
use datafusion_functions_aggregate::planner::AggregateFunctionPlanner;
use datafusion_sql::sqlparser::ast::{Ident, ObjectName};
use gristmill_engine::Error;
use gristmill_engine::memory::Governor;

use super::diagnose::nearest;
use super::file_calls::file_of;
use super::fold::folded;
use super::functions::FunctionTable;
use super::information::{INFORMATION_SCHEMA, MAIN_SCHEMA, information_table};
use super::intervals::ScaledIntervals;
use super::lists::ListPlanner;
use super::moved::{MovedByParameters, MovedDates};
use super::relations::Relations;
use super::text_constants::TextConstants;
use super::view::View;
use super::written_types::WrittenTypes;
use crate::catalog::{Catalog, Format, PlannedTable, Relation};
use crate::files::{self, is_pattern};
use crate::functions::{
    CountWindowPlanner, Parts, PositionPlanner, SubstringPlanner, WINDOW_FUNCTIONS, is_random_call,
    lambda_function, lambda_functions, window_function,
};
use crate::parameters::Parameters;

/// Answers the binder's questions for one session.
pub(crate) struct Binder<'a> {
    catalog: &'a Catalog,
    functions: &'a FunctionTable,
    options: Arc<ConfigOptions>,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
    parameters: Cow<'a, Parameters>,
    /// Gives the tables of `information_schema`.
    memory: Option<&'a Governor>,
    /// Names of the views that are being bound, each read by the one before it.
    views: Vec<String>,
    /// The columns of views that were asked for: each view of a chain would ask anew.
    columns: Arc<Mutex<HashMap<String, Option<Vec<String>>>>>,
    /// Relations that are named before those of the catalog.
    inputs: Vec<(String, Arc<dyn TableSource>)>,
}

/// Views that read one another, at most.
const VIEWS_DEEP_MAX: usize = 64;

/// What plans relations in place of the binder, with values for the parameters in them.
fn relations(parameters: Parameters) -> Vec<Arc<dyn RelationPlanner>> {
    vec![Arc::new(Relations::new(parameters))]
}

impl<'a> Binder<'a> {
    /// A binder over a session's tables and functions.
    pub(crate) fn new(catalog: &'a Catalog, functions: &'a FunctionTable) -> Self {
        let expr_planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(ListPlanner),
            Arc::new(MovedDates),
            Arc::new(ScaledIntervals),
            Arc::new(TextConstants),
            Arc::new(Parts),
            Arc::new(CoreFunctionPlanner::default()),
            Arc::new(DatetimeFunctionPlanner),
            Arc::new(SubstringPlanner),
            Arc::new(PositionPlanner),
            Arc::new(AggregateFunctionPlanner),
            Arc::new(CountWindowPlanner),
        ];
        Binder {
            catalog,
            functions,
            options: Arc::new(options()),
            expr_planners,
            relation_planners: relations(Parameters::new()),
            parameters: Cow::Owned(Parameters::new()),
            memory: None,
            views: Vec::new(),
            columns: Arc::default(),
            inputs: Vec::new(),
        }
    }

    /// The same with relations of one statement's own.
    pub(crate) fn with_inputs(self, inputs: Vec<(String, Arc<dyn TableSource>)>) -> Self {
        Binder { inputs, ..self }
    }

    /// The same with values for parameters.
    pub(crate) fn with_parameters(self, parameters: &'a Parameters) -> Self {
        Binder { parameters: Cow::Borrowed(parameters), ..self.with_planners_for(parameters) }
    }

    /// The same with values for parameters that it keeps.
    pub(crate) fn with_own_parameters(self, parameters: Parameters) -> Self {
        let binder = self.with_planners_for(&parameters);
        Binder { parameters: Cow::Owned(parameters), ..binder }
    }

    fn with_planners_for(mut self, parameters: &Parameters) -> Self {
        self.relation_planners = relations(parameters.clone());
        self.expr_planners
            .insert(0, Arc::new(MovedByParameters { parameters: parameters.clone() }));
        self
    }

    /// The same with the tables of `information_schema`, held in this memory.
    pub(crate) fn with_memory(self, memory: &'a Governor) -> Self {
        Binder { memory: Some(memory), ..self }
    }

    /// The values of parameters.
    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// A binder for what a view reads.
    ///
    /// # Errors
    /// `Input` when views read themselves.
    pub(crate) fn within(&self, view: &View) -> gristmill_engine::Result<Binder<'a>> {
        if self.views.contains(&view.name) {
            return Err(Error::input("it reads itself, through other views or directly"));
        }
        if self.views.len() >= VIEWS_DEEP_MAX {
            return Err(Error::input(format!(
                "it is read through {VIEWS_DEEP_MAX} other views, which is too deep; make one of \
                 them a table, with CREATE TABLE … AS"
            )));
        }
        let mut views = self.views.clone();
        views.push(view.name.clone());
        Ok(Binder {
            catalog: self.catalog,
            functions: self.functions,
            options: self.options.clone(),
            expr_planners: self.expr_planners.clone(),
            relation_planners: relations(view.parameters.clone()),
            parameters: Cow::Owned(view.parameters.clone()),
            memory: self.memory,
            views,
            columns: Arc::clone(&self.columns),
            inputs: Vec::new(),
        })
    }

    /// Whether a name is that of a function of one row alone.
    pub(super) fn is_scalar(&self, name: &str) -> bool {
        self.functions.scalar(name).is_some()
    }

    /// Whether a name is that of an aggregate.
    pub(super) fn is_aggregate(&self, name: &str) -> bool {
        self.functions.aggregate(name).is_some()
    }

    /// Whether a call by this name may give another value each time.
    pub(super) fn is_random(&self, name: &str) -> bool {
        let call = |function| Expr::ScalarFunction(ScalarFunction::new_udf(function, Vec::new()));
        self.functions.scalar(name).is_some_and(|function| is_random_call(&call(function)))
    }

    /// The front end's options, for its rules.
    pub(crate) fn shared_options(&self) -> Arc<ConfigOptions> {
        self.options.clone()
    }

    fn find(&self, name: &TableReference) -> gristmill_engine::Result<Arc<dyn TableSource>> {
        let planned = |table| Arc::new(PlannedTable::new(table)) as Arc<dyn TableSource>;
        let table = match name {
            TableReference::Bare { table } => table,
            TableReference::Partial { schema, table } if &**schema == MAIN_SCHEMA => table,
            TableReference::Partial { schema, table }
                if &**schema == INFORMATION_SCHEMA && self.memory.is_some() =>
            {
                return information_table(table, self).map(planned);
            }
            _ => {
                return Err(Error::input(format!(
                    "tables have plain names here, `{name}` has a schema; quote a file name like \
                     'this.parquet'"
                )));
            }
        };
        if let Some((_, input)) = self.inputs.iter().find(|(name, _)| **name == **table) {
            return Ok(input.clone());
        }
        match self.catalog.relation(table)? {
            Some(Relation::Table(found)) => return Ok(planned(found)),
            Some(Relation::View(view)) => return Ok(Arc::new(view.bind(self)?)),
            None => {}
        }
        let path = Path::new(table.as_ref());
        let is_set = || (table.contains('/') || is_pattern(path)) && files::is_set(path);
        if Format::of_path(path).is_some() || is_set() {
            return self.catalog.file(path).map(planned);
        }
        Err(self.no_table(table))
    }

    /// The folded names of the columns of a table, view or file, if there is one of that name.
    pub(super) fn columns_of(&self, name: &ObjectName) -> Option<Vec<String>> {
        let parts = name.0.iter().map(|part| part.as_ident().cloned());
        let name = |ident: &Ident| match ident.quote_style {
            Some(_) => ident.value.clone(),
            None => folded(&ident.value),
        };
        let name = match &parts.collect::<Option<Vec<_>>>()?[..] {
            [table] => TableReference::bare(name(table)),
            [schema, table] => TableReference::partial(name(schema), name(table)),
            _ => return None,
        };
        let columns = || self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = columns().get(&name.to_string()) {
            return known.clone();
        }
        let names = |table: Arc<dyn TableSource>| {
            table.schema().fields().iter().map(|field| field.name().clone()).collect()
        };
        let found: Option<Vec<String>> = self.find(&name).ok().map(names);
        columns().insert(name.to_string(), found.clone());
        found
    }

    /// The tables and views of the session.
    pub(crate) fn catalog(&self) -> &'a Catalog {
        self.catalog
    }

    /// The memory for tables of the binder's own.
    pub(crate) fn memory(&self) -> Option<&'a Governor> {
        self.memory
    }

    fn no_table(&self, table: &str) -> Error {
        if self.views.iter().any(|view| view == table) {
            let message =
                format!("the view {table} cannot read itself, and there is no other {table}");
            return Error::input(message);
        }
        if table.is_empty() {
            return Error::input("the name of a table or file is empty here");
        }
        let path = Path::new(table);
        if path.is_file() {
            let message = format!(
                "the ending of '{table}' names no format; name it by CREATE EXTERNAL TABLE … \
                 STORED AS format LOCATION '{table}', {}",
                Format::NAMES
            );
            return Error::input(message);
        }
        let names = self.catalog.names();
        let mut message = format!("there is no table {table}");
        if Path::new(table).is_dir() {
            message.push_str(&format!("; '{table}/' names the files of that directory"));
            return Error::input(message);
        }
        let ending = path.extension().filter(|_| Format::of_path(path).is_none());
        match nearest(table, names.iter().map(String::as_str)) {
            Some(near) => message.push_str(&format!("; did you mean {near}?")),
            None if names.is_empty() && ending.is_some() => message
                .push_str(&format!("; as a file's its ending names no format, {}", Format::NAMES)),
            None if names.is_empty() => message.push_str(
                "; no tables are registered: give them as -t name=path, or write the file's name \
                 in quotes",
            ),
            None => message.push_str(&format!("; the tables are {}", names.join(", "))),
        }
        Error::input(message)
    }
}

/// The options that differ from the front end's own, and why.
fn options() -> ConfigOptions {
    let mut options = ConfigOptions::new();
    // 0.1 is exact: decimal literals are decimals.
    options.sql_parser.parse_float_as_decimal = true;
    // The order of a subquery may be seen: `needless_order` knows where.
    options.sql_parser.enable_subquery_sort_elimination = false;
    // Errors point at names in the text.
    options.sql_parser.collect_spans = true;
    // Strings are views in the engine, in casts too.
    options.sql_parser.map_string_types_to_utf8view = true;
    // Scalar subqueries become joins; nothing of ours runs them inside an expression.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    // TIMESTAMP WITH TIME ZONE keeps the moment; without a zone it would be taken for a local time.
    options.execution.time_zone = Some("+00:00".to_string());
    // A rule that fails is a defect to hear about.
    options.optimizer.skip_failed_rules = false;
    options
}

impl ContextProvider for Binder<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.find(&name) {
            Ok(table) => Ok(table),
            Err(error) => Err(DataFusionError::External(Box::new(error))),
        }
    }

    fn get_table_function_source(
        &self,
        name: &str,
        args: Vec<Expr>,
    ) -> Result<Arc<dyn TableSource>> {
        let texts = args.iter().map(|arg| match arg {
            Expr::Literal(text, _) => text.try_as_str().flatten().map(str::to_string),
            _ => None,
        });
        let texts = texts.collect::<Option<Vec<String>>>().unwrap_or_default();
        match file_of(name, &texts, self).and_then(|file| self.catalog.file_as(&file)) {
            Ok(table) => Ok(Arc::new(PlannedTable::new(table))),
            Err(error) => Err(DataFusionError::External(Box::new(error))),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(WrittenTypes { zone: self.options.execution.time_zone.clone() }))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar(name)
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        lambda_function(name)
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        window_function(name)
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar_names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        lambda_functions().map(str::to_string).collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate_names()
    }

    fn udwf_names(&self) -> Vec<String> {
        WINDOW_FUNCTIONS.iter().map(|name| name.to_string()).collect()
    }
}
