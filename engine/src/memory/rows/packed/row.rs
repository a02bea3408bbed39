//! Reads one packed row, and compares two.

use std::cmp::Ordering;

use super::super::compare::{RowOrder, compare_stored};
use super::form::PackedForm;
use super::layout::PackedLayout;

/// The length of a row that has 4 more bytes of length.
const LONG_ROW: u16 = u16::MAX;
/// The length of a string that has 4 more bytes of length.
const LONG_STRING: u8 = u8::MAX;

/// A packed row, with what follows it.
#[derive(Debug, Clone, Copy)]
pub struct PackedRow<'a> {
    /// From the row's length on.
    whole: &'a [u8],
    /// Bytes of the length.
    head: usize,
    /// Bytes behind the length.
    len: usize,
    form: &'a PackedForm,
}

impl<'a> PackedRow<'a> {
    /// The row of this form that begins at `offset` in `bytes`.
    #[inline]
    pub fn at(bytes: &'a [u8], offset: usize, form: &'a PackedForm) -> Self {
        let whole = &bytes[offset..];
        match u16::from_le_bytes([whole[0], whole[1]]) {
            LONG_ROW => {
                let len = u32::from_le_bytes([whole[2], whole[3], whole[4], whole[5]]);
                PackedRow { whole, head: 6, len: len as usize, form }
            }
            len => PackedRow { whole, head: 2, len: usize::from(len), form },
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

    pub(super) fn is_null(&self, column: usize) -> bool {
        self.body()[self.form.nulls_at + column / 8] & (1 << (column % 8)) != 0
    }

    /// Where strings begin in the body.
    pub(super) fn strings_at(&self) -> usize {
        self.form.strings_at
    }

    /// A column of fixed width, as many bytes as its type has and then any others.
    #[inline]
    pub(super) fn bits(&self, column: usize) -> u64 {
        let field = self.form.field(column);
        let from = &self.body()[field.at..];
        let bits = match from.first_chunk::<8>() {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => from.iter().rev().fold(0, |bits, &byte| (bits << 8) | u64::from(byte)),
        };
        (bits & field.mask).wrapping_add(field.base)
    }

    /// The bytes of a column of any fixed width that is never narrowed.
    #[inline]
    pub(super) fn raw(&self, column: usize) -> &'a [u8] {
        &self.body()[self.form.field(column).at..]
    }

    /// Bytes of a copy of the row in this form, with this mark.
    #[inline]
    pub fn bytes_as(&self, form: &PackedForm, mark: u64) -> usize {
        let len = self.len - self.form.nulls_at + form.nulls_at;
        let len = len - self.mark_bytes() + mark_bytes(mark);
        head_bytes(len) + len
    }

    /// Adds a copy of the row in another form, which must have room for its values, with another
    /// mark.
    pub fn copy_as(&self, layout: &PackedLayout, form: &PackedForm, mark: u64, to: &mut Vec<u8>) {
        let body = self.body();
        let rest = &body[self.form.nulls_at..self.len - self.mark_bytes()];
        let len = form.nulls_at + rest.len() + mark_bytes(mark);
        let start = to.len();
        let end = start + head_bytes(len) + len;
        // Every number is written with 8 bytes, of which the next thing written takes some back.
        to.resize(end + 8, 0);
        let begin = put_head(to, start, len);
        let row = &mut to[begin..];
        for &column in &layout.fixed {
            let field = form.field(column);
            let target = &mut row[field.at..];
            match field.width {
                width if !field.is_raw || width <= 8 => {
                    let bits = self.bits(column).wrapping_sub(field.base);
                    target[..8].copy_from_slice(&bits.to_le_bytes());
                }
                width => target[..width].copy_from_slice(&self.raw(column)[..width]),
            }
        }
        row[form.nulls_at..][..rest.len()].copy_from_slice(rest);
        put_mark(to, end, mark);
        to.truncate(end);
    }

    #[inline]
    fn mark_bytes(&self) -> usize {
        self.body()[..self.len].last().map_or(0, |&count| 1 + usize::from(count))
    }

    /// The bytes of string number `number`.
    fn string(&self, number: usize) -> &'a [u8] {
        let body = self.body();
        let mut at = self.form.strings_at;
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
        let column = layout.column(by.column);
        by.apply(self.is_null(by.column), other.is_null(by.column), || {
            if column.kind.has_heap() {
                let number = layout.place(by.column).at;
                self.string(number).cmp(other.string(number))
            } else if column.width <= 8 {
                let (a, b) = (self.bits(by.column), other.bits(by.column));
                compare_stored(&column.kind, &a.to_le_bytes(), &b.to_le_bytes())
            } else {
                compare_stored(&column.kind, self.raw(by.column), other.raw(by.column))
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
