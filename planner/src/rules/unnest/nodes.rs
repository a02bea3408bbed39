//! Subqueries in the expressions of all nodes but filters.

use std::sync::Arc;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, JoinType, NullEquality, Result};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::{Aggregate, Filter, Join, LogicalPlan, Projection, Sort};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, Operator};

use super::join::joined;
use super::lifted::{Key, Pending};
use super::place::place_of;
use super::rows::rows_as_union;
use super::values::Site;
use super::{Unnesting, has_subquery, restored, subquery_of};
use crate::rules::shared::is_worth_sharing;

impl Unnesting<'_> {
    /// A node without the subqueries of its own expressions.
    pub(super) fn node(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        match node {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => {
                self.computing(node)
            }
            LogicalPlan::Sort(sort) => self.sort(sort),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Values(values) => {
                let plan = rows_as_union(values)?;
                Ok(self.plan(plan)?.data)
            }
            other => {
                self.place = other.expressions().iter().find_map(place_of);
                let what = match other {
                    LogicalPlan::Limit(_) => "a subquery in LIMIT or OFFSET",
                    LogicalPlan::Distinct(_) => "a subquery in DISTINCT ON",
                    _ => "a subquery in this place",
                };
                Err(self.refuse(what))
            }
        }
    }

    /// A node with one input that computes columns.
    fn computing(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        let schema = node.schema().clone();
        let names = NamePreserver::new(&node);
        let mut outer = match node.inputs()[..] {
            [input] => input.clone(),
            _ => return Err(self.refuse("a subquery in this place")),
        };
        let mut exprs = Vec::new();
        for expr in node.expressions() {
            let name = names.save(&expr);
            let value = self.value(expr, &mut outer, &Site::default())?;
            exprs.push(name.restore(value));
        }
        let node = node.with_new_exprs(exprs, vec![outer])?;
        restored(node, &schema)
    }

    fn sort(&mut self, sort: Sort) -> Result<LogicalPlan> {
        let schema = sort.input.schema().clone();
        let mut outer = with_hidden_columns(Arc::unwrap_or_clone(sort.input), &sort.expr)?;
        let mut keys = Vec::with_capacity(sort.expr.len());
        for mut key in sort.expr {
            key.expr = self.value(key.expr, &mut outer, &Site::default())?;
            keys.push(key);
        }
        let sort = Sort { expr: keys, input: Arc::new(outer), fetch: sort.fetch };
        restored(LogicalPlan::Sort(sort), &schema)
    }

    /// A join with subqueries in its condition. Those over one input become columns of it, or
    /// conditions on it where only matches depend on it.
    fn join(&mut self, mut join: Join) -> Result<LogicalPlan> {
        let schema = join.schema.clone();
        let on = std::mem::take(&mut join.on).into_iter();
        let (plain, other): (Vec<_>, Vec<_>) =
            on.partition(|(left, right)| !has_subquery(left) && !has_subquery(right));
        join.on = plain;
        let op = match join.null_equality {
            NullEquality::NullEqualsNothing => Operator::Eq,
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
        };
        let equal = other.into_iter().map(|(left, right)| {
            let (left, right) = (Box::new(left), Box::new(right));
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        });
        let filter = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
        let (asking, plain): (Vec<Expr>, Vec<Expr>) = equal.chain(filter).partition(has_subquery);
        join.filter = conjunction(plain);
        if join.join_type == JoinType::Inner {
            let join = LogicalPlan::Join(join).recompute_schema()?;
            let Some(predicate) = conjunction(asking) else { return Ok(join) };
            return self.filter(Filter::new(predicate, Arc::new(join)));
        }
        for condition in asking {
            self.place = place_of(&condition);
            let names = names_in(&condition);
            let reads = |plan: &LogicalPlan| names.iter().any(|n| plan.schema().has_column(n));
            match (reads(&join.left), reads(&join.right)) {
                (true, true) => self.join_on_both(&mut join, condition)?,
                (true, false) => self.join_on_column(&mut join, condition, true)?,
                (false, _) if is_left(join.join_type) => {
                    let right = Filter::new(condition, join.right);
                    join.right = Arc::new(self.filter(right)?);
                }
                (false, _) => self.join_on_column(&mut join, condition, false)?,
            }
        }
        let join = LogicalPlan::Join(join).recompute_schema()?;
        restored(join, &schema)
    }

    /// A condition over one input becomes a column of it.
    fn join_on_column(&mut self, join: &mut Join, condition: Expr, left: bool) -> Result<()> {
        let input = if left { &mut join.left } else { &mut join.right };
        let mut outer = input.as_ref().clone();
        let value = self.value(condition, &mut outer, &Site::default())?;
        *input = Arc::new(outer);
        join.filter = conjunction(join.filter.take().into_iter().chain([value]));
        Ok(())
    }

    /// A condition over both inputs is computed for all combinations of the columns that it reads,
    /// and those for which it holds are joined to the right input.
    fn join_on_both(&mut self, join: &mut Join, condition: Expr) -> Result<()> {
        if !is_left(join.join_type) {
            let kind = join.join_type;
            let what = format!("a subquery over both sides in the condition of a {kind} join");
            return Err(self.refuse(&what));
        }
        let names = names_in(&condition);
        for input in [&mut join.left, &mut join.right] {
            if is_worth_sharing(input)? {
                let plan = std::mem::take(Arc::make_mut(input));
                *input = Arc::new(self.shared(plan)?);
            }
        }
        let (left, of_left) = distinct(&join.left, &names)?;
        let (right, of_right) = distinct(&join.right, &names)?;
        let both = joined(left, right, Vec::new(), JoinType::Inner, None)?;
        let holds = self.filter(Filter::new(condition, Arc::new(both)))?;
        let prefix = self.fresh("sub");
        let (mut exprs, mut on_left, mut on_right) = (Vec::new(), Vec::new(), Vec::new());
        for (at, column) in of_left.iter().chain(&of_right).enumerate() {
            let inner = Column::new(Some(prefix.as_str()), format!("c{at}"));
            let outer = Expr::Column(column.clone());
            exprs.push(outer.clone().alias_qualified(inner.relation.clone(), &inner.name));
            let key = Key { outer, inner: Expr::Column(inner), null_safe: true };
            let side = if at < of_left.len() { &mut on_left } else { &mut on_right };
            side.push(key);
        }
        let holds = Projection::try_new(exprs, Arc::new(holds))?;
        let keys = on_right.into_iter().map(Pending::Key).collect();
        let right = Arc::unwrap_or_clone(std::mem::take(&mut join.right));
        let holds = LogicalPlan::Projection(holds);
        join.right = Arc::new(joined(right, holds, keys, JoinType::Inner, None)?);
        let same = on_left.into_iter().map(|key| {
            let (left, right) = (Box::new(key.outer), Box::new(key.inner));
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::IsNotDistinctFrom, right })
        });
        join.filter = conjunction(join.filter.take().into_iter().chain(same));
        Ok(())
    }

    /// Refuses a reference to a column that the query around has grouped away.
    pub(super) fn refuse_ungrouped(&self, plan: &LogicalPlan, outer: &LogicalPlan) -> Result<()> {
        let Some(grouped) = aggregate_below(outer) else { return Ok(()) };
        let mut ungrouped = None;
        plan.apply(|node| {
            let names = super::free_references(node);
            ungrouped = names.into_iter().find(|name| {
                let is_left = outer.schema().has_column(name);
                !is_left && grouped.input.schema().has_column(name)
            });
            let found = ungrouped.is_some();
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        match ungrouped {
            Some(name) => Err(super::refuse(
                &format!(
                    "`{name}` in a subquery, which the query around it does not group by; add it \
                     to GROUP BY"
                ),
                self.place.clone(),
            )),
            None => Ok(()),
        }
    }
}

/// Whether right rows only decide about matches of left ones.
fn is_left(kind: JoinType) -> bool {
    matches!(kind, JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti)
}

/// The aggregate of the query that a plan belongs to.
fn aggregate_below(plan: &LogicalPlan) -> Option<&Aggregate> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => Some(aggregate),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Window(_) => plan.inputs().first().and_then(|input| aggregate_below(input)),
        LogicalPlan::Join(join) => aggregate_below(&join.left),
        _ => None,
    }
}

/// The names of columns and outer references in an expression and its subqueries.
fn names_in(expr: &Expr) -> Vec<Column> {
    let mut names: Vec<Column> = expr.column_refs().into_iter().cloned().collect();
    let _ = expr.apply(|e| {
        if let Some(subquery) = subquery_of(e) {
            let _ = subquery.subquery.apply_with_subqueries(|node| {
                names.extend(super::free_references(node));
                Ok(TreeNodeRecursion::Continue)
            });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    names
}

/// The distinct combinations of those columns of a plan that have one of the names.
fn distinct(plan: &LogicalPlan, names: &[Column]) -> Result<(LogicalPlan, Vec<Column>)> {
    let schema = plan.schema();
    let mut columns: Vec<Column> = Vec::new();
    for index in names.iter().filter_map(|name| schema.maybe_index_of_column(name)) {
        let column = Column::from(schema.qualified_field(index));
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let keys = columns.iter().cloned().map(Expr::Column).collect();
    let aggregate = Aggregate::try_new(Arc::new(plan.clone()), keys, Vec::new())?;
    Ok((LogicalPlan::Aggregate(aggregate), columns))
}

/// The input of a sort with the columns below its projection that subqueries in the keys refer to.
fn with_hidden_columns(
    input: LogicalPlan,
    keys: &[datafusion_expr::SortExpr],
) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(projection) = &input else { return Ok(input) };
    let below = projection.input.schema();
    let mut exprs = projection.expr.clone();
    for name in keys.iter().flat_map(|key| names_in(&key.expr)) {
        let hidden = below.maybe_index_of_column(&name);
        let hidden = hidden.filter(|_| !projection.schema.has_column(&name));
        if let Some(index) = hidden {
            let column = Expr::Column(Column::from(below.qualified_field(index)));
            if !exprs.contains(&column) {
                exprs.push(column);
            }
        }
    }
    let projection = Projection::try_new(exprs, projection.input.clone())?;
    Ok(LogicalPlan::Projection(projection))
}
