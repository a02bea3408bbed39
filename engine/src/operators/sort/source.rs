//! The source of a sort: a merger per worker, one range of keys a morsel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::state::SortState;
use crate::batch::{Chunk, Column, Place};
use crate::error::{Error, Result};
use crate::memory::runs::{Merged, Merger};
use crate::pipeline::{Context, Pull, Source, SourceWorker};

/// Hands ranges of a sort's rows to mergers.
pub(super) struct Mergers {
    pub(super) state: Arc<SortState>,
    next_range: AtomicUsize,
    /// Mergers made so far. Held while one is made: two that share what is left might both fail.
    made: Mutex<usize>,
}

impl Mergers {
    pub(super) fn new(state: Arc<SortState>) -> Arc<Self> {
        Arc::new(Mergers { state, next_range: AtomicUsize::new(0), made: Mutex::new(0) })
    }

    /// A merger, and the number of ranges; no merger when there is no memory for more than those
    /// that are at work.
    ///
    /// # Errors
    /// `OutOfMemory` when there is no memory for one, `Io` from reading runs.
    pub(super) fn merger(&self, cx: &Context) -> Result<(Option<Merger>, usize)> {
        let mut made = self.made.lock().unwrap_or_else(|e| e.into_inner());
        let opened = self.state.open(cx.memory(), &|| cx.check())?;
        let ranges = opened.set.ranges();
        let merger = match Merger::new(opened.set, opened.window_bytes, opened.charge) {
            Ok(merger) => Some(merger),
            // One merger does all the work if there is no memory for more.
            Err(Error::OutOfMemory { .. }) if *made > 0 => None,
            Err(error) => return Err(error),
        };
        *made += usize::from(merger.is_some());
        Ok((merger, ranges))
    }

    /// The next range that nobody has begun; it may be beyond the last.
    pub(super) fn next_range(&self) -> usize {
        self.next_range.fetch_add(1, Ordering::Relaxed)
    }

    /// Begins again.
    pub(super) fn reset(&self) {
        self.next_range.store(0, Ordering::Relaxed);
        *self.made.lock().unwrap_or_else(|e| e.into_inner()) = 0;
    }
}

/// Gives the rows of a sort in order.
pub(super) struct SortSource {
    mergers: Arc<Mergers>,
}

impl SortSource {
    pub(super) fn new(mergers: Arc<Mergers>) -> Self {
        SortSource { mergers }
    }
}

struct SortSourceWorker {
    mergers: Arc<Mergers>,
    ranges: usize,
    /// `None` when there is nothing (more) to do.
    merger: Option<Merger>,
    /// The range the merger is at.
    range: Option<usize>,
    /// Rows still wanted.
    wanted: u64,
}

impl Source for SortSource {
    fn name(&self) -> &str {
        self.mergers.state.name
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        let (merger, ranges) = self.mergers.merger(cx)?;
        Ok(Box::new(SortSourceWorker {
            mergers: self.mergers.clone(),
            ranges,
            merger,
            range: None,
            wanted: self.mergers.state.limit.unwrap_or(u64::MAX),
        }))
    }

    fn parallelism(&self) -> usize {
        let state = &self.mergers.state;
        // The first rows are counted over all ranges, by one worker.
        if state.limit.is_some() { 1 } else { state.parallelism() }
    }

    fn reset(&self) -> Result<()> {
        self.mergers.reset();
        Ok(())
    }
}

impl SourceWorker for SortSourceWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        cx.check()?;
        let Some(merger) = &mut self.merger else { return Ok(Pull::Finished) };
        if let Some(range) = self.range {
            if let Some(merged) = merger.next_rows()? {
                return Ok(Pull::Chunk(self.chunk(merged, range)));
            }
            self.range = None;
        }
        let range = self.mergers.next_range();
        if range >= self.ranges || self.wanted == 0 {
            // Frees the windows before others are done.
            self.merger = None;
            return Ok(Pull::Finished);
        }
        merger.start(range, &|| cx.check())?;
        self.range = Some(range);
        Ok(Pull::Morsel(range as u64))
    }
}

impl SortSourceWorker {
    fn chunk(&mut self, merged: Merged, range: usize) -> Chunk {
        let columns = merged.columns.into_iter().zip(&self.mergers.state.types);
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
