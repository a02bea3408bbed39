//! One column of one row group, read from front to back.

use std::ops::Range;

use crate::batch::{Column, Indices, Selection};
use crate::error::Result;
use crate::sources::block::thin;

/// Reads one column of one row group from its start on. Whoever calls it never asks for more rows
/// than the row group has.
pub(super) trait ColumnReader: Send {
    /// Passes over the next `rows` rows; pages that nobody reads from are not decompressed.
    fn skip(&mut self, rows: usize) -> Result<()>;

    /// The next `rows` rows.
    fn read(&mut self, rows: usize) -> Result<Column>;

    /// Of the next `rows` rows those that `kept` names, densely.
    fn read_selected(&mut self, rows: usize, kept: &Selection) -> Result<Column> {
        thin(&self.read(rows)?, &Indices::from(kept))
    }

    /// Bytes of buffers held, or that are going to be before they are looked at again.
    fn held_bytes(&self) -> usize;

    /// Bytes that values of any length take in these rows of the row group, about.
    fn text_bytes(&self, _rows: &Range<usize>) -> usize {
        0
    }
}
