//! Row pages on tape: how they are written, and how they are read back.
//!
//! ```text
//! page = | block of rows … | block of the heap, if there is any |
//! ```
//!
//! The number beside the first block of rows says how many they are, whether the heap follows, and
//! what the owner calls the page, where it writes pages of several kinds. Where it saves an eighth
//! at least, rows are narrowed (see [`super::narrow`]), a block for each piece of them: writing and
//! reading a byte costs many times what looking at it does.
//!
//! Memory: what writing takes is set aside before there is anything to write, so that pages can be
//! moved out of memory when there is none left. A [`PageWriter`] owns that reservation: it has the
//! tape's buffer in use, and the rest is for the pages that its owner makes to write them next. It
//! is given back with the tape. A [`PageReader`] owns what its window is charged to; the pages that
//! it reads are charged by whoever takes them.

use std::sync::Arc;

use super::narrow::{Narrow, piece_shape, widen};
use super::pages::RowPages;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::spill::{Tape, TapeReader, TapeWriter};

/// Bits for the number of rows less one: a page has no more, whatever its layout.
const ROWS_BITS: u32 = 20;

const HEAP_BIT: u32 = 1 << ROWS_BITS;
const NARROW_BIT: u32 = HEAP_BIT << 1;
const BESIDE_SHIFT: u32 = ROWS_BITS + 2;

/// The greatest name of a page.
pub const BESIDE_MAX: u16 = (1 << (u32::BITS - BESIDE_SHIFT)) - 2;

/// Bytes of rows that are narrowed together: they stay in the cache from the first look to the
/// last, and what they have in common is told once.
const PIECE_BYTES: usize = 16 << 10;

/// Rows of a piece at least, wide as they may be: what is told once is little beside them.
const PIECE_ROWS_MIN: usize = 32;

/// What a block of rows says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    rows: usize,
    has_heap: bool,
    is_narrow: bool,
    beside: Option<u16>,
}

impl Tag {
    /// As the number beside a block; `None` when there is none for it.
    fn to_bits(self) -> Option<u32> {
        let last = u32::try_from(self.rows).ok()?.checked_sub(1)?;
        let beside = self.beside.map_or(0, |beside| u32::from(beside) + 1);
        if last >= HEAP_BIT || beside > u32::from(BESIDE_MAX) + 1 {
            return None;
        }
        let heap = if self.has_heap { HEAP_BIT } else { 0 };
        let narrow = if self.is_narrow { NARROW_BIT } else { 0 };
        Some(last | heap | narrow | beside << BESIDE_SHIFT)
    }

    fn from_bits(bits: u32) -> Self {
        Tag {
            rows: (bits & (HEAP_BIT - 1)) as usize + 1,
            has_heap: bits & HEAP_BIT != 0,
            is_narrow: bits & NARROW_BIT != 0,
            // Fewer bits than a name has.
            beside: (bits >> BESIDE_SHIFT).checked_sub(1).map(|beside| beside as u16),
        }
    }
}

/// Where a page is on its tape, or several that were written one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSpan {
    /// Position of the first block.
    pub from: u64,
    /// Position behind the last one.
    pub until: u64,
    /// Number of rows.
    pub rows: usize,
    /// Bytes of rows and heap.
    pub bytes: usize,
}

/// Appends pages to a tape; see the module documentation.
pub struct PageWriter {
    tape: TapeWriter,
    buffer_bytes: usize,
    memory: Reservation,
    narrow: Narrow,
}

impl PageWriter {
    /// A new tape with a buffer of `buffer_bytes`, in the name of `memory`, whose minimum is that
    /// and what the owner needs for pages.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no room for the buffer.
    pub fn new(mut memory: Reservation, buffer_bytes: usize) -> Result<Self> {
        memory.grow(buffer_bytes)?;
        let space = memory.governor().spill();
        let tape = TapeWriter::new(space, memory.who().clone(), buffer_bytes);
        Ok(PageWriter { tape, buffer_bytes, memory, narrow: Narrow::default() })
    }

    /// What pages that are written next are charged to.
    pub fn memory(&mut self) -> &mut Reservation {
        &mut self.memory
    }

    /// Appends page number `page`, with the owner's name for it, and says where it is; `None` when
    /// it has no rows.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when the tape cannot be written, `Internal` when the name is beyond
    /// [`BESIDE_MAX`].
    pub fn append(
        &mut self,
        pages: &RowPages,
        page: usize,
        beside: Option<u16>,
    ) -> Result<Option<PageSpan>> {
        let Some(image) = pages.image(page).filter(|image| image.rows > 0) else {
            return Ok(None);
        };
        let width = image.fixed.len() / image.rows;
        let piece_bytes = width * (PIECE_BYTES / width.max(1)).max(PIECE_ROWS_MIN);
        let is_narrow = self.can_narrow(image.fixed, width, piece_bytes);
        let tag = Tag { rows: image.rows, has_heap: !image.heap.is_empty(), is_narrow, beside };
        let Some(mut bits) = tag.to_bits() else {
            return Err(Error::internal(format!("a page that no tape can hold: {tag:?}")));
        };
        let mut from = None;
        if is_narrow {
            for piece in image.fixed.chunks(piece_bytes) {
                let narrow = &mut self.narrow;
                narrow.look_at(piece, width);
                let len = narrow.piece_bytes(piece.len() / width);
                let position = self.tape.append_made(len, bits, |to| narrow.put(piece, to))?;
                from.get_or_insert(position);
                bits = 0;
            }
        } else {
            from = Some(self.tape.append(image.fixed, bits)?);
        }
        if tag.has_heap {
            self.tape.append(image.heap, 0)?;
        }
        let bytes = image.fixed.len() + image.heap.len();
        Ok(from.map(|from| PageSpan { from, until: self.tape.len(), rows: image.rows, bytes }))
    }

    /// Whether narrowing rows of this width saves enough, going by the first piece.
    fn can_narrow(&mut self, rows: &[u8], width: usize, piece_bytes: usize) -> bool {
        let first = &rows[..piece_bytes.min(rows.len())];
        if width == 0 || !self.tape.can_buffer(Narrow::bytes_max(piece_bytes / width, width)) {
            return false;
        }
        self.narrow.look_at(first, width);
        self.narrow.piece_bytes(first.len() / width) <= first.len() / 8 * 7
    }

    /// Bytes on the tape so far.
    pub fn len(&self) -> u64 {
        self.tape.len()
    }

    /// Whether nothing has been appended.
    pub fn is_empty(&self) -> bool {
        self.tape.is_empty()
    }

    /// The finished tape, and the memory that is not needed for writing any more.
    ///
    /// # Errors
    /// `Io` or `OutOfMemory` when the tape cannot be written.
    pub fn finish(mut self) -> Result<(Arc<Tape>, Reservation)> {
        let tape = Arc::new(self.tape.finish()?);
        self.memory.shrink(self.buffer_bytes);
        Ok((tape, self.memory))
    }
}

/// A page that was read.
#[derive(Debug)]
pub struct TapedPage {
    /// Number of rows.
    pub rows: usize,
    /// What the owner called it.
    pub beside: Option<u16>,
    /// Its rows, then its heap.
    pub bytes: Vec<u8>,
}

impl RowPages {
    /// Adds a page that was read from a tape, and charged for, as the last one.
    ///
    /// # Errors
    /// `Internal` when it cannot be a page of this layout.
    pub fn push_taped(&mut self, page: TapedPage) -> Result<()> {
        self.push_image(page.rows, page.bytes)
    }
}

/// Reads pages of one tape after another through one window; see the module documentation.
pub struct PageReader {
    reader: Option<TapeReader>,
    window_bytes: usize,
    /// What the window will be charged to.
    memory: Option<Reservation>,
}

impl PageReader {
    /// A reader whose window of `window_bytes` is charged to `memory` from the first page on, and
    /// what a page is larger. It is sure of the window if that is the minimum.
    pub fn new(memory: Reservation, window_bytes: usize) -> Self {
        PageReader { reader: None, window_bytes, memory: Some(memory) }
    }

    /// Goes on with the page at `from`, and ends before the first one at or behind `until`.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no room for the window.
    pub fn seek(&mut self, tape: &Arc<Tape>, from: u64, until: u64) -> Result<()> {
        let reader = match (&mut self.reader, self.memory.take()) {
            (Some(reader), _) => reader,
            (none, Some(memory)) => {
                none.insert(TapeReader::new(tape.clone(), self.window_bytes, memory)?)
            }
            (None, None) => return Err(Error::internal("a tape is read after an error")),
        };
        reader.turn_to(tape);
        reader.seek(from, until, 0);
        Ok(())
    }

    /// The next page; `None` at the end. `charge` is called before so many bytes are taken.
    ///
    /// # Errors
    /// `Io` when the tape cannot be read, `OutOfMemory` when a page is larger than the window and
    /// the difference has no room, and those of `charge`.
    pub fn next(
        &mut self,
        mut charge: impl FnMut(usize) -> Result<()>,
    ) -> Result<Option<TapedPage>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let Some(block) = reader.next_block()? else { return Ok(None) };
        let Tag { rows, has_heap, is_narrow, beside } = Tag::from_bits(block.tag);
        let mut bytes = Vec::new();
        if is_narrow {
            let (_, width) = piece_shape(block.bytes).ok_or_else(no_piece)?;
            let len = rows.checked_mul(width).ok_or_else(no_piece)?;
            charge(len)?;
            bytes.reserve_exact(len);
            widen(block.bytes, len, &mut bytes).ok_or_else(no_piece)?;
            while bytes.len() < len {
                let block = reader.next_block()?.ok_or_else(no_piece)?;
                widen(block.bytes, len, &mut bytes).ok_or_else(no_piece)?;
            }
        } else {
            charge(block.bytes.len())?;
            bytes.extend_from_slice(block.bytes);
        }
        if has_heap {
            let heap = reader.next_block()?;
            let heap = heap.ok_or_else(|| Error::internal("a page on a tape without its heap"))?;
            charge(heap.bytes.len())?;
            bytes.reserve_exact(heap.bytes.len());
            bytes.extend_from_slice(heap.bytes);
        }
        reader.release();
        Ok(Some(TapedPage { rows, beside, bytes }))
    }

    /// Where the next page is looked for.
    pub fn position(&self) -> u64 {
        self.reader.as_ref().map_or(0, TapeReader::position)
    }
}

fn no_piece() -> Error {
    Error::internal("a page on a tape with rows that are not narrowed rows")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::rows::{PAGE_BYTES_MAX, RowLayout};
    use crate::memory::{Governor, GovernorOptions};

    #[test]
    fn tags_survive_as_numbers() {
        for rows in [1, 2, PAGE_BYTES_MAX / 8] {
            for (has_heap, is_narrow) in [(false, false), (true, false), (false, true)] {
                for beside in [None, Some(0), Some(1), Some(BESIDE_MAX)] {
                    let tag = Tag { rows, has_heap, is_narrow, beside };
                    assert_eq!(tag.to_bits().map(Tag::from_bits), Some(tag));
                }
            }
        }
        let tag = Tag { rows: 1, has_heap: false, is_narrow: true, beside: None };
        assert_eq!(Tag { rows: 0, ..tag }.to_bits(), None);
        assert_eq!(Tag { rows: PAGE_BYTES_MAX / 8 + 1, ..tag }.to_bits(), None);
        assert_eq!(Tag { beside: Some(BESIDE_MAX + 1), ..tag }.to_bits(), None);
    }

    #[test]
    fn pages_of_two_tapes_come_back_with_their_names_within_the_minimum() {
        use crate::batch::Column;
        use arrow::array::StringViewArray;
        use arrow::datatypes::DataType;
        let limit = (8 << 10) + (64 << 10) + (4 << 10);
        let options = GovernorOptions { limit_bytes: Some(limit), ..Default::default() };
        let governor = Governor::new(options);
        let reading = governor.reserve("reads", 4 << 10).expect("fits");
        let mut writing = Some(governor.reserve("writes", (8 << 10) + (64 << 10)).expect("fits"));
        let layout = Arc::new(RowLayout::new(&[DataType::Utf8View], &[]).expect("is one"));
        let text = |n: usize| "a text that grows ".repeat(n % 50);
        let mut tapes = Vec::new();
        for tape in 0..2 {
            let memory = writing.take().expect("came back");
            let mut writer = PageWriter::new(memory, 8 << 10).expect("is sure of its minimum");
            let mut pages = RowPages::new(layout.clone(), 16 << 10);
            let (mut rest, mut spans): (Vec<u32>, Vec<PageSpan>) = ((0..500).collect(), Vec::new());
            let values: StringViewArray = (0..500).map(|n| Some(text(n + tape))).collect();
            let column = Column::flat(DataType::Utf8View, Arc::new(values));
            while !rest.is_empty() {
                let memory = writer.memory();
                let stored = pages.append(&[&column], &rest, memory, &mut Vec::new());
                let stored = stored.expect("stores");
                assert!(stored > 0, "what was written is free again");
                drop(rest.drain(..stored));
                for page in 0..pages.pages() {
                    let span = writer.append(&pages, page, Some(tape as u16)).expect("writes");
                    spans.extend(span);
                }
                writer.memory().shrink(pages.bytes());
                pages.clear();
            }
            let (tape, memory) = writer.finish().expect("ends");
            assert_eq!(memory.bytes(), 0);
            writing = Some(memory);
            tapes.push((tape, spans));
        }
        let mut reader = PageReader::new(reading, 4 << 10);
        drop(writing);
        for (number, (tape, spans)) in tapes.iter().enumerate().rev() {
            let (mut pages, mut charged) = (RowPages::new(layout.clone(), 0), 0);
            for span in spans {
                reader.seek(tape, span.from, span.until).expect("has its window");
                let charge = |bytes: usize| {
                    charged += bytes;
                    Ok(())
                };
                let page = reader.next(charge).expect("reads").expect("a page");
                assert_eq!((page.rows, page.bytes.len()), (span.rows, span.bytes));
                assert_eq!(page.beside, Some(number as u16));
                assert!(reader.next(|_| Ok(())).expect("reads").is_none());
                assert!(reader.position() >= span.until);
                pages.push_taped(page).expect("is one");
            }
            assert_eq!(charged, pages.bytes());
            let values = pages.gather(0, &pages.refs().collect::<Vec<_>>()).expect("gathers");
            let expected: StringViewArray = (0..500).map(|n| Some(text(n + number))).collect();
            assert_eq!(values.as_ref(), &expected as &dyn arrow::array::Array);
        }
        drop((reader, tapes));
        assert_eq!((governor.reserved(), governor.spill().usage().used), (0, 0));
    }

    #[test]
    fn what_all_rows_have_in_common_is_hardly_written() {
        use crate::batch::Column;
        use arrow::array::{ArrayRef, Int64Array, StringViewArray};
        use arrow::datatypes::DataType;
        const ROWS: usize = 5000;
        let governor = Governor::new(GovernorOptions::default());
        for (has_heap, repeated) in [(false, 1), (true, 1), (false, 20)] {
            let small = Int64Array::from_iter((0..ROWS).map(|n| (n % 7 != 0).then_some(n as i64)));
            let length = if has_heap { 30 } else { 3 };
            let texts = (0..ROWS).map(|n| Some("x".repeat(n % length)));
            let mut columns: Vec<(DataType, ArrayRef)> = Vec::new();
            for _ in 0..repeated {
                columns.push((DataType::Int64, Arc::new(small.clone())));
                let texts: StringViewArray = texts.clone().collect();
                columns.push((DataType::Utf8View, Arc::new(texts)));
            }
            let types: Vec<DataType> = columns.iter().map(|column| column.0.clone()).collect();
            let layout = Arc::new(RowLayout::new(&types, &[]).expect("is one"));
            let stored: Vec<Column> =
                columns.iter().map(|(t, array)| Column::flat(t.clone(), array.clone())).collect();
            let stored: Vec<&Column> = stored.iter().collect();
            let mut memory = governor.reserve("rows", 0).expect("fits");
            let mut pages = RowPages::new(layout.clone(), 256 << 10);
            let rows: Vec<u32> = (0..ROWS as u32).collect();
            let kept = pages.append(&stored, &rows, &mut memory, &mut Vec::new()).expect("stores");
            assert_eq!(kept, ROWS);
            let writing = governor.reserve("writes", 64 << 10).expect("fits");
            let mut writer = PageWriter::new(writing, 64 << 10).expect("fits");
            let mut raw = 0;
            for page in 0..pages.pages() {
                raw += writer.append(&pages, page, None).expect("writes").expect("has rows").bytes;
            }
            let (tape, _) = writer.finish().expect("ends");
            let most = if has_heap { raw * 3 / 4 } else { raw / 2 };
            assert!(tape.len() < most as u64, "{} of {raw} bytes", tape.len());
            let reading = governor.reserve("reads", 64 << 10).expect("fits");
            let mut reader = PageReader::new(reading, 64 << 10);
            reader.seek(&tape, 0, tape.len()).expect("has its window");
            let mut back = RowPages::new(layout, 0);
            while let Some(page) = reader.next(|_| Ok(())).expect("reads") {
                back.push_taped(page).expect("is one");
            }
            let refs: Vec<_> = back.refs().collect();
            for (number, (_, array)) in columns.iter().enumerate() {
                assert_eq!(&back.gather(number, &refs).expect("gathers"), array);
            }
        }
    }
}
