//! The three roles and what their methods may answer.

use super::context::Context;
use crate::batch::Chunk;
use crate::error::Result;
use crate::expr::Written;
use crate::scheduler::Token;

/// What a source worker has for the driver.
#[derive(Debug)]
pub enum Pull {
    /// The next chunk of the worker's morsel; its place says which morsel that is.
    Chunk(Chunk),
    /// The worker has gone on to this morsel (and there is no chunk of it yet). Sources that may
    /// skip many morsels without a chunk say so, that those who keep the order can go on.
    Morsel(u64),
    /// Nothing is at hand; pull again when the token's gate is notified.
    Blocked(Token),
    /// There are no more morsels for this worker.
    Finished,
}

/// What a transform did with its input.
#[derive(Debug)]
pub enum Pushed {
    /// The input is used up; nothing comes out of it (any more).
    NeedInput,
    /// The input is used up; this is all that comes out of it.
    Chunk(Chunk),
    /// This comes out, and `resume` will give more of the same input.
    HaveMore(Chunk),
    /// Not consumed: push it again when the token's gate is notified.
    Blocked(Token, Chunk),
    /// This (if any) comes out, and no worker's further input matters.
    Finished(Option<Chunk>),
}

/// What a transform gives without new input.
#[derive(Debug)]
pub enum Step {
    /// Nothing more; for `resume`: push the next input; for `flush`: done.
    Exhausted,
    /// A chunk, and maybe more.
    Chunk(Chunk),
    /// Call again when the token's gate is notified.
    Blocked(Token),
    /// This (if any) comes out, and no worker's further input matters.
    Finished(Option<Chunk>),
}

/// What a sink did with a chunk.
#[derive(Debug)]
pub enum Consumed {
    /// It took it and wants more.
    NeedInput,
    /// Not consumed: offer it again when the token's gate is notified.
    Blocked(Token, Chunk),
    /// It took what it needed, and no worker's further input matters.
    Finished,
}

/// Makes chunks. One cursor, in the shared state, hands morsels to the workers in file order.
pub trait Source: Send + Sync {
    /// A name for profiles and errors, e.g. `parquet scan`.
    fn name(&self) -> &str;

    /// The state of one more worker on this source.
    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>>;

    /// How many workers can be busy at once; the runner starts no more. At least 1. Asked when all
    /// that the pipeline waits for has finished.
    fn parallelism(&self) -> usize;

    /// How many morsels it hands out, numbered from 0, where it knows; for an estimate of how far a
    /// query is.
    fn morsels(&self) -> Option<u64> {
        None
    }

    /// Makes the source ready to be read again from its start. No worker exists when it is called.
    fn reset(&self) -> Result<()>;
}

/// One worker's part of a [`Source`].
pub trait SourceWorker: Send {
    /// The next chunk: of this worker's morsel, or of the next one from the shared cursor.
    fn pull(&mut self, cx: &Context) -> Result<Pull>;
}

/// Turns chunks into chunks, within one worker.
///
/// One that answers `Finished` wakes the workers it has blocked; so do sinks.
pub trait Transform: Send + Sync {
    /// A name for profiles and errors, e.g. `hash join probe`.
    fn name(&self) -> &str;

    /// The state of one more worker on this transform.
    fn worker(&self, cx: &Context) -> Result<Box<dyn TransformWorker>>;

    /// Makes the shared state ready for another run. No worker exists when it is called.
    fn reset(&self) -> Result<()>;
}

/// One worker's part of a [`Transform`].
pub trait TransformWorker: Send {
    /// Takes a chunk. Called only when nothing is left of the chunk before.
    fn push(&mut self, input: Chunk, cx: &Context) -> Result<Pushed>;

    /// What it writes out of values that a chunk may hold once for many rows: it is given few rows
    /// of such chunks at a time.
    fn written(&self) -> Written {
        Written::Nested
    }

    /// More of the chunk pushed last, after [`Pushed::HaveMore`].
    fn resume(&mut self, cx: &Context) -> Result<Step> {
        let _ = cx;
        Ok(Step::Exhausted)
    }

    /// What is left at the end of this worker's input. Called until exhausted, also when the
    /// transform has said that it is finished. The chunks count as made from the worker's last
    /// morsel: a transform that holds rows of earlier ones back gives their place in the order up.
    fn flush(&mut self, cx: &Context) -> Result<Step> {
        let _ = cx;
        Ok(Step::Exhausted)
    }
}

/// Takes chunks and keeps them in some form, or sends them out of the engine.
pub trait Sink: Send + Sync {
    /// A name for profiles and errors, e.g. `hash aggregate`.
    fn name(&self) -> &str;

    /// The state of one more worker on this sink.
    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>>;

    /// Called once, when every worker of every pipeline that feeds this sink has combined. The
    /// answer is the number of [`Sink::finish`] tasks to run side by side; 0 when all is done.
    fn prepare(&self, cx: &Context) -> Result<usize>;

    /// Finish task number `task`; runs to its end, asking `cx.check()` as it goes.
    fn finish(&self, task: usize, cx: &Context) -> Result<()>;

    /// Makes the shared state ready for another run. No worker exists when it is called.
    fn reset(&self) -> Result<()>;
}

/// One worker's part of a [`Sink`].
pub trait SinkWorker: Send {
    /// Takes a chunk.
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed>;

    /// The chunks of a morsel have all come. Called before the order moves on to the next one, so
    /// that a sink which keeps the order has handed over what it has of this morsel when others
    /// rely on that. A blocked worker is asked again.
    fn end_morsel(&mut self, cx: &Context) -> Result<Option<Token>> {
        let _ = cx;
        Ok(None)
    }

    /// Hands this worker's state over to the shared one, at the end of its input. A blocked worker
    /// is asked again; after `None` it is dropped.
    fn combine(&mut self, cx: &Context) -> Result<Option<Token>>;
}
