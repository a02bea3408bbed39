//! A table in memory as a source of chunks in every form a column can have.
//!
//! Morsels and chunks are as small as a test wants. Chunks come flat, or with repeated rows of
//! which a selection takes every other one, or with their rows reordered through indices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use gristmill_engine::batch::{Chunk, Indices, Place, Selection};
use gristmill_engine::pipeline::{Context, Pull, Source, SourceWorker};
use gristmill_engine::plan::{Build, Field, Spec, Stream};
use gristmill_engine::{Error, Result};

use crate::random::Random;

/// The table and how it is cut.
#[derive(Debug, Clone)]
pub struct TableSource {
    /// The rows.
    pub table: RecordBatch,
    /// Rows in a chunk, at least 1.
    pub chunk_rows: usize,
    /// Chunks in a morsel, at least 1.
    pub morsel_chunks: usize,
    /// Decides the form of each chunk.
    pub seed: u64,
}

impl Spec for TableSource {
    fn name(&self) -> &'static str {
        "test_table"
    }

    fn schema(&self, _: &[SchemaRef]) -> Result<SchemaRef> {
        Ok(self.table.schema())
    }

    fn explain(&self) -> Vec<Field> {
        vec![("rows", self.table.num_rows().to_string())]
    }

    fn to_json(&self) -> Result<serde_json::Value> {
        Err(Error::input("a table of a test has no JSON form"))
    }

    fn build(&self, _: Vec<Stream>, _: &mut Build) -> Result<Stream> {
        let source = Shared { spec: self.clone(), cursor: Arc::default() };
        Ok(Stream::new(self.table.schema(), Arc::new(source), Vec::new()))
    }
}

struct Shared {
    spec: TableSource,
    cursor: Arc<AtomicU64>,
}

impl Source for Shared {
    fn name(&self) -> &str {
        "test table"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        let (spec, cursor) = (self.spec.clone(), self.cursor.clone());
        Ok(Box::new(Worker { spec, cursor, morsel: 0, next: usize::MAX }))
    }

    fn parallelism(&self) -> usize {
        8
    }

    fn reset(&self) -> Result<()> {
        self.cursor.store(0, Ordering::Relaxed);
        Ok(())
    }
}

struct Worker {
    spec: TableSource,
    cursor: Arc<AtomicU64>,
    morsel: u64,
    /// Number of the next chunk of the morsel.
    next: usize,
}

impl SourceWorker for Worker {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        if self.next >= self.spec.morsel_chunks {
            self.morsel = self.cursor.fetch_add(1, Ordering::Relaxed);
            self.next = 0;
        }
        let chunk = self.morsel as usize * self.spec.morsel_chunks + self.next;
        let start = chunk.saturating_mul(self.spec.chunk_rows);
        let total = self.spec.table.num_rows();
        if start >= total {
            // The table has ended, and so have all morsels after this one.
            return Ok(Pull::Finished);
        }
        self.next += 1;
        let rows = self.spec.chunk_rows.min(total - start);
        let place = Place { morsel: self.morsel, sequence: 0 };
        let chunk_of = Chunk::from_batch(&self.spec.table.slice(start, rows), place)?;
        let mut random = Random::new(self.spec.seed ^ chunk as u64);
        Ok(Pull::Chunk(in_some_form(&mut random, chunk_of)))
    }
}

/// The same live rows in one of the forms that chunks have.
fn in_some_form(random: &mut Random, chunk: Chunk) -> Chunk {
    let rows = chunk.rows() as u32;
    match random.below(3) {
        0 => chunk,
        1 => {
            let twice: Vec<u32> = (0..rows).flat_map(|r| [r, r]).collect();
            let odd: Vec<u32> = (0..rows).map(|r| 2 * r + 1).collect();
            chunk.reindex(&Arc::new(Indices::new(twice))).select(Selection::new(odd))
        }
        _ => {
            let turned: Vec<u32> = (0..rows).rev().collect();
            let once = chunk.reindex(&Arc::new(Indices::new(turned.clone())));
            once.reindex(&Arc::new(Indices::new(turned)))
        }
    }
}
