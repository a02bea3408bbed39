//! Tapes: checksummed blocks, appended in order, found again by position.
//!
//! ```text
//! tape   = pieces of extents; a block never crosses from one piece to the next
//! block  = | len u32 | tag u32 | checksum u64 | bytes … | padding to BLOCK_ALIGN |
//! ```
//!
//! The checksum covers the bytes, the tag and the length, under a seed made of the tape and the
//! position: a stale block, or one of another tape, is not taken for the right one.
//!
//! Memory: the writer has a buffer whose size its maker accounts for; blocks larger than the
//! buffer are written from where they lie. A reader charges its window, and what a block is
//! larger than the window, to the reservation it is given.
//!
//! Invariant 1: positions are multiples of [`BLOCK_ALIGN`] and increase with every append.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::checksum::checksum;
use super::space::{Extent, SpillSpace};
use super::window::Window;
use crate::error::{Error, Result};
use crate::memory::Reservation;

/// Positions of blocks are multiples of this.
pub const BLOCK_ALIGN: usize = 64;

const HEADER_BYTES: usize = 16;

/// The first extent of a tape; each further one is twice as large, up to [`EXTENT_BYTES_MAX`].
const EXTENT_BYTES_MIN: u64 = 64 << 10;
const EXTENT_BYTES_MAX: u64 = 1 << 20;

static NEXT_TAPE: AtomicU64 = AtomicU64::new(1);

/// A finished sequence of blocks on disk. Dropping it frees its extents.
pub struct Tape {
    id: u64,
    who: Arc<str>,
    pieces: Vec<Piece>,
}

/// A part of a tape that is contiguous on disk.
struct Piece {
    /// Position of its first byte in the tape.
    start: u64,
    /// Bytes of it that are written.
    used: u64,
    extent: Extent,
}

/// Appends blocks to a tape.
pub struct TapeWriter {
    space: SpillSpace,
    tape: Tape,
    buffer: Vec<u8>,
    buffer_max: usize,
}

impl TapeWriter {
    /// A new tape that `who` is named for in errors. The caller has reserved `buffer_bytes`.
    pub fn new(space: &SpillSpace, who: impl Into<Arc<str>>, buffer_bytes: usize) -> Self {
        let id = NEXT_TAPE.fetch_add(1, Ordering::Relaxed);
        TapeWriter {
            space: space.clone(),
            tape: Tape { id, who: who.into(), pieces: Vec::new() },
            buffer: Vec::with_capacity(buffer_bytes),
            buffer_max: buffer_bytes,
        }
    }

    /// Appends a block of `bytes`, with a number of the caller's beside it, and says where it is.
    ///
    /// # Errors
    /// `OutOfMemory` when the disk or the cap is full, `Io` when writing fails, `Input` when the
    /// block has 4 GB or more. The tape is then of no use any more.
    pub fn append(&mut self, bytes: &[u8], tag: u32) -> Result<u64> {
        let len = u32::try_from(bytes.len())
            .ok()
            .filter(|&len| len <= u32::MAX - (BLOCK_ALIGN + HEADER_BYTES) as u32)
            .ok_or_else(|| Error::input("a value of 4 GB or more cannot be spilled"))?;
        let total = block_bytes(len);
        let position = self.make_room(total as u64)?;
        if total > self.buffer_max {
            let header = header(len, tag, self.tape.sum(bytes, tag, position));
            self.flush()?;
            let tail = [0u8; BLOCK_ALIGN];
            let padding = total - HEADER_BYTES - bytes.len();
            for part in [&header[..], bytes, &tail[..padding]] {
                self.write(part)?;
            }
        } else {
            self.buffer_block(position, len, tag, |to| to.extend_from_slice(bytes))?;
        }
        Ok(position)
    }

    /// Whether the buffer has room for a block of so many bytes, once it is empty.
    pub fn can_buffer(&self, bytes: usize) -> bool {
        bytes + HEADER_BYTES + BLOCK_ALIGN <= self.buffer_max
    }

    /// Appends a block as [`TapeWriter::append`] does, whose `len` bytes `make` appends to the
    /// buffer, which can have them.
    ///
    /// # Errors
    /// As there; `Internal` when they are others.
    pub fn append_made(
        &mut self,
        len: usize,
        tag: u32,
        make: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u64> {
        if !self.can_buffer(len) {
            return Err(Error::internal("a block that is made for a buffer of less"));
        }
        // It is shorter than the buffer.
        let len = len as u32;
        let position = self.make_room(block_bytes(len) as u64)?;
        self.buffer_block(position, len, tag, make)?;
        Ok(position)
    }

    /// Puts a block into the buffer, which has room for it once it is empty.
    fn buffer_block(
        &mut self,
        position: u64,
        len: u32,
        tag: u32,
        make: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        let total = block_bytes(len);
        if self.buffer.len() + total > self.buffer_max {
            self.flush()?;
        }
        let begin = self.buffer.len();
        self.buffer.extend_from_slice(&[0; HEADER_BYTES]);
        make(&mut self.buffer);
        let bytes = &self.buffer[begin + HEADER_BYTES..];
        if bytes.len() != len as usize {
            return Err(Error::internal(format!("a block of {len} bytes has {}", bytes.len())));
        }
        let header = header(len, tag, self.tape.sum(bytes, tag, position));
        self.buffer[begin..][..HEADER_BYTES].copy_from_slice(&header);
        self.buffer.resize(begin + total, 0);
        Ok(())
    }

    /// The finished tape.
    ///
    /// # Errors
    /// As [`TapeWriter::append`].
    pub fn finish(mut self) -> Result<Tape> {
        self.flush()?;
        self.tape.pieces.shrink_to_fit();
        Ok(self.tape)
    }

    /// Bytes on the tape so far.
    pub fn len(&self) -> u64 {
        self.tape.len() + self.buffer.len() as u64
    }

    /// Whether nothing has been appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sees to it that `total` bytes fit into the last piece, and says where they will be.
    fn make_room(&mut self, total: u64) -> Result<u64> {
        let buffered = self.buffer.len() as u64;
        if let Some(piece) = self.tape.pieces.last()
            && piece.used + buffered + total <= piece.extent.len()
        {
            return Ok(piece.start + piece.used + buffered);
        }
        self.flush()?;
        self.extend(total)
    }

    /// Adds a piece of at least `total` bytes and says where it starts.
    fn extend(&mut self, total: u64) -> Result<u64> {
        let doublings = self.tape.pieces.len().min(16) as u32;
        let usual = (EXTENT_BYTES_MIN << doublings).min(EXTENT_BYTES_MAX);
        let extent = self.space.allocate(total.max(usual), &self.tape.who)?;
        let start = self.tape.pieces.last().map_or(0, |p| p.start + p.extent.len());
        self.tape.pieces.push(Piece { start, used: 0, extent });
        Ok(start)
    }

    fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let written = if buffer.is_empty() { Ok(()) } else { self.write(&buffer) };
        self.buffer = buffer;
        self.buffer.clear();
        written
    }

    /// Writes behind what is written of the last piece. When its directory is full, the rest of
    /// the piece is moved to another one: same positions, other extent.
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        loop {
            let who = self.tape.who.clone();
            let Some(piece) = self.tape.pieces.last_mut() else {
                return Err(Error::internal("a tape is written before it has an extent"));
            };
            if piece.extent.write(piece.used, bytes, &who)? {
                piece.used += bytes.len() as u64;
                return Ok(());
            }
            self.relocate()?;
        }
    }

    /// Puts the last piece, which is in a full directory, elsewhere.
    fn relocate(&mut self) -> Result<()> {
        let who = self.tape.who.clone();
        let Some(piece) = self.tape.pieces.last_mut() else { return Ok(()) };
        let extent = self.space.allocate(piece.extent.len(), &who)?;
        let mut window = Window::default();
        let mut copied = 0;
        while copied < piece.used {
            let len = (piece.used - copied).min(EXTENT_BYTES_MIN);
            // At most EXTENT_BYTES_MIN, hence a usize.
            piece.extent.load(&mut window, copied, len as usize, &who)?;
            if !extent.write(copied, window.bytes(), &who)? {
                // Full as well: the space remembers both, so this ends.
                return self.relocate();
            }
            copied += len;
        }
        piece.extent = extent;
        Ok(())
    }
}

impl Tape {
    /// Bytes on the tape, headers, padding and gaps included.
    pub fn len(&self) -> u64 {
        self.pieces.last().map_or(0, |p| p.start + p.used)
    }

    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn sum(&self, bytes: &[u8], tag: u32, position: u64) -> u64 {
        let place = self.id.rotate_left(40) ^ position;
        checksum(bytes, place ^ (u64::from(tag) << 32).rotate_left(13))
    }

    fn piece(&self, position: u64) -> Option<&Piece> {
        let after = self.pieces.partition_point(|p| p.start <= position);
        self.pieces.get(after.checked_sub(1)?)
    }

    fn damaged(&self, piece: &Piece, position: u64) -> Error {
        let why = format!("the block at {position} is damaged: its checksum does not match");
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, why);
        Error::io("read spilled state from", piece.extent.path(), source)
    }
}

/// A block that was read, valid until the reader moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// Where it is on the tape.
    pub position: u64,
    /// What was written.
    pub bytes: &'a [u8],
    /// Where `bytes` begin in the reader's window.
    pub offset: usize,
    /// The number that was written with it.
    pub tag: u32,
}

/// Reads blocks of one tape, in order from any position, through a window.
pub struct TapeReader {
    tape: Arc<Tape>,
    window: Window,
    window_bytes: usize,
    /// Position of the window's first byte.
    window_start: u64,
    /// The next block.
    at: u64,
    until: u64,
    /// Bytes beyond `until` that are worth loading with the rest.
    beyond: u64,
    charge: Reservation,
}

impl TapeReader {
    /// A reader of the whole tape through a window of about `window_bytes`, charged to `charge`
    /// for as long as the reader lives.
    ///
    /// # Errors
    /// `OutOfMemory` when the window cannot be reserved.
    pub fn new(tape: Arc<Tape>, window_bytes: usize, mut charge: Reservation) -> Result<Self> {
        charge.grow(window_bytes)?;
        let until = tape.len();
        let window = Window::default();
        Ok(TapeReader {
            tape,
            window,
            window_bytes,
            window_start: 0,
            at: 0,
            until,
            beyond: 0,
            charge,
        })
    }

    /// Goes on with this tape, from its start, through the same window.
    pub fn turn_to(&mut self, tape: &Arc<Tape>) {
        if !Arc::ptr_eq(&self.tape, tape) {
            self.tape = tape.clone();
            (self.window, self.window_start) = (Window::default(), 0);
        }
        self.seek(0, tape.len(), 0);
    }

    /// Goes on with the block at `from`, and ends before the first one at or behind `until`. The
    /// last block is expected to reach no further than `beyond` bytes behind `until`.
    pub fn seek(&mut self, from: u64, until: u64, beyond: u64) {
        self.at = from;
        self.until = until.min(self.tape.len());
        self.beyond = beyond;
    }

    /// Where the next block is looked for.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Gives back what the block that was read last is larger than a window.
    pub fn release(&mut self) {
        let more = self.charge.bytes().saturating_sub(self.window_bytes);
        if more > 0 {
            self.window = Window::default();
            self.charge.shrink(more);
        }
    }

    /// The bytes that are in memory, until a block is asked for that is not among them.
    pub fn window(&self) -> &[u8] {
        self.window.bytes()
    }

    /// Whether the next block is in the window, so that [`TapeReader::next_block`] does not move
    /// it.
    pub fn is_at_hand(&self) -> bool {
        let header = self.view(self.at, HEADER_BYTES).and_then(parse);
        header.is_some_and(|(len, ..)| self.view(self.at, block_bytes(len)).is_some())
    }

    /// The next block; `None` at the end.
    ///
    /// # Errors
    /// `Io` when reading fails or the block is damaged, `OutOfMemory` when it is larger than the
    /// window and the difference cannot be reserved.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>> {
        let tape = self.tape.clone();
        let Some(piece) = self.next_piece(&tape) else { return Ok(None) };
        let position = self.at;
        if self.view(position, HEADER_BYTES).is_none() {
            self.load(piece, position, HEADER_BYTES)?;
        }
        let Some((len, tag, sum)) = self.view(position, HEADER_BYTES).and_then(parse) else {
            return Err(tape.damaged(piece, position));
        };
        let total = block_bytes(len);
        if position - piece.start + total as u64 > piece.used {
            return Err(tape.damaged(piece, position));
        }
        if self.view(position, total).is_none() {
            self.load(piece, position, total)?;
        }
        self.at = position + total as u64;
        // A position beyond the window after loading it would be a defect here, not damage; both
        // are reported alike.
        match self.view(position, HEADER_BYTES + len as usize) {
            Some(block) if tape.sum(&block[HEADER_BYTES..], tag, position) == sum => {
                let offset = (position - self.window_start) as usize + HEADER_BYTES;
                Ok(Some(Block { position, bytes: &block[HEADER_BYTES..], offset, tag }))
            }
            _ => Err(tape.damaged(piece, position)),
        }
    }

    /// The piece that holds the next block, after stepping over the gap at the end of one.
    fn next_piece<'t>(&mut self, tape: &'t Tape) -> Option<&'t Piece> {
        loop {
            if self.at >= self.until {
                return None;
            }
            let piece = tape.piece(self.at)?;
            if self.at - piece.start < piece.used {
                return Some(piece);
            }
            self.at = piece.start + piece.extent.len();
        }
    }

    /// Moves the window to `position`: at least `needed` bytes, and as many as it has room for of
    /// those before `until`.
    fn load(&mut self, piece: &Piece, position: u64, needed: usize) -> Result<()> {
        let behind = position - piece.start;
        let clamp = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let end = self.until.saturating_add(self.beyond);
        let wanted = clamp(end.saturating_sub(position)).min(self.window_bytes);
        let len = wanted.max(needed).min(clamp(piece.used.saturating_sub(behind)));
        let charged = len.max(self.window_bytes);
        if self.charge.bytes() != charged {
            self.window = Window::default();
            self.charge.resize_to(charged)?;
        }
        piece.extent.load(&mut self.window, behind, len, &self.tape.who)?;
        self.window_start = position;
        Ok(())
    }

    /// `len` bytes from `position`, when the window has them.
    fn view(&self, position: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(position.checked_sub(self.window_start)?).ok()?;
        self.window.bytes().get(from..from.checked_add(len)?)
    }
}

/// Bytes that a block of `len` takes on a tape.
fn block_bytes(len: u32) -> usize {
    (HEADER_BYTES + len as usize).next_multiple_of(BLOCK_ALIGN)
}

fn header(len: u32, tag: u32, sum: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4..8].copy_from_slice(&tag.to_le_bytes());
    header[8..].copy_from_slice(&sum.to_le_bytes());
    header
}

fn parse(header: &[u8]) -> Option<(u32, u32, u64)> {
    let (&len, rest) = header.split_first_chunk::<4>()?;
    let (&tag, rest) = rest.split_first_chunk::<4>()?;
    let &sum = rest.first_chunk::<8>()?;
    Some((u32::from_le_bytes(len), u32::from_le_bytes(tag), u64::from_le_bytes(sum)))
}
