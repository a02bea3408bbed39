//! Pairs to a chunk, without copying a value of a probe column where that can be helped.
//!
//! * Every live row once: the probe columns stay as they are.
//! * Each row at most once and most of them: a selection.
//! * Otherwise: the probe columns get indices.
//! * Few rows left: the probe columns are copied together, so that the large arrays behind them go
//!   away and later operators read flat columns.

use std::ops::Range;
use std::sync::Arc;

use super::groups::NONE;
use super::matches::Pairs;
use super::shape::{Payload, Shape};
use super::table::Table;
use crate::batch::{COMPACT_BELOW, Chunk, Indices, Selection};
use crate::error::Result;

/// Share of a chunk's physical rows from which on matched rows are selected rather than indexed.
/// Expressions over a selection compute dropped rows too; indices cost a lookup for each column.
const SELECT_FROM: f64 = 0.5;

/// The chunk of these pairs: the output's probe columns, then its build columns. Pairs whose build
/// rows had no room in it are left; the others are gone.
///
/// # Errors
/// `Internal` when the chunk or the table does not have the columns.
pub(super) fn emit(
    shape: &Shape,
    table: &Table,
    input: &Chunk,
    pairs: &mut Pairs,
) -> Result<Chunk> {
    let within = table.within(&shape.build_output, &pairs.build);
    if within < pairs.len() {
        let rest = pairs.split_off(within);
        let given = std::mem::replace(pairs, rest);
        return emit_all(shape, table, input, &given);
    }
    let chunk = emit_all(shape, table, input, pairs);
    pairs.clear();
    chunk
}

fn emit_all(shape: &Shape, table: &Table, input: &Chunk, pairs: &Pairs) -> Result<Chunk> {
    let output = input.project(&shape.probe_output)?;
    let live = input.live_positions();
    let rows = input.rows();
    let increasing = pairs.is_increasing();
    let complete = increasing && pairs.len() == live.len();
    if complete && live.len() == rows {
        let built = table.columns(&shape.build_output, &pairs.build, None)?;
        return Ok(output.widen(built));
    }
    let kept: Vec<u32> = pairs.probe.iter().map(|&row| live[row as usize]).collect();
    if complete || increasing && kept.len() as f64 >= SELECT_FROM * rows as f64 {
        let built = table.columns(&shape.build_output, &pairs.build, Some((&kept, rows)))?;
        let output = if complete { output } else { output.select(Selection::new(kept)) };
        return Ok(output.widen(built));
    }
    let built = table.columns(&shape.build_output, &pairs.build, None)?;
    let thin = (kept.len() as f64) < COMPACT_BELOW * rows as f64;
    let output = output.reindex(&Arc::new(Indices::new(kept)));
    Ok((if thin { output.flatten()? } else { output }).widen(built))
}

/// Pairs with these numbers that have a build row, as a chunk of these columns, for a condition.
///
/// # Errors
/// As [`emit`].
pub(super) fn candidates(
    probe: &[usize],
    build: &[Payload],
    table: &Table,
    input: &Chunk,
    pairs: &Pairs,
    numbers: Range<usize>,
) -> Result<Chunk> {
    let live = input.live_positions();
    let (probe_rows, build_rows) = (&pairs.probe[numbers.clone()], &pairs.build[numbers]);
    let matched = || probe_rows.iter().zip(build_rows).filter(|(_, b)| **b != NONE);
    let rows: Vec<u32> = matched().map(|(&row, _)| live[row as usize]).collect();
    let numbers: Vec<u32> = matched().map(|(_, &number)| number).collect();
    let built = table.columns(build, &numbers, None)?;
    Ok(input.project(probe)?.reindex(&Arc::new(Indices::new(rows))).widen(built))
}
