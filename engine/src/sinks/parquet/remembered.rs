//! What is kept of the row groups until the end of the file, where it is written: in memory while
//! that is little of the budget, and from then on on a tape.
//!
//! Memory: a share of the budget, or the buffer of the tape; and a window while it is read back.

use std::sync::Arc;

use crate::error::Result;
use crate::memory::Governor;
use crate::memory::spill::{TapeReader, TapeWriter};

/// What is kept in memory is at most this part of the budget.
const MEMORY_SHARE: usize = 64;

/// Buffer of the tape, and window for reading it.
const TAPE_BYTES: usize = 64 << 10;

/// Where a piece belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    ColumnIndexes,
    OffsetIndexes,
    Groups,
}

/// Pieces of bytes in the order in which they came; see the module documentation.
pub(super) struct Remembered {
    memory: Governor,
    who: &'static str,
    pieces: Vec<(Section, Box<[u8]>)>,
    /// Bytes of the pieces in memory.
    bytes: usize,
    bytes_max: usize,
    tape: Option<TapeWriter>,
}

impl Remembered {
    /// Nothing yet; `who` is named in errors.
    pub fn new(memory: &Governor, who: &'static str) -> Self {
        Remembered {
            memory: memory.clone(),
            who,
            pieces: Vec::new(),
            bytes: 0,
            bytes_max: memory.limit() / MEMORY_SHARE,
            tape: None,
        }
    }

    /// Keeps one more piece.
    ///
    /// # Errors
    /// `OutOfMemory` or `Io` when it has no room in memory and cannot be written to disk.
    pub fn push(&mut self, section: Section, piece: Box<[u8]>) -> Result<()> {
        if let Some(tape) = &mut self.tape {
            return tape.append(&piece, section as u32).map(|_| ());
        }
        self.bytes += piece.len();
        self.pieces.push((section, piece));
        if self.held_bytes() <= self.bytes_max {
            return Ok(());
        }
        let buffer_bytes = TAPE_BYTES.min(self.bytes_max);
        let tape = TapeWriter::new(self.memory.spill(), self.who, buffer_bytes);
        let tape = self.tape.insert(tape);
        self.bytes = 0;
        for (section, piece) in std::mem::take(&mut self.pieces) {
            tape.append(&piece, section as u32)?;
        }
        Ok(())
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        match self.tape {
            Some(_) => TAPE_BYTES.min(self.bytes_max),
            None => self.bytes + self.pieces.capacity() * size_of::<(Section, Box<[u8]>)>(),
        }
    }

    /// All that was kept, to be read.
    ///
    /// # Errors
    /// `OutOfMemory` or `Io` as for [`Remembered::push`], or when a window has no room.
    pub fn finish(self) -> Result<Recalled> {
        let Some(tape) = self.tape else { return Ok(Recalled::Memory(self.pieces)) };
        let tape = Arc::new(tape.finish()?);
        let charge = self.memory.reserve(self.who, 0)?;
        let window_bytes = TAPE_BYTES.min(self.bytes_max);
        let reader = TapeReader::new(tape.clone(), window_bytes, charge)?;
        Ok(Recalled::Tape { reader, bytes: tape.len() })
    }
}

/// What was kept.
pub(super) enum Recalled {
    Memory(Vec<(Section, Box<[u8]>)>),
    Tape { reader: TapeReader, bytes: u64 },
}

impl Recalled {
    /// Gives the pieces of a section to `take`, in the order in which they were kept.
    ///
    /// # Errors
    /// Those of `take`; `Io` when the tape cannot be read.
    pub fn each(
        &mut self,
        section: Section,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        match self {
            Recalled::Memory(pieces) => {
                let mut pieces = pieces.iter().filter(|(of, _)| *of == section);
                pieces.try_for_each(|(_, piece)| take(piece))
            }
            Recalled::Tape { reader, bytes } => {
                reader.seek(0, *bytes, 0);
                while let Some(block) = reader.next_block()? {
                    if block.tag == section as u32 {
                        take(block.bytes)?;
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::GovernorOptions;

    #[test]
    fn pieces_come_back_by_section_and_in_order_however_little_memory_there_is() {
        let directory = tempfile::tempdir().expect("directory");
        let sections = [Section::ColumnIndexes, Section::OffsetIndexes, Section::Groups];
        let piece = |number: usize| vec![number as u8; number * 37 % 3000];
        for limit in [None, Some(64 << 20), Some(1 << 20), Some(64 << 10)] {
            let temp_dirs = vec![directory.path().to_path_buf()];
            let options = GovernorOptions { limit_bytes: limit, temp_dirs, ..Default::default() };
            let memory = Governor::new(options);
            let mut kept = Remembered::new(&memory, "test");
            for number in 0..2000 {
                kept.push(sections[number % 3], piece(number).into()).expect("keeps");
                assert!(kept.held_bytes() <= memory.limit() / MEMORY_SHARE, "{limit:?}");
            }
            assert_eq!(kept.tape.is_some(), memory.limit() < 64 << 21, "{limit:?}");
            let mut kept = kept.finish().expect("finishes");
            for (first, section) in sections.into_iter().enumerate() {
                let mut number = first;
                let check = |bytes: &[u8]| {
                    assert_eq!(bytes, piece(number));
                    number += 3;
                    Ok(())
                };
                kept.each(section, check).expect("reads");
                assert!(number >= 2000);
            }
        }
    }
}
