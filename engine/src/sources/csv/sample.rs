//! Records from the beginning, the middle and the end of a file, to find out its dialect and the
//! types of its columns.

use super::structure::{BLOCK, Marks, State, Structure};
use super::window::BOM;
use crate::error::Result;
use crate::sources::InputFile;

/// Bytes of each of the three pieces; a file of up to three pieces is taken whole.
const PIECE_BYTES: u64 = 128 << 10;

/// A first piece without a whole record grows up to here.
const FIRST_PIECE_BYTES_MAX: u64 = 64 << 20;

/// Consecutive bytes of a file.
pub(super) struct Piece {
    /// A block longer than the piece.
    bytes: Vec<u8>,
    len: usize,
    /// Whether the file begins with this piece.
    begins: bool,
    /// Whether the file ends with this piece.
    ends: bool,
}

/// Whole records of a piece.
#[derive(Default)]
pub(super) struct PieceRecords {
    /// For each field of each record its first byte and the byte behind its last.
    pub(super) list: Vec<Vec<(usize, usize)>>,
    /// Bytes that the records take, and the empty lines between them.
    pub(super) bytes: usize,
}

/// The pieces of one file; the first one begins with the file.
pub(super) struct Sample<'a> {
    file: &'a InputFile,
    pub(super) pieces: Vec<Piece>,
}

impl<'a> Sample<'a> {
    /// Reads the pieces of a file that is not empty.
    pub(super) fn read(file: &'a InputFile) -> Result<Self> {
        let size = file.size();
        let pieces = if size <= 3 * PIECE_BYTES {
            vec![Piece::read(file, 0, size)?]
        } else {
            let middle = (size - PIECE_BYTES) / 2;
            [0, middle, size - PIECE_BYTES]
                .into_iter()
                .map(|from| Piece::read(file, from, PIECE_BYTES))
                .collect::<Result<_>>()?
        };
        Ok(Sample { file, pieces })
    }

    /// Doubles the first piece, which has no whole record; false when that is of no use.
    pub(super) fn grow(&mut self) -> Result<bool> {
        let Some(first) = self.pieces.first_mut() else { return Ok(false) };
        let len = first.len as u64 * 2;
        if first.ends || len > FIRST_PIECE_BYTES_MAX {
            return Ok(false);
        }
        *first = Piece::read(self.file, 0, len)?;
        Ok(true)
    }

    /// Whether the first piece is the whole file.
    pub(super) fn is_whole(&self) -> bool {
        self.pieces.first().is_some_and(|piece| piece.ends)
    }
}

impl Piece {
    fn read(file: &InputFile, from: u64, len: u64) -> Result<Piece> {
        let len = len.min(file.size() - from) as usize;
        let mut bytes = vec![0; len + BLOCK];
        file.read_at(from, &mut bytes[..len])?;
        Ok(Piece { bytes, len, begins: from == 0, ends: from + len as u64 == file.size() })
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The whole records, whatever their number of fields. In a piece from within a file they are
    /// found as if its first byte were in `state`.
    pub(super) fn records(&self, marks: &Marks, state: State) -> PieceRecords {
        let bom = self.begins && self.bytes.starts_with(BOM);
        let first = if bom { BOM.len() } else { 0 };
        let state = if self.begins { State::Start } else { state };
        let mut structure = Structure::default();
        structure.begin(0);
        let last = structure.read(&self.bytes, first, self.len, state, marks);
        let mut at = first;
        if !self.begins {
            match structure.next_newline(0) {
                Some(newline) => at = newline + 1,
                None => return PieceRecords::default(),
            }
        }
        if self.ends && !matches!(last, State::Quoted | State::Escaped) {
            structure.close_record(self.len);
        }
        let begin = at;
        let mut list = Vec::new();
        while let Some(newline) = structure.next_newline(at).filter(|_| at < self.len) {
            let line = &self.bytes[at..newline];
            if !(line.is_empty() || line == b"\r") {
                let mut field = at;
                let bounds = |end| (std::mem::replace(&mut field, end + 1), end);
                list.push(structure.separators_in(at, newline).map(bounds).collect());
            }
            at = newline + 1;
        }
        PieceRecords { list, bytes: at.min(self.len) - begin }
    }
}
