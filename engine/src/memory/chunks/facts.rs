//! What is known of the values of kept columns.

use arrow::array::Array;

use crate::batch::{Column, Ordinals, has_ordinals, widest};
use crate::error::Result;

/// What is known of a column's values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ColumnFacts {
    /// Number of NULLs.
    pub nulls: u64,
    /// The least and greatest ordinal; see [`Ordinals`].
    pub range: Option<(i64, i64)>,
    /// Values without an ordinal occur: the range says nothing about them.
    pub beyond: bool,
}

impl ColumnFacts {
    /// Takes note of the values of a flat column.
    ///
    /// # Errors
    /// `Internal` when the column's values are not of its type.
    pub fn add(&mut self, column: &Column, scratch: &mut Ordinals) -> Result<()> {
        let values = column.values();
        self.nulls += values.logical_null_count() as u64;
        if !has_ordinals(column.logical()) {
            self.beyond |= !values.is_empty();
            return Ok(());
        }
        scratch.read(column, values.len(), None)?;
        self.beyond |= !scratch.beyond.is_empty();
        self.range = widest(self.range, scratch.range());
        Ok(())
    }

    /// What is known when the values of both are known together.
    #[must_use]
    pub fn and(self, other: ColumnFacts) -> ColumnFacts {
        ColumnFacts {
            nulls: self.nulls + other.nulls,
            range: widest(self.range, other.range),
            beyond: self.beyond || other.beyond,
        }
    }
}
