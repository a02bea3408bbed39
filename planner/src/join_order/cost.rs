//! What a join costs, in units of one row looked up.
//!
//! Holding a row (copying it to pages, hashing it, linking it into the table) costs a few times
//! what looking one up costs, and a table that leaves the cache makes each look-up dearer. Rows
//! that come out cost what the operators above do with them.

use super::relation_set::RelationSet;

/// Holding one row, relative to looking one up.
const BUILD: f64 = 2.5;

/// Passing one row on.
const EMIT: f64 = 1.0;

/// Rows of a table that fits the cache; beyond, look-ups get dearer with each doubling.
const CACHED_ROWS: f64 = 32_768.0;
const MISS: f64 = 0.15;

/// Pairs of a cross product cost more than they look: nothing thins them out.
const CROSS: f64 = 10.0;

/// A tree's cost and its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Costed {
    /// Of the whole tree.
    pub(super) cost: f64,
    /// That come out of it.
    pub(super) rows: f64,
    /// Left and right input; `None` for a relation.
    pub(super) inputs: Option<(RelationSet, RelationSet)>,
}

/// The cheaper way round of joining two trees into `rows` rows; the right input is held.
pub(super) fn join(
    a: (RelationSet, &Costed),
    b: (RelationSet, &Costed),
    rows: f64,
    connected: bool,
) -> Costed {
    let (probe, build) = match (a.1.rows, b.1.rows) {
        (x, y) if x > y => (a, b),
        (x, y) if x < y => (b, a),
        // Equal guesses: the written order, left to right.
        _ if a.0.first() <= b.0.first() => (a, b),
        _ => (b, a),
    };
    let misses = (build.1.rows / CACHED_ROWS).max(1.0).log2();
    let lookup = 1.0 + MISS * misses;
    let emit = if connected { EMIT } else { CROSS };
    let own = BUILD * build.1.rows + lookup * probe.1.rows + emit * rows;
    Costed { cost: a.1.cost + b.1.cost + own, rows, inputs: Some((probe.0, build.0)) }
}

/// A relation: reading it costs the same in every tree.
pub(super) fn leaf(rows: f64) -> Costed {
    Costed { cost: 0.0, rows, inputs: None }
}
