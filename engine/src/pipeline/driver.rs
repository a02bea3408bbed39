//! The pushing loop of one worker on one pipeline: a pure state machine over the roles' workers.
//!
//! What is still to be done stands on a stack, so a chunk is pushed as deep as it goes before the
//! next one is made, and every sink gets the chunks of a morsel in order:
//!
//! ```text
//!            ┌──────────── stack empty: pull ◄───────────────┐
//!            ▼                                               │
//!   Deliver(stage, chunk) ─► what comes out: Deliver(next), Resume(stage) ─► …
//!            │
//!            │ source at its end, or nobody wants more
//!            ▼
//!   Flush(first stage) … Flush(last) ─► EndMorsel(sink) … ─► CloseLane ─► Combine(sink) … ─► done
//! ```
//!
//! A step is one call of a role. Blocked steps stay on the stack and are tried again at the next
//! turn. The cancel flag is read once per step; errors leave the driver useless, to be dropped.
//!
//! Places: every chunk that a stage gets bears the morsel that the worker is at, and the number of
//! chunks of that morsel that the stage got before. The worker's lane moves to a new morsel after a
//! pull has named it, when the chunks of all earlier ones have been delivered and the sinks have
//! ended theirs: a worker that waits for its turn holds nothing that others wait for.
//!
//! Memory: the chunks on the stack, at most one or two per stage. Values of a chunk may be held
//! once for many rows, and take much more where a stage writes them out: a stage gets only as many
//! of its rows at a time as take little then, or a single one.

use std::sync::Arc;

use super::context::Context;
use super::flow::{Flow, StageId, StageWorker};
use super::order::Lane;
use super::roles::{Consumed, Pull, Pushed, Source, SourceWorker, Step};
use crate::batch::{Chunk, MAX_CHUNK_ROWS, Place};
use crate::error::{Error, Result};
use crate::expr::{Written, rows_within};
use crate::scheduler::Token;

/// How a turn of a driver ended.
#[derive(Debug)]
pub(super) enum Turn {
    /// After the number of steps asked for.
    Yield,
    /// At a stage that waits.
    Blocked(Token),
    /// All input delivered, flushed and combined.
    Done,
}

/// One thing that is still to be done.
enum Work {
    Deliver(StageId, Chunk),
    Resume(StageId),
    Flush(StageId),
    EndMorsel(StageId),
    /// The worker is at this morsel from here on.
    Begin(u64),
    CloseLane,
    Combine(StageId),
}

/// What the driver is at, for messages.
#[derive(Clone, Copy)]
enum At {
    Source,
    Stage(StageId),
}

/// One worker on one pipeline.
pub(super) struct Driver {
    cx: Context,
    flow: Arc<Flow>,
    source_name: String,
    /// `None` when the input is at its end.
    source: Option<Box<dyn SourceWorker>>,
    stages: Vec<StageWorker>,
    stack: Vec<Work>,
    first_morsel: u64,
    morsel: u64,
    /// Chunks of the present morsel that each stage has taken.
    sequences: Vec<u32>,
    lane: Option<Lane>,
    at: At,
}

impl Driver {
    /// One more worker on `source` and on the stages of `flow`. The lane stands at `first_morsel`,
    /// which is added to the numbers of the source's morsels; it is taken unless there is an error.
    ///
    /// # Errors
    /// What the roles say when they are asked for workers.
    pub(super) fn new(
        source: &dyn Source,
        first_morsel: u64,
        flow: Arc<Flow>,
        lane: &mut Option<Lane>,
        cx: Context,
    ) -> Result<Self> {
        let source_name = source.name().to_string();
        let stages = flow.workers(&cx)?;
        let source = Some(source.worker(&cx)?);
        Ok(Driver {
            source_name,
            source,
            stack: Vec::new(),
            first_morsel,
            morsel: first_morsel,
            sequences: vec![0; stages.len()],
            stages,
            flow,
            lane: lane.take(),
            at: At::Source,
            cx,
        })
    }

    /// Goes on for at most `steps` steps.
    ///
    /// # Errors
    /// `Cancelled`, and what the roles say.
    pub(super) fn turn(&mut self, steps: usize) -> Result<Turn> {
        for _ in 0..steps {
            self.cx.check()?;
            let blocked = match self.stack.pop() {
                Some(work) => self.step(work)?,
                None if self.source.is_some() => self.pull()?,
                None => return Ok(Turn::Done),
            };
            if let Some(token) = blocked {
                return Ok(Turn::Blocked(token));
            }
        }
        Ok(Turn::Yield)
    }

    /// The role that was called last, for messages.
    pub(super) fn at(&self) -> &str {
        match self.at {
            At::Source => &self.source_name,
            At::Stage(id) => self.flow.name(id),
        }
    }

    fn pull(&mut self) -> Result<Option<Token>> {
        self.at = At::Source;
        let Some(source) = self.source.as_mut().filter(|_| !self.flow.is_finished(0)) else {
            self.end_input();
            return Ok(None);
        };
        match source.pull(&self.cx)? {
            Pull::Chunk(chunk) => {
                let morsel = chunk.place().morsel;
                self.stack.push(Work::Deliver(0, chunk));
                self.go_to(morsel)?;
            }
            Pull::Morsel(morsel) => self.go_to(morsel)?,
            Pull::Blocked(token) => return Ok(Some(token)),
            Pull::Finished => self.end_input(),
        }
        Ok(None)
    }

    /// Notes that the source has gone on to its morsel number `morsel`.
    fn go_to(&mut self, morsel: u64) -> Result<()> {
        let morsel = self.first_morsel.saturating_add(morsel);
        if morsel < self.morsel {
            let name = &self.source_name;
            return Err(Error::internal(format!("{name} went back to an earlier morsel")));
        }
        if morsel > self.morsel {
            self.stack.push(Work::Begin(morsel));
            self.end_morsel();
        }
        Ok(())
    }

    fn end_morsel(&mut self) {
        self.stack.extend(self.flow.sinks().rev().map(Work::EndMorsel));
    }

    fn end_input(&mut self) {
        self.source = None;
        self.stack.extend(self.flow.sinks().rev().map(Work::Combine));
        self.stack.push(Work::CloseLane);
        self.end_morsel();
        self.stack.push(Work::Flush(0));
    }

    fn step(&mut self, work: Work) -> Result<Option<Token>> {
        match work {
            Work::Deliver(id, chunk) => self.deliver(id, chunk),
            Work::Resume(id) => {
                let StageWorker::Transform(worker, next) = &mut self.stages[id] else {
                    return Ok(None);
                };
                let next = *next;
                if self.flow.is_finished(next) {
                    return Ok(None);
                }
                self.at = At::Stage(id);
                let step = worker.resume(&self.cx)?;
                Ok(self.follow(id, next, step, Work::Resume(id), None))
            }
            Work::Flush(id) => self.flush(id),
            Work::EndMorsel(id) => {
                let StageWorker::Sink(Some(worker)) = &mut self.stages[id] else {
                    return Ok(None);
                };
                self.at = At::Stage(id);
                let blocked = worker.end_morsel(&self.cx)?;
                self.stack.extend(blocked.as_ref().map(|_| Work::EndMorsel(id)));
                Ok(blocked)
            }
            Work::Begin(morsel) => {
                self.morsel = morsel;
                self.sequences.fill(0);
                if let Some(lane) = &mut self.lane {
                    lane.advance(morsel);
                }
                Ok(None)
            }
            Work::CloseLane => {
                if let Some(lane) = self.lane.take() {
                    lane.close();
                }
                Ok(None)
            }
            Work::Combine(id) => self.combine(id),
        }
    }

    fn deliver(&mut self, id: StageId, chunk: Chunk) -> Result<Option<Token>> {
        if chunk.is_empty() || self.flow.is_finished(id) {
            return Ok(None);
        }
        if chunk.rows() > MAX_CHUNK_ROWS {
            let (rows, name) = (chunk.rows(), self.at());
            return Err(Error::internal(format!("a chunk of {rows} rows behind {name}")));
        }
        let chunk = self.cut(id, chunk);
        let place = Place { morsel: self.morsel, sequence: self.sequences[id] };
        let chunk = chunk.with_place(place);
        let refused = match &mut self.stages[id] {
            StageWorker::Transform(worker, next) => {
                self.at = At::Stage(id);
                let next = *next;
                match worker.push(chunk, &self.cx)? {
                    Pushed::NeedInput => None,
                    Pushed::Chunk(out) => {
                        self.stack.push(Work::Deliver(next, out));
                        None
                    }
                    Pushed::HaveMore(out) => {
                        self.stack.push(Work::Resume(id));
                        self.stack.push(Work::Deliver(next, out));
                        None
                    }
                    Pushed::Blocked(token, chunk) => Some((token, chunk)),
                    Pushed::Finished(out) => {
                        self.finish(id, next, out);
                        None
                    }
                }
            }
            StageWorker::Fork(branches) => {
                let copy = |&branch: &StageId| Work::Deliver(branch, chunk.clone());
                self.stack.extend(branches.iter().rev().map(copy));
                None
            }
            StageWorker::Sink(Some(worker)) => {
                self.at = At::Stage(id);
                match worker.consume(chunk, &self.cx)? {
                    Consumed::NeedInput => None,
                    Consumed::Blocked(token, chunk) => Some((token, chunk)),
                    Consumed::Finished => {
                        self.flow.finish(id);
                        None
                    }
                }
            }
            StageWorker::Sink(None) => {
                return Err(Error::internal("a chunk for a sink that has combined"));
            }
        };
        if let Some((token, chunk)) = refused {
            self.stack.push(Work::Deliver(id, chunk));
            return Ok(Some(token));
        }
        let taken = place.sequence.checked_add(1);
        self.sequences[id] =
            taken.ok_or_else(|| Error::internal("more chunks in a morsel than can be numbered"))?;
        Ok(None)
    }

    /// As many rows of a chunk as a stage should be given at once; the others are delivered next.
    fn cut(&mut self, id: StageId, chunk: Chunk) -> Chunk {
        let written = match &self.stages[id] {
            StageWorker::Transform(worker, _) => worker.written(),
            StageWorker::Sink(_) => Written::All,
            StageWorker::Fork(_) => Written::Nothing,
        };
        let (live, rows) = (chunk.live_rows(), rows_within(&chunk, written));
        if rows == live {
            return chunk;
        }
        self.stack.push(Work::Deliver(id, chunk.slice(rows, live - rows)));
        chunk.slice(0, rows)
    }

    /// Notes that a transform is finished, and delivers what still comes out of it.
    fn finish(&mut self, id: StageId, next: StageId, out: Option<Chunk>) {
        self.flow.finish(id);
        self.stack.extend(out.map(|out| Work::Deliver(next, out)));
    }

    /// What follows from a transform's step: `again` while there may be more, `after` it.
    fn follow(
        &mut self,
        id: StageId,
        next: StageId,
        step: Step,
        again: Work,
        after: Option<Work>,
    ) -> Option<Token> {
        match step {
            Step::Exhausted => self.stack.extend(after),
            Step::Chunk(out) => {
                self.stack.push(again);
                self.stack.push(Work::Deliver(next, out));
            }
            Step::Blocked(token) => {
                self.stack.push(again);
                return Some(token);
            }
            Step::Finished(out) => {
                self.stack.extend(after);
                self.finish(id, next, out);
            }
        }
        None
    }

    fn flush(&mut self, id: StageId) -> Result<Option<Token>> {
        match &mut self.stages[id] {
            StageWorker::Transform(worker, next) => {
                let next = *next;
                // A finished stage may hold rows of its earlier input, unless nobody wants them.
                if self.flow.is_finished(next) {
                    self.stack.push(Work::Flush(next));
                    return Ok(None);
                }
                self.at = At::Stage(id);
                let step = worker.flush(&self.cx)?;
                Ok(self.follow(id, next, step, Work::Flush(id), Some(Work::Flush(next))))
            }
            StageWorker::Fork(branches) => {
                self.stack.extend(branches.iter().rev().map(|&branch| Work::Flush(branch)));
                Ok(None)
            }
            StageWorker::Sink(_) => Ok(None),
        }
    }

    fn combine(&mut self, id: StageId) -> Result<Option<Token>> {
        let StageWorker::Sink(slot) = &mut self.stages[id] else { return Ok(None) };
        let Some(worker) = slot else { return Ok(None) };
        self.at = At::Stage(id);
        let blocked = worker.combine(&self.cx)?;
        if blocked.is_some() {
            self.stack.push(Work::Combine(id));
        } else {
            *slot = None;
        }
        Ok(blocked)
    }
}
