//! Aggregates that are not built in: of each frame its rows are added up anew.
//!
//! Rows with the same frame as the row before share its result. Frames of a block are groups of one
//! aggregation, which is given their rows block by block. A long frame that begins with its
//! partition is not added up anew: its states are kept, and a copy of them gives the result.
//!
//! Memory: the bytes that the states say they hold are charged.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;

use super::evaluate::{Evaluate, Span};
use super::store::Store;
use crate::batch::{Indices, gather, to_logical, to_physical};
use crate::error::{Error, Result};
use crate::expr::{AggregateFunction, GroupStates, Literal};

/// Rows up to which a frame that begins with its partition is added up anew.
const ANEW_ROWS_MAX: u64 = 256;

/// Rows that are added at once.
const BATCH_ROWS: usize = 16_384;

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

    fn charge(&mut self, bytes: usize, store: &mut Store) -> Result<()> {
        if bytes > self.charged {
            store.memory().grow(bytes - self.charged)?;
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

    /// Adds the rows of frames, each to the group of its number.
    fn add(
        &mut self,
        states: &mut dyn GroupStates,
        frames: &[Range<u64>],
        store: &mut Store,
    ) -> Result<()> {
        let mut batch = Batch::default();
        for (group, frame) in frames.iter().enumerate() {
            let mut row = frame.start;
            while row < frame.end {
                let block = store.block(row)?;
                if block != batch.block || batch.rows.len() >= BATCH_ROWS {
                    self.flush(&mut batch, states, frames.len(), store)?;
                    batch.block = block.clone();
                }
                let until = block.end.min(frame.end);
                let until = until.min(row + (BATCH_ROWS - batch.rows.len()) as u64);
                batch.rows.extend((row - block.start..until - block.start).map(|row| row as u32));
                batch.groups.resize(batch.rows.len(), group as u32);
                row = until;
            }
        }
        self.flush(&mut batch, states, frames.len(), store)
    }

    fn flush(
        &mut self,
        batch: &mut Batch,
        states: &mut dyn GroupStates,
        groups: usize,
        store: &mut Store,
    ) -> Result<()> {
        if batch.rows.is_empty() {
            return Ok(());
        }
        let (arguments, filter) = self.rows(batch.block.start, &batch.rows, store)?;
        states.update(&arguments, &batch.groups, filter.as_ref(), groups)?;
        batch.rows.clear();
        batch.groups.clear();
        self.charge(states.size_bytes(), store)
    }

    /// The result of a long frame that begins with its partition.
    fn run_to(&mut self, frame: &Range<u64>, store: &mut Store) -> Result<ArrayRef> {
        let mut states = self.fresh()?;
        let mut from = frame.start;
        if let Some(running) = self.running.take().filter(|r| r.rows.start == frame.start) {
            if running.rows == *frame {
                let result = running.result.clone();
                self.running = Some(running);
                return Ok(result);
            }
            states.merge(&running.states, &[0], 1)?;
            from = running.rows.end;
        }
        let rest = from..frame.end;
        self.add(states.as_mut(), std::slice::from_ref(&rest), store)?;
        let columns = states.state()?;
        let mut copy = self.fresh()?;
        copy.merge(&columns, &[0], 1)?;
        let result = copy.evaluate()?;
        let (rows, result_of) = (frame.clone(), result.clone());
        self.running = Some(Running { states: columns, rows, result: result_of });
        Ok(result)
    }
}

/// Rows of one block to be added, and their groups.
#[derive(Default)]
struct Batch {
    block: Range<u64>,
    rows: Vec<u32>,
    groups: Vec<u32>,
}

impl Evaluate for Custom {
    fn evaluate(&mut self, span: &Span<'_>, store: &mut Store) -> Result<ArrayRef> {
        let bounds = &span.bounds[self.call.frame];
        let frames = bounds.starts().iter().zip(bounds.ends());
        let frames = frames.map(|(&start, &end)| start..end.max(start));
        // Frames to add up anew, and by row the number of its result.
        let mut anew: Vec<Range<u64>> = Vec::new();
        let mut long: Vec<ArrayRef> = Vec::new();
        let mut places: Vec<Place> = Vec::with_capacity(span.marks.len());
        let mut last: Option<Range<u64>> = None;
        for (frame, &mark) in frames.zip(span.marks) {
            let is_new = usize::from(mark) <= self.call.partition;
            let place = match (places.last(), &last) {
                (Some(&place), Some(last)) if *last == frame && !is_new => place,
                _ if self.call.grows && frame.end - frame.start > ANEW_ROWS_MAX => {
                    long.push(self.run_to(&frame, store)?);
                    Place::Long(long.len() - 1)
                }
                _ => {
                    anew.push(frame.clone());
                    Place::Anew(anew.len() - 1)
                }
            };
            places.push(place);
            self.low = match place {
                Place::Long(_) => frame.end,
                Place::Anew(_) => frame.start,
            };
            last = Some(frame);
        }
        let mut results: Vec<ArrayRef> = Vec::with_capacity(long.len() + 1);
        let count = anew.len();
        if count > 0 {
            let mut states = self.fresh()?;
            self.add(states.as_mut(), &anew, store)?;
            // Frames without rows are groups as well.
            states.update(&self.nothing()?, &[], None, count)?;
            results.push(states.evaluate()?);
        }
        results.extend(long);
        let kept = self.running.iter().flat_map(|running| &running.states);
        self.charge(kept.map(|column| column.get_array_memory_size()).sum(), store)?;
        let arrays: Vec<&dyn Array> = results.iter().map(|r| r.as_ref()).collect();
        let all = concat(&arrays)?;
        let at = places.iter().map(|place| match *place {
            Place::Anew(number) => number as u32,
            Place::Long(number) => (count + number) as u32,
        });
        let at: Vec<u32> = at.collect();
        if at.iter().any(|&at| at as usize >= all.len()) {
            return Err(Error::internal(format!("{} lost a group", self.call.function.name())));
        }
        to_physical(&gather(&all, &Indices::new(at))?)
    }

    fn keeps(&self) -> u64 {
        self.low
    }
}

impl Custom {
    /// Arguments of no row.
    fn nothing(&self) -> Result<Vec<ArrayRef>> {
        Ok(self.argument_types().iter().map(new_empty_array).collect())
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Anew(usize),
    Long(usize),
}
