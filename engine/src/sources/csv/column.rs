//! Fields of one column, parsed straight into an array of the column's physical type.
//!
//! Each type has a quick reader for fields that are as they should be; a field that it does not
//! take is read by the book, which is where NULL, quotes and blanks are dealt with.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Decimal128Array, PrimitiveArray, StringViewBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal64Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::field::{self, Field, Nulls};
use super::records::Records;
use super::structure::Marks;
use crate::batch::physical_type;
use crate::error::Result;
use crate::sources::text::{number, time};

/// The records a column is read from.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) records: &'a Records,
    pub(super) marks: &'a Marks,
    pub(super) nulls: &'a Nulls,
    /// Position of the column.
    pub(super) column: usize,
    /// Whether it is the last one.
    pub(super) is_last: bool,
}

/// The rows that are wanted.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// The first so many.
    All(usize),
    /// These.
    Some(&'a [u32]),
}

/// A field that cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) row: usize,
    pub(super) why: Why,
}

/// Why a field cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is no value of the column's type.
    Type,
    /// Text goes on behind its closing quote.
    Quotes,
    /// It is not UTF-8.
    Encoding,
}

/// What reading one column gives, or what is in its way.
enum Stop {
    Field(Unreadable),
    Error(crate::error::Error),
}

impl From<Unreadable> for Stop {
    fn from(field: Unreadable) -> Self {
        Stop::Field(field)
    }
}

impl Rows<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Rows::All(rows) => *rows,
            Rows::Some(rows) => rows.len(),
        }
    }
}

/// The wanted rows of a column as an array of the physical type of `logical`.
///
/// # Errors
/// Within, the first field that cannot be read.
pub(super) fn parse(
    cells: Cells<'_>,
    rows: Rows<'_>,
    logical: &DataType,
) -> Result<Result<ArrayRef, Unreadable>> {
    match parse_physical(cells, rows, logical) {
        Ok(array) => Ok(Ok(array)),
        Err(Stop::Field(field)) => Ok(Err(field)),
        Err(Stop::Error(error)) => Err(error),
    }
}

fn parse_physical(cells: Cells<'_>, rows: Rows<'_>, logical: &DataType) -> Result<ArrayRef, Stop> {
    use DataType as T;
    let physical = physical_type(logical);
    let array: ArrayRef = match &physical {
        T::Int64 => {
            let by_the_book = |text: &[u8]| i64::try_from(number::integer(text)?).ok();
            Arc::new(primitive::<Int64Type>(cells, rows, number::quick_integer, by_the_book)?)
        }
        T::Int8 => integers::<Int8Type>(cells, rows)?,
        T::Int16 => integers::<Int16Type>(cells, rows)?,
        T::Int32 => integers::<Int32Type>(cells, rows)?,
        T::UInt8 => integers::<UInt8Type>(cells, rows)?,
        T::UInt16 => integers::<UInt16Type>(cells, rows)?,
        T::UInt32 => integers::<UInt32Type>(cells, rows)?,
        T::UInt64 => integers::<UInt64Type>(cells, rows)?,
        T::Float32 => {
            Arc::new(primitive::<Float32Type>(cells, rows, |_, _, _| None, number::single)?)
        }
        T::Float64 => {
            Arc::new(primitive::<Float64Type>(cells, rows, number::quick_double, number::double)?)
        }
        T::Date32 => Arc::new(primitive::<Date32Type>(cells, rows, time::quick_date, time::date)?),
        T::Decimal64(precision, scale) => decimals(cells, rows, *precision, *scale)?,
        T::Decimal128(precision, scale) => {
            let (wide, nulls) = values(
                cells,
                rows,
                |_, _, _| None::<i128>,
                |text| number::decimal(text, *precision, scale.unsigned_abs()),
            )?;
            let array = Decimal128Array::new(wide.into(), nulls);
            let array = array.with_precision_and_scale(*precision, *scale);
            Arc::new(array.map_err(|e| Stop::Error(e.into()))?)
        }
        T::Timestamp(unit, zone) => stamps(cells, rows, *unit, zone.clone())?,
        T::Boolean => {
            let (flags, nulls) = values(cells, rows, quick_boolean, boolean)?;
            let flags = BooleanBuffer::collect_bool(flags.len(), |i| flags[i]);
            Arc::new(BooleanArray::new(flags, nulls))
        }
        _ => texts(cells, rows)?,
    };
    Ok(array)
}

/// Values of the wanted rows and which of them are NULL.
type Values<T> = (Vec<T>, Option<NullBuffer>);

fn values<T: Copy + Default>(
    cells: Cells<'_>,
    rows: Rows<'_>,
    quick: impl Fn(&[u8], usize, usize) -> Option<T>,
    by_the_book: impl Fn(&[u8]) -> Option<T>,
) -> Result<Values<T>, Unreadable> {
    match rows {
        Rows::All(rows) if cells.nulls.hide_values => {
            values_of(cells, 0..rows, |_, _, _| None, by_the_book)
        }
        Rows::All(rows) => values_of(cells, 0..rows, quick, by_the_book),
        Rows::Some(rows) => {
            let rows = rows.iter().map(|&row| row as usize);
            if cells.nulls.hide_values {
                values_of(cells, rows, |_, _, _| None, by_the_book)
            } else {
                values_of(cells, rows, quick, by_the_book)
            }
        }
    }
}

#[inline]
fn values_of<T: Copy + Default>(
    cells: Cells<'_>,
    rows: impl ExactSizeIterator<Item = usize>,
    quick: impl Fn(&[u8], usize, usize) -> Option<T>,
    by_the_book: impl Fn(&[u8]) -> Option<T>,
) -> Result<Values<T>, Unreadable> {
    let count = rows.len();
    let mut values = Vec::with_capacity(count);
    let mut null_rows = Vec::new();
    for row in rows {
        let (begin, end) = cells.records.field(row, cells.column);
        let value = match quick(cells.bytes, begin, end) {
            Some(value) => value,
            None => match cells.by_the_book(row, &by_the_book)? {
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

fn null_buffer(rows: usize, null_rows: &[usize]) -> Option<NullBuffer> {
    if null_rows.is_empty() {
        return None;
    }
    let mut valid = arrow::array::BooleanBufferBuilder::new(rows);
    valid.append_n(rows, true);
    for &row in null_rows {
        valid.set_bit(row, false);
    }
    Some(NullBuffer::new(valid.finish()))
}

impl Cells<'_> {
    fn raw(&self, row: usize) -> &[u8] {
        let (begin, end) = self.records.field(row, self.column);
        self.bytes.get(begin..end).unwrap_or_default()
    }

    /// The value of a field that is no plain one; `None` when it is NULL.
    fn by_the_book<T>(
        &self,
        row: usize,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Unreadable> {
        let field = field::read(self.raw(row), self.is_last, self.marks);
        let text = match &field {
            Field::Bare(text) => field::trim(text),
            Field::Quoted(text) => field::trim(text),
            Field::Malformed => return Err(Unreadable { row, why: Why::Quotes }),
        };
        match read(text) {
            Some(value) if !self.nulls.contain(text) => Ok(Some(value)),
            _ if self.nulls.contain(text) || text.is_empty() => Ok(None),
            _ => Err(Unreadable { row, why: Why::Type }),
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(
    cells: Cells<'_>,
    rows: Rows<'_>,
    quick: impl Fn(&[u8], usize, usize) -> Option<T::Native>,
    by_the_book: impl Fn(&[u8]) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>, Unreadable> {
    let (values, nulls) = values(cells, rows, quick, by_the_book)?;
    Ok(PrimitiveArray::new(ScalarBuffer::from(values), nulls))
}

/// Integers that are not the hot type: read as 64 bits, then narrowed.
fn integers<T>(cells: Cells<'_>, rows: Rows<'_>) -> Result<ArrayRef, Unreadable>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64> + TryFrom<i128>,
{
    let quick = |bytes: &[u8], begin, end| {
        T::Native::try_from(number::quick_integer(bytes, begin, end)?).ok()
    };
    let by_the_book = |text: &[u8]| T::Native::try_from(number::integer(text)?).ok();
    Ok(Arc::new(primitive::<T>(cells, rows, quick, by_the_book)?))
}

fn decimals(cells: Cells<'_>, rows: Rows<'_>, precision: u8, scale: i8) -> Result<ArrayRef, Stop> {
    let places = scale.unsigned_abs();
    let limit = 10_i64.checked_pow(u32::from(precision)).unwrap_or(i64::MAX);
    let quick = |bytes: &[u8], begin, end| {
        number::quick_decimal(bytes, begin, end, u32::from(places), limit)
    };
    let by_the_book = |text: &[u8]| i64::try_from(number::decimal(text, precision, places)?).ok();
    let array = primitive::<Decimal64Type>(cells, rows, quick, by_the_book)?;
    let array = array.with_precision_and_scale(precision, scale);
    Ok(Arc::new(array.map_err(|e| Stop::Error(e.into()))?))
}

fn stamps(
    cells: Cells<'_>,
    rows: Rows<'_>,
    unit: TimeUnit,
    zone: Option<Arc<str>>,
) -> Result<ArrayRef, Unreadable> {
    let (per_second, has_zone) = (time::units_per_second(unit), zone.is_some());
    let read = |text: &[u8]| time::stamp(text)?.to_units(per_second, has_zone);
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

fn quick_boolean(bytes: &[u8], begin: usize, end: usize) -> Option<bool> {
    match bytes.get(begin..end)? {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// `true` and `false` in any case, and their first letters.
pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    let is = |word: &str| {
        text.eq_ignore_ascii_case(word.as_bytes())
            || text.eq_ignore_ascii_case(&word.as_bytes()[..1])
    };
    if is("true") {
        Some(true)
    } else if is("false") {
        Some(false)
    } else {
        None
    }
}

fn texts(cells: Cells<'_>, rows: Rows<'_>) -> Result<ArrayRef, Unreadable> {
    let mut builder = StringViewBuilder::with_capacity(rows.len());
    match rows {
        Rows::All(rows) => append_texts(cells, 0..rows, &mut builder)?,
        Rows::Some(rows) => {
            append_texts(cells, rows.iter().map(|&row| row as usize), &mut builder)?;
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn append_texts(
    cells: Cells<'_>,
    rows: impl Iterator<Item = usize>,
    into: &mut StringViewBuilder,
) -> Result<(), Unreadable> {
    for row in rows {
        let field = field::read(cells.raw(row), cells.is_last, cells.marks);
        let text: &[u8] = match &field {
            Field::Bare(text) if cells.nulls.contain(text) => {
                into.append_null();
                continue;
            }
            Field::Bare(text) => text,
            Field::Quoted(text) => text,
            Field::Malformed => return Err(Unreadable { row, why: Why::Quotes }),
        };
        match std::str::from_utf8(text) {
            Ok(text) => into.append_value(text),
            Err(_) => return Err(Unreadable { row, why: Why::Encoding }),
        }
    }
    Ok(())
}
