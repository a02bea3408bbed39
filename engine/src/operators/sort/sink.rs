//! The sink of a sort: a run builder per worker.

use std::sync::Arc;

use super::state::SortState;
use crate::batch::Chunk;
use crate::error::{Error, Result};
use crate::memory::runs::{BUILDER_MINIMUM, RunBuilder};
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::scheduler::Token;

/// Takes the rows of a sort.
pub(super) struct SortSink {
    state: Arc<SortState>,
}

impl SortSink {
    pub(super) fn new(state: Arc<SortState>) -> Self {
        SortSink { state }
    }
}

struct SortSinkWorker {
    state: Arc<SortState>,
    /// `None` when its runs have been handed over.
    builder: Option<RunBuilder>,
}

impl Sink for SortSink {
    fn name(&self) -> &str {
        self.state.name
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let (number, memory) = self.state.next_builder(cx.memory(), BUILDER_MINIMUM)?;
        let mut builder = RunBuilder::new(self.state.shape.clone(), number, memory)?;
        if let Some(limit) = self.state.limit {
            builder = builder.with_limit(limit, self.state.bound.clone());
        }
        Ok(Box::new(SortSinkWorker { state: self.state.clone(), builder: Some(builder) }))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        Ok(self.state.prepare(cx.memory(), cx.query.threads))
    }

    fn finish(&self, task: usize, cx: &Context) -> Result<()> {
        self.state.finish(task, cx.memory(), &|| cx.check())
    }

    fn reset(&self) -> Result<()> {
        self.state.clear();
        Ok(())
    }
}

impl SinkWorker for SortSinkWorker {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        if self.state.limit == Some(0) {
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
            self.state.add(builder.finish(&|| cx.check())?);
        }
        Ok(None)
    }
}
