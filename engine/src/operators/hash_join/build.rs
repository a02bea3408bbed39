//! Takes the rows of the build side into row pages.
//!
//! Rows that can never match (a NULL among the keys) are not stored, unless they come out as rows
//! without match. When existence is all that matters, neither are rows with the keys of the row
//! before, which is what clustered inputs have most of.
//!
//! When memory is short the rows are moved to lanes on tape (`lanes`): those that a worker has, and
//! from then on all others at once. What workers have handed over before, and rows whose
//! directory has no room, are moved when the build side is at its end.
//!
//! The build side of a null-aware join fills several tables, each as if it were alone.

use std::sync::Arc;

use super::finish::{Begun, Building, Built, Making};
use super::lane_key::LaneKeys;
use super::lanes::{LaneSet, LaneWriter, WRITER_BYTES};
use super::shape::{HOLDER, Shape, Shared, State};
use super::store::{Part, Run};
use super::table::Table;
use crate::batch::{CHUNK_ROWS, Chunk, Column, KeyHasher, Ordinals, pick, widest, with_float_keys};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{DEFAULT_PAGE_BYTES, RowPages, RowRef};
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::scheduler::Token;

/// Bytes of the first page of each worker, which is granted from the start.
const MINIMUM_BYTES: usize = 64 << 10;

/// What a row of the build side takes of a directory, more or less.
const DIRECTORY_ROW_BYTES: usize = 13;

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
    /// Where rows are moved to.
    lanes: Option<LaneWriter>,
    /// What it is made with.
    lane_memory: Option<Reservation>,
    /// Buffers for one chunk.
    ordinals: Vec<Ordinals>,
    hasher: KeyHasher,
    hashes: Vec<u64>,
    refs: Vec<RowRef>,
    lane_keys: LaneKeys,
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
    let rows: usize = parts.iter().map(|part| part.pages.rows()).sum();
    if shared.hold(rows.saturating_mul(DIRECTORY_ROW_BYTES), cx.memory()) {
        shared.spill();
    }
    if shared.is_spilling() {
        return Ok(state.begin_moving(parts, memory));
    }
    let making = Making {
        may_fail: shared.spills,
        ordinals: shared.shape.ordinals && !state.beyond_ordinals,
        bands: None,
        filter: shared.filter_slot.is_some(),
        threads: cx.query.threads,
    };
    let building = match Building::begin(shared, memory, parts, &making)? {
        Begun::Building(building) => building,
        Begun::NoRoom(parts, memory) => {
            shared.spill();
            return Ok(state.begin_moving(parts, memory));
        }
    };
    state.tasks = building.tasks();
    if state.tasks == 0 {
        building.publish(shared);
        state.table = Some(Arc::new(Table::empty()));
    } else {
        state.building = Some(building);
    }
    Ok(state.tasks)
}

/// Makes one piece of a table's directory, or moves one part out of memory.
fn finish(shared: &Shared, task: usize, cx: &Context) -> Result<()> {
    let (part, building) = {
        let mut state = shared.state();
        (if state.moving > 0 { state.parts.pop() } else { None }, state.building.clone())
    };
    if let Some(Part { pages, runs, memory, lane_memory }) = part {
        let moved = move_all(shared, &pages, &runs, lane_memory, cx)?;
        drop((pages, memory));
        let mut state = shared.state();
        state.moved.absorb(moved)?;
        state.moving -= 1;
        state.end_moving();
        return Ok(());
    }
    let Some(building) = building else {
        return Err(Error::internal("a join's directory is made before it is prepared"));
    };
    match building.run(task, shared, cx)? {
        Built::Part => (),
        Built::Table(table) => {
            let mut state = shared.state();
            state.table = Some(table);
            state.building = None;
        }
        Built::NoRoom => {
            shared.spill();
            let (store, memory) = building.rows();
            let with = building.lane_memory();
            let moved = move_all(shared, store.pages(), store.runs(), with, cx)?;
            let mut state = shared.state();
            state.building = None;
            drop((building, store, memory));
            state.moved.absorb(moved)?;
            state.end_moving();
        }
    }
    Ok(())
}

/// Moves rows of the build side out of memory, with what was set aside for that.
fn move_all(
    shared: &Shared,
    pages: &RowPages,
    runs: &[Run],
    memory: Option<Reservation>,
    cx: &Context,
) -> Result<LaneSet> {
    let memory = match memory {
        Some(memory) => memory,
        None => cx.memory().reserve(HOLDER, WRITER_BYTES)?,
    };
    let mut writer = LaneWriter::new(&shared.shape.layout, memory, cx)?;
    move_rows(shared, pages, runs, &mut writer, cx)?;
    Ok(writer.finish()?.0)
}

/// Copies rows of the build side into lanes.
fn move_rows(
    shared: &Shared,
    pages: &RowPages,
    runs: &[Run],
    writer: &mut LaneWriter,
    cx: &Context,
) -> Result<()> {
    let by = shared.choose_lanes(pages, runs)?;
    let (shape, mut keys) = (&shared.shape, LaneKeys::default());
    for run in runs {
        writer.begin(run.morsel())?;
        run.each_batch(shape.layout.width(), CHUNK_ROWS, |rows| {
            cx.check()?;
            keys.of_stored(by, shape, pages, rows)?;
            writer.add(pages, rows, keys.lanes())
        })?;
    }
    Ok(())
}

impl State {
    /// All rows are moved out of memory, a part a task; the number of tasks.
    fn begin_moving(&mut self, parts: Vec<Part>, memory: Reservation) -> usize {
        (self.tasks, self.moving) = (parts.len(), parts.len());
        (self.parts, self.memory) = (parts, Some(memory));
        self.end_moving();
        self.tasks
    }

    /// Notes that all rows are out of memory, if they are.
    fn end_moving(&mut self) {
        if self.moving == 0 {
            let mut lanes = std::mem::take(&mut self.moved);
            lanes.sort();
            self.lanes = Some(Arc::new(lanes));
        }
    }
}

impl SinkWorker for BuildWorkers {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        self.0.iter_mut().try_for_each(|worker| worker.consume(&input, cx))?;
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, cx: &Context) -> Result<Option<Token>> {
        self.0.iter_mut().try_for_each(|worker| worker.combine(cx))?;
        Ok(None)
    }
}

impl BuildWorker {
    fn new(shared: &Arc<Shared>, cx: &Context) -> Result<Self> {
        let shape = &shared.shape;
        let mut state = shared.state();
        let root = match &mut state.memory {
            Some(memory) => memory,
            none => none.insert(cx.memory().reserve(HOLDER, MINIMUM_BYTES)?),
        };
        let lane_memory = shared.spills.then(|| root.child(WRITER_BYTES)).transpose()?;
        let pages = RowPages::new(shape.layout.clone(), DEFAULT_PAGE_BYTES);
        Ok(BuildWorker {
            shared: shared.clone(),
            memory: Some(root.split(0)),
            pages: if shared.spills { pages } else { pages.strict() },
            runs: Vec::new(),
            lanes: None,
            lane_memory,
            ordinals: vec![Ordinals::default(); shape.build_keys.len()],
            hasher: KeyHasher::new(),
            hashes: Vec::new(),
            refs: Vec::new(),
            lane_keys: LaneKeys::default(),
            beyond_ordinals: false,
        })
    }

    fn consume(&mut self, input: &Chunk, cx: &Context) -> Result<()> {
        let shared = self.shared.clone();
        let shape = &shared.shape;
        let keys = shape.build_keys.iter().map(|&c| input.column(c));
        let keys: Vec<&Column> = keys.collect::<Result<_>>()?;
        let rows = self.rows_to_store(shape, &keys, input)?;
        if rows.is_empty() {
            return Ok(());
        }
        let columns = stored_columns(shape, input)?;
        let columns: Vec<&Column> = columns.iter().collect();
        let (before, mut stored) = (self.pages.bytes(), 0);
        if !shared.spills || !shared.is_spilling() {
            if shape.hash_slot.is_some() {
                self.hasher.hash(&keys, &rows, &mut self.hashes)?;
            }
            stored = self.store(shape, &columns, &rows)?;
        }
        if stored < rows.len() {
            self.spill(&shared)?;
            self.move_out(cx)?;
            let by = shared.choose_lanes(&self.pages, &self.runs)?;
            let (rest, mut lane_keys) = (&rows[stored..], std::mem::take(&mut self.lane_keys));
            lane_keys.of_columns(by, &keys, rest)?;
            let slot = shape.hash_slot.map(|slot| (slot, lane_keys.hashes()));
            let writer = self.writer(cx)?;
            writer.begin(input.place().morsel)?;
            writer.add_columns(&columns, rest, lane_keys.lanes(), slot)?;
            self.lane_keys = lane_keys;
            return Ok(());
        }
        if shared.spills && !shared.is_spilling() {
            let is_much = shared.hold(self.pages.bytes() - before, cx.memory());
            if is_much || self.memory.as_ref().is_some_and(Reservation::pressed) {
                self.spill(&shared)?;
            }
        }
        Ok(())
    }

    /// Hands over what was stored.
    fn combine(&mut self, cx: &Context) -> Result<()> {
        if self.shared.is_spilling() {
            self.move_out(cx)?;
        }
        let lanes = self.lanes.take().map(LaneWriter::finish).transpose()?;
        let lane_memory = self.lane_memory.take();
        let none = RowPages::new(self.shared.shape.layout.clone(), DEFAULT_PAGE_BYTES);
        let pages = std::mem::replace(&mut self.pages, none);
        let runs = std::mem::take(&mut self.runs);
        let mut state = self.shared.state();
        if let Some(lanes) = lanes {
            state.moved.absorb(lanes.0)?;
        }
        if let Some(memory) = self.memory.take().filter(|_| !pages.is_empty()) {
            state.parts.push(Part { pages, runs, memory, lane_memory });
        }
        state.beyond_ordinals |= self.beyond_ordinals;
        Ok(())
    }

    /// From now on rows are moved out of memory. Before others see that and have to go by it, the
    /// lanes are chosen by the rows at hand: others may have none.
    fn spill(&self, shared: &Shared) -> Result<()> {
        shared.choose_lanes(&self.pages, &self.runs)?;
        shared.spill();
        Ok(())
    }

    /// Moves all rows in memory to lanes.
    fn move_out(&mut self, cx: &Context) -> Result<()> {
        let shared = self.shared.clone();
        let runs = std::mem::take(&mut self.runs);
        if self.pages.is_empty() {
            return Ok(());
        }
        let none = RowPages::new(shared.shape.layout.clone(), DEFAULT_PAGE_BYTES);
        let pages = std::mem::replace(&mut self.pages, none);
        move_rows(&shared, &pages, &runs, self.writer(cx)?, cx)?;
        if let Some(memory) = &mut self.memory {
            memory.shrink(pages.bytes());
        }
        Ok(())
    }

    /// Where rows are moved to.
    fn writer(&mut self, cx: &Context) -> Result<&mut LaneWriter> {
        match (&mut self.lanes, self.lane_memory.take()) {
            (Some(writer), _) => Ok(writer),
            (none, Some(memory)) => {
                Ok(none.insert(LaneWriter::new(&self.shared.shape.layout, memory, cx)?))
            }
            (None, None) => Err(Error::internal("a join's rows have nowhere to go")),
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
                *range = widest(*range, ordinals.range());
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

    /// Stores rows in memory, as many as it has room for; how many.
    fn store(&mut self, shape: &Shape, columns: &[&Column], rows: &[u32]) -> Result<usize> {
        let Some(memory) = &mut self.memory else {
            return Err(Error::internal("a join's build side goes on after its end"));
        };
        self.refs.clear();
        let stored = self.pages.append(columns, rows, memory, &mut self.refs)?;
        if let Some(slot) = shape.hash_slot {
            self.pages.set_slots(&self.refs, slot, &self.hashes);
        }
        if let Some(run) = self.runs.last_mut() {
            run.add(&self.refs, shape.layout.width());
        }
        Ok(stored)
    }
}

/// The columns that are stored of a chunk.
fn stored_columns(shape: &Shape, input: &Chunk) -> Result<Vec<Column>> {
    let columns = shape.stored.iter().map(|stored| {
        let column = input.column(stored.input)?;
        if !stored.normalised {
            return Ok(column.clone());
        }
        let array = with_float_keys(&input.aligned(column)?)?;
        Ok(Column::flat(column.logical().clone(), array))
    });
    columns.collect()
}
