//! Tells which stored rows equal rows of a chunk on key columns, column by column over a shrinking
//! list of candidates.

use arrow::buffer::Buffer;
use arrow::datatypes::i256;

use super::append::view_bytes;
use super::fixed::{ByteSlot, Fixed, INLINE_BYTES, value_bytes};
use super::layout::{ColumnLayout, Kind};
use super::pages::{Pages, RowPages, RowRef};
use crate::batch::{Picked, Typed, float_key};
use crate::error::{Error, Result};

impl RowPages {
    /// Compares picked rows with stored ones: candidate `c` says that picked row `c` may equal the
    /// stored row `refs[c]`. Keeps the candidates that are equal on all `keys` (a picked column,
    /// and the number of the stored one) and moves the others to the end of `rejected`. Both lists
    /// keep their order. NULL equals NULL if `nulls_equal`, otherwise nothing.
    ///
    /// Keys of nested types must have been stored as [`crate::batch::with_float_keys`] gives them.
    ///
    /// # Errors
    /// `Internal` when a column's type is not that of the layout.
    pub fn split_equal(
        &self,
        keys: &[(&Picked<'_>, usize)],
        refs: &[RowRef],
        nulls_equal: bool,
        candidates: &mut Vec<u32>,
        rejected: &mut Vec<u32>,
    ) -> Result<()> {
        for &(picked, column) in keys {
            if candidates.is_empty() {
                break;
            }
            let Some(layout) = self.layout().columns.get(column) else {
                return Err(Error::internal(format!("no column {column} in rows")));
            };
            let stored_nulls = self.may_have_nulls(column) || matches!(layout.kind, Kind::Null);
            let nulls = picked.has_nulls() || stored_nulls;
            Match { pages: self, layout, picked, refs, nulls, nulls_equal, candidates, rejected }
                .run()?;
        }
        Ok(())
    }
}

impl RowPages {
    /// Compares stored rows with each other: candidate `c` says that `left[c]` may equal
    /// `right[c]`. Keeps those that are equal on all of `columns`, NULL equal to NULL, and moves
    /// the others to the end of `rejected`. The columns must have been stored as keys, with
    /// numbers as [`crate::batch::with_float_keys`] gives them.
    pub fn split_equal_rows(
        &self,
        columns: &[usize],
        left: &[RowRef],
        right: &[RowRef],
        candidates: &mut Vec<u32>,
        rejected: &mut Vec<u32>,
    ) {
        for &column in columns {
            let Some(layout) = self.layout().columns.get(column) else { continue };
            let at = (layout.offset, self.may_have_nulls(column).then_some(layout));
            let pairs = (left, right);
            match (layout.kind.has_heap(), layout.width) {
                (true, _) => self.retain_pairs(pairs, at, candidates, rejected, same_bytes),
                (_, 1) => self.retain_pairs(pairs, at, candidates, rejected, same_width::<1>),
                (_, 2) => self.retain_pairs(pairs, at, candidates, rejected, same_width::<2>),
                (_, 4) => self.retain_pairs(pairs, at, candidates, rejected, same_width::<4>),
                (_, 8) => self.retain_pairs(pairs, at, candidates, rejected, same_width::<8>),
                (_, 16) => self.retain_pairs(pairs, at, candidates, rejected, same_width::<16>),
                (_, 32) => self.retain_pairs(pairs, at, candidates, rejected, same_width::<32>),
                _ => (),
            }
        }
    }

    /// Keeps the pairs for which `same` holds of the column's bytes and the pages, and that are
    /// both or neither NULL. The value of a NULL is all zero.
    fn retain_pairs(
        &self,
        (left, right): (&[RowRef], &[RowRef]),
        (offset, nulls): (usize, Option<&ColumnLayout>),
        candidates: &mut Vec<u32>,
        rejected: &mut Vec<u32>,
        same: impl Fn(&[u8], &[u8], &[u8], &[u8]) -> bool,
    ) {
        candidates.retain(|&candidate| {
            let (left, right) = (left[candidate as usize], right[candidate as usize]);
            let (left_page, right_page) =
                (self.page_bytes(left.page()), self.page_bytes(right.page()));
            let (left, right) = (&left_page[left.offset()..], &right_page[right.offset()..]);
            let equal = same(&left[offset..], &right[offset..], left_page, right_page)
                && nulls.is_none_or(|column| {
                    (left[column.null_byte] ^ right[column.null_byte]) & column.null_mask == 0
                });
            if !equal {
                rejected.push(candidate);
            }
            equal
        });
    }
}

fn same_width<const W: usize>(left: &[u8], right: &[u8], _: &[u8], _: &[u8]) -> bool {
    left.first_chunk::<W>() == right.first_chunk::<W>()
}

fn same_bytes(left: &[u8], right: &[u8], left_page: &[u8], right_page: &[u8]) -> bool {
    let (a, b) = (ByteSlot::take(left), ByteSlot::take(right));
    match a.is_inline() {
        true => a == b,
        false => a.own_head() == b.own_head() && a.heap(left_page) == b.heap(right_page),
    }
}

/// One key column of the candidates.
struct Match<'a> {
    pages: &'a RowPages,
    layout: &'a ColumnLayout,
    picked: &'a Picked<'a>,
    refs: &'a [RowRef],
    /// Whether there may be NULLs on either side.
    nulls: bool,
    nulls_equal: bool,
    candidates: &'a mut Vec<u32>,
    rejected: &'a mut Vec<u32>,
}

impl Match<'_> {
    fn run(mut self) -> Result<()> {
        use Kind as K;
        use Typed as T;
        match (&self.layout.kind, Typed::of(self.picked.array())) {
            (K::Bool, T::Bool(v)) => self.fixed(|own: u8, at| (own != 0) == v.value(at)),
            (K::I8, T::I8(v)) => self.fixed(|own: i8, at| own == v[at]),
            (K::I16, T::I16(v)) => self.fixed(|own: i16, at| own == v[at]),
            (K::I32, T::I32(v)) => self.fixed(|own: i32, at| own == v[at]),
            (K::I64 | K::Narrow, T::I64(v)) => self.fixed(|own: i64, at| own == v[at]),
            (K::U8, T::U8(v)) => self.fixed(|own: u8, at| own == v[at]),
            (K::U16, T::U16(v)) => self.fixed(|own: u16, at| own == v[at]),
            (K::U32, T::U32(v)) => self.fixed(|own: u32, at| own == v[at]),
            (K::U64, T::U64(v)) => self.fixed(|own: u64, at| own == v[at]),
            (K::F16, T::F16(v)) => {
                self.fixed(|own: crate::batch::Half, at| same(own.into(), v[at].into()))
            }
            (K::F32, T::F32(v)) => self.fixed(|own: f32, at| same(own.into(), v[at].into())),
            (K::F64, T::F64(v)) => self.fixed(|own: f64, at| same(own, v[at])),
            (K::Narrow, T::I128(v)) => self.fixed(|own: i64, at| i128::from(own) == v[at]),
            (K::Wide, T::I64(v)) => self.fixed(|own: i128, at| own == i128::from(v[at])),
            (K::Wide, T::I128(v)) => self.fixed(|own: i128, at| own == v[at]),
            (K::Widest, T::I64(v)) => {
                self.fixed(|own: i256, at| own == i256::from_i128(v[at].into()))
            }
            (K::Widest, T::I128(v)) => self.fixed(|own: i256, at| own == i256::from_i128(v[at])),
            (K::Widest, T::I256(v)) => self.fixed(|own: i256, at| own == v[at]),
            (K::DayTime, T::DayTime(v)) => {
                self.fixed(|own: arrow::datatypes::IntervalDayTime, at| own == v[at])
            }
            (K::MonthDayNano, T::MonthDayNano(v)) => {
                self.fixed(|own: arrow::datatypes::IntervalMonthDayNano, at| own == v[at])
            }
            (K::Bytes, T::Views(views, buffers)) => self.views(views, buffers),
            (K::Nested(codec), _) => {
                let keys = codec.encode_keys(self.picked)?;
                self.retain(|slot, page, row| value_bytes(slot, page) == keys.row(row).as_ref());
            }
            (K::Null, _) | (_, T::Null) => self.retain(|_, _, _| false),
            _ => {
                let (own, other) = (&self.layout.physical, self.picked.array().data_type());
                return Err(Error::internal(format!("{own} in rows is matched with {other}")));
            }
        }
        Ok(())
    }

    /// Keeps the candidates for which `equal` holds, given the column's bytes of the stored row
    /// and what is behind them, its page, and the number of the picked row.
    fn retain(&mut self, equal: impl Fn(&[u8], &[u8], usize) -> bool) {
        let Match { pages, layout, picked, refs, nulls, nulls_equal, .. } = *self;
        let rejected = &mut *self.rejected;
        let mut kept = 0;
        for i in 0..self.candidates.len() {
            let candidate = self.candidates[i];
            let row = candidate as usize;
            let page = pages.page_bytes(refs[row].page());
            let stored = &page[refs[row].offset()..];
            let same = if nulls {
                let stored_null = stored[layout.null_byte] & layout.null_mask != 0;
                match (stored_null, picked.is_null(row)) {
                    (false, false) => equal(&stored[layout.offset..], page, row),
                    (true, true) => nulls_equal,
                    _ => false,
                }
            } else {
                equal(&stored[layout.offset..], page, row)
            };
            if same {
                self.candidates[kept] = candidate;
                kept += 1;
            } else {
                rejected.push(candidate);
            }
        }
        self.candidates.truncate(kept);
    }

    fn fixed<T: Fixed>(&mut self, equal: impl Fn(T, usize) -> bool) {
        let picked = self.picked;
        let at = picked.at();
        self.retain(|stored, _, row| equal(T::take(stored), at[row] as usize));
    }

    fn views(&mut self, views: &[u128], buffers: &[Buffer]) {
        let picked = self.picked;
        let at = picked.at();
        self.retain(|stored, page, row| {
            let (view, slot) = (views[at[row] as usize], ByteSlot::take(stored));
            if view as u32 as usize <= INLINE_BYTES {
                return slot.0 == view;
            }
            if slot.len() != view as u32 as usize {
                return false;
            }
            let value = view_bytes(view, buffers);
            slot.own_head() == ByteSlot::head(value) && slot.heap(page) == value
        });
    }
}

fn same(a: f64, b: f64) -> bool {
    a == b || float_key(a).to_bits() == float_key(b).to_bits()
}
