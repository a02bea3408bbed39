//! Orders two stored rows.

use std::cmp::Ordering;

use arrow::datatypes::{IntervalDayTime, IntervalMonthDayNano, i256};

use super::fixed::{Fixed, value_bytes};
use super::layout::{ColumnLayout, Kind, RowLayout};
use super::pages::{Pages, RowPages, RowRef};
use crate::batch::{Half, float_key};

/// By which column rows are ordered, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowOrder {
    /// Number of the column in the rows.
    pub column: usize,
    /// Greatest first.
    pub descending: bool,
    /// NULL before all values, whatever the direction.
    pub nulls_first: bool,
    /// Whether there may be NULLs.
    pub nullable: bool,
}

/// A row and the page it is in.
#[derive(Debug, Clone, Copy)]
pub struct RowAt<'a> {
    /// All bytes of the page.
    pub page: &'a [u8],
    /// Bytes before the row.
    pub offset: usize,
}

impl<'a> RowAt<'a> {
    /// Row `row` of these pages.
    pub fn new<P: Pages + ?Sized>(pages: &'a P, row: RowRef) -> Self {
        RowAt { page: pages.page_bytes(row.page()), offset: row.offset() }
    }
}

impl RowPages {
    /// The row with its page, for [`compare_rows`].
    pub fn at(&self, row: RowRef) -> RowAt<'_> {
        RowAt::new(self, row)
    }
}

/// The order of two rows of one layout: NaN is the greatest number, and -0.0 equals 0.0. Columns
/// that the layout does not have count as equal.
pub fn compare_rows(
    layout: &RowLayout,
    order: &[RowOrder],
    a: RowAt<'_>,
    b: RowAt<'_>,
) -> Ordering {
    for by in order {
        let Some(column) = layout.columns.get(by.column) else { continue };
        let ordering = compare_column(column, by, a, b);
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

fn compare_column(column: &ColumnLayout, by: &RowOrder, a: RowAt<'_>, b: RowAt<'_>) -> Ordering {
    let null = |row: RowAt<'_>| row.page[row.offset + column.null_byte] & column.null_mask != 0;
    by.apply(null(a), null(b), || {
        let slot_a = &a.page[a.offset + column.offset..];
        let slot_b = &b.page[b.offset + column.offset..];
        if column.kind.has_heap() {
            value_bytes(slot_a, a.page).cmp(value_bytes(slot_b, b.page))
        } else {
            compare_stored(&column.kind, slot_a, slot_b)
        }
    })
}

impl RowOrder {
    /// The order of two values, given whether they are NULL and, if not, how they compare
    /// ascending.
    pub(super) fn apply(
        &self,
        a_null: bool,
        b_null: bool,
        ascending: impl FnOnce() -> Ordering,
    ) -> Ordering {
        match (a_null, b_null) {
            (true, true) => Ordering::Equal,
            (true, false) if self.nulls_first => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if self.nulls_first => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) if self.descending => ascending().reverse(),
            (false, false) => ascending(),
        }
    }
}

/// The order of two values of fixed width that are not NULL, at the front of these bytes.
pub(super) fn compare_stored(kind: &Kind, a: &[u8], b: &[u8]) -> Ordering {
    match kind {
        Kind::Bool | Kind::U8 => compare::<u8>(a, b),
        Kind::I8 => compare::<i8>(a, b),
        Kind::I16 => compare::<i16>(a, b),
        Kind::I32 => compare::<i32>(a, b),
        Kind::I64 | Kind::Narrow => compare::<i64>(a, b),
        Kind::U16 => compare::<u16>(a, b),
        Kind::U32 => compare::<u32>(a, b),
        Kind::U64 => compare::<u64>(a, b),
        Kind::F16 => compare_floats(Half::take(a).into(), Half::take(b).into()),
        Kind::F32 => compare_floats(f32::take(a).into(), f32::take(b).into()),
        Kind::F64 => compare_floats(f64::take(a), f64::take(b)),
        Kind::Wide => compare::<i128>(a, b),
        Kind::Widest => compare::<i256>(a, b),
        Kind::DayTime => compare::<IntervalDayTime>(a, b),
        Kind::MonthDayNano => compare::<IntervalMonthDayNano>(a, b),
        Kind::Bytes | Kind::Nested(_) | Kind::Null => Ordering::Equal,
    }
}

fn compare<T: Fixed + Ord>(a: &[u8], b: &[u8]) -> Ordering {
    T::take(a).cmp(&T::take(b))
}

fn compare_floats(a: f64, b: f64) -> Ordering {
    float_key(a).total_cmp(&float_key(b))
}
