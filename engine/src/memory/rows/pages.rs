//! Pages of rows, and references to rows.
//!
//! Invariants:
//! 1. The first `rows * width` bytes of a page are its rows, the last `heap` bytes its heap; what
//!    is between is zero.
//! 2. Every heap value of a row is in the heap of the row's page.
//! 3. A row with a page of its own begins at offset 0, so offsets stay below [`PAGE_BYTES_MAX`].
//! 4. The rows of a lane are in the order in which they came, page by page.

use std::sync::Arc;

use super::fixed::INLINE_BYTES;
use super::layout::{HASH_BITS_LOST, RowLayout, Slot};
use crate::error::{Error, Result};
use crate::memory::Reservation;

/// Size of a full page unless the owner chooses another.
pub const DEFAULT_PAGE_BYTES: usize = 256 << 10;

/// Size of the first page; each next one is twice as large, up to the owner's page size.
pub const FIRST_PAGE_BYTES: usize = 4 << 10;

/// The largest page size an owner can choose. Only rows with a page of their own take more.
pub const PAGE_BYTES_MAX: usize = 8 << 20;

/// Bits of a reference that say where in its page a row is, in units of 8 bytes.
const OFFSET_BITS: u32 = 20;

/// Where a row is: the number of its page and its offset in it. The upper 16 bits are zero, so an
/// owner may keep a tag there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowRef(u64);

impl RowRef {
    /// No row; gathering gives NULL for it.
    pub const NONE: RowRef = RowRef(u64::MAX);

    /// Bits that a reference to a row can have.
    pub const BITS: u32 = 48;

    /// The row that begins `offset` bytes into page number `page`; `offset` is a multiple of 8.
    pub fn new(page: usize, offset: usize) -> Self {
        RowRef(((page as u64) << OFFSET_BITS) | (offset as u64 / 8))
    }

    /// The reference as a number below `2^48` (unless it is [`RowRef::NONE`]).
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The reference that has these bits.
    pub fn from_bits(bits: u64) -> Self {
        RowRef(bits)
    }

    /// Number of the page.
    #[inline]
    pub fn page(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    /// Bytes before the row in its page.
    #[inline]
    pub fn offset(self) -> usize {
        (self.0 & ((1 << OFFSET_BITS) - 1)) as usize * 8
    }

    /// The same row after its pages were moved behind `pages` others; see [`RowPages::absorb`].
    pub fn behind(self, pages: usize) -> Self {
        match self {
            RowRef::NONE => self,
            RowRef(bits) => RowRef(bits + ((pages as u64) << OFFSET_BITS)),
        }
    }
}

/// Where the bytes of pages are.
pub trait Pages {
    /// All bytes of page number `page`.
    fn page_bytes(&self, page: usize) -> &[u8];

    /// Whether column number `column` may have a NULL.
    fn may_have_nulls(&self, column: usize) -> bool {
        let _ = column;
        true
    }
}

impl Pages for [&[u8]] {
    fn page_bytes(&self, page: usize) -> &[u8] {
        self[page]
    }
}

#[derive(Debug)]
pub(super) struct Page {
    pub(super) bytes: Box<[u8]>,
    pub(super) rows: usize,
    pub(super) heap: usize,
    lane: u16,
}

impl Page {
    fn new(bytes: usize, lane: u16) -> Self {
        Page { bytes: vec![0; bytes].into_boxed_slice(), rows: 0, heap: 0, lane }
    }

    pub(super) fn free(&self, width: usize) -> usize {
        self.bytes.len() - self.heap - self.rows * width
    }

    /// Puts bytes on the heap, which has room for them; gives their distance from the end.
    pub(super) fn put_heap(&mut self, value: &[u8]) -> u32 {
        self.heap += value.len();
        let start = self.bytes.len() - self.heap;
        self.bytes[start..start + value.len()].copy_from_slice(value);
        self.heap as u32
    }
}

/// The bytes of a page that carry information. A page made of the one, then the other, is the same
/// page.
#[derive(Debug, Clone, Copy)]
pub struct PageImage<'a> {
    /// Number of rows.
    pub rows: usize,
    /// The rows.
    pub fixed: &'a [u8],
    /// The heap.
    pub heap: &'a [u8],
}

/// A part of the pages that is filled on its own.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    /// The page that rows are appended to, when there is one with room.
    open: Option<usize>,
    pages: u32,
}

/// Rows of one layout; see the module documentation.
///
/// Rows can be kept in several *lanes* (partitions): each lane has pages of its own, and can be
/// taken out whole.
#[derive(Debug)]
pub struct RowPages {
    layout: Arc<RowLayout>,
    page_bytes: usize,
    /// Whether a refusal of memory is an error.
    pub(super) strict: bool,
    pub(super) pages: Vec<Page>,
    lanes: Vec<Lane>,
    rows: usize,
    bytes: usize,
    /// By column, whether a NULL was ever stored.
    pub(super) nulls: Vec<bool>,
    /// No row has more bytes in the heap.
    pub(super) longest_heap: usize,
}

impl RowPages {
    /// No rows yet. Pages get up to `page_bytes` bytes.
    pub fn new(layout: Arc<RowLayout>, page_bytes: usize) -> Self {
        RowPages::with_lanes(layout, page_bytes, 1)
    }

    /// No rows yet, with room for this many lanes (at least one).
    pub fn with_lanes(layout: Arc<RowLayout>, page_bytes: usize, lanes: usize) -> Self {
        let least = FIRST_PAGE_BYTES.max((8 * layout.width()).next_power_of_two());
        let page_bytes = page_bytes.clamp(least.min(PAGE_BYTES_MAX), PAGE_BYTES_MAX);
        let nulls = vec![false; layout.columns()];
        let lanes = vec![Lane::default(); lanes.clamp(1, usize::from(u16::MAX))];
        let (pages, strict) = (Vec::new(), false);
        RowPages {
            layout,
            page_bytes,
            strict,
            pages,
            lanes,
            rows: 0,
            bytes: 0,
            nulls,
            longest_heap: 0,
        }
    }

    /// The same for an owner that cannot make room: a refusal of memory is an error.
    #[must_use]
    pub fn strict(self) -> Self {
        RowPages { strict: true, ..self }
    }

    /// Number of lanes.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The layout of the rows.
    pub fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes that no row has more of in the heap.
    pub fn longest_heap(&self) -> usize {
        self.longest_heap
    }

    /// Bytes that no value has more of whose type does not say them.
    pub fn longest_value(&self) -> usize {
        self.longest_heap.max(INLINE_BYTES)
    }

    /// Bytes of all pages: what they are charged with.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of pages.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Number of rows of one page.
    pub fn page_rows(&self, page: usize) -> usize {
        self.pages.get(page).map_or(0, |page| page.rows)
    }

    /// The lane that a page belongs to.
    pub fn page_lane(&self, page: usize) -> usize {
        self.pages.get(page).map_or(0, |page| usize::from(page.lane))
    }

    /// The rows of one page, in the order they were appended.
    pub fn page_refs(&self, page: usize) -> impl ExactSizeIterator<Item = RowRef> + use<> {
        let width = self.layout.width();
        (0..self.page_rows(page)).map(move |row| RowRef::new(page, row * width))
    }

    /// All rows, page by page.
    pub fn refs(&self) -> impl Iterator<Item = RowRef> + '_ {
        (0..self.pages.len()).flat_map(|page| self.page_refs(page))
    }

    /// The fixed part of a row.
    #[inline]
    pub fn row(&self, row: RowRef) -> &[u8] {
        &self.pages[row.page()].bytes[row.offset()..][..self.layout.width()]
    }

    /// The fixed part of a row, to change the owner's slots.
    #[inline]
    pub fn row_mut(&mut self, row: RowRef) -> &mut [u8] {
        &mut self.pages[row.page()].bytes[row.offset()..][..self.layout.width()]
    }

    /// The slot of 8 bytes as a number.
    #[inline]
    pub fn slot(&self, row: RowRef, slot: Slot) -> u64 {
        let bytes = &self.pages[row.page()].bytes[row.offset() + slot.offset..];
        bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }

    /// Sets the slot of 8 bytes.
    #[inline]
    pub fn set_slot(&mut self, row: RowRef, slot: Slot, value: u64) {
        let bytes = &mut self.pages[row.page()].bytes[row.offset() + slot.offset..][..8];
        bytes.copy_from_slice(&value.to_ne_bytes());
    }

    /// Sets the slot of 8 bytes of many rows.
    pub fn set_slots(&mut self, rows: &[RowRef], slot: Slot, values: &[u64]) {
        for (&row, &value) in rows.iter().zip(values) {
            self.set_slot(row, slot, value);
        }
    }

    /// The hash of a row, but for its lowest byte, which is zero; see [`RowLayout::with_hash`].
    #[inline]
    pub fn hash(&self, row: RowRef, slot: Slot) -> u64 {
        self.slot(row, slot) & !HASH_BITS_LOST
    }

    /// Sets the hashes of new rows.
    pub fn set_hashes(&mut self, rows: &[RowRef], slot: Slot, hashes: &[u64]) {
        for (&row, &hash) in rows.iter().zip(hashes) {
            let others = self.slot(row, slot) & HASH_BITS_LOST;
            self.set_slot(row, slot, (hash & !HASH_BITS_LOST) | others);
        }
    }

    /// Takes over all pages of `other`, which has the same layout; both have one lane. Its rows'
    /// references change:
    /// see [`RowRef::behind`], with the number of pages that is returned. The memory they are
    /// charged to is the caller's to move.
    pub fn absorb(&mut self, other: RowPages) -> usize {
        let behind = self.pages.len();
        self.pages.extend(other.pages);
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.longest_heap = self.longest_heap.max(other.longest_heap);
        self.nulls.iter_mut().zip(other.nulls).for_each(|(a, b)| *a |= b);
        if let (Some(own), Some(other)) = (self.lanes.first_mut(), other.lanes.first()) {
            own.open = own.open.or(other.open.map(|open| open + behind));
            own.pages += other.pages;
        }
        behind
    }

    /// The rows of each lane on their own. References to them are no longer valid.
    pub fn into_lanes(self) -> Vec<RowPages> {
        let empty = || {
            let pages = RowPages::new(self.layout.clone(), self.page_bytes);
            let (strict, longest_heap) = (self.strict, self.longest_heap);
            RowPages { nulls: self.nulls.clone(), strict, longest_heap, ..pages }
        };
        let mut lanes: Vec<RowPages> = self.lanes.iter().map(|_| empty()).collect();
        for mut page in self.pages {
            let lane = &mut lanes[usize::from(page.lane)];
            page.lane = 0;
            lane.rows += page.rows;
            lane.bytes += page.bytes.len();
            lane.pages.push(page);
        }
        lanes
    }

    /// Frees a page, whose rows are gone then; references to others stay. Its bytes, for the caller
    /// to give back.
    pub fn free_page(&mut self, page: usize) -> usize {
        let Some(page) = self.pages.get_mut(page) else { return 0 };
        let freed = std::mem::replace(&mut page.bytes, Box::new([])).len();
        self.rows -= std::mem::take(&mut page.rows);
        self.bytes -= freed;
        page.heap = 0;
        freed
    }

    /// The bytes of a page, for writing it out.
    pub fn image(&self, page: usize) -> Option<PageImage<'_>> {
        let page = self.pages.get(page)?;
        let fixed = &page.bytes[..page.rows * self.layout.width()];
        let heap = &page.bytes[page.bytes.len() - page.heap..];
        Some(PageImage { rows: page.rows, fixed, heap })
    }

    /// Adds a page that was written out, as the last one. `bytes` is its rows, then its heap, and
    /// must have been charged already.
    ///
    /// # Errors
    /// `Internal` when the bytes cannot be a page of this layout.
    pub fn push_image(&mut self, rows: usize, bytes: Vec<u8>) -> Result<()> {
        let fixed = rows
            .checked_mul(self.layout.width())
            .filter(|&fixed| fixed <= bytes.len() && (rows <= 1 || fixed <= PAGE_BYTES_MAX));
        let Some(fixed) = fixed else {
            return Err(Error::internal(format!(
                "a page of {} bytes and {rows} rows",
                bytes.len()
            )));
        };
        let heap = bytes.len() - fixed;
        let page = Page { rows, heap, bytes: bytes.into_boxed_slice(), lane: 0 };
        self.rows += rows;
        self.bytes += page.bytes.len();
        self.longest_heap = self.longest_heap.max(heap);
        // NULLs are not looked for: the page may have some in any column.
        self.nulls.fill(true);
        self.pages.push(page);
        Ok(())
    }

    /// Drops all rows. The memory they are charged to is the caller's to give back.
    pub fn clear(&mut self) {
        self.pages.clear();
        self.lanes.fill(Lane::default());
        self.rows = 0;
        self.bytes = 0;
        self.longest_heap = 0;
        self.nulls.fill(false);
    }

    /// A page of a lane with room for a row that needs `heap` bytes of it, charged to `memory`;
    /// `None` when that refuses.
    pub(super) fn page_for(
        &mut self,
        lane: usize,
        heap: usize,
        memory: &mut Reservation,
    ) -> Result<Option<usize>> {
        let width = self.layout.width();
        let needed = width + heap;
        let Lane { open, pages } = self.lanes[lane];
        if let Some(open) = open.filter(|&open| self.pages[open].free(width) >= needed) {
            return Ok(Some(open));
        }
        if heap > u32::MAX as usize {
            return Err(Error::input(format!(
                "a row of {needed} bytes is too large; at most 4 GB"
            )));
        }
        let own_page = needed > self.page_bytes / 4;
        let grown = FIRST_PAGE_BYTES << pages.min(16);
        let bytes = match own_page {
            true => needed,
            false => self.page_bytes.min(grown).max(needed.next_power_of_two()),
        };
        if self.strict {
            memory.grow(bytes)?;
        } else if !memory.try_grow(bytes) {
            return Ok(None);
        }
        self.pages.push(Page::new(bytes, lane as u16));
        self.bytes += bytes;
        let page = self.pages.len() - 1;
        let lane = &mut self.lanes[lane];
        *lane = match own_page {
            // What follows begins a page behind it, a small one: rows stay in order.
            true => Lane::default(),
            false => Lane { open: Some(page), pages: lane.pages + 1 },
        };
        Ok(Some(page))
    }

    /// Counts `count` more rows of a page and gives where the first of them is.
    pub(super) fn extend_page(&mut self, page: usize, count: usize) -> usize {
        let start = self.pages[page].rows * self.layout.width();
        self.pages[page].rows += count;
        self.rows += count;
        start
    }

    /// Adds the references of `count` rows that begin at `start`.
    pub(super) fn push_refs(
        &self,
        page: usize,
        start: usize,
        count: usize,
        refs: &mut Vec<RowRef>,
    ) {
        let width = self.layout.width();
        refs.extend((0..count).map(|row| RowRef::new(page, start + row * width)));
    }
}

impl Pages for RowPages {
    #[inline]
    fn page_bytes(&self, page: usize) -> &[u8] {
        &self.pages[page].bytes
    }

    fn may_have_nulls(&self, column: usize) -> bool {
        self.nulls.get(column).copied().unwrap_or(true)
    }
}
