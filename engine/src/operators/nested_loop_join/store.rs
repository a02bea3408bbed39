//! The rows of the build side: blocks in memory or on tape, and groups of them.
//!
//! A **block** is consecutive rows of one morsel: up to [`BLOCK_ROWS`] or about [`BLOCK_BYTES`].
//! Its first pages may be on a tape and the others in memory. A **group** is consecutive blocks of
//! up to [`BLOCK_ROWS`] rows, so that many small morsels are looked at together.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::reader::Reader;
use super::shape::Shape;
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::{PageSpan, PageWriter, RowMarks, RowPages};
use crate::memory::spill::Tape;
use crate::pipeline::Context;

/// Rows of a full block: a vector that conditions are evaluated over.
pub(super) const BLOCK_ROWS: usize = 4096;

/// Bytes of pages from which on a block is full.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// Bytes of rows up to which all groups are decoded once, and up to which they are when memory is
/// plenty.
const DECODED_BYTES: usize = 8 << 20;
const DECODED_BYTES_MAX: usize = 256 << 20;

/// Consecutive rows of one morsel.
#[derive(Debug)]
pub(super) struct Block {
    morsel: u64,
    sequence: usize,
    /// Which tape the first pages are on.
    pub(super) tape: usize,
    pub(super) written: Vec<PageSpan>,
    pub(super) pages: RowPages,
}

impl Block {
    pub(super) fn new(shape: &Shape, morsel: u64, sequence: usize) -> Self {
        let pages = RowPages::new(shape.layout.clone(), BLOCK_BYTES);
        Block { morsel, sequence, tape: 0, written: Vec::new(), pages }
    }

    /// The block after this one, without rows.
    pub(super) fn next(&self, shape: &Shape, morsel: u64) -> Self {
        let sequence = if morsel == self.morsel { self.sequence + 1 } else { 0 };
        Block::new(shape, morsel, sequence)
    }

    pub(super) fn rows(&self) -> usize {
        self.written.iter().map(|page| page.rows).sum::<usize>() + self.pages.rows()
    }

    pub(super) fn bytes_on_tape(&self) -> usize {
        self.written.iter().map(|page| page.bytes).sum()
    }

    /// Whether no more rows of this morsel go into it.
    pub(super) fn is_full(&self) -> bool {
        self.rows() >= BLOCK_ROWS || self.row_bytes() >= BLOCK_BYTES
    }

    /// Bytes of the rows, free room in their pages left out: the same wherever the pages are.
    fn row_bytes(&self) -> usize {
        let images = (0..self.pages.pages()).filter_map(|page| self.pages.image(page));
        let held: usize = images.map(|image| image.fixed.len() + image.heap.len()).sum();
        self.bytes_on_tape() + held
    }

    pub(super) fn morsel(&self) -> u64 {
        self.morsel
    }

    /// Moves the pages in memory to the tape; the bytes that are free then, less what it takes to
    /// find them again.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when the tape cannot be written.
    pub(super) fn write(&mut self, tape: &mut PageWriter) -> Result<usize> {
        for page in 0..self.pages.pages() {
            self.written.extend(tape.append(&self.pages, page, None)?);
        }
        let kept = self.pages.pages() * size_of::<PageSpan>();
        let bytes = self.pages.bytes();
        self.pages.clear();
        Ok(bytes.saturating_sub(kept))
    }
}

/// What one worker has stored.
pub(super) struct Part {
    pub(super) blocks: Vec<Block>,
    pub(super) tape: Option<Arc<Tape>>,
    pub(super) memory: Reservation,
}

/// Consecutive blocks.
#[derive(Debug)]
pub(super) struct Group {
    /// Build rows before it.
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) blocks: Vec<Block>,
}

impl Group {
    /// Bytes of the rows.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.iter().map(Block::row_bytes).sum()
    }

    pub(super) fn bytes_on_tape(&self) -> usize {
        self.blocks.iter().map(Block::bytes_on_tape).sum()
    }
}

/// All stored columns of the rows of a group.
pub(super) type Columns = Arc<Vec<ArrayRef>>;

/// The finished build side.
pub(super) struct BuildSide {
    groups: Vec<Group>,
    pub(super) tapes: Vec<Arc<Tape>>,
    /// Every group's columns, when there are few.
    decoded: Vec<Columns>,
    /// The rows that have had a match, where that decides what comes out.
    pub(super) marks: Option<RowMarks>,
    memory: Option<Reservation>,
}

impl BuildSide {
    /// Puts the workers' blocks in the order of the input.
    ///
    /// # Errors
    /// `OutOfMemory` when the marks have no room, `Io` when a tape cannot be read, or that the
    /// query was stopped.
    pub(super) fn new(shape: &Shape, parts: Vec<Part>, cx: &Context) -> Result<Self> {
        let (mut blocks, mut tapes, mut memory) = (Vec::new(), Vec::new(), None);
        for mut part in parts {
            part.blocks.iter_mut().for_each(|block| block.tape = tapes.len());
            blocks.append(&mut part.blocks);
            tapes.extend(part.tape);
            match &mut memory {
                None => memory = Some(part.memory),
                Some(memory) => memory.absorb(part.memory),
            }
        }
        blocks.sort_by_key(|block| (block.morsel, block.sequence));
        let groups = grouped(blocks);
        let rows = groups.last().map_or(0, |group| group.first + group.rows);
        let mut marks = None;
        if shape.kind.gives_build_rows() {
            if let Some(memory) = &mut memory {
                memory.grow(RowMarks::size_bytes(rows))?;
            }
            marks = Some(RowMarks::new(rows));
        }
        let mut side = BuildSide { groups, tapes, decoded: Vec::new(), marks, memory };
        side.decode(shape, cx)?;
        Ok(side)
    }

    /// Decodes all groups if they are in memory and small.
    fn decode(&mut self, shape: &Shape, cx: &Context) -> Result<()> {
        let bytes: usize = self.groups.iter().map(Group::bytes).sum();
        let on_tape = self.groups.iter().any(|group| group.bytes_on_tape() > 0);
        let Some(memory) = &mut self.memory else { return Ok(()) };
        let mut has_room = || match bytes <= DECODED_BYTES {
            true => memory.try_grow(bytes),
            false => bytes <= DECODED_BYTES_MAX && memory.try_grow_of_plenty(bytes),
        };
        if on_tape || !has_room() {
            return Ok(());
        }
        let columns = self.groups.iter().map(|group| {
            cx.check()?;
            Reader::decode(shape, group, &[])
        });
        self.decoded = columns.collect::<Result<_>>()?;
        // The arrays take their place.
        for group in &mut self.groups {
            group.blocks.clear();
        }
        memory.shrink(bytes);
        Ok(())
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The columns of group number `group`, when they are at hand.
    pub(super) fn decoded(&self, group: usize) -> Option<&Columns> {
        self.decoded.get(group)
    }
}

/// Puts consecutive blocks together, up to [`BLOCK_ROWS`] rows.
fn grouped(blocks: Vec<Block>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for block in blocks.into_iter().filter(|block| block.rows() > 0) {
        let rows = block.rows();
        match groups.last_mut() {
            Some(last)
                if last.rows + rows <= BLOCK_ROWS
                    && last.bytes() + block.row_bytes() <= BLOCK_BYTES =>
            {
                last.rows += rows;
                last.blocks.push(block);
            }
            last => {
                let first = last.map_or(0, |group| group.first + group.rows);
                groups.push(Group { first, rows, blocks: vec![block] });
            }
        }
    }
    groups
}
