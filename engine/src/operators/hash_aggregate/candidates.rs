//! The values of a batch in a form in which they can be compared with each other and with stored
//! ones.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, StringViewArray};
use arrow::datatypes::DataType;
use arrow::row::Rows;

use super::plan::Best;
use super::stores::BY_VALUE;
use crate::batch::{
    Chunk, Column, Indices, Picked, Place, all_rows, gather, pick, to_logical, with_float_keys,
};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{RowPages, RowRef, compare_rows};

/// Bytes behind the order of a row that say where it stands in the input.
const PLACE_BYTES: usize = 16;

/// See the module documentation.
pub(super) enum Candidates<'a> {
    Text(Picked<'a>, &'a StringViewArray),
    Binary(Picked<'a>, &'a BinaryViewArray),
    /// Values of any other type: all stored, for as long as the batch lasts.
    Stored(Picked<'a>, RowPages, Vec<RowRef>),
    /// Rows by an order and their place in the input.
    Rows(Keyed<'a>),
}

/// Rows whose keys are bytes: those of the order, then those of the place.
pub(super) struct Keyed<'a> {
    /// The bytes of the order, by row; none for the order of the input.
    order: Option<Rows>,
    place: Place,
    positions: &'a [u32],
    /// What is stored beside the key.
    values: Vec<&'a Column>,
}

impl<'a> Candidates<'a> {
    /// The rows at these positions, in the order that `best` says.
    ///
    /// # Errors
    /// `Internal` when a column is missing.
    pub(super) fn of_rows(best: &Best, input: &'a Chunk, positions: &'a [u32]) -> Result<Self> {
        let values = best.values.iter().map(|&value| input.column(value));
        let order = match &best.converter {
            Some(converter) => {
                let indices = Indices::new(positions.to_vec());
                let columns = best.order.iter().map(|key| {
                    let column = input.column(key.column)?;
                    order_values(&column.gather(&indices)?, column.logical())
                });
                Some(converter.convert_columns(&columns.collect::<Result<Vec<_>>>()?)?)
            }
            None => None,
        };
        let values = values.collect::<Result<_>>()?;
        Ok(Candidates::Rows(Keyed { order, place: input.place(), positions, values }))
    }

    /// The values of a column at these positions.
    ///
    /// # Errors
    /// `OutOfMemory` for types that have to be stored before they can be compared.
    pub(super) fn of_values(
        column: &'a Column,
        positions: &'a [u32],
        store: &RowPages,
        page_bytes: usize,
        memory: &mut Reservation,
    ) -> Result<Self> {
        let Some(picked) = pick([column], positions).pop() else {
            return Err(Error::internal("a column without values"));
        };
        let array = picked.array();
        Ok(match array.data_type() {
            DataType::Utf8View => Candidates::Text(picked, array.as_string_view()),
            DataType::BinaryView => Candidates::Binary(picked, array.as_binary_view()),
            _ => {
                let mut pages = RowPages::new(store.layout().clone(), page_bytes).strict();
                let mut rows = Vec::with_capacity(picked.len());
                // Numbers inside compare as elsewhere: NaN is the greatest, whatever its sign.
                let values = with_float_keys(&gather(array, &picked.indices())?)?;
                let all: Vec<u32> = (0..picked.len() as u32).collect();
                let all = [Picked::of_array(&values, &all)];
                pages.append_picked(&all, &[picked.len()], memory, &mut rows)?;
                Candidates::Stored(picked, pages, rows)
            }
        })
    }

    /// Whether a candidate does not count.
    pub(super) fn is_null(&self, number: usize) -> bool {
        match self {
            Candidates::Text(picked, _)
            | Candidates::Binary(picked, _)
            | Candidates::Stored(picked, ..) => picked.is_null(number),
            Candidates::Rows(_) => false,
        }
    }

    /// The order of two candidates.
    pub(super) fn compare(&self, a: usize, b: usize) -> Ordering {
        match self {
            Candidates::Stored(_, pages, rows) => {
                compare_rows(pages.layout(), BY_VALUE, pages.at(rows[a]), pages.at(rows[b]))
            }
            Candidates::Rows(keyed) => keyed.compare(a, b),
            _ => self.bytes(a).cmp(self.bytes(b)),
        }
    }

    /// The order of a candidate and a stored value.
    pub(super) fn compare_stored(&self, a: usize, store: &RowPages, b: RowRef) -> Ordering {
        match self {
            Candidates::Stored(_, pages, rows) => {
                compare_rows(pages.layout(), BY_VALUE, pages.at(rows[a]), store.at(b))
            }
            Candidates::Rows(keyed) => keyed.compare_stored(a, store.value_bytes(0, b)),
            _ => self.bytes(a).cmp(store.value_bytes(0, b)),
        }
    }

    /// Stores these candidates.
    ///
    /// # Errors
    /// `OutOfMemory` when they cannot be.
    pub(super) fn store(
        &self,
        winners: &[u32],
        store: &mut RowPages,
        memory: &mut Reservation,
        stored: &mut Vec<RowRef>,
    ) -> Result<()> {
        match self {
            Candidates::Text(picked, _) | Candidates::Binary(picked, _) => {
                let at: Vec<u32> = winners.iter().map(|&w| picked.at()[w as usize]).collect();
                let winners = Picked::of_array(picked.array(), &at);
                store.append_picked(&[winners], &[at.len()], memory, stored)?;
            }
            Candidates::Stored(_, pages, rows) => {
                let winners: Vec<RowRef> = winners.iter().map(|&w| rows[w as usize]).collect();
                store.append_rows(pages, &winners, 0, memory, stored)?;
            }
            Candidates::Rows(keyed) => {
                let keys = keyed.keys(winners);
                let at: Vec<u32> = winners.iter().map(|&w| keyed.positions[w as usize]).collect();
                let mut columns = vec![Picked::of_array(&keys, all_rows(at.len()))];
                columns.extend(pick(keyed.values.iter().copied(), &at));
                store.append_picked(&columns, &[at.len()], memory, stored)?;
            }
        }
        Ok(())
    }

    /// Gives back what the batch took.
    pub(super) fn release(self, memory: &mut Reservation) {
        if let Candidates::Stored(_, pages, _) = self {
            memory.shrink(pages.bytes());
        }
    }

    /// The bytes of a value, of a type that is compared by them.
    fn bytes(&self, number: usize) -> &[u8] {
        match self {
            Candidates::Text(picked, array) => array.value(picked.at()[number] as usize).as_bytes(),
            Candidates::Binary(picked, array) => array.value(picked.at()[number] as usize),
            Candidates::Stored(..) | Candidates::Rows(_) => &[],
        }
    }
}

impl Keyed<'_> {
    fn order(&self, row: usize) -> &[u8] {
        self.order.as_ref().map_or(&[], |rows| rows.row(row).data())
    }

    /// Where a row stands in the input, as bytes in that order.
    fn place(&self, row: usize) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..8].copy_from_slice(&self.place.morsel.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.place.sequence.to_be_bytes());
        bytes[12..].copy_from_slice(&self.positions[row].to_be_bytes());
        bytes
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        let places = || self.positions[a].cmp(&self.positions[b]);
        self.order(a).cmp(self.order(b)).then_with(places)
    }

    fn compare_stored(&self, a: usize, key: &[u8]) -> Ordering {
        let (order, place) = key.split_at(key.len().saturating_sub(PLACE_BYTES));
        self.order(a).cmp(order).then_with(|| self.place(a)[..].cmp(place))
    }

    fn keys(&self, rows: &[u32]) -> ArrayRef {
        let mut keys = BinaryViewBuilder::with_capacity(rows.len());
        let mut key = Vec::new();
        for &row in rows {
            key.clear();
            key.extend_from_slice(self.order(row as usize));
            key.extend_from_slice(&self.place(row as usize));
            keys.append_value(&key);
        }
        Arc::new(keys.finish())
    }
}

/// The type that values of a logical type are ordered as: decimals have one width there.
pub(super) fn order_type(logical: &DataType) -> DataType {
    match logical {
        DataType::Dictionary(_, values) => order_type(values),
        decimal if decimal.is_decimal() => decimal.clone(),
        other => crate::batch::physical_type(other),
    }
}

/// Physical values as [`order_type`] says, numbers inside made alike.
fn order_values(values: &ArrayRef, logical: &DataType) -> Result<ArrayRef> {
    with_float_keys(&to_logical(values, &order_type(logical))?)
}
