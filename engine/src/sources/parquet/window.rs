//! A column chunk's stored bytes, read from the file in windows.
//!
//! Neighbouring pages are fetched with one positional read. A window starts small and doubles while
//! the column is read on and on, so a column that is read here and there fetches little more than
//! the pages it needs.
//!
//! Memory: one window, at most the larger of [`WINDOW_BYTES_MAX`] and the largest page.

use std::ops::Range;
use std::sync::Arc;

use super::error::corrupt;
use crate::error::Result;
use crate::sources::file::InputFile;

const WINDOW_BYTES_MIN: usize = 4 << 10;
const WINDOW_BYTES_MAX: usize = 128 << 10;

/// A sliding view of a part of a file.
pub(super) struct Window {
    file: Arc<InputFile>,
    /// Where the column chunk is in the file.
    chunk: Range<u64>,
    /// Position in the file of `bytes[0]`.
    start: u64,
    bytes: Vec<u8>,
    next_bytes: usize,
}

impl Window {
    /// A view of `chunk`, which nothing has been read of yet.
    pub fn new(file: &Arc<InputFile>, chunk: Range<u64>) -> Result<Self> {
        if chunk.end > file.size() || chunk.start > chunk.end {
            return Err(corrupt(file.path(), "a column chunk lies beyond the end of the file"));
        }
        Ok(Window {
            file: file.clone(),
            start: chunk.start,
            chunk,
            bytes: Vec::new(),
            next_bytes: WINDOW_BYTES_MIN,
        })
    }

    /// The file.
    pub fn file(&self) -> &Arc<InputFile> {
        &self.file
    }

    /// Where the column chunk is in the file.
    pub fn chunk(&self) -> &Range<u64> {
        &self.chunk
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives back what is more than a window should have.
    pub fn release(&mut self) {
        if self.bytes.capacity() > WINDOW_BYTES_MAX {
            self.start += self.bytes.len() as u64;
            self.bytes = Vec::new();
        }
    }

    /// The bytes from `offset` on: at least `wanted`, or all that the chunk has.
    pub fn at(&mut self, offset: u64, wanted: usize) -> Result<&[u8]> {
        let left = self.chunk.end.saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(wanted, |left| wanted.min(left));
        let have = self.start..self.start + self.bytes.len() as u64;
        if !(have.contains(&offset) && offset + wanted as u64 <= have.end) && wanted > 0 {
            self.fetch(offset, wanted, have.end)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(self.bytes.len());
        Ok(self.bytes.get(from..).unwrap_or(&[]))
    }

    fn fetch(&mut self, offset: u64, wanted: usize, end: u64) -> Result<()> {
        let goes_on = (self.start..=end).contains(&offset) && !self.bytes.is_empty();
        if goes_on {
            self.next_bytes = (self.next_bytes * 2).min(WINDOW_BYTES_MAX);
        } else {
            self.next_bytes = WINDOW_BYTES_MIN;
        }
        let left = usize::try_from(self.chunk.end - offset).unwrap_or(usize::MAX);
        let length = wanted.max(self.next_bytes).min(left);
        // Keep what is already here.
        let kept = if goes_on { (end - offset) as usize } else { 0 };
        let from = self.bytes.len() - kept;
        self.bytes.copy_within(from.., 0);
        self.bytes.truncate(kept);
        self.bytes.reserve_exact(length - kept);
        self.bytes.resize(length, 0);
        self.start = offset;
        let read = self.file.read_at(offset + kept as u64, &mut self.bytes[kept..]);
        if read.is_err() {
            self.bytes.clear();
        }
        read
    }
}
