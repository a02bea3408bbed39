//! `share_subplans`: equal parts of one statement are planned and computed once.
//!
//! Right after binding, the CTEs are tables that hold their plans (see `definition`); references to
//! one view are copies of one plan under one alias, and equal group-bys written twice are equal
//! plans. Each such part becomes a plan of its own; where it stood, a scan of a table that stands
//! for its rows is put. The parts are found before any rule specialises one of the copies.
//!
//! Sound: a statement reads one state of its tables, so equal plans give equal rows. A CTE with a
//! volatile function is computed once however often it is named; equal texts with one are not
//! shared, each is a definition of its own. Parts that read columns of an outer query are left
//! alone. A part that is a mere scan is not worth keeping its rows.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, Result};
use datafusion_expr::logical_plan::{LogicalPlan, Projection, TableScan};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlanBuilder, TableSource, cast};
use hashbrown::DefaultHashBuilder;

use super::definition::place_definitions;
use super::has_subquery;
use crate::sql::{VIEW_PREFIX, any_expression};
use crate::statistics::{Profile, profile};

/// The rule's name in explain.
pub(crate) const SHARE_SUBPLANS: &str = "share_subplans";

/// Plans with more nodes than this are not searched for equal parts: each search compares parts.
const NODES_MAX: usize = 2_000;

/// A table that stands for the rows of a shared plan.
#[derive(Debug, Clone)]
pub(crate) struct SharedSource {
    number: usize,
    schema: SchemaRef,
    profile: Profile,
}

impl SharedSource {
    /// The number of the plan among a statement's shared ones.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// What is guessed about its rows.
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }
}

impl TableSource for SharedSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// Takes the equal parts out of a plan. The parts may refer to those after them.
pub(crate) fn share_subplans(plan: LogicalPlan) -> Result<(LogicalPlan, Vec<LogicalPlan>)> {
    let mut units = place_definitions(plan)?;
    while let Some(part) = find_largest(&units)? {
        let stand_in = stand_in(units.len() - 1, &part)?;
        for unit in &mut units {
            *unit = replace(std::mem::take(unit), &part, &stand_in)?;
        }
        units.push(part);
    }
    let main = units.remove(0);
    Ok((main, units))
}

/// The largest part that occurs at least twice.
fn find_largest(units: &[LogicalPlan]) -> Result<Option<LogicalPlan>> {
    let (mut nodes, mut candidates) = (0, 0);
    for unit in units {
        unit.apply_with_subqueries(|node| {
            nodes += 1;
            candidates += usize::from(is_candidate(node));
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    if candidates < 2 || nodes > NODES_MAX {
        return Ok(None);
    }
    let hasher = DefaultHashBuilder::default();
    let mut groups: HashMap<u64, Vec<(usize, LogicalPlan)>> = HashMap::new();
    for unit in units {
        unit.apply_with_subqueries(|node| {
            if is_candidate(node) {
                let group = groups.entry(hasher.hash_one(node)).or_default();
                match group.iter_mut().find(|(_, plan)| plan == node) {
                    Some((count, _)) => *count += 1,
                    None => group.push((1, node.clone())),
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    let mut best: Option<(usize, LogicalPlan)> = None;
    for (_, plan) in groups.into_values().flatten().filter(|(count, _)| *count > 1) {
        let worth = Worth::of(&plan)?;
        let wanted = worth.is_enough() && !worth.volatile;
        if wanted && best.as_ref().is_none_or(|(nodes, _)| worth.nodes > *nodes) {
            best = Some((worth.nodes, plan));
        }
    }
    Ok(best.map(|(_, plan)| plan))
}

fn is_candidate(node: &LogicalPlan) -> bool {
    is_view(node) || matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_))
}

/// Whether a node is a copy of a view's plan.
fn is_view(node: &LogicalPlan) -> bool {
    matches!(node, LogicalPlan::SubqueryAlias(alias)
        if alias.alias.table().starts_with(VIEW_PREFIX))
}

/// Whether a plan that is read twice should be computed once.
pub(in crate::rules) fn is_worth_sharing(plan: &LogicalPlan) -> Result<bool> {
    Ok(Worth::of(plan)?.is_enough())
}

/// What decides whether a part is shared.
#[derive(Default)]
pub(super) struct Worth {
    pub(super) nodes: usize,
    pub(super) work: bool,
    pub(super) volatile: bool,
    correlated: bool,
}

impl Worth {
    pub(super) fn of(plan: &LogicalPlan) -> Result<Worth> {
        let mut worth = Worth::default();
        plan.apply_with_subqueries(|node| {
            worth.nodes += 1;
            worth.work |= matches!(
                node,
                LogicalPlan::Aggregate(_)
                    | LogicalPlan::Distinct(_)
                    | LogicalPlan::Join(_)
                    | LogicalPlan::Window(_)
                    | LogicalPlan::Sort(_)
                    | LogicalPlan::Limit(_)
                    | LogicalPlan::Extension(_)
            );
            for expr in node.expressions() {
                worth.volatile |= expr.is_volatile();
                worth.correlated |= expr.contains_outer();
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(worth)
    }

    fn is_enough(&self) -> bool {
        !self.correlated && (self.work || self.volatile)
    }
}

/// A scan that gives the columns of `part` under the names they have there.
pub(in crate::rules) fn stand_in(number: usize, part: &LogicalPlan) -> Result<LogicalPlan> {
    let source = SharedSource { number, schema: stored_schema(part), profile: profile(part) };
    scan_as(&format!("__shared_{number}"), Arc::new(source), part)
}

/// The columns of a plan as those of a table. What is computed from subqueries may be NULL: the
/// front end takes the value of one for as nullable as its column, although it is NULL without a
/// row. In conditions they make no columns.
pub(super) fn stored_schema(part: &LogicalPlan) -> SchemaRef {
    let computes = |node: &LogicalPlan| {
        !matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_))
            && any_expression(node, has_subquery)
    };
    let has_values = part.exists(|node| Ok(computes(node))).unwrap_or(true);
    let field = |(index, field): (usize, &FieldRef)| {
        let nullable = field.is_nullable() || has_values;
        field.as_ref().clone().with_name(format!("c{index}")).with_nullable(nullable)
    };
    let fields: Vec<Field> = part.schema().fields().iter().enumerate().map(field).collect();
    Arc::new(Schema::new(fields))
}

/// A scan of a table with the columns of `part`, under the names they have there.
pub(super) fn scan_as(
    name: &str,
    source: Arc<dyn TableSource>,
    part: &LogicalPlan,
) -> Result<LogicalPlan> {
    let scan = LogicalPlanBuilder::scan(name, source, None)?.build()?;
    let columns = part.schema().iter().enumerate().map(|(index, (qualifier, field))| {
        let column = Expr::Column(Column::new(Some(name), format!("c{index}")));
        column.alias_qualified(qualifier.cloned(), field.name())
    });
    Ok(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::new(scan))?))
}

fn replace(plan: LogicalPlan, part: &LogicalPlan, stand_in: &LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_down_with_subqueries(|node| {
        if !is_candidate(&node) || node != *part {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::new(stand_in.clone(), true, TreeNodeRecursion::Jump))
    })
    .data()
}

/// A scan of a shared plan's rows.
pub(crate) fn shared_source(scan: &TableScan) -> Option<&SharedSource> {
    scan.source.downcast_ref::<SharedSource>()
}

/// The numbers of the shared plans that a plan reads.
pub(crate) fn parts_read(plan: &LogicalPlan) -> Result<Vec<usize>> {
    let mut numbers = Vec::new();
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            numbers.extend(shared_source(scan).map(SharedSource::number));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(numbers)
}

/// The columns of shared plan `number` that scans in these plans read, increasing.
pub(crate) fn columns_read(number: usize, plans: &[&LogicalPlan]) -> Result<Vec<usize>> {
    let mut columns = std::collections::BTreeSet::new();
    for plan in plans {
        plan.apply(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(source) = shared_source(scan)
                && source.number == number
            {
                match &scan.projection {
                    Some(kept) => columns.extend(kept.iter().copied()),
                    None => columns.extend(0..source.schema.fields().len()),
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(columns.into_iter().collect())
}

/// A shared plan that gives only some of its columns, of the types that its readers were bound to.
pub(crate) fn narrowed(
    part: LogicalPlan,
    bound: &SchemaRef,
    columns: &[usize],
) -> Result<LogicalPlan> {
    let schema = part.schema().clone();
    let exprs = columns.iter().map(|&index| {
        let column = Expr::Column(Column::from(schema.qualified_field(index)));
        let wanted = bound.field(index).data_type();
        let is_same = column.get_type(&schema)? == *wanted;
        let expr = if is_same { column } else { cast(column, wanted.clone()) };
        Ok(expr.alias(format!("c{index}")))
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(part))?))
}
