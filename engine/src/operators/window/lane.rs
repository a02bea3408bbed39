//! The values of a column by position, in the type that is computed with.
//!
//! A lane is read mostly forwards. It decodes a block at a time, so that reading a value is little
//! more than an index.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, i256};
use arrow::row::{RowConverter, Rows};

use super::forms::Measured;
use super::store::{Reader, Store};
use crate::batch::{Typed, nested_converter, with_float_keys};
use crate::error::{Error, Result};

/// Gives values by position.
pub(super) trait Values: Send {
    /// What is computed with.
    type Value: Clone + Send;

    /// The value of a row; `None` for NULL and for rows that do not count.
    fn get(&mut self, store: &mut Store, position: u64) -> Result<Option<Self::Value>>;
}

/// How the values of an array become those of a lane.
pub(super) type Decode<V> = Arc<dyn Fn(&ArrayRef) -> Result<ScalarBuffer<V>> + Send + Sync>;

/// A column of values of a fixed size.
pub(super) struct Lane<V: ArrowNativeType> {
    block: BlockReader,
    decode: Decode<V>,
    values: ScalarBuffer<V>,
}

/// Reads a column block by block, with what makes a row not count.
struct BlockReader {
    reader: Reader,
    /// A Boolean column: rows where it is not true do not count.
    filter: Option<Reader>,
    rows: Range<u64>,
    valid: Option<NullBuffer>,
}

impl BlockReader {
    fn new(column: usize, filter: Option<usize>) -> Self {
        BlockReader {
            reader: Reader::new(column),
            filter: filter.map(Reader::new),
            rows: 0..0,
            valid: None,
        }
    }

    /// Goes to the block of a row; its values.
    fn load(&mut self, store: &mut Store, position: u64) -> Result<ArrayRef> {
        let piece = self.reader.piece(store, position)?;
        let (rows, values) = (piece.rows.clone(), piece.values().clone());
        self.rows = rows;
        self.valid = values.logical_nulls();
        if let Some(filter) = &mut self.filter {
            let filter = filter.piece(store, position)?.values().clone();
            let filter = filter.as_boolean();
            let counts = match filter.nulls() {
                Some(nulls) => filter.values() & nulls.inner(),
                None => filter.values().clone(),
            };
            self.valid = NullBuffer::union(self.valid.as_ref(), Some(&NullBuffer::new(counts)));
        }
        self.valid = self.valid.take().filter(|valid| valid.null_count() > 0);
        Ok(values)
    }

    /// Where a row is in its block; `None` when it does not count.
    #[inline]
    fn row(&self, position: u64) -> Option<usize> {
        let row = (position - self.rows.start) as usize;
        match &self.valid {
            Some(valid) if valid.is_null(row) => None,
            _ => Some(row),
        }
    }
}

impl<V: ArrowNativeType> Lane<V> {
    pub(super) fn new(column: usize, filter: Option<usize>, decode: Decode<V>) -> Self {
        let values = ScalarBuffer::from(Vec::new());
        Lane { block: BlockReader::new(column, filter), decode, values }
    }

    /// The first position at or behind `position` that the store has to keep for this lane.
    pub(super) fn keeps(&self, position: u64) -> u64 {
        let is_at_hand = self.block.rows.contains(&position);
        if is_at_hand { self.block.rows.end } else { position }
    }

    /// The values of the block that was read last, whether they count or not.
    pub(super) fn values(&self) -> &[V] {
        &self.values
    }
}

impl<V: ArrowNativeType> Values for Lane<V> {
    type Value = V;

    #[inline]
    fn get(&mut self, store: &mut Store, position: u64) -> Result<Option<V>> {
        if !self.block.rows.contains(&position) {
            let values = self.block.load(store, position)?;
            self.values = (self.decode)(&values)?;
        }
        Ok(self.block.row(position).map(|row| self.values[row]))
    }
}

/// A column of any type, as bytes whose order is that of the values.
pub(super) struct KeyLane {
    block: BlockReader,
    converter: RowConverter,
    rows: Option<Rows>,
}

impl KeyLane {
    /// # Errors
    /// `Input` when values of the type cannot be compared.
    pub(super) fn new(
        column: usize,
        filter: Option<usize>,
        physical: &arrow::datatypes::DataType,
    ) -> Result<Self> {
        let converter = nested_converter(physical)?;
        Ok(KeyLane { block: BlockReader::new(column, filter), converter, rows: None })
    }
}

impl Values for KeyLane {
    type Value = Arc<[u8]>;

    fn get(&mut self, store: &mut Store, position: u64) -> Result<Option<Arc<[u8]>>> {
        if !self.block.rows.contains(&position) || self.rows.is_none() {
            let values = self.block.load(store, position)?;
            self.rows = Some(self.converter.convert_columns(&[with_float_keys(&values)?])?);
        }
        let row = self.block.row(position).zip(self.rows.as_ref());
        Ok(row.map(|(row, rows)| rows.row(row).as_ref().into()))
    }
}

/// Two such columns, the second one what the values of the first go by.
pub(super) struct MeasuredLane {
    pub(super) values: KeyLane,
    pub(super) by: KeyLane,
}

impl Values for MeasuredLane {
    type Value = Measured;

    fn get(&mut self, store: &mut Store, position: u64) -> Result<Option<Measured>> {
        let (value, by) = (self.values.get(store, position)?, self.by.get(store, position)?);
        Ok(by.zip(value).map(|(by, value)| Measured { by, value }))
    }
}

/// Integers of at most 64 bits, Booleans, and what is stored like them.
pub(super) fn small_integers() -> Decode<i64> {
    Arc::new(|array| {
        Ok(match Typed::of(array) {
            Typed::Bool(v) => v.iter().map(i64::from).collect(),
            Typed::I8(v) => v.iter().map(|&v| v.into()).collect(),
            Typed::I16(v) => v.iter().map(|&v| v.into()).collect(),
            Typed::I32(v) => v.iter().map(|&v| v.into()).collect(),
            Typed::I64(v) => v.iter().copied().collect(),
            Typed::U8(v) => v.iter().map(|&v| v.into()).collect(),
            Typed::U16(v) => v.iter().map(|&v| v.into()).collect(),
            Typed::U32(v) => v.iter().map(|&v| v.into()).collect(),
            Typed::Null => zeros(array),
            _ => return Err(foreign(array)),
        })
    })
}

/// Integers and decimals of at most 128 bits.
pub(super) fn integers() -> Decode<i128> {
    let small = small_integers();
    Arc::new(move |array| {
        Ok(match Typed::of(array) {
            Typed::U64(v) => v.iter().map(|&v| v.into()).collect(),
            Typed::I128(v) => v.iter().copied().collect(),
            _ => small(array)?.iter().map(|&v| v.into()).collect(),
        })
    })
}

/// Integers and decimals of any width.
pub(super) fn wide_integers() -> Decode<i256> {
    let narrow = integers();
    Arc::new(move |array| {
        Ok(match Typed::of(array) {
            Typed::I256(v) => v.iter().copied().collect(),
            _ => narrow(array)?.iter().map(|&v| i256::from_i128(v)).collect(),
        })
    })
}

/// Numbers.
pub(super) fn floats() -> Decode<f64> {
    Arc::new(|array| {
        Ok(match Typed::of(array) {
            Typed::F16(v) => v.iter().map(|&v| v.into()).collect(),
            Typed::F32(v) => v.iter().map(|&v| v.into()).collect(),
            Typed::F64(v) => v.iter().copied().collect(),
            Typed::Null => zeros(array),
            _ => return Err(foreign(array)),
        })
    })
}

/// What is asked only whether it is there.
pub(super) fn presence() -> Decode<u8> {
    Arc::new(|array| Ok(zeros(array)))
}

/// Marks of key changes; see `changes`.
pub(super) fn marks() -> Decode<u16> {
    Arc::new(|array| match Typed::of(array) {
        Typed::U16(v) => Ok(v.iter().copied().collect()),
        _ => Err(foreign(array)),
    })
}

fn zeros<V: ArrowNativeType>(array: &ArrayRef) -> ScalarBuffer<V> {
    vec![V::default(); array.len()].into()
}

fn foreign(array: &ArrayRef) -> Error {
    Error::internal(format!("a window over values of type {}", array.data_type()))
}

/// The rows for which a flag is set, as NULLs of the others; `None` when it is set for all.
pub(super) fn valid_where(flags: impl ExactSizeIterator<Item = bool>) -> Option<NullBuffer> {
    let valid = NullBuffer::new(BooleanBuffer::from_iter(flags));
    (valid.null_count() > 0).then_some(valid)
}
