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
    match (null(a), null(b)) {
        (true, true) => return Ordering::Equal,
        (true, false) if by.nulls_first => return Ordering::Less,
        (true, false) => return Ordering::Greater,
        (false, true) if by.nulls_first => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => (),
    }
    let slot_a = &a.page[a.offset + column.offset..];
    let slot_b = &b.page[b.offset + column.offset..];
    let ordering = match &column.kind {
        Kind::Bool | Kind::U8 => compare::<u8>(slot_a, slot_b),
        Kind::I8 => compare::<i8>(slot_a, slot_b),
        Kind::I16 => compare::<i16>(slot_a, slot_b),
        Kind::I32 => compare::<i32>(slot_a, slot_b),
        Kind::I64 | Kind::Narrow => compare::<i64>(slot_a, slot_b),
        Kind::U16 => compare::<u16>(slot_a, slot_b),
        Kind::U32 => compare::<u32>(slot_a, slot_b),
        Kind::U64 => compare::<u64>(slot_a, slot_b),
        Kind::F16 => compare_floats(Half::take(slot_a).into(), Half::take(slot_b).into()),
        Kind::F32 => compare_floats(f32::take(slot_a).into(), f32::take(slot_b).into()),
        Kind::F64 => compare_floats(f64::take(slot_a), f64::take(slot_b)),
        Kind::Wide => compare::<i128>(slot_a, slot_b),
        Kind::Widest => compare::<i256>(slot_a, slot_b),
        Kind::DayTime => compare::<IntervalDayTime>(slot_a, slot_b),
        Kind::MonthDayNano => compare::<IntervalMonthDayNano>(slot_a, slot_b),
        Kind::Bytes | Kind::Nested(_) => {
            value_bytes(slot_a, a.page).cmp(value_bytes(slot_b, b.page))
        }
        Kind::Null => Ordering::Equal,
    };
    if by.descending { ordering.reverse() } else { ordering }
}

fn compare<T: Fixed + Ord>(a: &[u8], b: &[u8]) -> Ordering {
    T::take(a).cmp(&T::take(b))
}

fn compare_floats(a: f64, b: f64) -> Ordering {
    float_key(a).total_cmp(&float_key(b))
}
