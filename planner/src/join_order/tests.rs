//! The search against brute force, on random graphs.

use super::cost::{self, Costed};
use super::*;

/// A small generator of numbers, so that a failing case can be run again from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % below
    }
}

fn random_graph(seed: u64, relations: usize, spread: u64) -> JoinGraph {
    let mut random = Random(seed);
    let mut graph = JoinGraph::default();
    for _ in 0..relations {
        let base_rows = 10f64.powi(1 + random.next(6) as i32);
        let rows = (base_rows / 10f64.powi(random.next(3) as i32)).max(1.0);
        graph.relations.push(Relation { base_rows, rows });
    }
    let side = |random: &mut Random, relation: usize| {
        let distinct = graph.relations[relation].base_rows / (1 + random.next(9)) as f64;
        Side { relation, distinct }
    };
    for b in 1..relations {
        // A tree, and sometimes one edge more; `spread` is how far back the edges reach.
        for _ in 0..1 + random.next(3) / 2 {
            let a = b - 1 - random.next(spread.min(b as u64)) as usize;
            let class = vec![side(&mut random, a), side(&mut random, b)];
            graph.equalities.push(class);
        }
    }
    if relations > 3 && random.next(2) == 0 {
        let ties = (RelationSet::from_iter([0, 1]), RelationSet::single(relations - 1));
        graph.predicates.push(Predicate {
            relations: ties.0.union(ties.1),
            selectivity: 0.01,
            ties: Some(ties),
        });
    }
    graph
}

/// The cost of the best tree of connected joins, by trying every split of every set.
fn brute_force(graph: &JoinGraph) -> Option<f64> {
    let mut best: std::collections::HashMap<RelationSet, Costed> = Default::default();
    for set in graph.all().subsets() {
        if set.len() == 1 {
            let rows = graph.relations[set.first().expect("not empty")].rows;
            best.insert(set, cost::leaf(rows));
            continue;
        }
        for a in set.subsets() {
            let b = set.minus(a);
            if b.is_empty() || !graph.connects(a, b) {
                continue;
            }
            let (Some(left), Some(right)) = (best.get(&a), best.get(&b)) else { continue };
            let new = cost::join((a, left), (b, right), graph.rows(set), true);
            if best.get(&set).is_none_or(|old| new.cost < old.cost) {
                best.insert(set, new);
            }
        }
    }
    best.get(&graph.all()).map(|costed| costed.cost)
}

fn cost_of(graph: &JoinGraph, tree: &Tree) -> Costed {
    match tree {
        Tree::Leaf(relation) => cost::leaf(graph.relations[*relation].rows),
        Tree::Join(left, right) => {
            let sets = (left.relations(), right.relations());
            let inputs = (cost_of(graph, left), cost_of(graph, right));
            let connected = graph.connects(sets.0, sets.1);
            let rows = graph.rows(sets.0.union(sets.1));
            cost::join((sets.0, &inputs.0), (sets.1, &inputs.1), rows, connected)
        }
    }
}

fn has_cross_product(graph: &JoinGraph, tree: &Tree) -> bool {
    match tree {
        Tree::Leaf(_) => false,
        Tree::Join(left, right) => {
            !graph.connects(left.relations(), right.relations())
                || has_cross_product(graph, left)
                || has_cross_product(graph, right)
        }
    }
}

#[test]
fn the_search_finds_what_brute_force_finds() {
    for seed in 0..300 {
        let relations = 1 + (seed % 7) as usize;
        let graph = random_graph(seed, relations, 1 + seed % 5);
        let tree = order(&graph).expect("a tree");
        assert_eq!(tree.relations(), graph.all(), "seed {seed}");
        let found = cost_of(&graph, &tree).cost;
        let best = brute_force(&graph).expect("connected");
        assert!((found - best).abs() <= best * 1e-9, "seed {seed}: {found} and {best}");
        assert!(!has_cross_product(&graph, &tree), "seed {seed}: {tree:?}");
    }
}

#[test]
fn greedy_joins_all_relations_without_needless_cross_products() {
    for seed in 0..30 {
        let graph = random_graph(seed, 20 + (seed % 40) as usize, 4);
        let tree = order(&graph).expect("a tree");
        assert_eq!(tree.relations(), graph.all());
        let cross = has_cross_product(&graph, &tree);
        assert!(!cross, "seed {seed}: {tree:?}");
    }
}

#[test]
fn separate_parts_are_crossed() {
    let relation = |rows| Relation { base_rows: rows, rows };
    let mut graph = JoinGraph::default();
    assert_eq!(order(&graph), None);
    graph.relations = vec![relation(10.0), relation(1e6), relation(5.0)];
    let tree = order(&graph).expect("a tree");
    assert_eq!(tree.relations(), graph.all());
    graph
        .equalities
        .push(vec![Side { relation: 1, distinct: 10.0 }, Side { relation: 0, distinct: 10.0 }]);
    let tree = order(&graph).expect("a tree");
    assert_eq!(tree.relations(), graph.all());
    let Tree::Join(probe, build) = tree else { panic!("a join") };
    assert_eq!(*build, Tree::Leaf(2));
    assert_eq!(*probe, Tree::Join(Box::new(Tree::Leaf(1)), Box::new(Tree::Leaf(0))));
}

#[test]
fn dense_graphs_fall_back() {
    let relations = 12;
    let sides = (0..relations).map(|relation| Side { relation, distinct: 1e4 });
    let graph = JoinGraph {
        relations: vec![Relation { base_rows: 1e4, rows: 1e4 }; relations],
        equalities: vec![sides.collect()],
        ..JoinGraph::default()
    };
    assert_eq!(dphyp::order(&graph, PAIRS_MAX), None);
    assert_eq!(order(&graph).expect("a tree").relations(), graph.all());
}
