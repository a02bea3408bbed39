//! Fields of a column of texts, as views: short ones within their view, longer ones copied
//! together behind each other, so that the window they stood in can be used again.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewArray};
use arrow::buffer::Buffer;

use super::column::{Cells, Stop, Unreadable, Why};
use super::field::{self, Field};
use crate::sources::text::values::{Rows, null_buffer};

/// Longest text that stands within its view.
const INLINE_MAX: usize = 12;

/// The views of a column in the making.
struct Views {
    views: Vec<u128>,
    /// The longer texts.
    long: Vec<u8>,
    null_rows: Vec<usize>,
}

/// The wanted rows of a column of texts.
pub(super) fn texts(cells: Cells<'_>, rows: Rows<'_>) -> Result<ArrayRef, Stop> {
    if cells.window.has_zero() {
        refuse_zeros(cells, rows).map_err(Stop::Fault)?;
    }
    let count = rows.len();
    let mut views =
        Views { views: Vec::with_capacity(count), long: Vec::new(), null_rows: Vec::new() };
    let pushed = match rows {
        Rows::All(rows) => (0..rows).try_for_each(|row| views.push(cells, row)),
        Rows::Some(rows) => rows.iter().try_for_each(|&row| views.push(cells, row as usize)),
    };
    pushed.map_err(Stop::Fault)?;
    let nulls = null_buffer(count, &views.null_rows);
    let buffers = if views.long.is_empty() { vec![] } else { vec![Buffer::from_vec(views.long)] };
    match StringViewArray::try_new(views.views.into(), buffers, nulls) {
        Ok(array) => Ok(Arc::new(array)),
        Err(error) => match not_utf8(cells, rows) {
            Some(unreadable) => Err(Stop::Fault(unreadable)),
            None => Err(Stop::Error(error.into())),
        },
    }
}

impl Views {
    #[inline]
    fn push(&mut self, cells: Cells<'_>, row: usize) -> Result<(), Unreadable> {
        let raw = cells.raw(row);
        if cells.marks.quote.is_some() && raw.first() == cells.marks.quote.as_ref() {
            return self.push_quoted(cells, row);
        }
        let Field::Bare(text) = field::read(raw, cells.is_last, cells.marks) else {
            return Err(Unreadable { row, why: Why::Quotes });
        };
        if cells.nulls.contain(text) {
            self.null_rows.push(self.views.len());
            self.views.push(0);
            return Ok(());
        }
        // The window goes on behind its fields.
        let (begin, _) = cells.records.field(row, cells.column);
        let behind = cells.window.bytes().get(begin..).and_then(|bytes| bytes.first_chunk::<16>());
        match behind {
            Some(bytes) if text.len() <= INLINE_MAX => {
                let mask = (1 << (8 * text.len())) - 1;
                let text_bits = u128::from_le_bytes(*bytes) & mask;
                self.views.push(text_bits << 32 | text.len() as u128);
            }
            _ => self.push_text(text),
        }
        Ok(())
    }

    #[cold]
    fn push_quoted(&mut self, cells: Cells<'_>, row: usize) -> Result<(), Unreadable> {
        match field::read(cells.raw(row), cells.is_last, cells.marks) {
            Field::Quoted(text) => self.push_text(&text),
            _ => return Err(Unreadable { row, why: Why::Quotes }),
        }
        Ok(())
    }

    fn push_text(&mut self, text: &[u8]) {
        let view = |bytes: [u8; 16]| u128::from_le_bytes(bytes) << 32 | text.len() as u128;
        let mut bytes = [0; 16];
        if text.len() <= INLINE_MAX {
            bytes[..text.len()].copy_from_slice(text);
        } else {
            // The first four bytes, the number of the buffer, and the place in it.
            bytes[..4].copy_from_slice(&text[..4]);
            bytes[8..12].copy_from_slice(&(self.long.len() as u32).to_le_bytes());
            self.long.extend_from_slice(text);
        }
        self.views.push(view(bytes));
    }
}

/// The first wanted field that is not UTF-8.
#[cold]
fn not_utf8(cells: Cells<'_>, rows: Rows<'_>) -> Option<Unreadable> {
    let is_bad = |text: &[u8]| std::str::from_utf8(text).is_err();
    find(cells, rows, is_bad).map(|row| Unreadable { row, why: Why::Encoding })
}

/// Refuses the first wanted field with a byte that is zero.
#[cold]
fn refuse_zeros(cells: Cells<'_>, rows: Rows<'_>) -> Result<(), Unreadable> {
    match find(cells, rows, |text: &[u8]| text.contains(&0)) {
        Some(row) => Err(Unreadable { row, why: Why::Zero }),
        None => Ok(()),
    }
}

fn find(cells: Cells<'_>, rows: Rows<'_>, is: impl Fn(&[u8]) -> bool) -> Option<usize> {
    rows.iter().find(|&row| is(cells.raw(row)))
}
