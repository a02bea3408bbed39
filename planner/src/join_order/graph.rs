//! Relations, the equalities between them, and how many rows a set of them joins to.
//!
//! Equalities come as classes: `a.x = b.y` and `b.y = c.z` make one class of three members, so that
//! `a` and `c` can be joined directly. The rows of a set of relations depend on the set alone and
//! not on the order of its joins: relations are added in the order of their numbers, each bringing
//! the equalities that tie it to those before it.
//!
//! How equalities cut: with several members in one pair of relations (a key of several columns)
//! the number of distinct combinations is at most the rows of the relation. When the smaller side
//! holds (nearly) every value once it is taken for a key that the other side refers to: each row
//! of the other side finds one partner. Otherwise the larger number of distinct values decides.

use super::relation_set::RelationSet;

/// A relation that takes part in joins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Relation {
    /// Rows without its own conditions.
    pub(crate) base_rows: f64,
    /// Rows that its conditions leave.
    pub(crate) rows: f64,
}

/// One side of an equality: an expression over one relation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Side {
    /// The relation.
    pub(crate) relation: usize,
    /// Distinct values among its base rows.
    pub(crate) distinct: f64,
}

/// Expressions that are all equal to each other, at most one a relation counted.
pub(crate) type Equality = Vec<Side>;

/// Any other condition over several relations.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Predicate {
    /// The relations it needs.
    pub(crate) relations: RelationSet,
    /// The share of rows it leaves.
    pub(crate) selectivity: f64,
    /// Two sets of relations that it ties together like an equality does (`a.x + b.y = c.z`).
    pub(crate) ties: Option<(RelationSet, RelationSet)>,
}

/// What is to be joined.
#[derive(Debug, Clone, Default)]
pub(crate) struct JoinGraph {
    /// The relations; at most [`RelationSet::CAPACITY`].
    pub(crate) relations: Vec<Relation>,
    /// Classes of equal expressions.
    pub(crate) equalities: Vec<Equality>,
    /// Conditions that are no equality of two relations.
    pub(crate) predicates: Vec<Predicate>,
}

/// A share of distinct values among rows from which on a column is taken for a key.
const KEY_SHARE: f64 = 0.9;

impl JoinGraph {
    /// All relations.
    pub(crate) fn all(&self) -> RelationSet {
        (0..self.relations.len()).collect()
    }

    /// Rows of the join of a set of relations.
    pub(crate) fn rows(&self, set: RelationSet) -> f64 {
        let mut seen = RelationSet::EMPTY;
        let mut rows = 1.0;
        for relation in set.iter() {
            rows *= self.relations[relation].rows * self.cut(seen, relation);
            seen = seen.union(RelationSet::single(relation));
        }
        for predicate in &self.predicates {
            if set.contains_all(predicate.relations) {
                rows *= predicate.selectivity;
            }
        }
        rows.max(1.0)
    }

    /// The share of pairs of rows that the equalities between `seen` and `relation` leave.
    fn cut(&self, seen: RelationSet, relation: usize) -> f64 {
        let mut open: Vec<&Equality> = self
            .equalities
            .iter()
            .filter(|class| {
                class.iter().any(|side| side.relation == relation)
                    && class.iter().any(|side| seen.contains(side.relation))
            })
            .collect();
        let mut share = 1.0;
        while !open.is_empty() {
            let shared = |partner: &usize| {
                open.iter().filter(|class| distinct_of(class, *partner).is_some()).count()
            };
            let Some(partner) = seen.iter().rev().max_by_key(shared) else { break };
            let (now, later): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|class| distinct_of(class, partner).is_some());
            share *= self.pair_share(&now, partner, relation);
            open = later;
        }
        share
    }

    /// The share of pairs that several equalities between two relations leave together.
    fn pair_share(&self, classes: &[&Equality], a: usize, b: usize) -> f64 {
        let values = |relation: usize| {
            let distinct = classes.iter().filter_map(|class| distinct_of(class, relation));
            distinct.product::<f64>().min(self.relations[relation].base_rows).max(1.0)
        };
        let is_key =
            |relation: usize, values: f64| values >= KEY_SHARE * self.relations[relation].base_rows;
        let (of_a, of_b) = (values(a), values(b));
        let (smaller, few, many) = if of_a <= of_b { (a, of_a, of_b) } else { (b, of_b, of_a) };
        1.0 / if is_key(smaller, few) { few } else { many }
    }

    /// Whether an equality (or a condition that ties like one) runs between two sets.
    pub(crate) fn connects(&self, a: RelationSet, b: RelationSet) -> bool {
        let touches =
            |class: &Equality, set: RelationSet| class.iter().any(|s| set.contains(s.relation));
        self.equalities.iter().any(|class| touches(class, a) && touches(class, b))
            || self.predicates.iter().filter_map(|p| p.ties).any(|(x, y)| {
                (a.contains_all(x) && b.contains_all(y)) || (a.contains_all(y) && b.contains_all(x))
            })
    }
}

fn distinct_of(class: &Equality, relation: usize) -> Option<f64> {
    class.iter().find(|side| side.relation == relation).map(|side| side.distinct)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(rows: f64) -> Relation {
        Relation { base_rows: rows, rows }
    }

    fn side(relation: usize, distinct: f64) -> Side {
        Side { relation, distinct }
    }

    #[test]
    fn a_reference_to_a_key_keeps_the_rows_of_the_referrer() {
        let mut graph = JoinGraph {
            relations: vec![relation(6e6), relation(1.5e6)],
            equalities: vec![vec![side(0, 6e6), side(1, 1.5e6)]],
            predicates: vec![],
        };
        assert_eq!(graph.rows(graph.all()), 6e6);
        graph.relations[1].rows = 15.0;
        assert!((graph.rows(graph.all()) - 60.0).abs() < 1e-6);
    }

    #[test]
    fn a_key_of_two_columns_is_capped_by_its_rows() {
        let graph = JoinGraph {
            relations: vec![relation(6e6), relation(8e5)],
            equalities: vec![vec![side(0, 2e5), side(1, 2e5)], vec![side(0, 1e4), side(1, 1e4)]],
            predicates: vec![],
        };
        assert_eq!(graph.rows(graph.all()), 6e6);
    }

    #[test]
    fn classes_of_three_count_two_equalities() {
        let graph = JoinGraph {
            relations: vec![relation(100.0), relation(100.0), relation(100.0)],
            equalities: vec![vec![side(0, 10.0), side(1, 10.0), side(2, 10.0)]],
            predicates: vec![],
        };
        assert!((graph.rows(graph.all()) - 1e6 / 100.0).abs() < 1e-6);
        assert!(graph.connects(RelationSet::single(0), RelationSet::single(2)));
    }
}
