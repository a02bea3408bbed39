//! The source of a sort: a merger per worker, one range of keys a morsel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::batch::{Chunk, Column, Place};
use crate::error::Result;
use crate::memory::runs::{Merged, SortReader, Sorting};
use crate::pipeline::{Context, Pull, Source, SourceWorker};

/// Gives the rows of a sort in order.
pub(super) struct SortSource {
    sorting: Arc<Sorting>,
    next_range: Arc<AtomicUsize>,
}

impl SortSource {
    pub(super) fn new(sorting: Arc<Sorting>) -> Self {
        SortSource { sorting, next_range: Arc::default() }
    }
}

struct SortSourceWorker {
    sorting: Arc<Sorting>,
    next_range: Arc<AtomicUsize>,
    /// `None` when there is nothing (more) to do.
    reader: Option<SortReader>,
    /// The range the merger is at.
    range: Option<usize>,
    /// Rows still wanted.
    wanted: u64,
}

impl Source for SortSource {
    fn name(&self) -> &str {
        self.sorting.name()
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(SortSourceWorker {
            sorting: self.sorting.clone(),
            next_range: self.next_range.clone(),
            reader: Some(self.sorting.reader(cx.memory(), &|| cx.check())?),
            range: None,
            wanted: self.sorting.limit().unwrap_or(u64::MAX),
        }))
    }

    fn parallelism(&self) -> usize {
        // The first rows are counted over all ranges, by one worker.
        if self.sorting.limit().is_some() { 1 } else { self.sorting.parallelism() }
    }

    fn reset(&self) -> Result<()> {
        self.next_range.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl SourceWorker for SortSourceWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        cx.check()?;
        let Some(reader) = &mut self.reader else { return Ok(Pull::Finished) };
        if let Some(range) = self.range {
            if let Some(merged) = reader.merger.next_rows()? {
                return Ok(Pull::Chunk(self.chunk(merged, range)));
            }
            self.range = None;
        }
        let range = self.next_range.fetch_add(1, Ordering::Relaxed);
        if range >= reader.ranges || self.wanted == 0 {
            // Frees the windows before others are done.
            self.reader = None;
            return Ok(Pull::Finished);
        }
        reader.merger.start(range, &|| cx.check())?;
        self.range = Some(range);
        Ok(Pull::Morsel(range as u64))
    }
}

impl SortSourceWorker {
    fn chunk(&mut self, merged: Merged, range: usize) -> Chunk {
        let columns = merged.columns.into_iter().zip(self.sorting.types());
        let columns = columns.map(|(array, logical)| Column::flat(logical.clone(), array));
        let place = Place { morsel: range as u64, sequence: 0 };
        let chunk = Chunk::new(columns.collect(), merged.rows, place);
        let taken = usize::try_from(self.wanted).unwrap_or(usize::MAX).min(merged.rows);
        self.wanted -= taken as u64;
        if self.wanted == 0 {
            self.range = None;
        }
        if taken < merged.rows { chunk.slice(0, taken) } else { chunk }
    }
}
