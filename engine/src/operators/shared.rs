//! A subplan's rows, kept for several readers.
//!
//! Phases: workers copy their chunks together (`consume`), hand them over (`combine`), the chunks
//! are put in the order of the input (`prepare`); then every reader hands them out as morsels from
//! a cursor of its own. The last reader to finish frees them.
//!
//! Memory: the chunks, copied so that they pin no page of their sources, in one reservation. What
//! does not fit ends the query with `OutOfMemory`.
//! Concurrency: workers own what they collect; the finished list is read-only.
//! Invariant 1: chunks are freed only after every reader has finished.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, SchemaRef};

use crate::batch::{Chunk, Column, Place};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::pipeline::{
    Consumed, Context, PipelineId, Pull, Sink, SinkWorker, Source, SourceWorker,
};
use crate::plan::{Build, Stream};
use crate::scheduler::Token;

/// The output of a plan node with several readers.
pub struct Shared {
    schema: SchemaRef,
    kept: Arc<Mutex<Kept>>,
    readers: usize,
    after: Vec<PipelineId>,
}

#[derive(Default)]
struct Kept {
    chunks: Arc<Vec<Chunk>>,
    collected: Vec<Chunk>,
    charged: Vec<Reservation>,
    finished_readers: usize,
}

impl Shared {
    /// Ends `stream` in a buffer for `readers` readers.
    pub fn materialise(stream: Stream, readers: usize, build: &mut Build) -> Arc<Shared> {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let schema = stream.schema.clone();
        let after = build.sink(stream, Arc::new(SharedSink { kept: kept.clone() }));
        Arc::new(Shared { schema, kept, readers, after })
    }

    /// A stream of all rows, for one of the readers.
    pub fn reader(&self) -> Stream {
        let source = SharedSource {
            kept: self.kept.clone(),
            readers: self.readers,
            cursor: Arc::new(AtomicUsize::new(0)),
        };
        Stream::new(self.schema.clone(), Arc::new(source), self.after.clone())
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(|e| e.into_inner())
}

struct SharedSink {
    kept: Arc<Mutex<Kept>>,
}

struct SharedSinkWorker {
    kept: Arc<Mutex<Kept>>,
    chunks: Vec<Chunk>,
    charged: Reservation,
}

impl Sink for SharedSink {
    fn name(&self) -> &str {
        "shared subplan"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let charged = cx.memory().reserve("shared subplan", 0)?;
        let kept = self.kept.clone();
        Ok(Box::new(SharedSinkWorker { kept, chunks: Vec::new(), charged }))
    }

    fn prepare(&self, _: &Context) -> Result<usize> {
        let mut kept = lock(&self.kept);
        let mut chunks = mem::take(&mut kept.collected);
        chunks.sort_by_key(Chunk::place);
        kept.chunks = Arc::new(chunks);
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Err(Error::internal("a shared subplan has no finish tasks"))
    }

    fn reset(&self) -> Result<()> {
        *lock(&self.kept) = Kept::default();
        Ok(())
    }
}

impl SinkWorker for SharedSinkWorker {
    fn consume(&mut self, input: Chunk, _: &Context) -> Result<Consumed> {
        let place = input.place();
        let chunk = input.compact()?;
        let columns = chunk.columns().iter().map(|column| {
            let array = unpinned(column.values());
            Column::flat(column.logical().clone(), array)
        });
        let chunk = Chunk::new(columns.collect(), chunk.rows(), place);
        let bytes: usize = chunk.columns().iter().map(|c| c.values().get_array_memory_size()).sum();
        self.charged.grow(bytes)?;
        self.chunks.push(chunk);
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, cx: &Context) -> Result<Option<Token>> {
        let next = cx.memory().reserve("shared subplan", 0)?;
        let mut kept = lock(&self.kept);
        kept.collected.append(&mut self.chunks);
        kept.charged.push(mem::replace(&mut self.charged, next));
        Ok(None)
    }
}

/// Views that hold only the bytes they name.
fn unpinned(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => array.clone(),
    }
}

/// One reader of the chunks.
struct SharedSource {
    kept: Arc<Mutex<Kept>>,
    readers: usize,
    cursor: Arc<AtomicUsize>,
}

struct SharedSourceWorker {
    chunks: Arc<Vec<Chunk>>,
    cursor: Arc<AtomicUsize>,
}

impl Source for SharedSource {
    fn name(&self) -> &str {
        "shared subplan"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        let chunks = lock(&self.kept).chunks.clone();
        Ok(Box::new(SharedSourceWorker { chunks, cursor: self.cursor.clone() }))
    }

    fn parallelism(&self) -> usize {
        lock(&self.kept).chunks.len().max(1)
    }

    fn reset(&self) -> Result<()> {
        self.cursor.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// The source goes when its pipeline has finished; the last one takes the chunks with it.
impl Drop for SharedSource {
    fn drop(&mut self) {
        let mut kept = lock(&self.kept);
        kept.finished_readers += 1;
        if kept.finished_readers >= self.readers {
            *kept = Kept::default();
        }
    }
}

impl SourceWorker for SharedSourceWorker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        let number = self.cursor.fetch_add(1, Ordering::Relaxed);
        Ok(match self.chunks.get(number) {
            Some(chunk) => {
                let place = Place { morsel: number as u64, sequence: 0 };
                Pull::Chunk(chunk.clone().with_place(place))
            }
            None => Pull::Finished,
        })
    }
}
