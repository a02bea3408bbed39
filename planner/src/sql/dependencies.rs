//! Which columns decide on others: forgotten before the rules that go by it.
//!
//! The borrowed front end notes of every group-by that its keys decide on its other columns, and
//! takes that through joins. Of a further group-by by these and by other keys it then says that
//! they decide on all of its columns, the other keys too, though a join has brought several of
//! these for each: columns are dropped from GROUP BY and DISTINCT that are needed, and DISTINCT is
//! where it is. What is lost without it is little: keys that other keys decide on are grouped by.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchemaRef, FunctionalDependencies, Result};
use datafusion_expr::logical_plan::LogicalPlan;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

/// See the module documentation. For rules right behind it: others build schemas anew.
#[derive(Debug)]
pub(super) struct ForgetDependencies;

impl OptimizerRule for ForgetDependencies {
    fn name(&self) -> &str {
        "forget_dependencies"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        forget(plan).map(Transformed::no)
    }
}

/// The plan, of whose columns none decides on others.
pub(super) fn forget(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|mut node| {
        let changed = match &mut node {
            LogicalPlan::Projection(node) => forget_in(&mut node.schema)?,
            LogicalPlan::Aggregate(node) => forget_in(&mut node.schema)?,
            LogicalPlan::Window(node) => forget_in(&mut node.schema)?,
            LogicalPlan::Join(node) => forget_in(&mut node.schema)?,
            LogicalPlan::Union(node) => forget_in(&mut node.schema)?,
            LogicalPlan::SubqueryAlias(node) => forget_in(&mut node.schema)?,
            LogicalPlan::Unnest(node) => forget_in(&mut node.schema)?,
            LogicalPlan::TableScan(node) => forget_in(&mut node.projected_schema)?,
            _ => false,
        };
        Ok(Transformed::new_transformed(node, changed))
    })
    .data()
}

/// Whether there was something to forget.
fn forget_in(schema: &mut DFSchemaRef) -> Result<bool> {
    if schema.functional_dependencies().is_empty() {
        return Ok(false);
    }
    let forgotten = schema.as_ref().clone();
    *schema = Arc::new(forgotten.with_functional_dependencies(FunctionalDependencies::empty())?);
    Ok(true)
}
