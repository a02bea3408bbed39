//! Reads one packed row, and compares two.

use std::cmp::Ordering;

use super::super::compare::{RowOrder, compare_stored};
use super::layout::PackedLayout;

/// The length of a row that has 4 more bytes of length.
const LONG_ROW: u16 = u16::MAX;
/// The length of a string that has 4 more bytes of length.
const LONG_STRING: u8 = u8::MAX;

/// A packed row, with what follows it.
#[derive(Debug, Clone, Copy, Default)]
pub struct PackedRow<'a> {
    /// From the row's length on.
    whole: &'a [u8],
    /// Bytes of the length.
    head: usize,
    /// Bytes behind the length.
    len: usize,
}

impl<'a> PackedRow<'a> {
    /// The row that begins at `offset` in `bytes`.
    #[inline]
    pub fn at(bytes: &'a [u8], offset: usize) -> Self {
        let whole = &bytes[offset..];
        match u16::from_le_bytes([whole[0], whole[1]]) {
            LONG_ROW => {
                let len = u32::from_le_bytes([whole[2], whole[3], whole[4], whole[5]]);
                PackedRow { whole, head: 6, len: len as usize }
            }
            len => PackedRow { whole, head: 2, len: usize::from(len) },
        }
    }

    /// All bytes of the row: what a copy of it consists of.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        &self.whole[..self.head + self.len]
    }

    /// The row behind its length, and what follows it.
    #[inline]
    pub(super) fn body(&self) -> &'a [u8] {
        &self.whole[self.head..]
    }

    /// The owner's number.
    pub fn mark(&self) -> u64 {
        let body = &self.body()[..self.len];
        let count = body.last().map_or(0, |&count| usize::from(count));
        let digits = &body[self.len - 1 - count..self.len - 1];
        digits.iter().rev().fold(0, |mark, &digit| (mark << 8) | u64::from(digit))
    }

    pub(super) fn is_null(&self, layout: &PackedLayout, column: usize) -> bool {
        let place = layout.place(column);
        self.body()[place.null_byte] & place.null_mask != 0
    }

    /// The bytes of string number `number`.
    fn string(&self, layout: &PackedLayout, number: usize) -> &'a [u8] {
        let body = self.body();
        let mut at = layout.strings_at;
        for _ in 0..number {
            let (start, len) = string_at(body, at);
            at = start + len;
        }
        let (start, len) = string_at(body, at);
        &body[start..start + len]
    }

    /// The order of two rows of one layout, by columns.
    pub fn compare(&self, other: &Self, layout: &PackedLayout, order: &[RowOrder]) -> Ordering {
        for by in order {
            let ordering = self.compare_column(other, layout, by);
            if ordering != Ordering::Equal {
                return ordering;
            }
        }
        Ordering::Equal
    }

    fn compare_column(&self, other: &Self, layout: &PackedLayout, by: &RowOrder) -> Ordering {
        let (column, at) = (layout.column(by.column), layout.place(by.column).at);
        by.apply(self.is_null(layout, by.column), other.is_null(layout, by.column), || {
            if column.kind.has_heap() {
                self.string(layout, at).cmp(other.string(layout, at))
            } else {
                compare_stored(&column.kind, &self.body()[at..], &other.body()[at..])
            }
        })
    }
}

/// Where the string whose length is at `at` begins, and how long it is.
#[inline]
pub(super) fn string_at(body: &[u8], at: usize) -> (usize, usize) {
    match body[at] {
        LONG_STRING => {
            let len = [body[at + 1], body[at + 2], body[at + 3], body[at + 4]];
            (at + 5, u32::from_le_bytes(len) as usize)
        }
        len => (at + 1, usize::from(len)),
    }
}

/// Bytes that a string of `len` takes.
pub(super) fn string_bytes(len: usize) -> usize {
    len + if len < usize::from(LONG_STRING) { 1 } else { 5 }
}

/// Writes a string at `at` and gives where it ends. It has less than 4 GB.
#[inline]
pub(super) fn put_string(to: &mut [u8], at: usize, value: &[u8]) -> usize {
    let start = match value.len() {
        len if len < usize::from(LONG_STRING) => {
            to[at] = len as u8;
            at + 1
        }
        len => {
            to[at] = LONG_STRING;
            to[at + 1..at + 5].copy_from_slice(&(len as u32).to_le_bytes());
            at + 5
        }
    };
    to[start..start + value.len()].copy_from_slice(value);
    start + value.len()
}

/// Bytes that the length of a row of `len` takes.
pub(super) fn head_bytes(len: usize) -> usize {
    if len < usize::from(LONG_ROW) { 2 } else { 6 }
}

/// Writes the length of a row at `at` and gives where the row begins.
pub(super) fn put_head(to: &mut [u8], at: usize, len: usize) -> usize {
    if len < usize::from(LONG_ROW) {
        to[at..at + 2].copy_from_slice(&(len as u16).to_le_bytes());
        return at + 2;
    }
    to[at..at + 2].copy_from_slice(&LONG_ROW.to_le_bytes());
    to[at + 2..at + 6].copy_from_slice(&(len as u32).to_le_bytes());
    at + 6
}

/// Bytes that a mark takes.
pub(super) fn mark_bytes(mark: u64) -> usize {
    9 - mark.leading_zeros() as usize / 8
}

/// Writes a mark so that it ends at `end`.
pub(super) fn put_mark(to: &mut [u8], end: usize, mark: u64) {
    let count = mark_bytes(mark) - 1;
    to[end - 1] = count as u8;
    to[end - 1 - count..end - 1].copy_from_slice(&mark.to_le_bytes()[..count]);
}

/// Adds a copy of the row with another mark to `to`.
pub fn with_mark(row: &PackedRow<'_>, mark: u64, to: &mut Vec<u8>) {
    let values = &row.body()[..row.len - mark_bytes(row.mark())];
    let len = values.len() + mark_bytes(mark);
    let start = to.len();
    to.resize(start + head_bytes(len) + len, 0);
    let at = put_head(to, start, len);
    to[at..at + values.len()].copy_from_slice(values);
    put_mark(to, at + len, mark);
}
