//! The rows of the build side by whether they had a match, when the probe side is at its end.
//!
//! A source: the second arm of a right or full join, and the only one of right semi and right anti
//! joins that gives anything. Rows come in the order of the build side's input; a morsel is some
//! consecutive runs of it. When the build side is out of memory it gives all that comes of its rows
//! and of those of the probe side (`lane_rows`).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::JoinKind;
use super::lane_join::Next;
use super::lane_rows::LaneRows;
use super::lane_table::READING_BYTES;
use super::lanes::LANES;
use super::null_aware::{Members, is_spilled};
use super::shape::Shared;
use super::store::{RunWalk, Store};
use super::table::Table;
use crate::batch::{CHUNK_ROWS, Chunk, Column, MORSEL_ROWS, Place};
use crate::error::Result;
use crate::memory::Governor;
use crate::pipeline::{Context, Pull, Source, SourceWorker};

/// See the module documentation.
pub(super) struct BuildRows {
    shared: Arc<Shared>,
    members: Option<Members>,
    memory: Governor,
    next: Arc<AtomicUsize>,
}

impl BuildRows {
    pub(super) fn new(shared: Arc<Shared>, members: Option<Members>, memory: &Governor) -> Self {
        BuildRows { shared, members, memory: memory.clone(), next: Arc::default() }
    }

    /// Workers that have room for the largest rows, each with as large a page of each side, both
    /// as it comes from tape and as columns.
    fn lane_workers(&self) -> usize {
        let lanes = self.shared.lanes();
        let build = lanes.map_or(0, |lanes| lanes.largest_bytes());
        let probe = self.shared.probe_lanes().largest_bytes();
        let needed = READING_BYTES + 2 * build + 2 * probe + build.max(probe);
        let room = self.memory.free().max(self.memory.limit() / 2);
        (room / needed).clamp(1, LANES)
    }

    fn is_spilled(&self) -> bool {
        is_spilled(&self.shared, self.members.as_ref())
    }
}

/// Runs that one worker reads at a time.
fn morsels(table: &Table) -> Vec<Range<usize>> {
    table.marked_store().map(|store| store.run_ranges(MORSEL_ROWS)).unwrap_or_default()
}

impl Source for BuildRows {
    fn name(&self) -> &str {
        "hash join build rows"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        let (shared, members, next) = (&self.shared, self.members.as_ref(), &self.next);
        if self.is_spilled() {
            return Ok(Box::new(LaneRows::new(shared, members, next, cx)?));
        }
        let table = shared.table()?;
        let morsels = morsels(&table);
        let (shared, next) = (shared.clone(), next.clone());
        Ok(Box::new(Worker { shared, table, morsels, next, current: None }))
    }

    fn parallelism(&self) -> usize {
        match self.is_spilled() {
            true => self.lane_workers(),
            false => self.shared.table().map_or(1, |table| morsels(&table).len().max(1)),
        }
    }

    fn reset(&self) -> Result<()> {
        self.next.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// The rows of one table in memory.
struct Worker {
    shared: Arc<Shared>,
    table: Arc<Table>,
    morsels: Vec<Range<usize>>,
    next: Arc<AtomicUsize>,
    /// The morsel at hand.
    current: Option<(u64, Unmatched)>,
}

impl SourceWorker for Worker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        let Some((morsel, rows)) = &mut self.current else {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(runs) = self.morsels.get(number) else { return Ok(Pull::Finished) };
            let morsel = number as u64;
            self.current = Some((morsel, Unmatched::new(&self.shared, &self.table, runs.clone())));
            return Ok(Pull::Morsel(morsel));
        };
        let place = Place { morsel: *morsel, sequence: 0 };
        match rows.next()? {
            Next::Chunk(chunk) => return Ok(Pull::Chunk(chunk.with_place(place))),
            Next::Again => (),
            Next::Done => self.current = None,
        }
        Ok(Pull::Morsel(place.morsel))
    }
}

/// The rows of some runs that come out by whether they had a match.
pub(super) struct Unmatched {
    shared: Arc<Shared>,
    table: Arc<Table>,
    walk: Option<RunWalk>,
    numbers: Vec<u32>,
}

impl Unmatched {
    fn new(shared: &Arc<Shared>, table: &Arc<Table>, runs: Range<usize>) -> Self {
        let walk = Some(RunWalk::new(runs));
        Unmatched { shared: shared.clone(), table: table.clone(), walk, numbers: Vec::new() }
    }

    /// Of all runs.
    pub(super) fn all(shared: &Arc<Shared>, table: &Arc<Table>) -> Self {
        let runs = table.marked_store().map_or(0, |store| store.runs().len());
        Unmatched::new(shared, table, 0..runs)
    }

    /// The next rows.
    ///
    /// # Errors
    /// `Internal` when the columns are not stored.
    pub(super) fn next(&mut self) -> Result<Next> {
        let (Some(mut walk), Some(store)) = (self.walk.take(), self.table.marked_store()) else {
            return Ok(Next::Done);
        };
        let wanted = self.shared.shape.kind == JoinKind::RightSemi;
        let is_wanted = |number| self.table.is_marked(number) == wanted;
        self.numbers.clear();
        let more = store.next_rows(&mut walk, CHUNK_ROWS, is_wanted, &mut self.numbers);
        self.walk = more.then_some(walk);
        if self.numbers.is_empty() {
            return Ok(Next::Again);
        }
        let shape = &self.shared.shape;
        let nulls = shape.probe_output_types.iter().map(|t| Column::null(t.clone()));
        let built = self.table.columns(&shape.build_output, &self.numbers, None)?;
        let all = nulls.chain(built).collect();
        Ok(Next::Chunk(Chunk::new(all, self.numbers.len(), Place::default())))
    }
}

impl Store {
    /// Consecutive runs of about so many rows together.
    fn run_ranges(&self, rows: usize) -> Vec<Range<usize>> {
        let (mut ranges, mut start, mut held) = (Vec::new(), 0, 0);
        for (number, run) in self.runs().iter().enumerate() {
            held += run.rows();
            if held >= rows {
                ranges.push(start..number + 1);
                (start, held) = (number + 1, 0);
            }
        }
        if held > 0 {
            ranges.push(start..self.runs().len());
        }
        ranges
    }
}
