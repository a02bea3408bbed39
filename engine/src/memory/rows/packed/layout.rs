//! What is where in a packed row.

use arrow::datatypes::DataType;

use super::super::layout::{ColumnLayout, RowLayout};
use super::form::PackedForm;
use crate::error::Result;

/// What is where in a packed row; see the module documentation.
#[derive(Debug)]
pub struct PackedLayout {
    rows: RowLayout,
    /// By column, in the plain form; offsets from the row's first byte behind its length.
    places: Vec<Place>,
    /// The columns of fixed width, in the order of their bytes.
    pub(super) fixed: Vec<usize>,
    /// The columns of variable length, in the order of their bytes.
    pub(super) variable: Vec<usize>,
    form: PackedForm,
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
        let widths: Vec<usize> = rows.columns.iter().map(|column| column.width).collect();
        let form = PackedForm::plain(&widths, &fixed);
        fixed.iter().for_each(|&column| at[column] = form.field(column).at);
        let place = |(number, &at): (usize, &usize)| Place {
            at,
            null_byte: form.nulls_at + number / 8,
            null_mask: 1 << (number % 8),
        };
        let places = at.iter().enumerate().map(place).collect();
        Ok(PackedLayout { rows, places, fixed, variable, form })
    }

    /// The form of rows in memory.
    pub fn form(&self) -> &PackedForm {
        &self.form
    }

    /// The layout that the same columns have in row pages; for [`super::super::SortKey`].
    pub fn rows(&self) -> &RowLayout {
        &self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.places.len()
    }

    /// Whether a column may have fewer bytes in another form.
    pub fn is_narrowed(&self, column: usize) -> bool {
        self.rows.columns.get(column).is_some_and(|column| column.kind.is_integer())
    }

    pub(super) fn column(&self, column: usize) -> &ColumnLayout {
        &self.rows.columns[column]
    }

    pub(super) fn place(&self, column: usize) -> &Place {
        &self.places[column]
    }
}
