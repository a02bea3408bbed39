//! What each call makes of the rows of one group after another.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::filter;
use arrow::datatypes::{DataType, FieldRef};

use super::concat::Concat;
use super::pieces::{finishing_bytes, in_one};
use super::ranks::Ranks;
use crate::error::{Error, Result};
use crate::expr::{OrderedCall, OrderedKind};

/// The values of one call that count, of some rows.
pub(super) struct Values {
    array: ArrayRef,
    /// How many of them are before each row; none when every row has one.
    before: Option<Vec<u32>>,
}

impl Values {
    /// Those of these columns' rows.
    ///
    /// # Errors
    /// `Internal` when a column is missing or of a foreign type.
    pub(super) fn new(call: &OrderedCall, columns: &[ArrayRef]) -> Result<Values> {
        let column = |number: usize| {
            columns.get(number).ok_or_else(|| Error::internal(format!("no column {number}")))
        };
        let array = column(call.argument)?.clone();
        let mut counts: Option<BooleanBuffer> = None;
        if let Some(nulls) = array.logical_nulls().filter(|_| call.function.skips_nulls()) {
            counts = Some(nulls.inner().clone());
        }
        if let Some(condition) = call.filter {
            let condition = column(condition)?.as_boolean_opt();
            let condition = condition.ok_or_else(|| Error::internal("a filter of no Booleans"))?;
            let passed = match condition.nulls() {
                Some(nulls) => condition.values() & nulls.inner(),
                None => condition.values().clone(),
            };
            counts = Some(counts.map_or(passed.clone(), |counts| &counts & &passed));
        }
        let Some(counts) = counts.filter(|c| c.count_set_bits() < array.len()) else {
            return Ok(Values { array, before: None });
        };
        let mut before = Vec::with_capacity(array.len() + 1);
        let mut sum = 0;
        for counts in counts.iter() {
            before.push(sum);
            sum += u32::from(counts);
        }
        before.push(sum);
        let array = filter(&array, &BooleanArray::new(counts, None))?;
        Ok(Values { array, before: Some(before) })
    }

    fn of(&self, rows: &Range<usize>) -> Range<usize> {
        match &self.before {
            Some(before) => before[rows.start] as usize..before[rows.end] as usize,
            None => rows.clone(),
        }
    }
}

/// One call's results, and its state for the open group.
pub(super) enum Fold {
    Collect(Collect),
    Concat(Concat),
    Ranks(Ranks),
}

impl Fold {
    /// For a call whose argument has this logical type.
    ///
    /// # Errors
    /// `Internal` when the result type is not the function's.
    pub(super) fn new(call: &OrderedCall, argument: &DataType) -> Result<Fold> {
        Ok(match (&call.function, &call.data_type) {
            (OrderedKind::Collect, DataType::List(field)) => {
                Fold::Collect(Collect::new(field.clone()))
            }
            (OrderedKind::Collect, other) => {
                return Err(Error::internal(format!("a list of values as {other}")));
            }
            (OrderedKind::Concat { separator }, _) => Fold::Concat(Concat::new(separator)),
            (target, returns) => Fold::Ranks(Ranks::new(target.clone(), argument, returns)),
        })
    }

    /// Takes rows of the open group.
    pub(super) fn rows(&mut self, values: &Values, rows: &Range<usize>) -> Result<()> {
        let rows = values.of(rows);
        match self {
            Fold::Collect(collect) => collect.rows(&values.array, rows),
            Fold::Concat(concat) => concat.rows(&values.array, rows)?,
            Fold::Ranks(ranks) => ranks.rows(&values.array, rows),
        }
        Ok(())
    }

    /// Looks at rows of the open group for the second time.
    pub(super) fn look(&mut self, values: &Values, rows: &Range<usize>) {
        if let Fold::Ranks(ranks) = self
            && ranks.has_forgotten()
        {
            ranks.look(&values.array, values.of(rows));
        }
    }

    /// The state as one that can forget its values.
    pub(super) fn ranks(&mut self) -> Option<&mut Ranks> {
        match self {
            Fold::Ranks(ranks) => Some(ranks),
            _ => None,
        }
    }

    /// Notes the result of the open group, and opens the next.
    pub(super) fn close(&mut self) -> Result<()> {
        match self {
            Fold::Collect(collect) => collect.close(),
            Fold::Concat(concat) => concat.close(),
            Fold::Ranks(ranks) => ranks.close(),
        }
    }

    /// Arrays that results hold on to.
    pub(super) fn arrays(&self) -> usize {
        match self {
            Fold::Collect(collect) => collect.pieces.len(),
            Fold::Concat(_) => 0,
            Fold::Ranks(ranks) => ranks.arrays(),
        }
    }

    /// Bytes held; to be asked for once after the rows of each batch.
    pub(super) fn held_bytes(&mut self) -> usize {
        match self {
            Fold::Collect(collect) => collect.bytes,
            Fold::Concat(concat) => concat.held_bytes(),
            Fold::Ranks(ranks) => ranks.held_bytes(),
        }
    }

    /// Bytes held while results are made of what is held. The allocator has what the pieces of a
    /// list were in until those are gone that lie among them, which are the pieces of other lists:
    /// only the last one's are given back as it is made.
    pub(super) fn finishing_bytes(&mut self, is_last: bool) -> usize {
        match self {
            Fold::Collect(collect) => {
                let rows = collect.ends.last().copied().unwrap_or(0);
                finishing_bytes(rows, collect.bytes, collect.field.data_type(), is_last)
            }
            other => other.held_bytes(),
        }
    }

    /// Bytes of text in results.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Fold::Concat(concat) => concat.text_bytes(),
            _ => 0,
        }
    }

    /// The results so far, of the physical type.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        match self {
            Fold::Collect(collect) => collect.finish(),
            Fold::Concat(concat) => Ok(concat.finish()),
            Fold::Ranks(ranks) => ranks.finish(),
        }
    }
}

/// Lists of all values.
pub(super) struct Collect {
    field: FieldRef,
    /// What the lists consist of, one behind the other; the open group's values last.
    pieces: Vec<(ArrayRef, Range<usize>)>,
    /// Bytes of their arrays.
    bytes: usize,
    /// Values of the open group.
    open: usize,
    ends: Vec<usize>,
    valid: Vec<bool>,
}

impl Collect {
    fn new(field: FieldRef) -> Self {
        let (pieces, ends) = (Vec::new(), vec![0]);
        Collect { field, pieces, bytes: 0, open: 0, ends, valid: Vec::new() }
    }

    fn rows(&mut self, array: &ArrayRef, rows: Range<usize>) {
        self.open += rows.len();
        match self.pieces.last_mut() {
            // Most often the group before ends where this one begins.
            Some((last, piece)) if Arc::ptr_eq(last, array) && piece.end == rows.start => {
                piece.end = rows.end;
            }
            _ if rows.is_empty() => {}
            last => {
                if last.is_none_or(|(last, _)| !Arc::ptr_eq(last, array)) {
                    self.bytes += array.get_array_memory_size();
                }
                self.pieces.push((array.clone(), rows));
            }
        }
    }

    fn close(&mut self) -> Result<()> {
        let end = self.ends.last().copied().unwrap_or(0) + self.open;
        if i32::try_from(end).is_err() {
            return Err(Error::input("a list of more than 2 billion values"));
        }
        self.ends.push(end);
        self.valid.push(self.open > 0);
        self.open = 0;
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let values = in_one(self.take_closed(), self.field.data_type())?;
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        let lengths = ends.windows(2).map(|pair| pair[1] - pair[0]);
        let offsets = OffsetBuffer::from_lengths(lengths);
        let valid = NullBuffer::from(std::mem::take(&mut self.valid));
        let nulls = (valid.null_count() > 0).then_some(valid);
        Ok(Arc::new(ListArray::try_new(self.field.clone(), offsets, values, nulls)?))
    }

    /// The values of closed groups.
    fn take_closed(&mut self) -> Vec<ArrayRef> {
        let mut closed = self.ends.last().copied().unwrap_or(0);
        let mut slices = Vec::new();
        let mut open = Vec::new();
        for (array, rows) in std::mem::take(&mut self.pieces) {
            let taken = closed.min(rows.len());
            closed -= taken;
            if taken > 0 {
                slices.push(array.slice(rows.start, taken));
            }
            if taken < rows.len() {
                open.push((array, rows.start + taken..rows.end));
            }
        }
        self.bytes = open.iter().map(|(array, _)| array.get_array_memory_size()).sum();
        self.pieces = open;
        slices
    }
}
