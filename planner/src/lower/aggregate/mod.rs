//! GROUP BY and aggregates: a projection of keys and arguments, and operators over its columns.
//!
//! ```text
//! input ─ projection ─┬─ branch ─┐                        one grouping set
//!                     ├─ branch ─┴─ union ─ one row a key ─┐
//!                     └─ …                                 ├─ union of the grouping sets
//!                        …                                ─┘
//! ```
//!
//! * `calls`: from the front end's calls to those of the engine, over the projection's columns.
//! * `borrowed`: aggregates of the front end that the engine calls.
//! * `over`: aggregates OVER windows.
//! * `sets`: grouping sets; those that are many are computed in one.
//! * `branches`: what can be computed in one way is a branch: in one pass by hash, over distinct
//!   values, or over rows in order. Each branch has a row for every key, so that those of several
//!   branches can be put together.
//!
//! All branches of all grouping sets read the projection as it runs.

mod borrowed;
mod branches;
mod calls;
mod over;
mod sets;

use datafusion_expr::Expr as Logical;
use datafusion_expr::logical_plan as df;
use datafusion_expr::utils::grouping_set_to_exprlist;
use gristmill_engine::expr::Expr;
use gristmill_engine::plan::NodeId;
use gristmill_engine::{Error, Result};

use super::columns::Columns;
use super::plan::{PlanLowering, field_names};

pub(super) use over::over;

impl PlanLowering {
    pub(super) fn aggregate(&mut self, aggregate: &df::Aggregate) -> Result<NodeId> {
        let input = self.node(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let output = aggregate.schema.as_arrow();
        let sets = match &aggregate.group_expr[..] {
            [Logical::GroupingSet(set)] => Some(set),
            _ => None,
        };
        let group_exprs = grouping_set_to_exprlist(&aggregate.group_expr)
            .map_err(|e| Error::internal(e.to_string()))?;
        let mut columns = Columns::default();
        let keys = group_exprs.iter().map(|e| Ok(columns.add(self.expr(e, schema)?)));
        let keys: Vec<usize> = keys.collect::<Result<_>>()?;
        let first = keys.len() + usize::from(sets.is_some());
        let mut calls = Vec::with_capacity(aggregate.aggr_expr.len());
        for (number, call) in aggregate.aggr_expr.iter().enumerate() {
            let data_type = output.field(first + number).data_type();
            calls.push(self.aggregate_call(call, schema, data_type, &mut columns)?);
        }
        let names = columns.exprs.iter().map(Expr::to_string).collect();
        let below = self.project(input, columns.exprs, names)?;
        let names = field_names(output);
        let Some(set) = sets else { return self.groups(below, &keys, &calls, names) };
        let sets = sets::sets_of(set, &group_exprs)?;
        self.grouping_sets(below, &keys, &sets, &calls, output)
    }
}
