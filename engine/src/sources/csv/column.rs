//! Fields of one column, parsed straight into an array of the column's physical type: numbers and
//! dates as in all text formats, here is what NULL, quotes and blanks mean in CSV.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::field::{self, Field, Nulls};
use super::format::Format;
use super::records::Records;
use super::structure::Marks;
use super::text;
use super::window::Window;
use crate::batch::physical_type;
use crate::error::Result;
use crate::sources::text::values::{self, Rows};

/// The records a column is read from.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) window: &'a Window,
    pub(super) records: &'a Records,
    pub(super) marks: &'a Marks,
    pub(super) nulls: &'a Nulls,
    /// How dates and timestamps are written, where it is not the usual way.
    pub(super) date_format: Option<&'a Format>,
    pub(super) timestamp_format: Option<&'a Format>,
    /// Position of the column.
    pub(super) column: usize,
    /// Whether it is the last one.
    pub(super) is_last: bool,
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
    /// It holds a byte that is zero.
    Zero,
}

/// What is in the way of reading a column.
pub(super) type Stop = values::Stop<Unreadable>;

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
        Err(Stop::Fault(field)) => Ok(Err(field)),
        Err(Stop::Error(error)) => Err(error),
    }
}

fn parse_physical(cells: Cells<'_>, rows: Rows<'_>, logical: &DataType) -> Result<ArrayRef, Stop> {
    let physical = physical_type(logical);
    match (&physical, cells.date_format, cells.timestamp_format) {
        (DataType::Date32, Some(format), _) => {
            return values::dates(cells, rows, |text| format.read_date(text));
        }
        (DataType::Timestamp(unit, zone), _, Some(format)) => {
            let read = |text: &[u8]| format.read_stamp(text);
            return values::stamps(cells, rows, *unit, zone.clone(), read);
        }
        _ => {}
    }
    match values::array(cells, rows, &physical)? {
        Some(array) => Ok(array),
        None if physical == DataType::Boolean => {
            values::booleans(cells, rows, quick_boolean, boolean)
        }
        None => text::texts(cells, rows),
    }
}

impl<'a> Cells<'a> {
    /// The bytes of a field.
    pub(super) fn raw(&self, row: usize) -> &'a [u8] {
        let (begin, end) = self.records.field(row, self.column);
        self.window.bytes().get(begin..end).unwrap_or_default()
    }
}

impl values::Cells for Cells<'_> {
    type Fault = Unreadable;

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.window.bytes()
    }

    #[inline]
    fn place(&self, row: usize) -> (usize, usize) {
        self.records.field(row, self.column)
    }

    fn takes_quick(&self) -> bool {
        !self.nulls.hide_values
    }

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
