//! Hands out what there is to read, in file order: byte ranges of plain files, and of compressed
//! ones the next records, as they come out of the decoder.
//!
//! Files are divided into parts: plain files that follow each other are one part, cut into ranges
//! that any worker can read; a compressed file is a part of its own, whose decoder is used by one
//! worker at a time. While one worker decompresses, the others parse what they have got.
//!
//! Concurrency: a lock over the cursor, taken briefly, and one over each decoder, held while a
//! window is filled; a worker that finds it taken blocks. Invariants:
//! 1. The cursor leaves a part when all of it has been handed out.
//! 2. Morsels are numbered in the order of the file: a part's begin behind those of the one before.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};

use super::borders::{Borders, Extent, Range, Verdict};
use super::scan::Cut;
use super::sequential::Sequential;
use super::structure::Marks;
use super::window::Window;
use crate::error::Result;
use crate::memory::Reservation;
use crate::scheduler::{Gate, Token};
use crate::sources::{Compression, FileRef, InputFile};

/// What to read next.
pub(super) enum Next {
    /// A range.
    Range(Piece),
    /// The window holds records.
    Records { morsel: u64, file: Arc<InputFile> },
    /// The decoder is in use.
    Blocked(Token),
    /// There is nothing left.
    Finished,
}

/// A range of a file.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) morsel: u64,
    pub(super) range: Range,
    pub(super) file: Arc<InputFile>,
    part: usize,
}

/// See the module documentation.
pub(super) struct Feed {
    files: Vec<ScanFile>,
    parts: Vec<Part>,
    cursor: Mutex<Cursor>,
    moved: Gate,
    cut: Cut,
}

struct ScanFile {
    planned: FileRef,
    /// Open while a worker reads from it.
    opened: Mutex<Weak<InputFile>>,
}

enum Part {
    /// Plain files, from this one on.
    Ranges { first_file: usize, borders: Borders },
    /// A compressed file.
    Stream { file: usize, state: Mutex<Stream> },
}

#[derive(Default)]
enum Stream {
    #[default]
    Closed,
    Open(Box<Sequential>),
    Over,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    part: usize,
    /// Number of the part's first morsel.
    first: u64,
    /// Morsels of the part that have been handed out, when it is a stream.
    given: u64,
}

impl Feed {
    /// Looks at the files and cuts them up.
    ///
    /// # Errors
    /// `Io` when a file cannot be opened, `Input` when it changed since planning.
    pub(super) fn open(files: &[FileRef], cut: Cut) -> Result<Feed> {
        let files =
            files.iter().map(|file| ScanFile { planned: file.clone(), opened: Mutex::default() });
        let files: Vec<ScanFile> = files.collect();
        let mut parts = Vec::new();
        let mut plain: Vec<u64> = Vec::new();
        let end_plain = |plain: &mut Vec<u64>, behind: usize, parts: &mut Vec<Part>| {
            if !plain.is_empty() {
                let borders = Borders::new(plain, cut.range_bytes);
                parts.push(Part::Ranges { first_file: behind - plain.len(), borders });
                plain.clear();
            }
        };
        for (number, file) in files.iter().enumerate() {
            if Compression::of(&*file.open()?)?.is_none() {
                plain.push(file.planned.size);
                continue;
            }
            end_plain(&mut plain, number, &mut parts);
            parts.push(Part::Stream { file: number, state: Mutex::default() });
        }
        end_plain(&mut plain, files.len(), &mut parts);
        Ok(Feed { files, parts, cursor: Mutex::default(), moved: Gate::new(), cut })
    }

    /// What to read next. Records of a compressed file are put into the window right away, and
    /// what it grows by is charged to `held`; `decoder` makes the reservation of a decoder.
    pub(super) fn next(
        &self,
        window: &mut Window,
        marks: &Marks,
        held: &mut Reservation,
        decoder: impl Fn() -> Result<Reservation>,
    ) -> Result<Next> {
        loop {
            let token = self.moved.token();
            let Cursor { part, first, .. } = *lock(&self.cursor);
            match self.parts.get(part) {
                None => return Ok(Next::Finished),
                Some(Part::Ranges { first_file, borders }) => match borders.take() {
                    Some(range) => {
                        let file = self.files[first_file + range.file].open()?;
                        let morsel = first + range.number;
                        return Ok(Next::Range(Piece { morsel, range, file, part }));
                    }
                    None => self.leave(part, borders.count()),
                },
                Some(Part::Stream { file, state }) => {
                    let mut state = match state.try_lock() {
                        Ok(state) => state,
                        Err(TryLockError::Poisoned(e)) => e.into_inner(),
                        Err(TryLockError::WouldBlock) => return Ok(Next::Blocked(token)),
                    };
                    let next =
                        self.next_records((part, *file), &mut state, window, marks, held, &decoder);
                    drop(state);
                    self.moved.notify();
                    if let Some((morsel, file)) = next? {
                        return Ok(Next::Records { morsel, file });
                    }
                }
            }
        }
    }

    fn next_records(
        &self,
        (part, file): (usize, usize),
        state: &mut Stream,
        window: &mut Window,
        marks: &Marks,
        held: &mut Reservation,
        decoder: impl Fn() -> Result<Reservation>,
    ) -> Result<Option<(u64, Arc<InputFile>)>> {
        if matches!(state, Stream::Closed) {
            *state =
                Stream::Open(Box::new(Sequential::open(self.files[file].open()?, decoder()?)?));
        }
        if let Stream::Open(stream) = state
            && stream.next(window, marks, self.cut.range_bytes as usize, held)?
        {
            let mut cursor = lock(&self.cursor);
            let morsel = cursor.first + cursor.given;
            cursor.given += 1;
            return Ok(Some((morsel, stream.file().clone())));
        }
        *state = Stream::Over;
        let given = lock(&self.cursor).given;
        self.leave(part, given);
        Ok(None)
    }

    /// Goes on to the next part, unless another worker has done so.
    fn leave(&self, part: usize, morsels: u64) {
        let mut cursor = lock(&self.cursor);
        if cursor.part == part {
            *cursor = Cursor { part: part + 1, first: cursor.first + morsels, given: 0 };
        }
    }

    /// Says where the records of a range may begin and end.
    pub(super) fn guess(&self, piece: &Piece, guess: Option<Extent>) {
        if let Some(borders) = self.borders(piece) {
            borders.guess(&piece.range, guess);
        }
    }

    /// What has become of the guess.
    pub(super) fn verdict(&self, piece: &Piece) -> Verdict {
        self.borders(piece).map_or(Verdict::Confirmed, |borders| borders.verdict(&piece.range))
    }

    /// Says where the records of a range end whose beginning was told.
    pub(super) fn settle(&self, piece: &Piece, end: u64) {
        if let Some(borders) = self.borders(piece) {
            borders.settle(&piece.range, end);
        }
    }

    fn borders(&self, piece: &Piece) -> Option<&Borders> {
        match self.parts.get(piece.part) {
            Some(Part::Ranges { borders, .. }) => Some(borders),
            _ => None,
        }
    }

    /// Workers that can be busy at once; `None` when there is no telling.
    pub(super) fn parallelism(&self) -> Option<usize> {
        let ranges = self.parts.iter().map(|part| match part {
            Part::Ranges { borders, .. } => usize::try_from(borders.count()).ok(),
            Part::Stream { .. } => None,
        });
        ranges.sum()
    }

    /// Back to the beginning.
    pub(super) fn reset(&self) {
        *lock(&self.cursor) = Cursor::default();
        for part in &self.parts {
            match part {
                Part::Ranges { borders, .. } => borders.reset(),
                Part::Stream { state, .. } => *lock(state) = Stream::Closed,
            }
        }
    }
}

impl ScanFile {
    fn open(&self) -> Result<Arc<InputFile>> {
        let mut opened = lock(&self.opened);
        if let Some(file) = opened.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(InputFile::open(&self.planned)?);
        *opened = Arc::downgrade(&file);
        Ok(file)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
