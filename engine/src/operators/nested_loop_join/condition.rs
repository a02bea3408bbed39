//! The condition of a join over strips of pairs: one row of one side against rows of the other.

use std::ops::Range;

use arrow::array::{Array, AsArray, BooleanArray};

use super::group_bounds::GroupBounds;
use super::shape::{Condition, Shape};
use super::store::Columns;
use crate::batch::{Chunk, Column, Place, Selection};
use crate::error::{Error, Result};
use crate::expr::{Conjunction, Evaluator, Piece};
use crate::memory::Governor;

/// A condition and what one worker remembers about it.
pub(super) struct Test {
    condition: Condition,
    /// Types of the stored columns that it reads.
    types: Vec<arrow::datatypes::DataType>,
    method: Method,
    /// What rules pairs out or decides about them, unless NULL matters.
    pub(super) bounds: Option<GroupBounds>,
}

enum Method {
    TwoValued(Conjunction),
    ThreeValued(Evaluator),
}

/// What a strip's pairs give, by physical row of the side that is a vector.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// For which the condition is TRUE; `None` when that is all that are live.
    pub(super) passed: Option<Selection>,
    /// For which it is NULL; none when that makes no difference.
    pub(super) unknown: Vec<u32>,
}

impl Outcome {
    /// The outcome of which these are the rows that pass.
    pub(super) fn of(passed: Vec<u32>) -> Self {
        Outcome { passed: Some(Selection::new(passed)), unknown: Vec::new() }
    }

    /// The outcome for the rows of a range as one for all rows.
    fn moved(self, range: Range<usize>) -> Self {
        let first = range.start as u32;
        let passed = match &self.passed {
            Some(passed) => passed.as_slice().iter().map(|row| row + first).collect(),
            None => (first..range.end as u32).collect(),
        };
        let unknown = self.unknown.iter().map(|row| row + first).collect();
        Outcome { passed: Some(Selection::new(passed)), unknown }
    }
}

impl Test {
    /// The test of a join; `None` when all pairs match.
    ///
    /// # Errors
    /// `OutOfMemory` when the query has no room at all.
    pub(super) fn new(shape: &Shape, memory: &Governor) -> Result<Option<Self>> {
        let Some(condition) = shape.condition.clone() else { return Ok(None) };
        let exprs = vec![condition.expr.clone()];
        let method = match shape.null_aware {
            true => Method::ThreeValued(Evaluator::new(&exprs, memory)),
            false => Method::TwoValued(Conjunction::new(exprs, memory)),
        };
        let types = condition.build.iter().map(|&c| shape.types[c].clone()).collect();
        let bounds = match shape.null_aware {
            true => None,
            false => GroupBounds::new(&condition.expr, condition.probe.len(), memory)?,
        };
        Ok(Some(Test { condition, types, method, bounds }))
    }

    /// The columns of a probe chunk that the condition reads.
    pub(super) fn of_probe(&self, input: &Chunk) -> Result<Chunk> {
        input.project(&self.condition.probe)
    }

    /// The stored columns that the condition reads, of a group.
    pub(super) fn of_build(&self, arrays: &Columns) -> Vec<Column> {
        let columns = self.condition.build.iter().zip(&self.types);
        columns.map(|(&stored, t)| Column::flat(t.clone(), arrays[stored].clone())).collect()
    }

    /// One probe row, `row` of `probe`, against the rows of `build` in `range`, of `rows`.
    pub(super) fn probe_row(
        &mut self,
        (probe, row): (&Chunk, usize),
        build: &[Column],
        range: Range<usize>,
        rows: usize,
    ) -> Result<Outcome> {
        let constants = probe.columns().iter().map(|column| column.constant_of(row));
        if range.len() == rows {
            let columns = constants.chain(build.iter().cloned()).collect();
            return self.run(&Chunk::new(columns, rows, Place::default()));
        }
        let build = build.iter().map(|column| column.slice(range.start, range.len()));
        let columns = constants.chain(build).collect();
        let outcome = self.run(&Chunk::new(columns, range.len(), Place::default()))?;
        Ok(outcome.moved(range))
    }

    /// One build row, `row` of `build`, against the live rows of `probe`.
    pub(super) fn build_row(
        &mut self,
        probe: &Chunk,
        build: &[Column],
        row: usize,
    ) -> Result<Outcome> {
        let constants = build.iter().map(|column| column.constant_of(row));
        self.run(&probe.clone().widen(constants))
    }

    fn run(&mut self, chunk: &Chunk) -> Result<Outcome> {
        match &mut self.method {
            Method::TwoValued(conjunction) => {
                Ok(Outcome { passed: conjunction.select(chunk)?, unknown: Vec::new() })
            }
            Method::ThreeValued(evaluator) => {
                let (mut passed, mut unknown, mut from) = (Vec::new(), Vec::new(), 0);
                while from < chunk.live_rows() {
                    let piece = evaluator.evaluate(chunk, from)?;
                    let Piece { value: columns, rows, until } = piece;
                    let [column] = &columns[..] else {
                        return Err(Error::internal("a condition has one value a row"));
                    };
                    let values = column.to_array(chunk.rows())?;
                    let live = rows.as_ref().map_or(chunk.live_positions(), Selection::as_slice);
                    by_value(values.as_boolean(), live, &mut passed, &mut unknown);
                    from = until;
                }
                Ok(Outcome { passed: Some(Selection::new(passed)), unknown })
            }
        }
    }
}

/// The live rows for which a condition is TRUE, and those for which it is NULL.
fn by_value(values: &BooleanArray, live: &[u32], passed: &mut Vec<u32>, unknown: &mut Vec<u32>) {
    let is_true = |&&row: &&u32| values.is_valid(row as usize) && values.value(row as usize);
    passed.extend(live.iter().filter(is_true));
    if values.null_count() > 0 {
        unknown.extend(live.iter().filter(|&&row| values.is_null(row as usize)));
    }
}
