//! From one range of all runs to arrays.
//!
//! The rows of a range are sorted at once where there is room for them (see `gather`), and merged
//! otherwise. Rows are not copied when they win: their places are remembered, and a group of them
//! is read column by column when it is full, or when a window that some of them are in has to move.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::Check;
use super::cursor::{Cursor, Place, WINDOW_BYTES_MIN, cursor_bytes};
use super::distributed::DistributedRun;
use super::gather::Gathered;
use super::set::RunSet;
use super::tournament::{State, Tournament};
use crate::batch::CHUNK_ROWS;
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::packed::{PackedRow, UNPACK_ROWS_MAX, Unpacker};

/// Bytes of rows after which arrays are given out even if they are few rows, where memory is
/// plenty, and where it is short.
const MERGED_BYTES_MAX: usize = 1 << 20;
const MERGED_BYTES_MIN: usize = 256 << 10;

/// Which part of the budget these rows may take.
const MERGED_SHARE: usize = 64;

fn merged_bytes(limit: usize) -> usize {
    (limit / MERGED_SHARE).clamp(MERGED_BYTES_MIN, MERGED_BYTES_MAX)
}

/// Memory of a merger beside its cursors, in a budget: the arrays being made, and those just given
/// out.
pub fn merger_bytes(limit: usize) -> usize {
    2 * merged_bytes(limit)
}

/// Some rows in order.
#[derive(Debug)]
pub struct Merged {
    /// By column, of physical types.
    pub columns: Vec<ArrayRef>,
    /// Number of rows.
    pub rows: usize,
}

/// Merges one range after another; see the module documentation.
pub struct Merger {
    set: Arc<RunSet>,
    cursors: Vec<Cursor>,
    state: State,
    pending: Pending,
    merged_bytes: usize,
    gathered: Gathered,
    /// Whether the rows of the range are gathered: otherwise they are merged.
    is_gathered: bool,
    charge: Reservation,
}

/// Rows that have won and wait to be read.
struct Pending {
    rows: Vec<(u32, Place)>,
    unpacker: Unpacker,
}

impl Merger {
    /// A merger that is at no range yet. Its cursors, with windows of `window_bytes` where runs
    /// are on tape (of the least size where there is no room for these), and [`merger_bytes`] are
    /// charged to `charge`.
    ///
    /// # Errors
    /// `OutOfMemory` when these cannot be reserved.
    pub fn new(set: Arc<RunSet>, window_bytes: usize, mut charge: Reservation) -> Result<Self> {
        let window_bytes = Merger::reserve(&set, window_bytes, &mut charge)?;
        Merger::reserved(set, window_bytes, charge)
    }

    /// Sees to it that `charge` has what a merger takes; the size of its windows.
    ///
    /// # Errors
    /// `OutOfMemory` when it cannot; `charge` is then as it was.
    pub(super) fn reserve(
        set: &RunSet,
        window_bytes: usize,
        charge: &mut Reservation,
    ) -> Result<usize> {
        let limit = charge.governor().limit();
        let entries = set.runs.iter().filter_map(|run| run.distributed());
        let entries: usize = entries.map(DistributedRun::entries_bytes).sum();
        let fixed = merger_bytes(limit) + set.runs.len() * cursor_bytes(0) + entries;
        let spilled = || set.runs.iter().filter(|run| run.is_spilled());
        let windows = |least: usize| spilled().map(move |run| run.window_bytes().max(least));
        let all = |window: usize| windows(window).fold(fixed, usize::saturating_add);
        if charge.try_grow(all(window_bytes)) {
            return Ok(window_bytes);
        }
        charge.grow(all(WINDOW_BYTES_MIN)).map(|()| WINDOW_BYTES_MIN)
    }

    /// A merger for which `charge` has what [`Merger::reserve`] took.
    ///
    /// # Errors
    /// None that are known of.
    pub(super) fn reserved(
        set: Arc<RunSet>,
        window_bytes: usize,
        mut charge: Reservation,
    ) -> Result<Self> {
        let limit = charge.governor().limit();
        let mut cursors = Vec::with_capacity(set.runs.len());
        for run in &set.runs {
            let window = match (run.is_spilled(), run.distributed()) {
                // Enough for its longest row.
                (true, _) => charge.cede(window_bytes.max(run.window_bytes())),
                (false, Some(run)) => charge.split(run.entries_bytes()),
                (false, None) => charge.split(0),
            };
            cursors.push(Cursor::new(run.clone(), window_bytes, window)?);
        }
        let unpacker = Unpacker::new(set.shape().layout().clone(), CHUNK_ROWS);
        let pending = Pending { rows: Vec::with_capacity(UNPACK_ROWS_MAX), unpacker };
        let (state, merged_bytes) = (State::default(), merged_bytes(limit));
        let (gathered, is_gathered) = (Gathered::default(), false);
        let mut merger =
            Merger { set, cursors, state, pending, merged_bytes, gathered, is_gathered, charge };
        merger.state.restart(merger.set.shape(), &mut merger.cursors[..0], &[], None);
        Ok(merger)
    }

    /// Goes to the begin of a range.
    ///
    /// # Errors
    /// `Io` when a tape cannot be read, and what `check` reports.
    pub fn start(&mut self, range: usize, check: Check<'_>) -> Result<()> {
        let Merger { set, cursors, gathered, charge, .. } = self;
        self.is_gathered = gathered.fill(set, cursors, range, charge, check)?;
        if self.is_gathered {
            return Ok(());
        }
        let (from, to) = self.set.bounds(range);
        let mut heads = Vec::with_capacity(self.cursors.len());
        for (run, cursor) in self.cursors.iter_mut().enumerate() {
            if run % 64 == 0 {
                check()?;
            }
            heads.push(cursor.seek(from, to, self.set.cuts(run, range))?);
        }
        self.state.restart(self.set.shape(), &mut self.cursors, &heads, to);
        Ok(())
    }

    /// The next rows of the range; `None` at its end.
    ///
    /// # Errors
    /// `Io` when a tape cannot be read.
    pub fn next_rows(&mut self) -> Result<Option<Merged>> {
        if self.is_gathered {
            return self.next_gathered();
        }
        let Merger { set, cursors, state, pending, merged_bytes, .. } = self;
        let mut tournament = Tournament::new(set.shape(), cursors, state);
        let (mut rows, mut bytes) = (0, 0);
        while rows < CHUNK_ROWS && bytes < *merged_bytes {
            let Some(winner) = tournament.winner() else { break };
            let cursor = &tournament.cursors()[winner];
            let place = cursor.place();
            bytes += cursor.row_at(place).bytes().len();
            rows += 1;
            pending.rows.push((winner as u32, place));
            if pending.rows.len() == UNPACK_ROWS_MAX {
                pending.read(tournament.cursors(), set);
            }
            tournament.advance(winner, |cursors| {
                pending.read(cursors, set);
                Ok(())
            })?;
        }
        pending.read(tournament.cursors(), set);
        if rows == 0 {
            return Ok(None);
        }
        Ok(Some(Merged { columns: pending.unpacker.finish()?, rows }))
    }

    fn next_gathered(&mut self) -> Result<Option<Merged>> {
        let Merger { set, pending, merged_bytes, gathered, .. } = self;
        let (mut rows, mut bytes) = (0, 0);
        while rows < CHUNK_ROWS && bytes < *merged_bytes {
            let most = UNPACK_ROWS_MAX.min(CHUNK_ROWS - rows);
            let mut left = gathered.left(set).take(most);
            let Some(first) = left.next() else { break };
            let (mut group, mut count) = ([first; UNPACK_ROWS_MAX], 1);
            bytes += first.bytes().len();
            for row in left {
                if bytes >= *merged_bytes {
                    break;
                }
                bytes += row.bytes().len();
                group[count] = row;
                count += 1;
            }
            pending.unpacker.push(&group[..count], |column| set.may_have_nulls(column));
            gathered.take(count);
            rows += count;
        }
        if rows == 0 {
            return Ok(None);
        }
        Ok(Some(Merged { columns: pending.unpacker.finish()?, rows }))
    }
}

impl Pending {
    fn read(&mut self, cursors: &[Cursor], set: &RunSet) {
        let row_at = |&(cursor, place): &(u32, Place)| cursors[cursor as usize].row_at(place);
        let Some(first) = self.rows.first() else { return };
        let mut rows: [PackedRow<'_>; UNPACK_ROWS_MAX] = [row_at(first); UNPACK_ROWS_MAX];
        rows.iter_mut().zip(&self.rows).for_each(|(row, place)| *row = row_at(place));
        self.unpacker.push(&rows[..self.rows.len()], |column| set.may_have_nulls(column));
        self.rows.clear();
    }
}
