//! Values picked one by one out of arrays that come one after another.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;

use crate::error::Result;

/// See the module documentation.
pub(super) struct Picks {
    /// An array of one NULL, then those that picks are from.
    arrays: Vec<ArrayRef>,
    /// By pick, its array and its place there.
    at: Vec<(usize, usize)>,
    /// Bytes of the arrays.
    bytes: usize,
}

impl Picks {
    /// No picks yet, of arrays of this physical type.
    pub(super) fn new(physical: &DataType) -> Self {
        Picks { arrays: vec![new_null_array(physical, 1)], at: Vec::new(), bytes: 0 }
    }

    /// Picks a value.
    pub(super) fn push(&mut self, array: &ArrayRef, row: usize) {
        let is_last = self.arrays.last().is_some_and(|last| Arc::ptr_eq(last, array));
        if !is_last || self.arrays.len() == 1 {
            self.bytes += array.get_array_memory_size();
            self.arrays.push(array.clone());
        }
        self.at.push((self.arrays.len() - 1, row));
    }

    /// Picks NULL.
    pub(super) fn push_null(&mut self) {
        self.at.push((0, 0));
    }

    /// Arrays that picks hold on to.
    pub(super) fn arrays(&self) -> usize {
        self.arrays.len() - 1
    }

    /// Bytes of these arrays.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The values picked, and a new start.
    ///
    /// # Errors
    /// `Internal` when the arrays are of several types.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = self.arrays.iter().map(|array| array.as_ref()).collect();
        let picked = interleave(&arrays, &self.at)?;
        self.arrays.truncate(1);
        self.at.clear();
        self.bytes = 0;
        Ok(picked)
    }
}
