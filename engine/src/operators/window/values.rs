//! Functions that give the value of another row: `lag`, `lead`, `first_value`, `last_value`,
//! `nth_value`.
//!
//! `lag` and `lead` by a constant are the value of a frame of one row. Of the rows of a frame that
//! has been left, those that may still be wanted are held in the block that was read last. What has
//! been chosen for rows whose values had no room is remembered until they are asked for again.

use std::collections::VecDeque;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;

use super::evaluate::{Evaluate, Results, Span};
use super::lane::{Lane, Values};
use super::store::{Piece, Reader, Store};
use crate::error::{Error, Result};
use crate::expr::{ValueBytes, count_within, is_fixed};

/// Which row of the frame.
pub(super) enum Choice {
    /// So many rows behind the first.
    FromStart(u64),
    /// So many rows before the last.
    FromEnd(u64),
    /// The same among the rows that are not NULL.
    ValidFromStart { skip: u64, valid: ValidRows },
    /// The same among the rows that are not NULL.
    ValidFromEnd { skip: u64, valid: ValidRows },
    /// As [`Choice::FromStart`], one less than a column says.
    NthByColumn(Lane<i64>),
    /// So many rows from the row itself as a column says, in this direction; the frame is the
    /// partition.
    Shift { by: Lane<i64>, forwards: bool },
}

/// The rows of a frame that are not NULL.
pub(super) struct ValidRows {
    presence: Lane<u8>,
    /// Number of keys of the partition.
    partition: usize,
    rows: VecDeque<u64>,
    /// Rows before are either in the list or NULL.
    scanned: u64,
}

/// What comes out where there is no such row.
pub(super) enum Otherwise {
    Null,
    Constant(ArrayRef),
    Column(Reader),
}

/// A call; see the module documentation.
pub(super) struct ValueOf {
    column: usize,
    physical: DataType,
    frame: usize,
    choice: Choice,
    otherwise: Otherwise,
    /// The last block that a value was taken from.
    held: Option<Piece>,
    /// The first row that may be wanted again.
    low: u64,
    /// For rows that were asked for and have no result yet, where theirs come from.
    chosen: VecDeque<From>,
}

/// Where a result comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Row(u64),
    Null,
    Otherwise,
}

impl ValidRows {
    pub(super) fn new(presence: Lane<u8>, partition: usize) -> Self {
        ValidRows { presence, partition, rows: VecDeque::new(), scanned: 0 }
    }

    /// Drops what is before the frame.
    fn enter(&mut self, mark: u16, row: u64, start: u64) {
        if usize::from(mark) <= self.partition {
            self.rows.clear();
            self.scanned = row;
        }
        while self.rows.front().is_some_and(|&row| row < start) {
            self.rows.pop_front();
        }
        self.scanned = self.scanned.max(start);
    }

    /// Number `skip` of the frame.
    fn nth_from_start(&mut self, skip: u64, end: u64, store: &mut Store) -> Result<Option<u64>> {
        while (self.rows.len() as u64) <= skip && self.scanned < end {
            self.scan(store)?;
        }
        Ok(self.rows.get(usize::try_from(skip).unwrap_or(usize::MAX)).copied())
    }

    /// Number `skip` of the frame, counted from its end; those before it are dropped.
    fn nth_from_end(&mut self, skip: u64, end: u64, store: &mut Store) -> Result<Option<u64>> {
        while self.scanned < end {
            self.scan(store)?;
            if self.rows.len() as u64 > skip + 1 {
                self.rows.pop_front();
            }
        }
        Ok(self.rows.front().copied().filter(|_| self.rows.len() as u64 > skip))
    }

    fn scan(&mut self, store: &mut Store) -> Result<()> {
        if self.presence.get(store, self.scanned)?.is_some() {
            self.rows.push_back(self.scanned);
        }
        self.scanned += 1;
        Ok(())
    }

    /// The first row that may be wanted again.
    fn low(&self) -> u64 {
        self.rows.front().map_or(self.scanned, |&row| row.min(self.scanned))
    }
}

impl ValueOf {
    pub(super) fn new(
        (column, physical): (usize, DataType),
        frame: usize,
        choice: Choice,
        otherwise: Otherwise,
    ) -> Self {
        let (held, low, chosen) = (None, u64::MAX, VecDeque::new());
        ValueOf { column, physical, frame, choice, otherwise, held, low, chosen }
    }

    fn choose(&mut self, span: &Span<'_>, number: usize, store: &mut Store) -> Result<From> {
        let (start, end) = span.frame(self.frame, number);
        let row = span.first + number as u64;
        let found = match &mut self.choice {
            Choice::FromStart(skip) => start.checked_add(*skip),
            Choice::FromEnd(skip) => end.checked_sub(*skip + 1),
            Choice::ValidFromStart { skip, valid } => {
                valid.enter(span.marks[number], row, start);
                valid.nth_from_start(*skip, end, store)?
            }
            Choice::ValidFromEnd { skip, valid } => {
                valid.enter(span.marks[number], row, start);
                valid.nth_from_end(*skip, end, store)?
            }
            Choice::NthByColumn(lane) => match lane.get(store, row)? {
                Some(nth) if nth < 1 => {
                    return Err(Error::input(format!("nth_value counts from 1, not from {nth}")));
                }
                nth => nth.and_then(|nth| start.checked_add(nth as u64 - 1)),
            },
            Choice::Shift { by, forwards } => match by.get(store, row)? {
                None => return Ok(From::Null),
                Some(by) if *forwards => row.checked_add_signed(by),
                Some(by) => row.checked_add_signed(by.saturating_neg()),
            },
        };
        Ok(match found.filter(|found| (start..end).contains(found)) {
            Some(found) => From::Row(found),
            None => From::Otherwise,
        })
    }

    /// The values of the rows from `first` on that have been chosen, in their order: as many as
    /// take `most` bytes, or one.
    fn gather(&mut self, first: u64, most: usize, store: &mut Store) -> Result<ArrayRef> {
        let mut arrays: Vec<ArrayRef> = vec![new_null_array(&self.physical, 1)];
        let otherwise = match &mut self.otherwise {
            Otherwise::Null => Ok(0),
            Otherwise::Constant(value) => {
                arrays.push(value.clone());
                Ok(0)
            }
            Otherwise::Column(reader) => {
                let piece = reader.piece(store, first)?;
                arrays.push(piece.values().clone());
                Err((first - piece.rows.start) as usize)
            }
        };
        let otherwise_array = arrays.len() - 1;
        let mut pieces: Vec<(Piece, usize)> = Vec::new();
        let mut places = Vec::with_capacity(self.chosen.len());
        let mut loaded = 0;
        for (number, from) in self.chosen.iter().enumerate() {
            if loaded > most {
                break;
            }
            places.push(match *from {
                From::Null => (0, 0),
                From::Otherwise => {
                    (otherwise_array, otherwise.unwrap_or_else(|offset| offset + number))
                }
                From::Row(row) => {
                    let known = pieces.iter().rev().position(|(p, _)| p.rows.contains(&row));
                    let at = match known {
                        Some(from_back) => pieces.len() - 1 - from_back,
                        None => {
                            let piece = self.piece(row, store)?;
                            loaded += piece.bytes();
                            arrays.push(piece.values().clone());
                            pieces.push((piece, arrays.len() - 1));
                            pieces.len() - 1
                        }
                    };
                    let (piece, array) = &pieces[at];
                    (*array, (row - piece.rows.start) as usize)
                }
            });
        }
        if !is_fixed(&self.physical) {
            places.truncate(within(&arrays, &places, most));
        }
        self.chosen.drain(..places.len());
        // The block of the first row that may be wanted again is held.
        let low = self.wanted();
        if !self.held.as_ref().is_some_and(|piece| piece.rows.contains(&low)) {
            let piece = pieces.into_iter().map(|(piece, _)| piece);
            store.hold(&mut self.held, piece.rev().find(|piece| piece.rows.contains(&low)))?;
        }
        let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
        Ok(interleave(&arrays, &places)?)
    }

    /// The first row that a value may be taken from again.
    fn wanted(&self) -> u64 {
        let rows = self.chosen.iter().filter_map(|from| match from {
            From::Row(row) => Some(*row),
            _ => None,
        });
        rows.min().map_or(self.low, |row| row.min(self.low))
    }

    fn piece(&self, row: u64, store: &mut Store) -> Result<Piece> {
        match &self.held {
            Some(piece) if piece.rows.contains(&row) => Ok(piece.clone()),
            _ => store.column(row, self.column),
        }
    }
}

/// How many of the values at these places of arrays take at most `most` bytes, and at least one.
fn within(arrays: &[ArrayRef], places: &[(usize, usize)], most: usize) -> usize {
    let sizes: Vec<ValueBytes<'_>> = arrays.iter().map(|array| ValueBytes::of(array)).collect();
    count_within(most, places.iter().map(|&(array, at)| sizes[array].at(at)))
}

impl Evaluate for ValueOf {
    fn evaluate(&mut self, span: &Span<'_>, store: &mut Store) -> Result<Results> {
        for number in self.chosen.len()..span.marks.len() {
            let from = self.choose(span, number, store)?;
            self.chosen.push_back(from);
        }
        let last = span.frames(self.frame).next_back();
        let (start, end) = last.unwrap_or((span.first, span.first));
        self.low = match &self.choice {
            Choice::FromStart(skip) => start.saturating_add(*skip),
            Choice::FromEnd(skip) => end.saturating_sub(*skip + 1).max(start),
            Choice::ValidFromStart { valid, .. } | Choice::ValidFromEnd { valid, .. } => {
                valid.low()
            }
            Choice::NthByColumn(_) | Choice::Shift { .. } => start,
        };
        Ok(Results::Flat(self.gather(span.first, span.bytes, store)?))
    }

    fn keeps(&self) -> u64 {
        let low = match (&self.held, self.wanted()) {
            (Some(piece), low) if piece.rows.contains(&low) => piece.rows.end,
            (_, low) => low,
        };
        match &self.choice {
            Choice::ValidFromStart { valid, .. } | Choice::ValidFromEnd { valid, .. } => {
                low.min(valid.presence.keeps(valid.scanned))
            }
            _ => low,
        }
    }
}
