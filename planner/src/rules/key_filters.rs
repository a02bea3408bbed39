//! `push_key_filters`: what a join knows about its keys travels to the scans of its probe side.
//!
//! An inner or semi join drops probe rows whose keys its build side does not have. Once that side
//! is done, the join publishes its keys, and the scans that the probe side's keys come from leave
//! such rows out before they decode other columns. A key is followed down as long as it is an
//! unchanged column: through projections, filters, sorts, unions, group-by keys, the partition keys
//! of windows, and other joins. Where it equals a key of the other input of a join on the way, that
//! input is thinned out too.
//!
//! Where a key cannot be followed to the scan of a file, a `key_filter` is put at the lowest place
//! it reaches, provided that a join or a group-by is spared rows by it.
//!
//! Sound: a row that is left out has a key without partner, and so has everything made from it; the
//! join that publishes drops it in any case. Of a join that keeps rows without match, the build
//! side is thinned out only by the join's own keys: probe rows that lose their partner that way
//! have a key that is dropped further up. Where build rows without match come out, with NULL for
//! the probe columns, those columns do not thin out the probe side: rows that lose their partner
//! that way would come out, and a join that takes NULL for equal may keep them. A node with several
//! readers is left alone, since the others want all its rows, and so is what is below a limit,
//! which counts rows.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use gristmill_engine::Result;
use gristmill_engine::batch::{KeyFilterId, KeyFilterUse};
use gristmill_engine::expr::Expr;
use gristmill_engine::operators::{
    Filter, HashAggregate, HashJoin, KeyFilters, NestedLoopJoin, Project, Sort, Union, Window,
};
use gristmill_engine::plan::{Node, NodeId, Plan, Spec};
use gristmill_engine::sources::csv::CsvScan;
use gristmill_engine::sources::files::FilesScan;
use gristmill_engine::sources::parquet::ParquetScan;

/// The rule's name in explain.
pub(crate) const PUSH_KEY_FILTERS: &str = "push_key_filters";

/// The plan with key filters, and whether there are any.
///
/// # Errors
/// `Internal` when the plan does not fit together.
pub(crate) fn push_key_filters(plan: Plan) -> Result<(Plan, bool)> {
    let mut pushing = Pushing {
        plan: &plan,
        readers: plan.readers(),
        scans: HashMap::new(),
        edges: HashMap::new(),
        found: false,
    };
    let mut publishers = HashMap::new();
    for (number, node) in plan.nodes().iter().enumerate() {
        let Some(join) = as_spec::<HashJoin>(node) else { continue };
        let id = KeyFilterId(u32::try_from(publishers.len()).unwrap_or(u32::MAX));
        if join.publishes.is_some()
            || !join.kind.drops_unmatched_probe()
            || join.probe_keys.is_empty()
        {
            continue;
        }
        pushing.found = false;
        let edge = Edge { reader: NodeId(number), input: 0 };
        pushing.push(&KeyFilterUse { id, columns: join.probe_keys.clone() }, edge, false)?;
        if pushing.found {
            publishers.insert(NodeId(number), id);
        }
    }
    let (scans, edges) = (pushing.scans, pushing.edges);
    if publishers.is_empty() {
        return Ok((plan, false));
    }
    Ok((rebuilt(&plan, &publishers, &scans, &edges)?, true))
}

/// One input of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Edge {
    reader: NodeId,
    input: usize,
}

struct Pushing<'a> {
    plan: &'a Plan,
    readers: Vec<usize>,
    /// Filters that scans apply.
    scans: HashMap<NodeId, Vec<KeyFilterUse>>,
    /// Filters between two nodes.
    edges: HashMap<Edge, Vec<KeyFilterUse>>,
    /// Whether the filter at hand is used anywhere.
    found: bool,
}

impl Pushing<'_> {
    /// Pushes a filter, over the columns of what `edge` reads, as far as it goes. `pays` says that
    /// a join or a group-by is above.
    fn push(&mut self, filter: &KeyFilterUse, edge: Edge, pays: bool) -> Result<()> {
        let plan = self.plan;
        let Some(&id) = plan.node(edge.reader)?.inputs.get(edge.input) else { return Ok(()) };
        let node = plan.node(id)?;
        if self.readers.get(id.0).is_some_and(|&readers| readers > 1) {
            self.rest(filter, edge, pays);
            return Ok(());
        }
        let below = |input| Edge { reader: id, input };
        let is_scan = as_spec::<ParquetScan>(node).is_some()
            || as_spec::<CsvScan>(node).is_some()
            || as_spec::<FilesScan>(node).is_some();
        if is_scan {
            self.scans.entry(id).or_default().push(filter.clone());
            self.found = true;
            return Ok(());
        }
        if as_spec::<Filter>(node).is_some() || as_spec::<Sort>(node).is_some() {
            return self.push(filter, below(0), pays);
        }
        if as_spec::<Union>(node).is_some() {
            return (0..node.inputs.len()).try_for_each(|i| self.push(filter, below(i), pays));
        }
        if let Some(project) = as_spec::<Project>(node)
            && let Some(inner) = follow(filter, |c| column_of(project.exprs.get(c)?))
        {
            return self.push(&inner, below(0), pays);
        }
        // A partition has all its rows or none.
        if let Some(window) = as_spec::<Window>(node)
            && let Some(inner) = follow(filter, |column| of_partitions(window, column))
        {
            return self.push(&inner, below(0), true);
        }
        if let Some(aggregate) = as_spec::<HashAggregate>(node)
            && let Some(inner) = follow(filter, |c| aggregate.keys.get(c).copied())
        {
            return self.push(&inner, below(0), true);
        }
        if let Some(join) = as_spec::<HashJoin>(node) {
            let sides = [of_probe(join, filter), of_build(join, filter)];
            if sides.iter().all(Option::is_none) {
                self.rest(filter, edge, pays);
            }
            for (input, inner) in sides.into_iter().enumerate() {
                if let Some(inner) = inner {
                    self.push(&inner, below(input), true)?;
                }
            }
            return Ok(());
        }
        if let Some(join) = as_spec::<NestedLoopJoin>(node) {
            for (input, build) in [(0, false), (1, true)] {
                if let Some(inner) = of_nested(join, filter, build) {
                    return self.push(&inner, below(input), true);
                }
            }
        }
        self.rest(filter, edge, pays);
        Ok(())
    }

    /// Leaves a filter between two nodes when that saves work further up.
    fn rest(&mut self, filter: &KeyFilterUse, edge: Edge, pays: bool) {
        if pays {
            self.edges.entry(edge).or_default().push(filter.clone());
            self.found = true;
        }
    }
}

fn as_spec<S: Spec>(node: &Node) -> Option<&S> {
    let spec: &dyn Any = node.spec.as_ref();
    spec.downcast_ref()
}

/// The filter over the columns that `place` finds for its own, when it finds all.
fn follow(filter: &KeyFilterUse, place: impl Fn(usize) -> Option<usize>) -> Option<KeyFilterUse> {
    let columns = filter.columns.iter().map(|&column| place(column));
    Some(KeyFilterUse { id: filter.id, columns: columns.collect::<Option<_>>()? })
}

/// A column of a window that is a key of the partitions of all its calls.
fn of_partitions(window: &Window, column: usize) -> Option<usize> {
    let shared = window.calls.iter().map(|call| call.over.partition).min()?;
    let keys = window.keys.get(..shared)?;
    keys.iter().any(|key| key.column == column).then_some(column)
}

fn column_of(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column { index, .. } => Some(*index),
        _ => None,
    }
}

/// A filter over a join's output as one over its probe side. A build column that is a key stands
/// for the probe side's where rows of that side without match do not come out.
fn of_probe(join: &HashJoin, filter: &KeyFilterUse) -> Option<KeyFilterUse> {
    follow(filter, |column| {
        let Some(build) = column.checked_sub(join.probe_output.len()) else {
            let column = join.probe_output.get(column).copied();
            return column.filter(|_| !join.kind.adds_nulls_to_probe());
        };
        let build = *join.build_output.get(build)?;
        let key = join.build_keys.iter().position(|&key| key == build)?;
        let equal = join.probe_keys.get(key).copied();
        equal.filter(|_| join.kind.drops_unmatched_probe())
    })
}

/// A filter over a join's output as one over its build side. A probe column that is a key stands
/// for the build side's, unless it is NULL beside build rows without match. For a null-aware join
/// rows that equal no key matter too: IN is NULL, not FALSE, where one of them is NULL.
fn of_build(join: &HashJoin, filter: &KeyFilterUse) -> Option<KeyFilterUse> {
    if join.null_aware {
        return None;
    }
    follow(filter, |column| {
        if let Some(build) = column.checked_sub(join.probe_output.len()) {
            let column = join.build_output.get(build).copied();
            return column.filter(|_| !join.kind.adds_nulls_to_build());
        }
        let probe = *join.probe_output.get(column)?;
        let key = join.probe_keys.iter().position(|&key| key == probe)?;
        join.build_keys.get(key).copied().filter(|_| !join.kind.adds_nulls_to_probe())
    })
}

/// A filter over the output of a join without keys as one over its probe side, or its build side.
fn of_nested(join: &NestedLoopJoin, filter: &KeyFilterUse, build: bool) -> Option<KeyFilterUse> {
    let (kind, width) = (join.kind, join.probe_output.len());
    follow(filter, |column| match (column.checked_sub(width), build) {
        (None, false) => {
            let column = join.probe_output.get(column).copied();
            column.filter(|_| !kind.adds_nulls_to_probe())
        }
        (Some(column), true) => {
            let column = join.build_output.get(column).copied();
            column.filter(|_| !kind.adds_nulls_to_build())
        }
        _ => None,
    })
}

fn rebuilt(
    plan: &Plan,
    publishers: &HashMap<NodeId, KeyFilterId>,
    scans: &HashMap<NodeId, Vec<KeyFilterUse>>,
    edges: &HashMap<Edge, Vec<KeyFilterUse>>,
) -> Result<Plan> {
    let mut out = Plan::new();
    let mut moved: Vec<NodeId> = Vec::with_capacity(plan.nodes().len());
    for (number, node) in plan.nodes().iter().enumerate() {
        let id = NodeId(number);
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (input, below) in node.inputs.iter().enumerate() {
            let mut below = moved[below.0];
            if let Some(filters) = edges.get(&Edge { reader: id, input }) {
                below = out.add(Arc::new(KeyFilters { filters: filters.clone() }), &[below])?;
            }
            inputs.push(below);
        }
        let spec = with_filters(node, publishers.get(&id), scans.get(&id));
        let added = out.add(spec, &inputs)?;
        if let Some(estimate) = &node.estimate {
            out.estimate(added, estimate.clone());
        }
        moved.push(added);
    }
    Ok(out)
}

fn with_filters(
    node: &Node,
    publishes: Option<&KeyFilterId>,
    reads: Option<&Vec<KeyFilterUse>>,
) -> Arc<dyn Spec> {
    if let (Some(join), Some(&id)) = (as_spec::<HashJoin>(node), publishes) {
        return Arc::new(HashJoin { publishes: Some(id), ..join.clone() });
    }
    if let (Some(scan), Some(filters)) = (as_spec::<ParquetScan>(node), reads) {
        let mut scan = scan.clone();
        scan.key_filters.extend_from_slice(filters);
        return Arc::new(scan);
    }
    if let (Some(scan), Some(filters)) = (as_spec::<CsvScan>(node), reads) {
        let mut scan = scan.clone();
        scan.key_filters.extend_from_slice(filters);
        return Arc::new(scan);
    }
    if let (Some(scan), Some(filters)) = (as_spec::<FilesScan>(node), reads) {
        let mut scan = scan.clone();
        scan.key_filters.extend_from_slice(filters);
        return Arc::new(scan);
    }
    node.spec.clone()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use gristmill_engine::expr::{AggregateCall, AggregateKind};
    use gristmill_engine::operators::{JoinKind, Limit};

    use super::*;

    fn scan(plan: &mut Plan, names: [&str; 2]) -> NodeId {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Schema::new(names.map(field).to_vec());
        plan.add(Arc::new(ParquetScan::new(Vec::new(), &schema)), &[]).expect("a scan")
    }

    fn join(plan: &mut Plan, kind: JoinKind, inputs: [NodeId; 2], keys: [usize; 2]) -> NodeId {
        let widths = inputs.map(|id| plan.node(id).expect("a node").schema.fields().len());
        let spec = HashJoin {
            kind,
            probe_keys: vec![keys[0]],
            build_keys: vec![keys[1]],
            residual: None,
            probe_output: (0..widths[0]).collect(),
            build_output: if kind.has_build_columns() { (0..widths[1]).collect() } else { vec![] },
            null_equals_null: false,
            null_aware: false,
            publishes: None,
        };
        plan.add(Arc::new(spec), &inputs).expect("a join")
    }

    fn explained(plan: Plan) -> (String, bool) {
        let (plan, fired) = push_key_filters(plan).expect("pushes");
        (plan.explain().expect("explains"), fired)
    }

    fn line<'a>(text: &'a str, with: &str) -> &'a str {
        text.lines().find(|line| line.contains(with)).unwrap_or_else(|| panic!("{with}\n{text}"))
    }

    #[test]
    fn filters_go_through_projections_groups_and_joins_to_all_equal_keys() {
        let mut plan = Plan::new();
        let (a, b) = (scan(&mut plan, ["a0", "a1"]), scan(&mut plan, ["b0", "b1"]));
        let pairs = join(&mut plan, JoinKind::Left, [a, b], [0, 0]);
        let exprs = vec![Expr::column(0, DataType::Int64), Expr::column(3, DataType::Int64)];
        let names = vec!["k".into(), "v".into()];
        let project = plan.add(Arc::new(Project { exprs, names }), &[pairs]).expect("fits");
        let sum = AggregateCall {
            function: AggregateKind::Sum,
            arguments: vec![1],
            filter: None,
            data_type: DataType::Int64,
        };
        let names = vec!["k".into(), "sum".into()];
        let groups = HashAggregate { keys: vec![0], aggregates: vec![sum], names };
        let groups = plan.add(Arc::new(groups), &[project]).expect("fits");
        let c = scan(&mut plan, ["c0", "c1"]);
        join(&mut plan, JoinKind::Inner, [groups, c], [0, 1]);
        let (text, fired) = explained(plan);
        assert!(fired && text.starts_with("hash_join  kind: inner"), "{text}");
        assert!(text.lines().next().is_some_and(|top| top.ends_with("publishes filter: 0")));
        assert!(line(&text, "columns: a0").ends_with("filter: 0 on #0"), "{text}");
        assert!(line(&text, "columns: b0").ends_with("filter: 0 on #0"), "{text}");
        assert!(!line(&text, "columns: c0").contains("filter"), "{text}");
    }

    #[test]
    fn columns_that_are_null_beside_rows_without_match_are_not_followed() {
        for kind in [JoinKind::Right, JoinKind::Full] {
            for (column, reaches) in [(1, None), (3, Some("columns: b0"))] {
                let mut plan = Plan::new();
                let (a, b) = (scan(&mut plan, ["a0", "a1"]), scan(&mut plan, ["b0", "b1"]));
                let pairs = join(&mut plan, kind, [a, b], [0, 0]);
                let c = scan(&mut plan, ["c0", "c1"]);
                join(&mut plan, JoinKind::Inner, [pairs, c], [column, 1]);
                let (text, _) = explained(plan);
                let own = line(&text, "columns: b0").contains("filter: ");
                assert_eq!(own, reaches.is_some() && kind == JoinKind::Right, "{kind:?}\n{text}");
                assert!(!line(&text, "columns: a0").ends_with("on #1"), "{kind:?}\n{text}");
            }
        }
    }

    #[test]
    fn computed_keys_and_kept_rows_get_none() {
        let mut plan = Plan::new();
        let (a, b) = (scan(&mut plan, ["a0", "a1"]), scan(&mut plan, ["b0", "b1"]));
        join(&mut plan, JoinKind::Left, [a, b], [0, 0]);
        assert!(!explained(plan).1);

        let mut plan = Plan::new();
        let (a, b) = (scan(&mut plan, ["a0", "a1"]), scan(&mut plan, ["b0", "b1"]));
        let exprs = vec![Expr::Negate(Box::new(Expr::column(0, DataType::Int64)))];
        let names = vec!["k".into()];
        let project = plan.add(Arc::new(Project { exprs, names }), &[a]).expect("fits");
        join(&mut plan, JoinKind::Semi, [project, b], [0, 0]);
        assert!(!explained(plan).1);
    }

    #[test]
    fn shared_nodes_and_limits_are_filtered_above_where_that_spares_a_join() {
        for shared in [false, true] {
            let mut plan = Plan::new();
            let a = scan(&mut plan, ["a0", "a1"]);
            let a = match shared {
                true => a,
                false => {
                    let limit = Limit { offset: 0, count: Some(9) };
                    plan.add(Arc::new(limit), &[a]).expect("fits")
                }
            };
            let b = if shared { a } else { scan(&mut plan, ["b0", "b1"]) };
            let semi = join(&mut plan, JoinKind::Anti, [a, b], [0, 0]);
            let c = scan(&mut plan, ["c0", "c1"]);
            join(&mut plan, JoinKind::Inner, [semi, c], [1, 1]);
            let (text, fired) = explained(plan);
            assert!(fired && !line(&text, "columns: a0").contains("filter"), "{text}");
            assert!(line(&text, "key_filter").ends_with("filter: 0 on #1"), "{text}");
        }
    }
}
