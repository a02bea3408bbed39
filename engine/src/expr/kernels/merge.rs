//! One column out of parts of several: the results of the branches of a CASE.

use arrow::array::{Array, ArrayData, ArrayRef, BooleanBufferBuilder, make_array};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::compute::interleave;
use arrow::datatypes::{ArrowNativeType, DataType};

use super::native::{Native, native};
use crate::batch::{Column, Form, Indices, Selection, widen_decimal};
use crate::error::{Error, Result};

/// Rows of a column.
pub(in crate::expr) struct Part {
    /// Which rows of the result this part gives.
    pub rows: Selection,
    /// A column that is valid in those rows.
    pub column: Column,
}

/// A column of `rows` rows that has each part's values in its rows; rows in no part are
/// unspecified. No row is in two parts.
///
/// # Errors
/// `Internal` when the parts are of different types.
pub(in crate::expr) fn merge(parts: &[Part], rows: usize, logical: &DataType) -> Result<Column> {
    let mut sources = parts.iter().map(Source::new).collect::<Result<Vec<_>>>()?;
    if sources.iter().any(|s| matches!(s.values.data_type(), DataType::Decimal128(..))) {
        for source in &mut sources {
            source.values = widen_decimal(&source.values);
        }
    }
    let Some(first) = sources.first() else {
        return Ok(Column::null(logical.clone()));
    };
    macro_rules! scattered {
        ($kind:ident) => {
            scatter(&sources, rows, |array| match native(array) {
                Native::$kind(values) => Some(values),
                _ => None,
            })
        };
    }
    let array = match native(first.values.as_ref()) {
        Native::I32(_) => scattered!(I32)?,
        Native::I64(_) => scattered!(I64)?,
        Native::I128(_) => scattered!(I128)?,
        Native::F64(_) => scattered!(F64)?,
        Native::Text(_) | Native::Other => interleaved(&sources, rows)?,
    };
    Ok(Column::flat(logical.clone(), array))
}

/// Where the value of a part's row stands in an array.
enum At {
    /// At the row's own place.
    Row,
    /// At the number of the row within the part.
    Number,
    /// At the start: it is the same for all.
    Start,
}

struct Source<'a> {
    rows: &'a [u32],
    values: ArrayRef,
    at: At,
}

impl<'a> Source<'a> {
    fn new(part: &'a Part) -> Result<Source<'a>> {
        let (values, at) = match part.column.form() {
            Form::Flat(values) => (values.clone(), At::Row),
            Form::Constant(value) => (value.clone(), At::Start),
            Form::Indexed(_) => (part.column.gather(&Indices::from(&part.rows))?, At::Number),
        };
        Ok(Source { rows: part.rows.as_slice(), values, at })
    }

    /// Calls `f` with each row and the place of its value.
    fn for_each(&self, mut f: impl FnMut(usize, usize)) {
        match self.at {
            At::Row => self.rows.iter().for_each(|&row| f(row as usize, row as usize)),
            At::Start => self.rows.iter().for_each(|&row| f(row as usize, 0)),
            At::Number => {
                self.rows.iter().enumerate().for_each(|(number, &row)| f(row as usize, number));
            }
        }
    }
}

fn scatter<T: ArrowNativeType>(
    sources: &[Source<'_>],
    rows: usize,
    read: impl Fn(&dyn Array) -> Option<&[T]>,
) -> Result<ArrayRef> {
    let mut out = vec![T::default(); rows];
    let mut data_type = &DataType::Null;
    for source in sources {
        let values = read(source.values.as_ref()).ok_or_else(|| {
            Error::internal(format!("a branch of type {}", source.values.data_type()))
        })?;
        data_type = source.values.data_type();
        source.for_each(|row, at| out[row] = values[at]);
    }
    let data = ArrayData::builder(data_type.clone())
        .len(rows)
        .add_buffer(Buffer::from_vec(out))
        .nulls(merged_nulls(sources, rows))
        .build()?;
    Ok(make_array(data))
}

fn merged_nulls(sources: &[Source<'_>], rows: usize) -> Option<NullBuffer> {
    if sources.iter().all(|source| source.values.null_count() == 0) {
        return None;
    }
    let mut valid = BooleanBufferBuilder::new(rows);
    valid.append_n(rows, true);
    for source in sources {
        if let Some(nulls) = source.values.nulls() {
            source.for_each(|row, at| valid.set_bit(row, nulls.is_valid(at)));
        }
    }
    Some(NullBuffer::new(valid.finish()))
}

fn interleaved(sources: &[Source<'_>], rows: usize) -> Result<ArrayRef> {
    let arrays: Vec<&dyn Array> = sources.iter().map(|s| s.values.as_ref()).collect();
    let mut places = vec![(0, 0); rows];
    for (number, source) in sources.iter().enumerate() {
        source.for_each(|row, at| places[row] = (number, at));
    }
    Ok(interleave(&arrays, &places)?)
}
