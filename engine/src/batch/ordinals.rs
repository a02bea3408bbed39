//! Key columns as 64-bit integers.
//!
//! Integers, dates, times, timestamps, durations and decimals (without their point) have an
//! *ordinal*: an `i64` that keeps equality and order within the column's logical type, whatever
//! the width a chunk holds it in. Joins index arrays by it, filters keep bitmaps of it, and row
//! groups are pruned by it. Decimals that do not fit 64 bits have none; their positions are told
//! apart, and so are those of NULLs, so that loops over the values need not look at either.

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, TimeUnit, i256};

use super::column::{Column, Form, NULL_INDEX};
use super::selection::Selection;
use crate::error::{Error, Result};

/// The ordinals of a chunk's live rows. Reused from chunk to chunk.
#[derive(Debug, Default, Clone)]
pub struct Ordinals {
    /// One a live row; arbitrary where the lists below say so.
    pub values: Vec<i64>,
    /// Which of the live rows are NULL, increasing.
    pub nulls: Vec<u32>,
    /// Which of the live rows have a value without an ordinal, increasing.
    pub beyond: Vec<u32>,
}

/// The least range that holds two; `None` is that of no row.
pub fn widest(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
        (one, other) => one.or(other),
    }
}

/// Whether the values of a logical type have ordinals (all, or those that fit 64 bits).
pub fn has_ordinals(logical: &DataType) -> bool {
    logical.is_integer()
        || logical.is_temporal() && !matches!(logical, DataType::Interval(_))
        || logical.is_decimal()
}

impl Ordinals {
    /// The ordinals of `column`, `rows` physical rows of which `live` are live.
    ///
    /// # Errors
    /// `Internal` when the column's type has none, see [`has_ordinals`].
    pub fn read(&mut self, column: &Column, rows: usize, live: Option<&Selection>) -> Result<()> {
        self.values.clear();
        self.nulls.clear();
        self.beyond.clear();
        let positions = Positions { column, rows, live };
        read_type(self, column.values(), &positions)
    }

    /// The least and greatest ordinal, of rows that have one.
    pub fn range(&self) -> Option<(i64, i64)> {
        if self.nulls.is_empty() && self.beyond.is_empty() {
            let first = *self.values.first()?;
            let ends = |(low, high): (i64, i64), &v: &i64| (low.min(v), high.max(v));
            return Some(self.values.iter().fold((first, first), ends));
        }
        let mut range: Option<(i64, i64)> = None;
        let mut skip = self.nulls.iter().chain(&self.beyond).copied().collect::<Vec<_>>();
        skip.sort_unstable();
        let mut skip = skip.into_iter().peekable();
        for (i, &v) in self.values.iter().enumerate() {
            if skip.next_if(|&s| s as usize == i).is_some() {
                continue;
            }
            let (low, high) = range.unwrap_or((v, v));
            range = Some((low.min(v), high.max(v)));
        }
        range
    }
}

/// Where the live rows of a column are in its array of values.
struct Positions<'a> {
    column: &'a Column,
    rows: usize,
    live: Option<&'a Selection>,
}

impl Positions<'_> {
    /// Calls `f` with the position of each live row, [`NULL_INDEX`] for NULL.
    fn each(&self, mut f: impl FnMut(u32)) -> Result<()> {
        match (self.column.form(), self.live) {
            (Form::Flat(_), None) => (0..row_count(self.rows)?).for_each(f),
            (Form::Flat(_), Some(live)) => live.as_slice().iter().for_each(|&r| f(r)),
            (Form::Constant(_), live) => {
                (0..live.map_or(self.rows, Selection::len)).for_each(|_| f(0));
            }
            (Form::Indexed(i), None) => i.indices.as_slice().iter().for_each(|&i| f(i)),
            (Form::Indexed(i), Some(live)) => {
                let indices = i.indices.as_slice();
                live.as_slice().iter().for_each(|&r| f(indices[r as usize]));
            }
        }
        Ok(())
    }

    fn may_be_null(&self) -> bool {
        let null_index = matches!(self.column.form(), Form::Indexed(i) if i.indices.has_nulls());
        null_index || self.column.values().null_count() > 0
    }
}

fn row_count(rows: usize) -> Result<u32> {
    u32::try_from(rows).map_err(|_| Error::internal("a chunk of more than 2^32 rows"))
}

fn read_type(out: &mut Ordinals, values: &ArrayRef, at: &Positions<'_>) -> Result<()> {
    use DataType::{
        Date32, Date64, Decimal64, Decimal128, Decimal256, Duration, Int8, Int16, Int32, Int64,
        Time32, Time64, Timestamp, UInt8, UInt16, UInt32, UInt64,
    };
    match values.data_type() {
        Int8 => read::<Int8Type>(out, values, at, |v| v.into()),
        Int16 => read::<Int16Type>(out, values, at, |v| v.into()),
        Int32 => read::<Int32Type>(out, values, at, |v| v.into()),
        Int64 => read::<Int64Type>(out, values, at, |v| v),
        UInt8 => read::<UInt8Type>(out, values, at, |v| v.into()),
        UInt16 => read::<UInt16Type>(out, values, at, |v| v.into()),
        UInt32 => read::<UInt32Type>(out, values, at, |v| v.into()),
        // Flipping the top bit keeps the order.
        UInt64 => read::<UInt64Type>(out, values, at, |v| (v ^ (1 << 63)) as i64),
        Date32 => read::<Date32Type>(out, values, at, |v| v.into()),
        Date64 => read::<Date64Type>(out, values, at, |v| v),
        Time32(TimeUnit::Second) => read::<Time32SecondType>(out, values, at, |v| v.into()),
        Time32(_) => read::<Time32MillisecondType>(out, values, at, |v| v.into()),
        Time64(TimeUnit::Microsecond) => read::<Time64MicrosecondType>(out, values, at, |v| v),
        Time64(_) => read::<Time64NanosecondType>(out, values, at, |v| v),
        Timestamp(TimeUnit::Second, _) => read::<TimestampSecondType>(out, values, at, |v| v),
        Timestamp(TimeUnit::Millisecond, _) => {
            read::<TimestampMillisecondType>(out, values, at, |v| v)
        }
        Timestamp(TimeUnit::Microsecond, _) => {
            read::<TimestampMicrosecondType>(out, values, at, |v| v)
        }
        Timestamp(TimeUnit::Nanosecond, _) => {
            read::<TimestampNanosecondType>(out, values, at, |v| v)
        }
        Duration(TimeUnit::Second) => read::<DurationSecondType>(out, values, at, |v| v),
        Duration(TimeUnit::Millisecond) => read::<DurationMillisecondType>(out, values, at, |v| v),
        Duration(TimeUnit::Microsecond) => read::<DurationMicrosecondType>(out, values, at, |v| v),
        Duration(TimeUnit::Nanosecond) => read::<DurationNanosecondType>(out, values, at, |v| v),
        Decimal64(..) => read::<Decimal64Type>(out, values, at, |v| v),
        Decimal128(..) => {
            let fits = |v: i128| i64::try_from(v).is_ok();
            read_wide::<Decimal128Type>(out, values, at, |v| v as i64, fits)
        }
        Decimal256(..) => {
            let narrow = |v: i256| v.to_i128().and_then(|v| i64::try_from(v).ok());
            let value = |v| narrow(v).unwrap_or_default();
            read_wide::<Decimal256Type>(out, values, at, value, |v| narrow(v).is_some())
        }
        other => Err(Error::internal(format!("{other} has no ordinals"))),
    }
}

fn read<T: ArrowPrimitiveType>(
    out: &mut Ordinals,
    values: &ArrayRef,
    at: &Positions<'_>,
    ordinal: impl Fn(T::Native) -> i64,
) -> Result<()> {
    let array = values.as_primitive::<T>();
    let native: &[T::Native] = array.values();
    let whole = matches!(at.column.form(), Form::Flat(_)) && at.live.is_none();
    if whole {
        out.values.extend(native.iter().map(|&v| ordinal(v)));
    } else {
        out.values.reserve(at.live.map_or(at.rows, Selection::len));
        let get = |i: u32| native.get(i as usize).copied().unwrap_or_default();
        at.each(|i| out.values.push(ordinal(get(i))))?;
    }
    if at.may_be_null() {
        let mut row = 0;
        at.each(|i| {
            if i == NULL_INDEX || array.is_null(i as usize) {
                out.nulls.push(row);
            }
            row += 1;
        })?;
    }
    Ok(())
}

fn read_wide<T: ArrowPrimitiveType>(
    out: &mut Ordinals,
    values: &ArrayRef,
    at: &Positions<'_>,
    ordinal: impl Fn(T::Native) -> i64,
    fits: impl Fn(T::Native) -> bool,
) -> Result<()> {
    read::<T>(out, values, at, ordinal)?;
    let array = values.as_primitive::<T>();
    if array.values().iter().all(|&v| fits(v)) {
        return Ok(());
    }
    let mut row = 0;
    at.each(|i| {
        let valid = i != NULL_INDEX && array.is_valid(i as usize);
        if valid && !fits(array.value(i as usize)) {
            out.beyond.push(row);
        }
        row += 1;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Indices;
    use arrow::array::{Decimal128Array, Int32Array, UInt64Array};
    use std::sync::Arc;

    fn read(column: &Column, rows: usize, live: Option<&Selection>) -> Ordinals {
        let mut ordinals = Ordinals::default();
        ordinals.read(column, rows, live).expect("has ordinals");
        ordinals
    }

    #[test]
    fn all_forms_and_selections_read_the_same_rows() {
        let base: ArrayRef = Arc::new(Int32Array::from(vec![Some(5), None, Some(-7), Some(9)]));
        let flat = Column::flat(DataType::Int32, base.clone());
        let all = read(&flat, 4, None);
        assert_eq!((all.values[0], all.values[2], &all.nulls[..]), (5, -7, &[1][..]));
        assert_eq!(all.range(), Some((-7, 9)));
        let live = Selection::new(vec![1, 3]);
        let some = read(&flat, 4, Some(&live));
        assert_eq!((some.values[1], &some.nulls[..]), (9, &[0][..]));
        let indices = Arc::new(Indices::with_nulls(vec![3, NULL_INDEX, 0, 1]));
        let indexed = Column::indexed(DataType::Int32, indices, base, None);
        let all = read(&indexed, 4, None);
        assert_eq!((all.values[0], all.values[2], &all.nulls[..]), (9, 5, &[1, 3][..]));
        let one = Column::constant(DataType::Int32, Arc::new(Int32Array::from(vec![3])));
        assert_eq!(read(&one, 4, Some(&live)).values, [3, 3]);
        assert_eq!(read(&Column::null(DataType::Int32), 2, None).nulls, [0, 1]);
    }

    #[test]
    fn order_is_kept_and_wide_decimals_are_told_apart() {
        let unsigned = UInt64Array::from(vec![0, 1, u64::MAX]);
        let values = read(&Column::flat(DataType::UInt64, Arc::new(unsigned)), 3, None).values;
        assert!(values[0] < values[1] && values[1] < values[2]);
        let wide = Decimal128Array::from(vec![Some(1), Some(i128::MAX), None, Some(-4)])
            .with_precision_and_scale(38, 2)
            .expect("valid");
        let column = Column::flat(DataType::Decimal128(38, 2), Arc::new(wide));
        let read = read(&column, 4, None);
        assert_eq!((&read.nulls[..], &read.beyond[..]), (&[2][..], &[1][..]));
        assert_eq!(read.range(), Some((-4, 1)));
    }
}
