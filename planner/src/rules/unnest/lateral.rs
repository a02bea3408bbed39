//! LATERAL: a subquery in FROM that depends on what is joined to its left.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchemaRef, JoinType, NullEquality, Result};
use datafusion_expr::logical_plan::{Join, LogicalPlan, Projection};
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{BinaryExpr, Expr, Operator, Subquery, lit};

use super::conditions::filtered;
use super::domain::{chosen, null_of};
use super::elements::Elements;
use super::join::joined;
use super::lift::Use;
use super::lifted::{Lifted, Pending, translated};
use super::place::place_in;
use super::scope::Scope;
use super::{Unnesting, column_exprs, free_references};

/// The columns of a join's left input that subqueries in FROM of its right input refer to, and
/// those in their expressions.
pub(super) fn references(join: &Join) -> Vec<Column> {
    let mut columns = Vec::new();
    let _ = join.right.apply(|node| {
        if let LogicalPlan::Subquery(subquery) = node {
            let _ = subquery.subquery.apply_with_subqueries(|node| {
                let names = free_references(node).into_iter();
                columns.extend(names.filter(|column| join.left.schema().has_column(column)));
                Ok(TreeNodeRecursion::Continue)
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    columns
}

impl Unnesting<'_> {
    /// A join whose right input may depend on the left one, as a join of independent inputs.
    pub(super) fn lateral(&mut self, join: Join) -> Result<LogicalPlan> {
        let place = place_in(&join.right);
        let schema = join.schema.clone();
        let right_schema = join.right.schema().clone();
        let left = self.plan(Arc::unwrap_or_clone(join.left))?.data;
        let right = self.plan(Arc::unwrap_or_clone(join.right))?.data;
        let right = without_wrappers(right)?;
        self.place = place;
        let op = match join.null_equality {
            NullEquality::NullEqualsNothing => Operator::Eq,
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
        };
        let equal = join.on.into_iter().map(|(left, right)| {
            let (left, right) = (Box::new(left), Box::new(right));
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        });
        let filter = join.filter.map(split_conjunction_owned).unwrap_or_default();
        let conditions: Vec<Expr> = equal.chain(filter).collect();
        if conditions.iter().any(super::has_subquery) {
            return Err(self.refuse("a subquery in the condition of a LATERAL join"));
        }
        let left_columns = column_exprs(left.schema());
        let mut scope = Scope::new(left);
        let free = conditions.iter().all(|condition| *condition == lit(true));
        let elements = Elements::of(&right).filter(|elements| match join.join_type {
            JoinType::Inner => true,
            JoinType::Left => free && elements.is_plain(),
            _ => false,
        });
        let (plan, right_columns) = if let Some(elements) = elements {
            let outer = join.join_type == JoinType::Left;
            let (plan, outputs) = self.beside(elements, &scope, outer)?;
            let conditions = conditions.into_iter().map(|c| over(c, &right_schema, &outputs));
            let conditions = conditions.collect::<Result<Vec<_>>>()?;
            let plan = if free { plan } else { filtered(plan, conditions) };
            (plan, outputs)
        } else {
            let lifted = self.lift(right, &mut scope, Use::Rows)?;
            let dependent = Dependent { lifted, scope, conditions, right_schema };
            self.lateral_join(dependent, join.join_type)?
        };
        let named = left_columns.into_iter().chain(right_columns).zip(schema.iter());
        let named = named.map(|(expr, (relation, field))| match &expr {
            Expr::Column(c) if (c.relation.as_ref(), &c.name) == (relation, field.name()) => expr,
            _ => expr.alias_qualified(relation.cloned(), field.name()),
        });
        let projection = Projection::try_new(named.collect(), Arc::new(plan))?;
        Ok(LogicalPlan::Projection(projection))
    }

    fn lateral_join(
        &mut self,
        dependent: Dependent,
        kind: JoinType,
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        match kind {
            JoinType::Inner => self.lateral_inner(dependent),
            JoinType::Left => self.lateral_left(dependent),
            JoinType::LeftSemi | JoinType::LeftAnti => {
                Ok((self.lateral_semi(dependent, kind)?, Vec::new()))
            }
            other => Err(self.refuse(&format!("LATERAL on the right of a {other} join"))),
        }
    }

    fn lateral_inner(&mut self, dependent: Dependent) -> Result<(LogicalPlan, Vec<Expr>)> {
        let Dependent { lifted, scope, conditions, right_schema } = dependent;
        if lifted.absent.is_some() {
            let dependent = Dependent { lifted, scope, conditions: Vec::new(), right_schema };
            let right_schema = dependent.right_schema.clone();
            let (plan, outputs) = self.lateral_left(dependent)?;
            let conditions = conditions.into_iter().map(|c| over(c, &right_schema, &outputs));
            let plan = filtered(plan, conditions.collect::<Result<_>>()?);
            return Ok((plan, outputs));
        }
        let (lifted, _) = self.resolved(lifted, &scope, false)?;
        let outputs = lifted.outputs;
        let conditions = conditions.into_iter().map(|c| over(c, &right_schema, &outputs));
        let conditions = conditions.map(|c| Ok(Pending::Other(c?)));
        let mut all = lifted.pending;
        all.extend(conditions.collect::<Result<Vec<_>>>()?);
        let plan = joined(scope.plan, lifted.plan, all, JoinType::Inner, None)?;
        Ok((plan, outputs))
    }

    fn lateral_left(&mut self, dependent: Dependent) -> Result<(LogicalPlan, Vec<Expr>)> {
        let Dependent { mut lifted, scope, conditions, right_schema } = dependent;
        let is_computed = |output: &Expr| !matches!(output, Expr::Column(_));
        let is_absent_known = lifted.absent.is_some();
        let marks = is_absent_known || lifted.outputs.iter().any(is_computed);
        lifted.order.clear();
        let (lifted, marker) = self.resolved(lifted, &scope, marks)?;
        let types = lifted.outputs.iter().zip(right_schema.fields());
        let nulls = types.map(|(_, field)| null_of(field.data_type()));
        let nulls = nulls.collect::<Result<Vec<_>>>()?;
        let mut pending = lifted.pending;
        if !is_absent_known {
            let conditions = conditions.into_iter().map(|condition| {
                Ok(Pending::Other(over(condition, &right_schema, &lifted.outputs)?))
            });
            pending.extend(conditions.collect::<Result<Vec<_>>>()?);
            let plan = joined(scope.plan, lifted.plan, pending, JoinType::Left, None)?;
            let outputs = lifted.outputs.into_iter().zip(nulls);
            let outputs = outputs.map(|(output, null)| chosen(marker.as_ref(), output, null));
            return Ok((plan, outputs.collect()));
        }
        // There is a row always; the conditions decide whether it is a match.
        let absent = lifted.absent.unwrap_or_default();
        let plan = joined(scope.plan, lifted.plan, pending, JoinType::Left, None)?;
        let outputs = lifted.outputs.into_iter().zip(absent);
        let outputs: Vec<Expr> =
            outputs.map(|(output, absent)| chosen(marker.as_ref(), output, absent)).collect();
        let conditions = conditions.into_iter().map(|c| over(c, &right_schema, &outputs));
        let conditions = conditions.collect::<Result<Vec<_>>>()?;
        let outputs = match datafusion_expr::utils::conjunction(conditions) {
            Some(matches) => {
                let outputs = outputs.into_iter();
                outputs.map(|output| super::case(vec![(matches.clone(), output)], None)).collect()
            }
            None => outputs,
        };
        Ok((plan, outputs))
    }

    fn lateral_semi(&mut self, dependent: Dependent, kind: JoinType) -> Result<LogicalPlan> {
        let Dependent { lifted, mut scope, conditions, right_schema } = dependent;
        let lifted = self.settled(lifted, &mut scope)?;
        let (lifted, _) = self.resolved(lifted, &scope, false)?;
        let conditions = conditions
            .into_iter()
            .map(|condition| Ok(Pending::Other(over(condition, &right_schema, &lifted.outputs)?)));
        let mut all = lifted.pending;
        all.extend(conditions.collect::<Result<Vec<_>>>()?);
        joined(scope.plan, lifted.plan, all, kind, None)
    }
}

/// The two inputs of a join of which the right one was made independent.
struct Dependent {
    lifted: Lifted,
    scope: Scope,
    conditions: Vec<Expr>,
    right_schema: DFSchemaRef,
}

/// A condition over both inputs with what the right one's columns are.
fn over(condition: Expr, right: &DFSchemaRef, outputs: &[Expr]) -> Result<Expr> {
    translated(condition, &|column| outputs.get(right.maybe_index_of_column(column)?).cloned())
}

/// The plan with what is in subquery nodes instead of them.
fn without_wrappers(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_down(|node| match node {
        LogicalPlan::Subquery(Subquery { subquery, .. }) => {
            Ok(Transformed::yes(Arc::unwrap_or_clone(subquery)))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}
