//! From sorted rows to rows with results.
//!
//! ```text
//! merged rows ─► marks of key changes ─► store ─► frames of a block, as soon as they are known
//!                                                   └─► every call's results ─► the block
//! ```
//!
//! Blocks come out as they came in, with more columns. What a block waits for depends on its
//! calls alone: `row_number` for nothing, a running sum over RANGE for the last peer, `ntile` for
//! the end of the partition. What no call reads again is forgotten.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt16Array};

use super::bounds::Bounds;
use super::changes::Changes;
use super::lane::{Lane, Values, marks};
use super::plan::Plan;
use super::store::{Reader, Store};
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::runs::{Check, Merged};

/// The rows of a block whose frames are known.
pub(super) struct Span<'a> {
    /// Position of the first row.
    pub(super) first: u64,
    /// By row, the mark of the key that changes; see `changes`.
    pub(super) marks: &'a [u16],
    /// By number, the frames that calls asked for.
    pub(super) bounds: &'a [Bounds],
}

/// Computes the results of one call.
pub(super) trait Evaluate: Send {
    /// The results of the rows of a block, behind those of the block before.
    ///
    /// # Errors
    /// `Input` for what the function is not defined on, and what reading the store reports.
    fn evaluate(&mut self, span: &Span<'_>, store: &mut Store) -> Result<ArrayRef>;

    /// The first position, of rows before the next block, that is read again.
    fn keeps(&self) -> u64 {
        u64::MAX
    }
}

/// One worker's windows, range after range.
pub(super) struct Evaluation {
    changes: Changes,
    marks: Lane<u16>,
    bounds: Vec<Bounds>,
    calls: Vec<Box<dyn Evaluate>>,
    store: Store,
    /// Columns of the input.
    columns: usize,
    outputs: Vec<Reader>,
    /// Position of the next row that comes out.
    next: u64,
}

impl Evaluation {
    /// # Errors
    /// `Input` when a type cannot be computed with, `OutOfMemory` when the minimum is not there.
    pub(super) fn new(plan: &Plan, memory: Reservation) -> Result<Self> {
        let columns = plan.types.len();
        Ok(Evaluation {
            changes: Changes::new(plan.keys.iter().map(|key| key.column).collect()),
            marks: Lane::new(columns, None, marks()),
            bounds: plan.bounds()?,
            calls: plan.evaluators()?,
            store: Store::new(plan.stored_types(), memory)?,
            columns,
            outputs: (0..columns).map(Reader::new).collect(),
            next: 0,
        })
    }

    /// The rows that come are of another range: they are of other partitions.
    pub(super) fn begin_range(&mut self) {
        self.changes.restart();
        self.store.set_complete(false);
    }

    /// Takes rows of the range.
    ///
    /// # Errors
    /// `OutOfMemory` and `Io` when rows have to be put on tape, and what `check` reports.
    pub(super) fn push(&mut self, merged: Merged, check: Check<'_>) -> Result<()> {
        let Merged { mut columns, rows } = merged;
        let marks = self.changes.mark(&columns, rows)?;
        columns.push(Arc::new(UInt16Array::from(marks)));
        self.store.append(columns, rows, check)
    }

    /// There are no more rows of the range.
    pub(super) fn end_range(&mut self) {
        self.store.set_complete(true);
    }

    /// The columns of the next block with its results, and its rows; `None` when more rows are
    /// needed for that.
    ///
    /// # Errors
    /// What the calls report.
    pub(super) fn next_block(&mut self) -> Result<Option<(Vec<ArrayRef>, usize)>> {
        let first = self.next;
        if first >= self.store.end() {
            return Ok(None);
        }
        let block = self.store.block(first)?;
        // Loads the block: its marks are all at hand then.
        self.marks.get(&mut self.store, first)?;
        let marks = self.marks.values();
        for bounds in &mut self.bounds {
            if !bounds.find(first, marks, &mut self.store)? {
                return Ok(None);
            }
        }
        let span = Span { first, marks, bounds: &self.bounds };
        let mut results = Vec::with_capacity(self.columns + self.calls.len());
        for output in &mut self.outputs {
            results.push(output.piece(&mut self.store, first)?.values().clone());
        }
        for call in &mut self.calls {
            results.push(call.evaluate(&span, &mut self.store)?);
        }
        self.bounds.iter_mut().for_each(Bounds::forget);
        self.next = block.end;
        let bounds = self.bounds.iter().map(Bounds::keeps);
        let keeps = self.calls.iter().map(|call| call.keeps()).chain(bounds).min();
        self.store.forget_before(keeps.unwrap_or(u64::MAX).min(self.next));
        Ok(Some((results, (block.end - block.start) as usize)))
    }
}
