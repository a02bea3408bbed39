//! Random windows over random tables.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use gristmill_engine::expr::{
    AggregateKind, BitOp, Frame, FrameBound, FrameUnits, Literal, OrderedKind, Over, PairStatistic,
    SortKey, Value, WindowArgument, WindowCall, WindowKind,
};
use gristmill_engine::operators::Window;

use crate::random::Random;

/// A random window over the columns of a table.
pub fn window(random: &mut Random, table: &RecordBatch) -> Window {
    let types: Vec<DataType> =
        table.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let count = random.below(4);
    let keys: Vec<SortKey> = (0..count)
        .map(|_| SortKey {
            column: random.below(types.len()),
            descending: random.chance(40),
            nulls_first: random.chance(50),
        })
        .collect();
    let mut generator = Generator { random, types: &types, keys: &keys };
    let calls: Vec<WindowCall> =
        (0..1 + generator.random.below(5)).map(|_| generator.call()).collect();
    let names = (0..calls.len()).map(|number| format!("w{number}")).collect();
    Window { keys, calls, names }
}

struct Generator<'a> {
    random: &'a mut Random,
    types: &'a [DataType],
    keys: &'a [SortKey],
}

impl Generator<'_> {
    fn call(&mut self) -> WindowCall {
        let partition = self.random.below(self.keys.len() + 1);
        let order = partition + self.random.below(self.keys.len() - partition + 1);
        let over = Over { partition, order };
        let frame = self.frame(over);
        let column = self.random.below(self.types.len());
        let of = self.types[column].clone();
        let value = || vec![WindowArgument::Column(column)];
        let int = || DataType::Int64;
        let (function, arguments, data_type) = match self.random.below(25) {
            0 => (WindowKind::RowNumber, Vec::new(), int()),
            1 => (WindowKind::Rank, Vec::new(), int()),
            2 => (WindowKind::DenseRank, Vec::new(), int()),
            3 => (WindowKind::PercentRank, Vec::new(), DataType::Float64),
            4 => (WindowKind::CumeDist, Vec::new(), DataType::Float64),
            5 => {
                let parts = 1 + self.random.below(5) as i64;
                (WindowKind::Ntile, vec![WindowArgument::Constant(Literal::int(parts))], int())
            }
            6 | 7 => (WindowKind::Lag, self.shift(column), of),
            8 | 9 => (WindowKind::Lead, self.shift(column), of),
            10 => (WindowKind::FirstValue, value(), of),
            11 => (WindowKind::LastValue, value(), of),
            12 => {
                let nth = self.offset(1);
                (WindowKind::NthValue, vec![WindowArgument::Column(column), nth], of)
            }
            13 => (WindowKind::Aggregate(AggregateKind::CountRows), Vec::new(), int()),
            14 => (WindowKind::Aggregate(AggregateKind::Count), value(), int()),
            15 => (WindowKind::Aggregate(AggregateKind::Min), value(), of),
            16 => (WindowKind::Aggregate(AggregateKind::Max), value(), of),
            18 if matches!(of, DataType::Int32 | DataType::Int64) => {
                let op = *self.random.pick(&[BitOp::And, BitOp::Or, BitOp::Xor]);
                (WindowKind::Aggregate(AggregateKind::Bits(op)), value(), of)
            }
            19 if of == DataType::Float64 => {
                // A pair with itself is there where the value is.
                let kind = AggregateKind::Pairs(PairStatistic::Count);
                (WindowKind::Aggregate(kind), [value(), value()].concat(), int())
            }
            17 if average_of(&of).is_some() => {
                let data_type = average_of(&of).expect("just asked");
                (WindowKind::Aggregate(AggregateKind::Average), value(), data_type)
            }
            22 => (WindowKind::Mode, value(), of),
            23 | 24 => {
                let fraction = *self.random.pick(&[0.0, 0.25, 0.5, 0.9, 1.0]);
                let has_between = matches!(of, DataType::Float64 | DataType::Decimal128(..));
                let kind = match has_between && self.random.chance(60) {
                    true => OrderedKind::PercentileCont { fraction },
                    false => OrderedKind::PercentileDisc { fraction },
                };
                (WindowKind::Percentile(kind), value(), of)
            }
            _ => match sum_of(&of) {
                Some(sum) => (WindowKind::Aggregate(AggregateKind::Sum), value(), sum),
                None => (WindowKind::Aggregate(AggregateKind::Count), value(), int()),
            },
        };
        let by_column = matches!(arguments.get(1), Some(WindowArgument::Column(_)));
        let passes_over = matches!(
            function,
            WindowKind::Lag
                | WindowKind::Lead
                | WindowKind::FirstValue
                | WindowKind::LastValue
                | WindowKind::NthValue
        );
        let filters: Vec<usize> = (0..self.types.len())
            .filter(|&column| self.types[column] == DataType::Boolean)
            .collect();
        let is_aggregate = matches!(
            function,
            WindowKind::Aggregate(_) | WindowKind::Percentile(_) | WindowKind::Mode
        );
        let filter = (is_aggregate && !filters.is_empty() && self.random.chance(30))
            .then(|| *self.random.pick(&filters));
        let ignore_nulls = passes_over && !by_column && self.random.chance(40);
        let distinct =
            is_distinct(&function, &self.types[column], &frame) && self.random.chance(40);
        WindowCall { function, arguments, filter, distinct, ignore_nulls, over, frame, data_type }
    }

    fn shift(&mut self, column: usize) -> Vec<WindowArgument> {
        let mut arguments = vec![WindowArgument::Column(column)];
        if self.random.chance(70) {
            arguments.push(self.offset(-2));
        }
        if arguments.len() == 2 && self.random.chance(50) {
            let same: Vec<usize> =
                (0..self.types.len()).filter(|&c| self.types[c] == self.types[column]).collect();
            arguments.push(match self.random.chance(50) {
                true => WindowArgument::Column(*self.random.pick(&same)),
                false => WindowArgument::Constant(some_constant(&self.types[column])),
            });
        }
        arguments
    }

    /// A number of rows of at least `least`, NULL at times, or a column.
    fn offset(&mut self, least: i64) -> WindowArgument {
        let columns: Vec<usize> =
            (0..self.types.len()).filter(|&column| self.types[column] == DataType::Int64).collect();
        match self.random.below(10) {
            0 => WindowArgument::Constant(Literal::null(DataType::Int64)),
            1 | 2 if !columns.is_empty() => WindowArgument::Column(*self.random.pick(&columns)),
            _ => WindowArgument::Constant(Literal::int(self.random.between(least, 4))),
        }
    }

    fn frame(&mut self, over: Over) -> Frame {
        let key = self.keys.get(over.partition).filter(|_| over.order == over.partition + 1);
        let key = key.map(|key| self.types[key.column].clone());
        let units = match self.random.below(3) {
            0 => FrameUnits::Rows,
            1 => FrameUnits::Groups,
            _ => FrameUnits::Range,
        };
        let mut bound = |is_end: bool| {
            let offset = match (units, &key) {
                (FrameUnits::Range, Some(key)) => distance(self.random, key),
                (FrameUnits::Range, None) => None,
                _ => Some(rows(self.random)),
            };
            match (self.random.below(5), offset) {
                (0 | 1, Some(offset)) => FrameBound::Preceding(offset),
                (2, Some(offset)) => FrameBound::Following(offset),
                (3, _) => FrameBound::CurrentRow,
                _ if is_end => FrameBound::UnboundedFollowing,
                _ => FrameBound::UnboundedPreceding,
            }
        };
        Frame { units, start: bound(false), end: bound(true) }
    }
}

/// Whether an aggregate may see equal values once.
fn is_distinct(function: &WindowKind, of: &DataType, frame: &Frame) -> bool {
    match function {
        WindowKind::Aggregate(AggregateKind::Sum | AggregateKind::Average) => {
            *of != DataType::Float64 || frame.start == FrameBound::UnboundedPreceding
        }
        WindowKind::Aggregate(kind) => matches!(
            kind,
            AggregateKind::Count
                | AggregateKind::Min
                | AggregateKind::Max
                | AggregateKind::Bits(BitOp::And | BitOp::Or)
        ),
        _ => false,
    }
}

fn rows(random: &mut Random) -> Literal {
    let count = *random.pick(&[0, 1, 1, 2, 3, 10, 1000, u64::MAX]);
    Literal { data_type: DataType::UInt64, value: Value::UInt(count) }
}

/// An offset of RANGE over keys of a type, if there is one.
fn distance(random: &mut Random, key: &DataType) -> Option<Literal> {
    let by = random.between(0, 4);
    let value = match key {
        DataType::Int32 | DataType::Int64 => Value::Int(by),
        DataType::Decimal128(..) => Value::Decimal(i128::from(by) * 50),
        DataType::Float64 => Value::Float(by as f64 / 2.0),
        DataType::Date32 => {
            let months = *random.pick(&[0, 0, 1, 13]);
            let value = Value::Interval { months, days: by as i32, nanoseconds: 0 };
            let data_type = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
            return Some(Literal { data_type, value });
        }
        _ => return None,
    };
    Some(Literal { data_type: key.clone(), value })
}

fn sum_of(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Int32 | DataType::Int64 => Some(DataType::Int64),
        DataType::Float64 => Some(DataType::Float64),
        DataType::Decimal128(p, s) => Some(DataType::Decimal128((p + 10).min(38), *s)),
        _ => None,
    }
}

fn average_of(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Float64 => Some(DataType::Float64),
        DataType::Decimal128(p, s) => Some(DataType::Decimal128((p + 4).min(38), s + 4)),
        _ => None,
    }
}

fn some_constant(data_type: &DataType) -> Literal {
    let value = match data_type {
        DataType::Boolean => Value::Bool(true),
        DataType::Float64 => Value::Float(-7.5),
        DataType::Decimal128(..) => Value::Decimal(12_345),
        DataType::Utf8 => Value::Text("a default longer than twelve bytes".into()),
        _ => Value::Int(77),
    };
    Literal { data_type: data_type.clone(), value }
}
