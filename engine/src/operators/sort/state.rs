//! What sink and source of one sort share: the runs, and how they are to be merged.
//!
//! ```text
//! collecting ─ prepare ─► (pooled ─ last finish task ─►) idle ─ first worker of the source ─► set
//! ```
//!
//! Invariant 1: runs are revocable while collecting (those that workers have handed over) and
//! while idle; a pool works on its own, and a set that is being read stays as it is.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::{DataType, SchemaRef};

use crate::batch::MORSEL_ROWS;
use crate::error::{Error, Result};
use crate::expr::SortKey;
use crate::memory::rows::RowOrder;
use crate::memory::runs::{
    Bound, Check, MERGER_BYTES, Run, RunPool, RunSet, RunShape, SPILL_BYTES, WINDOW_BYTES_MAX,
    WINDOW_BYTES_MIN, cursor_bytes,
};
use crate::memory::{Governor, Reservation, Revocable};

/// The part of the budget that the windows of all mergers may take.
const WINDOWS_SHARE: usize = 4;

/// The part of the budget that runs in memory may take while they are read.
const IN_MEMORY_SHARE: usize = 2;

/// The fewest runs that are worth merging into fewer.
const FAN_IN_MIN: usize = 8;

/// What one merger of [`FAN_IN_MIN`] runs needs; set aside while rows come, so that a sort that has
/// begun can end.
const MERGER_MINIMUM: usize = MERGER_BYTES + FAN_IN_MIN * cursor_bytes(WINDOW_BYTES_MIN);

/// The state of one sort; see the module documentation.
pub(super) struct SortState {
    pub(super) name: &'static str,
    pub(super) shape: Arc<RunShape>,
    /// The logical types of the columns.
    pub(super) types: Vec<DataType>,
    /// How many rows are wanted.
    pub(super) limit: Option<u64>,
    /// How far the wanted rows reach.
    pub(super) bound: Bound,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Builders made so far; the number of the next.
    builders: u32,
    runs: Vec<Run>,
    /// What the reservations of builders and mergers are children of, with [`SPILL_BYTES`] for
    /// whoever revokes, and [`MERGER_MINIMUM`] until the first merger.
    root: Option<Reservation>,
    pool: Option<Arc<RunPool>>,
    /// Finish tasks that have not returned.
    tasks_left: usize,
    mergers: usize,
    set: Option<Arc<RunSet>>,
}

impl SortState {
    /// Rows that are equal on the first `together` keys come out in one range.
    pub(super) fn new(
        name: &'static str,
        schema: &SchemaRef,
        keys: &[SortKey],
        together: Option<usize>,
        limit: Option<u64>,
    ) -> Result<Self> {
        let types: Vec<DataType> =
            schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let order = keys.iter().map(|key| RowOrder {
            column: key.column,
            descending: key.descending,
            nulls_first: key.nulls_first,
            nullable: schema.fields().get(key.column).is_none_or(|field| field.is_nullable()),
        });
        let together = together.unwrap_or(usize::MAX);
        let shape = RunShape::with_together(&types, &order.collect::<Vec<_>>(), together)?;
        let (bound, inner) = (Bound::new(), Mutex::default());
        Ok(SortState { name, shape, types, limit, bound, inner })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The number of a new builder, and a reservation with this minimum for it.
    ///
    /// # Errors
    /// `OutOfMemory` when the minimum cannot be had.
    pub(super) fn next_builder(
        self: &Arc<Self>,
        memory: &Governor,
        minimum: usize,
    ) -> Result<(u32, Reservation)> {
        let mut inner = self.lock();
        let root = match inner.root.take() {
            Some(root) => root,
            None => {
                let minimum = SPILL_BYTES + MERGER_MINIMUM;
                let mut root = memory.reserve(self.name, minimum)?;
                root.grow(minimum)?;
                let state: Arc<dyn Revocable> = self.clone();
                root.offer(Arc::downgrade(&state));
                root
            }
        };
        let child = root.child(minimum);
        inner.root = Some(root);
        inner.builders += 1;
        Ok((inner.builders - 1, child?))
    }

    /// Takes the runs of a builder.
    pub(super) fn add(&self, runs: Vec<Run>) {
        self.lock().runs.extend(runs);
    }

    /// Decides what becomes of the runs; the number of finish tasks.
    pub(super) fn prepare(&self, memory: &Governor, threads: usize) -> usize {
        let mut inner = self.lock();
        let limit = memory.limit();
        let runs = std::mem::take(&mut inner.runs);
        let in_memory: usize = runs.iter().map(Run::memory_bytes).sum();
        let spill = runs.iter().any(Run::is_spilled) || in_memory > limit / IN_MEMORY_SHARE;
        let threads = if self.limit.is_some() { 1 } else { threads.max(1) };
        let at_once = (limit / WINDOWS_SHARE) / cursor_bytes(WINDOW_BYTES_MIN);
        let target = (at_once / threads).max(FAN_IN_MIN);
        // Where the budget is tiny, fewer workers with more runs each do better than many passes.
        inner.mergers = (at_once / runs.len().clamp(1, target)).clamp(1, threads);
        if !spill || (runs.len() <= target && runs.iter().all(Run::is_spilled)) {
            inner.runs = runs;
            return 0;
        }
        let space = memory.spill().clone();
        inner.pool = Some(Arc::new(RunPool::new(self.shape.clone(), space, runs, target, true)));
        inner.tasks_left = threads;
        threads
    }

    /// One finish task.
    pub(super) fn finish(&self, task: usize, memory: &Governor, check: Check<'_>) -> Result<()> {
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
        }
        Ok(())
    }

    /// Workers that can merge side by side.
    pub(super) fn parallelism(&self) -> usize {
        let inner = self.lock();
        let ranges = match &inner.set {
            Some(set) => set.ranges() as u64,
            None => inner.runs.iter().map(Run::rows).sum::<u64>() / MORSEL_ROWS as u64,
        };
        usize::try_from(ranges).unwrap_or(usize::MAX).clamp(1, inner.mergers.max(1))
    }

    /// The runs, cut into ranges, and the size of a merger's windows. From now on the runs cannot
    /// be revoked.
    pub(super) fn open(&self, memory: &Governor, check: Check<'_>) -> Result<Opened> {
        let mut inner = self.lock();
        let mut charge = None;
        let set = match &inner.set {
            Some(set) => set.clone(),
            None => {
                charge = inner.root.as_mut().map(|root| root.cede(MERGER_MINIMUM));
                let tables = inner.child(self.name, 0, memory)?;
                let runs = std::mem::take(&mut inner.runs);
                let set = Arc::new(RunSet::new(self.shape.clone(), runs, tables, check)?);
                inner.set.insert(set).clone()
            }
        };
        let cursors = set.spilled_runs().max(1) * inner.mergers.max(1);
        let share = (memory.limit() / WINDOWS_SHARE).min(memory.free());
        let window = (share / cursors).saturating_sub(cursor_bytes(0));
        let window_bytes = window.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        let charge = match charge {
            Some(charge) => charge,
            None => inner.child(self.name, 0, memory)?,
        };
        Ok(Opened { set, window_bytes, charge })
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        *self.lock() = Inner::default();
        self.bound.clear();
    }
}

/// What a worker of the source gets.
pub(super) struct Opened {
    pub(super) set: Arc<RunSet>,
    pub(super) window_bytes: usize,
    pub(super) charge: Reservation,
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

impl Revocable for SortState {
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
