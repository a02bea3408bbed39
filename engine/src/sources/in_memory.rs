//! Record batches that are already in memory, as a source.
//!
//! Phases: workers draw morsels from one cursor; a morsel is a run of chunks, a chunk a slice of a
//! batch, converted to physical types when it is handed out.
//!
//! Memory: the batches belong to whoever made the source, and are not charged.
//! Concurrency: one atomic cursor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::batch::{CHUNK_ROWS, Chunk, MAX_CHUNK_ROWS, MORSEL_ROWS, Place};
use crate::error::{Error, Result};
use crate::pipeline::{Context, Pull, Source, SourceWorker};
use crate::plan::Stream;

/// Batches of one schema.
pub struct InMemory {
    shared: Arc<Shared>,
}

struct Shared {
    batches: Vec<RecordBatch>,
    /// Where each chunk begins: number of the batch, and the row in it.
    chunks: Vec<(usize, usize)>,
    rows_per_chunk: usize,
    chunks_per_morsel: usize,
    /// The next morsel.
    cursor: AtomicUsize,
}

impl InMemory {
    /// The rows of these batches, in order.
    ///
    /// # Errors
    /// `Input` when a batch has not the types of `schema`.
    pub fn new(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<Self> {
        Self::cut(schema, batches, CHUNK_ROWS, MORSEL_ROWS / CHUNK_ROWS)
    }

    /// The rows of these batches, in chunks and morsels of other sizes than the usual ones; each at
    /// least 1, and no chunk larger than [`MAX_CHUNK_ROWS`].
    ///
    /// # Errors
    /// `Input` when a batch has not the types of `schema`.
    pub fn cut(
        schema: &SchemaRef,
        batches: Vec<RecordBatch>,
        rows_per_chunk: usize,
        chunks_per_morsel: usize,
    ) -> Result<Self> {
        let types = |schema: &SchemaRef| -> Vec<_> {
            schema.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        if let Some(batch) = batches.iter().find(|b| types(&b.schema()) != types(schema)) {
            let found = batch.schema();
            return Err(Error::input(format!("a batch of {found}, where {schema} was declared")));
        }
        let rows_per_chunk = rows_per_chunk.clamp(1, MAX_CHUNK_ROWS);
        let chunks_per_morsel = chunks_per_morsel.max(1);
        let starts = |(number, batch): (usize, &RecordBatch)| {
            let rows = (0..batch.num_rows()).step_by(rows_per_chunk);
            rows.map(move |row| (number, row)).collect::<Vec<_>>()
        };
        let chunks = batches.iter().enumerate().flat_map(starts).collect();
        let cursor = AtomicUsize::new(0);
        let shared = Shared { batches, chunks, rows_per_chunk, chunks_per_morsel, cursor };
        Ok(InMemory { shared: Arc::new(shared) })
    }

    /// The rows as a stream of this schema.
    pub fn stream(self, schema: SchemaRef) -> Stream {
        Stream::new(schema, Arc::new(self), Vec::new())
    }
}

impl Source for InMemory {
    fn name(&self) -> &str {
        "in-memory table"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(InMemoryWorker { shared: self.shared.clone(), morsel: 0, chunks: 0..0 }))
    }

    fn parallelism(&self) -> usize {
        self.shared.chunks.len().div_ceil(self.shared.chunks_per_morsel).max(1)
    }

    fn morsels(&self) -> Option<u64> {
        Some(self.shared.chunks.len().div_ceil(self.shared.chunks_per_morsel) as u64)
    }

    fn reset(&self) -> Result<()> {
        self.shared.cursor.store(0, Ordering::Relaxed);
        Ok(())
    }
}

struct InMemoryWorker {
    shared: Arc<Shared>,
    morsel: usize,
    /// Chunks of the morsel that are left.
    chunks: std::ops::Range<usize>,
}

impl SourceWorker for InMemoryWorker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        let shared = &self.shared;
        if self.chunks.is_empty() {
            let morsels = shared.chunks.len().div_ceil(shared.chunks_per_morsel);
            self.morsel = shared.cursor.fetch_add(1, Ordering::Relaxed);
            if self.morsel >= morsels {
                return Ok(Pull::Finished);
            }
            let first = self.morsel * shared.chunks_per_morsel;
            self.chunks = first..shared.chunks.len().min(first + shared.chunks_per_morsel);
        }
        let Some((number, row)) = self.chunks.next().map(|chunk| shared.chunks[chunk]) else {
            return Ok(Pull::Finished);
        };
        let batch = &shared.batches[number];
        let rows = shared.rows_per_chunk.min(batch.num_rows() - row);
        let place = Place { morsel: self.morsel as u64, sequence: 0 };
        Ok(Pull::Chunk(Chunk::from_batch(&batch.slice(row, rows), place)?))
    }
}
