//! A region of inner joins, taken apart: relations, conditions over them, and semi joins to come.
//!
//! A region is what inner joins, the conditions above them and plain column lists between them
//! span. Its inputs (the relations) are anything else.
//!
//! Sound: inner joins are a product with conditions, and conditions above, between and in them
//! commute. Semi and anti joins drop rows of their left input by conditions on it alone, hence they
//! commute with the joins and conditions around them. A condition that can fail must not see rows
//! that a condition written before it would have dropped, so it is kept for the whole region.

use std::collections::HashMap;

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, JoinType, NullEquality, Result};
use datafusion_expr::expr::Alias;
use datafusion_expr::logical_plan::{Join, LogicalPlan, Projection};
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{BinaryExpr, Expr, Operator};

use crate::join_order::RelationSet;
use crate::sql::USING_PREFIX;

/// The parts of a region.
#[derive(Debug, Default)]
pub(super) struct Region {
    /// What is joined, in the order written.
    pub(super) relations: Vec<LogicalPlan>,
    /// What must hold, in the order written.
    pub(super) conditions: Vec<Condition>,
    /// Semi and anti joins over the region, inner ones first; their left inputs are placeholders.
    pub(super) semi_joins: Vec<SemiJoin>,
    /// What merged columns of joins stand for.
    pub(super) merged: HashMap<Column, Column>,
}

/// A condition and the relations whose columns it reads.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) expr: Expr,
    pub(super) relations: RelationSet,
}

/// A join that only drops rows of the region.
#[derive(Debug)]
pub(super) struct SemiJoin {
    pub(super) join: Join,
    /// The relations that its conditions read on the left.
    pub(super) relations: RelationSet,
}

/// Takes the region rooted at `plan` apart; `None` when it is no region of at least two relations.
pub(super) fn take_apart(plan: &LogicalPlan) -> Result<Option<Region>> {
    if !is_inside(plan) {
        return Ok(None);
    }
    let mut region = Region::default();
    let mut exprs = Vec::new();
    region.collect(plan, &mut exprs)?;
    let count = region.relations.len();
    if !(2..=RelationSet::CAPACITY).contains(&count) || region.has_same_names() {
        return Ok(None);
    }
    for expr in exprs {
        let expr = region.unmerged(expr)?;
        let relations = region.relations_of(&expr);
        region.conditions.push(Condition { expr, relations });
    }
    for index in 0..region.semi_joins.len() {
        let mut join = region.semi_joins[index].join.clone();
        for (left, _) in &mut join.on {
            *left = region.unmerged(std::mem::take(left))?;
        }
        join.filter = join.filter.map(|filter| region.unmerged(filter)).transpose()?;
        region.semi_joins[index].join = join;
        let columns = left_columns(&region.semi_joins[index].join);
        region.semi_joins[index].relations = region.relations_of_columns(&columns);
    }
    Ok(Some(region))
}

/// Whether an inner join's inputs and conditions can be joined in another order: NULLs are equal in
/// none, and no condition is drawn once for each of its own pairs.
pub(super) fn is_separable(join: &Join) -> bool {
    join.join_type == JoinType::Inner
        && join.null_equality == NullEquality::NullEqualsNothing
        && !join.filter.as_ref().is_some_and(Expr::is_volatile)
}

/// Whether a node belongs to a region rather than being one of its inputs.
fn is_inside(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner => is_separable(join),
            JoinType::LeftSemi | JoinType::LeftAnti => is_inside(&join.left),
            _ => false,
        },
        LogicalPlan::Filter(filter) => !filter.predicate.is_volatile() && is_inside(&filter.input),
        LogicalPlan::Projection(projection) => {
            is_column_list(projection) && is_inside(&projection.input)
        }
        _ => false,
    }
}

fn is_column_list(projection: &Projection) -> bool {
    let is_column = |expr: &Expr| matches!(expr, Expr::Column(_)) || merged(expr).is_some();
    projection.expr.iter().all(is_column)
}

/// A column of a join with USING, whose names are given once in a statement, and what it is.
fn merged(expr: &Expr) -> Option<(Column, Column)> {
    match expr {
        Expr::Alias(Alias { expr, relation: Some(relation), name, .. }) => match expr.as_ref() {
            Expr::Column(column) if relation.table().starts_with(USING_PREFIX) => {
                Some((Column::new(Some(relation.clone()), name), column.clone()))
            }
            _ => None,
        },
        _ => None,
    }
}

impl Region {
    fn collect(&mut self, plan: &LogicalPlan, exprs: &mut Vec<Expr>) -> Result<()> {
        match plan {
            _ if !is_inside(plan) => self.relations.push(plan.clone()),
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
                self.collect(&join.left, exprs)?;
                self.collect(&join.right, exprs)?;
                for (left, right) in &join.on {
                    exprs.push(left.clone().eq(right.clone()));
                }
                exprs.extend(join.filter.clone().map(split_conjunction_owned).unwrap_or_default());
            }
            LogicalPlan::Join(join) => {
                self.collect(&join.left, exprs)?;
                let relations = RelationSet::EMPTY;
                self.semi_joins.push(SemiJoin { join: join.clone(), relations });
            }
            LogicalPlan::Filter(filter) => {
                self.collect(&filter.input, exprs)?;
                exprs.extend(split_conjunction_owned(filter.predicate.clone()));
            }
            LogicalPlan::Projection(projection) => {
                self.merged.extend(projection.expr.iter().filter_map(merged));
                self.collect(&projection.input, exprs)?;
            }
            other => self.relations.push(other.clone()),
        }
        Ok(())
    }

    /// The column of a relation that one of the region is.
    pub(super) fn origin<'a>(&'a self, mut column: &'a Column) -> &'a Column {
        while let Some(below) = self.merged.get(column) {
            column = below;
        }
        column
    }

    fn unmerged(&self, expr: Expr) -> Result<Expr> {
        if self.merged.is_empty() {
            return Ok(expr);
        }
        expr.transform(|e| match &e {
            Expr::Column(column) if self.merged.contains_key(column) => {
                Ok(Transformed::yes(Expr::Column(self.origin(column).clone())))
            }
            _ => Ok(Transformed::no(e)),
        })
        .data()
    }

    /// Column lists between the joins may have hidden one of two columns of the same name.
    fn has_same_names(&self) -> bool {
        let mut names = std::collections::HashSet::new();
        let mut columns = self.relations.iter().flat_map(|plan| plan.schema().columns());
        !columns.all(|column| names.insert(column))
    }

    fn relations_of(&self, expr: &Expr) -> RelationSet {
        let columns: Vec<&Column> = expr.column_refs().into_iter().collect();
        self.relations_of_columns(&columns)
    }

    fn relations_of_columns(&self, columns: &[&Column]) -> RelationSet {
        let holds = |relation: &LogicalPlan| {
            columns.iter().any(|column| relation.schema().has_column(column))
        };
        (0..self.relations.len()).filter(|&r| holds(&self.relations[r])).collect()
    }

    /// The relations of one side of an equality.
    pub(super) fn side(&self, expr: &Expr) -> RelationSet {
        self.relations_of(expr)
    }
}

/// The columns of the left input that a join's conditions read.
fn left_columns(join: &Join) -> Vec<&Column> {
    let keys = join.on.iter().flat_map(|(left, _)| left.column_refs());
    let filter = join.filter.iter().flat_map(|filter| filter.column_refs());
    keys.chain(filter).filter(|column| join.left.schema().has_column(column)).collect()
}

/// The sides of an equality.
pub(super) fn equality(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => Some((left, right)),
        _ => None,
    }
}
