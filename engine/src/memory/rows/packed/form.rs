//! Where the columns of a packed row are, and how many bytes of each.
//!
//! Rows in memory have the plain form: every column has the width of its type. Before rows go to
//! the disk it is known what is in them, and integers take no more bytes than their range has: the
//! distance from the smallest is stored. (TPC-H's lineitem takes 82 bytes a row instead of 127.)

use super::layout::PackedLayout;

/// What is known of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnFacts {
    /// Whether there may be NULLs.
    pub nulls: bool,
    /// The range of the stored integers.
    min: i64,
    max: i64,
}

/// The form of some rows of one layout; see the module documentation.
#[derive(Debug, Clone)]
pub struct PackedForm {
    /// By column; without meaning for strings.
    fields: Vec<Field>,
    /// Where the NULL bits begin.
    pub(super) nulls_at: usize,
    /// Where the first string begins.
    pub(super) strings_at: usize,
}

/// Where a column of fixed width is, and how it is narrowed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Field {
    pub(super) at: usize,
    /// Bytes in the row.
    pub(super) width: usize,
    /// Whether the bytes are the value itself, whatever its type.
    pub(super) is_raw: bool,
    /// What the bytes are the distance from.
    pub(super) base: u64,
    /// The bits of the 8 bytes at `at` that belong to the value.
    pub(super) mask: u64,
}

impl ColumnFacts {
    /// Of no values.
    pub fn none() -> Self {
        ColumnFacts { nulls: false, min: i64::MAX, max: i64::MIN }
    }

    /// Adds what is known of others.
    pub fn include(&mut self, other: &ColumnFacts) {
        self.nulls |= other.nulls;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Whether integers of `other` are all in the range of these.
    pub fn has(&self, other: &ColumnFacts) -> bool {
        other.min > other.max || (self.min <= other.min && other.max <= self.max)
    }

    /// The same with all the integers that as many bytes can tell apart, about evenly at both ends.
    pub fn with_room(&self) -> Self {
        if self.min > self.max {
            return *self;
        }
        let range = self.max.wrapping_sub(self.min) as u64;
        let most = low_bytes(byte_width(range));
        let min = self.min.saturating_sub_unsigned((most - range) / 2);
        ColumnFacts { min, max: min.saturating_add_unsigned(most), ..*self }
    }

    /// Adds integers of this range.
    pub(super) fn widen(&mut self, min: i64, max: i64) {
        self.min = self.min.min(min);
        self.max = self.max.max(max);
    }
}

impl PackedForm {
    /// Every column with the width of its type.
    pub(super) fn plain(widths: &[usize], order: &[usize]) -> Self {
        let field = |width: usize| Field { width, is_raw: true, ..Field::default() };
        PackedForm::place(widths.iter().map(|&width| field(width)).collect(), order)
    }

    /// Integers with as many bytes as their range needs.
    pub fn narrow(layout: &PackedLayout, facts: &[ColumnFacts]) -> Self {
        let field = |number: usize| {
            let column = layout.column(number);
            let raw = Field { width: column.width, is_raw: true, ..Field::default() };
            let Some(facts) = facts.get(number).filter(|_| column.kind.is_integer()) else {
                return raw;
            };
            let (min, max) = if facts.min <= facts.max { (facts.min, facts.max) } else { (0, 0) };
            let width = byte_width(max.wrapping_sub(min) as u64);
            if width >= column.width {
                return raw;
            }
            Field { width, is_raw: false, base: min as u64 & low_bytes(column.width), ..raw }
        };
        PackedForm::place((0..layout.columns()).map(field).collect(), &layout.fixed)
    }

    /// Bytes that each row takes beside its strings and its mark.
    pub fn fixed_bytes(&self) -> usize {
        self.strings_at
    }

    fn place(mut fields: Vec<Field>, order: &[usize]) -> Self {
        let mut end = 0;
        for &column in order {
            if let Some(field) = fields.get_mut(column) {
                field.at = end;
                field.mask = low_bytes(field.width);
                end += field.width;
            }
        }
        let strings_at = end + fields.len().div_ceil(8);
        PackedForm { fields, nulls_at: end, strings_at }
    }

    #[inline]
    pub(super) fn field(&self, column: usize) -> &Field {
        &self.fields[column]
    }
}

/// Bytes that tell numbers up to `max` apart.
fn byte_width(max: u64) -> usize {
    8 - max.leading_zeros() as usize / 8
}

fn low_bytes(width: usize) -> u64 {
    if width >= 8 { u64::MAX } else { (1 << (8 * width)) - 1 }
}
