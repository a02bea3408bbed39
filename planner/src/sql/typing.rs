//! The types of a bound plan: operands that meet, columns that are united, references to the
//! queries around.
//!
//! A binder gives CASE and UNION the type of their first branch, and what stands above them is
//! bound to that. So types are settled from the inputs up, each node once: first what it reads,
//! then the subqueries in its expressions, in which references to it get the types that its columns
//! have by now, then its own expressions, operands before what they are operands of. An operand is
//! first looked at by the rules of ours (see `operands`), then by the borrowed ones. INTERSECT and
//! EXCEPT are expanded where the types of both sides are known.
//!
//! Nodes that have nothing but columns are left alone, and a schema is made anew when it may have
//! other types than those below: bringing all columns together at every node takes as long as all
//! rules that come after.
//!
//! Sound: no cast is chosen for a type that changes afterwards; names of columns are kept.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion, TreeNodeRewriter};
use datafusion_common::{DFSchema, DFSchemaRef, JoinType, Result};
use datafusion_expr::expr::{Alias, Between};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, ExprSchemable, Join, LogicalPlan, Operator, Subquery, Union};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;

use super::frames;
use super::grouping_items::in_sets;
use super::lengths::{by_length, keys_by_length, window_by_length};
use super::lists::by_key;
use super::operands::{as_cast, meet_keys, unite, widened};
use super::renewed::{any_expression, schema_below};
use super::whole::round_cast;
use crate::functions::{is_random, list_order, with_spelled_parts, with_types};
use crate::rules::{expand_set_operation, has_subquery, is_set_operation, lateral};

/// Settles the types of a plan; says whether it had set operations that were expanded.
///
/// # Errors
/// When two types have no common one.
pub(super) fn typed(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut typing = Typing::default();
    let plan = typing.plan(plan)?;
    Ok(Transformed::new_transformed(plan, typing.has_expanded))
}

#[derive(Default)]
struct Typing {
    /// The columns of the queries around, the innermost last.
    scopes: Vec<DFSchemaRef>,
    has_expanded: bool,
}

impl Typing {
    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = self.inputs(plan)?;
        let plan = self.subqueries(plan)?;
        self.node(plan)
    }

    fn inputs(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        match plan {
            LogicalPlan::Union(union) => {
                let inputs = in_one_union(union.inputs).into_iter();
                let typed =
                    inputs.map(|input| Ok(Arc::new(self.plan(Arc::unwrap_or_clone(input))?)));
                let inputs = typed.collect::<Result<_>>()?;
                Ok(LogicalPlan::Union(Union { inputs, schema: union.schema }))
            }
            LogicalPlan::Join(mut join) if lateral(&join.right).is_some() => {
                join.left = Arc::new(self.plan(Arc::unwrap_or_clone(join.left))?);
                let scope = Arc::clone(join.left.schema());
                join.right = Arc::new(
                    self.within(scope, |typing| typing.plan(Arc::unwrap_or_clone(join.right)))?,
                );
                Ok(LogicalPlan::Join(join))
            }
            other => Ok(other.map_children(|child| self.plan(child).map(Transformed::yes))?.data),
        }
    }

    fn subqueries(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if !any_expression(&plan, has_subquery) {
            return Ok(plan);
        }
        let scope = schema_below(&plan);
        self.within(scope, |typing| {
            let plan = plan.map_subqueries(|query| typing.plan(query).map(Transformed::yes))?;
            Ok(plan.data)
        })
    }

    fn within(
        &mut self,
        scope: DFSchemaRef,
        typed: impl FnOnce(&mut Self) -> Result<LogicalPlan>,
    ) -> Result<LogicalPlan> {
        self.scopes.push(scope);
        let plan = typed(self);
        self.scopes.pop();
        plan
    }

    /// A node above inputs and subqueries whose types are settled.
    fn node(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        keys_by_length(self.met(plan)?)
    }

    /// The same whose keys are as they were written.
    fn met(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if has_only_columns(&plan) {
            return if is_fresh(&plan) { Ok(plan) } else { plan.recompute_schema() };
        }
        let mut plan = match plan {
            LogicalPlan::Join(join) if is_set_operation(&join) => {
                self.has_expanded = true;
                return expand_set_operation(join, |plan| self.node(plan));
            }
            LogicalPlan::Join(join) if has_only_column_keys(&join) => return keyed(join),
            LogicalPlan::Join(mut join) => {
                meet_keys(&mut join)?;
                LogicalPlan::Join(join)
            }
            LogicalPlan::Union(union) => {
                TypeCoercionRewriter::coerce_union(unite(union)?)?.recompute_schema()?
            }
            LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans }) => {
                let references = outer_ref_columns.into_iter().map(|expr| self.retyped(expr));
                let outer_ref_columns = references.collect();
                return Ok(LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans }));
            }
            other => other,
        };
        let schema = schema_below(&plan);
        if let LogicalPlan::Filter(filter) = &mut plan {
            // `WHERE NULL`.
            let condition = self.expr(std::mem::take(&mut filter.predicate), &schema)?;
            filter.predicate = condition.cast_to(&DataType::Boolean, &schema)?;
            return plan.recompute_schema();
        }
        let names = NamePreserver::new(&plan);
        let named = |expr: Expr| {
            let name = names.save(&expr);
            Ok(name.restore(self.expr(expr, &schema)?))
        };
        // Those in grouping sets have names of their own.
        let plan = plan.map_expressions(|expr| in_sets(expr, &named).map(Transformed::yes))?;
        let plan = TypeCoercionRewriter::new(&schema).coerce_plan(plan.data)?;
        with_rounded_keys(plan)?.recompute_schema()
    }

    /// Lambdas that know the types which the elements of their lists have by now.
    fn with_lambdas(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        if !expr.exists(|e| Ok(matches!(e, Expr::Lambda(_))))? {
            return Ok(expr);
        }
        let known = expr.transform_down(|expr| match expr {
            Expr::HigherOrderFunction(mut call) => {
                let Some(list) = call.args.first_mut() else {
                    return Ok(Transformed::no(Expr::HigherOrderFunction(call)));
                };
                // It is typed here, and not gone through again: that would double the work for
                // each call in a call.
                *list = self.expr(std::mem::take(list), schema)?;
                let list = list.get_type(schema)?;
                let mut known = with_types(call, &list)?;
                if let Expr::HigherOrderFunction(call) = &mut known {
                    for body in call.args.iter_mut().skip(1) {
                        *body = self.with_lambdas(std::mem::take(body), schema)?;
                    }
                }
                Ok(Transformed::new(known, true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(other)),
        });
        Ok(known?.data)
    }

    fn expr(&self, expr: Expr, schema: &DFSchema) -> Result<Expr> {
        let expr = self.with_lambdas(expr, schema)?;
        let mut rewriter = TypeCoercionRewriter::new(schema);
        let typed = expr.transform_up(|expr| match expr {
            Expr::OuterReferenceColumn(..) => Ok(Transformed::yes(self.retyped(expr))),
            Expr::WindowFunction(_) => {
                let window = window_by_length(widened(expr, schema)?, schema);
                let typed = rewriter.f_up(frames::settled(window, schema)?)?;
                typed.map_data(|expr| as_cast(expr, schema))
            }
            expr => {
                let expr = with_spelled_parts(by_key(expr, schema), schema)?;
                let typed = rewriter.f_up(widened(expr, schema)?)?;
                let typed = typed.map_data(|expr| as_cast(expr, schema))?;
                let typed = typed.update_data(with_constants);
                let typed = typed.map_data(|expr| by_length(expr, schema))?;
                Ok(typed.update_data(|expr| in_list_order(expr, schema)))
            }
        });
        Ok(typed?.data)
    }

    /// A reference with the type that the column has by now.
    fn retyped(&self, expr: Expr) -> Expr {
        let Expr::OuterReferenceColumn(field, column) = expr else { return expr };
        let found = self.scopes.iter().rev().find_map(|scope| {
            let index = scope.maybe_index_of_column(&column)?;
            Some(scope.field(index).data_type().clone())
        });
        match found {
            Some(found) if found != *field.data_type() => {
                let field = Arc::new(field.as_ref().clone().with_data_type(found));
                Expr::OuterReferenceColumn(field, column)
            }
            _ => Expr::OuterReferenceColumn(field, column),
        }
    }
}

/// The inputs of a union, and of the unions among them: all meet at once, and none goes through the
/// type that two of them have before it meets a third.
fn in_one_union(inputs: Vec<Arc<LogicalPlan>>) -> Vec<Arc<LogicalPlan>> {
    let mut all = Vec::with_capacity(inputs.len());
    let mut open: Vec<Arc<LogicalPlan>> = inputs.into_iter().rev().collect();
    while let Some(input) = open.pop() {
        match input.as_ref() {
            LogicalPlan::Union(union) => open.extend(union.inputs.iter().rev().cloned()),
            _ => all.push(input),
        }
    }
    all
}

/// A call whose arguments that are constants are written in their types: the type of a function may
/// hang on the value of one (the digits that `round` keeps), and no rule must find that out later.
fn with_constants(mut expr: Expr) -> Expr {
    if let Expr::ScalarFunction(call) = &mut expr {
        for arg in &mut call.args {
            if let Expr::Cast(cast) = arg
                && let Expr::Literal(value, _) = cast.expr.as_ref()
                && cast.field.data_type().is_integer()
                && let Ok(value) = value.cast_to(cast.field.data_type())
            {
                *arg = Expr::Literal(value, None);
            }
        }
    }
    expr
}

/// Comparisons of lists and structures by their order, which is not that of the borrowed folder.
fn in_list_order(expr: Expr, schema: &DFSchema) -> Expr {
    let is_nested = |e: &Expr| e.get_type(schema).is_ok_and(|data_type| data_type.is_nested());
    match &expr {
        Expr::BinaryExpr(binary) if binary.op.supports_propagation() => {
            let is_nested = is_nested(&binary.left) && is_nested(&binary.right);
            let order = || list_order(&binary.left, binary.op, &binary.right);
            if is_nested { order().unwrap_or(expr) } else { expr }
        }
        Expr::Between(between) if is_nested(&between.expr) && !is_random(&between.expr) => {
            let Between { expr: value, negated, low, high } = between;
            let low = list_order(value, Operator::GtEq, low);
            let high = list_order(value, Operator::LtEq, high);
            match (low, high) {
                (Some(low), Some(high)) if *negated => !low.and(high),
                (Some(low), Some(high)) => low.and(high),
                _ => expr,
            }
        }
        _ => expr,
    }
}

/// A node whose keys, if it is a join, were brought to one type: what was cast to whole numbers for
/// that is rounded as it is in other casts, and not cut.
fn with_rounded_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    let LogicalPlan::Join(mut join) = plan else { return Ok(plan) };
    for (left, right) in &mut join.on {
        round_cast(left, join.left.schema());
        round_cast(right, join.right.schema());
    }
    Ok(LogicalPlan::Join(join))
}

/// A join whose keys are all that it has, and are columns: they change no column.
fn keyed(mut join: Join) -> Result<LogicalPlan> {
    meet_keys(&mut join)?;
    // Keys are looked up in the schemas of their own sides.
    let plan = TypeCoercionRewriter::new(&DFSchema::empty()).coerce_join(join)?;
    let plan = with_rounded_keys(plan)?;
    if is_fresh(&plan) { Ok(plan) } else { plan.recompute_schema() }
}

/// Whether there is nothing to coerce in a node's own expressions.
fn has_only_columns(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => join.on.is_empty() && join.filter.is_none(),
        LogicalPlan::TableScan(scan) => scan.filters.is_empty(),
        LogicalPlan::Projection(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::EmptyRelation(_) => !any_expression(plan, |expr| !is_column(expr)),
        _ => false,
    }
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) => true,
        Expr::Alias(Alias { expr, .. }) => is_column(expr),
        _ => false,
    }
}

fn has_only_column_keys(join: &Join) -> bool {
    join.filter.is_none() && join.on.iter().all(|(left, right)| is_column(left) && is_column(right))
}

/// Whether a node's schema is known to have the types of its inputs; rules may have changed those
/// and not the nodes above them.
fn is_fresh(plan: &LogicalPlan) -> bool {
    let same = |below: &mut dyn Iterator<Item = &FieldRef>| {
        plan.schema().fields().iter().all(|field| {
            below.next().is_some_and(|below| {
                Arc::ptr_eq(field, below) || field.data_type() == below.data_type()
            })
        })
    };
    match plan {
        LogicalPlan::Join(join) => {
            let (left, right) = (join.left.schema().fields(), join.right.schema().fields());
            match join.join_type {
                JoinType::RightSemi | JoinType::RightAnti => same(&mut right.iter()),
                JoinType::LeftMark | JoinType::RightMark => false,
                _ => same(&mut left.iter().chain(right)),
            }
        }
        LogicalPlan::SubqueryAlias(alias) => same(&mut alias.input.schema().fields().iter()),
        LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Subquery(_) => true,
        _ => false,
    }
}
