//! Filters: conjunctions of conditions that narrow a chunk's selection.
//!
//! Conditions that cannot fail come first, in an order found while filtering: what a condition
//! costs per row and which share of the rows passes it is measured, and those that drop most rows
//! per nanosecond go first. Conditions that can fail come after all of those, in the order
//! written, and see only rows that passed everything before them. Neither choice depends on
//! timing as far as results and errors go.

use std::time::Instant;

use super::Expr;
use super::compile::{Node, conditions};
use super::pieces::Pieces;
use super::select::select_all;
use super::view::View;
use crate::batch::{Chunk, Selection};
use crate::error::Result;
use crate::memory::Governor;

/// Chunks between two looks at the order.
const REORDER_CHUNKS: u32 = 16;
/// Weight of the newest chunk in the moving averages.
const NEWEST: f64 = 0.125;

/// Conditions that all must be true, and what one worker remembers about them.
pub struct Conjunction {
    conditions: Result<Vec<Condition>>,
    pieces: Pieces,
    chunks: u32,
}

struct Condition {
    node: Node,
    /// Moving averages: nanoseconds a row, and the share of rows that pass.
    cost: f64,
    pass_rate: f64,
}

impl Conjunction {
    /// Prepares conditions in the order written; a condition that is an AND counts as several.
    /// What their functions make has room in a budget. What is wrong with them comes out when rows
    /// are selected.
    pub fn new(exprs: Vec<Expr>, memory: &Governor) -> Conjunction {
        let mut flat = Vec::new();
        exprs.into_iter().for_each(|expr| flatten(expr, &mut flat));
        let conditions = conditions(&flat, false).map(|nodes| {
            let mut conditions: Vec<Condition> = nodes.into_iter().map(Condition::new).collect();
            reorder(&mut conditions);
            conditions
        });
        Conjunction { conditions, pieces: Pieces::new(memory), chunks: 0 }
    }

    /// The live rows of a chunk that pass all conditions; `None` when all do.
    ///
    /// # Errors
    /// `Input` when a condition fails on a row that passed everything before it, `OutOfMemory`
    /// when what a function makes of one row has no room, `Internal` when the conditions do not
    /// fit the chunk.
    pub fn select(&mut self, chunk: &Chunk) -> Result<Option<Selection>> {
        let conditions = match &mut self.conditions {
            Ok(conditions) => conditions,
            Err(error) => return Err(error.clone()),
        };
        self.chunks += 1;
        if self.chunks.is_multiple_of(REORDER_CHUNKS) {
            reorder(conditions);
        }
        let mut select = |from| {
            self.pieces.run(chunk, from, |view| select_all(conditions, view, Condition::select))
        };
        let first = select(0)?;
        if first.rows.is_none() {
            return Ok(first.value);
        }
        let live = chunk.live_rows();
        let mut passed: Vec<u32> = Vec::new();
        let mut piece = first;
        loop {
            let rows = piece.value.or(piece.rows);
            passed.extend(rows.iter().flat_map(|rows| rows.as_slice()));
            if piece.until >= live {
                return Ok((passed.len() < live).then(|| Selection::new(passed)));
            }
            piece = select(piece.until)?;
        }
    }
}

impl Condition {
    fn new(node: Node) -> Condition {
        // As if half of the rows passed, until something is known.
        Condition { cost: node.cost as f64 / 10.0 + 0.5, pass_rate: 0.5, node }
    }

    fn select(&mut self, view: &View<'_>) -> Result<Option<Selection>> {
        let live = view.live();
        let start = Instant::now();
        let selected = self.node.select(view)?;
        if live > 0 {
            let passed = selected.as_ref().map_or(live, Selection::len);
            let nanoseconds = start.elapsed().as_nanos() as f64 / live as f64;
            self.cost += NEWEST * (nanoseconds - self.cost);
            self.pass_rate += NEWEST * (passed as f64 / live as f64 - self.pass_rate);
        }
        Ok(selected)
    }

    /// Rows dropped per nanosecond; the order that drops most first is the cheapest.
    fn rank(&self) -> f64 {
        (1.0 - self.pass_rate) / self.cost.max(0.01)
    }
}

fn reorder(conditions: &mut [Condition]) {
    let movable = conditions.partition_point(|condition| !condition.node.fallible);
    if let Some(conditions) = conditions.get_mut(..movable) {
        conditions.sort_by(|a, b| b.rank().total_cmp(&a.rank()));
    }
}

fn flatten(expr: Expr, into: &mut Vec<Expr>) {
    match expr {
        Expr::And(list) => list.into_iter().for_each(|expr| flatten(expr, into)),
        other => into.push(other),
    }
}
