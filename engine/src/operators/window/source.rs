//! The source of a window: merges one range of whole partitions after another and evaluates them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::evaluate::Evaluation;
use super::plan::Plan;
use crate::batch::{Chunk, Place};
use crate::error::Result;
use crate::memory::runs::{Merger, SortReader, Sorting};
use crate::pipeline::{Context, Pull, Source, SourceWorker};

/// Chunks merged between two looks at what else there is to do.
const STEPS: usize = 32;

/// Gives the rows of a window with its results.
pub(super) struct WindowSource {
    plan: Arc<Plan>,
    sorting: Arc<Sorting>,
    next_range: Arc<AtomicUsize>,
}

impl WindowSource {
    pub(super) fn new(plan: Arc<Plan>, sorting: Arc<Sorting>) -> Self {
        WindowSource { plan, sorting, next_range: Arc::default() }
    }
}

struct WindowSourceWorker {
    next_range: Arc<AtomicUsize>,
    ranges: usize,
    /// `None` when there is nothing (more) to do.
    work: Option<Work>,
    /// The range the merger is at.
    range: Option<usize>,
}

struct Work {
    merger: Merger,
    evaluation: Evaluation,
    /// Whether the merger is at the end of the range.
    is_merged: bool,
}

impl Source for WindowSource {
    fn name(&self) -> &str {
        "window"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        let SortReader { merger, ranges, memory } =
            self.sorting.reader(cx.memory(), &|| cx.check())?;
        let evaluation = Evaluation::new(&self.plan, memory)?;
        let work = Some(Work { merger, evaluation, is_merged: false });
        Ok(Box::new(WindowSourceWorker {
            next_range: self.next_range.clone(),
            ranges,
            work,
            range: None,
        }))
    }

    fn parallelism(&self) -> usize {
        self.sorting.parallelism()
    }

    fn reset(&self) -> Result<()> {
        self.next_range.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl SourceWorker for WindowSourceWorker {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        let Some(work) = &mut self.work else { return Ok(Pull::Finished) };
        let check = &|| cx.check();
        if let Some(range) = self.range {
            for _ in 0..STEPS {
                check()?;
                if let Some((columns, rows)) = work.evaluation.next_rows()? {
                    let place = Place { morsel: range as u64, sequence: 0 };
                    return Ok(Pull::Chunk(Chunk::new(columns, rows, place)));
                }
                if work.is_merged {
                    self.range = None;
                    break;
                }
                match work.merger.next_rows()? {
                    Some(merged) => work.evaluation.push(merged, check)?,
                    None => {
                        work.evaluation.end_range();
                        work.is_merged = true;
                    }
                }
            }
            if self.range.is_some() {
                // A large partition: others may go on.
                return Ok(Pull::Morsel(range as u64));
            }
        }
        let range = self.next_range.fetch_add(1, Ordering::Relaxed);
        if range >= self.ranges {
            // Frees the windows before others are done.
            self.work = None;
            return Ok(Pull::Finished);
        }
        work.merger.start(range, check)?;
        work.evaluation.begin_range();
        work.is_merged = false;
        self.range = Some(range);
        Ok(Pull::Morsel(range as u64))
    }
}
