//! Roles of a query that is analyzed: each call is timed, and made at the meter of its operator.
//!
//! They stand around the roles themselves, so that a query which is not analyzed pays nothing.

use std::sync::Arc;
use std::time::Instant;

use super::context::Context;
use super::roles::{
    Consumed, Pull, Pushed, Sink, SinkWorker, Source, SourceWorker, Step, Transform,
    TransformWorker,
};
use crate::batch::Chunk;
use crate::error::Result;
use crate::expr::Written;
use crate::observe::{self, Count, Meter};
use crate::scheduler::Token;

/// A role and the meter of the operator that it is of.
pub struct Metered<R: ?Sized> {
    role: Arc<R>,
    meter: Arc<Meter>,
}

impl<R: ?Sized> Metered<R> {
    /// The role, measured.
    pub fn new(role: Arc<R>, meter: Arc<Meter>) -> Self {
        Metered { role, meter }
    }
}

/// One worker's part of a role.
struct MeteredWorker<W: ?Sized> {
    worker: Box<W>,
    meter: Arc<Meter>,
}

/// The answer of a call that is made at `meter`.
fn timed<T>(meter: &Arc<Meter>, call: impl FnOnce() -> T) -> T {
    let _at = observe::at(Some(meter.clone()));
    let start = Instant::now();
    let answer = call();
    let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    meter.add(Count::BusyNanos, nanos);
    answer
}

impl Source for Metered<dyn Source> {
    fn name(&self) -> &str {
        self.role.name()
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        let worker = timed(&self.meter, || self.role.worker(cx))?;
        Ok(Box::new(MeteredWorker { worker, meter: self.meter.clone() }))
    }

    fn parallelism(&self) -> usize {
        self.role.parallelism()
    }

    fn morsels(&self) -> Option<u64> {
        self.role.morsels()
    }

    fn reset(&self) -> Result<()> {
        self.role.reset()
    }
}

impl SourceWorker for MeteredWorker<dyn SourceWorker> {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        timed(&self.meter, || self.worker.pull(cx))
    }
}

impl Transform for Metered<dyn Transform> {
    fn name(&self) -> &str {
        self.role.name()
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn TransformWorker>> {
        let worker = timed(&self.meter, || self.role.worker(cx))?;
        Ok(Box::new(MeteredWorker { worker, meter: self.meter.clone() }))
    }

    fn reset(&self) -> Result<()> {
        self.role.reset()
    }
}

impl TransformWorker for MeteredWorker<dyn TransformWorker> {
    fn written(&self) -> Written {
        self.worker.written()
    }

    fn push(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        timed(&self.meter, || self.worker.push(input, cx))
    }

    fn resume(&mut self, cx: &Context) -> Result<Step> {
        timed(&self.meter, || self.worker.resume(cx))
    }

    fn flush(&mut self, cx: &Context) -> Result<Step> {
        timed(&self.meter, || self.worker.flush(cx))
    }
}

impl Sink for Metered<dyn Sink> {
    fn name(&self) -> &str {
        self.role.name()
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let worker = timed(&self.meter, || self.role.worker(cx))?;
        Ok(Box::new(MeteredWorker { worker, meter: self.meter.clone() }))
    }

    fn prepare(&self, cx: &Context) -> Result<usize> {
        timed(&self.meter, || self.role.prepare(cx))
    }

    fn finish(&self, task: usize, cx: &Context) -> Result<()> {
        timed(&self.meter, || self.role.finish(task, cx))
    }

    fn reset(&self) -> Result<()> {
        self.role.reset()
    }
}

impl SinkWorker for MeteredWorker<dyn SinkWorker> {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        timed(&self.meter, || self.worker.consume(input, cx))
    }

    fn end_morsel(&mut self, cx: &Context) -> Result<Option<Token>> {
        timed(&self.meter, || self.worker.end_morsel(cx))
    }

    fn combine(&mut self, cx: &Context) -> Result<Option<Token>> {
        timed(&self.meter, || self.worker.combine(cx))
    }
}
