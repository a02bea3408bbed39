//! Records of a file, to find out its dialect and the types of its columns: from the beginning,
//! the middle and the end, or, where it is compressed or a number of rows is asked for, from the
//! beginning on.
//!
//! Memory: the first piece, and one more at a time; charged.

use std::sync::Arc;

use super::masks::BLOCK;
use super::preamble::Preamble;
use super::scan::Cut;
use super::sequential::Sequential;
use super::structure::{Marks, State, Structure};
use super::window::Window;
use crate::error::Result;
use crate::memory::{Governor, Reservation};
use crate::sources::{ByteStream, Compression, InputFile};

/// Bytes of each of the three pieces; a file of up to three pieces is taken whole.
const PIECE_BYTES: u64 = 128 << 10;

/// A first piece without a whole record grows up to here.
const FIRST_PIECE_BYTES_MAX: u64 = 64 << 20;

/// Consecutive bytes of a file's content.
pub(super) struct Piece {
    /// A block longer than the piece.
    bytes: Vec<u8>,
    len: usize,
    /// Whether the content begins with this piece.
    begins: bool,
    /// Whether it ends with this piece.
    ends: bool,
    /// Bytes of the file that were read for it.
    consumed: u64,
}

/// The bounds of the fields of a record: of each its first byte and the byte behind its last.
pub(super) type Record = Vec<(usize, usize)>;

/// Whole records of a piece.
#[derive(Default)]
pub(super) struct PieceRecords {
    pub(super) list: Vec<Record>,
    /// Bytes that the records take, and the empty lines between them.
    pub(super) bytes: usize,
}

/// See the module documentation.
pub(super) struct Sample {
    pub(super) file: Arc<InputFile>,
    compression: Option<Compression>,
    preamble: Preamble,
    /// The beginning.
    pub(super) first: Piece,
    /// Records from the beginning to look at, if that is said.
    rows: Option<u64>,
    held: Reservation,
    memory: Governor,
}

/// What a walk over a sample came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walked {
    /// Records that were given.
    pub(super) records: usize,
    /// Bytes that they take.
    pub(super) bytes: usize,
    /// Bytes of the whole content, as far as is known.
    pub(super) content: f64,
    /// Whether all records of the content were given.
    pub(super) all: bool,
}

impl Sample {
    /// Reads the beginning of a file that is not empty.
    pub(super) fn read(
        file: Arc<InputFile>,
        preamble: Preamble,
        rows: Option<u64>,
        memory: &Governor,
    ) -> Result<Self> {
        let compression = Compression::of(&file)?;
        let mut held = memory.reserve("csv sample", 0)?;
        let whole = compression.is_some() || file.size() <= 3 * PIECE_BYTES;
        let len = if whole { 3 * PIECE_BYTES } else { PIECE_BYTES };
        let first = Piece::begin(&file, len, &mut held)?;
        let memory = memory.clone();
        Ok(Sample { file, compression, preamble, first, rows, held, memory })
    }

    /// How the file is compressed.
    pub(super) fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// Doubles the first piece, which has no whole record; false when that is of no use.
    pub(super) fn grow(&mut self) -> Result<bool> {
        let len = self.first.len as u64 * 2;
        if self.first.ends || len > FIRST_PIECE_BYTES_MAX {
            return Ok(false);
        }
        self.first = Piece::begin(&self.file, len, &mut self.held)?;
        Ok(true)
    }

    /// The whole records of the first piece, whatever their number of fields.
    pub(super) fn first_records(&self, marks: &Marks) -> PieceRecords {
        self.first.records(marks, State::Start, &self.preamble)
    }

    /// Calls `each` with the records of the sample until it has enough, and the bytes they are in.
    /// `is_even` says whether records have the right number of fields: which tells, in a piece
    /// from within the file, whether that begins inside or outside quotes.
    pub(super) fn walk(
        &mut self,
        marks: &Marks,
        is_even: impl Fn(&Record) -> bool,
        mut each: impl FnMut(&[u8], &Record) -> bool,
    ) -> Result<Walked> {
        if let Some(rows) = self.rows {
            return self.walk_on(marks, rows, each);
        }
        let first = self.first_records(marks);
        let mut walked = Walked {
            records: 0,
            bytes: 0,
            content: self.file.size() as f64 * self.expansion(),
            all: self.first.ends,
        };
        walked.add(&self.first, &first, &mut each);
        if self.first.ends || self.compression.is_some() {
            return Ok(walked);
        }
        let size = self.file.size();
        for from in [(size - PIECE_BYTES) / 2, size - PIECE_BYTES] {
            let piece = Piece::within(&self.file, from, PIECE_BYTES)?;
            for state in [State::Plain, State::Quoted] {
                let records = piece.records(marks, state, &self.preamble);
                if records.list.iter().all(&is_even) {
                    walked.add(&piece, &records, &mut each);
                    break;
                }
            }
        }
        Ok(walked)
    }

    /// How much longer the content is than the file, going by the first piece.
    fn expansion(&self) -> f64 {
        match self.compression {
            Some(_) => self.first.len as f64 / self.first.consumed.max(1) as f64,
            None => 1.0,
        }
    }

    /// The first `rows` records.
    fn walk_on(
        &mut self,
        marks: &Marks,
        rows: u64,
        mut each: impl FnMut(&[u8], &Record) -> bool,
    ) -> Result<Walked> {
        let mut file = Sequential::open(self.file.clone(), self.memory.reserve("csv sample", 0)?)?;
        let mut window = Window::new(self.preamble.clone());
        let bytes = Cut::of(&[self.file.file_ref().clone()], 1).range_bytes as usize;
        let mut held = self.memory.reserve("csv sample", 0)?;
        held.resize_to(bytes * 2)?;
        let mut walked = Walked { records: 0, bytes: 0, content: 0.0, all: false };
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let mut enough = rows == 0;
        while !enough && file.next(&mut window, marks, bytes, &mut held)? {
            let (from, stop) = window.records;
            let (list, _) = records(window.bytes(), &window.structure, (from, stop), marks);
            let mut end = from;
            for record in &list {
                enough = walked.records == rows || !each(window.bytes(), record);
                if enough {
                    break;
                }
                walked.records += 1;
                end = record.last().map_or(end, |field| field.1 + 1);
            }
            walked.bytes += if enough { end } else { stop } - from;
        }
        walked.all = !enough;
        walked.content = self.file.size() as f64 * file.expansion();
        Ok(walked)
    }
}

impl Walked {
    fn add(
        &mut self,
        piece: &Piece,
        records: &PieceRecords,
        mut each: impl FnMut(&[u8], &Record) -> bool,
    ) {
        self.records += records.list.len();
        self.bytes += records.bytes;
        for record in &records.list {
            if !each(piece.bytes(), record) {
                break;
            }
        }
    }
}

impl Piece {
    fn begin(file: &Arc<InputFile>, len: u64, held: &mut Reservation) -> Result<Piece> {
        let mut stream = ByteStream::open(file.clone())?;
        let len = match stream.compression() {
            None => len.min(file.size()) as usize,
            Some(_) => len as usize,
        };
        held.resize_to(len + stream.held_bytes())?;
        // One byte more, to see whether there is one.
        let mut bytes = vec![0; len + BLOCK];
        let read = stream.read(&mut bytes[..len + 1])?;
        let (len, ends) = (read.min(len), read <= len);
        Ok(Piece { bytes, len, begins: true, ends, consumed: stream.consumed() })
    }

    fn within(file: &InputFile, from: u64, len: u64) -> Result<Piece> {
        let len = len.min(file.size() - from) as usize;
        let mut bytes = vec![0; len + BLOCK];
        file.read_at(from, &mut bytes[..len])?;
        let ends = from + len as u64 == file.size();
        Ok(Piece { bytes, len, begins: false, ends, consumed: len as u64 })
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The whole records. In a piece from within the file they are found as if its first byte
    /// were in `state`.
    fn records(&self, marks: &Marks, state: State, preamble: &Preamble) -> PieceRecords {
        let mut structure = Structure::default();
        let first = match self.begins {
            true => preamble.end(self.bytes(), self.ends).unwrap_or(self.len),
            false => 0,
        };
        structure.begin(first / BLOCK);
        let state = if self.begins { State::Start } else { state };
        let last = structure.read(&self.bytes, first, self.len, state, marks);
        let mut at = first;
        if !self.begins {
            match structure.next_newline(0) {
                Some(newline) => at = newline + 1,
                None => return PieceRecords::default(),
            }
        }
        if self.ends && !matches!(last, State::Quoted | State::Escaped | State::Start) {
            structure.close_record(self.len);
        }
        let (list, end) = records(&self.bytes, &structure, (at, self.len + 1), marks);
        PieceRecords { list, bytes: end.min(self.len) - at }
    }
}

/// The records between two positions, without comments and empty lines, and where they end.
fn records(
    bytes: &[u8],
    structure: &Structure,
    (mut at, stop): (usize, usize),
    marks: &Marks,
) -> (Vec<Record>, usize) {
    let mut list = Vec::new();
    while let Some(newline) = structure.next_newline(at).filter(|&newline| newline < stop) {
        let line = &bytes[at..newline];
        let comment = marks.comment.is_some() && line.first() == marks.comment.as_ref();
        if !(line.is_empty() || line == b"\r" || comment) {
            let mut field = at;
            let bounds = |end| (std::mem::replace(&mut field, end + 1), end);
            list.push(structure.separators_in(at, newline).map(bounds).collect());
        }
        at = newline + 1;
    }
    (list, at)
}
