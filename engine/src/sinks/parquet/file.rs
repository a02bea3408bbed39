//! The file under construction: row groups from several workers, in the order of the input.
//!
//! Workers hand over *pieces*: whole row groups that they have encoded, or few rows that are not
//! worth a row group of their own. Pieces wait in a window until it is their turn; few rows are
//! then collected into a common row group.
//!
//! Memory: pieces in the window are charged while they are there, [`WINDOW_BYTES`] at most; so
//! are the common row group and what the footer will say of the row groups written.
//! Concurrency: one lock, held while a piece is written.
//! Invariant 1: pieces are written in increasing order of place (when order is kept).
//! Invariant 2: the worker at the low mark never waits.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use arrow::array::ArrayRef;
use parquet::file::writer::SerializedFileWriter;

use super::encode::{EncodedGroup, Format, RowGroup};
use crate::batch::Place;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::pipeline::Context;
use crate::scheduler::Token;
use crate::sinks::commit::Output;

/// Most bytes that wait for pieces before them.
const WINDOW_BYTES: usize = 16 << 20;

/// Bytes handed to the system at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What the footer keeps in memory of one column of one row group, about.
const FOOTER_BYTES_PER_COLUMN: usize = 1200;

/// Rows of a contiguous part of the input.
pub(super) enum Piece {
    /// A row group.
    Group(EncodedGroup),
    /// Few rows, and the bytes they take.
    Rows(Vec<Vec<ArrayRef>>, usize),
}

impl Piece {
    fn bytes(&self) -> usize {
        match self {
            Piece::Group(group) => group.bytes,
            Piece::Rows(_, bytes) => *bytes,
        }
    }
}

/// Where the bytes of a file go, until it is committed.
pub(super) struct Bytes(Option<BufWriter<Output>>);

impl Bytes {
    fn create(target: &Path) -> Result<Self> {
        Ok(Bytes(Some(BufWriter::with_capacity(BUFFER_BYTES, Output::create(target)?))))
    }
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Some(output) => output.write(bytes),
            None => Err(io::Error::other("the file is committed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

/// A Parquet file under construction; see the module documentation.
pub(super) struct OrderedFile {
    target: PathBuf,
    group_rows: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    writer: Option<SerializedFileWriter<Bytes>>,
    /// What wait for pieces before them, and their charges.
    window: BTreeMap<Place, (Piece, Reservation)>,
    window_bytes: usize,
    /// The row group of pieces that have few rows.
    common: Option<RowGroup>,
    footer_bytes: usize,
    charge: Option<Reservation>,
}

impl OrderedFile {
    /// A file that will be `target`, with row groups of about `group_rows` rows.
    pub fn new(target: &Path, group_rows: usize) -> Self {
        OrderedFile { target: target.to_path_buf(), group_rows, state: Mutex::default() }
    }

    /// Takes a piece that begins at `place` out of `piece`, or says what to wait for. The charge
    /// for it is split off `charge`, which covers it.
    ///
    /// # Errors
    /// `Io` or `Input` when the file cannot be created or written, `OutOfMemory` when what the
    /// footer needs does not fit the budget.
    pub fn offer(
        &self,
        format: &Format,
        place: Place,
        piece: &mut Option<Piece>,
        charge: &mut Reservation,
        cx: &Context,
    ) -> Result<Option<Token>> {
        let turn = cx.order.token();
        let low = if cx.query.keep_order { cx.order.low() } else { u64::MAX };
        let mut state = self.lock();
        if state.charge.is_none() {
            state.charge = Some(cx.memory().reserve("write parquet", 0)?);
        }
        let in_turn = place.morsel <= low;
        let through = if in_turn { place } else { Place { morsel: low, sequence: 0 } };
        while let Some(first) = state.window.first_entry().filter(|first| *first.key() < through) {
            let (waited, _charge) = first.remove();
            state.window_bytes -= waited.bytes();
            self.write(format, &mut state, waited)?;
        }
        let Some(bytes) = piece.as_ref().map(Piece::bytes) else { return Ok(None) };
        if !in_turn {
            if state.window_bytes + bytes > WINDOW_BYTES {
                return Ok(Some(turn));
            }
            if let Some(piece) = piece.take() {
                state.window_bytes += bytes;
                state.window.insert(place, (piece, charge.split(bytes)));
            }
        } else if let Some(piece) = piece.take() {
            self.write(format, &mut state, piece)?;
            charge.shrink(bytes);
        }
        Ok(None)
    }

    /// Writes what is left, and gives the file its name.
    ///
    /// # Errors
    /// As [`OrderedFile::offer`].
    pub fn commit(&self, format: &Format) -> Result<()> {
        let mut state = self.lock();
        for (piece, _charge) in std::mem::take(&mut state.window).into_values() {
            self.write(format, &mut state, piece)?;
        }
        self.end_common(format, &mut state)?;
        let State { writer, .. } = std::mem::take(&mut *state);
        let mut writer = match writer {
            Some(writer) => writer,
            None => format.file(Bytes::create(&self.target)?)?,
        };
        writer.finish().map_err(|e| format.error(e))?;
        match writer.inner_mut().0.take() {
            Some(output) => {
                let written = output.into_inner();
                written.map_err(|e| Error::io("write", &self.target, e.into_error()))?.commit()
            }
            None => Err(Error::internal("a file that is committed twice")),
        }
    }

    /// Removes what was written, to begin again.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    fn write(&self, format: &Format, state: &mut State, piece: Piece) -> Result<()> {
        match piece {
            Piece::Group(group) => {
                self.end_common(format, state)?;
                self.append(format, state, group)
            }
            Piece::Rows(batches, _) => {
                for arrays in &batches {
                    let common = match &mut state.common {
                        Some(common) => common,
                        none => none.insert(RowGroup::new(format)?),
                    };
                    common.write(format, arrays)?;
                    let (rows, held) = (common.rows(), common.held_bytes());
                    let needed = state.footer_bytes + held;
                    let fits = state.charge.as_mut().is_none_or(|charge| {
                        let more = needed.saturating_sub(charge.bytes());
                        charge.shrink(charge.bytes().saturating_sub(needed));
                        charge.try_grow(more)
                    });
                    if rows >= self.group_rows || !fits {
                        self.end_common(format, state)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Ends the row group of pieces that have few rows.
    fn end_common(&self, format: &Format, state: &mut State) -> Result<()> {
        match state.common.take() {
            Some(common) => self.append(format, state, common.finish(format)?),
            None => Ok(()),
        }
    }

    fn append(&self, format: &Format, state: &mut State, group: EncodedGroup) -> Result<()> {
        let writer = match &mut state.writer {
            Some(writer) => writer,
            none => none.insert(format.file(Bytes::create(&self.target)?)?),
        };
        group.append_to(writer).map_err(|e| format.error(e))?;
        state.footer_bytes += FOOTER_BYTES_PER_COLUMN * format.leaves();
        let footer_bytes = state.footer_bytes;
        state.charge.as_mut().map_or(Ok(()), |charge| charge.resize_to(footer_bytes))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}
