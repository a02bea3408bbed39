//! From an aggregate's kind and types to what computes it.

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, IntervalUnit};

use super::custom::{Custom, CustomArgument, CustomCall};
use super::distinct::Member;
use super::evaluate::{Evaluate, Results, Span};
use super::extremes::Extreme;
use super::forms::{ByOthers, Form, Keys, OfForm, with_form};
use super::lane::{
    KeyLane, Lane, MeasuredLane, Values, floats, integers, presence, small_integers, wide_integers,
};
use super::plan::{constant_array, grows};
use super::sorted::{Mode, Percentile, Sorted};
use super::statistics::{BitsOf, PairLane, PairsOf, SpreadOf};
use super::store::Store;
use super::totals::{Combine, Count, FloatSum, IntegerSum, Sum, Totals, WideSum};
use crate::batch::physical_type;
use crate::error::{Error, Result};
use crate::expr::totals::Quotient;
use crate::expr::{
    AggregateKind, AggregateRef, BitOp, Literal, OrderedKind, WindowArgument, WindowCall,
    WindowKind,
};

/// What aggregates are over.
pub(super) struct Aggregates<'a> {
    /// The logical types of the input's columns.
    pub(super) types: &'a [DataType],
    /// Which of them may be NULL.
    pub(super) nullable: &'a [bool],
    /// Number of the call's frame.
    pub(super) frame: usize,
}

impl Aggregates<'_> {
    /// What computes a call.
    ///
    /// # Errors
    /// `Internal` when it does not fit the input, `Input` for types that it is not defined on.
    pub(super) fn evaluator(
        &self,
        call: &WindowCall,
        kind: &AggregateKind,
    ) -> Result<Box<dyn Evaluate>> {
        if let Some(filter) = call.filter {
            self.column_type(filter)?;
        }
        if call.distinct {
            return self.distinct(call, kind);
        }
        match kind {
            AggregateKind::CountRows => match call.filter {
                None => Ok(Box::new(CountRows { frame: self.frame })),
                // The filter's own column is there wherever it is true.
                Some(filter) => Ok(self.count(call, filter)),
            },
            AggregateKind::Count => {
                let column = column(call)?;
                self.column_type(column)?;
                if !self.nullable[column] && call.filter.is_none() {
                    return Ok(Box::new(CountRows { frame: self.frame }));
                }
                Ok(self.count(call, column))
            }
            AggregateKind::Sum => self.sum(call, false),
            AggregateKind::Average => self.sum(call, true),
            AggregateKind::Min => self.extreme(call, false),
            AggregateKind::Max => self.extreme(call, true),
            AggregateKind::Custom { function, parameters } => {
                self.custom(call, function, parameters)
            }
            AggregateKind::Bits(op) => {
                let lane = Lane::new(column(call)?, call.filter, integers());
                let combine = BitsOf { op: *op, data_type: call.data_type.clone() };
                Ok(self.queueing(call, lane, combine))
            }
            AggregateKind::Spread(spread) => {
                let lane = Lane::new(self.double(call, 0)?, call.filter, floats());
                let combine = SpreadOf { spread: *spread, data_type: call.data_type.clone() };
                Ok(self.queueing(call, lane, combine))
            }
            AggregateKind::Pairs(statistic) => {
                let (y, x) = (self.double(call, 0)?, self.double(call, 1)?);
                let lane = |column| Lane::new(column, call.filter, floats());
                let lane = PairLane { y: lane(y), x: lane(x) };
                let combine = PairsOf { statistic: *statistic, data_type: call.data_type.clone() };
                Ok(self.queueing(call, lane, combine))
            }
            AggregateKind::First { .. } | AggregateKind::Last { .. } => {
                Err(Error::internal(format!("{kind} OVER is a window function")))
            }
        }
    }

    fn count(&self, call: &WindowCall, column: usize) -> Box<dyn Evaluate> {
        let lane = || Lane::new(column, call.filter, presence());
        self.subtracting(call, lane, Count::new())
    }

    /// An aggregate that sees equal values once.
    fn distinct(&self, call: &WindowCall, kind: &AggregateKind) -> Result<Box<dyn Evaluate>> {
        match kind {
            AggregateKind::Count => self.count_distinct(call),
            AggregateKind::Sum => self.sum_distinct(call, false),
            AggregateKind::Average => self.sum_distinct(call, true),
            // Equal values make no difference to these.
            AggregateKind::Min | AggregateKind::Max => {
                self.extreme(call, *kind == AggregateKind::Max)
            }
            AggregateKind::Bits(BitOp::And | BitOp::Or) => {
                self.evaluator(&WindowCall { distinct: false, ..call.clone() }, kind)
            }
            _ => Err(Error::input(format!("{call} OVER is not supported"))),
        }
    }

    fn count_distinct(&self, call: &WindowCall) -> Result<Box<dyn Evaluate>> {
        let column = column(call)?;
        let lane = |decode| Lane::new(column, call.filter, decode);
        let keys = |physical| KeyLane::new(column, call.filter, physical);
        Ok(match physical_type(self.column_type(column)?) {
            DataType::UInt64 | DataType::Decimal128(..) => {
                self.once(call, [lane(integers()), lane(integers())], Count::new())
            }
            wide @ (DataType::Decimal256(..)
            | DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano)) => {
                self.once(call, [keys(&wide)?, keys(&wide)?], Count::new())
            }
            float if float.is_floating() => {
                let lane = || Lane::new(column, call.filter, floats());
                self.once(call, [lane(), lane()], Count::new())
            }
            small
                if small.is_primitive() || matches!(small, DataType::Boolean | DataType::Null) =>
            {
                let lane = || Lane::new(column, call.filter, small_integers());
                self.once(call, [lane(), lane()], Count::new())
            }
            other => self.once(call, [keys(&other)?, keys(&other)?], Count::new()),
        })
    }

    fn sum_distinct(&self, call: &WindowCall, is_average: bool) -> Result<Box<dyn Evaluate>> {
        let sum = self.sum_of(call, is_average)?;
        let column = column(call)?;
        Ok(match Summed::of(&physical_type(self.column_type(column)?))? {
            Summed::Wide => {
                let lane = || Lane::new(column, call.filter, wide_integers());
                self.once(call, [lane(), lane()], WideSum(sum))
            }
            Summed::Integers => {
                let lane = || Lane::new(column, call.filter, integers());
                self.once(call, [lane(), lane()], IntegerSum(sum))
            }
            Summed::Floats if grows(&call.frame) => {
                let lane = || Lane::new(column, call.filter, floats());
                self.once(call, [lane(), lane()], FloatSum(sum))
            }
            Summed::Floats => {
                return Err(Error::input(format!(
                    "{call} OVER is not supported for floating-point numbers in frames that do \
                     not begin with their partition; use decimals"
                )));
            }
        })
    }

    fn sum(&self, call: &WindowCall, is_average: bool) -> Result<Box<dyn Evaluate>> {
        let sum = self.sum_of(call, is_average)?;
        let column = column(call)?;
        Ok(match Summed::of(&physical_type(self.column_type(column)?))? {
            Summed::Wide => {
                let lane = || Lane::new(column, call.filter, wide_integers());
                self.subtracting(call, lane, WideSum(sum))
            }
            Summed::Floats => {
                self.queueing(call, Lane::new(column, call.filter, floats()), FloatSum(sum))
            }
            Summed::Integers => {
                let lane = || Lane::new(column, call.filter, integers());
                self.subtracting(call, lane, IntegerSum(sum))
            }
        })
    }

    fn sum_of(&self, call: &WindowCall, is_average: bool) -> Result<Sum> {
        let argument = self.column_type(column(call)?)?;
        let quotient = match is_average {
            true => Some(Quotient::of(argument, &call.data_type)?),
            false => None,
        };
        Ok(Sum { data_type: call.data_type.clone(), quotient })
    }

    fn extreme(&self, call: &WindowCall, greatest: bool) -> Result<Box<dyn Evaluate>> {
        struct OfExtreme<'a>(&'a Aggregates<'a>, &'a WindowCall, bool);

        impl OfForm for OfExtreme<'_> {
            fn make<L, F>(self, lane: impl Fn() -> Result<L>, form: F) -> Result<Box<dyn Evaluate>>
            where
                L: Values<Value = F::Value> + 'static,
                F: Form + 'static,
            {
                Ok(self.0.queueing(self.1, lane()?, Extreme { form, greatest: self.2 }))
            }
        }

        let column = column(call)?;
        let argument = (column, self.column_type(column)?);
        with_form(OfExtreme(self, call, greatest), argument, call.filter, &call.data_type)
    }

    /// A percentile or the mode; by a second column, where there is one.
    ///
    /// # Errors
    /// As [`Self::evaluator`].
    pub(super) fn of_sorted(&self, call: &WindowCall) -> Result<Box<dyn Evaluate>> {
        struct OfSorted<'a>(&'a WindowCall, Option<&'a OrderedKind>, usize);

        impl OfForm for OfSorted<'_> {
            fn make<L, F>(self, lane: impl Fn() -> Result<L>, form: F) -> Result<Box<dyn Evaluate>>
            where
                L: Values<Value = F::Value> + 'static,
                F: Form + 'static,
            {
                let OfSorted(call, percentile, frame) = self;
                let leaving = (!grows(&call.frame)).then(&lane).transpose()?;
                let frames = (frame, call.over.partition);
                Ok(match percentile {
                    Some(kind) => {
                        let percentile = Percentile::new(kind.clone());
                        Box::new(Sorted::new(lane()?, leaving, (form, percentile), frames))
                    }
                    None => Box::new(Sorted::new(lane()?, leaving, (form, Mode::new()), frames)),
                })
            }
        }

        let column = column(call)?;
        let argument = (column, self.column_type(column)?);
        let percentile = match &call.function {
            WindowKind::Mode => None,
            WindowKind::Percentile(
                kind @ (OrderedKind::PercentileCont { .. } | OrderedKind::PercentileDisc { .. }),
            ) => Some(kind),
            other => return Err(Error::input(format!("{other} OVER is no percentile"))),
        };
        let of = OfSorted(call, percentile, self.frame);
        if let Some(WindowArgument::Column(by)) = call.arguments.get(1) {
            let lane = |column: usize| {
                KeyLane::new(column, call.filter, &physical_type(self.column_type(column)?))
            };
            let measured = || Ok(MeasuredLane { values: lane(column)?, by: lane(*by)? });
            return of.make(measured, ByOthers(Keys::new(physical_type(argument.1))?));
        }
        with_form(of, argument, call.filter, &call.data_type)
    }

    fn custom(
        &self,
        call: &WindowCall,
        function: &AggregateRef,
        parameters: &[Literal],
    ) -> Result<Box<dyn Evaluate>> {
        let argument = |argument: &WindowArgument| match argument {
            WindowArgument::Column(column) => {
                Ok(CustomArgument::Column(*column, self.column_type(*column)?.clone()))
            }
            WindowArgument::Constant(value) => Ok(CustomArgument::Constant(constant_array(value)?)),
        };
        Ok(Box::new(Custom::new(CustomCall {
            function: function.get()?.clone(),
            parameters: parameters.to_vec(),
            arguments: call.arguments.iter().map(argument).collect::<Result<_>>()?,
            filter: call.filter,
            returns: call.data_type.clone(),
            frame: self.frame,
            partition: call.over.partition,
            grows: grows(&call.frame),
        })))
    }

    fn subtracting<L, C>(
        &self,
        call: &WindowCall,
        lane: impl Fn() -> L,
        combine: C,
    ) -> Box<dyn Evaluate>
    where
        L: Values + 'static,
        C: Combine<Value = L::Value> + 'static,
    {
        let totals = Totals::new(lane(), combine, self.frame, call.over.partition);
        match grows(&call.frame) {
            true => Box::new(totals),
            false => Box::new(totals.subtracting(lane())),
        }
    }

    fn queueing<L, C>(&self, call: &WindowCall, lane: L, combine: C) -> Box<dyn Evaluate>
    where
        L: Values + 'static,
        C: Combine<Value = L::Value> + 'static,
    {
        let totals = Totals::new(lane, combine, self.frame, call.over.partition);
        match grows(&call.frame) {
            true => Box::new(totals),
            false => Box::new(totals.queueing()),
        }
    }

    /// Of distinct values. The second lane is for those that leave.
    fn once<L, C>(&self, call: &WindowCall, [enter, leave]: [L; 2], combine: C) -> Box<dyn Evaluate>
    where
        L: Values<Value: Member> + 'static,
        C: Combine<Value = L::Value> + 'static,
    {
        let totals = Totals::new(enter, combine, self.frame, call.over.partition);
        match grows(&call.frame) {
            true => Box::new(totals.distinct()),
            false => Box::new(totals.subtracting(leave).distinct()),
        }
    }

    /// The column of an argument that is a double.
    fn double(&self, call: &WindowCall, number: usize) -> Result<usize> {
        let column = match call.arguments.get(number) {
            Some(WindowArgument::Column(column)) => *column,
            _ => return Err(Error::internal(format!("{call} is of columns"))),
        };
        match self.column_type(column)? {
            DataType::Float64 | DataType::Null => Ok(column),
            other => Err(Error::internal(format!("{call} of values of type {other}"))),
        }
    }

    fn column_type(&self, column: usize) -> Result<&DataType> {
        let data_type = self.types.get(column);
        data_type.ok_or_else(|| Error::internal(format!("no column {column} in a window")))
    }
}

fn column(call: &WindowCall) -> Result<usize> {
    match call.arguments.first() {
        Some(WindowArgument::Column(column)) => Ok(*column),
        _ => Err(Error::internal(format!("{call} is of a column"))),
    }
}

/// What is added up.
enum Summed {
    Integers,
    Wide,
    Floats,
}

impl Summed {
    fn of(physical: &DataType) -> Result<Self> {
        match physical {
            DataType::Decimal256(..) => Ok(Summed::Wide),
            float if float.is_floating() => Ok(Summed::Floats),
            number
                if number.is_integer()
                    || number.is_decimal()
                    || matches!(number, DataType::Duration(_) | DataType::Null) =>
            {
                Ok(Summed::Integers)
            }
            other => Err(Error::input(format!("values of type {other} cannot be added up"))),
        }
    }
}

/// `count(*)`: the rows of the frame.
struct CountRows {
    frame: usize,
}

impl Evaluate for CountRows {
    fn evaluate(&mut self, span: &Span<'_>, _: &mut Store) -> Result<Results> {
        let counts = span.frames(self.frame).map(|(start, end)| end.saturating_sub(start) as i64);
        Ok(Results::of(Int64Array::from_iter_values(counts)))
    }
}
