//! Some rows of a column, whatever its form: where each row's value is in the array behind it.
//!
//! Whoever stores, hashes or compares the rows of a chunk reads them through [`pick`], so that
//! indexed and constant columns are read in place. Columns that share an index vector share the
//! composition with the rows.

use std::ops::Deref;
use std::rc::Rc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;

use super::MAX_CHUNK_ROWS;
use super::chunk::Chunk;
use super::column::{Column, Form, Indices, NULL_INDEX};
use super::selection::Selection;

static IDENTITY: [u32; MAX_CHUNK_ROWS] = {
    let mut positions = [0; MAX_CHUNK_ROWS];
    let mut i = 0;
    while i < MAX_CHUNK_ROWS {
        positions[i] = i as u32;
        i += 1;
    }
    positions
};
static ZEROS: [u32; MAX_CHUNK_ROWS] = [0; MAX_CHUNK_ROWS];

/// The physical positions `0..rows` of a chunk without a selection; `rows` is at most
/// [`MAX_CHUNK_ROWS`], which no chunk exceeds: the driver refuses it.
pub fn all_rows(rows: usize) -> &'static [u32] {
    debug_assert!(rows <= MAX_CHUNK_ROWS, "a chunk has at most {MAX_CHUNK_ROWS} rows");
    &IDENTITY[..rows.min(MAX_CHUNK_ROWS)]
}

impl Chunk {
    /// The physical positions of the live rows.
    pub fn live_positions(&self) -> &[u32] {
        self.selection().map_or_else(|| all_rows(self.rows()), Selection::as_slice)
    }
}

/// The positions of picked rows in the array behind their column.
#[derive(Debug, Clone)]
enum At<'a> {
    Borrowed(&'a [u32]),
    Shared(Rc<[u32]>),
}

impl Deref for At<'_> {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            At::Borrowed(at) => at,
            At::Shared(at) => at,
        }
    }
}

/// Some rows of one column; see the module documentation.
#[derive(Debug, Clone)]
pub struct Picked<'a> {
    array: &'a ArrayRef,
    at: At<'a>,
    /// Whether [`NULL_INDEX`] may be among the positions.
    null_index: bool,
    nulls: Option<&'a NullBuffer>,
}

impl<'a> Picked<'a> {
    /// All values of an array that stands for itself.
    pub fn of_array(array: &'a ArrayRef, at: &'a [u32]) -> Self {
        Picked::new(array, At::Borrowed(at), false)
    }

    fn new(array: &'a ArrayRef, at: At<'a>, null_index: bool) -> Self {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        Picked { array, at, null_index, nulls }
    }

    /// The array that [`Picked::at`] points into.
    pub fn array(&self) -> &'a ArrayRef {
        self.array
    }

    /// Where each picked row's value is; [`NULL_INDEX`] for NULL.
    pub fn at(&self) -> &[u32] {
        &self.at
    }

    /// Number of picked rows.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether no row is picked.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Whether some picked row may be NULL. When not, every position is inside the array.
    pub fn has_nulls(&self) -> bool {
        self.null_index || self.nulls.is_some() || self.array.data_type().is_null()
    }

    /// Whether picked row `row` is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        self.is_null_at(self.at[row])
    }

    /// Whether the value at this position of the array is NULL.
    pub fn is_null_at(&self, at: u32) -> bool {
        if self.null_index && at == NULL_INDEX {
            return true;
        }
        match self.nulls {
            Some(nulls) => nulls.is_null(at as usize),
            None => self.array.data_type().is_null(),
        }
    }

    /// The positions as indices, for [`super::gather`].
    pub fn indices(&self) -> Indices {
        match self.null_index {
            true => Indices::with_nulls(self.at.to_vec()),
            false => Indices::new(self.at.to_vec()),
        }
    }
}

/// The rows of each column at these physical positions (see [`Chunk::live_positions`]).
pub fn pick<'a>(columns: impl IntoIterator<Item = &'a Column>, rows: &'a [u32]) -> Vec<Picked<'a>> {
    let mut composed: Vec<(*const Indices, At<'a>)> = Vec::new();
    columns.into_iter().map(|column| pick_one(column, rows, &mut composed)).collect()
}

fn pick_one<'a>(
    column: &'a Column,
    rows: &'a [u32],
    composed: &mut Vec<(*const Indices, At<'a>)>,
) -> Picked<'a> {
    match column.form() {
        Form::Flat(array) => Picked::new(array, At::Borrowed(rows), false),
        Form::Constant(array) => {
            let zeros = match rows.len() <= MAX_CHUNK_ROWS {
                true => At::Borrowed(&ZEROS[..rows.len()]),
                false => At::Shared(vec![0; rows.len()].into()),
            };
            Picked::new(array, zeros, false)
        }
        Form::Indexed(indexed) => {
            let indices = indexed.indices.as_slice();
            let key = std::sync::Arc::as_ptr(&indexed.indices);
            let known = composed.iter().find(|(k, _)| *k == key).map(|(_, at)| at.clone());
            let at = known.unwrap_or_else(|| {
                let at = match std::ptr::eq(rows.as_ptr(), IDENTITY.as_ptr()) {
                    true => At::Borrowed(&indices[..rows.len()]),
                    false => At::Shared(rows.iter().map(|&row| indices[row as usize]).collect()),
                };
                composed.push((key, at.clone()));
                at
            });
            Picked::new(&indexed.base, at, indexed.indices.has_nulls())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int32Array;
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn every_form_is_read_in_place() {
        let base: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let indices = Arc::new(Indices::with_nulls(vec![2, NULL_INDEX, 1, 0]));
        let columns = [
            Column::flat(DataType::Int32, Arc::new(Int32Array::from(vec![5, 6, 7, 8]))),
            Column::constant(DataType::Int32, Arc::new(Int32Array::from(vec![9]))),
            Column::indexed(DataType::Int32, indices, base, None),
        ];
        let rows = [1, 2, 3];
        let picked = pick(&columns, &rows);
        assert_eq!(picked[0].at(), [1, 2, 3]);
        assert!(!picked[0].has_nulls());
        assert_eq!(picked[1].at(), [0, 0, 0]);
        assert_eq!(picked[2].at(), [NULL_INDEX, 1, 0]);
        assert_eq!([0, 1, 2].map(|i| picked[2].is_null(i)), [true, true, false]);
        assert_eq!(pick(&columns, all_rows(4))[2].at(), [2, NULL_INDEX, 1, 0]);
    }
}
