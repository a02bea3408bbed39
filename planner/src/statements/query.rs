//! SELECT, and COPY of its rows into a file.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::{LogicalPlan, Projection};
use datafusion_sql::parser::{CopyToSource, CopyToStatement};
use datafusion_sql::sqlparser::ast::Query;
use gristmill_engine::plan::Plan;
use gristmill_engine::{Error, Position, Result};

use super::{Command, Lowered, Planner, Written};
use crate::catalog::Format;
use crate::copy::{self, CopyTarget};
use crate::functions::list_text;
use crate::sql::{all_of, to_error};

impl Planner<'_> {
    pub(super) fn query(&mut self, query: Box<Query>) -> Result<Command> {
        let bound = self.bind(query)?;
        let Lowered { plan, prepared } = self.lower(bound)?;
        self.reads = copy::files_read(&prepared)?;
        Ok(Command::Rows(plan))
    }

    pub(super) fn copy(&mut self, copy: CopyToStatement) -> Result<Command> {
        let Copied { plan, file, .. } = self.copied(copy)?;
        Ok(Command::Write { plan: self.thinned_out(plan)?, files: vec![file] })
    }

    /// A COPY by itself, without key filters.
    pub(super) fn copied(&mut self, copy: CopyToStatement) -> Result<Copied> {
        let target = copy_target(&copy, self.position())?;
        let query = match copy.source {
            CopyToSource::Query(query) => query,
            CopyToSource::Relation(name) => all_of(&name.to_string())?,
        };
        let bound = self.bind(query)?;
        self.copied_to(bound, target)
    }

    /// The rows of a bound plan in a file, without key filters.
    pub(super) fn copied_to(&mut self, bound: LogicalPlan, target: CopyTarget) -> Result<Copied> {
        let bound = match target.format {
            Format::Csv => nested_as_texts(bound).map_err(|e| to_error(&e, self.position()))?,
            _ => bound,
        };
        let Lowered { mut plan, prepared } = self.lower_plainly(bound)?;
        let schema = plan.node(plan.root()?)?.schema.clone();
        copy::add_sink(&mut plan, &target, &prepared)?;
        let reads = copy::files_read(&prepared)?;
        Ok(Copied { plan, file: Written { path: target.path, schema }, reads })
    }
}

/// A query whose lists, structures and maps are texts, for files that have no others.
fn nested_as_texts(plan: LogicalPlan) -> datafusion_common::Result<LogicalPlan> {
    let schema = plan.schema().clone();
    if !schema.fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(plan);
    }
    let columns = schema.columns().into_iter().zip(schema.fields()).map(|(column, field)| {
        if !field.data_type().is_nested() {
            return Expr::Column(column);
        }
        let (relation, name) = (column.relation.clone(), column.name.clone());
        list_text(Expr::Column(column), DataType::Utf8View).alias_qualified(relation, name)
    });
    let texts = Projection::try_new(columns.collect(), Arc::new(plan))?;
    Ok(LogicalPlan::Projection(texts))
}

/// A name without the quotes that it was written in.
fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_string(),
    }
}

/// What one COPY comes to.
pub(super) struct Copied {
    pub(super) plan: Plan,
    pub(super) file: Written,
    /// The files that it reads.
    pub(super) reads: Vec<PathBuf>,
}

fn copy_target(copy: &CopyToStatement, position: &Position) -> Result<CopyTarget> {
    let path = PathBuf::from(&copy.target);
    let options = copy.options.iter().map(|(name, value)| {
        let name = name.to_lowercase();
        let name = name.strip_prefix("format.").unwrap_or(&name).to_string();
        let text = value.clone().into_string().unwrap_or_else(|| value.to_string());
        (name, text)
    });
    let (named, options): (Vec<_>, Vec<_>) = options.partition(|(name, _)| name == "format");
    let stored_as = copy.stored_as.iter().chain(named.iter().map(|(_, value)| value));
    let names: Vec<&String> = stored_as.collect();
    if names.windows(2).any(|pair| !pair[0].eq_ignore_ascii_case(pair[1])) {
        let message = "COPY names two formats; name one".to_string();
        return Err(Error::input_at(message, position.clone()));
    }
    let format = match names.first() {
        Some(name) => Format::of_name(name),
        None => Format::of_path(&path),
    };
    let format = format.ok_or_else(|| {
        let message = match names.first() {
            Some(name) => format!("there is no format {name}; {}", Format::NAMES),
            None => format!(
                "the ending of '{}' names no format; add STORED AS PARQUET, CSV, JSON or ARROW",
                copy.target
            ),
        };
        Error::input_at(message, position.clone())
    })?;
    let partition_by = copy.partitioned_by.iter().map(|name| unquoted(name)).collect();
    Ok(CopyTarget { path, format, partition_by, options })
}
