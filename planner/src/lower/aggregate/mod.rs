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
//! * `over`: aggregates OVER windows; `sorted_values`: those of sorted values.
//! * `branches`: what can be computed in one way is a branch: in one pass by hash, over distinct
//!   values, or over rows in order. Each branch has a row for every key, so that those of several
//!   branches can be put together.
//!
//! All branches of all grouping sets read the projection as it runs.

mod borrowed;
mod branches;
mod calls;
mod over;
mod sorted_values;

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion_expr::Expr as Logical;
use datafusion_expr::expr::GroupingSet;
use datafusion_expr::logical_plan as df;
use datafusion_expr::utils::{grouping_set_to_exprlist, powerset};
use gristmill_engine::expr::{Expr, Literal, Value};
use gristmill_engine::operators::Union;
use gristmill_engine::plan::NodeId;
use gristmill_engine::{Error, Result};

use super::columns::Columns;
use super::plan::{PlanLowering, field_names};
use calls::Call;

pub(super) use over::{aggregate_over, distinct_over};

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
        let sets = sets_of(set, &group_exprs)?;
        self.grouping_sets(below, &keys, &sets, &calls, output)
    }

    /// The groups of several sets of keys: those that are not in a set are NULL, and a number
    /// tells the sets apart.
    fn grouping_sets(
        &mut self,
        below: NodeId,
        keys: &[usize],
        sets: &[Vec<usize>],
        calls: &[Call],
        output: &Schema,
    ) -> Result<NodeId> {
        if keys.len() >= 64 {
            return Err(Error::input("grouping sets are of at most 63 columns"));
        }
        let id_type = output.field(keys.len()).data_type();
        let mut ids: Vec<u64> = Vec::with_capacity(sets.len());
        let mut nodes = Vec::with_capacity(sets.len());
        for set in sets {
            let own: Vec<usize> = set.iter().map(|&key| keys[key]).collect();
            let names = (0..own.len() + calls.len()).map(|i| format!("c{i}")).collect();
            let groups = self.groups(below, &own, calls, names)?;
            let absent = (0..keys.len()).filter(|key| !set.contains(key));
            let mask = absent.fold(0u64, |mask, key| mask | (1 << (keys.len() - 1 - key)));
            let before = ids.iter().filter(|&&id| id == mask).count() as u64;
            ids.push(mask);
            let id = Value::UInt((before << keys.len()) | mask);
            let id = Expr::Literal(Literal { data_type: id_type.clone(), value: id });
            let column =
                |at: usize, field: &Arc<Field>| Expr::column(at, field.data_type().clone());
            let exprs = output.fields().iter().enumerate().map(|(number, field)| {
                if number == keys.len() {
                    return id.clone();
                }
                match number.checked_sub(keys.len() + 1) {
                    Some(call) => column(own.len() + call, field),
                    None => match set.iter().position(|&key| key == number) {
                        Some(at) => column(at, field),
                        None => Expr::Literal(Literal::null(field.data_type().clone())),
                    },
                }
            });
            nodes.push(self.project(groups, exprs.collect(), field_names(output))?);
        }
        match nodes[..] {
            [only] => Ok(only),
            _ => self.plan.add(Arc::new(Union {}), &nodes),
        }
    }
}

/// The grouping sets, as positions among all grouping expressions.
fn sets_of(set: &GroupingSet, all: &[&Logical]) -> Result<Vec<Vec<usize>>> {
    let place = |expr: &Logical| {
        let place = all.iter().position(|other| **other == *expr);
        place.ok_or_else(|| Error::internal(format!("{expr} is of no grouping set")))
    };
    let places = |exprs: &[Logical]| {
        let mut places = exprs.iter().map(place).collect::<Result<Vec<usize>>>()?;
        places.sort_unstable();
        places.dedup();
        Ok(places)
    };
    match set {
        GroupingSet::Rollup(exprs) => {
            (0..=exprs.len()).rev().map(|count| places(&exprs[..count])).collect()
        }
        GroupingSet::Cube(exprs) => {
            let subsets = powerset(exprs).map_err(|e| Error::input(e.to_string()))?;
            let subset = |exprs: Vec<&Logical>| {
                places(&exprs.into_iter().cloned().collect::<Vec<Logical>>())
            };
            subsets.into_iter().map(subset).collect()
        }
        GroupingSet::GroupingSets(sets) => sets.iter().map(|exprs| places(exprs)).collect(),
    }
}
