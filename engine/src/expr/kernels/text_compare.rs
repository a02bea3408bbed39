//! Comparison of string views, by their bytes.
//!
//! A view is 16 bytes: the length, the first four bytes, and the rest of a string of up to twelve
//! bytes (padded with zeros) or where its bytes lie. So most comparisons are decided by the views
//! alone.

use arrow::array::{Array, StringViewArray};
use arrow::buffer::BooleanBuffer;

use super::rows::bits_of;
use crate::expr::CompareOp;

/// The longest string that lies in its view.
const INLINE_BYTES: u32 = 12;

/// One side of a comparison: strings, or one for all rows.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub array: &'a StringViewArray,
    pub constant: bool,
}

impl<'a> Side<'a> {
    fn view(&self, row: usize) -> u128 {
        self.array.views()[if self.constant { 0 } else { row }]
    }

    fn text(&self, row: usize) -> &'a str {
        self.array.value(if self.constant { 0 } else { row })
    }
}

/// `left op right` in every row.
pub(super) fn compare(op: CompareOp, rows: usize, left: Side, right: Side) -> BooleanBuffer {
    match op {
        CompareOp::Equal | CompareOp::NotDistinct => equal(rows, left, right),
        CompareOp::NotEqual | CompareOp::Distinct => !&equal(rows, left, right),
        CompareOp::Less => less(rows, left, right),
        CompareOp::Greater => less(rows, right, left),
        CompareOp::LessOrEqual => !&less(rows, right, left),
        CompareOp::GreaterOrEqual => !&less(rows, left, right),
    }
}

fn equal(rows: usize, left: Side, right: Side) -> BooleanBuffer {
    match (left.constant, right.constant) {
        (false, true) => equal_to(left.array, right),
        (true, false) => equal_to(right.array, left),
        _ => BooleanBuffer::collect_bool(rows, |row| {
            let (l, r) = (left.view(row), right.view(row));
            // The low half of a view is length and prefix.
            l as u64 == r as u64
                && (l == r || (l as u32 > INLINE_BYTES && left.text(row) == right.text(row)))
        }),
    }
}

/// Which strings of `array` equal the constant `one`.
fn equal_to(array: &StringViewArray, one: Side) -> BooleanBuffer {
    if array.is_empty() {
        return BooleanBuffer::new_unset(0);
    }
    let wanted = one.view(0);
    if wanted as u32 <= INLINE_BYTES {
        return bits_of(array.views(), |view| view == wanted);
    }
    let text = one.text(0);
    BooleanBuffer::collect_bool(array.len(), |row| {
        array.views()[row] as u64 == wanted as u64 && array.value(row) == text
    })
}

fn less(rows: usize, left: Side, right: Side) -> BooleanBuffer {
    BooleanBuffer::collect_bool(rows, |row| {
        let (l, r) = (left.view(row), right.view(row));
        if (l as u32 <= INLINE_BYTES) & (r as u32 <= INLINE_BYTES) {
            return inline_order(l) < inline_order(r);
        }
        match prefix(l).cmp(&prefix(r)) {
            std::cmp::Ordering::Equal => left.text(row).as_bytes() < right.text(row).as_bytes(),
            order => order.is_lt(),
        }
    })
}

/// A number that orders like the string in the view: its bytes first, then its length, which
/// tells a string from itself with zeros behind.
fn inline_order(view: u128) -> u128 {
    (view.swap_bytes() << 32) | u128::from(view as u32)
}

/// The first four bytes as a number that orders like them.
fn prefix(view: u128) -> u32 {
    ((view >> 32) as u32).swap_bytes()
}
