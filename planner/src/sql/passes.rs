//! Rules applied to a plan, one after another, and all of them again until nothing changes.
//!
//! A rule that looks at one node at a time is walked over the tree, whose nodes are taken and given
//! back in place. Whether a pass changed a plan is asked of a fingerprint of its nodes and their
//! expressions: rules say that they changed what they only built anew, and a plan's own hash takes
//! in the schemas of all its nodes, which takes as long as some rules.
//!
//! Plans have no subqueries in their expressions here: they are joins by now.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
#[cfg(debug_assertions)]
use datafusion_expr::logical_plan::InvariantLevel;
use datafusion_expr::logical_plan::{
    Aggregate, Filter, Join, LogicalPlan, Projection, Sort, SubqueryAlias, assert_expected_schema,
};
use datafusion_optimizer::{ApplyOrder, OptimizerContext, OptimizerRule};
use hashbrown::DefaultHashBuilder;

/// A rule of a list.
pub(super) type Rule = Box<dyn OptimizerRule + Send + Sync>;

/// A list of rules runs at most so often.
const PASSES_MAX: usize = 3;

/// What the rules of one statement share: options, names for new columns, what fired.
pub(crate) struct Planning {
    context: OptimizerContext,
    record: bool,
    fired: Vec<String>,
}

impl Planning {
    /// `record` notes which rules changed the plan, for explain.
    pub(crate) fn new(options: Arc<ConfigOptions>, record: bool) -> Self {
        let context = OptimizerContext::new_with_config_options(options);
        Planning { context, record, fired: Vec::new() }
    }

    /// Names of the rules that changed a plan, in the order they first did.
    pub(crate) fn fired(&self) -> &[String] {
        &self.fired
    }

    /// Notes that a rule of ours changed the plan.
    pub(crate) fn note(&mut self, rule: &str) {
        if !self.fired.iter().any(|name| name == rule) {
            self.fired.push(rule.to_string());
        }
    }

    /// Applies the rules one after another, and all of them again until nothing changes.
    ///
    /// # Errors
    /// Those of the rules, and of a rule that changed what the plan gives.
    pub(super) fn run(&mut self, rules: &[Rule], mut plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut last = Fingerprint::of(&plan);
        for _ in 0..PASSES_MAX {
            let before = last.value;
            for rule in rules {
                if self.apply(rule.as_ref(), &mut plan)? && self.record && last.is_other(&plan) {
                    self.note(rule.name());
                }
            }
            last.is_other(&plan);
            if last.value == before {
                break;
            }
        }
        Ok(plan)
    }

    /// Applies one rule, once.
    ///
    /// # Errors
    /// As `run`.
    pub(super) fn once(
        &mut self,
        rule: &dyn OptimizerRule,
        mut plan: LogicalPlan,
    ) -> Result<LogicalPlan> {
        let mut last = self.record.then(|| Fingerprint::of(&plan));
        self.apply(rule, &mut plan)?;
        if last.as_mut().is_some_and(|last| last.is_other(&plan)) {
            self.note(rule.name());
        }
        Ok(plan)
    }

    /// Whether the rule says that it changed the plan.
    fn apply(&self, rule: &dyn OptimizerRule, plan: &mut LogicalPlan) -> Result<bool> {
        let schema = Arc::clone(plan.schema());
        let changed = match rule.apply_order() {
            Some(order) => self.walk(rule, order, plan)?,
            None => self.rewrite(rule, plan)?,
        };
        assert_expected_schema(&schema, plan)
            .map_err(|e| e.context(format!("after the rule {}", rule.name())))?;
        #[cfg(debug_assertions)]
        plan.check_invariants(InvariantLevel::Executable)
            .map_err(|e| e.context(format!("after the rule {}", rule.name())))?;
        Ok(changed)
    }

    /// Applies the rule to every node.
    fn walk(
        &self,
        rule: &dyn OptimizerRule,
        order: ApplyOrder,
        plan: &mut LogicalPlan,
    ) -> Result<bool> {
        let mut changed = false;
        if order == ApplyOrder::TopDown {
            changed |= self.rewrite(rule, plan)?;
        }
        let mut is_stale = false;
        changed |= for_children(plan, |child| {
            let schema = Arc::clone(child.schema());
            let changed = self.walk(rule, order, child)?;
            is_stale |= changed && schema.as_ref() != child.schema().as_ref();
            Ok(changed)
        })?;
        if is_stale {
            *plan = std::mem::take(plan).recompute_schema()?;
        }
        if order == ApplyOrder::BottomUp {
            changed |= self.rewrite(rule, plan)?;
        }
        Ok(changed)
    }

    fn rewrite(&self, rule: &dyn OptimizerRule, plan: &mut LogicalPlan) -> Result<bool> {
        let done = rule.rewrite(std::mem::take(plan), &self.context)?;
        *plan = done.data;
        Ok(done.transformed)
    }
}

/// Changes a node's children, and says whether one of them says that it changed.
fn for_children(
    plan: &mut LogicalPlan,
    mut change: impl FnMut(&mut LogicalPlan) -> Result<bool>,
) -> Result<bool> {
    match plan {
        LogicalPlan::Projection(Projection { input, .. })
        | LogicalPlan::Filter(Filter { input, .. })
        | LogicalPlan::Aggregate(Aggregate { input, .. })
        | LogicalPlan::Sort(Sort { input, .. })
        | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => change(Arc::make_mut(input)),
        LogicalPlan::Join(Join { left, right, .. }) => {
            Ok(change(Arc::make_mut(left))? | change(Arc::make_mut(right))?)
        }
        LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) => Ok(false),
        // Less common, and taken apart.
        _ => {
            let done = std::mem::take(plan).map_children(|mut child| {
                let changed = change(&mut child)?;
                Ok(Transformed::new_transformed(child, changed))
            })?;
            *plan = done.data;
            Ok(done.transformed)
        }
    }
}

/// What tells a plan from the last one.
struct Fingerprint {
    hasher: DefaultHashBuilder,
    value: u64,
}

impl Fingerprint {
    fn of(plan: &LogicalPlan) -> Self {
        let mut fingerprint = Fingerprint { hasher: DefaultHashBuilder::default(), value: 0 };
        fingerprint.is_other(plan);
        fingerprint
    }

    /// Whether this is another plan than the last.
    fn is_other(&mut self, plan: &LogicalPlan) -> bool {
        let mut hasher = self.hasher.build_hasher();
        // Nothing in it fails.
        let _ = plan.apply(|node| {
            hash_node(node, &mut hasher);
            node.apply_expressions(|expr| {
                expr.hash(&mut hasher);
                Ok(TreeNodeRecursion::Continue)
            })
        });
        let value = hasher.finish();
        std::mem::replace(&mut self.value, value) != value
    }
}

/// What a node has besides expressions and inputs.
fn hash_node(node: &LogicalPlan, hasher: &mut impl Hasher) {
    std::mem::discriminant(node).hash(hasher);
    match node {
        LogicalPlan::TableScan(scan) => {
            (&scan.table_name, &scan.projection, scan.fetch, scan.filters.len()).hash(hasher);
        }
        LogicalPlan::Join(join) => {
            (join.join_type, join.null_equality, join.on.len(), join.filter.is_some()).hash(hasher);
        }
        LogicalPlan::Aggregate(aggregate) => {
            (aggregate.group_expr.len(), aggregate.aggr_expr.len()).hash(hasher);
        }
        LogicalPlan::Projection(projection) => projection.expr.len().hash(hasher),
        LogicalPlan::Sort(sort) => (sort.expr.len(), sort.fetch).hash(hasher),
        LogicalPlan::Limit(limit) => (limit.skip.is_some(), limit.fetch.is_some()).hash(hasher),
        LogicalPlan::Union(union) => union.inputs.len().hash(hasher),
        LogicalPlan::SubqueryAlias(alias) => alias.alias.hash(hasher),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row.hash(hasher),
        LogicalPlan::Extension(extension) => extension.node.name().hash(hasher),
        _ => {}
    }
}
