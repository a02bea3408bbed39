//! Hands a query's result to its caller, batch by batch, in the order of the input and under
//! back-pressure.
//!
//! Phases: workers turn chunks into batches of the declared types (`consume`) and put them into
//! the *window*, keyed by place; what the low mark of the order has reached moves on to the *ready*
//! queue; the caller takes from there. A worker that is ahead of the low mark blocks while the
//! window is full, all workers block while the ready queue is full. A caller who takes nothing
//! therefore stops the query without holding a thread.
//!
//! Memory: both queues are bounded in batches and in bytes, each plus a batch per worker; batches
//! are charged while they are here, and the one that the caller took last until it asks for the
//! next. A charge that a column brings is kept instead of asking for it. When the budget refuses a
//! batch, its worker waits as if the queues were full, if anything in them or with the caller is
//! sure to leave; otherwise the query fails.
//! Concurrency: one lock around both queues; conversion to batches happens outside it. The caller
//! waits for new batches and for the low mark, since either can make a batch ready.
//!
//! Invariant 1: batches leave in increasing order of place (when order is kept).
//! Invariant 2: the worker at the low mark never waits for the window. All that are ahead of it
//! wait for it or for the caller, so there is no circle.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, RecordBatch};
use arrow::array::{RecordBatchOptions, types::ByteViewType};
use arrow::datatypes::{DataType, SchemaRef};

use crate::batch::{CHUNK_ROWS, Charge, Chunk, MORSEL_ROWS, Place};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::pipeline::{Consumed, Context, Order, Query, Sink, SinkWorker};
use crate::scheduler::{Gate, Token};

/// Batches that wait for the caller.
const READY_BATCHES: usize = 16;
/// Bytes that wait for the caller; less with a small budget.
const READY_BYTES: usize = 16 << 20;
/// Batches that wait for batches before them, per worker that may be ahead: a morsel's.
const WINDOW_BATCHES: usize = MORSEL_ROWS / CHUNK_ROWS;
/// Bytes that wait for batches before them, per worker; less with a small budget.
const WINDOW_BYTES: usize = 16 << 20;
/// The share of the budget that each queue may take.
const BUDGET_SHARE: usize = 16;

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
    window: Bounded<BTreeMap<Place, Charged>>,
    ready: Bounded<VecDeque<Charged>>,
    /// Of the batch that the caller took last, until it asks for the next one.
    given: Option<Charges>,
    /// The order of the pipelines that feed the result; `None` before they start, and when any
    /// order will do.
    order: Option<Order>,
    /// Nobody will take any more.
    closed: bool,
}

/// A queue and the bytes in it.
#[derive(Default)]
struct Bounded<Q> {
    queue: Q,
    bytes: usize,
}

/// A batch and what it is charged to.
struct Charged {
    batch: RecordBatch,
    /// What its rows take.
    bytes: usize,
    charges: Charges,
}

/// What a batch is charged to.
struct Charges {
    /// For what came without a charge.
    _own: Reservation,
    /// What came with the columns.
    _brought: Vec<Charge>,
}

impl Collect {
    /// A result of this schema.
    pub fn new(schema: SchemaRef) -> Self {
        let (produced, taken) = (Gate::new(), Gate::new());
        Collect { shared: Arc::new(Shared { schema, queues: Mutex::default(), produced, taken }) }
    }

    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.shared.schema
    }

    /// The next batch, if one is ready. The one before is the caller's own from now on, who is
    /// taken to be done with it.
    pub fn take(&self) -> Option<RecordBatch> {
        let (given, next) = {
            let mut queues = self.shared.lock();
            let low = queues.low();
            queues.release(low);
            let given = queues.given.take();
            let next = queues.ready.queue.pop_front().map(|next| {
                queues.ready.bytes -= next.bytes;
                queues.given = Some(next.charges);
                next.batch
            });
            (given, next)
        };
        if given.is_some() || next.is_some() {
            drop(given);
            self.shared.taken.notify();
        }
        next
    }

    /// Tokens of which one goes stale when a batch may have become ready. Take them before
    /// [`Collect::take`].
    pub fn tokens(&self) -> Vec<Token> {
        let produced = self.shared.produced.token();
        let order = self.shared.lock().order.clone();
        std::iter::once(produced).chain(order.map(|order| order.token())).collect()
    }

    /// Frees all batches and takes no more: nobody reads the result any longer.
    pub fn close(&self) {
        let old = std::mem::replace(
            &mut *self.shared.lock(),
            Queues { closed: true, ..Queues::default() },
        );
        drop(old);
        self.shared.taken.notify();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Queues {
    /// The low mark; every morsel has its turn where any order will do.
    fn low(&self) -> u64 {
        self.order.as_ref().map_or(u64::MAX, Order::low)
    }

    /// Moves on what the low mark has reached; answers whether that was anything.
    ///
    /// The batches of the morsel *at* the low mark can go too: one worker makes them all, in order.
    /// It must not put one into the ready queue itself before those that it left in the window, so
    /// one reading of the low mark decides on both.
    fn release(&mut self, low: u64) -> bool {
        let mut any = false;
        while let Some(first) = self.window.queue.first_entry() {
            if first.key().morsel > low {
                break;
            }
            let charged = first.remove();
            self.window.bytes -= charged.bytes;
            self.push_ready(charged);
            any = true;
        }
        any
    }

    fn push_ready(&mut self, charged: Charged) {
        self.ready.bytes += charged.bytes;
        self.ready.queue.push_back(charged);
    }

    /// What a worker waits for before it makes another batch.
    fn what_blocks(&self, is_ahead: bool, query: &Query) -> Option<Waiting> {
        let share = query.memory.limit() / BUDGET_SHARE;
        let ready_bytes = READY_BYTES.min(share);
        if self.ready.queue.len() >= READY_BATCHES || self.ready.bytes > ready_bytes {
            return Some(Waiting::ForCaller);
        }
        let window_bytes = WINDOW_BYTES.saturating_mul(query.threads).min(share);
        let is_full = self.window.queue.len() >= WINDOW_BATCHES.saturating_mul(query.threads)
            || self.window.bytes > window_bytes;
        (is_full && is_ahead).then_some(Waiting::ForTurn)
    }
}

/// What a worker waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    ForCaller,
    ForTurn,
}

impl Sink for Collect {
    fn name(&self) -> &str {
        "result"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        let charge = cx.memory().reserve("result", 0)?;
        if cx.query.keep_order {
            self.shared.lock().order = Some(cx.order.clone());
            // The caller may be waiting without the order's token.
            self.shared.produced.notify();
        }
        Ok(Box::new(CollectWorker { shared: self.shared.clone(), charge }))
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
}

impl CollectWorker {
    /// Charges a batch, of which some came with the columns of `input`; what to wait for when the
    /// budget refuses it and something will make room.
    fn charge(&mut self, input: &Chunk, batch: RecordBatch) -> Result<Result<Charged, Waiting>> {
        let morsel = input.place().morsel;
        let (mut all, mut bytes, mut brought) = (0, 0, Vec::new());
        for (column, array) in input.columns().iter().zip(batch.columns()) {
            let (held, charge) = (held_bytes(array), column.charge_of(array));
            all += held;
            bytes += held.saturating_sub(charge.map_or(0, Charge::bytes));
            brought.extend(charge.cloned());
        }
        if !self.charge.try_grow(bytes) {
            let queues = self.shared.lock();
            let is_ahead = queues.low() < morsel;
            let caller_has = !queues.ready.queue.is_empty() || queues.given.is_some();
            drop(queues);
            if caller_has {
                return Ok(Err(Waiting::ForCaller));
            }
            if is_ahead {
                return Ok(Err(Waiting::ForTurn));
            }
            self.charge.grow(bytes)?;
        }
        let charges = Charges { _own: self.charge.split(bytes), _brought: brought };
        Ok(Ok(Charged { batch, bytes: all, charges }))
    }

    fn insert(&self, place: Place, charged: Charged) -> Result<()> {
        let mut queues = self.shared.lock();
        let low = queues.low();
        let mut moved = queues.release(low);
        if low < place.morsel {
            queues.window.bytes += charged.bytes;
            if queues.window.queue.insert(place, charged).is_some() {
                return Err(Error::internal("two chunks of a result at the same place"));
            }
        } else {
            queues.push_ready(charged);
            moved = true;
        }
        drop(queues);
        if moved {
            self.shared.produced.notify();
        }
        Ok(())
    }
}

impl SinkWorker for CollectWorker {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        let (turn, room) = (cx.order.token(), self.shared.taken.token());
        let blocked = |waiting, input| match waiting {
            Waiting::ForCaller => Ok(Consumed::Blocked(room.clone(), input)),
            Waiting::ForTurn => Ok(Consumed::Blocked(turn.clone(), input)),
        };
        let place = input.place();
        let mut queues = self.shared.lock();
        if queues.closed {
            return Ok(Consumed::Finished);
        }
        let low = queues.low();
        let released = queues.release(low);
        let waiting = queues.what_blocks(low < place.morsel, &cx.query);
        drop(queues);
        if released {
            self.shared.produced.notify();
        }
        if let Some(waiting) = waiting {
            return blocked(waiting, input);
        }
        let batch = unpinned(input.to_batch(&self.shared.schema)?)?;
        match self.charge(&input, batch)? {
            Ok(charged) => self.insert(place, charged)?,
            Err(waiting) => return blocked(waiting, input),
        }
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        Ok(None)
    }
}

/// The batch without views into pages that are much larger than what it shows of them.
fn unpinned(batch: RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|array| match array.data_type() {
        DataType::Utf8View => compacted(array.as_string_view()).unwrap_or_else(|| array.clone()),
        DataType::BinaryView => compacted(array.as_binary_view()).unwrap_or_else(|| array.clone()),
        _ => array.clone(),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = columns.collect();
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
        .map_err(|e| Error::internal(e.to_string()))
}

fn compacted<T: ByteViewType>(array: &GenericByteViewArray<T>) -> Option<ArrayRef> {
    let pinned: usize = array.data_buffers().iter().map(|buffer| buffer.capacity()).sum();
    (pinned > 2 * array.total_buffer_bytes_used()).then(|| Arc::new(array.gc()) as ArrayRef)
}

/// Bytes that an array's rows take, without those that it shares with other slices.
fn held_bytes(array: &ArrayRef) -> usize {
    let data = array.to_data();
    let fixed = data.get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
    let buffers = match array.data_type() {
        DataType::Utf8View => array.as_string_view().data_buffers(),
        DataType::BinaryView => array.as_binary_view().data_buffers(),
        _ => return fixed,
    };
    fixed + buffers.iter().map(|buffer| buffer.capacity()).sum::<usize>()
}

#[cfg(test)]
mod tests;
