//! SUMMARIZE: a row for each column of a table or query, which says what is in it.
//!
//! It is a query, the union of an aggregate for each column. What a query gives is computed once
//! for all of them, and so is a CSV file read. The columns of the result are DuckDB's. Quantiles
//! are approximate, and those of numbers alone.

use arrow::datatypes::{DataType, Schema};
use gristmill_engine::{Error, Result};

use super::{Command, Parsed, Planner};
use crate::rules::{SHARE_SCANS, share_scans};
use crate::sql::{analyze, as_query, query_of, type_name};

impl Planner<'_> {
    /// The summary of what a query gives.
    pub(super) fn summarize(&mut self, query: Parsed) -> Result<Command> {
        let what = "SUMMARIZE of what is no table and no query";
        let query = as_query(query).ok_or_else(|| self.unsupported(what))?;
        let bound = self.bind(query.clone())?;
        let plan = analyze(bound, &self.binder.shared_options(), self.position())?.data;
        if plan.schema().fields().is_empty() {
            return Err(self.unsupported("SUMMARIZE of a table without columns"));
        }
        let summary = query_of(&text(plan.schema().as_arrow()))?;
        let mut summary = summary.ok_or_else(|| Error::internal("a summary that is no query"))?;
        let rows = summary.with.as_mut().and_then(|with| with.cte_tables.first_mut());
        rows.ok_or_else(|| Error::internal("a summary of no rows"))?.query = query;
        let bound = self.bind(summary)?;
        let (plan, shared) = share_scans(self.lower_plainly(bound)?.plan)?;
        if shared {
            self.planning.note(SHARE_SCANS);
        }
        Ok(Command::Rows(self.thinned_out(plan)?))
    }
}

/// The query that summarizes columns of these types, in the place of whose rows is another query.
fn text(schema: &Schema) -> String {
    let columns = 0..schema.fields().len();
    let names: Vec<String> = columns.map(|number| format!("c{number}")).collect();
    let fields = schema.fields().iter().zip(&names);
    let rows = fields.map(|(field, column)| row(field.name(), field.data_type(), column));
    let rows = rows.collect::<Vec<_>>().join(" UNION ALL ");
    format!("WITH summarized ({}) AS (SELECT 1) {rows}", names.join(", "))
}

/// The row of one column.
fn row(name: &str, data_type: &DataType, column: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let only = |is_given: bool, what: String| match is_given {
        true => format!("CAST({what} AS VARCHAR)"),
        false => "CAST(NULL AS VARCHAR)".to_string(),
    };
    let is_plain = !data_type.is_nested() && !data_type.is_null() && !data_type.is_binary();
    let is_number = data_type.is_numeric();
    let quantile = |share: &str| {
        let quantile = format!("approx_percentile_cont(CAST({column} AS DOUBLE), {share})");
        // Between two whole numbers is none of them.
        let whole = format!("CAST(round({quantile}) AS DECIMAL(20, 0))");
        only(is_number, if data_type.is_integer() { whole } else { quantile })
    };
    let distinct = match is_plain {
        // Those of floating-point numbers are counted by their texts, which tell them apart.
        true if data_type.is_floating() => {
            format!("approx_count_distinct(CAST({column} AS VARCHAR))")
        }
        true => format!("approx_count_distinct({column})"),
        false => "CAST(NULL AS BIGINT)".to_string(),
    };
    let columns = [
        ("column_name", quoted(name)),
        ("column_type", quoted(&type_name(data_type))),
        ("min", only(is_plain, format!("min({column})"))),
        ("max", only(is_plain, format!("max({column})"))),
        ("approx_unique", distinct),
        ("avg", only(is_number, format!("avg(CAST({column} AS DOUBLE))"))),
        ("std", only(is_number, format!("stddev(CAST({column} AS DOUBLE))"))),
        ("q25", quantile("0.25")),
        ("q50", quantile("0.5")),
        ("q75", quantile("0.75")),
        ("count", "count(*)".to_string()),
        (
            "null_percentage",
            format!(
                "CAST(100.0 * (count(*) - count({column})) / nullif(count(*), 0) AS DECIMAL(9, 2))"
            ),
        ),
    ];
    let columns = columns.iter().map(|(name, value)| format!("{value} AS \"{name}\""));
    format!("SELECT {} FROM summarized", columns.collect::<Vec<_>>().join(", "))
}
