//! What all runs of one sort have in common: the form of rows and of keys.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use crate::batch::{Column, Picked, pick};
use crate::error::Result;
use crate::memory::rows::packed::{PackedLayout, PackedRow, Unpacker};
use crate::memory::rows::{RowOrder, SortKey, longest};

/// The front of a row's normalised key: 16 bytes whose order as a number is the order of the keys
/// as far as they go.
pub(super) type Words = u128;

/// The form of the rows and keys of one sort.
#[derive(Debug)]
pub struct RunShape {
    layout: Arc<PackedLayout>,
    order: Vec<RowOrder>,
    /// Keys of the order that make groups.
    keys: usize,
    /// How keys become words where nothing is known of the values.
    plain: SortKey,
    /// How they do: chosen for the first rows, the same for all that come.
    chosen: OnceLock<SortKey>,
}

/// Words of a key.
const WORDS: usize = size_of::<Words>() / 8;

impl RunShape {
    /// For rows of these logical types, sorted by `order`.
    ///
    /// # Errors
    /// `Input` when a type cannot be stored or compared.
    pub fn new(columns: &[DataType], order: &[RowOrder]) -> Result<Arc<Self>> {
        RunShape::grouped(columns, order, order.len())
    }

    /// The same for a sort of which rows that are equal in the first `keys` keys stay together.
    ///
    /// # Errors
    /// As [`RunShape::new`].
    pub fn grouped(columns: &[DataType], order: &[RowOrder], keys: usize) -> Result<Arc<Self>> {
        let first: Vec<usize> = order.iter().map(|by| by.column).collect();
        let layout = Arc::new(PackedLayout::new(columns, &first)?);
        let plain = SortKey::new(layout.rows(), order, WORDS)?;
        let chosen = OnceLock::new();
        Ok(Arc::new(RunShape { layout, order: order.to_vec(), keys, plain, chosen }))
    }

    fn key(&self) -> &SortKey {
        self.chosen.get_or_init(|| self.plain.clone())
    }

    /// The same for rows like these: texts that are short leave room for what comes behind them.
    fn key_for(&self, keys: &[Picked<'_>]) -> Result<&SortKey> {
        if let Some(chosen) = self.chosen.get() {
            return Ok(chosen);
        }
        let lengths: Vec<Option<usize>> = keys.iter().map(longest).collect();
        let key = SortKey::with_lengths(self.layout.rows(), &self.order, WORDS, &lengths)?;
        Ok(self.chosen.get_or_init(|| key))
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
        words.clear();
        if rows.is_empty() {
            return Ok(());
        }
        let keys = pick(self.order.iter().filter_map(|by| columns.get(by.column)), rows);
        let mut halves = Vec::with_capacity(2 * rows.len());
        let key = self.key_for(&keys)?;
        key.encode(self.layout.rows(), &keys, &mut halves)?;
        match key.words() {
            2 => words.extend(halves.as_chunks::<2>().0.iter().map(|&[a, b]| join(a, b))),
            _ => words.extend(halves.iter().map(|&a| join(a, 0))),
        }
        words.resize(rows.len(), 0);
        Ok(())
    }

    /// The first words that rows of a group can have, of which a row has these.
    pub(super) fn first_of_group(&self, words: Words) -> Words {
        let decided = self.key().prefix_bytes(self.keys).min(size_of::<Words>());
        let free = Words::BITS as usize - 8 * decided;
        words & Words::MAX.checked_shl(free as u32).unwrap_or(0)
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
        let key = self.key();
        !key.is_exact() && key.may_differ(&[(words >> 64) as u64, words as u64])
    }

    /// The order of two rows that have the same words.
    pub(super) fn compare_rest(&self, a: &PackedRow<'_>, b: &PackedRow<'_>) -> Ordering {
        a.compare(b, &self.layout, self.key().rest())
    }
}

#[inline]
fn join(high: u64, low: u64) -> Words {
    (u128::from(high) << 64) | u128::from(low)
}
