//! The order of inner joins: a graph of relations in, a tree out. Pure functions.
//!
//! Up to [`EXACT_MAX`] relations the cheapest bushy tree without needless cross products is found
//! by dynamic programming over connected subgraphs (DPhyp); beyond that, and when the graph has so
//! many subgraphs that planning would be felt, pairs are joined greedily.
//!
//! * `relation_set`: sets of relations; `graph`: relations, equalities, cardinalities;
//! * `cost`: what a join costs; `dphyp`: the exact search; `greedy`: the fallback.

mod cost;
mod dphyp;
mod graph;
mod greedy;
mod relation_set;
#[cfg(test)]
mod tests;

pub(crate) use graph::{Equality, JoinGraph, Predicate, Relation, Side};
pub(crate) use relation_set::RelationSet;

/// Relations up to which the search is exact.
pub(crate) const EXACT_MAX: usize = 12;

/// Pairs of connected subgraphs that the exact search looks at before it gives up.
const PAIRS_MAX: usize = 20_000;

/// A join tree over the numbers of relations.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// A relation.
    Leaf(usize),
    /// A join: rows of the left input look up rows of the right one, which is held in memory.
    Join(Box<Tree>, Box<Tree>),
}

#[cfg(test)]
impl Tree {
    /// The relations in the tree.
    pub(crate) fn relations(&self) -> RelationSet {
        match self {
            Tree::Leaf(relation) => RelationSet::single(*relation),
            Tree::Join(left, right) => left.relations().union(right.relations()),
        }
    }
}

/// The cheapest tree that is found over all relations of the graph; `None` without relations.
pub(crate) fn order(graph: &JoinGraph) -> Option<Tree> {
    if graph.relations.len() <= EXACT_MAX
        && let Some(tree) = dphyp::order(graph, PAIRS_MAX)
    {
        return Some(tree);
    }
    greedy::order(graph)
}
