//! The source: workers take batches from the partitions, one batch a morsel.
//!
//! A worker reads on in its partition, or begins one that nobody reads yet, or shares one behind
//! its own. Who takes a batch has the partition for himself meanwhile; others that could only read
//! there are blocked until it is back.
//!
//! Memory: the batch that a worker is at is charged.
//! Concurrency: one lock, not held while code of the source's runs.
//! Invariant 1: a worker goes from lower to higher morsels only.
//! Invariant 2: a partition is back in its place when a pull ends, so who waits for the order holds
//! nothing that others wait for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::FieldRef;

use super::{BatchScan, Batches};
use crate::batch::{CHUNK_ROWS, Chunk, Column, Place, logical_type, to_physical};
use crate::error::{Error, Result};
use crate::expr::{Conjunction, Expr};
use crate::memory::Reservation;
use crate::pipeline::{Context, Pull, Source, SourceWorker};
use crate::plan::ARM_MORSELS;
use crate::scheduler::{Gate, Token};
use crate::sources::guard::guarded;

pub(super) struct Scan {
    shared: Arc<Shared>,
}

struct Shared {
    spec: BatchScan,
    /// Columns that are read, increasing.
    columns: Vec<usize>,
    /// Where those that are given stand among them.
    given: Vec<usize>,
    /// The filter, over positions in `columns`.
    predicates: Vec<Expr>,
    partitions: usize,
    threads: usize,
    /// Morsel numbers that a partition may use.
    morsels_per_partition: u64,
    state: Mutex<State>,
    /// Notified when a partition is back in its place.
    back: Gate,
}

#[derive(Default)]
struct State {
    /// The first partition that nobody has begun.
    next: usize,
    open: BTreeMap<usize, Partition>,
}

/// A partition that is being read.
#[derive(Default)]
struct Partition {
    /// `None` while a worker takes a batch.
    batches: Option<Batches>,
    /// Batches taken so far.
    taken: u64,
}

/// What a worker may do.
enum Turn {
    /// Begin this partition.
    Begin(usize),
    /// Take the batch of this number.
    Take(usize, Batches, u64),
    Wait(Token),
    Nothing,
}

impl Scan {
    pub(super) fn new(spec: &BatchScan, threads: usize) -> Result<Scan> {
        let mut columns: Vec<usize> = spec.projection.clone();
        columns.extend(spec.predicates.iter().flat_map(Expr::columns));
        columns.sort_unstable();
        columns.dedup();
        let slot = |column: usize| columns.iter().position(|&c| c == column).unwrap_or(0);
        let given = spec.projection.iter().map(|&column| slot(column)).collect();
        let predicates = spec.predicates.iter().map(|p| p.clone().map_columns(&slot)).collect();
        let partitions = guarded(|| Ok(spec.source.partitions()), |said| panicked(spec, said))?;
        Ok(Scan {
            shared: Arc::new(Shared {
                given,
                predicates,
                columns,
                partitions,
                threads: threads.max(1),
                morsels_per_partition: ARM_MORSELS / (partitions as u64 + 1),
                spec: spec.clone(),
                state: Mutex::default(),
                back: Gate::new(),
            }),
        })
    }
}

impl Source for Scan {
    fn name(&self) -> &str {
        "batch scan"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(ScanWorker {
            filter: Conjunction::new(self.shared.predicates.clone(), cx.memory()),
            shared: self.shared.clone(),
            partition: None,
            morsel: 0,
            rows: None,
            charge: cx.memory().reserve("batch scan", 0)?,
        }))
    }

    fn parallelism(&self) -> usize {
        self.shared.threads
    }

    fn reset(&self) -> Result<()> {
        *self.shared.lock() = State::default();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What a worker does that is at this partition.
    fn turn(&self, at: Option<usize>) -> Turn {
        let token = self.back.token();
        let mut state = self.lock();
        let from = at.unwrap_or(0);
        if let Some(number) = at
            && let Some(partition) = state.open.get_mut(&number)
            && let Some(turn) = partition.take(number)
        {
            return turn;
        }
        if state.next < self.partitions {
            let number = state.next;
            state.next += 1;
            state.open.insert(number, Partition { batches: None, taken: 1 });
            return Turn::Begin(number);
        }
        let mut behind = state.open.range_mut(from..);
        if let Some(turn) = behind.find_map(|(&number, partition)| partition.take(number)) {
            return turn;
        }
        match state.open.range(from..).next() {
            Some(_) => Turn::Wait(token),
            None => Turn::Nothing,
        }
    }

    /// Puts a partition back, or strikes it off when it has no more batches.
    fn give_back(&self, number: usize, batches: Option<Batches>) {
        let mut state = self.lock();
        match (batches, state.open.get_mut(&number)) {
            (Some(batches), Some(partition)) => partition.batches = Some(batches),
            _ => {
                state.open.remove(&number);
            }
        }
        drop(state);
        self.back.notify();
    }

    fn open(&self, number: usize) -> Result<Batches> {
        let spec = &self.spec;
        guarded(|| spec.source.read(number, &self.columns), |said| panicked(spec, said))
    }

    fn next(&self, batches: &mut Batches) -> Result<Option<RecordBatch>> {
        guarded(|| batches.next().transpose(), |said| panicked(&self.spec, said))
    }

    /// The columns that are read of a batch, if they are what the source declares.
    fn checked(&self, batch: &RecordBatch) -> Result<Rows> {
        let spec = &self.spec;
        let wrong = |what: String| Error::input(format!("the source of {}: {what}", spec.name));
        let declared = |&column: &usize| spec.schema.fields().get(column);
        let fields: Vec<&FieldRef> = self.columns.iter().filter_map(declared).collect();
        let columns: Vec<ArrayRef> = if batch.num_columns() == fields.len() {
            batch.columns().to_vec()
        } else if batch.num_columns() == spec.schema.fields().len() {
            self.columns.iter().map(|&column| batch.column(column).clone()).collect()
        } else {
            let (given, all) = (batch.num_columns(), spec.schema.fields().len());
            let asked = fields.len();
            let what = format!("a batch of {given} columns; {asked} were asked for of its {all}");
            return Err(wrong(what));
        };
        for (array, field) in columns.iter().zip(fields) {
            if array.data_type() != field.data_type() {
                let (given, declared) = (array.data_type(), field.data_type());
                let name = field.name();
                let what = format!("a batch has {given} in the column {name}, which is {declared}");
                return Err(wrong(what));
            }
            if !field.is_nullable() && array.logical_null_count() > 0 {
                let name = field.name();
                return Err(wrong(format!(
                    "a batch has NULL in the column {name}, which has none"
                )));
            }
        }
        Ok(Rows { columns, count: batch.num_rows(), next: 0 })
    }
}

impl Partition {
    /// The next batch's turn, unless somebody takes one.
    fn take(&mut self, number: usize) -> Option<Turn> {
        let batches = self.batches.take()?;
        self.taken += 1;
        Some(Turn::Take(number, batches, self.taken - 1))
    }
}

fn panicked(spec: &BatchScan, said: &str) -> Error {
    Error::input(format!("the source of {} panicked: {said}", spec.name))
}

struct ScanWorker {
    shared: Arc<Shared>,
    filter: Conjunction,
    /// The partition that it is at.
    partition: Option<usize>,
    morsel: u64,
    rows: Option<Rows>,
    charge: Reservation,
}

/// The batch that a worker is at.
struct Rows {
    columns: Vec<ArrayRef>,
    count: usize,
    next: usize,
}

impl Rows {
    /// Bytes held, without the heaps of strings, which slices share.
    fn bytes(&self) -> usize {
        let bytes = self.columns.iter().map(|array| {
            let data = array.to_data();
            data.get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
        });
        bytes.sum()
    }
}

impl ScanWorker {
    /// Takes the batch of this number from a partition, if there is one.
    fn take(&mut self, number: usize, batches: Option<Batches>, taken: u64) -> Result<()> {
        self.partition = Some(number);
        let outcome = batches.map_or_else(|| self.shared.open(number), Ok);
        let outcome = outcome.and_then(|mut batches| {
            let batch = self.shared.next(&mut batches)?;
            Ok(batch.map(|batch| (batch, batches)))
        });
        match outcome {
            Ok(Some((batch, batches))) => {
                self.shared.give_back(number, Some(batches));
                if taken >= self.shared.morsels_per_partition {
                    let message = "too many batches in a partition; make larger batches";
                    return Err(Error::input(message));
                }
                self.morsel = number as u64 * self.shared.morsels_per_partition + taken;
                let rows = self.shared.checked(&batch)?;
                self.charge.resize_to(rows.bytes())?;
                self.rows = Some(rows);
                Ok(())
            }
            Ok(None) => {
                self.shared.give_back(number, None);
                Ok(())
            }
            Err(error) => {
                self.shared.give_back(number, None);
                Err(error)
            }
        }
    }

    /// The next rows of the batch that it is at.
    fn slice(&mut self) -> Result<Option<Chunk>> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        let count = CHUNK_ROWS.min(rows.count - rows.next);
        if count == 0 {
            self.rows = None;
            self.charge.resize_to(0)?;
            return Ok(None);
        }
        let columns = rows.columns.iter().map(|array| {
            let slice = array.slice(rows.next, count);
            Ok(Column::flat(logical_type(slice.data_type()), to_physical(&slice)?))
        });
        let place = Place { morsel: self.morsel, sequence: 0 };
        let chunk = Chunk::new(columns.collect::<Result<_>>()?, count, place);
        rows.next += count;
        Ok(Some(chunk))
    }
}

impl SourceWorker for ScanWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        loop {
            cx.check()?;
            if let Some(mut chunk) = self.slice()? {
                if let Some(live) = self.filter.select(&chunk)? {
                    chunk = chunk.select(live);
                }
                if !chunk.is_empty() {
                    return Ok(Pull::Chunk(chunk.project(&self.shared.given)?));
                }
                continue;
            }
            match self.shared.turn(self.partition) {
                Turn::Begin(number) => self.take(number, None, 0)?,
                Turn::Take(number, batches, taken) => self.take(number, Some(batches), taken)?,
                Turn::Wait(token) => return Ok(Pull::Blocked(token)),
                Turn::Nothing => return Ok(Pull::Finished),
            }
            if self.rows.is_some() {
                // Its rows may all be left out: the order goes on all the same.
                return Ok(Pull::Morsel(self.morsel));
            }
        }
    }
}
