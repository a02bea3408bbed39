//! The source over finished groups: a morsel is a few thousand groups of one partition, in the
//! order of their hashes, which depends on the keys alone.

use std::sync::{Arc, Mutex};

use arrow::array::{ArrayData, ArrayRef, BooleanArray, Float64Array, Int64Array, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalUnit, i256};

use super::moments::{Moments, PairMoments};
use super::plan::{ExtremeKind, Fold, Output, Plan, State};
use super::sink::{FinishedLane, Shared, number};
use super::stores::reference;
use crate::batch::{
    CHUNK_ROWS, Chunk, Column, Half, Indices, Place, gather, physical_type, to_physical,
};
use crate::error::{Error, Result};
use crate::expr::PairStatistic;
use crate::memory::rows::{Fixed, RowRef};
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
        }))
    }

    fn parallelism(&self) -> usize {
        let state = self.shared.state();
        let lanes = state.finished.iter().flatten();
        lanes.map(|lane| lane.groups.len().div_ceil(CHUNK_ROWS)).sum::<usize>().max(1)
    }

    fn reset(&self) -> Result<()> {
        let mut cursor = self.cursor.lock().unwrap_or_else(|e| e.into_inner());
        let gone = self.shared.state().finished.iter().any(Option::is_none);
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
}

impl AggregateReader {
    /// Takes the next morsel: its number, its lane, and its groups.
    fn next(&mut self) -> Option<(u64, Arc<FinishedLane>, std::ops::Range<usize>)> {
        let mut cursor = self.cursor.lock().unwrap_or_else(|e| e.into_inner());
        let mut state = self.shared.state();
        cursor.read = true;
        if cursor.open.is_empty() {
            let morsels = |lane: &Option<Arc<FinishedLane>>| {
                lane.as_ref().map_or(0, |lane| lane.groups.len().div_ceil(CHUNK_ROWS))
            };
            cursor.open = state.finished.iter().map(morsels).collect();
        }
        if let Some(lane) = self.current.take() {
            cursor.open[lane] -= 1;
            if cursor.open[lane] == 0
                && let Some(lane) = state.finished[lane].take()
            {
                let bytes = lane.bytes();
                drop(lane);
                if let Some(memory) = &mut state.memory {
                    memory.shrink(bytes);
                }
            }
        }
        while let Some(lane) = state.finished.get(cursor.lane) {
            let groups = lane.as_ref().map_or(0, |lane| lane.groups.len());
            if let (Some(lane), true) = (lane, cursor.group < groups) {
                let range = cursor.group..groups.min(cursor.group + CHUNK_ROWS);
                let morsel = cursor.morsel;
                self.current = Some(cursor.lane);
                cursor.group = range.end;
                cursor.morsel += 1;
                return Some((morsel, lane.clone(), range));
            }
            cursor.lane += 1;
            cursor.group = 0;
        }
        None
    }
}

impl SourceWorker for AggregateReader {
    fn pull(&mut self, _: &Context) -> Result<Pull> {
        let Some((morsel, lane, range)) = self.next() else { return Ok(Pull::Finished) };
        let place = Place { morsel, sequence: 0 };
        let chunk = Results { plan: &self.shared.plan, lane: &lane }.chunk(range, place)?;
        Ok(Pull::Chunk(chunk))
    }
}

/// Results of one lane's groups.
struct Results<'a> {
    plan: &'a Plan,
    lane: &'a FinishedLane,
}

impl Results<'_> {
    fn chunk(&self, range: std::ops::Range<usize>, place: Place) -> Result<Chunk> {
        let groups = &self.lane.groups[range];
        let mut columns = Vec::with_capacity(self.plan.schema.fields().len());
        for (number, field) in self.plan.schema.fields().iter().enumerate() {
            let array = match number.checked_sub(self.plan.keys.len()) {
                None => self.lane.rows.gather(number, groups)?,
                Some(aggregate) => self.result(aggregate, groups)?,
            };
            columns.push(Column::flat(field.data_type().clone(), array));
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
                options(moments.into_iter().map(|m| m.result(*spread)), data_type)
            }
            Output::Pairs { state, statistic } => {
                let moments = self.values::<PairMoments>(&self.plan.states[*state], groups);
                if *statistic == PairStatistic::Count {
                    let counts = moments.into_iter().map(|m| i128::from(m.count()));
                    return integers(counts.collect(), None, "regr_count", data_type);
                }
                options(moments.into_iter().map(|m| m.result(*statistic)), data_type)
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
            Fold::SumWide => {
                wide_decimals(self.values(state, groups), self.nulls(state, groups), data_type)
            }
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
        if sum.fold == Fold::SumFloat || data_type.is_floating() {
            let sums: Vec<f64> = match (sum.fold, decimal(argument)) {
                (Fold::SumFloat, _) => self.values(sum, groups),
                (Fold::SumWide, _) => return Err(unsupported_average(argument, data_type)),
                (_, scale) => {
                    let unit = scale.map_or(1.0, |(_, scale)| 10_f64.powi(scale.into()));
                    let sums = self.values::<i128>(sum, groups).into_iter();
                    sums.map(|sum| sum as f64 / unit).collect()
                }
            };
            let quotients = sums.iter().zip(&counts).map(|(sum, &count)| sum / count as f64);
            return floats(quotients.collect(), nulls, data_type);
        }
        // The result has more digits after the point than the argument; what is beyond is cut.
        let digits = match (decimal(argument), decimal(data_type)) {
            (Some((_, from)), Some((_, to))) if to >= from => (to - from) as u32,
            (None, None) => 0,
            _ => return Err(unsupported_average(argument, data_type)),
        };
        if sum.fold == Fold::SumWide {
            let unit = i256::from_i128(10).checked_pow(digits);
            let quotients = self.values::<i256>(sum, groups).into_iter().zip(&counts);
            let quotients = quotients.map(|(sum, &count)| {
                let scaled = unit.and_then(|unit| sum.checked_mul(unit));
                scaled?.checked_div(i256::from_i128(count.max(1).into()))
            });
            let quotients: Option<Vec<i256>> = quotients.collect();
            let quotients = quotients.ok_or_else(|| Error::overflow("avg", data_type))?;
            return wide_decimals(quotients, nulls, data_type);
        }
        let quotients = self.values::<i128>(sum, groups).into_iter().zip(&counts);
        let quotients = quotients.map(|(sum, &count)| average(sum, count.max(1), digits));
        let quotients: Option<Vec<i128>> = quotients.collect();
        let quotients = quotients.ok_or_else(|| Error::overflow("avg", data_type))?;
        integers(quotients, nulls, "avg", data_type)
    }
}

/// `sum * 10^digits / count`, cut; `None` when it does not fit.
fn average(sum: i128, count: i64, digits: u32) -> Option<i128> {
    let unit = 10_i128.checked_pow(digits)?;
    match sum.checked_mul(unit) {
        Some(scaled) => Some(scaled / i128::from(count)),
        None => {
            let scaled = i256::from_i128(sum).checked_mul(i256::from_i128(unit))?;
            scaled.checked_div(i256::from_i128(count.into()))?.to_i128()
        }
    }
}

fn unsupported_average(argument: &DataType, data_type: &DataType) -> Error {
    Error::internal(format!("an average of {argument} as {data_type}"))
}

/// Precision and scale of a decimal type.
fn decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Some((*p, *s)),
        DataType::Dictionary(_, values) => decimal(values),
        _ => None,
    }
}

/// Doubles, or NULL.
fn options(
    values: impl ExactSizeIterator<Item = Option<f64>>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let values: Vec<Option<f64>> = values.collect();
    let nulls = NullBuffer::new(BooleanBuffer::collect_bool(values.len(), |i| values[i].is_some()));
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    floats(values.into_iter().map(Option::unwrap_or_default).collect(), nulls, data_type)
}

fn floats(values: Vec<f64>, nulls: Option<NullBuffer>, data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::Float32 => {
            array(data_type, values.into_iter().map(|v| v as f32).collect(), nulls)
        }
        DataType::Float16 => {
            array(data_type, values.into_iter().map(Half::from_f64).collect(), nulls)
        }
        DataType::Float64 => Ok(Arc::new(Float64Array::new(values.into(), nulls))),
        other => Err(Error::internal(format!("numbers as {other}"))),
    }
}

fn wide_decimals(
    values: Vec<i256>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let limit = decimal(data_type).and_then(|(p, _)| i256::from_i128(10).checked_pow(p.into()));
    let fits = |v: &i256| limit.is_none_or(|limit| *v < limit && *v > limit.wrapping_neg());
    if !values.iter().all(fits) {
        return Err(Error::overflow("sum", data_type));
    }
    array(data_type, values, nulls)
}

/// Integers as an array of the physical type.
///
/// # Errors
/// `Input` when one does not fit the type.
fn integers(
    values: Vec<i128>,
    nulls: Option<NullBuffer>,
    operation: &str,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let physical = physical_type(data_type);
    let overflow = || Error::overflow(operation, data_type);
    if let Some((precision, _)) = decimal(data_type) {
        let limit = 10_i128.checked_pow(precision.into()).unwrap_or(i128::MAX);
        if !values.iter().all(|v| (-limit < *v) && (*v < limit)) {
            return Err(overflow());
        }
    }
    macro_rules! narrow {
        ($native:ty) => {{
            let values = values.into_iter().map(<$native>::try_from);
            let values = values.collect::<Result<Vec<_>, _>>().map_err(|_| overflow())?;
            array(&physical, values, nulls)
        }};
    }
    match &physical {
        DataType::Boolean => {
            let values = BooleanBuffer::from_iter(values.into_iter().map(|v| v != 0));
            Ok(Arc::new(BooleanArray::new(values, nulls)))
        }
        DataType::Int8 => narrow!(i8),
        DataType::Int16 => narrow!(i16),
        DataType::UInt8 => narrow!(u8),
        DataType::UInt16 => narrow!(u16),
        DataType::UInt32 => narrow!(u32),
        DataType::UInt64 => narrow!(u64),
        DataType::Int32
        | DataType::Date32
        | DataType::Time32(_)
        | DataType::Interval(IntervalUnit::YearMonth) => narrow!(i32),
        DataType::Decimal128(..) => array(&physical, values, nulls),
        DataType::Decimal256(..) => {
            array(&physical, values.into_iter().map(i256::from_i128).collect(), nulls)
        }
        DataType::Float64 => {
            floats(values.into_iter().map(|v| v as f64).collect(), nulls, &physical)
        }
        _ => narrow!(i64),
    }
}

fn array<T: arrow::datatypes::ArrowNativeType>(
    physical: &DataType,
    values: Vec<T>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let data = ArrayData::builder(physical.clone())
        .len(values.len())
        .add_buffer(Buffer::from_vec(values))
        .nulls(nulls);
    Ok(make_array(data.build()?))
}
