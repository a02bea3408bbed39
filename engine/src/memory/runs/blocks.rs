//! Blocks of rows in memory, in the order of the keys.
//!
//! ```text
//! page  = blocks, one behind the other; a block never crosses from one page to the next
//! block = | bytes u32 | rows u32 | what a block on tape has |
//! ```
//!
//! Memory: whoever makes blocks charges them, with [`Blocks::bytes`].

use super::shape::Words;
use super::writer::BLOCK_BYTES;

/// A page, unless a block is larger.
const PAGE_BYTES: usize = 256 << 10;

/// Of a page that is not the last, less than this part is left unused.
const UNUSED_PART: usize = 16;

const HEADER_BYTES: usize = 8;

/// See the module documentation.
#[derive(Default)]
pub(super) struct Blocks {
    pages: Vec<Vec<u8>>,
    /// The first words of every block, and its position.
    index: Vec<(Words, u64)>,
}

/// A block.
pub(super) struct BlockAt<'a> {
    pub(super) rows: u32,
    pub(super) bytes: &'a [u8],
    /// Where `bytes` begin in the page.
    pub(super) offset: usize,
}

/// Which block is read next, and which page the one read last is in.
#[derive(Default)]
pub(super) struct BlocksAt {
    page: usize,
    next: u64,
}

/// The page and the offset in it of a position.
fn split(position: u64) -> (usize, usize) {
    ((position >> 32) as usize, position as u32 as usize)
}

impl Blocks {
    /// Bytes that blocks of `bytes` bytes together take at most.
    pub(super) fn bytes_for(bytes: usize) -> usize {
        // Two blocks that follow each other have more than one can have.
        let blocks = 2 * bytes / BLOCK_BYTES + 2;
        bytes + bytes / UNUSED_PART + blocks * (HEADER_BYTES + 2 * size_of::<(Words, u64)>())
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let pages: usize = self.pages.iter().map(Vec::capacity).sum();
        pages + self.index.capacity() * size_of::<(Words, u64)>()
    }

    /// The first words of every block, and its position.
    pub(super) fn index(&self) -> &[(Words, u64)] {
        &self.index
    }

    /// Adds a block of so many rows, of which the first has these words.
    pub(super) fn push(&mut self, block: &[u8], rows: u32, first: Words) {
        let total = HEADER_BYTES + block.len();
        let fits = |page: &Vec<u8>| page.capacity() - page.len() >= total;
        if !self.pages.last().is_some_and(fits) {
            if let Some(last) = self.pages.last_mut()
                && last.len() < last.capacity() / UNUSED_PART * (UNUSED_PART - 1)
            {
                last.shrink_to_fit();
            }
            self.pages.push(Vec::with_capacity(total.max(PAGE_BYTES)));
        }
        let number = self.pages.len() - 1;
        let page = &mut self.pages[number];
        self.index.push((first, ((number as u64) << 32) | page.len() as u64));
        page.extend_from_slice(&(block.len() as u32).to_le_bytes());
        page.extend_from_slice(&rows.to_le_bytes());
        page.extend_from_slice(block);
    }

    /// Frees what has been kept for more blocks.
    pub(super) fn trim(&mut self) {
        if let Some(page) = self.pages.last_mut() {
            page.shrink_to_fit();
        }
        self.index.shrink_to_fit();
    }

    /// The page that the block read last is in.
    #[inline]
    pub(super) fn page(&self, at: &BlocksAt) -> &[u8] {
        self.pages.get(at.page).map_or(&[], Vec::as_slice)
    }

    /// Whether the next block is in the same page.
    pub(super) fn is_at_hand(&self, at: &BlocksAt) -> bool {
        let (page, offset) = split(at.next);
        page == at.page && offset < self.page(at).len()
    }

    /// The next block; `None` at the end, and when the blocks are not what was written.
    pub(super) fn next(&self, at: &mut BlocksAt) -> Option<BlockAt<'_>> {
        let (mut page, mut offset) = split(at.next);
        if self.pages.get(page)?.len() <= offset {
            (page, offset) = (page + 1, 0);
        }
        let from = self.pages.get(page)?.get(offset..)?;
        let (&len, rest) = from.split_first_chunk::<4>()?;
        let (&rows, rest) = rest.split_first_chunk::<4>()?;
        let bytes = rest.get(..u32::from_le_bytes(len) as usize)?;
        let offset = offset + HEADER_BYTES;
        *at = BlocksAt { page, next: ((page as u64) << 32) | (offset + bytes.len()) as u64 };
        Some(BlockAt { rows: u32::from_le_bytes(rows), bytes, offset })
    }

    /// Goes to the last block that begins before `words`.
    pub(super) fn seek(&self, words: Option<Words>) -> BlocksAt {
        let before = self.index.partition_point(|&(first, _)| words.is_some_and(|w| first < w));
        let next = before.checked_sub(1).and_then(|at| self.index.get(at));
        BlocksAt { page: usize::MAX, next: next.map_or(0, |&(_, position)| position) }
    }
}
