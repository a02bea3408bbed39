//! The query of a CTE as a table that holds its plan, until it is known how often it is read.
//!
//! The binder puts what it has bound for a CTE to each place where the CTE is named. A table of one
//! node keeps that small: definitions over definitions that are named twice would double at every
//! level. `place_definitions` then makes a shared plan of what is read twice and worth it, and puts
//! the others where they are read.
//!
//! Invariant: a definition reads only such with smaller numbers, those that were bound before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::SchemaRef;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::logical_plan::LogicalPlan;
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Expr, Projection, Subquery, TableSource};

use super::shared::{Worth, scan_as, stand_in, stored_schema};
use super::unnest::subquery_of;

/// Definitions with more nodes than this are shared whatever they do.
const NODES_MAX: usize = 64;

/// Numbers given to definitions so far, in all statements.
static DEFINITIONS: AtomicUsize = AtomicUsize::new(0);

/// The rows of a definition, as a table.
struct DefinitionSource {
    number: usize,
    schema: SchemaRef,
    plan: Arc<LogicalPlan>,
}

impl TableSource for DefinitionSource {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// A table with the rows of a plan, which stands for itself (see [`reads_outside`]).
pub(crate) fn definition(plan: LogicalPlan) -> Result<LogicalPlan> {
    let number = DEFINITIONS.fetch_add(1, Ordering::Relaxed);
    let schema = stored_schema(&plan);
    let plan = Arc::new(plan);
    let source = DefinitionSource { number, schema, plan: plan.clone() };
    scan_as(&format!("__definition_{number}"), Arc::new(source), &plan)
}

/// The plan, and behind it those of definitions that are read several times; each may refer to
/// those after it.
pub(super) fn place_definitions(plan: LogicalPlan) -> Result<Vec<LogicalPlan>> {
    let mut units = vec![plan];
    while let Some(Last { number, plan, count }) = last(&units)? {
        let worth = Worth::of(&plan)?;
        let is_shared = count > 1 && (worth.work || worth.volatile || worth.nodes > NODES_MAX);
        let put = match is_shared {
            true => stand_in(units.len() - 1, &plan)?,
            false => plan.as_ref().clone(),
        };
        for unit in &mut units {
            *unit = placed(std::mem::take(unit), number, &put)?;
        }
        if is_shared {
            units.push(Arc::unwrap_or_clone(plan));
        }
    }
    Ok(units)
}

/// The definition that no other one reads.
struct Last {
    number: usize,
    plan: Arc<LogicalPlan>,
    count: usize,
}

fn last(units: &[LogicalPlan]) -> Result<Option<Last>> {
    let mut last: Option<Last> = None;
    for unit in units {
        unit.apply_with_subqueries(|node| {
            if let Some(source) = source_of(node) {
                match &mut last {
                    Some(last) if last.number > source.number => {}
                    Some(last) if last.number == source.number => last.count += 1,
                    _ => {
                        let (number, plan) = (source.number, source.plan.clone());
                        last = Some(Last { number, plan, count: 1 });
                    }
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(last)
}

fn source_of(node: &LogicalPlan) -> Option<&DefinitionSource> {
    match node {
        LogicalPlan::TableScan(scan) => scan.source.downcast_ref::<DefinitionSource>(),
        _ => None,
    }
}

fn placed(plan: LogicalPlan, number: usize, put: &LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_down_with_subqueries(|node| match &node {
        LogicalPlan::Projection(Projection { input, .. })
            if source_of(input).is_some_and(|source| source.number == number) =>
        {
            Ok(Transformed::new(put.clone(), true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

/// Whether a plan refers to columns of a query around it.
pub(crate) fn reads_outside(plan: &LogicalPlan) -> Result<bool> {
    reads_beyond(plan, &mut Vec::new())
}

/// `scopes` are the schemas of the queries around that belong to the plan.
fn reads_beyond(plan: &LogicalPlan, scopes: &mut Vec<DFSchema>) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        if let LogicalPlan::Join(join) = node
            && let Some(lateral) = lateral(&join.right)
        {
            scopes.push(join.left.schema().as_ref().clone());
            let beyond = reads_beyond(&lateral.subquery, scopes)?;
            scopes.pop();
            found |= beyond || reads_beyond(&join.left, scopes)? || own_reads(node, scopes)?;
            return Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Jump });
        }
        found |= own_reads(node, scopes)?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The query of a join's right side that is LATERAL: what it refers to is the left.
pub(crate) fn lateral(right: &LogicalPlan) -> Option<&Subquery> {
    match right {
        LogicalPlan::Subquery(subquery) => Some(subquery),
        LogicalPlan::SubqueryAlias(alias) => lateral(&alias.input),
        LogicalPlan::Projection(projection) => lateral(&projection.input),
        _ => None,
    }
}

/// The same for the expressions of one node.
fn own_reads(node: &LogicalPlan, scopes: &mut Vec<DFSchema>) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        expr.apply(|e| {
            found |= match (e, subquery_of(e)) {
                (Expr::OuterReferenceColumn(_, column), _) => {
                    !scopes.iter().any(|scope| scope.has_column(column))
                }
                (_, Some(subquery)) => {
                    scopes.push(merge_schema(&node.inputs()));
                    let found = reads_beyond(&subquery.subquery, scopes)?;
                    scopes.pop();
                    found
                }
                _ => false,
            };
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}
