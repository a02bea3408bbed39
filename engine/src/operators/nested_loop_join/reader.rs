//! Reads groups of build rows as columns, from memory and from tapes.
//!
//! Memory: one window, the pages of the group at hand that come from tapes, and its columns, all
//! charged to the worker's reservation, which never goes below what was set aside for it.

use std::sync::Arc;

use super::shape::{PAIRS_BYTES, READ_BYTES, Shape, Shared, WINDOW_BYTES};
use super::store::{Block, BuildSide, Columns, Group};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{PageReader, PageSpan, Pages, RowRef, TapedPage};
use crate::pipeline::Context;

/// One worker's view of the build side.
pub(super) struct Reader {
    shared: Arc<Shared>,
    pub(super) side: Arc<BuildSide>,
    memory: Reservation,
    /// Has its window from the start, if there are tapes.
    tape: PageReader,
    /// The group read last.
    current: Option<(usize, Columns)>,
}

impl Reader {
    /// # Errors
    /// `Internal` when the build side is not done, `OutOfMemory` when nothing is left to read with.
    pub(super) fn new(shared: &Arc<Shared>, cx: &Context) -> Result<Self> {
        let side = shared.side()?;
        let mut memory = shared.state().reader(cx.memory())?;
        let window = if side.tapes.is_empty() { 0 } else { WINDOW_BYTES };
        let tape = PageReader::new(memory.cede(window), WINDOW_BYTES);
        Ok(Reader { shared: shared.clone(), side, memory, tape, current: None })
    }

    /// The columns of group number `number`.
    ///
    /// # Errors
    /// `OutOfMemory` when the group has no room, `Io` when a tape cannot be read.
    pub(super) fn group(&mut self, number: usize) -> Result<Columns> {
        if let Some(columns) = self.side.decoded(number) {
            return Ok(columns.clone());
        }
        if let Some((_, columns)) = self.current.as_ref().filter(|(at, _)| *at == number) {
            return Ok(columns.clone());
        }
        self.current = None;
        let side = self.side.clone();
        let Some(group) = side.groups().get(number) else {
            return Err(Error::internal(format!("no group {number} of a join's build side")));
        };
        let on_tape = group.bytes_on_tape();
        let window = if side.tapes.is_empty() { 0 } else { WINDOW_BYTES };
        let needed = PAIRS_BYTES + on_tape + group.bytes();
        self.memory.resize_to(needed.max(READ_BYTES - window))?;
        let mut loaded = Vec::new();
        for block in &group.blocks {
            for page in &block.written {
                loaded.push(self.load(block, *page)?);
            }
        }
        let columns = Self::decode(&self.shared.shape, group, &loaded)?;
        self.current = Some((number, columns.clone()));
        Ok(columns)
    }

    /// A page from its tape, which is charged for.
    fn load(&mut self, block: &Block, page: PageSpan) -> Result<TapedPage> {
        let Some(tape) = self.side.tapes.get(block.tape) else {
            return Err(Error::internal("a join's tape is missing"));
        };
        self.tape.seek(tape, page.from, page.until)?;
        let page = self.tape.next(|_| Ok(()))?;
        page.ok_or_else(|| Error::internal("a page of a join's tape is missing"))
    }

    /// The columns of a group; `loaded` has its pages that are on tapes, in order.
    ///
    /// # Errors
    /// `Internal` when pages are missing.
    pub(super) fn decode(shape: &Shape, group: &Group, loaded: &[TapedPage]) -> Result<Columns> {
        let width = shape.layout.width();
        let (mut pages, mut refs): (Vec<&[u8]>, Vec<RowRef>) = (Vec::new(), Vec::new());
        let mut add = |bytes, rows: usize| {
            let page = pages.len();
            pages.push(bytes);
            refs.extend((0..rows).map(|row| RowRef::new(page, row * width)));
        };
        let mut loaded = loaded.iter();
        for block in &group.blocks {
            for _ in &block.written {
                let page = loaded.next().ok_or_else(|| Error::internal("a page is missing"))?;
                add(&page.bytes, page.rows);
            }
            for page in 0..block.pages.pages() {
                add(block.pages.page_bytes(page), block.pages.page_rows(page));
            }
        }
        let columns = 0..shape.layout.columns();
        let columns = columns.map(|column| shape.layout.gather(&pages[..], column, &refs));
        Ok(Arc::new(columns.collect::<Result<_>>()?))
    }
}
