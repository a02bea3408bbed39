//! Bytes of a file in memory, with their structure and the extent of their records: of one range,
//! or, where a file is read from front to back, of the next records.
//!
//! Memory: the range, the rest of its last record, and two bits per byte of structure. A record
//! that is longer than a range makes the window of the range where it begins grow.

use std::cell::OnceCell;
use std::sync::Arc;

use super::borders::{Extent, Range};
use super::masks::BLOCK;
use super::preamble::Preamble;
use super::structure::{Marks, State, Structure};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::sources::text::locate::Locator;
use crate::sources::{ByteStream, InputFile};

/// Positions within a window are 32 bits, and so are lengths of strings.
const WINDOW_BYTES_MAX: usize = i32::MAX as usize;

/// See the module documentation. Kept from range to range, so that its memory is reused.
#[derive(Default)]
pub(super) struct Window {
    /// At least a block longer than `len`; what stands there is unspecified.
    bytes: Vec<u8>,
    len: usize,
    /// Position of the first byte in the content of the file.
    base: u64,
    pub(super) structure: Structure,
    /// The automaton at `scanned`.
    state: State,
    /// Bytes whose structure is known, once it is known where the first record begins.
    scanned: Option<usize>,
    preamble: Preamble,
    /// First byte of the first record, and the byte behind the last one's line end.
    pub(super) records: (usize, usize),
    /// Whether the first record is the first one of its file.
    pub(super) begins_file: bool,
    /// Whether a byte is zero, once it was asked.
    has_zero: OnceCell<bool>,
}

impl Window {
    /// An empty window, for files that begin with such a preamble.
    pub(super) fn new(preamble: Preamble) -> Self {
        Window { preamble, ..Window::default() }
    }

    /// Gives all memory back.
    pub(super) fn clear(&mut self) {
        *self = Window::new(std::mem::take(&mut self.preamble));
    }

    /// The bytes; fields may be read up to a block beyond their end.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether a byte of the window is zero.
    pub(super) fn has_zero(&self) -> bool {
        let bytes = &self.bytes[..self.len];
        *self.has_zero.get_or_init(|| memchr::memchr(0, bytes).is_some())
    }

    /// Position in the content of the byte at `at`.
    pub(super) fn offset(&self, at: usize) -> u64 {
        self.base + at as u64
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.structure.heap_bytes()
    }

    /// Reads a range, the byte before it, and `ahead` bytes behind it.
    pub(super) fn load(
        &mut self,
        file: &Arc<InputFile>,
        range: &Range,
        ahead: usize,
    ) -> Result<()> {
        self.start(range.from.saturating_sub(1));
        let wanted = usize::try_from(range.to - self.base).unwrap_or(usize::MAX);
        self.extend(file, wanted.saturating_add(ahead))
    }

    fn start(&mut self, base: u64) {
        self.base = base;
        self.len = 0;
        self.scanned = None;
        self.records = (0, 0);
        self.has_zero.take();
        self.structure.begin(0);
    }

    /// Reads more bytes: to a block border, or to the end of the file.
    fn extend(&mut self, file: &Arc<InputFile>, more: usize) -> Result<()> {
        let rest = usize::try_from(file.size() - self.base).unwrap_or(usize::MAX);
        let len = self.len.saturating_add(more).next_multiple_of(BLOCK).min(rest);
        self.make_room(file, len)?;
        file.read_at(self.offset(self.len), &mut self.bytes[self.len..len])?;
        self.len = len;
        Ok(())
    }

    fn make_room(&mut self, file: &Arc<InputFile>, len: usize) -> Result<()> {
        if len > WINDOW_BYTES_MAX {
            return Err(Error::input_at(
                "a record of more than 2 GiB; perhaps a quote is never closed",
                Locator::new(file).position(self.offset(self.records.0))?,
            ));
        }
        if self.bytes.len() < len + BLOCK {
            self.bytes.resize(len + BLOCK, 0);
        }
        Ok(())
    }

    /// Charges what the window is going to hold when it is twice as long.
    fn charge_growth(&self, file: &InputFile, held: &mut Reservation) -> Result<()> {
        let growth = self.heap_bytes();
        held.grow(growth).map_err(|error| match error {
            Error::OutOfMemory { who, asked_bytes, detail } => Error::OutOfMemory {
                who: format!(
                    "{who}, for the record at byte {} of {} (perhaps a quote is never closed),",
                    self.offset(self.records.0),
                    file.path().display()
                ),
                asked_bytes,
                detail,
            },
            other => other,
        })
    }

    fn at_end(&self, file: &InputFile) -> bool {
        self.offset(self.len) == file.size()
    }

    /// A record begins at `first`.
    fn begin_records(&mut self, first: usize) {
        self.structure.begin(first / BLOCK);
        self.state = State::Start;
        self.records = (first, first);
        self.scanned = Some(first);
        self.begins_file = false;
    }

    /// Finds the structure of all bytes at hand; false when the preamble goes on behind them.
    fn scan(&mut self, marks: &Marks, whole: bool) -> bool {
        if self.scanned.is_none() {
            let Some(first) = self.preamble.end(&self.bytes[..self.len], whole) else {
                return false;
            };
            self.begin_records(first);
            self.begins_file = true;
        }
        let scanned = self.scanned.unwrap_or(self.len);
        self.state = self.structure.read(&self.bytes, scanned, self.len, self.state, marks);
        self.scanned = Some(self.len);
        true
    }

    /// Where the records of the range probably begin and end: the better of the guesses that the
    /// range begins outside and inside quotes.
    pub(super) fn guess(
        &mut self,
        file: &Arc<InputFile>,
        range: &Range,
        marks: &Marks,
        held: &mut Reservation,
    ) -> Result<Option<Extent>> {
        if range.from == 0 {
            return self.read_from(file, range, marks, 0, Some(held));
        }
        let outside = self.guess_from(file, range, marks, State::Plain)?;
        if self.structure.stray_blocks == 0 {
            return Ok(outside);
        }
        let strays = self.structure.stray_blocks;
        let inside = self.guess_from(file, range, marks, State::Quoted)?;
        if inside.is_some() && self.structure.stray_blocks < strays {
            return Ok(inside);
        }
        self.guess_from(file, range, marks, State::Plain)
    }

    /// The extent if the automaton is in `state` before the byte before the range.
    fn guess_from(
        &mut self,
        file: &Arc<InputFile>,
        range: &Range,
        marks: &Marks,
        state: State,
    ) -> Result<Option<Extent>> {
        let newline = if state == State::Plain {
            memchr::memchr(marks.newline, &self.bytes[..self.len])
        } else {
            self.structure.begin(0);
            self.structure.read(&self.bytes, 0, self.len, state, marks);
            self.structure.next_newline(0)
        };
        match newline.map(|at| self.offset(at + 1)) {
            Some(begin) if begin < range.to => self.read_from(file, range, marks, begin, None),
            _ => {
                self.structure.begin(0);
                Ok(None)
            }
        }
    }

    /// Reads the structure from `begin` on, where a record begins, up to the end of the last
    /// record of the range. When it is certain that a record begins there, more bytes are read
    /// as needed and charged to `held`; otherwise `None` says that the end is not among those at
    /// hand.
    pub(super) fn read_from(
        &mut self,
        file: &Arc<InputFile>,
        range: &Range,
        marks: &Marks,
        begin: u64,
        mut held: Option<&mut Reservation>,
    ) -> Result<Option<Extent>> {
        if begin >= range.to {
            self.begin_records(0);
            return Ok(Some(Extent { begin, end: begin }));
        }
        self.scanned = None;
        if begin > 0 {
            self.begin_records((begin - self.base) as usize);
        }
        loop {
            let whole = self.at_end(file);
            if self.scan(marks, whole) {
                let last_begin = self.records.0.max((range.to - 1 - self.base) as usize);
                if let Some(newline) = self.structure.next_newline(last_begin) {
                    self.records.1 = newline + 1;
                    return Ok(Some(Extent { begin, end: self.offset(newline + 1) }));
                }
                if whole {
                    let ended = self.end_content(file, held.is_some())?;
                    return Ok(ended.then(|| Extent { begin, end: file.size() }));
                }
            }
            let Some(held) = held.as_deref_mut() else { return Ok(None) };
            self.charge_growth(file, held)?;
            self.extend(file, self.len)?;
        }
    }

    /// Fills the window with the records that follow `rest`, the bytes from `base` on that were
    /// read before: about as many as `bytes` hold, at least one. Leaves in `rest` what stands
    /// behind them, and says whether the content ends with them.
    pub(super) fn read_stream(
        &mut self,
        stream: &mut ByteStream,
        (base, rest): (u64, &mut Vec<u8>),
        marks: &Marks,
        bytes: usize,
        held: &mut Reservation,
    ) -> Result<bool> {
        let file = stream.file().clone();
        self.start(base);
        self.make_room(&file, rest.len())?;
        self.bytes[..rest.len()].copy_from_slice(rest);
        self.len = rest.len();
        if base > 0 {
            self.begin_records(0);
        }
        let mut more = bytes.saturating_sub(self.len).max(BLOCK);
        loop {
            let len = (self.len + more).next_multiple_of(BLOCK);
            self.make_room(&file, len)?;
            let read = stream.read(&mut self.bytes[self.len..len])?;
            self.len += read;
            let whole = self.len < len;
            if self.scan(marks, whole) {
                if whole {
                    self.end_content(&file, true)?;
                    rest.clear();
                    return Ok(true);
                }
                if let Some(newline) = self.structure.last_newline() {
                    self.records.1 = newline + 1;
                    rest.clear();
                    rest.extend_from_slice(&self.bytes[newline + 1..self.len]);
                    return Ok(false);
                }
            }
            self.charge_growth(&file, held)?;
            more = self.len;
        }
    }

    /// The last record of a content that does not end with a line end. False, when it is not
    /// `certain` where records begin and this end is inside quotes.
    fn end_content(&mut self, file: &Arc<InputFile>, certain: bool) -> Result<bool> {
        if matches!(self.state, State::Quoted | State::Escaped) {
            return if certain { Err(self.unclosed(file)?) } else { Ok(false) };
        }
        self.records.1 = self.len;
        if self.records.0 < self.len && self.state != State::Start {
            self.structure.close_record(self.len);
            self.records.1 = self.len + 1;
        }
        Ok(true)
    }

    /// The error for a quoted field that goes on to the end of the file.
    fn unclosed(&self, file: &Arc<InputFile>) -> Result<Error> {
        let mut record = self.records.0;
        while let Some(newline) = self.structure.next_newline(record) {
            record = newline + 1;
        }
        let position = Locator::new(file).position(self.offset(record))?;
        Ok(Error::input_at(
            "a quoted field of the record that begins here is never closed; close it, or read the \
             file with another quote",
            position,
        ))
    }
}
