//! Grouping sets: the groups of several sets of keys.
//!
//! Each set has branches of its own, which all see the same rows as they run: what they need at
//! least, they need all at once. Where sets are many ([`SETS_MAX`], or [`SORTED_SETS_MAX`] where
//! rows are put in order for an aggregate, which takes more), the rows are multiplied instead, once
//! for each set and with NULL for the keys that are not in it, and grouped together:
//!
//! ```text
//! input ─┬─ join ─ projection ─ branches
//! sets ──┘
//! ```
//!
//! The set without keys is always by itself: it has a group even if there are no rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_expr::Expr as Logical;
use datafusion_expr::expr::GroupingSet;
use datafusion_expr::utils::powerset;
use gristmill_engine::expr::{ArithmeticOp, CompareOp, Expr, Literal, Value};
use gristmill_engine::operators::{JoinKind, NestedLoopJoin, Union, Values, ValuesColumn};
use gristmill_engine::plan::NodeId;
use gristmill_engine::{Error, Result};

use super::calls::Call;
use crate::lower::plan::{PlanLowering, all_columns, field_names};

/// More sets than these are computed in one.
const SETS_MAX: usize = 64;
const SORTED_SETS_MAX: usize = 3;

/// One of the sets.
struct Set {
    /// Its keys, as positions among all.
    keys: Vec<usize>,
    /// Has a bit for every key that it does not have, the last key's lowest.
    absent: u64,
    /// What tells it apart from all others, equal ones included.
    id: u64,
}

impl PlanLowering {
    /// The groups of several sets of keys: those that are not in a set are NULL, and a number
    /// tells the sets apart.
    pub(super) fn grouping_sets(
        &mut self,
        below: NodeId,
        keys: &[usize],
        sets: &[Vec<usize>],
        calls: &[Call],
        output: &Schema,
    ) -> Result<NodeId> {
        if keys.len() >= 64 {
            return Err(Error::input("grouping sets are of at most 63 columns"));
        }
        let sets = numbered(sets, keys.len())?;
        let is_sorted = calls.iter().any(Call::needs_order);
        let are_many = sets.len() > if is_sorted { SORTED_SETS_MAX } else { SETS_MAX };
        let (together, alone): (Vec<&Set>, Vec<&Set>) =
            sets.iter().partition(|set| are_many && !set.keys.is_empty());
        let mut nodes = Vec::with_capacity(alone.len() + 1);
        for set in alone {
            nodes.push(self.grouping_set(below, keys, set, calls, output)?);
        }
        if !together.is_empty() {
            nodes.push(self.multiplied(below, keys, &together, calls, output)?);
        }
        match nodes[..] {
            [only] => Ok(only),
            _ => self.plan.add(Arc::new(Union {}), &nodes),
        }
    }

    /// The groups of one set.
    fn grouping_set(
        &mut self,
        below: NodeId,
        keys: &[usize],
        set: &Set,
        calls: &[Call],
        output: &Schema,
    ) -> Result<NodeId> {
        let id_type = output.field(keys.len()).data_type();
        let own: Vec<usize> = set.keys.iter().map(|&key| keys[key]).collect();
        let names = (0..own.len() + calls.len()).map(|i| format!("c{i}")).collect();
        let groups = self.groups(below, &own, calls, names)?;
        let column = |at: usize, field: &Arc<Field>| Expr::column(at, field.data_type().clone());
        let exprs = output.fields().iter().enumerate().map(|(number, field)| {
            if number == keys.len() {
                return Expr::Literal(number_of(set.id, id_type));
            }
            match number.checked_sub(keys.len() + 1) {
                Some(call) => column(own.len() + call, field),
                None => match set.keys.iter().position(|&key| key == number) {
                    Some(at) => column(at, field),
                    None => Expr::Literal(Literal::null(field.data_type().clone())),
                },
            }
        });
        self.project(groups, exprs.collect(), field_names(output))
    }

    /// The groups of many sets.
    fn multiplied(
        &mut self,
        below: NodeId,
        keys: &[usize],
        sets: &[&Set],
        calls: &[Call],
        output: &Schema,
    ) -> Result<NodeId> {
        let id_type = output.field(keys.len()).data_type();
        let row = |set: &&Set| vec![Literal::int(set.absent as i64), number_of(set.id, id_type)];
        let column = |name: &str, data_type: &DataType| ValuesColumn {
            name: name.to_string(),
            data_type: data_type.clone(),
        };
        let columns = vec![column("absent", &DataType::Int64), column("id", id_type)];
        let values = Values { columns, rows: sets.iter().map(row).collect() };
        let values = self.plan.add(Arc::new(values), &[])?;
        let width = self.plan.node(below)?.schema.fields().len();
        let join = NestedLoopJoin {
            kind: JoinKind::Inner,
            condition: None,
            probe_output: (0..width).collect(),
            build_output: vec![0, 1],
            null_aware: false,
        };
        let joined = self.plan.add(Arc::new(join), &[below, values])?;
        let mut exprs = all_columns(&self.plan.node(joined)?.schema);
        let absent = exprs.remove(width);
        let masked = keys.iter().enumerate().map(|(number, &key)| {
            let key = exprs[key].clone();
            let data_type = key.data_type();
            let null = Expr::Literal(Literal::null(data_type.clone()));
            let branches = vec![(has_bit(&absent, keys.len() - 1 - number), null)];
            Expr::Case { branches, otherwise: Some(Box::new(key)), data_type }
        });
        let masked: Vec<Expr> = masked.collect();
        exprs.extend(masked);
        let names = (0..exprs.len()).map(|i| format!("c{i}")).collect();
        let rows = self.project(joined, exprs, names)?;
        let keys: Vec<usize> = (width + 1..=width + keys.len()).chain([width]).collect();
        let groups = self.groups(rows, &keys, calls, field_names(output))?;
        let exprs = all_columns(output);
        self.project(groups, exprs, field_names(output))
    }
}

/// The sets, told apart.
///
/// # Errors
/// `Input` when equal sets of many columns are too many to be told apart in 64 bits.
fn numbered(sets: &[Vec<usize>], keys: usize) -> Result<Vec<Set>> {
    let mut seen = HashMap::new();
    let set = |set: &Vec<usize>| {
        let absent = (0..keys).filter(|key| !set.contains(key));
        let absent = absent.fold(0u64, |bits, key| bits | (1 << (keys - 1 - key)));
        let before: &mut u64 = seen.entry(absent).or_default();
        if keys > 0 && *before >= 1 << (64 - keys) {
            let message = format!("{before} equal grouping sets of {keys} columns are too many");
            return Err(Error::input(message));
        }
        let id = (*before << keys) | absent;
        *before += 1;
        Ok(Set { keys: set.clone(), absent, id })
    };
    sets.iter().map(set).collect()
}

fn number_of(id: u64, data_type: &DataType) -> Literal {
    Literal { data_type: data_type.clone(), value: Value::UInt(id) }
}

/// Whether a number that is not negative has this bit.
fn has_bit(number: &Expr, bit: usize) -> Expr {
    let int = |value: i64| Box::new(Expr::Literal(Literal::int(value)));
    let of = |op: ArithmeticOp, left: Box<Expr>, right: Box<Expr>| {
        Box::new(Expr::Arithmetic { op, left, right, data_type: DataType::Int64 })
    };
    let shifted = of(ArithmeticOp::Divide, Box::new(number.clone()), int(1 << bit));
    let lowest = of(ArithmeticOp::Modulo, shifted, int(2));
    Expr::Compare { op: CompareOp::Equal, left: lowest, right: int(1) }
}

/// The grouping sets, as positions among all grouping expressions.
pub(super) fn sets_of(set: &GroupingSet, all: &[&Logical]) -> Result<Vec<Vec<usize>>> {
    let place = |expr: &Logical| {
        let place = all.iter().position(|other| **other == *expr);
        place.ok_or_else(|| Error::internal(format!("{expr} is of no grouping set")))
    };
    let places = |exprs: &[Logical]| {
        let mut places = exprs.iter().map(place).collect::<Result<Vec<usize>>>()?;
        places.sort_unstable();
        places.dedup();
        Ok(places)
    };
    match set {
        GroupingSet::Rollup(exprs) => {
            (0..=exprs.len()).rev().map(|count| places(&exprs[..count])).collect()
        }
        GroupingSet::Cube(exprs) => {
            let subsets = powerset(exprs).map_err(|e| Error::input(e.to_string()))?;
            let subset = |exprs: Vec<&Logical>| {
                places(&exprs.into_iter().cloned().collect::<Vec<Logical>>())
            };
            subsets.into_iter().map(subset).collect()
        }
        GroupingSet::GroupingSets(sets) => sets.iter().map(|exprs| places(exprs)).collect(),
    }
}
