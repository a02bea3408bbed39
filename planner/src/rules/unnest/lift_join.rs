//! Joins in a subquery.
//!
//! An inner join lets everything that is pending in its inputs pass. Of a join that keeps left rows
//! without match, only what is pending on the left passes; what is pending on the right, and
//! conditions of the join that depend, decide about matches: they become conditions of the join,
//! for which the left input gets the columns that they read, from equalities that it has pending,
//! or bound.

use std::sync::Arc;

use datafusion_common::{Column, DFSchemaRef, JoinType, NullEquality, Result};
use datafusion_expr::logical_plan::{Join, LogicalPlan};
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use super::domain::{Unmatched, is_beside};
use super::join::{joined, mark_of, single_joined};
use super::lift::Use;
use super::lifted::{Key, Lifted, Pending, translated};
use super::scope::Scope;
use super::{Unnesting, case};
use crate::fallible::is_fallible;
use crate::rules::SingleJoin;

/// A join in pieces.
struct Pieces {
    kind: Kind,
    schemas: [DFSchemaRef; 2],
    /// Of a null-aware join.
    in_pair: Option<(Expr, Expr)>,
    conditions: Vec<Expr>,
}

/// The join of a kind that keeps left rows; a value or an outer join shows the right columns.
fn kept(
    kind: Kind,
    left: Lifted,
    right: LogicalPlan,
    conditions: Vec<Pending>,
    in_pair: Option<(Expr, Expr)>,
    shown: Vec<Expr>,
) -> Result<Lifted> {
    let (plan, shown) = match kind {
        Kind::Single => (single_joined(left.plan, right, conditions)?, shown),
        Kind::Of(kind) => {
            let plan = joined(left.plan, right, conditions, kind, in_pair)?;
            let shown = match kind {
                JoinType::LeftMark => vec![mark_of(&plan)?],
                JoinType::Left => shown,
                _ => Vec::new(),
            };
            (plan, shown)
        }
    };
    let outputs = left.outputs.into_iter().chain(shown).collect();
    Ok(Lifted { plan, outputs, ..left })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Of(JoinType),
    Single,
}

impl Pieces {
    fn new(
        kind: Kind,
        schemas: [DFSchemaRef; 2],
        on: Vec<(Expr, Expr)>,
        null_equality: NullEquality,
        filter: Option<Expr>,
    ) -> Self {
        let op = match null_equality {
            NullEquality::NullEqualsNothing => Operator::Eq,
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
        };
        let equal = on.into_iter().map(|(left, right)| {
            let (left, right) = (Box::new(left), Box::new(right));
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        });
        let filter = filter.map(split_conjunction_owned).unwrap_or_default();
        Pieces { kind, schemas, in_pair: None, conditions: equal.chain(filter).collect() }
    }

    /// A condition over the inputs' columns as one over what they were lifted to.
    fn translated(&self, expr: Expr, left: &Lifted, right: &Lifted) -> Result<Expr> {
        translated(expr, &|column| {
            let [of_left, of_right] = &self.schemas;
            match of_left.maybe_index_of_column(column) {
                Some(index) => left.outputs.get(index).cloned(),
                None => right.outputs.get(of_right.maybe_index_of_column(column)?).cloned(),
            }
        })
    }
}

impl Unnesting<'_> {
    pub(super) fn lift_join(&mut self, join: Join, scope: &mut Scope, goal: Use) -> Result<Lifted> {
        let kind = join.join_type;
        let swapped = match kind {
            JoinType::Right => Some(JoinType::Left),
            JoinType::RightSemi => Some(JoinType::LeftSemi),
            JoinType::RightAnti => Some(JoinType::LeftAnti),
            JoinType::RightMark => Some(JoinType::LeftMark),
            _ => None,
        };
        let (left, right) = (Arc::unwrap_or_clone(join.left), Arc::unwrap_or_clone(join.right));
        let mut on = join.on;
        let in_pair = if join.null_aware { Some(on.remove(0)) } else { None };
        if let Some(kind) = swapped {
            let width = left.schema().fields().len();
            let on = on.into_iter().map(|(left, right)| (right, left)).collect();
            let schemas = [right.schema().clone(), left.schema().clone()];
            let in_pair = in_pair.map(|(left, right)| (right, left));
            let pieces = Pieces::new(Kind::Of(kind), schemas, on, join.null_equality, join.filter);
            let pieces = Pieces { in_pair, ..pieces };
            let mut lifted = self.lift_pieces(pieces, right, left, scope, goal)?;
            if kind == JoinType::Left {
                let split = lifted.outputs.len() - width;
                lifted.outputs.rotate_left(split);
            }
            return Ok(lifted);
        }
        let schemas = [left.schema().clone(), right.schema().clone()];
        let pieces = Pieces::new(Kind::Of(kind), schemas, on, join.null_equality, join.filter);
        self.lift_pieces(Pieces { in_pair, ..pieces }, left, right, scope, goal)
    }

    pub(super) fn lift_single_join(
        &mut self,
        join: SingleJoin,
        scope: &mut Scope,
        goal: Use,
    ) -> Result<Lifted> {
        let SingleJoin { left, right, on, filter, .. } = join;
        let schemas = [left.schema().clone(), right.schema().clone()];
        let nulls = NullEquality::NullEqualsNothing;
        let pieces = Pieces::new(Kind::Single, schemas, on, nulls, filter);
        self.lift_pieces(pieces, left, right, scope, goal)
    }

    fn lift_pieces(
        &mut self,
        pieces: Pieces,
        left: LogicalPlan,
        right: LogicalPlan,
        scope: &mut Scope,
        goal: Use,
    ) -> Result<Lifted> {
        use JoinType::{Full, Inner, LeftAnti, LeftMark, LeftSemi};
        let of_right = match pieces.kind {
            Kind::Of(LeftSemi | LeftAnti | LeftMark) => Use::Set,
            Kind::Single => Use::Rows,
            Kind::Of(_) => goal.below(),
        };
        let left = self.lift(left, scope, goal.below())?;
        let mut left = self.settled(left, scope)?;
        let right = self.lift(right, scope, of_right)?;
        let mut right = self.settled(right, scope)?;
        left.order.clear();
        right.order.clear();
        match pieces.kind {
            Kind::Of(Inner) => self.lift_inner(pieces, left, right, scope),
            Kind::Of(Full) => self.lift_full(pieces, left, right, scope),
            Kind::Of(LeftSemi) if goal != Use::Rows && are_apart(&left, &right) => {
                let width = left.outputs.len();
                let mut lifted = self.lift_inner(pieces, left, right, scope)?;
                lifted.outputs.truncate(width);
                Ok(lifted)
            }
            _ => self.lift_keeping(pieces, left, right, scope),
        }
    }

    fn lift_inner(
        &mut self,
        pieces: Pieces,
        left: Lifted,
        right: Lifted,
        scope: &mut Scope,
    ) -> Result<Lifted> {
        let conditions = pieces.conditions.iter().cloned();
        let conditions = conditions.map(|condition| pieces.translated(condition, &left, &right));
        let conditions = conditions.collect::<Result<Vec<_>>>()?;
        let (of_left, of_right) = (left.plan.schema().clone(), right.plan.schema().clone());
        let plan = joined(left.plan, right.plan, Vec::new(), JoinType::Inner, None)?;
        let pending = left.pending.into_iter().chain(right.pending).collect();
        let outputs = left.outputs.into_iter().chain(right.outputs).collect();
        let mut lifted = Lifted { plan, pending, outputs, absent: None, order: Vec::new() };
        let mut applied = Vec::new();
        for condition in conditions {
            if let Some(condition) = self.wait(condition, &mut lifted, scope) {
                applied.push(between(condition, &of_left, &of_right));
            }
        }
        if let LogicalPlan::Join(join) = std::mem::take(&mut lifted.plan) {
            let (left, right) = (Arc::unwrap_or_clone(join.left), Arc::unwrap_or_clone(join.right));
            lifted.plan = joined(left, right, applied, JoinType::Inner, None)?;
        }
        Ok(lifted)
    }

    /// Joins that keep left rows whether or not they have a match.
    fn lift_keeping(
        &mut self,
        pieces: Pieces,
        mut left: Lifted,
        mut right: Lifted,
        scope: &mut Scope,
    ) -> Result<Lifted> {
        if let Some((_, item)) = &pieces.in_pair {
            // What is compared with is a key of the right input.
            let item = pieces.translated(item.clone(), &left, &right)?;
            let (keyed, items) = self.keyed_unless_plain(right, vec![item], scope)?;
            right = keyed;
            // Behind the others, among which `isolated` names its columns anew.
            right.outputs.extend(items);
        }
        let shows_right = matches!(pieces.kind, Kind::Single | Kind::Of(JoinType::Left));
        let is_computed = |output: &Expr| !matches!(output, Expr::Column(_));
        let marks = shows_right && right.outputs.iter().any(is_computed);
        let (mut right, marker) = self.isolated(right, marks)?;
        let item = pieces.in_pair.as_ref().and_then(|_| right.outputs.pop());
        let exprs = |left: &Lifted| {
            let exprs = pieces.conditions.iter().cloned();
            let exprs = exprs.map(|condition| pieces.translated(condition, left, &right));
            exprs.collect::<Result<Vec<_>>>()
        };
        let in_pair = |left: &Lifted| -> Result<Option<(Expr, Expr)>> {
            let Some(((value, _), item)) = pieces.in_pair.clone().zip(item.clone()) else {
                return Ok(None);
            };
            Ok(Some((pieces.translated(value, left, &right)?, item)))
        };
        let pair = in_pair(&left)?;
        let read = scope.columns_of(
            exprs(&left)?
                .iter()
                .chain(pair.iter().flat_map(|(value, item)| [value, item]))
                .chain(right.pending.iter().flat_map(Pending::exprs))
                .chain(right.outputs.iter().filter(|_| shows_right)),
        );
        let schema = left.plan.schema().join(right.plan.schema())?;
        let waits = !left.pending.is_empty()
            && exprs(&left)?.iter().any(|condition| is_fallible(condition, &schema));
        let given = stand_ins(&left, scope)?;
        let is_given = |column: &Column| given.iter().any(|(name, _)| name == column);
        if waits || !read.iter().all(is_given) {
            left = self.bind(left, scope, &read, Unmatched::Dropped)?.0;
        }
        let given = equalities(&left, scope);
        let by = |column: &Column| {
            given.iter().find(|(name, _)| name == column).map(|(_, expr)| expr.clone())
        };
        let mut put = |expr: Expr| scope.replaced(expr, &by);
        let conditions = exprs(&left)?.into_iter().map(&mut put).collect::<Result<Vec<_>>>()?;
        let pair = match in_pair(&left)? {
            Some((value, item)) => Some((put(value)?, put(item)?)),
            None => None,
        };
        let right = right.map(&mut put)?;
        let (of_left, of_right) = (left.plan.schema().clone(), right.plan.schema().clone());
        let conditions = conditions.into_iter().map(|c| between(c, &of_left, &of_right));
        let conditions = conditions.chain(right.pending).collect();
        let wraps = |output: Expr| match &marker {
            Some(marker) if !is_beside(marker, &output) => {
                case(vec![(marker.clone().is_not_null(), output)], None)
            }
            _ => output,
        };
        let shown = right.outputs.into_iter().map(wraps).collect();
        kept(pieces.kind, left, right.plan, conditions, pair, shown)
    }

    /// Both inputs get the columns of the query around, and are joined on them too.
    fn lift_full(
        &mut self,
        pieces: Pieces,
        left: Lifted,
        right: Lifted,
        scope: &mut Scope,
    ) -> Result<Lifted> {
        let conditions = pieces.conditions.iter();
        let columns = scope.columns_of(left.exprs().chain(right.exprs()).chain(conditions));
        let (left, _) = self.bind(left, scope, &columns, Unmatched::Dropped)?;
        let (right, _) = self.bind(right, scope, &columns, Unmatched::Dropped)?;
        let (left, of_left) = self.isolated(left, true)?;
        let (right, of_right) = self.isolated(right, true)?;
        let (left_keys, right_keys) = (equalities(&left, scope), equalities(&right, scope));
        let by = |column: &Column| {
            left_keys.iter().find(|(name, _)| name == column).map(|(_, expr)| expr.clone())
        };
        let (schema_left, schema_right) = (left.plan.schema().clone(), right.plan.schema().clone());
        let mut conditions = Vec::new();
        for condition in &pieces.conditions {
            let condition = pieces.translated(condition.clone(), &left, &right)?;
            let condition = scope.replaced(condition, &by)?;
            conditions.push(between(condition, &schema_left, &schema_right));
        }
        let mut pending = Vec::new();
        for (column, of_left_row) in &left_keys {
            let Some((_, of_right_row)) = right_keys.iter().find(|(name, _)| name == column) else {
                continue;
            };
            let (outer, inner) = (of_left_row.clone(), of_right_row.clone());
            conditions.push(Pending::Key(Key { outer, inner, null_safe: true }));
            let is_left = of_left.clone().unwrap_or_default().is_not_null();
            let inner = case(vec![(is_left, of_left_row.clone())], Some(of_right_row.clone()));
            let outer = scope.reference(column)?;
            pending.push(Pending::Key(Key { outer, inner, null_safe: true }));
        }
        let shown = |lifted: Lifted, marker: Option<Expr>| {
            let marker = marker.unwrap_or_default();
            lifted.outputs.into_iter().map(move |output| match &output {
                Expr::Column(_) => output,
                _ => case(vec![(marker.clone().is_not_null(), output)], None),
            })
        };
        let (plan_left, plan_right) = (left.plan.clone(), right.plan.clone());
        let outputs = shown(left, of_left).chain(shown(right, of_right)).collect();
        let plan = joined(plan_left, plan_right, conditions, JoinType::Full, None)?;
        Ok(Lifted { plan, pending, outputs, absent: None, order: Vec::new() })
    }
}

/// A condition of a join, as a key where it is an equality between the inputs.
fn between(condition: Expr, left: &DFSchemaRef, right: &DFSchemaRef) -> Pending {
    let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = &condition else {
        return Pending::Other(condition);
    };
    let null_safe = match op {
        Operator::Eq => false,
        Operator::IsNotDistinctFrom => true,
        _ => return Pending::Other(condition),
    };
    let is_of = |expr: &Expr, schema: &DFSchemaRef| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.into_iter().all(|column| schema.has_column(column))
    };
    for (outer, inner) in [(a, b), (b, a)] {
        if is_of(outer, left) && is_of(inner, right) {
            let (outer, inner) = (outer.as_ref().clone(), inner.as_ref().clone());
            return Pending::Key(Key { outer, inner, null_safe });
        }
    }
    Pending::Other(condition)
}

/// Columns of the query around with what equals them in the plan.
fn equalities(lifted: &Lifted, scope: &Scope) -> Vec<(Column, Expr)> {
    let equality = |pending: &Pending| match pending {
        Pending::Key(Key { outer: Expr::OuterReferenceColumn(_, name), inner, .. }) => {
            Some((scope.column(name)?, inner.clone()))
        }
        _ => None,
    };
    lifted.pending.iter().filter_map(equality).collect()
}

/// Those of the equalities of which either side is as good as the other: equal floats may differ.
fn stand_ins(lifted: &Lifted, scope: &Scope) -> Result<Vec<(Column, Expr)>> {
    let mut all = equalities(lifted, scope);
    let schema = lifted.plan.schema();
    all.retain(|(_, expr)| expr.get_type(schema).is_ok_and(|t| !t.is_floating()));
    Ok(all)
}

/// Whether two plans have no column of the same name.
fn are_apart(left: &Lifted, right: &Lifted) -> bool {
    right.plan.schema().columns().iter().all(|column| !left.plan.schema().has_column(column))
}
