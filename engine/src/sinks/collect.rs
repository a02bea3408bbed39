//! Hands a query's result to its caller, batch by batch, in the order of the input and under
//! back-pressure.
//!
//! Phases: workers turn chunks into batches of the declared types (`consume`) and put them into
//! the *window*, keyed by place; what the low mark of the order has passed moves on to the *ready*
//! queue; the caller takes from there. A worker that is ahead of the low mark blocks while the
//! window is full; the worker at the low mark blocks only on the ready queue, that is on the
//! caller. A caller who takes nothing therefore stops the query without holding a thread.
//!
//! Memory: at most [`WINDOW_BATCHES`] + [`READY_BATCHES`] batches and one per worker, charged
//! while they are here.
//! Concurrency: one lock around both queues; two gates, for the caller and for the workers.
//! Invariant 1: batches leave in increasing order of place (when order is kept).
//! Invariant 2: the worker at the low mark never waits for the window.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::batch::{Chunk, Place};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::pipeline::{Consumed, Context, Order, Sink, SinkWorker};
use crate::scheduler::{Gate, Token};

/// Batches that wait for a batch before them.
pub const WINDOW_BATCHES: usize = 64;
/// Batches that wait for the caller.
pub const READY_BATCHES: usize = 16;

/// The sink and the caller's end of a result. Clones are the same result.
#[derive(Clone)]
pub struct Collect {
    shared: Arc<Shared>,
}

struct Shared {
    schema: SchemaRef,
    queues: Mutex<Queues>,
    /// Notified when a batch became ready, for the caller.
    produced: Gate,
    /// Notified when the caller took a batch, for the workers.
    taken: Gate,
}

#[derive(Default)]
struct Queues {
    window: BTreeMap<Place, Charged>,
    ready: VecDeque<Charged>,
}

/// A batch and what it is charged to.
struct Charged {
    batch: RecordBatch,
    _charge: Reservation,
}

impl Collect {
    /// A result of this schema.
    pub fn new(schema: SchemaRef) -> Self {
        let shared =
            Shared { schema, queues: Mutex::default(), produced: Gate::new(), taken: Gate::new() };
        Collect { shared: Arc::new(shared) }
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.shared.schema
    }

    /// The next batch, if one is ready.
    pub fn take(&self) -> Option<RecordBatch> {
        let charged = self.shared.lock().ready.pop_front()?;
        self.shared.taken.notify();
        Some(charged.batch)
    }

    /// A token that goes stale when a batch has become ready. Take it before [`Collect::take`].
    pub fn token(&self) -> Token {
        self.shared.produced.token()
    }

    /// Frees all batches; for a result that nobody reads any more.
    pub fn clear(&self) {
        *self.shared.lock() = Queues::default();
        self.shared.taken.notify();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Queues {
    /// Moves on what stands before `low` in the window.
    fn release(&mut self, low: u64) -> bool {
        let first_kept = Place { morsel: low, sequence: 0 };
        let kept = self.window.split_off(&first_kept);
        let released = std::mem::replace(&mut self.window, kept);
        let any = !released.is_empty();
        self.ready.extend(released.into_values());
        any
    }

    /// Moves on the batches of the morsel at the low mark that its worker left in the window.
    fn release_through(&mut self, place: Place) -> bool {
        let mut any = self.release(place.morsel);
        while let Some(first) = self.window.first_entry() {
            if *first.key() > place {
                break;
            }
            self.ready.push_back(first.remove());
            any = true;
        }
        any
    }
}

impl Sink for Collect {
    fn name(&self) -> &str {
        "result"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let charge = cx.memory().reserve("result", 0)?;
        Ok(Box::new(CollectWorker { shared: self.shared.clone(), charge, waiting: None }))
    }

    fn prepare(&self, _: &Context) -> Result<usize> {
        self.shared.lock().release(u64::MAX);
        self.shared.produced.notify();
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Err(Error::internal("a result has no finish tasks"))
    }

    fn reset(&self) -> Result<()> {
        *self.shared.lock() = Queues::default();
        Ok(())
    }
}

struct CollectWorker {
    shared: Arc<Shared>,
    charge: Reservation,
    /// The batch of a chunk that was handed back because there was no room.
    waiting: Option<(Place, Charged)>,
}

impl CollectWorker {
    fn charged(&mut self, chunk: &Chunk) -> Result<Charged> {
        let batch = chunk.to_batch(&self.shared.schema)?;
        let bytes = batch.get_array_memory_size();
        self.charge.grow(bytes)?;
        Ok(Charged { batch, _charge: self.charge.split(bytes) })
    }

    /// Where the batch goes, or the token to wait for.
    fn offer(&mut self, place: Place, charged: Charged, order: &Order) -> Option<Token> {
        let (turn, room) = (order.token(), self.shared.taken.token());
        let low = order.low();
        let mut queues = self.shared.lock();
        let mut moved = queues.release(low);
        let blocked = if place.morsel <= low {
            moved |= queues.release_through(place);
            if queues.ready.len() < READY_BATCHES {
                queues.ready.push_back(charged);
                moved = true;
                None
            } else {
                Some((room, charged))
            }
        } else if queues.window.len() < WINDOW_BATCHES {
            queues.window.insert(place, charged);
            None
        } else {
            Some((turn, charged))
        };
        drop(queues);
        if moved {
            self.shared.produced.notify();
        }
        blocked.map(|(token, charged)| {
            self.waiting = Some((place, charged));
            token
        })
    }

    /// Any order will do: straight to the caller.
    fn offer_unordered(&mut self, place: Place, charged: Charged) -> Option<Token> {
        let room = self.shared.taken.token();
        let mut queues = self.shared.lock();
        if queues.ready.len() >= READY_BATCHES {
            drop(queues);
            self.waiting = Some((place, charged));
            return Some(room);
        }
        queues.ready.push_back(charged);
        drop(queues);
        self.shared.produced.notify();
        None
    }
}

impl SinkWorker for CollectWorker {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        let place = input.place();
        let charged = match self.waiting.take() {
            Some((held, charged)) if held == place => charged,
            _ => self.charged(&input)?,
        };
        let blocked = if cx.query.keep_order {
            self.offer(place, charged, &cx.order)
        } else {
            self.offer_unordered(place, charged)
        };
        Ok(match blocked {
            Some(token) => Consumed::Blocked(token, input),
            None => Consumed::NeedInput,
        })
    }

    fn combine(&mut self, cx: &Context) -> Result<Option<Token>> {
        let moved = self.shared.lock().release(cx.order.low());
        if moved {
            self.shared.produced.notify();
        }
        Ok(None)
    }
}
