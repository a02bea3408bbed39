//! The result of a sink that writes a file: one row with the number of rows written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::batch::{Chunk, Column, Place};
use crate::error::{Error, Result};
use crate::pipeline::{Context, Pull, Sink, Source, SourceWorker};
use crate::plan::{Build, Stream};

/// Rows written so far; clones count together.
#[derive(Debug, Clone, Default)]
pub struct RowCount(Arc<AtomicU64>);

impl RowCount {
    /// Adds rows.
    pub fn add(&self, rows: usize) {
        self.0.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Rows so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins again at zero.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The schema of the one row: `count`, a 64-bit integer.
pub fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("count", DataType::Int64, false)]))
}

/// The one row that says how many rows `sink` has written of `input`; the sink counts them in
/// `count`.
pub fn counted(
    input: Stream,
    sink: impl Sink + 'static,
    count: RowCount,
    build: &mut Build,
) -> Stream {
    let after = build.sink(input, Arc::new(sink));
    Stream::new(count_schema(), Arc::new(CountSource::new(count)), after)
}

/// Gives the one row, once the sink has finished.
pub struct CountSource {
    count: RowCount,
    given: Arc<AtomicBool>,
}

impl CountSource {
    /// The row for `count`, read when the row is asked for.
    pub fn new(count: RowCount) -> Self {
        CountSource { count, given: Arc::default() }
    }
}

struct CountWorker {
    count: RowCount,
    given: Arc<AtomicBool>,
}

impl Source for CountSource {
    fn name(&self) -> &str {
        "rows written"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(CountWorker { count: self.count.clone(), given: self.given.clone() }))
    }

    fn parallelism(&self) -> usize {
        1
    }

    fn reset(&self) -> Result<()> {
        self.given.store(false, Ordering::Release);
        Ok(())
    }
}

impl SourceWorker for CountWorker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        if self.given.swap(true, Ordering::AcqRel) {
            return Ok(Pull::Finished);
        }
        let count = i64::try_from(self.count.get())
            .map_err(|_| Error::internal("more rows written than a 64-bit integer counts"))?;
        let column = Column::flat(DataType::Int64, Arc::new(Int64Array::from(vec![count])));
        Ok(Pull::Chunk(Chunk::new(vec![column], 1, Place::default())))
    }
}
