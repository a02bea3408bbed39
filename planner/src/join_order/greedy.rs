//! Greedy operator ordering: of all pairs of trees the one whose join gives the fewest rows is
//! joined next, connected pairs before cross products.

use super::Tree;
use super::cost::{self, Costed};
use super::graph::JoinGraph;
use super::relation_set::RelationSet;

struct Part {
    set: RelationSet,
    costed: Costed,
    tree: Tree,
}

/// A tree over all relations; `None` without relations.
pub(super) fn order(graph: &JoinGraph) -> Option<Tree> {
    let leaves = graph.relations.iter().enumerate();
    let mut parts: Vec<Part> = leaves
        .map(|(number, relation)| Part {
            set: RelationSet::single(number),
            costed: cost::leaf(relation.rows),
            tree: Tree::Leaf(number),
        })
        .collect();
    while parts.len() > 1 {
        let (a, b, rows, connected) = next_pair(graph, &parts)?;
        let second = parts.remove(b.max(a));
        let first = parts.remove(a.min(b));
        let both = first.set.union(second.set);
        let joined =
            cost::join((first.set, &first.costed), (second.set, &second.costed), rows, connected);
        let first_probes = joined.inputs.is_some_and(|(probe, _)| probe == first.set);
        let (probe, build) =
            if first_probes { (first.tree, second.tree) } else { (second.tree, first.tree) };
        let tree = Tree::Join(Box::new(probe), Box::new(build));
        parts.push(Part { set: both, costed: joined, tree });
    }
    parts.pop().map(|part| part.tree)
}

/// The connected pair with the fewest rows, or the pair with the fewest rows.
fn next_pair(graph: &JoinGraph, parts: &[Part]) -> Option<(usize, usize, f64, bool)> {
    let mut best: Option<(usize, usize, f64, bool)> = None;
    for a in 0..parts.len() {
        for b in a + 1..parts.len() {
            let connected = graph.connects(parts[a].set, parts[b].set);
            if best.is_some_and(|(.., best_connected)| best_connected && !connected) {
                continue;
            }
            let rows = graph.rows(parts[a].set.union(parts[b].set));
            let better = best.is_none_or(|(_, _, fewest, best_connected)| {
                (connected && !best_connected) || rows < fewest
            });
            if better {
                best = Some((a, b, rows, connected));
            }
        }
    }
    best
}
