//! `propagate_empty_relation`, of the borrowed rules, with the unions that it is wrong about: of a
//! union with one input that is not empty it takes columns by the names of the union, which are
//! those of the first input, from the one that is left.

use datafusion_common::Result;
use datafusion_common::tree_node::Transformed;
use datafusion_expr::logical_plan::{LogicalPlan, Projection, Union};
use datafusion_expr::{Expr, cast};
use datafusion_optimizer::OptimizerRule;
use datafusion_optimizer::propagate_empty_relation::PropagateEmptyRelation;

use super::guards::guarded;
use super::passes::Rule;

/// What an empty input makes empty.
pub(super) fn empty_relations() -> Rule {
    guarded(PropagateEmptyRelation::new(), |rule, plan, config| match plan {
        LogicalPlan::Union(union) => match only_input(&union)? {
            Some(plan) => Ok(Transformed::yes(plan)),
            None => rule.rewrite(LogicalPlan::Union(union), config),
        },
        plan => rule.rewrite(plan, config),
    })
}

/// The only input of a union that is not empty, with the union's columns.
fn only_input(union: &Union) -> Result<Option<LogicalPlan>> {
    let is_empty = |input: &LogicalPlan| match input {
        LogicalPlan::EmptyRelation(empty) => !empty.produce_one_row,
        _ => false,
    };
    let mut left = union.inputs.iter().filter(|input| !is_empty(input));
    let (Some(input), None) = (left.next(), left.next()) else { return Ok(None) };
    if union.inputs.len() == 1 || input.schema() == &union.schema {
        return Ok(None);
    }
    let columns = input.schema().columns().into_iter().zip(input.schema().fields());
    let columns = columns.zip(union.schema.iter()).map(|((column, found), (qualifier, field))| {
        let is_same = found.data_type() == field.data_type();
        let column = Expr::Column(column);
        let column = if is_same { column } else { cast(column, field.data_type().clone()) };
        column.alias_qualified(qualifier.cloned(), field.name())
    });
    let columns = columns.collect();
    let plan = Projection::try_new_with_schema(columns, input.clone(), union.schema.clone())?;
    Ok(Some(LogicalPlan::Projection(plan)))
}
