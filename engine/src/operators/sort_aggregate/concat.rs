//! Strings put together, one of each group.
//!
//! A long one is in pieces until its group ends, which are then copied into one and freed one by
//! one: if it grew in one place, it would be there twice each time, and it may be most of what
//! there is. The pieces are maps of their own, not the allocator's, which would keep them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewBuilder};
use arrow::buffer::Buffer;
use memmap2::MmapMut;

use crate::error::{Error, Result};

/// Strings of so many bytes are results as they are.
const LONG_BYTES: usize = 64 << 10;

/// Bytes of text from which on it becomes a piece.
const PIECE_BYTES: usize = 1 << 20;

/// The longest string.
const BYTES_MAX: usize = 0x7fff_ffff;

/// The strings of the groups so far, and of the open one.
pub(super) struct Concat {
    separator: String,
    /// The open group's string up to `text`, and the bytes of that.
    pieces: Vec<MmapMut>,
    piece_bytes: usize,
    /// The end of it.
    text: String,
    is_begun: bool,
    results: StringViewBuilder,
    /// Bytes of the results.
    bytes: usize,
}

impl Concat {
    pub(super) fn new(separator: &str) -> Self {
        Concat {
            separator: separator.to_string(),
            pieces: Vec::new(),
            piece_bytes: 0,
            text: String::new(),
            is_begun: false,
            results: StringViewBuilder::new(),
            bytes: 0,
        }
    }

    /// Adds strings to the open group's.
    ///
    /// # Errors
    /// `Input` when it gets longer than 2 GB, `OutOfMemory` when the system has none.
    pub(super) fn rows(&mut self, array: &ArrayRef, rows: Range<usize>) -> Result<()> {
        let strings = array.as_string_view_opt();
        let strings = strings.ok_or_else(|| Error::internal("text of no strings"))?;
        for row in rows {
            if std::mem::replace(&mut self.is_begun, true) {
                self.text.push_str(&self.separator);
            }
            self.text.push_str(strings.value(row));
            if self.text.len() >= PIECE_BYTES {
                self.end_piece()?;
            }
        }
        match self.piece_bytes + self.text.len() {
            ..=BYTES_MAX => Ok(()),
            _ => Err(Error::input("a string of more than 2 GB")),
        }
    }

    fn end_piece(&mut self) -> Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let mut piece = MmapMut::map_anon(self.text.len()).map_err(|error| Error::OutOfMemory {
            who: "sort aggregate".into(),
            asked_bytes: self.text.len(),
            detail: format!("the system has no memory for a piece of a string: {error}"),
        })?;
        piece.copy_from_slice(self.text.as_bytes());
        self.piece_bytes += piece.len();
        self.pieces.push(piece);
        self.text.clear();
        self.text.shrink_to(2 * PIECE_BYTES);
        Ok(())
    }

    /// Makes the open group's string the next result, and opens the next group.
    ///
    /// # Errors
    /// As `rows`.
    pub(super) fn close(&mut self) -> Result<()> {
        let length = self.piece_bytes + self.text.len();
        if !std::mem::take(&mut self.is_begun) {
            self.results.append_null();
        } else if length >= LONG_BYTES {
            // One long string is not copied again.
            let text = self.in_one()?;
            self.bytes += text.capacity();
            let block = self.results.append_block(Buffer::from_vec(text));
            self.results.try_append_view(block, 0, length as u32)?;
        } else {
            self.bytes += length;
            self.results.append_value(&self.text);
        }
        self.text.clear();
        Ok(())
    }

    /// The open group's string. Each piece is freed as soon as it is copied.
    fn in_one(&mut self) -> Result<Vec<u8>> {
        if self.pieces.is_empty() {
            return Ok(std::mem::take(&mut self.text).into_bytes());
        }
        self.end_piece()?;
        let mut text = Vec::with_capacity(std::mem::take(&mut self.piece_bytes));
        for piece in self.pieces.drain(..) {
            text.extend_from_slice(&piece);
        }
        Ok(text)
    }

    /// Bytes of the results and of the open group's string.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes + self.piece_bytes + self.text.capacity()
    }

    /// Bytes of the results.
    pub(super) fn text_bytes(&self) -> usize {
        self.bytes
    }

    /// The results so far.
    pub(super) fn finish(&mut self) -> ArrayRef {
        self.bytes = 0;
        Arc::new(self.results.finish())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, StringViewArray};

    use super::*;

    #[test]
    fn strings_of_any_length_are_put_together() {
        // By group, the lengths of its strings.
        let groups: [&[usize]; 6] = [
            &[3, 0, 5],
            &[],
            &[LONG_BYTES - 1, 0],
            &[PIECE_BYTES, 1, 3 * PIECE_BYTES, 17],
            &[0],
            &[700_000; 7],
        ];
        let mut concat = Concat::new("--");
        let mut expected = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            let letter = char::from(b'a' + number as u8).to_string();
            let strings: Vec<String> = group.iter().map(|&length| letter.repeat(length)).collect();
            let array: ArrayRef = Arc::new(StringViewArray::from_iter_values(&strings));
            for row in 0..array.len() {
                concat.rows(&array, row..row + 1).expect("has room");
            }
            concat.close().expect("has room");
            expected.push((!group.is_empty()).then(|| strings.join("--")));
        }
        let held = expected.iter().flatten().map(String::len).sum();
        assert!(concat.text_bytes() >= held && concat.held_bytes() >= held);
        let found = concat.finish();
        let found: Vec<Option<&str>> = found.as_string_view().iter().collect();
        assert_eq!(found, expected.iter().map(Option::as_deref).collect::<Vec<_>>());
        assert_eq!(concat.text_bytes(), 0);
    }
}
