//! `partition_top_k`: a condition on the number of a row in its partition goes below the window.
//!
//! Of a filter `row_number() OVER (…) <= 3`, or of `rank()` or `dense_rank()`, over a window, only
//! the first rows of every partition come out. The window's input loses rows that cannot be among
//! them before it is sorted.
//!
//! Sound: the numbers of a row depend on the rows before it in its partition and on no others, and
//! so do those of rows that come out. Every row that is left out has as many rows, or groups of
//! peers, before it as the filter lets through, so that the filter drops it; the filter stays. All
//! calls of the window must be such numbers over the same partitions in the same order: others see
//! rows behind. A node with several readers is left alone, since the others want all its rows.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use gristmill_engine::Result;
use gristmill_engine::expr::{CompareOp, Expr, Value, WindowKind};
use gristmill_engine::operators::{Counted, Filter, PartitionTopK, Project, Window};
use gristmill_engine::plan::{Node, NodeId, Plan};

/// The rule's name in explain.
pub(crate) const PARTITION_TOP_K: &str = "partition_top_k";

/// The plan with fewer rows for its windows, and whether there are any such.
///
/// # Errors
/// `Internal` when the plan does not fit together.
pub(crate) fn partition_top_k(plan: Plan) -> Result<(Plan, bool)> {
    let readers = plan.readers();
    let mut below: HashMap<NodeId, PartitionTopK> = HashMap::new();
    for node in plan.nodes() {
        let (Some(filter), [input]) = (as_spec::<Filter>(node), &node.inputs[..]) else { continue };
        for condition in &filter.conditions {
            if let Some((column, count)) = at_most(condition)
                && let Some((window, first)) = first_rows(&plan, &readers, *input, column, count)?
            {
                let known = below.entry(window).or_insert_with(|| first.clone());
                if tightness(&first) < tightness(known) {
                    *known = first;
                }
            }
        }
    }
    if below.is_empty() {
        return Ok((plan, false));
    }
    let mut out = Plan::new();
    let mut moved: Vec<NodeId> = Vec::with_capacity(plan.nodes().len());
    for (number, node) in plan.nodes().iter().enumerate() {
        let mut inputs: Vec<NodeId> = node.inputs.iter().map(|input| moved[input.0]).collect();
        if let (Some(first), [input]) = (below.remove(&NodeId(number)), &mut inputs[..]) {
            *input = out.add(Arc::new(first), &[*input])?;
        }
        let added = out.add(node.spec.clone(), &inputs)?;
        if let Some(estimate) = &node.estimate {
            out.estimate(added, estimate.clone());
        }
        moved.push(added);
    }
    Ok((out, true))
}

/// Less for what lets through fewer rows: of as many, peers let more through than rows do.
fn tightness(first: &PartitionTopK) -> (u64, u8) {
    let of = match first.counted {
        Counted::Rows => 0,
        Counted::Others => 1,
        Counted::Groups => 2,
    };
    (first.count, of)
}

fn as_spec<S: 'static>(node: &Node) -> Option<&S> {
    let spec: &dyn Any = node.spec.as_ref();
    spec.downcast_ref()
}

/// The window that a column of a node is a number of, and the rows that it needs when the column is
/// at most `count`.
fn first_rows(
    plan: &Plan,
    readers: &[usize],
    mut at: NodeId,
    mut column: usize,
    count: u64,
) -> Result<Option<(NodeId, PartitionTopK)>> {
    loop {
        let node = plan.node(at)?;
        if readers.get(at.0).is_none_or(|&readers| readers != 1) {
            return Ok(None);
        }
        let &[input] = &node.inputs[..] else { return Ok(None) };
        if let Some(window) = as_spec::<Window>(node) {
            let width = plan.node(input)?.schema.fields().len();
            let first = column.checked_sub(width).and_then(|call| of_window(window, call, count));
            return Ok(first.map(|first| (at, first)));
        }
        let Some(project) = as_spec::<Project>(node) else { return Ok(None) };
        let Some(Expr::Column { index, .. }) = project.exprs.get(column) else { return Ok(None) };
        (at, column) = (input, *index);
    }
}

fn of_window(window: &Window, call: usize, count: u64) -> Option<PartitionTopK> {
    let over = window.calls.get(call)?.over;
    let counted = window.calls.iter().map(|call| match call.function {
        WindowKind::RowNumber => Some(Counted::Rows),
        WindowKind::Rank => Some(Counted::Others),
        WindowKind::DenseRank => Some(Counted::Groups),
        _ => None,
    });
    let counted: Option<Vec<Counted>> = counted.collect();
    if window.calls.iter().any(|call| call.over != over) {
        return None;
    }
    let partition = window.keys.get(..over.partition)?;
    Some(PartitionTopK {
        partition: partition.iter().map(|key| key.column).collect(),
        keys: window.keys.get(over.partition..over.order)?.to_vec(),
        count,
        counted: *counted?.get(call)?,
    })
}

/// A condition that a column is at most a number, of at least 1.
fn at_most(condition: &Expr) -> Option<(usize, u64)> {
    let Expr::Compare { op, left, right } = condition else { return None };
    let (column, literal, op) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column { index, .. }, Expr::Literal(literal)) => (*index, literal, *op),
        (Expr::Literal(literal), Expr::Column { index, .. }) => (*index, literal, op.mirrored()),
        _ => return None,
    };
    let number = match literal.value {
        Value::Int(number) => u64::try_from(number).ok()?,
        Value::UInt(number) => number,
        _ => return None,
    };
    let most = match op {
        CompareOp::Less => number.checked_sub(1)?,
        CompareOp::LessOrEqual | CompareOp::Equal => number,
        _ => return None,
    };
    (most > 0).then_some((column, most))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use gristmill_engine::expr::{Frame, Literal, Over, SortKey, WindowCall};
    use gristmill_engine::sources::parquet::ParquetScan;

    use super::*;

    fn call(function: WindowKind, over: Over) -> WindowCall {
        WindowCall {
            function,
            arguments: Vec::new(),
            filter: None,
            distinct: false,
            ignore_nulls: false,
            over,
            frame: Frame::whole(),
            data_type: DataType::Int64,
        }
    }

    /// A filter over a projection over a window: the call's column comes out first.
    fn plan(calls: Vec<WindowCall>, op: CompareOp, most: &[i64], readers: usize) -> Plan {
        let mut plan = Plan::new();
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Schema::new(vec![field("a"), field("b")]);
        let scan = plan.add(Arc::new(ParquetScan::new(Vec::new(), &schema)), &[]).expect("a scan");
        let key = |column| SortKey { column, descending: column == 1, nulls_first: false };
        let names = (0..calls.len()).map(|number| format!("w{number}")).collect();
        let window = Window { keys: vec![key(0), key(1)], calls, names };
        let window = plan.add(Arc::new(window), &[scan]).expect("fits");
        let exprs = [2, 0].map(|column| Expr::column(column, DataType::Int64)).to_vec();
        let names = vec!["n".into(), "a".into()];
        let project = plan.add(Arc::new(Project { exprs, names }), &[window]).expect("fits");
        for _ in 0..readers {
            let condition = |&most: &i64| Expr::Compare {
                op,
                left: Box::new(Expr::column(0, DataType::Int64)),
                right: Box::new(Expr::Literal(Literal::int(most))),
            };
            let filter = Filter { conditions: most.iter().map(condition).collect() };
            plan.add(Arc::new(filter), &[project]).expect("fits");
        }
        plan
    }

    const OVER: Over = Over { partition: 1, order: 2 };

    fn limit(calls: Vec<WindowCall>, op: CompareOp, most: i64) -> Option<String> {
        limits(calls, op, &[most])
    }

    fn limits(calls: Vec<WindowCall>, op: CompareOp, most: &[i64]) -> Option<String> {
        let (plan, fired) = partition_top_k(plan(calls, op, most, 1)).expect("fits");
        let text = plan.explain().expect("explains");
        let line = text.lines().find(|line| line.contains("partition_top_k"));
        assert_eq!(fired, line.is_some(), "{text}");
        line.map(|line| line.trim().to_string())
    }

    #[test]
    fn windows_of_numbers_of_rows_get_the_first_rows_only() {
        let number = || call(WindowKind::RowNumber, OVER);
        let rank = || call(WindowKind::Rank, OVER);
        let dense = || call(WindowKind::DenseRank, OVER);
        let found = limit(vec![number(), rank()], CompareOp::Less, 4).expect("first rows");
        assert_eq!(found, "partition_top_k  of: #0  by: #1 DESC NULLS LAST  rows: 3");
        let found = limit(vec![rank(), dense()], CompareOp::Equal, 4).expect("first rows");
        assert!(found.ends_with("rows with peers: 4"), "{found}");
        let found = limit(vec![dense()], CompareOp::LessOrEqual, 1).expect("first rows");
        assert!(found.ends_with("groups of peers: 1"), "{found}");
    }

    #[test]
    fn the_tightest_of_several_conditions_counts() {
        for most in [[100, 1, 7], [1, 100, 7]] {
            let rank = call(WindowKind::Rank, OVER);
            let found = limits(vec![rank], CompareOp::LessOrEqual, &most).expect("first rows");
            assert!(found.ends_with("rows with peers: 1"), "{found}");
        }
    }

    #[test]
    fn windows_that_others_read_or_that_see_rows_behind_get_all_rows() {
        let number = || call(WindowKind::RowNumber, OVER);
        assert_eq!(limit(vec![number()], CompareOp::Greater, 4), None);
        assert_eq!(limit(vec![number()], CompareOp::Less, 1), None);
        assert_eq!(limit(vec![number()], CompareOp::LessOrEqual, -1), None);
        let lead = call(WindowKind::PercentRank, OVER);
        assert_eq!(limit(vec![number(), lead], CompareOp::Less, 4), None);
        let other = call(WindowKind::Rank, Over { partition: 0, order: 2 });
        assert_eq!(limit(vec![number(), other], CompareOp::Less, 4), None);
        let twice = plan(vec![number()], CompareOp::Less, &[4], 2);
        assert!(!partition_top_k(twice).expect("fits").1);
    }
}
