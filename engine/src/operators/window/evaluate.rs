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
//!
//! Where results are texts or lists, a block comes out in parts: a call computes results for as
//! many rows as take little memory, or for a single one, and what one call has computed for more
//! rows than another waits until they come out.
//!
//! Memory: results whose type does not say their bytes are charged from when they are made until
//! the rows behind them are asked for.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt16Array};
use arrow::datatypes::DataType;

use super::bounds::Bounds;
use super::changes::Changes;
use super::lane::{Lane, Values, marks};
use super::plan::Plan;
use super::store::{Reader, Store};
use crate::batch::{Column, Indices};
use crate::error::{Error, Result};
use crate::expr::{content_bytes, is_fixed};
use crate::memory::Reservation;
use crate::memory::runs::{Check, Merged};

/// What results of a type that does not say their bytes may take, of all calls together; a single
/// row may take more.
const RESULT_BYTES: usize = 512 << 10;

/// What a worker needs for results of types that do not say their bytes.
pub(super) fn result_bytes(plan: &Plan) -> usize {
    let mut results = plan.schema.fields().iter().skip(plan.types.len());
    let some_long = results.any(|field| !is_fixed(field.data_type()));
    if some_long { RESULT_BYTES } else { 0 }
}

/// Rows of a block whose frames are known.
pub(super) struct Span<'a> {
    /// Position of the first row.
    pub(super) first: u64,
    /// By row, the mark of the key that changes; see `changes`.
    pub(super) marks: &'a [u16],
    /// What results of a type that does not say their bytes may take, of several rows together.
    pub(super) bytes: usize,
    /// By number, the frames that calls asked for, of the whole block.
    bounds: &'a [Bounds],
    /// Rows of the block before the first.
    offset: usize,
}

impl Span<'_> {
    /// The frames of a number: by row, where it begins, and what is behind its last row, which for
    /// an empty one may be before its start.
    pub(super) fn frames(
        &self,
        number: usize,
    ) -> impl ExactSizeIterator<Item = (u64, u64)> + DoubleEndedIterator + '_ {
        let rows = self.offset..self.offset + self.marks.len();
        let bounds = &self.bounds[number];
        let (starts, ends) = (&bounds.starts()[rows.clone()], &bounds.ends()[rows]);
        starts.iter().copied().zip(ends.iter().copied())
    }

    /// The frame of one row, counted from the first.
    pub(super) fn frame(&self, number: usize, row: usize) -> (u64, u64) {
        let (bounds, row) = (&self.bounds[number], self.offset + row);
        (bounds.starts()[row], bounds.ends()[row])
    }
}

/// Results of consecutive rows, as physical arrays.
pub(super) enum Results {
    /// One by row.
    Flat(ArrayRef),
    /// By row, where its result is in the array.
    Shared(ArrayRef, Indices),
}

impl Results {
    /// One by row.
    pub(super) fn of(array: impl Array + 'static) -> Self {
        Results::Flat(Arc::new(array))
    }

    fn into_column(self, logical: &DataType) -> Column {
        match self {
            Results::Flat(array) => Column::flat(logical.clone(), array),
            Results::Shared(base, indices) => {
                Column::indexed(logical.clone(), Arc::new(indices), base, None)
            }
        }
    }
}

/// Results of one call for the rows that come out next.
struct Computed {
    logical: DataType,
    /// Whether the type says how many bytes they take.
    is_fixed: bool,
    column: Column,
    rows: usize,
    /// What is charged for them, and for those that came out last.
    bytes: usize,
}

impl Computed {
    fn none(logical: &DataType) -> Self {
        let (is_fixed, column) = (is_fixed(logical), Column::null(logical.clone()));
        Computed { logical: logical.clone(), is_fixed, column, rows: 0, bytes: 0 }
    }

    /// Takes results that `call` computes of the rows of a span.
    fn refill(
        &mut self,
        call: &mut dyn Evaluate,
        span: &Span<'_>,
        store: &mut Store,
    ) -> Result<()> {
        let column = call.evaluate(span, store)?.into_column(&self.logical);
        self.rows = column.rows().unwrap_or(0);
        if self.rows == 0 || self.rows > span.marks.len() {
            let (got, asked) = (self.rows, span.marks.len());
            return Err(Error::internal(format!("a window has {got} results of {asked} rows")));
        }
        if !self.is_fixed {
            self.bytes = content_bytes(column.values());
            store.make_room(self.bytes)?;
        }
        self.column = column;
        Ok(())
    }

    /// Takes the results of the first rows out.
    fn take(&mut self, rows: usize) -> Column {
        if rows == self.rows {
            self.rows = 0;
            return std::mem::replace(&mut self.column, Column::null(self.logical.clone()));
        }
        let first = self.column.slice(0, rows);
        self.column = self.column.slice(rows, self.rows - rows);
        self.rows -= rows;
        first
    }

    /// The rows that came out last are done with.
    fn release(&mut self, store: &mut Store) {
        if self.rows == 0 {
            store.memory().shrink(std::mem::take(&mut self.bytes));
        }
    }
}

/// Computes the results of one call.
pub(super) trait Evaluate: Send {
    /// The results of the rows of a span, which are behind those that had results before; where
    /// they would take more than [`Span::bytes`], those of the first rows only, or of the first.
    ///
    /// # Errors
    /// `Input` for what the function is not defined on, and what reading the store reports.
    fn evaluate(&mut self, span: &Span<'_>, store: &mut Store) -> Result<Results>;

    /// The first position, of rows that had results, that is read again.
    fn keeps(&self) -> u64 {
        u64::MAX
    }
}

/// One worker's windows, range after range.
pub(super) struct Evaluation {
    changes: Changes,
    marks: Lane<u16>,
    bounds: Vec<Bounds>,
    calls: Vec<(Box<dyn Evaluate>, Computed)>,
    /// What the results of one call may take, of several rows together.
    result_bytes: usize,
    store: Store,
    /// Columns of the input.
    columns: usize,
    /// Readers of the input's columns, and their logical types.
    outputs: Vec<(Reader, DataType)>,
    /// Position of the next row that comes out.
    next: u64,
}

impl Evaluation {
    /// # Errors
    /// `Input` when a type cannot be computed with, `OutOfMemory` when the minimum is not there.
    pub(super) fn new(plan: &Plan, memory: Reservation) -> Result<Self> {
        let columns = plan.types.len();
        let types = plan.schema.fields().iter().skip(columns).map(|field| field.data_type());
        let calls = plan.evaluators()?.into_iter().zip(types.map(Computed::none));
        let calls: Vec<(Box<dyn Evaluate>, Computed)> = calls.collect();
        let long = calls.iter().filter(|(_, computed)| !computed.is_fixed).count();
        let output = |(column, logical)| (Reader::new(column), logical);
        Ok(Evaluation {
            changes: Changes::new(plan.keys.iter().map(|key| key.column).collect()),
            marks: Lane::new(columns, None, marks()),
            bounds: plan.bounds()?,
            calls,
            result_bytes: RESULT_BYTES / long.max(1),
            store: Store::new(plan.stored_types(), memory)?,
            columns,
            outputs: plan.types.iter().cloned().enumerate().map(output).collect(),
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

    /// The columns of the next rows of a block with their results, and how many rows they are;
    /// `None` when more rows are needed for that. Those that came out before are done with.
    ///
    /// # Errors
    /// What the calls report.
    pub(super) fn next_rows(&mut self) -> Result<Option<(Vec<Column>, usize)>> {
        let first = self.next;
        self.calls.iter_mut().for_each(|(_, computed)| computed.release(&mut self.store));
        if first >= self.store.end() {
            return Ok(None);
        }
        let block = self.store.block(first)?;
        // Loads the block: its marks are all at hand then.
        self.marks.get(&mut self.store, first)?;
        let marks = self.marks.values();
        for bounds in &mut self.bounds {
            if !bounds.find(block.start, marks, &mut self.store)? {
                return Ok(None);
            }
        }
        let (offset, bytes) = ((first - block.start) as usize, self.result_bytes);
        let marks = &marks[offset..];
        let span = Span { first, marks, bytes, bounds: &self.bounds, offset };
        let mut rows = marks.len();
        for (call, computed) in &mut self.calls {
            if computed.rows == 0 {
                computed.refill(call.as_mut(), &span, &mut self.store)?;
            }
            rows = rows.min(computed.rows);
        }
        let mut columns = Vec::with_capacity(self.columns + self.calls.len());
        for (output, logical) in &mut self.outputs {
            let values = output.piece(&mut self.store, first)?.values();
            columns.push(Column::flat(logical.clone(), values.clone()).slice(offset, rows));
        }
        columns.extend(self.calls.iter_mut().map(|(_, computed)| computed.take(rows)));
        self.next += rows as u64;
        if self.next == block.end {
            self.bounds.iter_mut().for_each(Bounds::forget);
        }
        let bounds = self.bounds.iter().map(Bounds::keeps);
        let keeps = self.calls.iter().map(|(call, _)| call.keeps()).chain(bounds).min();
        self.store.forget_before(keeps.unwrap_or(u64::MAX).min(self.next));
        Ok(Some((columns, rows)))
    }
}
