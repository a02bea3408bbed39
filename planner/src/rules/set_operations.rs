//! `expand_set_operations`: INTERSECT and EXCEPT over one type a column, and those with ALL.
//!
//! The binder makes semi and anti joins of them, NULL equal to NULL: right for sets, with a
//! DISTINCT on the left side; for ALL it leaves that out, which is wrong about duplicates. Those
//! joins are the only ones in a bound plan that take NULLs as equal.
//!
//! **Sets** stay joins. Where the sides have different types both are cast to the type that UNION
//! would give. **ALL** counts the equal rows of either side,
//!
//! ```sql
//! SELECT columns, sum(l) l, sum(r) r
//! FROM (SELECT columns, 1 l, 0 r FROM left UNION ALL SELECT columns, 0, 1 FROM right)
//! GROUP BY columns
//! ```
//!
//! and repeats each row `l - r` times (EXCEPT), or as often as the lesser of both says.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{
    Column, DFSchema, DFSchemaRef, JoinType, NullEquality, Result, internal_err,
};
use datafusion_expr::logical_plan::{Distinct, Extension, Join, LogicalPlan, Projection};
use datafusion_expr::{
    Expr, ExprSchemable, LogicalPlanBuilder, UserDefinedLogicalNodeCore, cast, lit, when,
};
use datafusion_functions_aggregate::expr_fn::sum;
use datafusion_optimizer::analyzer::type_coercion::coerce_union_schema;

use crate::functions::{Meeting, common_type};

/// The rule's name in explain.
pub(crate) const EXPAND_SET_OPERATIONS: &str = "expand_set_operations";

const LEFT: &str = "__left";
const RIGHT: &str = "__right";
const COUNT: &str = "__count";

/// Whether a join is a set operation that has to be expanded; the types of its inputs are settled.
pub(crate) fn is_set_operation(join: &Join) -> bool {
    let is_any = join.null_equality == NullEquality::NullEqualsNull
        && matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.filter.is_none();
    let same_types = || {
        let (left, right) = (join.left.schema().fields(), join.right.schema().fields());
        left.iter().zip(right).all(|(left, right)| left.data_type() == right.data_type())
    };
    is_any && !(distinct(join).is_some() && same_types())
}

/// The rows on the left of which each is there once, for an operation on sets.
fn distinct(join: &Join) -> Option<&Arc<LogicalPlan>> {
    match join.left.as_ref() {
        LogicalPlan::Distinct(Distinct::All(input)) => Some(input),
        _ => None,
    }
}

/// Expands a set operation; `typed` settles the types of a node above its inputs.
pub(crate) fn expand_set_operation(
    join: Join,
    mut typed: impl FnMut(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let (is_set, left) = match distinct(&join) {
        Some(input) => (true, input.clone()),
        None => (false, join.left.clone()),
    };
    let schema = join.schema.clone();
    let types = common_types(&left, &join.right)?;
    let left = typed(numbered(left, &types)?)?;
    let right = typed(numbered(join.right.clone(), &types)?)?;
    let rows = match is_set {
        true => {
            let keys: Vec<Column> = (0..types.len()).map(|n| Column::from_name(name(n))).collect();
            LogicalPlanBuilder::from(left)
                .alias("__l")?
                .distinct()?
                .join_detailed(
                    LogicalPlanBuilder::from(right).alias("__r")?.build()?,
                    join.join_type,
                    (keys.clone(), keys),
                    None,
                    NullEquality::NullEqualsNull,
                )?
                .build()?
        }
        false => repeated(left, right, types.len(), join.join_type, typed)?,
    };
    let columns = rows.schema().columns().into_iter().zip(schema.iter());
    let columns = columns.map(|(column, (qualifier, field))| {
        Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
    });
    let plan = Projection::try_new(columns.collect(), Arc::new(rows))?;
    Ok(LogicalPlan::Projection(plan))
}

/// The types that a union of both would have.
fn common_types(left: &Arc<LogicalPlan>, right: &Arc<LogicalPlan>) -> Result<Vec<DataType>> {
    let united = coerce_union_schema(&[left.clone(), right.clone()])?;
    let pairs = left.schema().fields().iter().zip(right.schema().fields());
    let types = pairs.zip(united.fields()).map(|((left, right), united)| {
        let common = common_type(&[left.data_type(), right.data_type()], Meeting::United)?;
        Ok(common.unwrap_or_else(|| united.data_type().clone()))
    });
    types.collect()
}

fn name(number: usize) -> String {
    format!("c{number}")
}

/// The columns of a plan as these types, under names of ours.
fn numbered(input: Arc<LogicalPlan>, types: &[DataType]) -> Result<LogicalPlan> {
    let schema = input.schema().clone();
    let columns = schema.columns().into_iter().zip(types).enumerate();
    let columns = columns.map(|(number, (column, data_type))| {
        let column = Expr::Column(column);
        let expr = match column.get_type(schema.as_ref())? == *data_type {
            true => column,
            false => cast(column, data_type.clone()),
        };
        Ok(expr.alias(name(number)))
    });
    let columns = columns.collect::<Result<Vec<Expr>>>()?;
    Ok(LogicalPlan::Projection(Projection::try_new(columns, input)?))
}

/// Every distinct row as often as the operation says.
fn repeated(
    left: LogicalPlan,
    right: LogicalPlan,
    columns: usize,
    operation: JoinType,
    mut typed: impl FnMut(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let keys = || (0..columns).map(|number| Expr::Column(Column::from_name(name(number))));
    let marked = |side: LogicalPlan, is_left: bool| {
        let marks = [lit(i64::from(is_left)).alias(LEFT), lit(i64::from(!is_left)).alias(RIGHT)];
        LogicalPlanBuilder::from(side).project(keys().chain(marks))
    };
    let counts = |name| Expr::Column(Column::from_name(name));
    let sums = [LEFT, RIGHT].map(|name| sum(counts(name)).alias(format!("{name}_rows")));
    let [in_left, in_right] =
        [LEFT, RIGHT].map(|name| Expr::Column(Column::from_name(format!("{name}_rows"))));
    let count = match operation {
        JoinType::LeftAnti => in_left - in_right,
        _ => when(in_left.clone().lt(in_right.clone()), in_left).otherwise(in_right)?,
    };
    let counted = marked(left, true)?
        .union(marked(right, false)?.build()?)?
        .aggregate(keys(), sums)?
        .build()?;
    let counted = LogicalPlanBuilder::from(typed(counted)?)
        .project(keys().chain([count.alias(COUNT)]))?
        .build()?;
    let node = Arc::new(Repeat::new(counted)?);
    Ok(LogicalPlan::Extension(Extension { node }))
}

/// Gives every row of its input as often as the last column says, without that column.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Repeat {
    pub(crate) input: LogicalPlan,
    schema: DFSchemaRef,
}

impl Repeat {
    /// The node, if it is one of these.
    pub(crate) fn of(plan: &LogicalPlan) -> Option<&Repeat> {
        match plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
            _ => None,
        }
    }

    fn new(input: LogicalPlan) -> Result<Self> {
        let fields = input.schema().iter().map(|(q, field)| (q.cloned(), field.clone()));
        let mut fields: Vec<_> = fields.collect();
        fields.pop();
        let metadata = input.schema().metadata().clone();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, metadata)?);
        Ok(Repeat { input, schema })
    }
}

impl PartialOrd for Repeat {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Repeat {
    fn name(&self) -> &str {
        "Repeat"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    /// Conditions see columns of the input only.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let count = self.schema.fields().len();
        Some(vec![output_columns.iter().copied().chain([count]).collect()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Repeat")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.len()) {
            (Some(input), 0) => Repeat::new(input),
            _ => internal_err!("one input"),
        }
    }
}
