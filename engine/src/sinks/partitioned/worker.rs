//! The sink and its workers; see the module documentation of [`super`].

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::WritePartitioned;
use super::files::Files;
use super::keys::{Keys, Rows};
use super::staging::Staging;
use crate::batch::{Chunk, Place};
use crate::error::{Error, Result};
use crate::memory::Governor;
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::scheduler::Token;
use crate::sinks::count::RowCount;

/// Writes its input to a directory of files.
pub(super) struct PartitionedSink {
    shared: Arc<Shared>,
}

struct Shared {
    spec: WritePartitioned,
    schema: SchemaRef,
    /// Positions of the columns that are in the files.
    stored: Vec<usize>,
    files: Files,
    count: RowCount,
}

impl PartitionedSink {
    pub(super) fn new(
        spec: WritePartitioned,
        schema: &SchemaRef,
        memory: &Governor,
    ) -> Result<Self> {
        let (stored, stored_schema) = spec.stored(schema);
        let held = memory.reserve("partitions", 0)?;
        let files = Files::new(spec.file.clone(), stored_schema, spec.is_sorted, held);
        let (schema, count) = (schema.clone(), RowCount::default());
        Ok(PartitionedSink { shared: Arc::new(Shared { spec, schema, stored, files, count }) })
    }

    /// The rows written.
    pub(super) fn count(&self) -> &RowCount {
        &self.shared.count
    }
}

impl Shared {
    fn begin(&self) -> Result<Staging> {
        Staging::begin(&self.spec.directory, self.spec.existing)
    }
}

impl Sink for PartitionedSink {
    fn name(&self) -> &str {
        "write partitions"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SinkWorker>> {
        let shared = self.shared.clone();
        Ok(Box::new(PartitionedWorker {
            keys: Keys::new(&shared.spec.partition_by, &shared.schema)?,
            shared,
            morsel: 0,
            has_met: false,
            writers: Vec::new(),
            split: None,
            waiting: VecDeque::new(),
        }))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        self.shared.files.commit(|| self.shared.begin(), cx)?;
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Err(Error::internal("a directory of files has no finish tasks"))
    }

    fn reset(&self) -> Result<()> {
        self.shared.files.reset()?;
        self.shared.count.reset();
        Ok(())
    }
}

struct PartitionedWorker {
    shared: Arc<Shared>,
    keys: Keys,
    /// The morsel that the writers are at.
    morsel: u64,
    /// Whether it has had rows of a partition yet.
    has_met: bool,
    /// Files that rows of this morsel go to, in the order in which they were met.
    writers: Vec<Writer>,
    /// The chunk that was split last, and its parts that are not handed over yet.
    split: Option<Place>,
    waiting: VecDeque<Rows>,
}

/// This worker's part of a partition's file.
struct Writer {
    path: String,
    worker: Box<dyn SinkWorker>,
    /// Whether its partition may have rows in morsels before.
    is_first: bool,
}

impl PartitionedWorker {
    /// Hands over what the writers have; `has_next` when another partition follows in the morsel.
    fn leave(&mut self, has_next: bool, cx: &Context) -> Result<Option<Token>> {
        while !self.writers.is_empty() {
            let worker = &mut self.writers[0].worker;
            if let Some(token) = worker.end_morsel(cx)? {
                return Ok(Some(token));
            }
            if let Some(token) = worker.combine(cx)? {
                return Ok(Some(token));
            }
            let Writer { path, worker, is_first } = self.writers.remove(0);
            drop(worker);
            // In sorted input a partition between two others of one morsel is nowhere else.
            let is_complete = self.shared.spec.is_sorted && has_next && !is_first;
            self.shared.files.leave(&path, is_complete, cx)?;
        }
        Ok(None)
    }

    /// The position of the writer of a partition.
    fn writer(&mut self, path: &str, cx: &Context) -> Result<usize> {
        if let Some(known) = self.writers.iter().position(|writer| writer.path == path) {
            return Ok(known);
        }
        let shared = &self.shared;
        let worker = shared.files.enter(path, self.morsel, || shared.begin(), cx)?;
        let is_first = !std::mem::replace(&mut self.has_met, true);
        self.writers.push(Writer { path: path.to_string(), worker, is_first });
        Ok(self.writers.len() - 1)
    }

    /// Divides a chunk among partitions; without their columns.
    fn split(&mut self, chunk: &Chunk) -> Result<()> {
        for Rows { path, chunk } in self.keys.split(chunk)? {
            let columns = self.shared.stored.iter().map(|&c| chunk.column(c).cloned());
            let chunk = chunk.clone().with_columns(columns.collect::<Result<_>>()?);
            self.waiting.push_back(Rows { path, chunk });
        }
        self.split = Some(chunk.place());
        Ok(())
    }

    /// Hands a part to its file; or gives it back with what it waits for.
    fn write(&mut self, rows: Rows, cx: &Context) -> Result<Option<(Token, Rows)>> {
        let Rows { path, chunk } = rows;
        let is_next = self.writers.last().is_some_and(|last| last.path != path);
        if self.shared.spec.is_sorted
            && is_next
            && let Some(token) = self.leave(true, cx)?
        {
            return Ok(Some((token, Rows { path, chunk })));
        }
        let position = self.writer(&path, cx)?;
        let live = chunk.live_rows();
        match self.writers[position].worker.consume(chunk, cx)? {
            Consumed::NeedInput => {
                self.shared.count.add(live);
                Ok(None)
            }
            Consumed::Blocked(token, chunk) => Ok(Some((token, Rows { path, chunk }))),
            Consumed::Finished => Err(Error::internal("a file that wants no more rows")),
        }
    }
}

impl SinkWorker for PartitionedWorker {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        let place = input.place();
        if self.split != Some(place) {
            self.morsel = place.morsel;
            self.split(&input)?;
        }
        while let Some(rows) = self.waiting.pop_front() {
            if let Some((token, rows)) = self.write(rows, cx)? {
                self.waiting.push_front(rows);
                return Ok(Consumed::Blocked(token, input));
            }
        }
        Ok(Consumed::NeedInput)
    }

    fn end_morsel(&mut self, cx: &Context) -> Result<Option<Token>> {
        let blocked = self.leave(false, cx)?;
        if blocked.is_none() {
            self.has_met = false;
        }
        Ok(blocked)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        Ok(None)
    }
}
