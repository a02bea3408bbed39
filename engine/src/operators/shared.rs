//! A subplan's rows, kept for several readers.
//!
//! Phases: workers hand their chunks to a store (`consume`, `combine`), which puts them in the
//! order of the input (`prepare`); then every reader hands them out as morsels from a cursor of its
//! own. The last reader to finish frees them.
//!
//! Memory: the store's, see [`crate::memory::chunks`]: it gives way to others by moving chunks to
//! tape.
//! Concurrency: workers own what they collect; the sealed store is read by number.
//! Invariant 1: chunks are freed only after every reader has finished.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::{DataType, SchemaRef};

use crate::batch::{Chunk, Place};
use crate::error::{Error, Result};
use crate::memory::Governor;
use crate::memory::chunks::{ChunkReader, ChunkStore, ChunkWriter};
use crate::pipeline::{
    Consumed, Context, PipelineId, Pull, Sink, SinkWorker, Source, SourceWorker,
};
use crate::plan::{Build, Stream};
use crate::scheduler::Token;

const NAME: &str = "shared subplan";

/// The output of a plan node with several readers.
pub struct Shared {
    schema: SchemaRef,
    kept: Arc<Kept>,
    readers: usize,
    after: Vec<PipelineId>,
}

/// What the sink and the readers share.
struct Kept {
    types: Vec<DataType>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` before the first worker comes and after the last reader has gone.
    store: Option<Arc<ChunkStore>>,
    finished_readers: usize,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn store(&self, memory: &Governor) -> Result<Arc<ChunkStore>> {
        let mut state = self.lock();
        if let Some(store) = &state.store {
            return Ok(store.clone());
        }
        let store = ChunkStore::new(NAME, self.types.clone(), memory)?;
        Ok(state.store.insert(store).clone())
    }
}

impl Shared {
    /// Ends `stream` in a buffer for `readers` readers.
    pub fn materialise(stream: Stream, readers: usize, build: &mut Build) -> Arc<Shared> {
        let schema = stream.schema.clone();
        let types = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let kept = Arc::new(Kept { types, state: Mutex::default() });
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

struct SharedSink {
    kept: Arc<Kept>,
}

struct SharedSinkWorker {
    store: Arc<ChunkStore>,
    /// `None` once it has been handed over.
    writer: Option<ChunkWriter>,
}

impl Sink for SharedSink {
    fn name(&self) -> &str {
        NAME
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let store = self.kept.store(cx.memory())?;
        let writer = Some(store.writer()?);
        Ok(Box::new(SharedSinkWorker { store, writer }))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        self.kept.store(cx.memory())?.seal();
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Err(Error::internal("a shared subplan has no finish tasks"))
    }

    fn reset(&self) -> Result<()> {
        *self.kept.lock() = State::default();
        Ok(())
    }
}

impl SinkWorker for SharedSinkWorker {
    fn consume(&mut self, input: Chunk, _: &Context) -> Result<Consumed> {
        match &mut self.writer {
            Some(writer) => writer.push(input)?,
            None => return Err(Error::internal("a shared subplan gets rows after its end")),
        }
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        if let Some(writer) = self.writer.take() {
            self.store.add(writer)?;
        }
        Ok(None)
    }
}

/// One reader of the chunks.
struct SharedSource {
    kept: Arc<Kept>,
    readers: usize,
    cursor: Arc<AtomicUsize>,
}

struct SharedSourceWorker {
    reader: ChunkReader,
    chunks: usize,
    cursor: Arc<AtomicUsize>,
}

impl Source for SharedSource {
    fn name(&self) -> &str {
        NAME
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        let store = self.kept.store(cx.memory())?;
        let chunks = store.chunks();
        let reader = ChunkReader::new(store, (0..self.kept.types.len()).collect());
        Ok(Box::new(SharedSourceWorker { reader, chunks, cursor: self.cursor.clone() }))
    }

    fn parallelism(&self) -> usize {
        self.kept.lock().store.as_ref().map_or(0, |store| store.chunks()).max(1)
    }

    fn morsels(&self) -> Option<u64> {
        self.kept.lock().store.as_ref().map(|store| store.chunks() as u64)
    }

    fn reset(&self) -> Result<()> {
        self.cursor.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// The source goes when its pipeline has finished; the last one takes the chunks with it.
impl Drop for SharedSource {
    fn drop(&mut self) {
        let mut state = self.kept.lock();
        state.finished_readers += 1;
        if state.finished_readers >= self.readers {
            *state = State::default();
        }
    }
}

impl SourceWorker for SharedSourceWorker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        let number = self.cursor.fetch_add(1, Ordering::Relaxed);
        if number >= self.chunks {
            return Ok(Pull::Finished);
        }
        let place = Place { morsel: number as u64, sequence: 0 };
        Ok(Pull::Chunk(self.reader.read(number, place)?))
    }
}
