//! Numbers, dates and timestamps of a column, from texts straight into an array.
//!
//! Each type has a quick reader for texts that are as they should be; a text that it does not take
//! is read by the book, which is where each format deals with NULL, quotes and blanks.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Decimal64Array, Decimal128Array, PrimitiveArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::time::Stamp;
use super::{number, time};
use crate::calendar;
use crate::error::Error;

/// The texts of one column.
pub(in crate::sources) trait Cells: Copy {
    /// What a text is that cannot be read.
    type Fault;

    /// The bytes that the texts are in; some bytes behind a text may be looked at.
    fn bytes(&self) -> &[u8];

    /// Where the text of a row begins and ends; anything but a value when it is NULL.
    fn place(&self, row: usize) -> (usize, usize);

    /// Whether a text that is as a value should be is one; not where such texts may mean NULL.
    fn takes_quick(&self) -> bool {
        true
    }

    /// The value of a text that is no plain one; `None` when it is NULL.
    ///
    /// # Errors
    /// When it is neither.
    fn by_the_book<T>(
        &self,
        row: usize,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Self::Fault>;
}

/// The rows that are wanted.
#[derive(Clone, Copy)]
pub(in crate::sources) enum Rows<'a> {
    /// The first so many.
    All(usize),
    /// These.
    Some(&'a [u32]),
}

impl Rows<'_> {
    /// Number of rows.
    pub(in crate::sources) fn len(&self) -> usize {
        match self {
            Rows::All(rows) => *rows,
            Rows::Some(rows) => rows.len(),
        }
    }

    /// The rows, in order.
    pub(in crate::sources) fn iter(&self) -> impl Iterator<Item = usize> {
        let (all, some) = match *self {
            Rows::All(rows) => (0..rows, &[][..]),
            Rows::Some(rows) => (0..0, rows),
        };
        all.chain(some.iter().map(|&row| row as usize))
    }
}

/// Why a column has no array.
#[derive(Debug)]
pub(in crate::sources) enum Stop<F> {
    /// A text cannot be read.
    Fault(F),
    /// Anything else.
    Error(Error),
}

impl<F> From<Error> for Stop<F> {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

/// The wanted rows as an array of this physical type; `None` when it is none of numbers, dates and
/// timestamps.
///
/// # Errors
/// The first text that cannot be read.
pub(in crate::sources) fn array<C: Cells>(
    cells: C,
    rows: Rows<'_>,
    physical: &DataType,
) -> Result<Option<ArrayRef>, Stop<C::Fault>> {
    use DataType as T;
    let array: ArrayRef = match physical {
        T::Int64 => {
            let by_the_book = |text: &[u8]| i64::try_from(number::integer(text)?).ok();
            primitive::<Int64Type, C>(cells, rows, number::quick_integer, by_the_book)?
        }
        T::Int8 => integers::<Int8Type, C>(cells, rows)?,
        T::Int16 => integers::<Int16Type, C>(cells, rows)?,
        T::Int32 => integers::<Int32Type, C>(cells, rows)?,
        T::UInt8 => integers::<UInt8Type, C>(cells, rows)?,
        T::UInt16 => integers::<UInt16Type, C>(cells, rows)?,
        T::UInt32 => integers::<UInt32Type, C>(cells, rows)?,
        T::UInt64 => integers::<UInt64Type, C>(cells, rows)?,
        T::Float32 => primitive::<Float32Type, C>(cells, rows, |_, _, _| None, number::single)?,
        T::Float64 => {
            primitive::<Float64Type, C>(cells, rows, number::quick_double, number::double)?
        }
        T::Date32 => primitive::<Date32Type, C>(cells, rows, time::quick_date, time::date)?,
        T::Decimal64(precision, scale) => narrow_decimals(cells, rows, *precision, *scale)?,
        T::Decimal128(precision, scale) => wide_decimals(cells, rows, *precision, *scale)?,
        T::Timestamp(unit, zone) => stamps(cells, rows, *unit, zone.clone(), time::stamp)?,
        _ => return Ok(None),
    };
    Ok(Some(array))
}

/// The wanted rows as Booleans.
///
/// # Errors
/// The first text that cannot be read.
pub(in crate::sources) fn booleans<C: Cells>(
    cells: C,
    rows: Rows<'_>,
    quick: impl Fn(&[u8], usize, usize) -> Option<bool>,
    by_the_book: impl Fn(&[u8]) -> Option<bool>,
) -> Result<ArrayRef, Stop<C::Fault>> {
    let (flags, nulls) = values(cells, rows, quick, by_the_book)?;
    let flags = BooleanBuffer::collect_bool(flags.len(), |i| flags[i]);
    Ok(Arc::new(BooleanArray::new(flags, nulls)))
}

/// Values of the wanted rows and which of them are NULL.
type Values<T> = (Vec<T>, Option<NullBuffer>);

fn values<T: Copy + Default, C: Cells>(
    cells: C,
    rows: Rows<'_>,
    quick: impl Fn(&[u8], usize, usize) -> Option<T>,
    by_the_book: impl Fn(&[u8]) -> Option<T>,
) -> Result<Values<T>, Stop<C::Fault>> {
    let none = |_: &[u8], _, _| None;
    // Loops of their own, so that the usual one counts.
    match (rows, cells.takes_quick()) {
        (Rows::All(rows), true) => values_of(cells, 0..rows, quick, by_the_book),
        (Rows::All(rows), false) => values_of(cells, 0..rows, none, by_the_book),
        (Rows::Some(rows), takes_quick) => {
            let rows = rows.iter().map(|&row| row as usize);
            match takes_quick {
                true => values_of(cells, rows, quick, by_the_book),
                false => values_of(cells, rows, none, by_the_book),
            }
        }
    }
}

#[inline]
fn values_of<T: Copy + Default, C: Cells>(
    cells: C,
    rows: impl ExactSizeIterator<Item = usize>,
    quick: impl Fn(&[u8], usize, usize) -> Option<T>,
    by_the_book: impl Fn(&[u8]) -> Option<T>,
) -> Result<Values<T>, Stop<C::Fault>> {
    let count = rows.len();
    let mut values = Vec::with_capacity(count);
    let mut null_rows = Vec::new();
    for row in rows {
        let (begin, end) = cells.place(row);
        let value = match quick(cells.bytes(), begin, end) {
            Some(value) => value,
            None => match cells.by_the_book(row, &by_the_book).map_err(Stop::Fault)? {
                Some(value) => value,
                None => {
                    null_rows.push(values.len());
                    T::default()
                }
            },
        };
        values.push(value);
    }
    Ok((values, null_buffer(count, &null_rows)))
}

/// Which rows are not NULL; `None` when none is.
pub(in crate::sources) fn null_buffer(rows: usize, null_rows: &[usize]) -> Option<NullBuffer> {
    if null_rows.is_empty() {
        return None;
    }
    let mut valid = BooleanBufferBuilder::new(rows);
    valid.append_n(rows, true);
    for &row in null_rows {
        valid.set_bit(row, false);
    }
    Some(NullBuffer::new(valid.finish()))
}

fn primitive<T: ArrowPrimitiveType, C: Cells>(
    cells: C,
    rows: Rows<'_>,
    quick: impl Fn(&[u8], usize, usize) -> Option<T::Native>,
    by_the_book: impl Fn(&[u8]) -> Option<T::Native>,
) -> Result<ArrayRef, Stop<C::Fault>> {
    let (values, nulls) = values(cells, rows, quick, by_the_book)?;
    Ok(Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls)))
}

/// Integers that are not the hot type: read as 64 bits, then narrowed.
fn integers<T, C: Cells>(cells: C, rows: Rows<'_>) -> Result<ArrayRef, Stop<C::Fault>>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64> + TryFrom<i128>,
{
    let quick = |bytes: &[u8], begin, end| {
        T::Native::try_from(number::quick_integer(bytes, begin, end)?).ok()
    };
    let by_the_book = |text: &[u8]| T::Native::try_from(number::integer(text)?).ok();
    primitive::<T, C>(cells, rows, quick, by_the_book)
}

fn narrow_decimals<C: Cells>(
    cells: C,
    rows: Rows<'_>,
    precision: u8,
    scale: i8,
) -> Result<ArrayRef, Stop<C::Fault>> {
    let places = scale.unsigned_abs();
    let limit = 10_i64.checked_pow(u32::from(precision)).unwrap_or(i64::MAX);
    let quick = |bytes: &[u8], begin, end| {
        number::quick_decimal(bytes, begin, end, u32::from(places), limit)
    };
    let by_the_book = |text: &[u8]| i64::try_from(number::decimal(text, precision, places)?).ok();
    let (values, nulls) = values(cells, rows, quick, by_the_book)?;
    let array = Decimal64Array::new(ScalarBuffer::from(values), nulls);
    let array = array.with_precision_and_scale(precision, scale).map_err(Error::from)?;
    Ok(Arc::new(array))
}

fn wide_decimals<C: Cells>(
    cells: C,
    rows: Rows<'_>,
    precision: u8,
    scale: i8,
) -> Result<ArrayRef, Stop<C::Fault>> {
    let by_the_book = |text: &[u8]| number::decimal(text, precision, scale.unsigned_abs());
    let (values, nulls) = values(cells, rows, |_, _, _| None, by_the_book)?;
    let array = Decimal128Array::new(ScalarBuffer::from(values), nulls);
    let array = array.with_precision_and_scale(precision, scale).map_err(Error::from)?;
    Ok(Arc::new(array))
}

/// The wanted rows as dates that `read` makes of texts.
///
/// # Errors
/// The first text that cannot be read.
pub(in crate::sources) fn dates<C: Cells>(
    cells: C,
    rows: Rows<'_>,
    read: impl Fn(&[u8]) -> Option<i32>,
) -> Result<ArrayRef, Stop<C::Fault>> {
    let quick = |bytes: &[u8], begin: usize, end: usize| read(bytes.get(begin..end)?);
    primitive::<Date32Type, C>(cells, rows, quick, &read)
}

/// The wanted rows as timestamps that `read` makes of texts.
///
/// # Errors
/// The first text that cannot be read.
pub(in crate::sources) fn stamps<C: Cells>(
    cells: C,
    rows: Rows<'_>,
    unit: TimeUnit,
    zone: Option<Arc<str>>,
    read: impl Fn(&[u8]) -> Option<Stamp>,
) -> Result<ArrayRef, Stop<C::Fault>> {
    let (per_second, has_zone) = (calendar::per_second(unit), zone.is_some());
    let read = |text: &[u8]| read(text)?.to_units(per_second, has_zone);
    let quick = |bytes: &[u8], begin: usize, end: usize| read(bytes.get(begin..end)?);
    let (values, nulls) = values(cells, rows, quick, read)?;
    let values = ScalarBuffer::from(values);
    Ok(match unit {
        TimeUnit::Second => Arc::new(
            PrimitiveArray::<TimestampSecondType>::new(values, nulls).with_timezone_opt(zone),
        ),
        TimeUnit::Millisecond => Arc::new(
            PrimitiveArray::<TimestampMillisecondType>::new(values, nulls).with_timezone_opt(zone),
        ),
        TimeUnit::Microsecond => Arc::new(
            PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls).with_timezone_opt(zone),
        ),
        TimeUnit::Nanosecond => Arc::new(
            PrimitiveArray::<TimestampNanosecondType>::new(values, nulls).with_timezone_opt(zone),
        ),
    })
}
