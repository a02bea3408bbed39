//! The source: hands out runs of kept chunks as morsels.
//!
//! Memory: a window for chunks that are on tape, per worker.
//! Concurrency: one atomic cursor.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::TableScan;
use crate::batch::Place;
use crate::error::Result;
use crate::expr::{Conjunction, Expr};
use crate::memory::chunks::{ChunkReader, ChunkStore};
use crate::pipeline::{Context, Pull, Source, SourceWorker};

/// Chunks in a morsel, at most.
const MORSEL_CHUNKS: usize = 16;

pub(super) struct Scan {
    shared: Arc<Shared>,
}

struct Shared {
    parts: Vec<Arc<ChunkStore>>,
    morsels: Vec<Morsel>,
    /// Columns that are read: those to give, then those that only the filter looks at.
    columns: Vec<usize>,
    /// How many of them are given.
    given: usize,
    /// The filter, over positions in `columns`.
    predicates: Vec<Expr>,
    cursor: AtomicUsize,
}

/// Some chunks of one part.
struct Morsel {
    part: usize,
    chunks: Range<usize>,
}

impl Scan {
    pub(super) fn new(spec: &TableScan) -> Scan {
        let mut columns = spec.projection.clone();
        for column in spec.predicates.iter().flat_map(Expr::columns) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        let slot = |column: usize| columns.iter().position(|&c| c == column).unwrap_or(0);
        let predicates = spec.predicates.iter().map(|p| p.clone().map_columns(&slot)).collect();
        let parts = spec.table.parts.clone();
        let morsels = parts.iter().enumerate().flat_map(|(part, store)| {
            let chunks = store.chunks();
            let starts = (0..chunks).step_by(MORSEL_CHUNKS);
            starts.map(move |from| Morsel { part, chunks: from..chunks.min(from + MORSEL_CHUNKS) })
        });
        let morsels = morsels.collect();
        let given = spec.projection.len();
        let cursor = AtomicUsize::new(0);
        Scan { shared: Arc::new(Shared { parts, morsels, columns, given, predicates, cursor }) }
    }
}

impl Source for Scan {
    fn name(&self) -> &str {
        "table scan"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(ScanWorker {
            filter: Conjunction::new(self.shared.predicates.clone(), cx.memory()),
            shared: self.shared.clone(),
            reader: None,
            morsel: 0,
            chunks: 0..0,
        }))
    }

    fn parallelism(&self) -> usize {
        self.shared.morsels.len().max(1)
    }

    fn morsels(&self) -> Option<u64> {
        Some(self.shared.morsels.len() as u64)
    }

    fn reset(&self) -> Result<()> {
        self.shared.cursor.store(0, Ordering::Relaxed);
        Ok(())
    }
}

struct ScanWorker {
    shared: Arc<Shared>,
    filter: Conjunction,
    /// Of the part that the morsel is in.
    reader: Option<(usize, ChunkReader)>,
    morsel: usize,
    /// Chunks of the morsel that are left.
    chunks: Range<usize>,
}

impl SourceWorker for ScanWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        loop {
            cx.check()?;
            let Some(number) = self.chunks.next() else {
                self.morsel = self.shared.cursor.fetch_add(1, Ordering::Relaxed);
                let Some(morsel) = self.shared.morsels.get(self.morsel) else {
                    self.reader = None;
                    return Ok(Pull::Finished);
                };
                self.chunks = morsel.chunks.clone();
                return Ok(Pull::Morsel(self.morsel as u64));
            };
            let part = self.shared.morsels[self.morsel].part;
            if self.reader.as_ref().is_none_or(|(open, _)| *open != part) {
                let store = self.shared.parts[part].clone();
                let reader = ChunkReader::new(store, self.shared.columns.clone());
                self.reader = Some((part, reader));
            }
            let Some((_, reader)) = &mut self.reader else { continue };
            let place = Place { morsel: self.morsel as u64, sequence: 0 };
            let mut chunk = reader.read(number, place)?;
            if let Some(live) = self.filter.select(&chunk)? {
                chunk = chunk.select(live);
            }
            if !chunk.is_empty() {
                let columns = chunk.columns()[..self.shared.given].to_vec();
                return Ok(Pull::Chunk(chunk.with_columns(columns)));
            }
        }
    }
}
