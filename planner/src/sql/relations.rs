//! Relations that the binder would bind otherwise: the queries of CTEs, UNNEST and series (see
//! `elements`), and joins that merge columns (see `using`).
//!
//! A CTE's query becomes a table of its own right when it is bound: the binder copies the plan of
//! a CTE to where it is named, and CTEs over CTEs named twice would double it at every level.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion_common::config::ConfigOptions;
use datafusion_common::metadata::FieldMetadata;
use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_common::{
    Column, DFSchema, ExprSchema, JoinConstraint, JoinType, NullEquality, Result, TableReference,
    internal_err, plan_err,
};
use datafusion_expr::expr::Alias;
use datafusion_expr::logical_plan::{EmptyRelation, Join, LogicalPlan, Projection};
use datafusion_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion_expr::{Expr, LogicalPlanBuilder, when};
use datafusion_sql::sqlparser::ast::{
    self, JoinConstraint as Written, JoinOperator, TableFactor, TableWithJoins,
};

use super::bind::analyzed;
use super::dependencies::forget;
use super::elements::{elements_of_series, is_series, unnested};
use super::needless_order::without_needless_sorts;
use super::order::resolve_order;
use super::placeholders::fill_plan;
use super::syntax::CTE_ALIAS;
use super::using::{USING_PREFIX, constraint};
use crate::parameters::Parameters;
use crate::rules::{definition, expand_distinct_on, reads_outside};

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Relations {
    /// What stands for parameters: a definition's plan is out of sight once it is a table.
    parameters: Parameters,
}

impl Relations {
    pub(super) fn new(parameters: Parameters) -> Self {
        Relations { parameters }
    }
}

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let planned = match relation {
            TableFactor::Derived { lateral, subquery, alias: Some(alias), sample }
                if alias.name.value == CTE_ALIAS =>
            {
                let query = TableFactor::Derived { lateral, subquery, alias: None, sample };
                let plan = context.plan(query)?;
                let plan = match reads_outside(&plan)? {
                    true => plan,
                    false => {
                        let plan = fill_plan(plan, &self.parameters)?;
                        defined(plan, context.context_provider().options())?
                    }
                };
                PlannedRelation::new(plan, Some(alias))
            }
            // For each row beside it, its columns may decide on each other otherwise.
            TableFactor::Derived { lateral: true, subquery, alias: Some(alias), sample } => {
                let query = TableFactor::Derived { lateral: true, subquery, alias: None, sample };
                PlannedRelation::new(forget(context.plan(query)?)?, Some(alias))
            }
            TableFactor::NestedJoin { table_with_joins, alias: Some(alias) }
                if alias.name.value.starts_with(USING_PREFIX) =>
            {
                let plan = merging(*table_with_joins, &alias.name.value, context)?;
                PlannedRelation::new(plan, None)
            }
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset: false,
                with_offset_alias: None,
                with_ordinality,
            } => PlannedRelation::new(unnested(array_exprs, with_ordinality, context)?, alias),
            TableFactor::Table {
                name,
                args: Some(args),
                with_ordinality,
                alias,
                sample: None,
                ..
            } if is_series(&name) => {
                let plan = elements_of_series(&name, args.args, with_ordinality, context)?;
                PlannedRelation::new(plan, alias)
            }
            TableFactor::Function { name, args, with_ordinality, alias, .. }
                if is_series(&name) =>
            {
                let plan = elements_of_series(&name, args, with_ordinality, context)?;
                PlannedRelation::new(plan, alias)
            }
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        Ok(RelationPlanning::Planned(Box::new(planned)))
    }
}

/// What the binder made, without what only the binder needs and with what it left out.
pub(super) fn finished(plan: LogicalPlan) -> Result<LogicalPlan> {
    without_needless_sorts(resolve_order(without_marks(plan)?)?)
}

/// A definition has the types that analysis gives it: who reads it is bound to them.
fn defined(plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
    let plan = expand_distinct_on(finished(plan)?)?.data;
    definition(analyzed(plan, options)?.data)
}

/// A join with its merged columns in front of those of both inputs.
fn merging(
    tables: TableWithJoins,
    name: &str,
    context: &mut dyn RelationPlannerContext,
) -> Result<LogicalPlan> {
    let TableWithJoins { relation, joins } = tables;
    let (left, Some(join)) = (context.plan(relation)?, joins.into_iter().next()) else {
        return internal_err!("a join without right side");
    };
    let kind = kind_of(&join);
    let keys: Vec<String> = match constraint(&join) {
        Some(Written::Using(columns)) => {
            let idents = columns.iter().filter_map(|column| match &column.0[..] {
                [part] => part.as_ident().cloned(),
                _ => None,
            });
            idents.map(|ident| context.normalize_ident(ident)).collect()
        }
        _ => Vec::new(),
    };
    let is_natural = matches!(constraint(&join), Some(Written::Natural));
    let right = context.plan(join.relation)?;
    let keys = if is_natural { common(&left, &right) } else { keys };
    if keys.is_empty() {
        return no_keys(is_natural);
    }
    let (left, right) = (set_aside(left, &keys, name)?, set_aside(right, &keys, name)?);
    let (mut on, mut values) = (Vec::new(), Vec::new());
    for key in &keys {
        let (l, r) = (Expr::Column(column(&left, key)?), Expr::Column(column(&right, key)?));
        on.push(l.clone().eq(r.clone()));
        values.push(match kind {
            JoinType::Full => when(l.clone().is_not_null(), l).otherwise(r)?,
            JoinType::Right => r,
            _ => l,
        });
    }
    // A merged column is spelled as the left one is.
    let spellings = on.iter().map(|expr| {
        let Expr::BinaryExpr(equal) = expr else { return None };
        let Expr::Column(key) = equal.left.as_ref() else { return None };
        Some(FieldMetadata::from(left.schema().field_from_column(key).ok()?.metadata()))
    });
    let spellings: Vec<Option<FieldMetadata>> = spellings.collect();
    let named = |at: usize, relation: TableReference| match &values[at] {
        Expr::Column(column) if column.relation.as_ref() == Some(&relation) => values[at].clone(),
        value => {
            let alias = Alias::new(value.clone(), Some(relation), &keys[at]);
            Expr::Alias(alias.with_metadata(spellings[at].clone()))
        }
    };
    let mut merged: Vec<Expr> =
        (0..keys.len()).map(|at| named(at, TableReference::bare(name))).collect();
    // What was merged before is merged again: its name stands for the same column.
    for column in left.schema().columns().into_iter().chain(right.schema().columns()) {
        let key = keys.iter().position(|key| *key == column.name);
        let before = column.relation.as_ref().and_then(|table| table.table().strip_suffix(name));
        merged.push(match (key, before) {
            (Some(key), Some(before)) => named(key, TableReference::bare(before)),
            _ => Expr::Column(column),
        });
    }
    let join = LogicalPlanBuilder::from(left).join_on(right, kind, on)?.build()?;
    let plan = LogicalPlan::Projection(Projection::try_new(merged, Arc::new(join))?);
    marked(plan, &keys)
}

fn no_keys(is_natural: bool) -> Result<LogicalPlan> {
    match is_natural {
        true => plan_err!(
            "NATURAL JOIN of tables without a column in common; every row of one with every row \
             of the other is CROSS JOIN"
        ),
        false => plan_err!("USING takes the names of columns alone"),
    }
}

/// An input whose merged columns among the keys have the name of this join behind that of theirs:
/// under the same name they would be other columns below the join than above it.
fn set_aside(input: LogicalPlan, keys: &[String], name: &str) -> Result<LogicalPlan> {
    let is_merged = |column: &Column| {
        let relation = column.relation.as_ref();
        relation.is_some_and(|table| table.table().starts_with(USING_PREFIX))
            && keys.contains(&column.name)
    };
    let columns = input.schema().columns();
    let again: Vec<String> =
        columns.iter().filter(|column| is_merged(column)).map(|c| c.name.clone()).collect();
    if again.is_empty() {
        return Ok(input);
    }
    let exprs = columns.into_iter().map(|column| match &column.relation {
        Some(table) if is_merged(&column) => {
            let aside = TableReference::bare(format!("{}{name}", table.table()));
            let key = column.name.clone();
            Expr::Column(column).alias_qualified(Some(aside), key)
        }
        _ => Expr::Column(column),
    });
    let plan = Projection::try_new(exprs.collect(), Arc::new(input))?;
    marked(LogicalPlan::Projection(plan), &again)
}

/// The columns that both inputs have, in the order of the left one.
fn common(left: &LogicalPlan, right: &LogicalPlan) -> Vec<String> {
    let names: HashSet<&String> = right.schema().fields().iter().map(|f| f.name()).collect();
    let mut keys: Vec<String> = Vec::new();
    for field in left.schema().fields() {
        if names.contains(field.name()) && !keys.contains(field.name()) {
            keys.push(field.name().clone());
        }
    }
    keys
}

/// The column of a name in one input.
fn column(input: &LogicalPlan, name: &str) -> Result<Column> {
    let schemas: &[&[&DFSchema]] = &[&[input.schema()]];
    let name = Column::new_unqualified(name);
    name.normalize_with_schemas_and_ambiguity_check(schemas, &input.using_columns()?)
}

fn kind_of(join: &ast::Join) -> JoinType {
    match &join.join_operator {
        JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => JoinType::Left,
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => JoinType::Right,
        JoinOperator::FullOuter(_) => JoinType::Full,
        _ => JoinType::Inner,
    }
}

/// The plan under a join that tells the binder which columns are one: it takes the first of them
/// for their name, and `*` leaves the others out.
fn marked(plan: LogicalPlan, keys: &[String]) -> Result<LogicalPlan> {
    let schema = plan.schema().clone();
    let same = schema.columns().into_iter().filter(|column| keys.contains(&column.name));
    let on = same.map(|column| (Expr::Column(column.clone()), Expr::Column(column))).collect();
    Ok(LogicalPlan::Join(Join {
        left: Arc::new(plan),
        right: Arc::new(nothing()),
        on,
        filter: None,
        join_type: JoinType::Inner,
        join_constraint: JoinConstraint::Using,
        schema,
        null_equality: NullEquality::NullEqualsNothing,
        null_aware: false,
    }))
}

fn nothing() -> LogicalPlan {
    let schema = Arc::new(DFSchema::empty());
    LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema })
}

fn without_marks(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(Join { left, right, join_constraint: JoinConstraint::Using, .. })
            if right.schema().fields().is_empty() =>
        {
            Ok(Transformed::yes(Arc::unwrap_or_clone(left)))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}
