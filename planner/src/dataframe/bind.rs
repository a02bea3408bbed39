//! Steps as bound plans: each is a small statement over the plans of its inputs, bound as any other
//! statement is. The plan of an input is out of the binder's sight, a table of one node: it would
//! walk through all steps for every step, and take the order of an input's rows for nothing.
//!
//! Invariant: the columns of a step have names that differ in more than case.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use datafusion_common::TableReference;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion_sql::parser::Statement as Parsed;
use datafusion_sql::sqlparser::ast::Statement as Sql;
use gristmill_engine::{Error, Position, Result};

use super::join::{self, On};
use super::step::{Over, Step, What};
use crate::catalog::PlannedTable;
use crate::parameters::Parameters;
use crate::sql::{
    Binder, Fragment, Part, Piece, Statement, VIEW_PREFIX, bind_query, folded, folded_plan,
    in_any_case, nearest, renamed, statement_of, statements, to_error,
};

/// The names of a step's inputs in its statement.
const INPUT: &str = "__input";

/// Files that have been read so far: each has a name of its own.
static FILES: AtomicU64 = AtomicU64::new(0);

pub(super) const LEFT: &str = "__left";
pub(super) const RIGHT: &str = "__right";

/// Begins the errors of a step.
const IN: &str = "in ";

type Inputs = Vec<(String, Arc<dyn TableSource>)>;

impl Step {
    /// The plan of its rows, bound by what `binder` gives.
    ///
    /// # Errors
    /// `Input` that names the step which is wrong, with a place in its text where one is known.
    pub(crate) fn bind<'a>(&self, binder: &dyn Fn() -> Binder<'a>) -> Result<LogicalPlan> {
        let bound = match &self.what {
            What::Over(input, over) => {
                let plan = input.bind(binder)?;
                bind_over(plan, input.name.as_deref().unwrap_or("frame"), over, binder)
            }
            What::Join { left, right, kind, on } => {
                let (l, r) = (left.bind(binder)?, right.bind(binder)?);
                let statement = match on {
                    On::Columns(pairs) => join::by_columns(&l, &r, *kind, pairs)
                        .and_then(|text| statement_of(&[Piece::Ours(&text)])),
                    On::Condition(condition) => {
                        join::by_condition(left.name.as_deref(), right.name.as_deref(), *kind)
                            .and_then(|text| with_condition(&text, condition))
                    }
                    On::Nothing => {
                        let text = format!("SELECT * FROM {LEFT} l CROSS JOIN {RIGHT} r");
                        statement_of(&[Piece::Ours(&text)])
                    }
                };
                statement.and_then(|statement| bind_one(&statement, two(l, r)?, binder))
            }
            What::Combined { left, right, how } => {
                let (l, r) = (left.bind(binder)?, right.bind(binder)?);
                let text = format!("SELECT * FROM {LEFT} {} SELECT * FROM {RIGHT}", how.words());
                let statement = statement_of(&[Piece::Ours(&text)]);
                statement.and_then(|statement| bind_one(&statement, two(l, r)?, binder))
            }
            What::Table(name) => {
                let text = format!("SELECT * FROM {}", quoted(name));
                let statement = statement_of(&[Piece::Ours(&text)]);
                statement.and_then(|statement| bind_one(&statement, Vec::new(), binder))
            }
            What::File(file) => binder().catalog().file_as(file).and_then(|table| {
                let source: Arc<dyn TableSource> = Arc::new(PlannedTable::new(table));
                // Scans are equal when their names are, whatever they read.
                let name = format!("{INPUT}_{}", FILES.fetch_add(1, Ordering::Relaxed));
                let statement = statement_of(&[Piece::Ours(&format!("SELECT * FROM {name}"))])?;
                bind_one(&statement, vec![(name, source)], binder)
            }),
            What::Query { text, parameters } => bind_text(text, parameters, binder),
        };
        bound.and_then(with_different_names).map_err(|error| match error {
            // What an input was wrong about is said already.
            Error::Input { message, position } if message.starts_with(IN) => {
                Error::Input { message, position }
            }
            Error::Input { message, position } => {
                let position = position.filter(|position| position.line > 0);
                Error::Input { message: format!("{IN}{self}: {message}"), position }
            }
            other => other,
        })
    }
}

/// A step over one input, whose rows are called `name`.
fn bind_over<'a>(
    input: LogicalPlan,
    name: &str,
    over: &Over,
    binder: &dyn Fn() -> Binder<'a>,
) -> Result<LogicalPlan> {
    let from = format!(" FROM {INPUT} AS {}", quoted(name));
    let all = format!("SELECT *{from}");
    let columns = names(&input);
    let (ours, part) = (Piece::Ours, Piece::Part);
    let statement = match over {
        Over::Named => return Ok(input),
        Over::Select(items) => {
            let items = Fragment::new(items, Part::Items)?;
            statement_of(&[ours("SELECT "), part(&items), ours(&from)])
        }
        Over::Filter(condition) => with_condition(&format!("{all} WHERE "), condition),
        Over::WithColumn(name, value) => {
            let value = Fragment::new(value, Part::Expression)?;
            let place = columns.iter().position(|column| column == name);
            let place = place.unwrap_or(columns.len());
            let before = columns[..place].iter().map(|column| format!("{}, ", quoted(column)));
            let after = columns.iter().skip(place + 1);
            let after = after.map(|column| format!(", {}", quoted(column)));
            let head = format!("SELECT {}(", before.collect::<String>());
            let tail = format!(") AS {}{}{from}", quoted(name), after.collect::<String>());
            statement_of(&[ours(&head), part(&value), ours(&tail)])
        }
        Over::Rename(old, new) => {
            let old = column_named(&input, old, "frame")?;
            let item = |column: &String| match *column == old {
                true => format!("{} AS {}", quoted(column), quoted(new)),
                false => quoted(column),
            };
            let items: Vec<String> = columns.iter().map(item).collect();
            statement_of(&[ours(&format!("SELECT {}{from}", items.join(", ")))])
        }
        Over::Drop(dropped) => {
            let dropped = dropped.iter().map(|name| column_named(&input, name, "frame"));
            let dropped: HashSet<String> = dropped.collect::<Result<_>>()?;
            let left = columns.iter().filter(|column| !dropped.contains(*column));
            let items: Vec<String> = left.map(|column| quoted(column)).collect();
            if items.is_empty() {
                return Err(Error::input("no column is left"));
            }
            statement_of(&[ours(&format!("SELECT {}{from}", items.join(", ")))])
        }
        Over::Aggregate(groups, calls) => aggregate(groups, calls, &from),
        Over::Sort(keys) => {
            let keys = Fragment::new(keys, Part::Keys)?;
            statement_of(&[ours(&all), ours(" ORDER BY "), part(&keys)])
        }
        Over::Limit(count) => statement_of(&[ours(&format!("{all} LIMIT {count}"))]),
        Over::Offset(count) => statement_of(&[ours(&format!("{all} OFFSET {count}"))]),
        Over::Distinct => statement_of(&[ours(&format!("SELECT DISTINCT *{from}"))]),
    }?;
    bind_one(&statement, vec![(INPUT.to_string(), as_source(input)?)], binder)
}

/// A statement that ends with a condition.
fn with_condition(text: &str, condition: &str) -> Result<Statement> {
    let condition = Fragment::new(condition, Part::Expression)?;
    statement_of(&[Piece::Ours(text), Piece::Part(&condition)])
}

/// Groups go by their place in the list, so that their names can mean nothing else.
fn aggregate(groups: &str, calls: &str, from: &str) -> Result<Statement> {
    let is_given = |text: &&str| !text.trim().is_empty();
    let given: Vec<&str> = [groups, calls].into_iter().filter(is_given).collect();
    let mut parts = Vec::with_capacity(given.len());
    for text in given {
        parts.push(Fragment::new(text, Part::Columns)?);
    }
    let count = if is_given(&groups) { parts.first().map_or(0, Fragment::count) } else { 0 };
    let places: Vec<String> = (1..=count).map(|place| place.to_string()).collect();
    let by = match count {
        0 => from.to_string(),
        _ => format!("{from} GROUP BY {}", places.join(", ")),
    };
    match &parts[..] {
        [] => Err(Error::input("neither groups nor aggregates")),
        [one] => statement_of(&[Piece::Ours("SELECT "), Piece::Part(one), Piece::Ours(&by)]),
        [one, two, ..] => {
            let (one, two) = (Piece::Part(one), Piece::Part(two));
            statement_of(&[Piece::Ours("SELECT "), one, Piece::Ours(","), two, Piece::Ours(&by)])
        }
    }
}

fn bind_text<'a>(
    text: &str,
    parameters: &Parameters,
    binder: &dyn Fn() -> Binder<'a>,
) -> Result<LogicalPlan> {
    let all = statements(text)?;
    let [statement] = all.as_slice() else {
        return Err(Error::input(format!("expected one query, found {} statements", all.len())));
    };
    let binder = binder().with_own_parameters(parameters.clone());
    bind_statement(statement, parameters, &binder)
}

fn bind_one<'a>(
    statement: &Statement,
    inputs: Inputs,
    binder: &dyn Fn() -> Binder<'a>,
) -> Result<LogicalPlan> {
    bind_statement(statement, &Parameters::new(), &binder().with_inputs(inputs)).and_then(placed)
}

fn bind_statement(
    statement: &Statement,
    parameters: &Parameters,
    binder: &Binder<'_>,
) -> Result<LogicalPlan> {
    let parsed = statement.parse(Some(parameters))?;
    if let (None, Parsed::Statement(sql)) = (parsed.explain, parsed.body)
        && let Sql::Query(query) = *sql
    {
        return bind_query(query, binder, statement.position());
    }
    Err(Error::input_at("a frame is made of a query", statement.position().clone()))
}

fn two(left: LogicalPlan, right: LogicalPlan) -> Result<Inputs> {
    Ok(vec![(LEFT.to_string(), as_source(left)?), (RIGHT.to_string(), as_source(right)?)])
}

/// The plan of an input, as a table.
struct InputSource {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl TableSource for InputSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// A plan as a table, under the alias by which equal ones are found.
fn as_source(plan: LogicalPlan) -> Result<Arc<dyn TableSource>> {
    let plan = folded_plan(plan).map_err(|e| to_error(&e, &Position::default()))?;
    let schema = Arc::new(plan.schema().as_arrow().clone());
    let plan = aliased(plan, format!("{VIEW_PREFIX}frame").into());
    let plan = plan.map_err(|e| to_error(&e, &Position::default()))?;
    Ok(Arc::new(InputSource { schema, plan }))
}

/// The plan with those of its inputs where they are read.
fn placed(plan: LogicalPlan) -> Result<LogicalPlan> {
    let placed = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let Some(input) = scan.source.downcast_ref::<InputSource>() else {
            return Ok(Transformed::no(node));
        };
        let plan = aliased(input.plan.clone(), scan.table_name.clone())?;
        Ok(Transformed::new(plan, true, TreeNodeRecursion::Jump))
    });
    placed.data().map_err(|e| to_error(&e, &Position::default()))
}

fn aliased(plan: LogicalPlan, name: TableReference) -> datafusion_common::Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan).alias(name).and_then(LogicalPlanBuilder::build)
}

fn with_different_names(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut seen = HashSet::new();
    match names(&plan).iter().all(|name| seen.insert(folded(name))) {
        true => Ok(plan),
        false => renamed(plan, &[], &Position::default()),
    }
}

/// The names of a plan's columns.
pub(super) fn names(plan: &LogicalPlan) -> Vec<String> {
    plan.schema().fields().iter().map(|field| field.name().clone()).collect()
}

/// The column of that name, or the only one of that name in another case.
///
/// # Errors
/// `Input` when there is none.
pub(super) fn column_named(plan: &LogicalPlan, name: &str, whose: &str) -> Result<String> {
    let names = names(plan);
    if let Some(known) = in_any_case(names.iter().map(String::as_str), name) {
        return Ok(known.to_string());
    }
    let hint = match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("the columns are {}", names.join(", ")),
    };
    Err(Error::input(format!("the {whose} has no column {name}; {hint}")))
}

/// A name as SQL takes it whatever is in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
