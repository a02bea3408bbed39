//! Takes the rows of the build side into row pages.
//!
//! Rows that can never match (a NULL among the keys) are not stored, unless they come out as rows
//! without match. When existence is all that matters, neither are rows with the keys of the row
//! before, which is what clustered inputs have most of.
//!
//! The build side of a null-aware join fills several tables, each as if it were alone.

use std::sync::Arc;

use super::finish::Building;
use super::shape::{Shape, Shared};
use super::store::{Part, Run};
use super::table::Table;
use crate::batch::{Chunk, Column, KeyHasher, Ordinals, pick, with_float_keys};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{DEFAULT_PAGE_BYTES, RowPages, RowRef};
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::scheduler::Token;

/// What the holder of a join's memory is called.
const HOLDER: &str = "hash join build";

/// Bytes of the first page of each worker, which is granted from the start.
const MINIMUM_BYTES: usize = 64 << 10;

/// The end of the build side's pipelines.
pub(super) struct BuildSink {
    tables: Vec<Arc<Shared>>,
}

impl BuildSink {
    pub(super) fn new(tables: Vec<Arc<Shared>>) -> Self {
        BuildSink { tables }
    }
}

/// A worker's part of every table.
struct BuildWorkers(Vec<BuildWorker>);

struct BuildWorker {
    shared: Arc<Shared>,
    memory: Option<Reservation>,
    pages: RowPages,
    runs: Vec<Run>,
    /// Buffers for one chunk.
    ordinals: Vec<Ordinals>,
    hasher: KeyHasher,
    hashes: Vec<u64>,
    refs: Vec<RowRef>,
    beyond_ordinals: bool,
}

impl Sink for BuildSink {
    fn name(&self) -> &str {
        HOLDER
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let workers = self.tables.iter().map(|shared| BuildWorker::new(shared, cx));
        Ok(Box::new(BuildWorkers(workers.collect::<Result<_>>()?)))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        self.tables.iter().map(|shared| prepare(shared, cx)).sum()
    }

    fn finish(&self, task: usize, cx: &Context) -> Result<()> {
        let mut task = task;
        for shared in &self.tables {
            let tasks = shared.state().tasks;
            if task < tasks {
                return finish(shared, task, cx);
            }
            task -= tasks;
        }
        Err(Error::internal("a join's directory has fewer pieces"))
    }

    fn reset(&self) -> Result<()> {
        self.tables.iter().for_each(|shared| shared.reset());
        Ok(())
    }
}

/// Decides how a table's directory is made; the number of tasks.
fn prepare(shared: &Shared, cx: &Context) -> Result<usize> {
    let mut state = shared.state();
    let memory = match state.memory.take() {
        Some(memory) => memory,
        None => cx.memory().reserve(HOLDER, MINIMUM_BYTES)?,
    };
    let parts = std::mem::take(&mut state.parts);
    let ordinals = shared.shape.ordinals && !state.beyond_ordinals;
    let building = Building::new(shared, memory, parts, ordinals, cx.query.threads)?;
    state.tasks = building.tasks();
    if state.tasks == 0 {
        let table = building.into_empty_table(shared);
        state.table = Some(Arc::new(table));
    } else {
        state.building = Some(Arc::new(building));
    }
    Ok(state.tasks)
}

/// Makes one piece of a table's directory.
fn finish(shared: &Shared, task: usize, cx: &Context) -> Result<()> {
    let building = shared.state().building.clone();
    let Some(building) = building else {
        return Err(Error::internal("a join's directory is made before it is prepared"));
    };
    if let Some(table) = building.run(task, shared, cx)? {
        let mut state = shared.state();
        state.table = Some(Arc::new(table));
        state.building = None;
    }
    Ok(())
}

impl SinkWorker for BuildWorkers {
    fn consume(&mut self, input: Chunk, _: &Context) -> Result<Consumed> {
        self.0.iter_mut().try_for_each(|worker| worker.consume(&input))?;
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        self.0.iter_mut().for_each(BuildWorker::combine);
        Ok(None)
    }
}

impl BuildWorker {
    fn new(shared: &Arc<Shared>, cx: &Context) -> Result<Self> {
        let shape = &shared.shape;
        let mut state = shared.state();
        let memory = match &mut state.memory {
            Some(memory) => memory.split(0),
            none => none.insert(cx.memory().reserve(HOLDER, MINIMUM_BYTES)?).split(0),
        };
        Ok(BuildWorker {
            shared: shared.clone(),
            memory: Some(memory),
            pages: RowPages::new(shape.layout.clone(), DEFAULT_PAGE_BYTES).strict(),
            runs: Vec::new(),
            ordinals: vec![Ordinals::default(); shape.build_keys.len()],
            hasher: KeyHasher::new(),
            hashes: Vec::new(),
            refs: Vec::new(),
            beyond_ordinals: false,
        })
    }

    fn consume(&mut self, input: &Chunk) -> Result<()> {
        let shared = self.shared.clone();
        let shape = &shared.shape;
        let keys = shape.build_keys.iter().map(|&c| input.column(c));
        let keys: Vec<&Column> = keys.collect::<Result<_>>()?;
        let rows = self.rows_to_store(shape, &keys, input)?;
        if rows.is_empty() {
            return Ok(());
        }
        if shape.hash_slot.is_some() {
            self.hasher.hash(&keys, &rows, &mut self.hashes)?;
        }
        self.store(shape, input, &rows)
    }

    /// Hands over what was stored.
    fn combine(&mut self) {
        let none = RowPages::new(self.shared.shape.layout.clone(), DEFAULT_PAGE_BYTES);
        let pages = std::mem::replace(&mut self.pages, none);
        let part = Part { pages, runs: std::mem::take(&mut self.runs) };
        let mut state = self.shared.state();
        state.parts.push(part);
        state.beyond_ordinals |= self.beyond_ordinals;
        match (&mut state.memory, self.memory.take()) {
            (Some(all), Some(own)) => all.absorb(own),
            (all, own) => *all = own,
        }
    }

    /// The physical positions of the rows that are stored; notes the ranges of their keys.
    fn rows_to_store(
        &mut self,
        shape: &Shape,
        keys: &[&Column],
        input: &Chunk,
    ) -> Result<Vec<u32>> {
        let live = input.live_positions();
        let mut drop = vec![false; live.len()];
        let drops_nulls = !shape.nulls_match && !shape.keeps_all;
        if let Some(column) = shape.only_null {
            let picked = pick([input.column(column)?], live);
            let [picked] = &picked[..] else { return Err(Error::internal("one column")) };
            drop.iter_mut().enumerate().for_each(|(row, drop)| *drop = !picked.is_null(row));
        }
        if shape.ordinals {
            for (ordinals, key) in self.ordinals.iter_mut().zip(keys) {
                ordinals.read(key, input.rows(), input.selection())?;
                self.beyond_ordinals |= !ordinals.beyond.is_empty();
                if drops_nulls {
                    ordinals.nulls.iter().for_each(|&row| drop[row as usize] = true);
                }
            }
            if shape.existence_only && shape.only_null.is_none() {
                self.drop_repeated(&mut drop);
            }
        } else if drops_nulls {
            for picked in pick(keys.iter().copied(), live).iter().filter(|p| p.has_nulls()) {
                drop.iter_mut().enumerate().for_each(|(row, drop)| *drop |= picked.is_null(row));
            }
        }
        let morsel = input.place().morsel;
        if self.runs.last().is_none_or(|run| run.morsel() != morsel) {
            self.runs.push(Run::new(morsel, keys.len()));
        }
        if let Some(run) = self.runs.last_mut().filter(|_| shape.ordinals) {
            for (range, ordinals) in run.ranges.iter_mut().zip(&self.ordinals) {
                *range = match (*range, ordinals.range()) {
                    (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
                    (a, b) => a.or(b),
                };
            }
        }
        let kept = live.iter().zip(&drop).filter(|(_, drop)| !**drop);
        // Without keys one row says that there are some.
        let one_is_enough = shape.existence_only && keys.is_empty();
        let most = match one_is_enough {
            true => usize::from(self.pages.is_empty()),
            false => usize::MAX,
        };
        Ok(kept.map(|(&row, _)| row).take(most).collect())
    }

    /// Drops rows with the keys of the row before.
    fn drop_repeated(&self, drop: &mut [bool]) {
        let plain = self.ordinals.iter().all(|o| o.nulls.is_empty() && o.beyond.is_empty());
        let [first, others @ ..] = &self.ordinals[..] else { return };
        if !plain {
            return;
        }
        let pairs = first.values.windows(2).zip(drop.iter_mut().skip(1));
        for (row, (pair, drop)) in pairs.enumerate() {
            *drop = pair[0] == pair[1] && others.iter().all(|o| o.values[row] == o.values[row + 1]);
        }
    }

    fn store(&mut self, shape: &Shape, input: &Chunk, rows: &[u32]) -> Result<()> {
        let mut normalised = Vec::new();
        for stored in shape.stored.iter().filter(|s| s.normalised) {
            let column = input.column(stored.input)?;
            let array = with_float_keys(&column.to_array(input.rows())?)?;
            normalised.push(Column::flat(column.logical().clone(), array));
        }
        let mut normalised = normalised.iter();
        let columns = shape.stored.iter().map(|stored| match stored.normalised {
            true => normalised.next().ok_or_else(|| Error::internal("a key is missing")),
            false => input.column(stored.input),
        });
        let columns: Vec<&Column> = columns.collect::<Result<_>>()?;
        let Some(memory) = &mut self.memory else {
            return Err(Error::internal("a join's build side goes on after its end"));
        };
        self.refs.clear();
        self.pages.append(&columns, rows, memory, &mut self.refs)?;
        if let Some(slot) = shape.hash_slot {
            self.pages.set_slots(&self.refs, slot, &self.hashes);
        }
        if let Some(run) = self.runs.last_mut() {
            run.add(&self.refs, shape.layout.width());
        }
        Ok(())
    }
}

/// The table of a build side without rows.
impl Building {
    fn into_empty_table(self, shared: &Shared) -> Table {
        self.publish(shared);
        Table::empty()
    }
}
