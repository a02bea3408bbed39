//! The source over finished groups: a morsel is a few thousand groups of one partition, in the
//! order of their hashes, which depends on the keys alone; or a part of a partition that the reader
//! merges first, or a whole one on tapes. Groups with long values come out a few at a time.

use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, i256};

use super::handed::{Handed, Lane, number};
use super::partition::Partition;
use super::plan::{ExtremeKind, Fold, Output, Plan, State};
use super::reload::Reload;
use super::sink::{Finished, FinishedLane, Shared};
use super::spill::HOLDER;
use super::stores::reference;
use crate::batch::{
    CHUNK_ROWS, Charge, Chunk, Column, Indices, Place, gather, physical_type, to_physical,
};
use crate::error::{Error, Result};
use crate::expr::moments::{Moments, PairMoments};
use crate::expr::totals::{
    Quotient, average, floats, integers, optional_floats, wide_average, wide_decimals,
};
use crate::expr::{PairStatistic, ValueBytes, WRITTEN_BYTES_MAX, count_within, is_fixed};
use crate::memory::Reservation;
use crate::memory::rows::{Fixed, RowPages, RowRef};
use crate::pipeline::{Context, Pull, Source, SourceWorker};

/// See the module documentation.
pub(super) struct AggregateSource {
    shared: Arc<Shared>,
    cursor: Arc<Mutex<Cursor>>,
}

/// The next morsel.
#[derive(Default)]
struct Cursor {
    lane: usize,
    group: usize,
    morsel: u64,
    /// Morsels of each lane that are not done yet, begun or not.
    open: Vec<usize>,
    read: bool,
}

impl AggregateSource {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        AggregateSource { shared, cursor: Arc::default() }
    }
}

impl Source for AggregateSource {
    fn name(&self) -> &str {
        "hash aggregate groups"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
        Ok(Box::new(AggregateReader {
            shared: self.shared.clone(),
            cursor: self.cursor.clone(),
            current: None,
            rest: None,
            merging: None,
            reading: None,
        }))
    }

    fn parallelism(&self) -> usize {
        let state = self.shared.state();
        state.finished.iter().map(Finished::morsels).sum::<usize>().max(1)
    }

    fn reset(&self) -> Result<()> {
        let mut cursor = self.cursor.lock().unwrap_or_else(|e| e.into_inner());
        let state = self.shared.state();
        let gone = |groups: &Finished| !matches!(groups, Finished::Lane(_));
        let gone = state.finished.iter().any(gone);
        drop(state);
        if cursor.read && gone {
            return Err(Error::internal("groups are read a second time without a second run"));
        }
        *cursor = Cursor::default();
        Ok(())
    }
}

/// One worker's part of the source.
struct AggregateReader {
    shared: Arc<Shared>,
    cursor: Arc<Mutex<Cursor>>,
    /// The lane of the morsel that was handed out last; the next pull is done with it.
    current: Option<usize>,
    /// What is left of that morsel.
    rest: Option<Groups>,
    /// What it merges with.
    merging: Option<Reservation>,
    /// What is read from tapes.
    reading: Option<Reading>,
}

/// Groups in memory: the number of their morsel, their lane, and which of it they are.
struct Groups {
    morsel: u64,
    lane: Arc<FinishedLane>,
    range: Range<usize>,
    /// Whether this reader has merged them, and nobody else reads them.
    is_own: bool,
}

/// What a worker does next.
enum Next {
    Groups(Groups),
    /// Groups to be merged first, what they refer to, and the number of their morsel.
    Handed(u64, Lane, Arc<Handed>),
    /// Groups on tapes, the number of their morsel, and what was kept for a worker that begins to
    /// read such.
    Taped(u64, Partition, Option<Reservation>),
}

impl Finished {
    fn morsels(&self) -> usize {
        match self {
            Finished::None => 0,
            Finished::Handed(lane) => lane.parts(),
            Finished::Lane(lane) => lane.groups.len().div_ceil(CHUNK_ROWS),
            Finished::Taped(_) => 1,
        }
    }
}

/// Groups that are read from tapes.
struct Reading {
    reload: Reload,
    morsel: u64,
    /// Groups in memory, and how many of them have been given out.
    lane: Option<(FinishedLane, usize)>,
}

impl AggregateReader {
    /// Takes the next morsel.
    fn next(&mut self) -> Result<Option<Next>> {
        let mut cursor = self.cursor.lock().unwrap_or_else(|e| e.into_inner());
        let mut state = self.shared.state();
        state.check()?;
        cursor.read = true;
        if cursor.open.is_empty() {
            cursor.open = state.finished.iter().map(Finished::morsels).collect();
        }
        if let Some(lane) = self.current.take() {
            cursor.open[lane] -= 1;
            if cursor.open[lane] == 0
                && let Finished::Lane(lane) = mem::take(&mut state.finished[lane])
            {
                let bytes = lane.bytes();
                drop(lane);
                if let Some(memory) = &mut state.memory {
                    memory.shrink(bytes);
                }
            }
        }
        while cursor.lane < state.finished.len() {
            state.begun = cursor.lane + 1;
            let Some(groups) = state.finished.get_mut(cursor.lane) else { break };
            let morsel = cursor.morsel;
            match groups {
                Finished::Lane(lane) if cursor.group < lane.groups.len() => {
                    let range = cursor.group..lane.groups.len().min(cursor.group + CHUNK_ROWS);
                    self.current = Some(cursor.lane);
                    cursor.group = range.end;
                    cursor.morsel += 1;
                    let lane = lane.clone();
                    return Ok(Some(Next::Groups(Groups { morsel, lane, range, is_own: false })));
                }
                Finished::Handed(lane) => {
                    if let Some(first) = lane.take_first(CHUNK_ROWS) {
                        cursor.morsel += 1;
                        if self.merging.is_none() {
                            self.merging = state.merging_memory();
                        }
                        return Ok(Some(Next::Handed(morsel, first, state.handed.clone())));
                    }
                    *groups = Finished::None;
                }
                Finished::Taped(_) => {
                    if let Finished::Taped(partition) = mem::take(groups) {
                        cursor.lane += 1;
                        cursor.morsel += 1;
                        let begins = self.reading.is_none();
                        let kept = begins.then(|| state.reader_memory(&self.shared.plan)).flatten();
                        return Ok(Some(Next::Taped(morsel, partition, kept)));
                    }
                }
                _ => (),
            }
            cursor.lane += 1;
            cursor.group = 0;
        }
        state.end_reading();
        Ok(None)
    }

    /// Frees groups that were merged here, and have been read.
    fn release(&self, groups: Groups) {
        let bytes = groups.lane.rows.bytes();
        drop(groups);
        if let Some(memory) = &mut self.shared.state().memory {
            memory.shrink(bytes);
        }
    }

    /// Groups of the partition on tapes that is read; `None` when there is none, or all have been
    /// read.
    fn read(&mut self, cx: &Context) -> Result<Option<Chunk>> {
        let plan = &self.shared.plan;
        let Some(reading) = &mut self.reading else { return Ok(None) };
        loop {
            cx.check()?;
            if let Some((lane, given)) = &mut reading.lane {
                let range = *given..lane.groups.len().min(*given + CHUNK_ROWS);
                if !range.is_empty() {
                    let results = Results { plan, lane };
                    let range = results.within(range);
                    *given = range.end;
                    let place = Place { morsel: reading.morsel, sequence: 0 };
                    return Ok(Some(results.chunk(range, place, cx)?));
                }
            }
            if let Some((lane, _)) = reading.lane.take() {
                reading.reload.release(lane);
            }
            match reading.reload.next(plan, cx)? {
                Some(lane) => reading.lane = Some((lane, 0)),
                None => return Ok(None),
            }
        }
    }

    /// Begins with a partition on tapes.
    fn begin(
        &mut self,
        morsel: u64,
        partition: Partition,
        kept: Option<Reservation>,
        cx: &Context,
    ) -> Result<()> {
        let plan = &self.shared.plan;
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => {
                none.insert(Reading { reload: Reload::new(plan, kept, cx)?, morsel, lane: None })
            }
        };
        reading.morsel = morsel;
        reading.reload.take(partition);
        Ok(())
    }
}

impl SourceWorker for AggregateReader {
    fn pull(&mut self, cx: &Context) -> Result<Pull> {
        loop {
            if let Some(groups) = &mut self.rest {
                let results = Results { plan: &self.shared.plan, lane: &groups.lane };
                let end = groups.range.end.min(groups.range.start + CHUNK_ROWS);
                let range = results.within(groups.range.start..end);
                groups.range.start = range.end;
                let place = Place { morsel: groups.morsel, sequence: 0 };
                let chunk = results.chunk(range, place, cx)?;
                if let Some(read) = self.rest.take_if(|rest| rest.range.is_empty())
                    && read.is_own
                {
                    self.release(read);
                }
                return Ok(Pull::Chunk(chunk));
            }
            if let Some(chunk) = self.read(cx)? {
                return Ok(Pull::Chunk(chunk));
            }
            match self.next()? {
                None => return Ok(Pull::Finished),
                Some(Next::Taped(morsel, partition, kept)) => {
                    self.begin(morsel, partition, kept, cx)?;
                }
                Some(Next::Handed(morsel, lane, handed)) => {
                    let lane = Arc::new(self.shared.merge_handed(lane, &handed, cx)?);
                    let range = 0..lane.groups.len();
                    let groups = Groups { morsel, lane, range, is_own: true };
                    match groups.range.is_empty() {
                        true => self.release(groups),
                        false => self.rest = Some(groups),
                    }
                }
                Some(Next::Groups(groups)) => self.rest = Some(groups),
            }
        }
    }
}

/// A column of results whose values may be long.
enum Long<'a> {
    /// The key of that number.
    Key(usize),
    /// A column of what a state refers to.
    Stored { store: &'a RowPages, state: &'a State, column: usize },
    /// By group number.
    Custom(ValueBytes<'a>),
}

/// Results of one lane's groups.
struct Results<'a> {
    plan: &'a Plan,
    lane: &'a FinishedLane,
}

impl Results<'_> {
    /// The first of these groups: as many as take [`WRITTEN_BYTES_MAX`], at least one.
    fn within(&self, range: Range<usize>) -> Range<usize> {
        if self.lane.bytes() <= WRITTEN_BYTES_MAX {
            return range;
        }
        let long = self.longs();
        // Where even the longest ones take little, no row is looked at.
        let most: Option<usize> = long.iter().map(|(_, long)| self.most_bytes(long)).sum();
        if most.is_some_and(|most| most.saturating_mul(range.len()) <= WRITTEN_BYTES_MAX) {
            return range;
        }
        let groups = self.lane.groups[range.clone()].iter();
        let bytes = groups.map(|&group| long.iter().map(|(_, long)| self.bytes(long, group)).sum());
        range.start..range.start + count_within(WRITTEN_BYTES_MAX, bytes).min(range.len())
    }

    /// Charges a row that is large by itself, which is written out for whoever asked for it, column
    /// by column.
    fn charge(&self, range: &Range<usize>, cx: &Context) -> Result<Vec<(usize, Charge)>> {
        if range.len() != 1 || self.lane.bytes() <= WRITTEN_BYTES_MAX {
            return Ok(Vec::new());
        }
        let group = self.lane.groups[range.start];
        let longs = self.longs().into_iter();
        let bytes: Vec<_> = longs.map(|(at, long)| (at, self.bytes(&long, group))).collect();
        let all: usize = bytes.iter().map(|(_, bytes)| bytes).sum();
        if all <= WRITTEN_BYTES_MAX {
            return Ok(Vec::new());
        }
        let mut charge = cx.memory().reserve(HOLDER, 0)?;
        charge.grow(all)?;
        let bytes = bytes.into_iter();
        Ok(bytes.filter_map(|(at, bytes)| Some((at, charge.hand_over(bytes)?))).collect())
    }

    /// The columns whose values may be long, by number.
    fn longs(&self) -> Vec<(usize, Long<'_>)> {
        let keys = self.plan.keys.len();
        let fields = self.plan.schema.fields().iter().enumerate();
        let long = fields.filter(|(_, field)| !is_fixed(field.data_type()));
        let long = long.filter_map(|(at, _)| match at.checked_sub(keys) {
            None => Some((at, Long::Key(at))),
            Some(aggregate) => Some((at, self.long(aggregate)?)),
        });
        long.collect()
    }

    /// Where the values of a result are whose type does not say their bytes.
    fn long(&self, aggregate: usize) -> Option<Long<'_>> {
        let (state, column) = match &self.plan.outputs.get(aggregate)?.0 {
            Output::State(state) => (*state, 0),
            Output::Column { state, column } => (*state, *column),
            Output::Custom(custom) => {
                return Some(Long::Custom(ValueBytes::of(&self.lane.customs[*custom])));
            }
            Output::Average { .. } | Output::Spread { .. } | Output::Pairs { .. } => return None,
        };
        let state = &self.plan.states[state];
        match state.fold {
            Fold::Stored { store, .. } => {
                Some(Long::Stored { store: self.lane.store(store)?, state, column })
            }
            _ => None,
        }
    }

    /// Bytes that no value of the column has more of, where that is known.
    fn most_bytes(&self, long: &Long<'_>) -> Option<usize> {
        match long {
            Long::Key(_) => Some(self.lane.rows.longest_value()),
            Long::Stored { store, .. } => Some(store.longest_value()),
            Long::Custom(_) => None,
        }
    }

    fn bytes(&self, long: &Long<'_>, group: RowRef) -> usize {
        let rows = &self.lane.rows;
        match long {
            Long::Key(column) => rows.value_bytes(*column, group).len(),
            Long::Stored { store, state, column } => match reference(rows.slot(group, state.value))
            {
                RowRef::NONE => 0,
                value => store.value_bytes(*column, value).len(),
            },
            Long::Custom(sizes) => sizes.at(number(self.plan, rows, group) as usize),
        }
    }

    fn chunk(&self, range: Range<usize>, place: Place, cx: &Context) -> Result<Chunk> {
        let mut charges = self.charge(&range, cx)?.into_iter().peekable();
        let groups = &self.lane.groups[range];
        let mut columns = Vec::with_capacity(self.plan.schema.fields().len());
        for (number, field) in self.plan.schema.fields().iter().enumerate() {
            let array = match number.checked_sub(self.plan.keys.len()) {
                None => self.lane.rows.gather(number, groups)?,
                Some(aggregate) => self.result(aggregate, groups)?,
            };
            let charge = charges.next_if(|(at, _)| *at == number).map(|(_, charge)| charge);
            columns.push(Column::flat(field.data_type().clone(), array).charged(charge));
        }
        Ok(Chunk::new(columns, groups.len(), place))
    }

    fn result(&self, aggregate: usize, groups: &[RowRef]) -> Result<ArrayRef> {
        let Some((output, data_type)) = self.plan.outputs.get(aggregate) else {
            return Err(Error::internal("a result without an aggregate"));
        };
        match output {
            Output::State(state) => self.state(&self.plan.states[*state], data_type, groups),
            Output::Average { sum, count, argument } => {
                let (sum, count) = (&self.plan.states[*sum], &self.plan.states[*count]);
                self.average(sum, count, argument, data_type, groups)
            }
            Output::Spread { state, spread } => {
                let moments = self.values::<Moments>(&self.plan.states[*state], groups);
                optional_floats(moments.into_iter().map(|m| m.result(*spread)), data_type)
            }
            Output::Pairs { state, statistic } => {
                let moments = self.values::<PairMoments>(&self.plan.states[*state], groups);
                if *statistic == PairStatistic::Count {
                    let counts = moments.into_iter().map(|m| i128::from(m.count()));
                    return integers(counts.collect(), None, "regr_count", data_type);
                }
                optional_floats(moments.into_iter().map(|m| m.result(*statistic)), data_type)
            }
            Output::Column { state, column } => {
                self.stored(&self.plan.states[*state], *column, groups)
            }
            Output::Custom(custom) => {
                let numbers = groups.iter().map(|&row| number(self.plan, &self.lane.rows, row));
                let indices = Indices::new(numbers.collect::<Vec<u32>>());
                to_physical(&gather(&self.lane.customs[*custom], &indices)?)
            }
        }
    }

    fn state(&self, state: &State, data_type: &DataType, groups: &[RowRef]) -> Result<ArrayRef> {
        match state.fold {
            Fold::CountRows | Fold::Count => {
                let counts = self.values::<i64>(state, groups);
                Ok(cast(&(Arc::new(Int64Array::from(counts)) as ArrayRef), data_type)?)
            }
            Fold::Stored { .. } => self.stored(state, 0, groups),
            Fold::Bits(_) => {
                let unsigned = physical_type(data_type).is_unsigned_integer();
                let values = self.values::<i64>(state, groups).into_iter();
                let values = values.map(|bits| match unsigned {
                    true => i128::from(bits as u64),
                    false => i128::from(bits),
                });
                integers(values.collect(), self.nulls(state, groups), "bits", data_type)
            }
            Fold::Moments | Fold::PairMoments => {
                Err(Error::internal("moments are no result of their own"))
            }
            Fold::SumFloat | Fold::Extreme { kind: ExtremeKind::Float, .. } => {
                floats(self.values(state, groups), self.nulls(state, groups), data_type)
            }
            Fold::SumWide => wide_decimals(
                self.values(state, groups),
                self.nulls(state, groups),
                "sum",
                data_type,
            ),
            Fold::Extreme { kind: ExtremeKind::Integer, .. } => {
                let values = self.values::<i64>(state, groups).into_iter().map(i128::from);
                integers(values.collect(), self.nulls(state, groups), "min", data_type)
            }
            Fold::SumInteger | Fold::Extreme { kind: ExtremeKind::Wide, .. } => {
                integers(self.values(state, groups), self.nulls(state, groups), "sum", data_type)
            }
        }
    }

    /// A column of the rows in a store that a state refers to.
    fn stored(&self, state: &State, column: usize, groups: &[RowRef]) -> Result<ArrayRef> {
        let Fold::Stored { store, .. } = state.fold else {
            return Err(Error::internal("a state without a store"));
        };
        let slots = groups.iter().map(|&row| self.lane.rows.slot(row, state.value));
        let values: Vec<RowRef> = slots.map(reference).collect();
        let store = self.lane.store(store);
        store.ok_or_else(|| Error::internal("values without a store"))?.gather(column, &values)
    }

    fn values<T: Fixed>(&self, state: &State, groups: &[RowRef]) -> Vec<T> {
        let value = |&row: &RowRef| T::take(&self.lane.rows.row(row)[state.value.offset..]);
        groups.iter().map(value).collect()
    }

    fn nulls(&self, state: &State, groups: &[RowRef]) -> Option<NullBuffer> {
        if state.seen.width == 0 {
            return None;
        }
        let seen = |i: usize| self.lane.rows.row(groups[i])[state.seen.offset] != 0;
        let nulls = NullBuffer::new(BooleanBuffer::collect_bool(groups.len(), seen));
        (nulls.null_count() > 0).then_some(nulls)
    }

    fn average(
        &self,
        sum: &State,
        count: &State,
        argument: &DataType,
        data_type: &DataType,
        groups: &[RowRef],
    ) -> Result<ArrayRef> {
        let counts = self.values::<i64>(count, groups);
        let nulls = NullBuffer::new(BooleanBuffer::collect_bool(counts.len(), |i| counts[i] != 0));
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let unsupported = || Error::internal(format!("an average of {argument} as {data_type}"));
        match (Quotient::of(argument, data_type)?, sum.fold) {
            (Quotient::Float(_), Fold::SumWide) | (Quotient::Exact(_), Fold::SumFloat) => {
                Err(unsupported())
            }
            (Quotient::Float(unit), fold) => {
                let sums: Vec<f64> = match fold {
                    Fold::SumFloat => self.values(sum, groups),
                    _ => {
                        let sums = self.values::<i128>(sum, groups).into_iter();
                        sums.map(|sum| sum as f64 / unit).collect()
                    }
                };
                let quotients = sums.iter().zip(&counts).map(|(sum, &count)| sum / count as f64);
                floats(quotients.collect(), nulls, data_type)
            }
            (Quotient::Exact(digits), Fold::SumWide) => {
                let quotients = self.values::<i256>(sum, groups).into_iter().zip(&counts);
                let quotients =
                    quotients.map(|(sum, &count)| wide_average(sum, count.max(1), digits));
                let quotients: Option<Vec<i256>> = quotients.collect();
                let quotients = quotients.ok_or_else(|| Error::overflow("avg", data_type))?;
                wide_decimals(quotients, nulls, "sum", data_type)
            }
            (Quotient::Exact(digits), _) => {
                let quotients = self.values::<i128>(sum, groups).into_iter().zip(&counts);
                let quotients = quotients.map(|(sum, &count)| average(sum, count.max(1), digits));
                let quotients: Option<Vec<i128>> = quotients.collect();
                let quotients = quotients.ok_or_else(|| Error::overflow("avg", data_type))?;
                integers(quotients, nulls, "avg", data_type)
            }
        }
    }
}
