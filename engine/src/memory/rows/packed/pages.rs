//! Packed rows in memory, in the order they came.
//!
//! Invariants:
//! 1. References grow with every row appended, so their order is the order of arrival.
//! 2. Pages behind the current one are empty: they are kept for rows to come.

use std::sync::Arc;

use super::form::ColumnFacts;
use super::layout::PackedLayout;
use super::row::PackedRow;
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::FIRST_PAGE_BYTES;

/// Where a packed row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackedRef(u64);

impl PackedRef {
    /// A row at this offset of a page.
    pub fn new(page: usize, offset: usize) -> Self {
        PackedRef(((page as u64) << 32) | offset as u64)
    }

    /// The number of the page.
    pub fn page(self) -> usize {
        (self.0 >> 32) as usize
    }

    /// Where in the page it begins.
    pub fn offset(self) -> usize {
        self.0 as u32 as usize
    }
}

#[derive(Debug)]
pub(super) struct Page {
    pub(super) bytes: Box<[u8]>,
    pub(super) used: usize,
}

/// Packed rows of one layout; see the module documentation.
#[derive(Debug)]
pub struct PackedPages {
    layout: Arc<PackedLayout>,
    page_bytes: usize,
    pub(super) pages: Vec<Page>,
    /// The page that rows are appended to.
    pub(super) current: usize,
    pub(super) rows: usize,
    bytes: usize,
    /// By column, what was stored.
    pub(super) facts: Vec<ColumnFacts>,
}

impl PackedPages {
    /// No rows yet. Pages get up to `page_bytes` bytes; a larger row gets a page of its own.
    pub fn new(layout: Arc<PackedLayout>, page_bytes: usize) -> Self {
        let facts = vec![ColumnFacts::none(); layout.columns()];
        PackedPages { layout, page_bytes, pages: Vec::new(), current: 0, rows: 0, bytes: 0, facts }
    }

    /// The layout of the rows.
    pub fn layout(&self) -> &Arc<PackedLayout> {
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

    /// Bytes of all pages, empty ones included: what they are charged with.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the rows alone.
    pub fn used_bytes(&self) -> u64 {
        self.pages.iter().map(|page| page.used as u64).sum()
    }

    /// By column, what is known of its values.
    pub fn facts(&self) -> &[ColumnFacts] {
        &self.facts
    }

    /// A row.
    #[inline]
    pub fn row(&self, row: PackedRef) -> PackedRow<'_> {
        PackedRow::at(&self.pages[row.page()].bytes, row.offset(), self.layout.form())
    }

    /// Stores a copy of a row of the same layout, given all its bytes; `None` when `memory`
    /// refuses.
    ///
    /// # Errors
    /// None that is not `None`; the signature is that of what it calls.
    pub fn push(&mut self, row: &[u8], memory: &mut Reservation) -> Result<Option<PackedRef>> {
        if !self.make_room(row.len(), memory, false)? {
            return Ok(None);
        }
        let page = &mut self.pages[self.current];
        let at = page.used;
        page.bytes[at..at + row.len()].copy_from_slice(row);
        page.used += row.len();
        self.rows += 1;
        Ok(Some(PackedRef::new(self.current, at)))
    }

    /// Notes that columns may have what they have in other pages, whose rows were pushed here.
    pub fn keep_facts_of(&mut self, other: &PackedPages) {
        self.facts.iter_mut().zip(&other.facts).for_each(|(own, other)| own.include(other));
    }

    /// Forgets the rows and keeps the pages, except those made for a large row.
    pub fn clear(&mut self, memory: &mut Reservation) {
        let kept = self.page_bytes;
        self.pages.retain(|page| page.bytes.len() <= kept);
        self.pages.iter_mut().for_each(|page| page.used = 0);
        self.recount(memory);
    }

    /// Forgets the rows and frees the pages.
    pub fn free(&mut self, memory: &mut Reservation) {
        self.pages = Vec::new();
        self.recount(memory);
    }

    /// Frees the pages that have no row. The others keep their numbers, which references have: a
    /// page that was too small for a large row may stand empty before the row's own.
    pub fn trim(&mut self, memory: &mut Reservation) {
        let end = self.pages.iter().rposition(|page| page.used > 0).map_or(0, |last| last + 1);
        self.pages.truncate(end);
        let empty = self.pages.iter_mut().filter(|page| page.used == 0);
        empty.for_each(|page| page.bytes = Box::default());
        let left: usize = self.pages.iter().map(|page| page.bytes.len()).sum();
        memory.shrink(self.bytes - left);
        self.bytes = left;
        self.current = self.pages.len().saturating_sub(1);
    }

    fn recount(&mut self, memory: &mut Reservation) {
        let left: usize = self.pages.iter().map(|page| page.bytes.len()).sum();
        memory.shrink(self.bytes - left);
        self.bytes = left;
        self.current = 0;
        self.rows = 0;
        self.facts.fill(ColumnFacts::none());
    }

    /// Makes the current page one with room for `len` bytes. False when `memory` refuses, an error
    /// when it does although the caller insists.
    pub(super) fn make_room(
        &mut self,
        len: usize,
        memory: &mut Reservation,
        insist: bool,
    ) -> Result<bool> {
        let fits = |page: &Page| page.bytes.len() - page.used >= len;
        while let Some(page) = self.pages.get(self.current) {
            if fits(page) {
                return Ok(true);
            }
            self.current += 1;
        }
        let usual = self.page_bytes.min(FIRST_PAGE_BYTES << self.pages.len().min(16));
        let mut bytes = len.max(usual);
        if !memory.try_grow(bytes) {
            self.current = self.pages.len().saturating_sub(1);
            if !insist {
                return Ok(false);
            }
            bytes = len;
            memory.grow(bytes)?;
        }
        self.pages.push(Page { bytes: vec![0; bytes].into_boxed_slice(), used: 0 });
        self.bytes += bytes;
        self.current = self.pages.len() - 1;
        Ok(true)
    }
}
