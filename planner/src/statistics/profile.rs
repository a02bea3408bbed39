//! Rows and distinct values of a plan's nodes, from the leaves up.
//!
//! Where a file says nothing, the guesses are those of a table of business data: text repeats
//! itself, groups are many, subqueries for IN are small.

use std::collections::HashMap;

use datafusion_common::{Column, DFSchema, JoinType};
use datafusion_expr::expr::GroupingSet;
use datafusion_expr::logical_plan::{
    Aggregate, Distinct, Join, LogicalPlan, Projection, TableScan, Union,
};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, FetchType, SkipType};
use gristmill_engine::plan::Estimate;

use super::number::{is_discrete, number};
use super::selectivity::selectivity;
use crate::catalog::{PlannedTable, TableStatistics};
use crate::functions::series_of;
use crate::rules::{SingleJoin, shared_source};

/// Distinct values of a text column about which nothing is known: conditions like
/// `status = 'open'` are what such columns are asked.
const TEXT_DISTINCT: f64 = 20.0;

/// The share of input rows that start a group when the keys say nothing.
const GROUP_SHARE: f64 = 0.2;

/// The share of groups that a condition on an aggregate leaves.
const HAVING: f64 = 0.1;

/// What is guessed about one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ColumnProfile {
    /// Distinct values in the base table, when known.
    pub(crate) distinct: Option<f64>,
    /// Smallest and largest value, for types that lie on a line.
    pub(crate) range: Option<(f64, f64)>,
    /// The share of NULLs.
    pub(crate) nulls: f64,
}

impl ColumnProfile {
    /// A column about which nothing is known.
    pub(crate) const UNKNOWN: ColumnProfile =
        ColumnProfile { distinct: None, range: None, nulls: 0.01 };
}

/// What is guessed about a node's rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    /// Expected rows.
    pub(crate) rows: f64,
    /// Rows before the conditions that were applied on the way up from the last table, group-by or
    /// join: distinct values are counted among these.
    pub(crate) base_rows: f64,
    /// How the rows were found, for explain.
    pub(crate) how: &'static str,
    /// One per column of the node's schema.
    pub(crate) columns: Vec<ColumnProfile>,
}

impl Profile {
    fn unknown(rows: f64, how: &'static str, columns: usize) -> Self {
        Profile { rows, base_rows: rows, how, columns: vec![ColumnProfile::UNKNOWN; columns] }
    }

    fn filtered(mut self, share: f64, how: &'static str) -> Self {
        if share < 1.0 {
            self.rows = (self.rows * share).max(1.0);
            self.how = how;
        }
        self
    }

    fn capped(mut self, rows: f64, how: &'static str) -> Self {
        if rows < self.rows {
            (self.rows, self.how) = (rows, how);
        }
        self
    }

    /// For the engine's plan.
    pub(crate) fn estimate(&self) -> Estimate {
        Estimate { rows: self.rows.round(), how: self.how.to_string() }
    }
}

/// Distinct values of an expression among the base rows of a node.
pub(crate) fn distinct_of(expr: &Expr, schema: &DFSchema, profile: &Profile) -> f64 {
    let known = match expr {
        Expr::Alias(alias) => return distinct_of(&alias.expr, schema, profile),
        Expr::Cast(cast) => return distinct_of(&cast.expr, schema, profile),
        Expr::Literal(..) => Some(1.0),
        Expr::Column(column) => column_profile(column, schema, profile).and_then(|c| c.distinct),
        _ => None,
    };
    known.unwrap_or(profile.base_rows * GROUP_SHARE).clamp(1.0, profile.base_rows.max(1.0))
}

/// What is known about a column of a schema.
pub(super) fn column_profile(
    column: &Column,
    schema: &DFSchema,
    profile: &Profile,
) -> Option<ColumnProfile> {
    profile.columns.get(schema.maybe_index_of_column(column)?).copied()
}

/// What is guessed about the rows of a plan.
pub(crate) fn profile(plan: &LogicalPlan) -> Profile {
    profile_of(plan, &mut Profiles::default())
}

/// What is guessed about all nodes of plans, by where they are: it is good as long as the plans
/// that were looked at are neither moved nor dropped.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    nodes: HashMap<*const LogicalPlan, Profile>,
}

impl Profiles {
    /// Looks at a plan, from the leaves up, each node once.
    pub(crate) fn add(&mut self, plan: &LogicalPlan) {
        profile_of(plan, self);
    }

    /// What is guessed about a node of a plan that was added.
    pub(crate) fn get(&self, node: &LogicalPlan) -> Option<&Profile> {
        self.nodes.get(&std::ptr::from_ref(node))
    }
}

fn profile_of(plan: &LogicalPlan, known: &mut Profiles) -> Profile {
    let profile = guess(plan, known);
    known.nodes.insert(std::ptr::from_ref(plan), profile.clone());
    profile
}

fn guess(plan: &LogicalPlan, known: &mut Profiles) -> Profile {
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan),
        LogicalPlan::Filter(filter) => {
            let input = profile_of(&filter.input, known);
            let conditions = split_conjunction(&filter.predicate);
            let share = selectivity(&conditions, filter.input.schema(), &input);
            // HAVING is there to find the few.
            let is_having = match filter.input.as_ref() {
                LogicalPlan::Extension(e) => e.node.inputs().into_iter().all(is_aggregate),
                input => is_aggregate(input),
            };
            let share = if is_having { share.min(HAVING) } else { share };
            input.filtered(share, "condition")
        }
        // Extensions of ours give the rows of their input, and its first columns.
        LogicalPlan::Extension(extension) if extension.node.inputs().len() == 1 => {
            let mut input = profile_of(extension.node.inputs()[0], known);
            input.columns.truncate(plan.schema().fields().len());
            input
        }
        LogicalPlan::Projection(projection) => of_projection(projection, known),
        LogicalPlan::SubqueryAlias(alias) => profile_of(&alias.input, known),
        LogicalPlan::Aggregate(aggregate) => of_aggregate(aggregate, known),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let input = profile_of(input, known);
            let rows = (input.rows * GROUP_SHARE).max(1.0);
            input.capped(rows, "distinct")
        }
        LogicalPlan::Join(join) => of_join(join, known),
        LogicalPlan::Sort(sort) => {
            let input = profile_of(&sort.input, known);
            match sort.fetch {
                Some(count) => input.capped(count as f64, "limit"),
                None => input,
            }
        }
        LogicalPlan::Limit(limit) => {
            let input = profile_of(&limit.input, known);
            match (limit.get_fetch_type(), limit.get_skip_type()) {
                (Ok(FetchType::Literal(Some(count))), Ok(SkipType::Literal(_))) => {
                    input.capped(count as f64, "limit")
                }
                _ => input,
            }
        }
        LogicalPlan::Union(union) => of_union(union, known),
        LogicalPlan::Window(window) => {
            let mut input = profile_of(&window.input, known);
            input.columns.resize(window.schema.fields().len(), ColumnProfile::UNKNOWN);
            input
        }
        LogicalPlan::EmptyRelation(empty) => Profile::unknown(
            f64::from(u8::from(empty.produce_one_row)),
            "exact",
            empty.schema.fields().len(),
        ),
        LogicalPlan::Values(values) => {
            Profile::unknown(values.values.len() as f64, "exact", values.schema.fields().len())
        }
        other => of_other(other, known),
    }
}

fn of_other(plan: &LogicalPlan, known: &mut Profiles) -> Profile {
    if let Some(join) = SingleJoin::of(plan) {
        let (left, right) = (profile_of(&join.left, known), profile_of(&join.right, known));
        let columns = [left.columns, right.columns].concat();
        return Profile { how: "join", columns, ..left };
    }
    let columns = plan.schema().fields().len();
    if let LogicalPlan::Unnest(unnest) = plan
        && let Some(series) = series_of(unnest)
    {
        return Profile::unknown(series.rows as f64, "exact", columns);
    }
    match plan.inputs().first() {
        Some(input) => Profile::unknown(profile_of(input, known).rows, "input", columns),
        None => Profile::unknown(1_000.0, "unknown", columns),
    }
}

fn is_aggregate(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Aggregate(_))
}

fn of_scan(scan: &TableScan) -> Profile {
    let columns = scan.projected_schema.fields().len();
    if let Some(shared) = shared_source(scan) {
        let whole = shared.profile().clone();
        let columns = match &scan.projection {
            Some(kept) => kept.iter().map(|&i| whole.columns[i]).collect(),
            None => whole.columns,
        };
        return Profile { columns, ..whole };
    }
    let Some(planned) = scan.source.downcast_ref::<PlannedTable>() else {
        return Profile::unknown(1_000.0, "unknown", columns);
    };
    let statistics = planned.statistics();
    let rows = statistics.rows_or_guess();
    let how = if statistics.rows.is_some() { "file metadata" } else { "file size" };
    // Conditions may read columns that the scan does not give.
    let all: Vec<ColumnProfile> = (0..scan.source.schema().fields().len())
        .map(|index| of_column(statistics, index, planned, rows))
        .collect();
    let whole = Profile { rows, base_rows: rows, how, columns: all };
    let schema =
        DFSchema::try_from_qualified_schema(scan.table_name.clone(), scan.source.schema().as_ref());
    let share = schema.map_or(1.0, |schema| {
        let conditions: Vec<&Expr> = scan.filters.iter().collect();
        selectivity(&conditions, &schema, &whole)
    });
    let columns = match &scan.projection {
        Some(kept) => kept.iter().map(|&i| whole.columns[i]).collect(),
        None => whole.columns,
    };
    Profile { rows, base_rows: rows, how, columns }.filtered(share, "condition")
}

fn of_column(
    statistics: &TableStatistics,
    index: usize,
    planned: &PlannedTable,
    rows: f64,
) -> ColumnProfile {
    let data_type = planned.column_type(index);
    let Some(column) = statistics.columns.get(index) else { return ColumnProfile::UNKNOWN };
    let bound = |side: &Option<_>| side.as_ref().and_then(number);
    let range = bound(&column.min).zip(bound(&column.max)).filter(|(min, max)| min <= max);
    let from_range = range.filter(|_| is_discrete(&data_type)).map(|(min, max)| max - min + 1.0);
    let guess = if data_type.is_string() { Some(TEXT_DISTINCT) } else { None };
    let distinct = column.distinct.map(|d| d as f64).or(from_range).or(guess);
    let nulls = column.nulls.map_or(ColumnProfile::UNKNOWN.nulls, |n| n as f64 / rows.max(1.0));
    ColumnProfile { distinct: distinct.map(|d| d.clamp(1.0, rows.max(1.0))), range, nulls }
}

fn of_projection(projection: &Projection, known: &mut Profiles) -> Profile {
    let input = profile_of(&projection.input, known);
    let schema = projection.input.schema();
    let columns = projection.expr.iter().map(|expr| match bare(expr) {
        Expr::Column(column) => {
            column_profile(column, schema, &input).unwrap_or(ColumnProfile::UNKNOWN)
        }
        _ => ColumnProfile::UNKNOWN,
    });
    Profile { columns: columns.collect(), ..input }
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

fn of_aggregate(aggregate: &Aggregate, known: &mut Profiles) -> Profile {
    let input = profile_of(&aggregate.input, known);
    let schema = aggregate.input.schema();
    let groups_by = |keys: &mut dyn Iterator<Item = &Expr>| {
        let groups: f64 = keys.map(|key| distinct_of(key, schema, &input)).product();
        groups.min(input.rows)
    };
    let groups = match &aggregate.group_expr[..] {
        [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => {
            sets.iter().map(|set| groups_by(&mut set.iter())).sum()
        }
        // The finest of the sets, and as many again for all others.
        [Expr::GroupingSet(GroupingSet::Rollup(set) | GroupingSet::Cube(set))] => {
            2.0 * groups_by(&mut set.iter())
        }
        keys => groups_by(&mut keys.iter()),
    };
    let mut columns = vec![ColumnProfile::UNKNOWN; aggregate.schema.fields().len()];
    for (column, key) in columns.iter_mut().zip(&aggregate.group_expr) {
        if let Expr::Column(name) = bare(key) {
            *column = column_profile(name, schema, &input).unwrap_or(*column);
        }
    }
    let rows = groups.max(1.0);
    Profile { rows, base_rows: rows, how: "groups", columns }
}

fn of_union(union: &Union, known: &mut Profiles) -> Profile {
    let rows = union.inputs.iter().map(|input| profile_of(input, known).rows).sum();
    Profile::unknown(rows, "sum", union.schema.fields().len())
}

fn of_join(join: &Join, known: &mut Profiles) -> Profile {
    let (left, right) = (profile_of(&join.left, known), profile_of(&join.right, known));
    let (of_left, of_right) = (join.left.schema(), join.right.schema());
    let mut matches = 1.0;
    let mut held = 1.0;
    for (l, r) in &join.on {
        let (l, r) = (distinct_of(l, of_left, &left), distinct_of(r, of_right, &right));
        matches /= l.max(r);
        // The share of the left keys' values that the right side has.
        held *= (r * right.rows / right.base_rows / l).min(1.0);
    }
    matches = matches.max(1.0 / left.base_rows.max(right.base_rows).max(1.0));
    let filter = if join.filter.is_some() { 0.5 } else { 1.0 };
    let pairs = (left.rows * right.rows * matches * filter).max(1.0);
    let rows = match join.join_type {
        JoinType::Inner => pairs,
        JoinType::Left => pairs.max(left.rows),
        JoinType::Right => pairs.max(right.rows),
        JoinType::Full => pairs.max(left.rows + right.rows),
        JoinType::LeftSemi => (left.rows * held * filter).max(1.0),
        JoinType::RightSemi => (right.rows * 0.5).max(1.0),
        JoinType::LeftAnti => (left.rows * (1.0 - held * filter)).max(left.rows * 0.1),
        JoinType::RightAnti => (right.rows * 0.5).max(1.0),
        JoinType::LeftMark => left.rows,
        JoinType::RightMark => right.rows,
    };
    let mut columns = match join.join_type {
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right.columns,
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left.columns,
        _ => [left.columns, right.columns].concat(),
    };
    columns.resize(join.schema.fields().len(), ColumnProfile::UNKNOWN);
    let base_rows = rows.max(left.base_rows);
    Profile { rows, base_rows, how: "join", columns }
}
