//! `filter_keys`: equalities of a WHERE clause as keys of the inner joins below it.
//!
//! A region of inner joins below a filter is taken apart; it is built again in the order in which
//! its inputs were written, but that an input which shares a key with those before it comes before
//! one that would make a cross product. An equality that stands in every branch of an OR is a key
//! as well. What became a key leaves the conditions, and conditions on one input go to it, unless
//! they are about keys: those say something of other inputs too, which a later rule finds out. Each
//! join is built once: rules that look at every join of a region again, with all below it, take
//! most of a statement's planning.
//!
//! Regions with nothing to find stay as they are, and so do joins in which NULL equals NULL, where
//! equalities from elsewhere would hold for NULLs too, and those whose condition is volatile, which
//! is drawn once for each of their own pairs.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, JoinConstraint, JoinType, NullEquality, Result};
use datafusion_expr::logical_plan::{Filter, Join, LogicalPlan, Projection};
use datafusion_expr::utils::{can_hash, conjunction, disjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

use super::region::is_separable;
use crate::fallible::{is_fallible, is_fallible_on_columns};

/// The rule; see the module documentation.
#[derive(Debug, Default)]
pub(crate) struct FilterKeys;

impl OptimizerRule for FilterKeys {
    fn name(&self) -> &str {
        "filter_keys"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        plan.transform_up(|node| match node {
            LogicalPlan::Filter(filter) if is_region(&filter.input) => keyed(filter),
            other => Ok(Transformed::no(other)),
        })
    }
}

/// Whether a plan is an inner join that may be taken apart.
fn is_region(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if is_separable(join))
}

/// Two expressions that are equal in every row of a region.
#[derive(Clone)]
struct Pair(Expr, Expr);

impl PartialEq for Pair {
    fn eq(&self, other: &Pair) -> bool {
        let (Pair(a, b), Pair(x, y)) = (self, other);
        (a == x && b == y) || (a == y && b == x)
    }
}

/// A pair whose sides are of different inputs of a region, as numbers.
struct Key {
    pair: Pair,
    left: Vec<usize>,
    right: Vec<usize>,
    is_used: bool,
}

/// The inputs and conditions of a region.
#[derive(Default)]
struct Region {
    inputs: Vec<LogicalPlan>,
    pairs: Vec<Pair>,
    conditions: Vec<Expr>,
}

fn keyed(filter: Filter) -> Result<Transformed<LogicalPlan>> {
    let mut pairs = Vec::new();
    common_pairs(&filter.predicate, &mut pairs);
    let mut inputs = Vec::new();
    leaves(&filter.input, &mut inputs);
    let schema = filter.input.schema().clone();
    let mut keys: Vec<Key> = Vec::with_capacity(pairs.len());
    for pair in pairs {
        if !is_fallible_pair(&pair, &schema) {
            keys.extend(key_of(&pair, &inputs)?);
        }
    }
    if keys.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let mut region = Region::default();
    region.take_apart(Arc::unwrap_or_clone(filter.input));
    let written = region.written_keys()?;
    let from_filter = keys.len();
    keys.extend(written);
    let predicate = region.move_conditions(filter.predicate, &keys, &schema)?;
    let mut plan = region.join(&mut keys)?;
    if *plan.schema() != schema {
        plan = LogicalPlan::Projection(Projection::new_from_schema(Arc::new(plan), schema));
    }
    let written = keys.split_off(from_filter).into_iter();
    let unused = written.filter(|key| !key.is_used).map(|Key { pair: Pair(a, b), .. }| a.eq(b));
    // Before conditions that can fail, which saw no row without them.
    region.conditions.splice(0..0, unused);
    let used: Vec<Pair> = keys.into_iter().filter(|k| k.is_used).map(|k| k.pair).collect();
    region.conditions.extend(predicate.and_then(|predicate| without(predicate, &used)));
    if let Some(predicate) = conjunction(region.conditions) {
        plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?);
    }
    Ok(Transformed::yes(plan))
}

/// The inputs of a region.
fn leaves<'a>(plan: &'a LogicalPlan, into: &mut Vec<&'a LogicalPlan>) {
    match plan {
        LogicalPlan::Join(join) if is_separable(join) => {
            leaves(&join.left, into);
            leaves(&join.right, into);
        }
        input => into.push(input),
    }
}

/// Whether a side can fail: then it is computed for no row that other conditions drop.
fn is_fallible_pair(Pair(left, right): &Pair, schema: &DFSchema) -> bool {
    let can_fail = |e: &Expr| !matches!(e, Expr::Column(_)) && is_fallible(e, schema);
    can_fail(left) || can_fail(right)
}

/// The key that a pair makes between inputs, if it does.
fn key_of(pair: &Pair, inputs: &[&LogicalPlan]) -> Result<Option<Key>> {
    let Pair(a, b) = pair;
    let (Some(left), Some(right)) = (inputs_of(a, inputs), inputs_of(b, inputs)) else {
        return Ok(None);
    };
    if left.iter().any(|input| right.contains(input)) {
        return Ok(None);
    }
    // Both sides have one type.
    let single = [(a, &left), (b, &right)].into_iter().find(|(_, inputs)| inputs.len() == 1);
    if let Some((side, of)) = single
        && !can_hash(&side.get_type(inputs[of[0]].schema())?)
    {
        return Ok(None);
    }
    Ok(Some(Key { pair: pair.clone(), left, right, is_used: false }))
}

/// The inputs that an expression reads, as numbers; `None` when there is none, or an equality with
/// it cannot be a key.
fn inputs_of(expr: &Expr, inputs: &[&LogicalPlan]) -> Option<Vec<usize>> {
    if expr.is_volatile() {
        return None;
    }
    let mut read = Vec::new();
    for column in expr.column_refs() {
        let of = inputs.iter().position(|input| input.schema().has_column(column))?;
        if !read.contains(&of) {
            read.push(of);
        }
    }
    (!read.is_empty()).then_some(read)
}

impl Region {
    fn take_apart(&mut self, plan: LogicalPlan) {
        match plan {
            LogicalPlan::Join(join) if is_separable(&join) => {
                self.take_apart(Arc::unwrap_or_clone(join.left));
                self.take_apart(Arc::unwrap_or_clone(join.right));
                self.pairs.extend(join.on.into_iter().map(|(left, right)| Pair(left, right)));
                self.conditions.extend(join.filter);
            }
            input => self.inputs.push(input),
        }
    }

    /// The keys that the joins had; those that cannot be keys of others become conditions.
    fn written_keys(&mut self) -> Result<Vec<Key>> {
        let inputs: Vec<&LogicalPlan> = self.inputs.iter().collect();
        let mut keys = Vec::with_capacity(self.pairs.len());
        for pair in std::mem::take(&mut self.pairs) {
            match key_of(&pair, &inputs)? {
                Some(key) => keys.push(key),
                None => self.conditions.push(pair.0.eq(pair.1)),
            }
        }
        Ok(keys)
    }

    /// Moves conditions on one input there, and gives back the others.
    fn move_conditions(
        &mut self,
        predicate: Expr,
        keys: &[Key],
        schema: &DFSchema,
    ) -> Result<Option<Expr>> {
        let of_keys: HashSet<&Column> = keys
            .iter()
            .flat_map(|Key { pair: Pair(a, b), .. }| [a, b])
            .flat_map(Expr::column_refs)
            .collect();
        let inputs: Vec<&LogicalPlan> = self.inputs.iter().collect();
        let mut moved: Vec<Vec<Expr>> = vec![Vec::new(); inputs.len()];
        let mut others = Vec::new();
        for condition in split_conjunction_owned(predicate) {
            match inputs_of(&condition, &inputs).as_deref() {
                Some(&[input])
                    if !condition.column_refs().iter().any(|column| of_keys.contains(column))
                        && !is_fallible_on_columns(&condition, schema) =>
                {
                    moved[input].push(condition);
                }
                _ => others.push(condition),
            }
        }
        for (input, conditions) in self.inputs.iter_mut().zip(moved) {
            if let Some(predicate) = conjunction(conditions) {
                let filtered = Filter::try_new(predicate, Arc::new(std::mem::take(input)))?;
                *input = LogicalPlan::Filter(filtered);
            }
        }
        Ok(conjunction(others))
    }

    /// The inputs joined, each once, by the keys that bring it together with those before it.
    fn join(&mut self, keys: &mut [Key]) -> Result<LogicalPlan> {
        let mut inputs: Vec<Option<LogicalPlan>> = self.inputs.drain(..).map(Some).collect();
        let mut joined = vec![false; inputs.len()];
        let mut plan = inputs.first_mut().and_then(Option::take).unwrap_or_default();
        if let Some(first) = joined.first_mut() {
            *first = true;
        }
        while let Some(first) = joined.iter().position(|&is_joined| !is_joined) {
            let ties = |input: usize| keys.iter().any(|key| key.side(&joined, input).is_some());
            let next = (first..joined.len()).find(|&input| !joined[input] && ties(input));
            let next = next.unwrap_or(first);
            let mut on = Vec::new();
            for key in keys.iter_mut() {
                if let Some(pair) = key.side(&joined, next) {
                    on.push(pair);
                    key.is_used = true;
                }
            }
            let right = inputs[next].take().unwrap_or_default();
            plan = LogicalPlan::Join(Join::try_new(
                Arc::new(plan),
                Arc::new(right),
                on,
                None,
                JoinType::Inner,
                JoinConstraint::On,
                NullEquality::NullEqualsNothing,
                false,
            )?);
            joined[next] = true;
        }
        Ok(plan)
    }
}

impl Key {
    /// The key of a join of `input` with those that are joined, if it is one: their side first.
    fn side(&self, joined: &[bool], input: usize) -> Option<(Expr, Expr)> {
        let is_joined = |side: &[usize]| side.iter().all(|&input| joined[input]);
        let Pair(left, right) = &self.pair;
        if is_joined(&self.left) && self.right == [input] {
            Some((left.clone(), right.clone()))
        } else if is_joined(&self.right) && self.left == [input] {
            Some((right.clone(), left.clone()))
        } else {
            None
        }
    }
}

/// Adds the pairs that a condition makes equal in every row that passes it.
fn common_pairs(condition: &Expr, into: &mut Vec<Pair>) {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return };
    match op {
        Operator::Eq if left.any_column_refs() && right.any_column_refs() => {
            let pair = Pair(left.as_ref().clone(), right.as_ref().clone());
            if !into.contains(&pair) {
                into.push(pair);
            }
        }
        Operator::And => {
            common_pairs(left, into);
            common_pairs(right, into);
        }
        Operator::Or => {
            let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
            common_pairs(left, &mut of_left);
            common_pairs(right, &mut of_right);
            of_left.retain(|pair| of_right.contains(pair) && !into.contains(pair));
            into.append(&mut of_left);
        }
        _ => {}
    }
}

/// What is left of a condition where some pairs are equal; `None` when nothing is.
fn without(condition: Expr, pairs: &[Pair]) -> Option<Expr> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let pair = Pair(*left, *right);
            (!pairs.contains(&pair)).then(|| pair.0.eq(pair.1))
        }
        Expr::BinaryExpr(BinaryExpr { op: Operator::And, .. }) => {
            let parts = split_conjunction_owned(condition).into_iter();
            conjunction(parts.filter_map(|part| without(part, pairs)))
        }
        // A branch that is true makes the OR true.
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            match (without(*left, pairs), without(*right, pairs)) {
                (Some(left), Some(right)) => disjunction([left, right]),
                _ => None,
            }
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Binder, FunctionTable, statements};
    use crate::testing::{bound, tpch};
    use datafusion_optimizer::OptimizerContext;

    /// The plan of a query after the rule, in lines that are joins and filters; `None` when the
    /// rule leaves it alone.
    fn ruled(text: &str) -> Option<Vec<String>> {
        let (catalog, functions) = (tpch(), FunctionTable::default());
        let binder = Binder::new(&catalog, &functions);
        let statement = statements(text).expect("parses").remove(0);
        let plan = bound(&statement, &binder).expect("binds");
        let schema = plan.schema().clone();
        let ruled = FilterKeys.rewrite(plan, &OptimizerContext::new()).expect("rewrites");
        assert_eq!(*ruled.data.schema(), schema);
        let lines = ruled.data.display_indent().to_string();
        let is_of_interest = |line: &&str| line.contains("Join") || line.contains("Filter");
        let lines = lines.lines().map(str::trim).filter(is_of_interest).map(str::to_string);
        ruled.transformed.then(|| lines.collect())
    }

    #[test]
    fn equalities_become_keys_in_the_order_that_needs_no_cross_product() {
        let lines = ruled(
            "select n_name from region, supplier, nation where s_acctbal > 0 \
             and n_regionkey = r_regionkey and n_nationkey = s_nationkey \
             and s_nationkey < 7 and 10 / s_suppkey > 1 and n_name <> s_name",
        );
        assert_eq!(
            lines.expect("has keys"),
            [
                "Filter: supplier.s_nationkey < Int64(7) AND Int64(10) / supplier.s_suppkey > \
                 Int64(1) AND nation.n_name != supplier.s_name",
                "Inner Join: nation.n_nationkey = supplier.s_nationkey",
                "Inner Join: region.r_regionkey = nation.n_regionkey",
                "Filter: supplier.s_acctbal > Int64(0)",
            ],
            "what is about keys, can fail, or reads two inputs, stays above"
        );
    }

    #[test]
    fn what_all_branches_of_an_or_say_is_a_key_and_the_rest_stays() {
        let lines = ruled(
            "select 1 from nation, region where (n_regionkey = r_regionkey and n_name = 'a') \
             or (r_regionkey = n_regionkey and n_name = 'b')",
        );
        let lines = lines.expect("has a key");
        assert!(lines[1].ends_with("Join: nation.n_regionkey = region.r_regionkey"), "{lines:?}");
        assert!(lines[0].contains(" OR ") && !lines[0].contains("regionkey"), "{lines:?}");
        let implied = "select 1 from nation, region where n_regionkey = r_regionkey \
                       or (n_regionkey = r_regionkey and n_name = 'b')";
        assert_eq!(ruled(implied).expect("has a key").len(), 1, "nothing is left of the OR");
    }

    #[test]
    fn written_keys_stay_keys_or_conditions() {
        let lines = ruled(
            "select 1 from nation join supplier on n_nationkey = s_nationkey and s_acctbal > 0, \
             region where n_regionkey = r_regionkey",
        );
        let lines = lines.expect("has a key").join("\n");
        for part in ["n_nationkey = supplier.s_nationkey", "n_regionkey = region.r_regionkey"] {
            assert!(lines.contains(part), "{part}\n{lines}");
        }
        assert!(lines.contains("s_acctbal > Int64(0)"), "{lines}");
    }

    #[test]
    fn conditions_of_joins_keep_their_order() {
        let lines = ruled(
            "select 1 from nation join region on n_nationkey / r_regionkey > 1 \
             join supplier on 7 / s_suppkey > 1 where n_nationkey = s_nationkey",
        );
        let lines = lines.expect("has a key").join("\n");
        let place = |part: &str| lines.find(part).expect(part);
        assert!(place("n_nationkey / ") < place(" / supplier.s_suppkey"), "{lines}");
        let volatile = "select 1 from (nation join region on n_regionkey = r_regionkey \
                        and random() < 0.5), supplier where n_nationkey = s_nationkey";
        let lines = ruled(volatile).expect("has a key");
        let is_there = |line: &String| line.contains("Join") && line.contains("random()");
        assert!(lines.iter().any(is_there), "{lines:?}");
    }

    #[test]
    fn conditions_without_keys_and_those_that_can_fail_are_left_alone() {
        for condition in [
            "n_regionkey = 1",
            "n_regionkey < r_regionkey",
            "n_regionkey = r_regionkey or n_name = 'a'",
            "n_regionkey = r_regionkey + random()",
            "r_regionkey <> 0 and n_nationkey / r_regionkey = s_suppkey",
            "n_nationkey = n_regionkey",
        ] {
            let text = format!("select 1 from nation, region, supplier where {condition}");
            assert_eq!(ruled(&text), None, "{condition}");
        }
    }
}
