//! DPhyp: dynamic programming over pairs of connected subgraphs of a hypergraph (Moerkotte and
//! Neumann, "Dynamic Programming Strikes Back").
//!
//! Every connected set of relations is grown from its smallest member, every connected complement
//! likewise, so that each pair is met once and sets come before those that contain them. A graph
//! of several components gets cross products between the components, smallest results first.
//!
//! Invariant 1: when a pair is costed, the best trees of both its sets are in the table.

use hashbrown::HashMap;

use super::Tree;
use super::cost::{self, Costed};
use super::graph::JoinGraph;
use super::relation_set::RelationSet;

/// An edge between two sets; simple when both have one member.
type Edge = (RelationSet, RelationSet);

struct Search<'a> {
    graph: &'a JoinGraph,
    /// Relations tied to each relation by simple edges.
    simple: Vec<RelationSet>,
    complex: Vec<Edge>,
    best: HashMap<RelationSet, Costed>,
    pairs_left: usize,
}

/// The cheapest tree; `None` when the graph is empty or has more than `pairs_max` pairs.
pub(super) fn order(graph: &JoinGraph, pairs_max: usize) -> Option<Tree> {
    let mut search = Search::new(graph, pairs_max);
    search.solve()?;
    let root = search.join_components()?;
    search.tree(root)
}

impl<'a> Search<'a> {
    fn new(graph: &'a JoinGraph, pairs_max: usize) -> Self {
        let mut simple = vec![RelationSet::EMPTY; graph.relations.len()];
        for class in &graph.equalities {
            let members: RelationSet = class.iter().map(|side| side.relation).collect();
            for member in members.iter() {
                let others = members.minus(RelationSet::single(member));
                simple[member] = simple[member].union(others);
            }
        }
        let complex = graph.predicates.iter().filter_map(|predicate| predicate.ties).collect();
        let leaves = graph.relations.iter().enumerate();
        let best = leaves.map(|(r, it)| (RelationSet::single(r), cost::leaf(it.rows))).collect();
        Search { graph, simple, complex, best, pairs_left: pairs_max }
    }

    /// Fills the table; `None` when there are too many pairs.
    fn solve(&mut self) -> Option<()> {
        for relation in (0..self.graph.relations.len()).rev() {
            let set = RelationSet::single(relation);
            self.emit_subgraph(set)?;
            self.grow_subgraph(set, RelationSet::up_to(relation))?;
        }
        Some(())
    }

    /// What a set is tied to outside `excluded`: of each edge's far side its smallest member.
    fn neighbours(&self, set: RelationSet, excluded: RelationSet) -> RelationSet {
        let outside = |far: RelationSet| !far.intersects(set) && !far.intersects(excluded);
        let near = set.iter().fold(RelationSet::EMPTY, |all, r| all.union(self.simple[r]));
        let mut found = near.minus(set).minus(excluded);
        for &(a, b) in &self.complex {
            for (near, far) in [(a, b), (b, a)] {
                if set.contains_all(near) && outside(far) && !far.intersects(found) {
                    found = far.first().map_or(found, |f| found.union(RelationSet::single(f)));
                }
            }
        }
        found
    }

    fn grow_subgraph(&mut self, set: RelationSet, excluded: RelationSet) -> Option<()> {
        let neighbours = self.neighbours(set, excluded);
        for more in neighbours.subsets() {
            if self.best.contains_key(&set.union(more)) {
                self.emit_subgraph(set.union(more))?;
            }
        }
        let excluded = excluded.union(neighbours);
        for more in neighbours.subsets() {
            self.grow_subgraph(set.union(more), excluded)?;
        }
        Some(())
    }

    /// Meets every connected complement of a connected set.
    fn emit_subgraph(&mut self, set: RelationSet) -> Option<()> {
        let below = RelationSet::up_to(set.first()?);
        let excluded = below.union(set);
        let neighbours = self.neighbours(set, excluded);
        for relation in neighbours.iter().rev() {
            let other = RelationSet::single(relation);
            if self.is_tied(set, other) {
                self.emit_pair(set, other)?;
            }
            let smaller = RelationSet::up_to(relation);
            let taken = neighbours.iter().filter(|&r| smaller.contains(r)).collect();
            self.grow_complement(set, other, excluded.union(taken))?;
        }
        Some(())
    }

    fn grow_complement(
        &mut self,
        set: RelationSet,
        other: RelationSet,
        excluded: RelationSet,
    ) -> Option<()> {
        let neighbours = self.neighbours(other, excluded.union(set));
        for more in neighbours.subsets() {
            let grown = other.union(more);
            if self.best.contains_key(&grown) && self.is_tied(set, grown) {
                self.emit_pair(set, grown)?;
            }
        }
        let excluded = excluded.union(neighbours);
        for more in neighbours.subsets() {
            self.grow_complement(set, other.union(more), excluded)?;
        }
        Some(())
    }

    fn is_tied(&self, a: RelationSet, b: RelationSet) -> bool {
        a.iter().any(|relation| self.simple[relation].intersects(b))
            || self.complex.iter().any(|&(x, y)| {
                (a.contains_all(x) && b.contains_all(y)) || (a.contains_all(y) && b.contains_all(x))
            })
    }

    fn emit_pair(&mut self, a: RelationSet, b: RelationSet) -> Option<()> {
        self.pairs_left = self.pairs_left.checked_sub(1)?;
        self.consider(a, b, true)
    }

    /// Keeps the join of two solved sets when it is the cheapest of their union.
    fn consider(&mut self, a: RelationSet, b: RelationSet, connected: bool) -> Option<()> {
        let both = a.union(b);
        let (left, right) = (self.best.get(&a)?, self.best.get(&b)?);
        let rows = self.best.get(&both).map_or_else(|| self.graph.rows(both), |old| old.rows);
        let new = cost::join((a, left), (b, right), rows, connected);
        if self.best.get(&both).is_none_or(|old| new.cost < old.cost) {
            self.best.insert(both, new);
        }
        Some(())
    }

    /// Crosses the largest solved sets that are disjoint, until one holds all relations.
    fn join_components(&mut self) -> Option<RelationSet> {
        let mut parts: Vec<RelationSet> = Vec::new();
        let mut sets: Vec<RelationSet> = self.best.keys().copied().collect();
        sets.sort_by_key(|set| (std::cmp::Reverse(set.len()), *set));
        for set in sets {
            if !parts.iter().any(|part| part.intersects(set)) {
                parts.push(set);
            }
        }
        parts.sort_by(|a, b| self.graph.rows(*a).total_cmp(&self.graph.rows(*b)).then(a.cmp(b)));
        let mut parts = parts.into_iter();
        let mut root = parts.next()?;
        for part in parts {
            self.consider(root, part, false)?;
            root = root.union(part);
        }
        Some(root)
    }

    fn tree(&self, set: RelationSet) -> Option<Tree> {
        match self.best.get(&set)?.inputs {
            None => set.first().map(Tree::Leaf),
            Some((left, right)) => {
                Some(Tree::Join(Box::new(self.tree(left)?), Box::new(self.tree(right)?)))
            }
        }
    }
}
