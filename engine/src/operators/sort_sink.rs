//! The sink of what reads its rows in order: a run builder per worker.

use std::sync::Arc;

use crate::batch::Chunk;
use crate::error::{Error, Result};
use crate::memory::runs::{Collector, Sorting};
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::scheduler::Token;

/// Takes the rows that are to be sorted.
pub(crate) struct SortSink {
    sorting: Arc<Sorting>,
}

impl SortSink {
    pub(crate) fn new(sorting: Arc<Sorting>) -> Self {
        SortSink { sorting }
    }
}

struct SortSinkWorker {
    sorting: Arc<Sorting>,
    /// `None` when its runs have been handed over.
    builder: Option<Collector>,
}

impl Sink for SortSink {
    fn name(&self) -> &str {
        self.sorting.name()
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let builder = Some(self.sorting.builder(cx.memory(), &|| cx.check())?);
        Ok(Box::new(SortSinkWorker { sorting: self.sorting.clone(), builder }))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        Ok(self.sorting.prepare(cx.memory(), cx.query.threads))
    }

    fn finish(&self, task: usize, cx: &Context) -> Result<()> {
        self.sorting.finish(task, cx.memory(), &|| cx.check())
    }

    fn reset(&self) -> Result<()> {
        self.sorting.clear();
        Ok(())
    }
}

impl SinkWorker for SortSinkWorker {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        if self.sorting.limit() == Some(0) {
            return Ok(Consumed::Finished);
        }
        let Some(builder) = &mut self.builder else {
            return Err(Error::internal("rows for a sort that has them all"));
        };
        builder.push(&input, &|| cx.check())?;
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, cx: &Context) -> Result<Option<Token>> {
        if let Some(builder) = self.builder.take() {
            builder.finish(&self.sorting, &|| cx.check())?;
        }
        Ok(None)
    }
}
