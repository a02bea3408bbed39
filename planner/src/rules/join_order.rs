//! `order_joins`: inner joins in the order that the statistics suggest, the smaller input held.
//!
//! A region of inner joins (see `region`) becomes a graph: relations with their expected rows,
//! classes of equal expressions, other conditions with the share they leave. The tree that the
//! search finds is built from the same relations and conditions; each equality class gives one key
//! to every join that brings two of its members together, and a condition to a relation that has
//! several of them. A column list on top restores the order of the columns.
//!
//! Semi and anti joins are moved to the one relation they read when that relation is no larger
//! than the whole region's result, so that they thin out what is joined; otherwise they stay above.

use std::cell::OnceCell;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, JoinConstraint, JoinType, NullEquality, Result};
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::{Filter, Join, LogicalPlan, Projection};
use datafusion_expr::utils::conjunction;

use super::region::{Condition, Region, SemiJoin, equality, take_apart};
use crate::fallible::is_fallible;
use crate::join_order::{Equality, JoinGraph, Predicate, Relation, RelationSet, Side, Tree, order};
use crate::statistics::{Profile, distinct_of, profile, selectivity};

/// The rule's name in explain.
pub(crate) const ORDER_JOINS: &str = "order_joins";

/// Orders the joins of all regions of a plan; says whether anything was a region.
pub(crate) fn order_joins(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    plan.transform_down(|node| {
        let Some(region) = take_apart(&node)? else { return Ok(Transformed::no(node)) };
        let schema = node.schema().clone();
        let mut relations = Vec::with_capacity(region.relations.len());
        let mut region = region;
        for relation in std::mem::take(&mut region.relations) {
            relations.push(order_joins(relation)?.data);
        }
        region.relations = relations;
        for semi_join in &mut region.semi_joins {
            let right = semi_join.join.right.as_ref().clone();
            semi_join.join.right = Arc::new(order_joins(right)?.data);
        }
        let columns = schema.columns().into_iter().map(|column| match region.origin(&column) {
            origin if *origin == column => Expr::Column(column),
            origin => {
                Expr::Column(origin.clone()).alias_qualified(column.relation.clone(), &column.name)
            }
        });
        let columns: Vec<Expr> = columns.collect();
        let joined = Ordering::new(region).build()?;
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(joined))?);
        Ok(Transformed::new(plan, true, datafusion_common::tree_node::TreeNodeRecursion::Jump))
    })
}

/// A class of equal expressions, with the relation of each.
type Class = Vec<(usize, Expr)>;

/// A region on its way to a join tree.
struct Ordering {
    region: Region,
    classes: Vec<Class>,
    /// Conditions over several relations that are no equality of two.
    others: Vec<Other>,
}

/// A condition over several relations.
struct Other {
    expr: Expr,
    /// The relations it needs: all, for one that can fail.
    relations: RelationSet,
    can_fail: bool,
    /// The relations of its two sides, when it is an equality that can be a key between them.
    sides: Option<(RelationSet, RelationSet)>,
}

impl Other {
    fn new(condition: Condition, can_fail: bool, region: &Region) -> Self {
        let all: RelationSet = (0..region.relations.len()).collect();
        let sides = equality(&condition.expr).map(|(l, r)| (region.side(l), region.side(r)));
        let are_apart = |&(l, r): &(RelationSet, RelationSet)| {
            !l.is_empty() && !r.is_empty() && !l.intersects(r)
        };
        Other {
            relations: if can_fail { all } else { condition.relations },
            sides: sides.filter(are_apart),
            expr: condition.expr,
            can_fail,
        }
    }

    /// The sides between which it is as good as an equality of two relations.
    fn ties(&self) -> Option<(RelationSet, RelationSet)> {
        self.sides.filter(|_| !self.can_fail)
    }

    /// The key that it makes of a join of two sets of relations, the left side first.
    fn key(&self, left: RelationSet, right: RelationSet) -> Option<(Expr, Expr)> {
        let ((a, b), (x, y)) = self.sides.zip(equality(&self.expr))?;
        if left.contains_all(a) && right.contains_all(b) {
            Some((x.clone(), y.clone()))
        } else if left.contains_all(b) && right.contains_all(a) {
            Some((y.clone(), x.clone()))
        } else {
            None
        }
    }
}

impl Ordering {
    /// Sorts the conditions: those of one relation go to it, equalities to classes.
    fn new(mut region: Region) -> Self {
        let schema = OnceCell::new();
        let can_fail = |region: &Region, expr: &Expr| {
            is_fallible(expr, schema.get_or_init(|| schema_of(region)))
        };
        let mut own: Vec<Vec<Expr>> = vec![Vec::new(); region.relations.len()];
        let mut classes: Vec<Class> = Vec::new();
        let mut others = Vec::new();
        for condition in std::mem::take(&mut region.conditions) {
            if let (1, Some(relation)) = (condition.relations.len(), condition.relations.first()) {
                own[relation].push(condition.expr);
            } else if let Some((a, b)) = single_sides(&region, &condition.expr) {
                add_equality(&mut classes, a, b);
            } else {
                let late = condition.relations.is_empty() || can_fail(&region, &condition.expr);
                others.push(Other::new(condition, late, &region));
            }
        }
        for class in &classes {
            for (at, (relation, expr)) in class.iter().enumerate() {
                if let Some((_, first)) = class[..at].iter().find(|(other, _)| other == relation) {
                    own[*relation].push(first.clone().eq(expr.clone()));
                }
            }
        }
        for (relation, conditions) in region.relations.iter_mut().zip(own) {
            if let Some(predicate) = conjunction(conditions) {
                let input = Arc::new(std::mem::take(relation));
                *relation = LogicalPlan::Filter(Filter::new(predicate, input));
            }
        }
        Ordering { region, classes, others }
    }

    fn build(mut self) -> Result<LogicalPlan> {
        let profiles: Vec<Profile> = self.region.relations.iter().map(profile).collect();
        let mut graph = self.graph(&profiles);
        let above = self.place_semi_joins(&mut graph)?;
        let tree = order(&graph).ok_or_else(|| {
            datafusion_common::DataFusionError::Internal("a region without relations".into())
        })?;
        let (mut plan, _) = self.join(&tree)?;
        for semi_join in above {
            plan = over(semi_join.join, plan)?;
        }
        Ok(plan)
    }

    fn graph(&self, profiles: &[Profile]) -> JoinGraph {
        let schema = |relation: usize| self.region.relations[relation].schema();
        let relations = profiles.iter().map(|p| Relation { base_rows: p.base_rows, rows: p.rows });
        let sides = |class: &Class| -> Equality {
            let mut sides: Vec<Side> = Vec::new();
            for (relation, expr) in class {
                let distinct = distinct_of(expr, schema(*relation), &profiles[*relation]);
                if !sides.iter().any(|side| side.relation == *relation) {
                    sides.push(Side { relation: *relation, distinct });
                }
            }
            sides
        };
        let distinct = |set: RelationSet, expr: &Expr| {
            let relation = set.first().filter(|_| set.len() == 1)?;
            Some(distinct_of(expr, schema(relation), &profiles[relation]))
        };
        // As of an equality: what one side says of itself decides.
        let by_key = |condition: &Other| {
            let ((l, r), (x, y)) = condition.sides.zip(equality(&condition.expr))?;
            let values = [distinct(l, x), distinct(r, y)].into_iter().flatten();
            values.reduce(f64::max).map(|values| 1.0 / values.max(1.0))
        };
        let share = |condition| {
            by_key(condition).unwrap_or_else(|| share_of(condition, &self.region, profiles))
        };
        let predicates = self.others.iter().map(|condition| Predicate {
            relations: condition.relations,
            selectivity: share(condition),
            ties: condition.ties(),
        });
        JoinGraph {
            relations: relations.collect(),
            equalities: self.classes.iter().map(sides).collect(),
            predicates: predicates.collect(),
        }
    }

    /// Moves semi joins to their relation where that pays; gives back those that stay above.
    fn place_semi_joins(&mut self, graph: &mut JoinGraph) -> Result<Vec<SemiJoin>> {
        let mut above = Vec::new();
        for semi_join in std::mem::take(&mut self.region.semi_joins) {
            let relation = semi_join.relations.first().filter(|_| semi_join.relations.len() == 1);
            match relation {
                Some(relation) if graph.relations[relation].rows <= graph.rows(graph.all()) => {
                    let input = std::mem::take(&mut self.region.relations[relation]);
                    let plan = over(semi_join.join, input)?;
                    graph.relations[relation].rows = profile(&plan).rows;
                    self.region.relations[relation] = plan;
                }
                _ => above.push(semi_join),
            }
        }
        Ok(above)
    }

    fn join(&mut self, tree: &Tree) -> Result<(LogicalPlan, RelationSet)> {
        let (left, right) = match tree {
            Tree::Leaf(relation) => {
                let plan = std::mem::take(&mut self.region.relations[*relation]);
                return Ok((plan, RelationSet::single(*relation)));
            }
            Tree::Join(left, right) => (left, right),
        };
        let (left, in_left) = self.join(left)?;
        let (right, in_right) = self.join(right)?;
        let both = in_left.union(in_right);
        let mut keys: Vec<(Expr, Expr)> = Vec::new();
        for class in &self.classes {
            let member = |set: RelationSet| class.iter().find(|(r, _)| set.contains(*r));
            if let (Some((_, l)), Some((_, r))) = (member(in_left), member(in_right)) {
                keys.push((l.clone(), r.clone()));
            }
        }
        let ready = |condition: &Other| both.contains_all(condition.relations);
        let (now, later): (Vec<Other>, Vec<Other>) =
            std::mem::take(&mut self.others).into_iter().partition(ready);
        self.others = later;
        let mut filters = Vec::new();
        for condition in now {
            // One that can fail is of all relations. As the only key it sees the rows that it would
            // see if all pairs were tried.
            let may_be_key = !condition.can_fail || (keys.is_empty() && filters.is_empty());
            match condition.key(in_left, in_right).filter(|_| may_be_key) {
                Some(key) => keys.push(key),
                None => filters.push(condition.expr),
            }
        }
        let join = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            keys,
            conjunction(filters),
            JoinType::Inner,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        Ok((LogicalPlan::Join(join), both))
    }
}

/// The columns of all relations of a region.
fn schema_of(region: &Region) -> DFSchema {
    let mut schema = DFSchema::empty();
    region.relations.iter().for_each(|relation| schema.merge(relation.schema()));
    schema
}

/// A semi join over another left input.
fn over(join: Join, left: LogicalPlan) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Join(Join::try_new(
        Arc::new(left),
        join.right,
        join.on,
        join.filter,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?))
}

/// The sides of an equality between two relations.
fn single_sides(region: &Region, expr: &Expr) -> Option<((usize, Expr), (usize, Expr))> {
    let (left, right) = equality(expr)?;
    let one = |side: &Expr| {
        let relations = region.side(side);
        relations.first().filter(|_| relations.len() == 1)
    };
    let (a, b) = (one(left)?, one(right)?);
    (a != b).then(|| ((a, left.clone()), (b, right.clone())))
}

/// Joins the classes of two equal expressions.
fn add_equality(classes: &mut Vec<Class>, a: (usize, Expr), b: (usize, Expr)) {
    let (holding, mut apart): (Vec<Class>, Vec<Class>) = std::mem::take(classes)
        .into_iter()
        .partition(|class| class.contains(&a) || class.contains(&b));
    let mut merged: Class = holding.into_iter().flatten().collect();
    for member in [a, b] {
        if !merged.contains(&member) {
            merged.push(member);
        }
    }
    apart.push(merged);
    *classes = apart;
}

/// The share of rows that a condition over several relations leaves.
fn share_of(condition: &Other, region: &Region, profiles: &[Profile]) -> f64 {
    let mut schema = DFSchema::empty();
    let mut all = Profile { rows: 1.0, base_rows: 1.0, how: "join", columns: Vec::new() };
    for relation in condition.relations.iter() {
        schema.merge(region.relations[relation].schema());
        all.base_rows = all.base_rows.max(profiles[relation].base_rows);
        all.columns.extend(&profiles[relation].columns);
    }
    selectivity(&[&condition.expr], &schema, &all)
}
