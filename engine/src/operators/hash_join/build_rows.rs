//! The rows of the build side by whether they had a match, when the probe side is at its end.
//!
//! A source: the second arm of a right or full join, and the only one of right semi and right anti
//! joins that gives anything. Rows come in the order of the build side's input; a morsel is some
//! consecutive runs of it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::JoinKind;
use super::shape::Shared;
use super::store::{RunWalk, Store};
use super::table::Table;
use crate::batch::{CHUNK_ROWS, Chunk, Column, MORSEL_ROWS, Place};
use crate::error::{Error, Result};
use crate::pipeline::{Context, Pull, Source, SourceWorker};

/// See the module documentation.
pub(super) struct BuildRows {
    shared: Arc<Shared>,
    next: Arc<AtomicUsize>,
}

impl BuildRows {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        BuildRows { shared, next: Arc::default() }
    }

    fn table(&self) -> Result<Arc<Table>> {
        let table = self.shared.state().table.clone();
        table.ok_or_else(|| Error::internal("a join's rows are read before its build side is done"))
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

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        let table = self.table()?;
        let morsels = morsels(&table);
        let (shared, next) = (self.shared.clone(), self.next.clone());
        Ok(Box::new(Worker { shared, table, morsels, next, current: None, numbers: Vec::new() }))
    }

    fn parallelism(&self) -> usize {
        self.table().map_or(1, |table| morsels(&table).len().max(1))
    }

    fn reset(&self) -> Result<()> {
        self.next.store(0, Ordering::Relaxed);
        Ok(())
    }
}

struct Worker {
    shared: Arc<Shared>,
    table: Arc<Table>,
    morsels: Vec<Range<usize>>,
    next: Arc<AtomicUsize>,
    /// The morsel at hand.
    current: Option<(u64, RunWalk)>,
    numbers: Vec<u32>,
}

impl SourceWorker for Worker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        let Some(store) = self.table.marked_store() else { return Ok(Pull::Finished) };
        let Some((morsel, mut walk)) = self.current.take() else {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(runs) = self.morsels.get(number) else { return Ok(Pull::Finished) };
            self.current = Some((number as u64, RunWalk::new(runs.clone())));
            return Ok(Pull::Morsel(number as u64));
        };
        let wanted = self.shared.shape.kind == JoinKind::RightSemi;
        let is_wanted = |number| self.table.is_marked(number) == wanted;
        self.numbers.clear();
        let more = store.next_rows(&mut walk, CHUNK_ROWS, is_wanted, &mut self.numbers);
        self.current = more.then_some((morsel, walk));
        if self.numbers.is_empty() {
            return Ok(Pull::Morsel(morsel));
        }
        Ok(Pull::Chunk(self.chunk(Place { morsel, sequence: 0 })?))
    }
}

impl Worker {
    fn chunk(&self, place: Place) -> Result<Chunk> {
        let shape = &self.shared.shape;
        let nulls = shape.probe_output_types.iter().map(|t| Column::null(t.clone()));
        let built = self.table.columns(&shape.build_output, &self.numbers, None)?;
        Ok(Chunk::new(nulls.chain(built).collect(), self.numbers.len(), place))
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
