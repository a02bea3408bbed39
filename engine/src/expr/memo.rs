//! What an expression remembers between chunks.
//!
//! An expression over a single column that holds dictionary codes is computed once per dictionary
//! value and looked up per row. It is worth it when a dictionary has been met by at least half as
//! many live rows as it has values. A dictionary may hold values that no live row refers to, and
//! an error they cause does not count: then the expression is computed per row.
//!
//! Memory: results for the last few dictionaries, of [`DICTIONARY_VALUES_MAX`] values at most, and
//! of constants; each has a charge of its own. Results that have no room are computed per row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use super::room::Room;
use crate::batch::{Column, Domain, Indices, content_bytes};
use crate::error::Result;
use crate::memory::Reservation;

/// Dictionaries remembered at a time. One is enough within a row group; a few more serve unions
/// of files and morsels that end in the next row group.
const DICTIONARIES: usize = 4;

/// Values of the largest dictionary that results are remembered for.
const DICTIONARY_VALUES_MAX: usize = 1 << 16;

/// A constant that is not worth a charge.
const SMALL_BYTES: usize = 4 << 10;

/// What is remembered about a node.
#[derive(Debug)]
pub(super) enum Memo {
    /// Nothing: it reads several columns, or is volatile, or inside of one that remembers.
    Nothing,
    /// It reads no column: its value.
    Constant(Option<Constant>),
    /// It reads one column: its values by dictionary.
    Dictionaries(Dictionaries),
}

/// The value of what reads no column.
#[derive(Debug)]
pub(super) struct Constant {
    value: Column,
    /// For what is not small.
    _charge: Option<Reservation>,
}

/// Results per dictionary of one column.
#[derive(Debug)]
pub(super) struct Dictionaries {
    /// The column.
    pub column: usize,
    known: Vec<Dictionary>,
}

#[derive(Debug)]
struct Dictionary {
    domain: Domain,
    rows_met: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Failed,
    Known(Arc<Known>),
}

/// The results for one dictionary.
#[derive(Debug)]
pub(super) struct Known {
    /// A result per dictionary value, and behind them the result for NULL.
    values: ArrayRef,
    /// Names `values`, which are a dictionary too.
    domain: Domain,
    _charge: Option<Reservation>,
}

/// What to do about a chunk's dictionary.
pub(super) enum Advice {
    /// Compute per row.
    ByRow,
    /// Compute for all values of the dictionary and [`Dictionaries::learn`] the results.
    Learn,
    /// Look up.
    Known(Arc<Known>),
}

impl Constant {
    /// A value that is remembered from now on, made since `before` bytes of the room were taken.
    ///
    /// # Errors
    /// `OutOfMemory` when it has no room.
    pub fn new(value: Column, room: &Room, before: usize) -> Result<Constant> {
        let bytes = content_bytes(value.values());
        let _charge = if bytes > SMALL_BYTES { room.keep(bytes, 1, before)? } else { None };
        Ok(Constant { value, _charge })
    }

    pub fn value(&self) -> &Column {
        &self.value
    }
}

impl Dictionaries {
    pub fn new(column: usize) -> Dictionaries {
        Dictionaries { column, known: Vec::new() }
    }

    /// What to do about `live_rows` more rows over the `len` values of a dictionary.
    pub fn advise(&mut self, domain: Domain, len: usize, live_rows: usize) -> Advice {
        if len > DICTIONARY_VALUES_MAX {
            return Advice::ByRow;
        }
        let Some(at) = self.known.iter().position(|d| d.domain == domain) else {
            self.known.truncate(DICTIONARIES - 1);
            self.known.insert(0, Dictionary { domain, rows_met: 0, state: State::New });
            return self.advise(domain, len, live_rows);
        };
        // Move to front, so that the oldest is dropped.
        self.known[..=at].rotate_right(1);
        let Some(dictionary) = self.known.first_mut() else { return Advice::ByRow };
        match &dictionary.state {
            State::Known(known) => Advice::Known(known.clone()),
            State::Failed => Advice::ByRow,
            State::New => {
                dictionary.rows_met += live_rows;
                if dictionary.rows_met >= len / 2 { Advice::Learn } else { Advice::ByRow }
            }
        }
    }

    /// Remembers the results for all values of a dictionary and for NULL; `None` when one failed.
    pub fn learn(
        &mut self,
        domain: Domain,
        values: Option<(ArrayRef, Option<Reservation>)>,
    ) -> Option<Arc<Known>> {
        let dictionary = self.known.iter_mut().find(|d| d.domain == domain)?;
        let known = values
            .map(|(values, _charge)| Arc::new(Known { values, domain: Domain::unique(), _charge }));
        dictionary.state = known.clone().map_or(State::Failed, State::Known);
        known
    }
}

impl Known {
    /// The results for rows that `indices` refer to dictionary values.
    pub fn look_up(&self, indices: &Arc<Indices>, logical: DataType) -> Column {
        let null_slot = self.values.len().saturating_sub(1);
        let indices = if indices.has_nulls() && self.values.is_valid(null_slot) {
            let null_slot = null_slot as u32;
            let rows: Vec<u32> = indices.as_slice().iter().map(|&i| i.min(null_slot)).collect();
            Arc::new(Indices::new(rows))
        } else {
            indices.clone()
        };
        Column::indexed(logical, indices, self.values.clone(), Some(self.domain))
    }
}
