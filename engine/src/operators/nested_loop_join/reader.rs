//! Reads groups of build rows as columns, from memory and from tapes.
//!
//! Memory: one window, the pages of the group at hand that come from tapes, and its columns, all
//! charged to the worker's reservation, which never goes below what was set aside for it.

use std::sync::Arc;

use super::shape::{PAIRS_BYTES, READ_BYTES, Shape, Shared, WINDOW_BYTES};
use super::store::{Block, BuildSide, Columns, Group, PageOnTape};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{Pages, RowRef};
use crate::memory::spill::TapeReader;
use crate::pipeline::Context;

/// One worker's view of the build side.
pub(super) struct Reader {
    shared: Arc<Shared>,
    pub(super) side: Arc<BuildSide>,
    memory: Reservation,
    /// The tape read last and its number.
    tape: Option<(usize, TapeReader)>,
    /// The group read last.
    current: Option<(usize, Columns)>,
}

impl Reader {
    /// # Errors
    /// `Internal` when the build side is not done, `OutOfMemory` when nothing is left to read with.
    pub(super) fn new(shared: &Arc<Shared>, cx: &Context) -> Result<Self> {
        let side = shared.side()?;
        let memory = shared.state().reader(cx.memory())?;
        Ok(Reader { shared: shared.clone(), side, memory, tape: None, current: None })
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

    /// A page from its tape: its rows, then its heap.
    fn load(&mut self, block: &Block, page: PageOnTape) -> Result<Vec<u8>> {
        let reader = match &mut self.tape {
            Some((number, reader)) => {
                if *number != block.tape {
                    reader.turn_to(tape(&self.side, block.tape)?);
                    *number = block.tape;
                }
                reader
            }
            none => {
                // Its window takes what the reservation was just lowered by.
                self.memory.settle();
                let charge = self.memory.child(0)?;
                let reader = TapeReader::new(tape(&self.side, block.tape)?, WINDOW_BYTES, charge)?;
                &mut none.insert((block.tape, reader)).1
            }
        };
        let mut bytes = Vec::with_capacity(page.fixed + page.heap);
        reader.seek(page.position, u64::MAX, 0);
        while bytes.len() < page.fixed + page.heap {
            let Some(part) = reader.next_block()? else { break };
            bytes.extend_from_slice(part.bytes);
        }
        match bytes.len() == page.fixed + page.heap {
            true => Ok(bytes),
            false => Err(Error::internal("a page on a tape is not as long as it was")),
        }
    }

    /// The columns of a group; `loaded` has its pages that are on tapes, in order.
    ///
    /// # Errors
    /// `Internal` when pages are missing.
    pub(super) fn decode(shape: &Shape, group: &Group, loaded: &[Vec<u8>]) -> Result<Columns> {
        let width = shape.layout.width();
        let (mut pages, mut refs): (Vec<&[u8]>, Vec<RowRef>) = (Vec::new(), Vec::new());
        let mut add = |bytes, rows: usize| {
            let page = pages.len();
            pages.push(bytes);
            refs.extend((0..rows).map(|row| RowRef::new(page, row * width)));
        };
        let mut loaded = loaded.iter();
        for block in &group.blocks {
            for page in &block.written {
                let bytes = loaded.next().ok_or_else(|| Error::internal("a page is missing"))?;
                add(bytes, page.rows);
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

fn tape(side: &BuildSide, number: usize) -> Result<Arc<crate::memory::spill::Tape>> {
    let tape = side.tapes.get(number).cloned();
    tape.ok_or_else(|| Error::internal("a join's tape is missing"))
}
