//! CREATE TABLE, with the rows of a query or without, and INSERT.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::{Expr, LogicalPlan, Projection, cast, lit};
use datafusion_sql::planner::SqlToRel;
use datafusion_sql::sqlparser::ast::{
    ColumnOption, CreateTable, CreateTableOptions, HiveDistributionStyle, Insert, Spanned,
    TableObject,
};
use gristmill_engine::sinks::{NewPart, WriteTable};
use gristmill_engine::sources::StoredTable;
use gristmill_engine::{Error, Position, Result};

use super::names::{place_of, table_name};
use super::{Change, Command, Filling, Lowered, Planner};
use crate::catalog::{Entry, IfExists, Kind, logical_type};
use crate::sql::{
    analyze, bind_inserted, in_any_case, nearest, only_values, renamed, shaped, to_error,
};

impl Planner<'_> {
    pub(super) fn create_table(&mut self, table: CreateTable) -> Result<Command> {
        if let Some(what) = beyond(&table) {
            return Err(self.unsupported(&format!("{what} in CREATE TABLE")));
        }
        let name = table_name(&table.name)?;
        let if_exists = self.if_exists(table.or_replace, table.if_not_exists)?;
        if self.stays(&name, Kind::Table, if_exists, &place_of(&table.name))? {
            return Ok(Command::Change(Change::Nothing));
        }
        let declared = self.declared(&table)?;
        let Some(query) = table.query else {
            if declared.fields().is_empty() {
                return Err(self.unsupported("a table without columns"));
            }
            let entry = Entry::Stored(StoredTable::empty(declared));
            return Ok(Command::Change(Change::Define { name, entry, if_exists }));
        };
        let bound = self.bind(query)?;
        let bound = self.with_types(bound, &declared)?;
        self.fill(name, bound, &declared, Some(if_exists))
    }

    /// What becomes of what has the name already.
    pub(super) fn if_exists(&self, replace: bool, skip: bool) -> Result<IfExists> {
        match (replace, skip) {
            (true, true) => Err(self.unsupported("OR REPLACE together with IF NOT EXISTS")),
            (true, false) => Ok(IfExists::Replace),
            (false, true) => Ok(IfExists::Skip),
            (false, false) => Ok(IfExists::Fail),
        }
    }

    /// Whether something has the name and stays.
    ///
    /// # Errors
    /// `Input` when something has it that is not to be replaced.
    pub(super) fn stays(
        &self,
        name: &str,
        kind: Kind,
        if_exists: IfExists,
        place: &Position,
    ) -> Result<bool> {
        let Some(found) = self.scope.catalog.kind(name) else { return Ok(false) };
        let (what, found_what) = (noun(kind), noun(found));
        let message = match if_exists {
            IfExists::Skip => return Ok(true),
            IfExists::Replace if what == found_what => return Ok(false),
            IfExists::Fail if what == found_what => format!(
                "there is already a {what} {name}; replace it by CREATE OR REPLACE {}, or keep it \
                 by IF NOT EXISTS",
                what.to_uppercase()
            ),
            _ => format!("there is already a {found_what} {name}; drop it first"),
        };
        Err(Error::input_at(message, place.clone()))
    }

    /// The columns that CREATE TABLE lists.
    fn declared(&self, table: &CreateTable) -> Result<SchemaRef> {
        for column in &table.columns {
            let is_known =
                |o: &ColumnOption| matches!(o, ColumnOption::Null | ColumnOption::NotNull);
            if let Some(option) = column.options.iter().find(|option| !is_known(&option.option)) {
                let place = column.span().start;
                let place = Position { file: None, line: place.line, column: place.column };
                let message = format!("not supported: `{}` of a column", option.option);
                return Err(Error::input_at(message, place));
            }
        }
        let schema = SqlToRel::new(self.binder).build_schema(table.columns.clone());
        let schema = schema.map_err(|e| to_error(&e, self.position()))?;
        let mut names: Vec<&String> = schema.fields().iter().map(|f| f.name()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("two columns have the name {}", twice[0]);
            return Err(Error::input_at(message, self.position().clone()));
        }
        Ok(Arc::new(schema))
    }

    /// The query as rows of the table: with the names and types that were declared, different names
    /// otherwise, and a type for what has none.
    fn with_types(&self, bound: LogicalPlan, declared: &Schema) -> Result<LogicalPlan> {
        let position = self.position();
        if declared.fields().is_empty() {
            let bound = renamed(bound, &[], position)?;
            let types = analyze(bound.clone(), &self.binder.shared_options(), position)?.data;
            let types: Vec<DataType> =
                types.schema().fields().iter().map(|f| of_values(f.data_type())).collect();
            let names: Vec<String> =
                bound.schema().fields().iter().map(|f| f.name().clone()).collect();
            return shaped(bound, &names, &types, position);
        }
        let (wanted, given) = (declared.fields().len(), bound.schema().fields().len());
        if wanted != given {
            let message = format!("{wanted} columns are declared, and the query gives {given}");
            return Err(Error::input_at(message, position.clone()));
        }
        let names: Vec<String> = declared.fields().iter().map(|f| f.name().clone()).collect();
        let types: Vec<DataType> =
            declared.fields().iter().map(|f| f.data_type().clone()).collect();
        shaped(bound, &names, &types, position)
    }

    pub(super) fn insert(&mut self, insert: Insert) -> Result<Command> {
        if let Some(what) = beyond_insert(&insert) {
            return Err(self.unsupported(&format!("{what} in INSERT")));
        }
        let TableObject::TableName(name) = &insert.table else {
            return Err(self.unsupported("INSERT into this"));
        };
        let place = place_of(name);
        let name = table_name(name)?;
        let Some(table) = self.scope.catalog.stored(&name) else {
            return Err(Error::input_at(self.no_insert(&name), place));
        };
        let Some(mut query) = insert.source else {
            return Err(self.unsupported("INSERT without rows"));
        };
        let schema = table.schema().clone();
        let columns = insert.columns.iter().map(|column| {
            let wanted = table_name(column)?;
            let names = schema.fields().iter().map(|field| field.name().as_str());
            let at = in_any_case(names, &wanted).and_then(|name| schema.index_of(name).ok());
            at.ok_or_else(|| {
                let names = schema.fields().iter().map(|f| f.name().as_str());
                let hint = nearest(&wanted, names).map(|near| format!("; did you mean {near}?"));
                let hint = hint.unwrap_or_default();
                let message = format!("the table {name} has no column {wanted}{hint}");
                Error::input_at(message, place_of(column))
            })
        });
        let columns: Vec<usize> = columns.collect::<Result<_>>()?;
        for (at, column) in insert.columns.iter().enumerate() {
            if columns[..at].contains(&columns[at]) {
                let message = format!("INSERT names the column {column} twice");
                return Err(Error::input_at(message, place_of(column)));
            }
        }
        let bound = match only_values(&mut query) {
            Some(values) => {
                let fields = schema.fields();
                let types: Vec<&DataType> = match columns.is_empty() {
                    true => fields.iter().map(|field| field.data_type()).collect(),
                    false => columns.iter().map(|&at| fields[at].data_type()).collect(),
                };
                bind_inserted(values, &types, &name, self.binder, self.position())?
            }
            None => self.bind(query)?,
        };
        let bound = self.inserted(bound, &schema, &columns, &name)?;
        self.fill(name, bound, &schema, None)
    }

    /// The rows of a query as rows of the table, NULL in the columns that are not named.
    fn inserted(
        &self,
        bound: LogicalPlan,
        schema: &Schema,
        columns: &[usize],
        table: &str,
    ) -> Result<LogicalPlan> {
        let given = bound.schema().fields().len();
        let wanted = if columns.is_empty() { schema.fields().len() } else { columns.len() };
        if given != wanted {
            let message = format!("the table {table} takes {wanted} values here, not {given}");
            return Err(Error::input_at(message, self.position().clone()));
        }
        let expr = |(at, field): (usize, &Arc<Field>)| {
            let from = match columns {
                [] => Some(at),
                named => named.iter().position(|&column| column == at),
            };
            let value = match from {
                Some(from) => {
                    let (qualifier, given) = bound.schema().qualified_field(from);
                    Expr::Column(Column::new(qualifier.cloned(), given.name()))
                }
                None => lit(ScalarValue::Null),
            };
            cast(value, field.data_type().clone()).alias(field.name())
        };
        let exprs = schema.fields().iter().enumerate().map(expr).collect();
        let plan = Projection::try_new(exprs, bound.clone().into());
        plan.map(LogicalPlan::Projection).map_err(|e| to_error(&e, self.position()))
    }

    fn no_insert(&self, name: &str) -> String {
        match self.scope.catalog.kind(name) {
            Some(Kind::View) => format!("{name} is a view; rows go into tables"),
            Some(_) => format!(
                "{name} is a file; rows go into tables made by CREATE TABLE, write files with COPY"
            ),
            None => {
                let names = self.scope.catalog.names();
                let near = nearest(name, names.iter().map(String::as_str));
                let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                format!("there is no table {name}{hint}")
            }
        }
    }

    /// Ends a query in a table.
    fn fill(
        &mut self,
        name: String,
        bound: LogicalPlan,
        declared: &Schema,
        creates: Option<IfExists>,
    ) -> Result<Command> {
        let Lowered { mut plan, .. } = self.lower(bound)?;
        let root = plan.root()?;
        let fields = plan.node(root)?.schema.fields().iter().enumerate().map(|(at, field)| {
            let nullable = declared.fields().get(at).is_none_or(|field| field.is_nullable());
            Field::new(field.name(), field.data_type().clone(), nullable)
        });
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let part = NewPart::default();
        let sink = WriteTable { name: name.clone(), schema: schema.clone(), part: part.clone() };
        plan.add(Arc::new(sink), &[root])?;
        Ok(Command::Fill { plan, filling: Filling { name, schema, part, creates } })
    }
}

fn noun(kind: Kind) -> &'static str {
    if kind == Kind::View { "view" } else { "table" }
}

/// The type for a column whose values have this one.
fn of_values(data_type: &DataType) -> DataType {
    match logical_type(data_type) {
        // A column of nothing but NULL.
        DataType::Null => DataType::Int32,
        other => other,
    }
}

/// What a CREATE TABLE asks for beyond columns and rows.
fn beyond(table: &CreateTable) -> Option<&'static str> {
    let hive = table.hive_distribution != HiveDistributionStyle::NONE;
    let found = [
        (table.external || table.location.is_some() || table.file_format.is_some(), "LOCATION"),
        (!table.constraints.is_empty(), "constraints"),
        (table.table_options != CreateTableOptions::None, "WITH and OPTIONS"),
        (table.like.is_some() || table.clone.is_some(), "LIKE and CLONE"),
        (table.partition_by.is_some() || hive, "PARTITIONED BY"),
        (table.order_by.is_some() || table.cluster_by.is_some(), "ORDER BY and CLUSTER BY"),
        (table.clustered_by.is_some() || table.inherits.is_some(), "CLUSTERED BY and INHERITS"),
        (table.partition_of.is_some() || table.on_commit.is_some(), "PARTITION OF and ON COMMIT"),
        (table.primary_key.is_some() || table.without_rowid, "PRIMARY KEY"),
        (table.dynamic || table.transient || table.iceberg, "this kind of table"),
    ];
    found.iter().find(|(is, _)| *is).map(|(_, what)| *what)
}

/// What an INSERT asks for beyond rows.
fn beyond_insert(insert: &Insert) -> Option<&'static str> {
    let found = [
        (insert.overwrite || insert.replace_into, "OVERWRITE and REPLACE"),
        (insert.or.is_some() || insert.on.is_some() || insert.ignore, "ON CONFLICT"),
        (insert.returning.is_some() || insert.output.is_some(), "RETURNING"),
        (insert.partitioned.is_some() || !insert.after_columns.is_empty(), "PARTITION"),
        (!insert.assignments.is_empty(), "SET"),
        (insert.multi_table_insert_type.is_some(), "several tables"),
    ];
    found.iter().find(|(is, _)| *is).map(|(_, what)| *what)
}
