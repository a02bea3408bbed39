//! The bytes of one range in memory, with their structure and the extent of its records.
//!
//! Memory: the range, the rest of its last record, and two bits per byte of structure. A record
//! that is longer than a range makes the window of the range where it begins grow.

use super::borders::{Extent, Range};
use super::structure::{BLOCK, Marks, State, Structure};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::sources::InputFile;
use crate::sources::text::locate::Locator;

/// Positions within a window are 32 bits, and so are lengths of strings.
const WINDOW_BYTES_MAX: usize = i32::MAX as usize;

/// The byte order mark that some programs put before UTF-8.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// See the module documentation. Kept from range to range, so that its memory is reused.
#[derive(Default)]
pub(super) struct Window {
    /// At least a block longer than `len`; what stands there is unspecified.
    bytes: Vec<u8>,
    len: usize,
    /// Position of the first byte in the file.
    base: u64,
    pub(super) structure: Structure,
    /// The automaton at `len`.
    state: State,
    /// Whether empty lines at the start of a file come before its header.
    has_header: bool,
    /// First byte of the first record, and the byte behind the last one's line end.
    pub(super) records: (usize, usize),
}

impl Window {
    /// An empty window, for files that have a header or not.
    pub(super) fn new(has_header: bool) -> Self {
        Window { has_header, ..Window::default() }
    }

    /// The bytes; fields may be read up to a block beyond their end.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Position in the file of the byte at `at`.
    pub(super) fn offset(&self, at: usize) -> u64 {
        self.base + at as u64
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.structure.heap_bytes()
    }

    /// Reads a range, the byte before it, and `ahead` bytes behind it.
    pub(super) fn load(&mut self, file: &InputFile, range: &Range, ahead: usize) -> Result<()> {
        self.base = range.from.saturating_sub(1);
        self.len = 0;
        let wanted = usize::try_from(range.to - self.base).unwrap_or(usize::MAX);
        self.extend(file, wanted.saturating_add(ahead))
    }

    /// Reads more bytes: to a block border, or to the end of the file.
    fn extend(&mut self, file: &InputFile, more: usize) -> Result<()> {
        let rest = usize::try_from(file.size() - self.base).unwrap_or(usize::MAX);
        let len = self.len.saturating_add(more).next_multiple_of(BLOCK).min(rest);
        if len > WINDOW_BYTES_MAX {
            return Err(Error::input_at(
                "a record of more than 2 GiB; perhaps a quote is never closed",
                Locator::new(file).position(self.offset(self.records.0))?,
            ));
        }
        if self.bytes.len() < len + BLOCK {
            self.bytes.resize(len + BLOCK, 0);
        }
        file.read_at(self.offset(self.len), &mut self.bytes[self.len..len])?;
        self.len = len;
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

    /// Where the records of the range probably begin and end: the better of the guesses that the
    /// range begins outside and inside quotes.
    pub(super) fn guess(
        &mut self,
        file: &InputFile,
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
        file: &InputFile,
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
        file: &InputFile,
        range: &Range,
        marks: &Marks,
        begin: u64,
        mut held: Option<&mut Reservation>,
    ) -> Result<Option<Extent>> {
        self.structure.begin(0);
        if begin >= range.to {
            self.records = (0, 0);
            return Ok(Some(Extent { begin, end: begin }));
        }
        let first =
            if begin == 0 { self.skip_preamble(file)? } else { (begin - self.base) as usize };
        self.structure.begin(first / BLOCK);
        self.state = State::Start;
        self.records = (first, first);
        let last_begin = first.max((range.to - 1 - self.base) as usize);
        let mut scanned = first;
        loop {
            if scanned < self.len {
                self.state = self.structure.read(&self.bytes, scanned, self.len, self.state, marks);
                scanned = self.len;
            }
            if let Some(newline) = self.structure.next_newline(last_begin) {
                self.records.1 = newline + 1;
                return Ok(Some(Extent { begin, end: self.offset(newline + 1) }));
            }
            if self.at_end(file) {
                return self.end_file(file, begin, held.is_some());
            }
            let Some(held) = held.as_deref_mut() else { return Ok(None) };
            self.charge_growth(file, held)?;
            self.extend(file, self.len)?;
        }
    }

    /// The first byte of a file behind its byte order mark and the empty lines before its header.
    fn skip_preamble(&mut self, file: &InputFile) -> Result<usize> {
        let mut first = if self.bytes[..self.len].starts_with(BOM) { BOM.len() } else { 0 };
        while self.has_header {
            let rest = &self.bytes[first..self.len];
            first += rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            if first < self.len || self.at_end(file) {
                break;
            }
            self.extend(file, self.len)?;
        }
        Ok(first)
    }

    /// The last record of a file that does not end with a line end.
    fn end_file(&mut self, file: &InputFile, begin: u64, certain: bool) -> Result<Option<Extent>> {
        if matches!(self.state, State::Quoted | State::Escaped) {
            return if certain { Err(self.unclosed(file)?) } else { Ok(None) };
        }
        if self.records.0 < self.len {
            self.structure.close_record(self.len);
            self.records.1 = self.len + 1;
        }
        Ok(Some(Extent { begin, end: file.size() }))
    }

    /// The error for a quoted field that goes on to the end of the file.
    fn unclosed(&self, file: &InputFile) -> Result<Error> {
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
