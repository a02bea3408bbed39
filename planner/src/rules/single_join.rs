//! The join of a subquery that is used as a value: at most one row for each row of the query.
//!
//! The borrowed rules have no such join. To them it is a node that they move nothing through;
//! `push_below_single_join` moves conditions on its left input below it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion_common::{DFSchemaRef, FunctionalDependencies, JoinType, Result, internal_err};
use datafusion_expr::logical_plan::{Extension, Filter, LogicalPlan, build_join_schema};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, UserDefinedLogicalNodeCore};

/// All rows of the left input, each with the columns of the right row that matches it, or NULLs;
/// fails when two rows match.
#[derive(Debug, Clone)]
pub(crate) struct SingleJoin {
    /// The rows that are kept.
    pub(crate) left: LogicalPlan,
    /// The rows of the subquery.
    pub(crate) right: LogicalPlan,
    /// What must be equal, NULL equalling nothing: an expression of the left and one of the right.
    pub(crate) on: Vec<(Expr, Expr)>,
    /// What else must hold of a pair.
    pub(crate) filter: Option<Expr>,
    schema: DFSchemaRef,
}

impl SingleJoin {
    /// A join of two inputs that have no column in common.
    pub(crate) fn try_new(
        left: LogicalPlan,
        right: LogicalPlan,
        on: Vec<(Expr, Expr)>,
        filter: Option<Expr>,
    ) -> Result<Self> {
        let schema = build_join_schema(left.schema(), right.schema(), &JoinType::Left)?;
        // See `sql::dependencies`.
        let schema = schema.with_functional_dependencies(FunctionalDependencies::empty())?;
        Ok(SingleJoin { left, right, on, filter, schema: Arc::new(schema) })
    }

    /// The join as a node of a plan.
    pub(crate) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    /// The join that a node is, if it is one.
    pub(crate) fn of(plan: &LogicalPlan) -> Option<&SingleJoin> {
        match plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// What all of the node but its schema is made of.
    fn parts(&self) -> (&LogicalPlan, &LogicalPlan, &[(Expr, Expr)], &Option<Expr>) {
        (&self.left, &self.right, &self.on, &self.filter)
    }
}

impl PartialEq for SingleJoin {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for SingleJoin {}

impl Hash for SingleJoin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialOrd for SingleJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.parts().partial_cmp(&other.parts())
    }
}

impl UserDefinedLogicalNodeCore for SingleJoin {
    fn name(&self) -> &str {
        "SingleJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let keys = self.on.iter().flat_map(|(left, right)| [left.clone(), right.clone()]);
        keys.chain(self.filter.clone()).collect()
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let (left, right): (Vec<usize>, Vec<usize>) = output.iter().partition(|&&i| i < width);
        Some(vec![left, right.into_iter().map(|i| i - width).collect()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let keys: Vec<String> = self.on.iter().map(|(l, r)| format!("{l} = {r}")).collect();
        write!(f, "Single Join: {}", keys.join(", "))?;
        match &self.filter {
            Some(filter) => write!(f, " Filter: {filter}"),
            None => Ok(()),
        }
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let keys = 2 * self.on.len();
        let (Some(right), Some(left), 0) = (inputs.pop(), inputs.pop(), inputs.len()) else {
            return internal_err!("two inputs");
        };
        if exprs.len() != keys + usize::from(self.filter.is_some()) {
            return internal_err!("the expressions of another join");
        }
        let mut exprs = exprs.into_iter();
        let mut on = Vec::with_capacity(self.on.len());
        for _ in &self.on {
            on.extend(exprs.next().zip(exprs.next()));
        }
        SingleJoin::try_new(left, right, on, exprs.next())
    }
}

/// A filter over a single join with the conditions that read the left input only below the join:
/// rows that they drop need no partner. `None` when there are none.
pub(crate) fn push_below_single_join(predicate: &Expr, input: &LogicalPlan) -> Option<LogicalPlan> {
    let join = SingleJoin::of(input)?;
    let is_of_left = |condition: &Expr| {
        let mut columns = condition.column_refs().into_iter().peekable();
        let reads = columns.peek().is_some();
        reads && columns.all(|c| join.left.schema().has_column(c)) && !condition.is_volatile()
    };
    let conditions = split_conjunction_owned(predicate.clone());
    let (below, above): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(is_of_left);
    let left = filtered(join.left.clone(), below)?;
    let join = SingleJoin { left, ..join.clone() }.into_plan();
    Some(filtered(join.clone(), above).unwrap_or(join))
}

/// The rows for which all conditions hold; `None` when there are no conditions.
fn filtered(plan: LogicalPlan, conditions: Vec<Expr>) -> Option<LogicalPlan> {
    Some(LogicalPlan::Filter(Filter::new(conjunction(conditions)?, Arc::new(plan))))
}
