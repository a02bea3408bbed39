//! What is where in a packed row.

use arrow::datatypes::DataType;

use super::super::layout::{ColumnLayout, RowLayout};
use crate::error::Result;

/// What is where in a packed row; see the module documentation.
#[derive(Debug)]
pub struct PackedLayout {
    rows: RowLayout,
    /// By column; offsets from the row's first byte behind its length.
    places: Vec<Place>,
    /// The columns of variable length, in the order of their bytes.
    pub(super) variable: Vec<usize>,
    /// Where the NULL bits begin.
    pub(super) nulls_at: usize,
    /// Where the first string begins.
    pub(super) strings_at: usize,
}

/// Where a column is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Of a fixed column: its first byte. Of a string: how many strings are before it.
    pub(super) at: usize,
    pub(super) null_byte: usize,
    pub(super) null_mask: u8,
}

impl PackedLayout {
    /// The layout for columns of these logical types. Strings among the columns `first` come
    /// before the others.
    ///
    /// # Errors
    /// `Input` when a type cannot be stored.
    pub fn new(columns: &[DataType], first: &[usize]) -> Result<Self> {
        let rows = RowLayout::new(columns, &[])?;
        let is_string =
            |&column: &usize| rows.columns.get(column).is_some_and(|column| column.kind.has_heap());
        let mut variable: Vec<usize> = Vec::new();
        for column in first.iter().copied().chain(0..columns.len()).filter(is_string) {
            if !variable.contains(&column) {
                variable.push(column);
            }
        }
        let mut fixed: Vec<usize> = (0..columns.len()).filter(|c| !is_string(c)).collect();
        fixed.sort_by_key(|&column| std::cmp::Reverse(rows.columns[column].width));
        let mut at = vec![0; columns.len()];
        for (number, &column) in variable.iter().enumerate() {
            at[column] = number;
        }
        let mut end = 0;
        for &column in &fixed {
            at[column] = end;
            end += rows.columns[column].width;
        }
        let place = |(number, &at): (usize, &usize)| Place {
            at,
            null_byte: end + number / 8,
            null_mask: 1 << (number % 8),
        };
        let places = at.iter().enumerate().map(place).collect();
        let strings_at = end + columns.len().div_ceil(8);
        Ok(PackedLayout { rows, places, variable, nulls_at: end, strings_at })
    }

    /// The layout that the same columns have in row pages; for [`super::super::SortKey`].
    pub fn rows(&self) -> &RowLayout {
        &self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.places.len()
    }

    pub(super) fn column(&self, column: usize) -> &ColumnLayout {
        &self.rows.columns[column]
    }

    pub(super) fn place(&self, column: usize) -> &Place {
        &self.places[column]
    }
}
