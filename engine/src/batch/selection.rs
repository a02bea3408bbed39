//! The live rows of a chunk.

use arrow::array::{Array, BooleanArray};
use arrow::buffer::ScalarBuffer;

/// Positions of the live rows in a chunk, strictly increasing. Cloning shares the positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    rows: ScalarBuffer<u32>,
}

impl Selection {
    /// Takes positions that are strictly increasing.
    pub fn new(rows: Vec<u32>) -> Self {
        debug_assert!(rows.windows(2).all(|w| w[0] < w[1]), "a selection increases strictly");
        Selection { rows: rows.into() }
    }

    /// The rows where `mask` is true; NULL counts as false, as in a WHERE clause.
    pub fn from_mask(mask: &BooleanArray) -> Self {
        let mut rows = Vec::with_capacity(mask.true_count());
        let live = match mask.nulls() {
            Some(nulls) => mask.values() & nulls.inner(),
            None => mask.values().clone(),
        };
        rows.extend(live.set_indices_u32());
        Selection { rows: rows.into() }
    }

    /// The positions.
    pub fn as_slice(&self) -> &[u32] {
        &self.rows
    }

    /// Number of live rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is live.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The positions without copying them.
    pub fn buffer(&self) -> &ScalarBuffer<u32> {
        &self.rows
    }

    /// The rows `[offset, offset + len)` of the live ones.
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Selection { rows: self.rows.slice(offset, len) }
    }

    /// The rows that `numbers` names by their number among the live ones.
    pub fn pick(&self, numbers: &Selection) -> Self {
        let rows: Vec<u32> = numbers.as_slice().iter().map(|&n| self.rows[n as usize]).collect();
        Selection { rows: rows.into() }
    }

    /// The rows that are not in `others`, all of which are in this selection.
    pub fn without(&self, others: &Selection) -> Self {
        let mut rows = Vec::with_capacity(self.len().saturating_sub(others.len()));
        let mut others = others.as_slice().iter().peekable();
        for &row in self.rows.iter() {
            if others.next_if_eq(&&row).is_none() {
                rows.push(row);
            }
        }
        Selection { rows: rows.into() }
    }
}

impl From<Vec<u32>> for Selection {
    fn from(rows: Vec<u32>) -> Self {
        Selection::new(rows)
    }
}
