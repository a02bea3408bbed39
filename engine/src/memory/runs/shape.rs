//! What all runs of one sort have in common: the form of rows and of keys.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::batch::{Column, pick};
use crate::error::Result;
use crate::memory::rows::packed::{PackedLayout, PackedRow, Unpacker};
use crate::memory::rows::{RowOrder, SortKey};

/// The front of a row's normalised key: 16 bytes whose order as a number is the order of the keys
/// as far as they go.
pub(super) type Words = u128;

/// The form of the rows and keys of one sort.
#[derive(Debug)]
pub struct RunShape {
    layout: Arc<PackedLayout>,
    key: SortKey,
    order: Vec<RowOrder>,
    /// The bits of words by which rows may be in two ranges.
    cut: Words,
}

impl RunShape {
    /// For rows of these logical types, sorted by `order`.
    ///
    /// # Errors
    /// `Input` when a type cannot be stored or compared.
    pub fn new(columns: &[DataType], order: &[RowOrder]) -> Result<Arc<Self>> {
        RunShape::with_together(columns, order, usize::MAX)
    }

    /// The same, where rows that are equal on the first `together` columns of the order are never
    /// in two ranges.
    ///
    /// # Errors
    /// As [`RunShape::new`].
    pub fn with_together(
        columns: &[DataType],
        order: &[RowOrder],
        together: usize,
    ) -> Result<Arc<Self>> {
        let first: Vec<usize> = order.iter().map(|by| by.column).collect();
        let layout = Arc::new(PackedLayout::new(columns, &first)?);
        let key = SortKey::new(layout.rows(), order, 2)?;
        let bytes = key.bytes_of(together).min(size_of::<Words>()) as u32;
        let cut = Words::MAX.checked_shl(Words::BITS - 8 * bytes).unwrap_or(0);
        Ok(Arc::new(RunShape { layout, key, order: order.to_vec(), cut }))
    }

    /// The words of a splitter, without what must not decide on the range.
    pub(super) fn cut(&self, words: Words) -> Words {
        words & self.cut
    }

    /// The form of the rows.
    pub fn layout(&self) -> &Arc<PackedLayout> {
        &self.layout
    }

    /// The columns rows are sorted by.
    pub fn order(&self) -> &[RowOrder] {
        &self.order
    }

    /// Puts the words of the rows at these positions into `words`.
    pub(super) fn words(
        &self,
        columns: &[Column],
        rows: &[u32],
        words: &mut Vec<Words>,
    ) -> Result<()> {
        let keys = pick(self.order.iter().filter_map(|by| columns.get(by.column)), rows);
        let mut halves = Vec::with_capacity(2 * rows.len());
        self.key.encode(self.layout.rows(), &keys, &mut halves)?;
        words.clear();
        match self.key.words() {
            2 => words.extend(halves.as_chunks::<2>().0.iter().map(|&[a, b]| join(a, b))),
            _ => words.extend(halves.iter().map(|&a| join(a, 0))),
        }
        words.resize(rows.len(), 0);
        Ok(())
    }

    /// The value of the first key of a row, an array of one row.
    pub(super) fn first_key(&self, row: &PackedRow<'_>) -> Option<ArrayRef> {
        let column = self.order.first()?.column;
        let mut unpacker = Unpacker::new(self.layout.clone(), 1);
        unpacker.push(&[*row], |_| true);
        unpacker.finish().ok()?.into_iter().nth(column)
    }

    /// Whether two rows that both have these words may be in some order all the same.
    #[inline]
    pub(super) fn may_differ(&self, words: Words) -> bool {
        !self.key.is_exact() && self.key.may_differ(&[(words >> 64) as u64, words as u64])
    }

    /// The order of two rows that have the same words.
    pub(super) fn compare_rest(&self, a: &PackedRow<'_>, b: &PackedRow<'_>) -> Ordering {
        a.compare(b, &self.layout, self.key.rest())
    }
}

#[inline]
fn join(high: u64, low: u64) -> Words {
    (u128::from(high) << 64) | u128::from(low)
}
