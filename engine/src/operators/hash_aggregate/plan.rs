//! From aggregate calls to states: what a group's row holds, and how results come out of it.
//!
//! Calls share states: `sum(x)` and `avg(x)` have one sum, `count(x)` of a column without NULL is
//! the group's number of rows, and all values of the first row in one order are stored together.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, IntervalUnit, SchemaRef};
use arrow::row::{RowConverter, SortField};

use super::HashAggregate;
use super::candidates::order_type;
use crate::batch::{has_float, physical_type};
use crate::error::{Error, Result};
use crate::expr::moments::{Moments, PairMoments};
use crate::expr::{
    AggregateCall, AggregateKind, AggregateRef, BitOp, GroupStates, Literal, PairStatistic,
    SortKey, Spread,
};
use crate::memory::rows::{Fixed, RowLayout, RowPages, RowRef, Slot};

/// What a state does with values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// Counts rows.
    CountRows,
    /// Counts values.
    Count,
    /// Adds integers, decimals or durations in 128 bits.
    SumInteger,
    /// Adds decimals in 256 bits.
    SumWide,
    /// Adds numbers.
    SumFloat,
    /// Keeps the least or greatest value in the row.
    Extreme { kind: ExtremeKind, greatest: bool },
    /// Combines the bits of integers.
    Bits(BitOp),
    /// Keeps the moments of doubles.
    Moments,
    /// Keeps the moments of pairs of doubles.
    PairMoments,
    /// Keeps a reference to the least or greatest value, which is in a store beside the rows.
    Stored { store: usize, greatest: bool },
}

/// In what form an extreme is in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtremeKind {
    /// 64 bits.
    Integer,
    /// 128 bits.
    Wide,
    /// A double.
    Float,
}

/// One state of every group.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) fold: Fold,
    /// Input column of its values; none where rows count, and for [`Best`].
    pub(super) argument: Option<usize>,
    /// Input column of the other value of a pair.
    pub(super) second: Option<usize>,
    /// Input column that says which rows count.
    pub(super) filter: Option<usize>,
    pub(super) value: Slot,
    /// One byte, set once there was a value; no byte where that is known otherwise.
    pub(super) seen: Slot,
}

/// How a result comes out of the states.
#[derive(Debug, Clone)]
pub(super) enum Output {
    /// The value of a state.
    State(usize),
    /// The quotient of two states; the sum's type says how.
    Average { sum: usize, count: usize, argument: DataType },
    /// What a state's moments say.
    Spread { state: usize, spread: Spread },
    /// What the moments of a state's pairs say.
    Pairs { state: usize, statistic: PairStatistic },
    /// A column of the row in a store that a state refers to.
    Column { state: usize, column: usize },
    /// What the custom function says.
    Custom(usize),
}

/// A call of a function that is not built in.
#[derive(Debug, Clone)]
pub(super) struct CustomCall {
    pub(super) function: AggregateRef,
    pub(super) parameters: Vec<Literal>,
    pub(super) arguments: Vec<usize>,
    pub(super) argument_types: Vec<DataType>,
    pub(super) filter: Option<usize>,
    pub(super) returns: DataType,
}

impl CustomCall {
    /// Empty states.
    pub(super) fn states(&self) -> Result<Box<dyn GroupStates>> {
        self.function.get()?.states(&self.argument_types, &self.parameters, &self.returns)
    }
}

/// What a store of [`Fold::Stored`] holds.
#[derive(Debug)]
pub(super) struct StorePlan {
    /// The value; or a row's key, and its values.
    pub(super) layout: Arc<RowLayout>,
    /// Set where whole rows are compared, not values.
    pub(super) best: Option<Best>,
}

/// What is kept of the row that is first or last in some order.
#[derive(Debug)]
pub(super) struct Best {
    pub(super) order: Vec<SortKey>,
    /// Turns the columns of the order into bytes that are in it; none for the order of the input.
    pub(super) converter: Option<RowConverter>,
    /// Input columns whose values are kept, behind the key.
    pub(super) values: Vec<usize>,
}

/// When a table goes on to its next phase, and how large parts are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    /// Groups from which on a table is partitioned.
    pub(super) partition_groups: usize,
    /// Groups between two looks at how well rows are reduced.
    pub(super) review_groups: usize,
    /// Rows that an appending table has at least before it merges its own.
    pub(super) merge_rows_min: usize,
    /// Rows of a part of a lane that is too large for a core's cache.
    pub(super) part_rows: usize,
    /// Bytes of the pages of a table whose partitions have several lanes.
    pub(super) sub_page_bytes: usize,
    /// Whether lanes may be merged when they are read.
    pub(super) merges_late: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            partition_groups: 1 << 16,
            review_groups: 1 << 17,
            merge_rows_min: 1 << 20,
            part_rows: 1 << 14,
            sub_page_bytes: 32 << 10,
            merges_late: true,
        }
    }
}

/// Everything that is known before the first row.
#[derive(Debug)]
pub(super) struct Plan {
    /// Input columns of the keys.
    pub(super) keys: Vec<usize>,
    /// Whether the values of a key have to be made alike first (numbers).
    pub(super) has_float: Vec<bool>,
    /// Key columns, then slots: hash, number, states.
    pub(super) layout: Arc<RowLayout>,
    pub(super) hash: Slot,
    /// Number of the group within its table: 4 bytes where there are custom functions, otherwise
    /// nothing, as nobody asks for it.
    pub(super) number: Slot,
    pub(super) states: Vec<State>,
    /// The stores of [`Fold::Stored`].
    pub(super) stores: Vec<StorePlan>,
    pub(super) customs: Vec<CustomCall>,
    /// One per aggregate, with its result type.
    pub(super) outputs: Vec<(Output, DataType)>,
    pub(super) schema: SchemaRef,
    pub(super) tuning: Tuning,
}

/// A state before it has its place in the row.
#[derive(PartialEq)]
struct Wanted {
    fold: Fold,
    argument: Option<usize>,
    second: Option<usize>,
    filter: Option<usize>,
}

/// A store before all that is in it is known.
enum WantedStore {
    Values(DataType),
    Rows { order: Vec<SortKey>, last: bool, filter: Option<usize>, values: Vec<usize> },
}

struct Planner<'a> {
    input: &'a SchemaRef,
    has_keys: bool,
    wanted: Vec<(Wanted, bool)>,
    stores: Vec<WantedStore>,
    customs: Vec<CustomCall>,
}

impl Plan {
    pub(super) fn new(spec: &HashAggregate, input: &SchemaRef, schema: SchemaRef) -> Result<Self> {
        let mut planner = Planner {
            input,
            has_keys: !spec.keys.is_empty(),
            wanted: Vec::new(),
            stores: Vec::new(),
            customs: Vec::new(),
        };
        let calls = spec.aggregates.iter();
        let outputs = calls.map(|call| Ok((planner.output(call)?, call.data_type.clone())));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let key_types = spec.keys.iter().map(|&key| column_type(input, key));
        let key_types = key_types.collect::<Result<Vec<_>>>()?;
        let mut widths = vec![8, if planner.customs.is_empty() { 0 } else { 4 }];
        for (wanted, seen) in &planner.wanted {
            widths.extend([wanted.fold.width(), usize::from(*seen)]);
        }
        let layout = Arc::new(RowLayout::with_hash(&key_types, &widths)?);
        let states = planner.wanted.iter().enumerate().map(|(number, (wanted, _))| State {
            fold: wanted.fold,
            argument: wanted.argument,
            second: wanted.second,
            filter: wanted.filter,
            value: layout.slot(2 + 2 * number),
            seen: layout.slot(3 + 2 * number),
        });
        let stores = planner.stores.iter().map(|store| store.plan(input));
        Ok(Plan {
            keys: spec.keys.clone(),
            has_float: key_types.iter().map(has_float).collect(),
            hash: layout.slot(0),
            number: layout.slot(1),
            states: states.collect(),
            stores: stores.collect::<Result<_>>()?,
            customs: planner.customs,
            outputs,
            schema,
            tuning: Tuning::default(),
            layout,
        })
    }

    /// Numbers rows from `first` on, if there is anybody who asks for numbers.
    pub(super) fn set_numbers(&self, rows: &mut RowPages, members: &[RowRef], first: u32) {
        if self.number.width > 0 {
            for (number, &row) in (first..).zip(members) {
                number.put(&mut rows.row_mut(row)[self.number.offset..]);
            }
        }
    }

    /// Empty states of the custom functions.
    pub(super) fn new_states(&self) -> Result<Vec<Box<dyn GroupStates>>> {
        self.customs.iter().map(CustomCall::states).collect()
    }

    /// The distinct filters of the states, `None` for the states that have none.
    pub(super) fn filters(&self) -> Vec<Option<usize>> {
        let states = self.states.iter().map(|state| state.filter);
        let mut filters: Vec<_> = states.chain(self.customs.iter().map(|c| c.filter)).collect();
        filters.sort_unstable();
        filters.dedup();
        filters
    }
}

impl Planner<'_> {
    fn output(&mut self, call: &AggregateCall) -> Result<Output> {
        let argument = call.arguments.first().copied();
        Ok(match &call.function {
            AggregateKind::CountRows => {
                Output::State(self.state(Fold::CountRows, None, call, false))
            }
            AggregateKind::Count => Output::State(self.count(needed(argument)?, call)?),
            AggregateKind::Sum => {
                let argument = needed(argument)?;
                let fold = sum_of(&column_type(self.input, argument)?)?;
                let seen = !self.always_has_value(argument, call);
                Output::State(self.state(fold, Some(argument), call, seen))
            }
            AggregateKind::Average => {
                let argument = needed(argument)?;
                let data_type = column_type(self.input, argument)?;
                let sum = self.state(sum_of(&data_type)?, Some(argument), call, false);
                Output::Average { sum, count: self.count(argument, call)?, argument: data_type }
            }
            AggregateKind::Min | AggregateKind::Max => {
                let argument = needed(argument)?;
                let greatest = call.function == AggregateKind::Max;
                let fold = self.extreme(&column_type(self.input, argument)?, greatest);
                let seen = matches!(fold, Fold::Extreme { .. });
                Output::State(self.state(fold, Some(argument), call, seen))
            }
            AggregateKind::Bits(op) => {
                let argument = needed(argument)?;
                let data_type = column_type(self.input, argument)?;
                if !data_type.is_integer() {
                    let message = format!("{} is of integers, not of {data_type}", call.function);
                    return Err(Error::input(message));
                }
                // Other than for the rest, the zero that a state begins with is not neutral.
                let seen = *op == BitOp::And || !self.always_has_value(argument, call);
                Output::State(self.state(Fold::Bits(*op), Some(argument), call, seen))
            }
            AggregateKind::Spread(spread) => {
                let argument = needed(argument)?;
                self.needs_double(argument)?;
                let state = self.state(Fold::Moments, Some(argument), call, false);
                Output::Spread { state, spread: *spread }
            }
            AggregateKind::Pairs(statistic) => {
                let (y, x) = (needed(argument)?, needed(call.arguments.get(1).copied())?);
                self.needs_double(y)?;
                self.needs_double(x)?;
                let fold = Fold::PairMoments;
                let wanted =
                    Wanted { fold, argument: Some(y), second: Some(x), filter: call.filter };
                Output::Pairs { state: self.wanted(wanted, false), statistic: *statistic }
            }
            AggregateKind::First { order } => self.best(order, false, needed(argument)?, call)?,
            AggregateKind::Last { order } => self.best(order, true, needed(argument)?, call)?,
            AggregateKind::Custom { function, parameters } => {
                let types = call.arguments.iter().map(|&a| column_type(self.input, a));
                self.customs.push(CustomCall {
                    function: function.clone(),
                    parameters: parameters.clone(),
                    arguments: call.arguments.clone(),
                    argument_types: types.collect::<Result<_>>()?,
                    filter: call.filter,
                    returns: call.data_type.clone(),
                });
                Output::Custom(self.customs.len() - 1)
            }
        })
    }

    /// A value of the first or last row; those of one row come from one state.
    fn best(
        &mut self,
        order: &[SortKey],
        last: bool,
        value: usize,
        call: &AggregateCall,
    ) -> Result<Output> {
        column_type(self.input, value)?;
        let is_same = |store: &WantedStore| match store {
            WantedStore::Rows { order: o, last: l, filter, .. } => {
                o == order && *l == last && *filter == call.filter
            }
            WantedStore::Values(_) => false,
        };
        let store = self.stores.iter().position(is_same).unwrap_or_else(|| {
            let (order, filter, values) = (order.to_vec(), call.filter, Vec::new());
            self.stores.push(WantedStore::Rows { order, last, filter, values });
            self.stores.len() - 1
        });
        let Some(WantedStore::Rows { values, .. }) = self.stores.get_mut(store) else {
            return Err(Error::internal("a store of another kind"));
        };
        let column = values.iter().position(|&known| known == value).unwrap_or_else(|| {
            values.push(value);
            values.len() - 1
        });
        let fold = Fold::Stored { store, greatest: last };
        let state = self.state(fold, None, call, false);
        // The key comes first.
        Ok(Output::Column { state, column: column + 1 })
    }

    fn needs_double(&self, argument: usize) -> Result<()> {
        match column_type(self.input, argument)? {
            DataType::Float64 | DataType::Null => Ok(()),
            other => Err(Error::internal(format!("moments of values of type {other}"))),
        }
    }

    fn count(&mut self, argument: usize, call: &AggregateCall) -> Result<usize> {
        column_type(self.input, argument)?;
        Ok(match self.input.field(argument).is_nullable() {
            true => self.state(Fold::Count, Some(argument), call, false),
            false => self.state(Fold::CountRows, None, call, false),
        })
    }

    /// Whether every group has a value of the argument: it has a row, and no row is left out.
    fn always_has_value(&self, argument: usize, call: &AggregateCall) -> bool {
        self.has_keys && call.filter.is_none() && !self.input.field(argument).is_nullable()
    }

    /// The state that does this, new unless there is one already.
    fn state(
        &mut self,
        fold: Fold,
        argument: Option<usize>,
        call: &AggregateCall,
        seen: bool,
    ) -> usize {
        self.wanted(Wanted { fold, argument, second: None, filter: call.filter }, seen)
    }

    fn wanted(&mut self, wanted: Wanted, seen: bool) -> usize {
        let known = self.wanted.iter().position(|(known, _)| *known == wanted);
        let number = known.unwrap_or_else(|| {
            self.wanted.push((wanted, false));
            self.wanted.len() - 1
        });
        self.wanted[number].1 |= seen;
        number
    }

    fn extreme(&mut self, data_type: &DataType, greatest: bool) -> Fold {
        let kind = match physical_type(data_type) {
            DataType::UInt64 | DataType::Decimal128(..) => ExtremeKind::Wide,
            DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano)
            | DataType::Decimal256(..)
            | DataType::Null => return self.stored(data_type, greatest),
            physical if physical.is_floating() => ExtremeKind::Float,
            physical if physical.is_primitive() || physical == DataType::Boolean => {
                ExtremeKind::Integer
            }
            _ => return self.stored(data_type, greatest),
        };
        Fold::Extreme { kind, greatest }
    }

    fn stored(&mut self, data_type: &DataType, greatest: bool) -> Fold {
        self.stores.push(WantedStore::Values(data_type.clone()));
        Fold::Stored { store: self.stores.len() - 1, greatest }
    }
}

impl WantedStore {
    fn plan(&self, input: &SchemaRef) -> Result<StorePlan> {
        let (order, values) = match self {
            WantedStore::Values(data_type) => {
                let layout = RowLayout::new(std::slice::from_ref(data_type), &[])?;
                return Ok(StorePlan { layout: Arc::new(layout), best: None });
            }
            WantedStore::Rows { order, values, .. } => (order, values),
        };
        let mut columns = vec![DataType::Binary];
        for &value in values {
            columns.push(column_type(input, value)?);
        }
        let layout = Arc::new(RowLayout::new(&columns, &[])?);
        let mut fields = Vec::with_capacity(order.len());
        for key in order {
            let data_type = order_type(&column_type(input, key.column)?);
            let options = SortOptions { descending: key.descending, nulls_first: key.nulls_first };
            fields.push(SortField::new_with_options(data_type, options));
        }
        let converter = match fields.is_empty() {
            true => None,
            false => Some(
                RowConverter::new(fields)
                    .map_err(|e| Error::input(format!("rows cannot be put in this order: {e}")))?,
            ),
        };
        let best = Best { order: order.clone(), converter, values: values.clone() };
        Ok(StorePlan { layout, best: Some(best) })
    }
}

impl Fold {
    fn width(self) -> usize {
        match self {
            Fold::SumInteger | Fold::Extreme { kind: ExtremeKind::Wide, .. } => 16,
            Fold::SumWide => 32,
            Fold::Moments => Moments::WIDTH,
            Fold::PairMoments => PairMoments::WIDTH,
            _ => 8,
        }
    }
}

fn needed(argument: Option<usize>) -> Result<usize> {
    argument.ok_or_else(|| Error::internal("an aggregate without its argument"))
}

fn column_type(schema: &SchemaRef, column: usize) -> Result<DataType> {
    let field = schema.fields().get(column);
    field
        .map(|field| field.data_type().clone())
        .ok_or_else(|| Error::internal(format!("no column {column} to aggregate")))
}

fn sum_of(data_type: &DataType) -> Result<Fold> {
    Ok(match data_type {
        DataType::Dictionary(_, values) => sum_of(values)?,
        DataType::Decimal256(..) => Fold::SumWide,
        DataType::Duration(_) | DataType::Null => Fold::SumInteger,
        number if number.is_integer() || number.is_decimal() => Fold::SumInteger,
        number if number.is_floating() => Fold::SumFloat,
        other => {
            return Err(Error::input(format!("values of type {other} cannot be added up")));
        }
    })
}
