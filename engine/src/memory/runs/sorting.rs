//! One sort from its first row to its last: what those who form its runs and those who merge them
//! share, and how much memory each may take.
//!
//! ```text
//! collecting ─ prepare ─► (pooled ─ last finish task ─►) idle ─ first merger ─► set
//! ```
//!
//! While rows come, builders take what they get and spill when they are refused. When all have
//! come, runs stay in memory if they take at most half of the budget (less if they have lists) and
//! none had to be spilled, because whoever reads them needs memory too; otherwise they are all
//! written. Merging takes at most a quarter of the budget for its windows, or a third where rows
//! are so long that one of them fills a window: such runs are merged until few are left. Beside
//! them each merger takes up to an eighth for the rows of a range, if it gets it.
//!
//! Memory: the least it works with, declared when the first rows come, is a builder for each
//! worker ([`BUILDER_MINIMUM`], about 0.4 MB), what one merger of eight runs needs (0.7 to 2.2 MB),
//! and what its owner wants for the first reader.
//!
//! Concurrency: builders and mergers belong to workers; what they share is behind one lock that is
//! held while runs change hands, and while a revocation writes some of them: those who wait for
//! that are workers of this sort, who could not do their next step (a builder's reservation, the
//! runs of another worker, what to do with all of them) before it is known what is in memory.
//!
//! Invariant 1: runs are revocable while collecting (with their builder or, once handed over, here,
//! without a moment in between) and while idle; a pool works on its own, and a set that is being
//! read stays as it is.
//! Invariant 2: what the first merger needs is set aside until there is one.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::DataType;

use super::Check;
use super::bound::Bound;
use super::builder::{BUILDER_MINIMUM, RunBuilder};
use super::collector::Collector;
use super::cursor::{WINDOW_BYTES_MAX, WINDOW_BYTES_MIN, cursor_bytes};
use super::merge::{Merger, merger_bytes};
use super::pool::{RunPool, most_runs, widest};
use super::run::Run;
use super::set::RunSet;
use super::shape::RunShape;
use super::splitters::DistributionPlan;
use super::writer::SPILL_BYTES;
use crate::batch::MORSEL_ROWS;
use crate::error::{Error, Result};
use crate::memory::rows::RowOrder;
use crate::memory::{Governor, Reservation, Revocable};

/// The part of the budget that the windows of all mergers may take.
const WINDOWS_SHARE: usize = 4;

/// The same where a window has to be larger than usual, because rows are.
const WINDOWS_SHARE_OF_LONG_ROWS: usize = 3;

/// The part of the budget that runs in memory may take while they are read.
const IN_MEMORY_SHARE: usize = 2;

/// The same where rows have lists, which may be long: whoever reads them needs room for several.
const IN_MEMORY_SHARE_OF_LISTS: usize = 16;

/// The fewest runs that are worth merging into fewer.
const FAN_IN_MIN: usize = 8;

/// What one merger of [`FAN_IN_MIN`] runs needs; set aside while rows come, so that a sort that has
/// begun can end.
fn merger_minimum(memory: &Governor) -> usize {
    merger_bytes(memory.limit()) + FAN_IN_MIN * cursor_bytes(WINDOW_BYTES_MIN)
}

/// One sort; see the module documentation.
pub struct Sorting {
    name: &'static str,
    shape: Arc<RunShape>,
    /// The logical types of the columns.
    types: Vec<DataType>,
    /// How many rows are wanted.
    limit: Option<u64>,
    /// How far the wanted rows reach.
    bound: Bound,
    /// How builders distribute rows.
    plan: DistributionPlan,
    /// Bytes for a reader, beside what merging takes.
    reader_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Builders made so far; the number of the next.
    builders: u32,
    runs: Vec<Run>,
    /// What the reservations of builders and mergers are children of, with [`SPILL_BYTES`] for
    /// whoever revokes.
    root: Option<Reservation>,
    /// What is set aside for the first reader, until there is one.
    first: Option<ForReader>,
    pool: Option<Arc<RunPool>>,
    /// Finish tasks that have not returned.
    tasks_left: usize,
    mergers: usize,
    set: Option<Arc<RunSet>>,
}

/// Memory of one reader.
struct ForReader {
    merger: Reservation,
    own: Reservation,
}

/// What a worker that reads the sorted rows gets.
pub struct SortReader {
    /// Merges one range of keys after another.
    pub merger: Merger,
    /// Number of ranges.
    pub ranges: usize,
    /// For what the reader itself keeps; its minimum is what the owner of the sort asked for.
    pub memory: Reservation,
}

impl Sorting {
    /// A sort of rows of these logical types, reported as `name`. Rows that are equal in the first
    /// `together` keys are never in two ranges.
    ///
    /// # Errors
    /// `Input` when a type cannot be stored or compared.
    pub fn new(
        name: &'static str,
        types: Vec<DataType>,
        order: &[RowOrder],
        together: usize,
    ) -> Result<Self> {
        let shape = RunShape::grouped(&types, order, together)?;
        let (bound, plan, inner) = (Bound::new(), DistributionPlan::default(), Mutex::default());
        Ok(Sorting { name, shape, types, limit: None, bound, plan, reader_bytes: 0, inner })
    }

    /// The same sort, of which only the first `limit` rows are wanted.
    pub fn with_limit(self, limit: Option<u64>) -> Self {
        Sorting { limit, ..self }
    }

    /// The same sort, with that much memory for each of its readers.
    pub fn with_reader_bytes(self, reader_bytes: usize) -> Self {
        Sorting { reader_bytes, ..self }
    }

    /// The same sort, whose builders distribute rows by this plan.
    pub fn with_plan(self, plan: DistributionPlan) -> Self {
        Sorting { plan, ..self }
    }

    /// The name it was given.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The logical types of the columns.
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// How many rows are wanted.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// One more builder; waits, if need be, for those that are in the middle of a push.
    ///
    /// # Errors
    /// `OutOfMemory` when its minimum cannot be had, and what `check` reports while it waits.
    pub fn builder(self: &Arc<Self>, memory: &Governor, check: Check<'_>) -> Result<Collector> {
        let mut turn = memory.turns().beside(check)?;
        let (number, memory) = loop {
            match self.next_builder(memory) {
                Err(Error::OutOfMemory { .. }) if !turn.is_alone() => turn.be_alone(check)?,
                next => break next?,
            }
        };
        let builder = RunBuilder::new(self.shape.clone(), number, memory)?;
        Ok(Collector::new(match self.limit {
            Some(limit) => builder.with_limit(limit, self.bound.clone()),
            None => builder.with_plan(self.plan.clone()),
        }))
    }

    /// The number of a new builder, and its reservation.
    fn next_builder(self: &Arc<Self>, memory: &Governor) -> Result<(u32, Reservation)> {
        let mut inner = self.lock();
        let root = match inner.root.take() {
            Some(root) => root,
            None => {
                let for_merger = merger_minimum(memory);
                let minimum = SPILL_BYTES + for_merger + self.reader_bytes;
                let mut root = memory.reserve(self.name, minimum)?;
                root.grow(minimum)?;
                let merger = root.cede(for_merger);
                inner.first = Some(ForReader { merger, own: root.cede(self.reader_bytes) });
                let state: Arc<dyn Revocable> = self.clone();
                root.offer(Arc::downgrade(&state));
                root
            }
        };
        let child = root.child(BUILDER_MINIMUM);
        inner.root = Some(root);
        inner.builders += 1;
        Ok((inner.builders - 1, child?))
    }

    /// Takes the runs of a builder.
    pub(super) fn add(&self, runs: Vec<Run>) {
        self.lock().runs.extend(runs);
    }

    /// Decides what becomes of the runs; the number of finish tasks.
    pub fn prepare(&self, memory: &Governor, threads: usize) -> usize {
        let mut inner = self.lock();
        let limit = memory.limit();
        let runs = std::mem::take(&mut inner.runs);
        let in_memory: usize = runs.iter().map(Run::memory_bytes).sum();
        let share = match self.types.iter().any(DataType::is_nested) {
            true => IN_MEMORY_SHARE_OF_LISTS,
            false => IN_MEMORY_SHARE,
        };
        let spill = runs.iter().any(Run::is_spilled) || in_memory > limit / share;
        let threads = if self.limit.is_some() { 1 } else { threads.max(1) };
        let target =
            ((limit / WINDOWS_SHARE) / cursor_bytes(WINDOW_BYTES_MIN) / threads).max(FAN_IN_MIN);
        let for_long = limit / WINDOWS_SHARE_OF_LONG_ROWS;
        let are_few = runs.len() <= target.min(most_runs(for_long, widest(runs.iter())));
        inner.mergers = mergers(limit, &runs, target, threads);
        if !spill || (are_few && runs.iter().all(Run::is_spilled)) {
            inner.runs = runs;
            return 0;
        }
        let space = memory.spill().clone();
        let pool = RunPool::new(self.shape.clone(), space, runs, target, true).within(for_long);
        inner.pool = Some(Arc::new(pool));
        inner.tasks_left = threads;
        threads
    }

    /// One finish task.
    ///
    /// # Errors
    /// `OutOfMemory` and `Io` from spilling, and what `check` reports.
    pub fn finish(&self, task: usize, memory: &Governor, check: Check<'_>) -> Result<()> {
        let Some(pool) = self.lock().pool.clone() else {
            return Err(Error::internal("a sort that needs no finish tasks has one"));
        };
        let minimum = SPILL_BYTES + FAN_IN_MIN * cursor_bytes(WINDOW_BYTES_MIN);
        let mut reservation = self.lock().child(self.name, minimum, memory)?;
        reservation.grow(SPILL_BYTES)?;
        pool.work(task, &mut reservation, check)?;
        drop(reservation);
        let mut inner = self.lock();
        inner.tasks_left = inner.tasks_left.saturating_sub(1);
        if inner.tasks_left == 0 {
            inner.runs = pool.finish();
            inner.pool = None;
            // How long rows are is known now that all are on tape.
            inner.mergers = mergers(memory.limit(), &inner.runs, inner.runs.len(), inner.mergers);
        }
        Ok(())
    }

    /// Workers that can merge side by side.
    pub fn parallelism(&self) -> usize {
        let inner = self.lock();
        let ranges = match &inner.set {
            Some(set) => set.ranges() as u64,
            None => inner.runs.iter().map(Run::rows).sum::<u64>() / MORSEL_ROWS as u64,
        };
        usize::try_from(ranges).unwrap_or(usize::MAX).clamp(1, inner.mergers.max(1))
    }

    /// One more reader. From the first one on the runs cannot be revoked.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no room for another beside those there are, `Io` when an index
    /// cannot be read, and what `check` reports. Nothing is lost: a later reader has all rows.
    pub fn reader(&self, memory: &Governor, check: Check<'_>) -> Result<SortReader> {
        // The lock is held throughout: two that share what is left might both fail.
        let mut inner = self.lock();
        let set = match inner.set.clone() {
            Some(set) => set,
            None => {
                let tables = inner.child(self.name, 0, memory)?;
                let runs = &mut inner.runs;
                let mut set = RunSet::new(self.shape.clone(), runs, tables, check)?;
                let room = set.take_room();
                if let Some(first) = &mut inner.first {
                    room.into_iter().for_each(|room| first.merger.absorb(room));
                }
                inner.set.insert(Arc::new(set)).clone()
            }
        };
        let cursors = set.spilled_runs().max(1) * inner.mergers.max(1);
        let share = (memory.limit() / WINDOWS_SHARE).min(memory.free());
        let window = (share / cursors).saturating_sub(cursor_bytes(0));
        let window_bytes = window.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        let (mut memory, is_first) = match inner.first.take() {
            Some(first) => (first, true),
            None => {
                let own = inner.child(self.name, self.reader_bytes, memory)?;
                (ForReader { merger: inner.child(self.name, 0, memory)?, own }, false)
            }
        };
        let window_bytes = match Merger::reserve(&set, window_bytes, &mut memory.merger) {
            Ok(window_bytes) => window_bytes,
            Err(error) => {
                inner.first = is_first.then_some(memory);
                return Err(error);
            }
        };
        let ranges = set.ranges();
        let merger = Merger::reserved(set, window_bytes, memory.merger)?;
        Ok(SortReader { merger, ranges, memory: memory.own })
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.lock() = Inner::default();
        self.bound.clear();
        self.plan.clear();
    }
}

/// How many workers, `threads` at most, may merge so many runs side by side, `target` at most.
/// Where the budget is tiny, or rows are long, fewer workers with more runs each do better than
/// many passes.
fn mergers(limit: usize, runs: &[Run], target: usize, threads: usize) -> usize {
    let at_once = (limit / WINDOWS_SHARE) / cursor_bytes(widest(runs.iter()));
    (at_once / runs.len().clamp(1, target.max(1))).clamp(1, threads.max(1))
}

impl Inner {
    fn child(&self, name: &str, minimum: usize, memory: &Governor) -> Result<Reservation> {
        match &self.root {
            Some(root) => root.child(minimum),
            // No worker of the sink was ever made.
            None => memory.reserve(name, minimum),
        }
    }
}

impl Revocable for Sorting {
    fn revocable_bytes(&self) -> usize {
        let Ok(inner) = self.inner.try_lock() else { return 0 };
        inner.runs.iter().map(Run::memory_bytes).sum()
    }

    fn revoke(&self, wanted: usize) -> Result<usize> {
        let Ok(mut inner) = self.inner.try_lock() else { return Ok(0) };
        let Some(space) = inner.root.as_ref().map(|r| r.governor().spill().clone()) else {
            return Ok(0);
        };
        let mut freed = 0;
        for run in &mut inner.runs {
            if freed >= wanted {
                break;
            }
            let bytes = run.memory_bytes();
            if bytes > 0 {
                *run = run.spill(&space, &|| Ok(()))?;
                freed += bytes;
            }
        }
        Ok(freed)
    }
}
