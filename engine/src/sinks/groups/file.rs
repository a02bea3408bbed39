//! The file under construction: groups from several workers, in the order of the input.
//!
//! Workers hand over *pieces*: whole groups that they have encoded, or few rows that are not worth
//! a group of their own. Pieces wait in a window until it is their turn; few rows are then
//! collected into a common group.
//!
//! Memory: pieces in the window are charged while they are there, [`WINDOW_BYTES`] at most, and no
//! more than the budget has room for beside the minimum of each worker; so are the common group and
//! what the file remembers of the groups written.
//! Concurrency: one lock, held while a piece is written.
//! Invariant 1: pieces are written in increasing order of place (when order is kept).
//! Invariant 2: the worker at the low mark never waits.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use arrow::array::ArrayRef;

use super::{GroupFormat, charged};
use crate::batch::Place;
use crate::error::Result;
use crate::memory::{Governor, Reservation};
use crate::pipeline::Context;
use crate::scheduler::Token;
use crate::sinks::commit::Output;

/// Most bytes that wait for pieces before them.
const WINDOW_BYTES: usize = 16 << 20;

/// The common group has something set aside for it when that is at most this part of what is free.
const FREE_SHARE: usize = 4;

/// Rows of a contiguous part of the input.
pub(super) enum Piece<E> {
    /// A group, and the bytes it takes.
    Group(E, usize),
    /// Few rows, and the bytes they take.
    Rows(Vec<Vec<ArrayRef>>, usize),
}

impl<E> Piece<E> {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Piece::Group(_, bytes) | Piece::Rows(_, bytes) => *bytes,
        }
    }
}

/// A file under construction; see the module documentation.
pub(super) struct OrderedFile<F: GroupFormat> {
    group_rows: usize,
    state: Mutex<State<F>>,
}

struct State<F: GroupFormat> {
    file: Option<F::File>,
    /// What wait for pieces before them, and their charges.
    window: BTreeMap<Place, (Piece<F::Encoded>, Reservation)>,
    window_bytes: usize,
    /// The group of pieces that have few rows.
    common: Option<Common<F>>,
    /// For what the file remembers of its groups.
    charge: Option<Reservation>,
}

struct Common<F: GroupFormat> {
    group: F::Group,
    charge: Reservation,
}

impl<F: GroupFormat> Default for State<F> {
    fn default() -> Self {
        State { file: None, window: BTreeMap::new(), window_bytes: 0, common: None, charge: None }
    }
}

impl<F: GroupFormat> OrderedFile<F> {
    /// A file of groups of about `group_rows` rows.
    pub(super) fn new(group_rows: usize) -> Self {
        OrderedFile { group_rows, state: Mutex::default() }
    }

    /// Takes a piece that begins at `place` out of `piece`, or says what to wait for. The charge
    /// for it is split off `charge`, which covers it.
    ///
    /// # Errors
    /// `Io` or `Input` when the file cannot be created or written, `OutOfMemory` when what is
    /// remembered of the groups does not fit the budget.
    pub(super) fn offer(
        &self,
        format: &F,
        place: Place,
        piece: &mut Option<Piece<F::Encoded>>,
        charge: &mut Reservation,
        cx: &Context,
    ) -> Result<Option<Token>> {
        let turn = cx.order.token();
        let low = if cx.query.keep_order { cx.order.low() } else { u64::MAX };
        let memory = cx.memory();
        let mut state = self.lock();
        let in_turn = place.morsel <= low;
        let through = if in_turn { place } else { Place { morsel: low, sequence: 0 } };
        while let Some(first) = state.window.first_entry().filter(|first| *first.key() < through) {
            let (waited, _charge) = first.remove();
            state.window_bytes -= waited.bytes();
            self.write(format, &mut state, waited, memory)?;
        }
        let Some(bytes) = piece.as_ref().map(Piece::bytes) else { return Ok(None) };
        if !in_turn {
            // What waits is charged beside what the worker needs for its next group, or that would
            // be a tiny one.
            let minimum = charge.minimum();
            if state.window_bytes + bytes > WINDOW_BYTES || !charge.ensure(minimum) {
                return Ok(Some(turn));
            }
            if let Some(piece) = piece.take() {
                state.window_bytes += bytes;
                state.window.insert(place, (piece, charge.split(bytes)));
            }
        } else if let Some(piece) = piece.take() {
            self.write(format, &mut state, piece, memory)?;
            charge.shrink(bytes);
        }
        Ok(None)
    }

    /// Writes what is left, and gives the file its name.
    ///
    /// # Errors
    /// As [`OrderedFile::offer`].
    pub(super) fn commit(&self, format: &F, cx: &Context) -> Result<()> {
        let memory = cx.memory();
        let mut state = self.lock();
        for (piece, _charge) in std::mem::take(&mut state.window).into_values() {
            self.write(format, &mut state, piece, memory)?;
        }
        self.end_common(format, &mut state, memory)?;
        let State { file, charge: _charge, .. } = std::mem::take(&mut *state);
        let file = match file {
            Some(file) => file,
            None => format.open(Output::create(format.path())?, memory)?,
        };
        format.close(file)?.commit()
    }

    /// Removes what was written, to begin again.
    pub(super) fn reset(&self) {
        *self.lock() = State::default();
    }

    fn write(
        &self,
        format: &F,
        state: &mut State<F>,
        piece: Piece<F::Encoded>,
        memory: &Governor,
    ) -> Result<()> {
        match piece {
            Piece::Group(group, _) => {
                self.end_common(format, state, memory)?;
                self.append(format, state, group, memory)
            }
            Piece::Rows(batches, _) => {
                for arrays in batches {
                    let Common { group, charge } = match &mut state.common {
                        Some(common) => common,
                        none => none.insert(Common::begin(format, memory)?),
                    };
                    format.add(group, &arrays)?;
                    drop(arrays);
                    let fits = charged(format, group, charge)?;
                    if !fits || format.rows(group) >= self.group_rows {
                        self.end_common(format, state, memory)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Ends the group of pieces that have few rows.
    fn end_common(&self, format: &F, state: &mut State<F>, memory: &Governor) -> Result<()> {
        match state.common.take() {
            Some(Common { group, charge: _charge }) => {
                self.append(format, state, format.end(group)?, memory)
            }
            None => Ok(()),
        }
    }

    fn append(
        &self,
        format: &F,
        state: &mut State<F>,
        group: F::Encoded,
        memory: &Governor,
    ) -> Result<()> {
        let file = match &mut state.file {
            Some(file) => file,
            none => none.insert(format.open(Output::create(format.path())?, memory)?),
        };
        let remembered = format.append(file, group)?;
        let charge = match &mut state.charge {
            Some(charge) => charge,
            none => none.insert(memory.reserve(format.name(), 0)?),
        };
        charge.resize_to(remembered)
    }

    fn lock(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<F: GroupFormat> Common<F> {
    /// An empty group, with as much set aside for it as for that of a worker where there is plenty:
    /// of many files that are written at once each has one.
    fn begin(format: &F, memory: &Governor) -> Result<Self> {
        let mut charge = memory.reserve(format.name(), 0)?;
        let minimum = format.minimum_bytes();
        // Without it the group may have to end early, which is no error.
        let _ = memory.free() / FREE_SHARE >= minimum && charge.ensure(minimum);
        Ok(Common { group: format.begin(memory)?, charge })
    }
}
