//! Runs that are spilled and merged until they are few enough to be merged at once.
//!
//! Several workers take work from one pool: a run in memory that is to be spilled, or a group of
//! runs to be merged into one. Groups are neighbours in the order of their numbers, or rows of
//! one morsel in the runs between them would lose their place; of all neighbours those with the
//! fewest bytes. Runs of long rows, whose windows are large, are merged by one worker alone.
//!
//! Invariant 1: the slots are in the order of run numbers, and what is being worked on keeps its
//! slot.

use std::sync::{Arc, Mutex};

use super::Check;
use super::cursor::{Cursor, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN, cursor_bytes};
use super::run::Run;
use super::shape::RunShape;
use super::tape_form::TapeForm;
use super::tournament::{State, Tournament};
use super::writer::{RunWriter, SPILL_BYTES};
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::packed::ColumnFacts;
use crate::memory::spill::SpillSpace;

/// Rows merged between two questions whether to go on.
const CHECK_ROWS: usize = 8192;

/// Runs that are worth merging into one, at least.
const FEWEST: usize = 8;

/// Runs and what is to become of them.
pub struct RunPool {
    shape: Arc<RunShape>,
    space: SpillSpace,
    /// Runs that may be left where their rows are not long.
    target: usize,
    /// Bytes that the windows over all that are left may take.
    windows_bytes: usize,
    spill: bool,
    slots: Mutex<Vec<Slot>>,
}

#[expect(clippy::large_enum_variant, reason = "slots are few, and runs move in and out of them")]
enum Slot {
    Run(Run),
    /// Being worked on; the ticket says by whom.
    Busy(usize),
}

#[expect(clippy::large_enum_variant, reason = "one at a time is moved")]
enum Work {
    Spill(Run),
    Merge(Vec<Run>),
}

impl RunPool {
    /// A pool that is to bring `runs` down to `target` (at least 2), and all of them to tapes if
    /// `spill`.
    pub fn new(
        shape: Arc<RunShape>,
        space: SpillSpace,
        mut runs: Vec<Run>,
        target: usize,
        spill: bool,
    ) -> Self {
        runs.sort_by_key(|run| run.number);
        let slots = Mutex::new(runs.into_iter().map(Slot::Run).collect());
        let (target, windows_bytes) = (target.max(2), usize::MAX);
        RunPool { shape, space, target, windows_bytes, spill, slots }
    }

    /// The same pool, where rows are so long that windows over `target` runs would take more than
    /// so many bytes: it leaves fewer.
    pub fn within(self, windows_bytes: usize) -> Self {
        RunPool { windows_bytes, ..self }
    }

    /// Does what is to be done, beside other workers; returns when nothing is left for this one.
    /// `ticket` is different for each worker. Merging uses what `memory` gives beside
    /// [`SPILL_BYTES`], which it must have in use for this worker.
    ///
    /// # Errors
    /// `OutOfMemory` and `Io` from spilling, and what `check` reports. Runs being worked on are
    /// lost.
    pub fn work(&self, ticket: usize, memory: &mut Reservation, check: Check<'_>) -> Result<()> {
        loop {
            let Some(work) = self.take(ticket, memory) else { return Ok(()) };
            let run = match work {
                Work::Spill(run) => run.spill(&self.space, check)?,
                Work::Merge(runs) => self.merge(runs, memory, check)?,
            };
            self.slots(|slots| {
                let mine = |slot: &&mut Slot| matches!(slot, Slot::Busy(t) if *t == ticket);
                if let Some(slot) = slots.iter_mut().find(mine) {
                    *slot = Slot::Run(run);
                }
            });
        }
    }

    /// The runs, when all workers have returned.
    pub fn finish(&self) -> Vec<Run> {
        let slots = self.slots(std::mem::take);
        let run = |slot| match slot {
            Slot::Run(run) => Some(run),
            Slot::Busy(_) => None,
        };
        slots.into_iter().filter_map(run).collect()
    }

    fn take(&self, ticket: usize, memory: &Reservation) -> Option<Work> {
        self.slots(|slots| {
            // What is merged is in order.
            let to_tape = |run: &Run| !run.is_spilled() && (self.spill || !run.is_in_order());
            let is_due = |slot: &Slot| matches!(slot, Slot::Run(run) if to_tape(run));
            if let Some(at) = slots.iter().position(is_due) {
                return match std::mem::replace(&mut slots[at], Slot::Busy(ticket)) {
                    Slot::Run(run) => Some(Work::Spill(run)),
                    Slot::Busy(_) => None,
                };
            }
            let runs = slots.iter().filter_map(|slot| match slot {
                Slot::Run(run) => Some(run),
                Slot::Busy(_) => None,
            });
            let window = widest(runs);
            let is_long = window > WINDOW_BYTES_MIN;
            if is_long && slots.iter().any(|slot| matches!(slot, Slot::Busy(_))) {
                // One worker with more runs at once does better than several with many passes, and
                // goes on until all is done.
                return None;
            }
            let target = self.target.min(most_runs(self.windows_bytes, window));
            let free = if is_long { memory.governor().free() / 2 } else { 0 };
            let fan_in = most_runs(free.max(free_for_windows(memory)), window);
            let surplus = slots.len().checked_sub(target).filter(|&surplus| surplus > 0)?;
            let bytes = |slot: &Slot| match slot {
                Slot::Run(run) => Some(run.bytes),
                Slot::Busy(_) => None,
            };
            let bytes: Vec<_> = slots.iter().map(bytes).collect();
            let (from, count) = smallest_group(&bytes, (surplus + 1).min(fan_in))?;
            let group = slots.splice(from..from + count, [Slot::Busy(ticket)]);
            let runs = group.filter_map(|slot| match slot {
                Slot::Run(run) => Some(run),
                Slot::Busy(_) => None,
            });
            Some(Work::Merge(runs.collect()))
        })
    }

    /// Merges runs into one on tape.
    fn merge(&self, runs: Vec<Run>, memory: &mut Reservation, check: Check<'_>) -> Result<Run> {
        let window = (free_for_windows(memory) / runs.len().max(1))
            .saturating_sub(cursor_bytes(0))
            .clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        let who = memory.who().clone();
        merge(&self.shape, &self.space, who, runs, window, &mut || memory.child(0), check)
    }

    fn slots<R>(&self, f: impl FnOnce(&mut Vec<Slot>) -> R) -> R {
        f(&mut self.slots.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

/// Merges runs into one on tape, through windows of these bytes that are charged to what `charge`
/// gives. The caller has reserved [`SPILL_BYTES`].
fn merge(
    shape: &RunShape,
    space: &SpillSpace,
    who: Arc<str>,
    runs: Vec<Run>,
    window: usize,
    charge: &mut dyn FnMut() -> Result<Reservation>,
    check: Check<'_>,
) -> Result<Run> {
    let base = runs.iter().map(|run| run.base).min().unwrap_or(0);
    let number = runs.first().map_or(0, |run| run.number);
    let layout = shape.layout();
    let facts = facts_of(layout.columns(), runs.iter());
    let form = TapeForm::of_runs(layout, &facts, &runs);
    let mut cursors = Vec::with_capacity(runs.len());
    let mut heads = Vec::with_capacity(runs.len());
    for run in runs {
        let mut cursor = Cursor::new(Arc::new(run), window, charge()?)?;
        heads.push(cursor.seek(None, None, (0, None))?);
        cursors.push(cursor);
    }
    let mut state = State::default();
    state.restart(shape, &mut cursors, &heads, None);
    let mut tournament = Tournament::new(shape, &mut cursors, &mut state);
    let mut writer = RunWriter::new(number, space, who, layout.clone(), form);
    let mut rows = 0usize;
    while let Some(winner) = tournament.winner() {
        if rows.is_multiple_of(CHECK_ROWS) {
            check()?;
        }
        rows += 1;
        let cursor = &tournament.cursors()[winner];
        let (row, moved) = (cursor.row(), cursor.run().base - base);
        writer.push(tournament.words(winner), &row, row.mark() + moved)?;
        tournament.advance(winner, |_| Ok(()))?;
    }
    writer.finish(base, facts)
}

/// Merges neighbours among runs on tape into one, those with the fewest bytes, at most `fan_in` of
/// them and as many as there is memory for; of few, or of runs of long rows, none. Runs are in the
/// order of their numbers. `memory` has [`SPILL_BYTES`] in use.
///
/// # Errors
/// `Io` and `OutOfMemory` when the disk does not suffice, and what `check` reports. Runs that were
/// being merged are lost.
pub(super) fn merge_smallest(
    shape: &RunShape,
    space: &SpillSpace,
    runs: &mut Vec<Run>,
    mut fan_in: usize,
    memory: &Reservation,
    check: Check<'_>,
) -> Result<()> {
    if widest(runs.iter()) > WINDOW_BYTES_MIN || !runs.iter().all(Run::is_spilled) {
        return Ok(());
    }
    let mut windows = memory.child(0)?;
    while !windows.try_grow(fan_in * cursor_bytes(WINDOW_BYTES_MIN)) {
        fan_in /= 2;
        if fan_in < FEWEST {
            return Ok(());
        }
    }
    let bytes: Vec<_> = runs.iter().map(|run| Some(run.bytes)).collect();
    let Some((from, count)) = smallest_group(&bytes, fan_in) else { return Ok(()) };
    let group: Vec<Run> = runs.drain(from..from + count).collect();
    let who = memory.who().clone();
    // They are there: a window that is ceded cannot be refused.
    let mut window = || Ok(windows.cede(WINDOW_BYTES_MIN));
    let merged = merge(shape, space, who, group, WINDOW_BYTES_MIN, &mut window, check)?;
    runs.insert(from, merged);
    Ok(())
}

/// By column, what is known of its values in all the runs.
pub(super) fn facts_of<'a>(
    columns: usize,
    runs: impl Iterator<Item = &'a Run>,
) -> Vec<ColumnFacts> {
    let mut facts = vec![ColumnFacts::none(); columns];
    for run in runs {
        facts.iter_mut().zip(&run.facts).for_each(|(all, own)| all.include(own));
    }
    facts
}

/// Memory that one worker's windows may take: of what is free a part, for others merge as well.
fn free_for_windows(memory: &Reservation) -> usize {
    memory.minimum().saturating_sub(SPILL_BYTES).max(memory.governor().free() / 4)
}

/// How many runs windows of these bytes together can be over; two can always be merged.
pub(super) fn most_runs(windows_bytes: usize, window: usize) -> usize {
    (windows_bytes / cursor_bytes(window)).max(2)
}

/// The largest window that one of these runs needs.
pub(super) fn widest<'a>(runs: impl Iterator<Item = &'a Run>) -> usize {
    runs.map(Run::window_bytes).max().unwrap_or(WINDOW_BYTES_MIN)
}

/// Where the neighbours with the fewest bytes begin, and how many they are: `wanted`, or as many
/// as are free side by side. Those that are not free have no bytes.
fn smallest_group(runs: &[Option<u64>], wanted: usize) -> Option<(usize, usize)> {
    let mut count = wanted.min(runs.len());
    while count >= 2 {
        let groups = runs
            .windows(count)
            .enumerate()
            .filter_map(|(from, group)| Some((group.iter().copied().sum::<Option<u64>>()?, from)));
        if let Some((_, from)) = groups.min() {
            return Some((from, count));
        }
        count -= 1;
    }
    None
}
