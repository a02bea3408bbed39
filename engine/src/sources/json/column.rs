//! Values of one column, parsed from where they stand in the text into an array.
//!
//! Nested values are read column by column as well: the items of all lists of a column are the
//! cells of one column, the members of all objects those of several.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StringViewBuilder, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;

use super::members::{Keys, Span};
use super::shape::{self, Shape};
use super::string::unescaped;
use super::token::{Fault, Next, What, blanks, byte, next, value};
use crate::batch::{physical_type, to_logical};
use crate::error::{Error, Result};
use crate::sources::text::values::{self, Rows, Stop, null_buffer};

/// The cells of a column: one of several slots of every row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) text: &'a str,
    /// `width` of them a row.
    pub(super) spans: &'a [Span],
    pub(super) width: usize,
    pub(super) slot: usize,
}

/// A value that cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) fault: Fault,
    /// Where in the column's value, e.g. `.address.lines[]`.
    pub(super) path: String,
    /// What was expected there.
    pub(super) expected: DataType,
}

/// The wanted rows of a column as an array of the physical type of its shape. `is_closed` says
/// that objects have no other keys than those of the shape.
///
/// # Errors
/// Within, the first value that cannot be read.
pub(super) fn parse(
    cells: Cells<'_>,
    rows: Rows<'_>,
    shape: &Shape,
    is_closed: bool,
) -> Result<Result<ArrayRef, Unreadable>> {
    match parse_shape(cells, rows, shape, is_closed) {
        Ok(array) => Ok(Ok(array)),
        Err(Stop::Fault(unreadable)) => Ok(Err(unreadable)),
        Err(Stop::Error(error)) => Err(error),
    }
}

type Parsed = Result<ArrayRef, Stop<Unreadable>>;

fn parse_shape(cells: Cells<'_>, rows: Rows<'_>, shape: &Shape, is_closed: bool) -> Parsed {
    let placed = |fault, expected: DataType| {
        Stop::Fault(Unreadable { fault, path: String::new(), expected })
    };
    match shape {
        Shape::Plain(data_type) => match plain(cells, rows, data_type) {
            Ok(array) => Ok(array),
            Err(Stop::Fault(fault)) => Err(placed(fault, data_type.clone())),
            Err(Stop::Error(error)) => Err(error.into()),
        },
        Shape::Json => Ok(texts(cells, rows, true)),
        Shape::List(item) => list(cells, rows, item, is_closed),
        Shape::Struct(members) => objects(cells, rows, members, is_closed),
    }
}

impl<'a> Cells<'a> {
    #[inline]
    fn span(&self, row: usize) -> Span {
        self.spans.get(row * self.width + self.slot).copied().unwrap_or(Span::MISSING)
    }

    fn first(&self, span: Span) -> u8 {
        byte(self.text.as_bytes(), span.begin as usize)
    }

    fn is_null(&self, span: Span) -> bool {
        span == Span::MISSING || self.first(span) == b'n'
    }

    fn raw(&self, span: Span) -> &'a str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// A string without its quotes, escapes as they are.
    fn inner(&self, span: Span) -> &'a str {
        self.text.get(span.begin as usize + 1..span.end as usize - 1).unwrap_or_default()
    }
}

/// The fault of a value that is not what its column holds.
fn unfit(span: Span) -> Fault {
    Fault { begin: span.begin as usize, end: span.end as usize, what: What::Unfit }
}

impl values::Cells for Cells<'_> {
    type Fault = Fault;

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Strings without their quotes.
    #[inline]
    fn place(&self, row: usize) -> (usize, usize) {
        let span = self.span(row);
        let quotes = usize::from(self.first(span) == b'"' && span != Span::MISSING);
        (span.begin as usize + quotes, span.end as usize - quotes)
    }

    fn by_the_book<T>(
        &self,
        row: usize,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let span = self.span(row);
        if self.is_null(span) {
            return Ok(None);
        }
        let value = match self.first(span) {
            b'"' => read(unescaped(self.inner(span)).trim().as_bytes()),
            b'{' | b'[' => None,
            _ => read(self.raw(span).as_bytes()),
        };
        value.map(Some).ok_or_else(|| unfit(span))
    }
}

fn plain(cells: Cells<'_>, rows: Rows<'_>, data_type: &DataType) -> Result<ArrayRef, Stop<Fault>> {
    let physical = physical_type(data_type);
    if let Some(array) = values::array(cells, rows, &physical)? {
        return Ok(array);
    }
    match physical {
        DataType::Boolean => {
            let word = |text: &[u8]| match text {
                b"true" => Some(true),
                b"false" => Some(false),
                _ => None,
            };
            let quick = |bytes: &[u8], begin, end| word(bytes.get(begin..end)?);
            values::booleans(cells, rows, quick, word)
        }
        DataType::Utf8View => Ok(texts(cells, rows, false)),
        other => Err(Error::internal(format!("a JSON column of {other}")).into()),
    }
}

/// Strings, and other values as they are written; with `as_json`, strings too.
fn texts(cells: Cells<'_>, rows: Rows<'_>, as_json: bool) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(rows.len());
    for row in rows.iter() {
        let span = cells.span(row);
        if cells.is_null(span) {
            builder.append_null();
        } else if cells.first(span) == b'"' && !as_json {
            builder.append_value(unescaped(cells.inner(span)));
        } else {
            builder.append_value(cells.raw(span));
        }
    }
    Arc::new(builder.finish())
}

fn list(cells: Cells<'_>, rows: Rows<'_>, item: &Shape, is_closed: bool) -> Parsed {
    let mut spans = Vec::new();
    let mut offsets = Vec::with_capacity(rows.len() + 1);
    let mut null_rows = Vec::new();
    offsets.push(0);
    for (number, row) in rows.iter().enumerate() {
        let span = cells.span(row);
        if cells.is_null(span) {
            null_rows.push(number);
        } else if let Err(fault) = items(cells, span, &mut spans) {
            let expected = DataType::List(Arc::new(shape::item_field(item)));
            return Err(Stop::Fault(Unreadable { fault, path: String::new(), expected }));
        }
        let offset = i32::try_from(spans.len());
        offsets.push(offset.map_err(|_| Error::internal("more items than a list holds"))?);
    }
    let inner = Cells { text: cells.text, spans: &spans, width: 1, slot: 0 };
    let child = nested(inner, Rows::All(spans.len()), item, is_closed, "[]")?;
    let list = ListArray::try_new(
        Arc::new(shape::item_field(item)),
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        child,
        null_buffer(rows.len(), &null_rows),
    );
    Ok(Arc::new(list.map_err(Error::from)?))
}

/// Lists the items of an array.
fn items(cells: Cells<'_>, span: Span, into: &mut Vec<Span>) -> Result<(), Fault> {
    let bytes = cells.text.as_bytes();
    let mut at = span.begin as usize;
    if byte(bytes, at) != b'[' {
        return Err(unfit(span));
    }
    at = blanks::<false>(bytes, at + 1);
    if byte(bytes, at) == b']' {
        return Ok(());
    }
    loop {
        let end = value::<false>(bytes, at)?;
        into.push(Span { begin: at as u32, end: end as u32 });
        match next::<false>(bytes, end, b']')? {
            Next::Another(begin) => at = begin,
            Next::End(_) => return Ok(()),
        }
    }
}

fn objects(
    cells: Cells<'_>,
    rows: Rows<'_>,
    members: &[(String, Shape)],
    is_closed: bool,
) -> Parsed {
    let names = members.iter().enumerate().map(|(slot, (name, _))| (name.as_str(), Some(slot)));
    let mut keys = Keys::new(names, is_closed);
    let width = members.len();
    let mut spans = vec![Span::MISSING; width * rows.len()];
    let mut null_rows = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let span = cells.span(row);
        let into = spans.get_mut(number * width..(number + 1) * width).unwrap_or_default();
        if cells.is_null(span) {
            null_rows.push(number);
        } else if let Err(fault) = keys.read::<false>(cells.text, span.begin as usize, into) {
            let what = if fault.what == What::NoObject { What::Unfit } else { fault.what };
            let expected = DataType::Struct(shape::fields(members));
            let (fault, path) = (Fault { what, ..fault }, String::new());
            return Err(Stop::Fault(Unreadable { fault, path, expected }));
        }
    }
    let children = members.iter().enumerate().map(|(slot, (name, shape))| {
        let inner = Cells { text: cells.text, spans: &spans, width, slot };
        nested(inner, Rows::All(rows.len()), shape, is_closed, &format!(".{name}"))
    });
    let children = children.collect::<Result<Vec<_>, _>>()?;
    let nulls = null_buffer(rows.len(), &null_rows);
    let objects =
        StructArray::try_new_with_length(shape::fields(members), children, nulls, rows.len());
    Ok(Arc::new(objects.map_err(Error::from)?))
}

/// A column within a column: of its logical type, as arrays within arrays are.
fn nested(cells: Cells<'_>, rows: Rows<'_>, shape: &Shape, is_closed: bool, step: &str) -> Parsed {
    match parse_shape(cells, rows, shape, is_closed) {
        Ok(array) => Ok(to_logical(&array, &shape.data_type())?),
        Err(Stop::Fault(mut unreadable)) => {
            unreadable.path.insert_str(0, step);
            Err(Stop::Fault(unreadable))
        }
        Err(error) => Err(error),
    }
}
