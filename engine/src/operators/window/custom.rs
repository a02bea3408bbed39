//! Aggregates that are not built in: of each frame its rows are added up anew.
//!
//! Rows with the same frame as the row before share its result. Frames of a block are groups of one
//! aggregation, which is given their rows block by block. A long frame that begins with its
//! partition is not added up anew: its states are kept, and a copy of them gives the result.
//!
//! Frames become results only as long as their states and results together take little memory
//! ([`Span::bytes`]); the rows behind get theirs the next time.
//!
//! Memory: the bytes that the states say they hold are charged, also for results that are made of
//! them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;

use super::evaluate::{Evaluate, Results, Span};
use super::store::Store;
use crate::batch::{Indices, gather, to_logical, to_physical};
use crate::error::{Error, Result};
use crate::expr::{AggregateFunction, GroupStates, Literal, content_bytes, is_fixed};

/// Rows up to which a frame that begins with its partition is added up anew.
const ANEW_ROWS_MAX: u64 = 256;

/// Rows that are added at once.
const BATCH_ROWS: usize = 16_384;

/// Rows of frames that are added anew before it is seen how many bytes their states have, at first.
const STEP_ROWS_MIN: u64 = 512;

/// An aggregate that is not built in; see the module documentation.
pub(super) struct Custom {
    call: CustomCall,
    running: Option<Running>,
    charged: usize,
    /// The first row that is read again.
    low: u64,
}

/// What is computed.
pub(super) struct CustomCall {
    pub(super) function: Arc<dyn AggregateFunction>,
    /// Constants that it is made with.
    pub(super) parameters: Vec<Literal>,
    pub(super) arguments: Vec<CustomArgument>,
    pub(super) filter: Option<usize>,
    pub(super) returns: DataType,
    pub(super) frame: usize,
    /// Number of keys of the partition.
    pub(super) partition: usize,
    /// Whether frames begin with their partition.
    pub(super) grows: bool,
}

/// An argument and its declared type.
pub(super) enum CustomArgument {
    Column(usize, DataType),
    /// An array of one row.
    Constant(ArrayRef),
}

/// The states of a frame that grows.
struct Running {
    /// Columns with one row.
    states: Vec<ArrayRef>,
    /// The rows in it.
    rows: Range<u64>,
    result: ArrayRef,
    /// Bytes of the states and the result.
    bytes: usize,
}

impl Custom {
    pub(super) fn new(call: CustomCall) -> Self {
        Custom { call, running: None, charged: 0, low: u64::MAX }
    }

    fn argument_types(&self) -> Vec<DataType> {
        let data_type = |argument: &CustomArgument| match argument {
            CustomArgument::Column(_, data_type) => data_type.clone(),
            CustomArgument::Constant(value) => value.data_type().clone(),
        };
        self.call.arguments.iter().map(data_type).collect()
    }

    fn fresh(&self) -> Result<Box<dyn GroupStates>> {
        self.call.function.states(&self.argument_types(), &self.call.parameters, &self.call.returns)
    }

    /// Has so many bytes charged in all.
    fn charge(&mut self, bytes: usize, store: &mut Store) -> Result<()> {
        if bytes > self.charged {
            store.make_room(bytes - self.charged)?;
        } else {
            store.memory().shrink(self.charged - bytes);
        }
        self.charged = bytes;
        Ok(())
    }

    /// The arguments of some rows of a block, and whether they count.
    fn rows(
        &self,
        position: u64,
        rows: &[u32],
        store: &mut Store,
    ) -> Result<(Vec<ArrayRef>, Option<BooleanArray>)> {
        let indices = Indices::new(rows.to_vec());
        let mut arguments = Vec::with_capacity(self.call.arguments.len());
        for argument in &self.call.arguments {
            arguments.push(match argument {
                CustomArgument::Column(column, data_type) => {
                    let values = store.column(position, *column)?.values().clone();
                    to_logical(&gather(&values, &indices)?, data_type)?
                }
                CustomArgument::Constant(value) => {
                    gather(value, &Indices::new(vec![0; rows.len()]))?
                }
            });
        }
        let filter = match self.call.filter {
            Some(column) => {
                let values = store.column(position, column)?.values().clone();
                Some(gather(&values, &indices)?.as_boolean().clone())
            }
            None => None,
        };
        Ok((arguments, filter))
    }

    /// Adds the rows of frames, each to the group of its number, which count from `first`. Beside
    /// the states, `held` bytes are charged.
    fn add(
        &mut self,
        states: &mut dyn GroupStates,
        (first, frames): (usize, &[Range<u64>]),
        held: usize,
        store: &mut Store,
    ) -> Result<()> {
        let mut batch = Batch { group_count: first + frames.len(), held, ..Batch::default() };
        for (number, frame) in frames.iter().enumerate() {
            let mut row = frame.start;
            while row < frame.end {
                let block = store.block(row)?;
                if block != batch.block || batch.rows.len() >= BATCH_ROWS {
                    self.flush(&mut batch, states, store)?;
                    batch.block = block.clone();
                }
                let until = block.end.min(frame.end);
                let until = until.min(row + (BATCH_ROWS - batch.rows.len()) as u64);
                batch.rows.extend((row - block.start..until - block.start).map(|row| row as u32));
                batch.groups.resize(batch.rows.len(), (first + number) as u32);
                row = until;
            }
        }
        self.flush(&mut batch, states, store)
    }

    fn flush(
        &mut self,
        batch: &mut Batch,
        states: &mut dyn GroupStates,
        store: &mut Store,
    ) -> Result<()> {
        if batch.rows.is_empty() {
            return Ok(());
        }
        let (arguments, filter) = self.rows(batch.block.start, &batch.rows, store)?;
        states.update(&arguments, &batch.groups, filter.as_ref(), batch.group_count)?;
        batch.rows.clear();
        batch.groups.clear();
        self.charge(batch.held + states.size_bytes(), store)
    }

    /// The result of a long frame that begins with its partition. `held` bytes are charged for
    /// other results.
    fn run_to(&mut self, frame: &Range<u64>, held: usize, store: &mut Store) -> Result<ArrayRef> {
        let mut states = self.fresh()?;
        let mut from = frame.start;
        if let Some(running) = self.running.take().filter(|r| r.rows.start == frame.start) {
            if running.rows == *frame {
                let result = running.result.clone();
                self.running = Some(running);
                return Ok(result);
            }
            self.charge(held + 2 * running.bytes, store)?;
            states.merge(&running.states, &[0], 1)?;
            from = running.rows.end;
        }
        let rest = from..frame.end;
        self.add(states.as_mut(), (0, std::slice::from_ref(&rest)), held, store)?;
        // Its states as columns, the copy, and the result.
        self.charge(held + 3 * states.size_bytes(), store)?;
        let columns = states.state()?;
        drop(states);
        let mut copy = self.fresh()?;
        copy.merge(&columns, &[0], 1)?;
        let result = copy.evaluate()?;
        let bytes = columns.iter().map(|column| content_bytes(column)).sum::<usize>();
        let bytes = bytes + content_bytes(&result);
        let (rows, result_of) = (frame.clone(), result.clone());
        self.running = Some(Running { states: columns, rows, result: result_of, bytes });
        Ok(result)
    }

    /// The results of frames that are added up anew, those included that have no rows.
    fn anew(&mut self, made: &mut Made) -> Result<Option<ArrayRef>> {
        let Some(mut states) = made.states.take() else { return Ok(None) };
        states.update(&self.nothing()?, &[], None, made.anew.len())?;
        Ok(Some(states.evaluate()?))
    }
}

/// Rows of one block to be added, and their groups.
#[derive(Default)]
struct Batch {
    block: Range<u64>,
    rows: Vec<u32>,
    groups: Vec<u32>,
    group_count: usize,
    /// Bytes charged for other things.
    held: usize,
}

/// Results of rows that are being made.
#[derive(Default)]
struct Made {
    /// By row, where its result is.
    places: Vec<Place>,
    /// Frames that are added up anew, of which those before `added` have been.
    anew: Vec<Range<u64>>,
    added: usize,
    /// Rows of those that have not.
    waiting: u64,
    states: Option<Box<dyn GroupStates>>,
    state_bytes: usize,
    /// Results of frames that have grown, and their bytes.
    long: Vec<ArrayRef>,
    long_bytes: usize,
}

impl Made {
    /// Bytes so far.
    fn bytes(&self) -> usize {
        self.long_bytes + self.state_bytes
    }
}

impl Custom {
    /// Adds up the frames that wait for it.
    fn add_waiting(&mut self, made: &mut Made, store: &mut Store) -> Result<()> {
        if made.added == made.anew.len() {
            return Ok(());
        }
        let mut states = match made.states.take() {
            Some(states) => states,
            None => self.fresh()?,
        };
        let kept = self.running.as_ref().map_or(0, |running| running.bytes);
        let frames = (made.added, &made.anew[made.added..]);
        self.add(states.as_mut(), frames, kept + made.long_bytes, store)?;
        (made.added, made.waiting) = (made.anew.len(), 0);
        made.state_bytes = states.size_bytes();
        made.states = Some(states);
        Ok(())
    }

    /// The results of the first rows of a span, as many as have room.
    fn make(&mut self, span: &Span<'_>, store: &mut Store) -> Result<Made> {
        let mut made = Made::default();
        let mut step = STEP_ROWS_MIN;
        let mut last: Option<Range<u64>> = None;
        for ((start, end), &mark) in span.frames(self.call.frame).zip(span.marks) {
            let frame = start..end.max(start);
            let is_new = usize::from(mark) <= self.call.partition;
            let place = match (made.places.last(), &last) {
                (Some(&place), Some(last)) if *last == frame && !is_new => place,
                _ if self.call.grows && frame.end - frame.start > ANEW_ROWS_MAX => {
                    let held = made.bytes();
                    let result = self.run_to(&frame, held, store)?;
                    made.long_bytes += content_bytes(&result);
                    made.long.push(result);
                    Place::Long(made.long.len() - 1)
                }
                _ => {
                    made.waiting += frame.end - frame.start;
                    made.anew.push(frame.clone());
                    Place::Anew(made.anew.len() - 1)
                }
            };
            made.places.push(place);
            self.low = match place {
                Place::Long(_) => frame.end,
                Place::Anew(_) => frame.start,
            };
            last = Some(frame);
            if made.waiting >= step {
                self.add_waiting(&mut made, store)?;
                if made.bytes() < span.bytes / 4 {
                    step = (2 * step).min(BATCH_ROWS as u64);
                }
            }
            if made.bytes() > span.bytes {
                break;
            }
        }
        self.add_waiting(&mut made, store)?;
        Ok(made)
    }

    /// Arguments of no row.
    fn nothing(&self) -> Result<Vec<ArrayRef>> {
        Ok(self.argument_types().iter().map(new_empty_array).collect())
    }
}

impl Evaluate for Custom {
    fn evaluate(&mut self, span: &Span<'_>, store: &mut Store) -> Result<Results> {
        let mut made = self.make(span, store)?;
        let kept = self.running.as_ref().map_or(0, |running| running.bytes);
        // Results are there apart, and put together.
        self.charge(kept + 2 * made.bytes(), store)?;
        let anew = self.anew(&mut made)?;
        let Made { places, anew: frames, long, .. } = made;
        let arrays: Vec<&dyn Array> = anew.iter().chain(&long).map(|r| r.as_ref()).collect();
        let all = match arrays[..] {
            [_] => anew.or(long.into_iter().next()),
            _ => Some(concat(&arrays)?),
        };
        let all = all.ok_or_else(|| Error::internal("a window without results"))?;
        let count = frames.len();
        let at = places.iter().map(|place| match *place {
            Place::Anew(number) => number as u32,
            Place::Long(number) => (count + number) as u32,
        });
        let at: Vec<u32> = at.collect();
        self.charge(kept, store)?;
        if at.iter().any(|&at| at as usize >= all.len()) {
            return Err(Error::internal(format!("{} lost a group", self.call.function.name())));
        }
        let all = to_physical(&all)?;
        let is_as_it_is = at.iter().zip(0..).all(|(&at, row)| at == row) && at.len() == all.len();
        Ok(match is_as_it_is {
            true => Results::Flat(all),
            false if is_fixed(all.data_type()) => Results::Flat(gather(&all, &Indices::new(at))?),
            false => Results::Shared(all, Indices::new(at)),
        })
    }

    fn keeps(&self) -> u64 {
        self.low
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Anew(usize),
    Long(usize),
}
