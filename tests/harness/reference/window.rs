//! Window functions, by the definition: for every row all rows of its partition are looked at.

use arrow::datatypes::DataType;
use gristmill_engine::expr::{
    AggregateKind, BitOp, Frame, FrameBound, FrameUnits, Literal, OrderedKind, PairStatistic,
    SortKey, Value as Exact, WindowArgument, WindowCall, WindowKind,
};
use gristmill_engine::operators::Window;

use super::expr::Failure;
use super::plan::{Call, Function, Key, call_over, compare_rows, rounded_quotient};
use super::value::{Row, Value};

/// The rows in the order of the window's keys, with the results behind them. `types` are those of
/// the rows' columns.
///
/// # Errors
/// When a result does not fit its type, or an argument is out of range.
pub fn window(rows: &[Row], types: &[DataType], spec: &Window) -> Result<Vec<Row>, Failure> {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| compare_rows(a, b, &keys(&spec.keys)));
    let result = |number: usize| {
        let mut row = rows[number].clone();
        for call in &spec.calls {
            let place = Place::new(&rows, number, call, &spec.keys);
            row.push(place.result(types)?);
        }
        Ok(row)
    };
    (0..rows.len()).map(result).collect()
}

fn keys(keys: &[SortKey]) -> Vec<Key> {
    let key = |k: &SortKey| Key {
        column: k.column,
        descending: k.descending,
        nulls_first: k.nulls_first,
    };
    keys.iter().map(key).collect()
}

/// A row in its partition.
struct Place<'a> {
    partition: Vec<&'a Row>,
    /// By row of the partition, the number of its group of peers.
    groups: Vec<usize>,
    /// Number of the row.
    row: usize,
    call: &'a WindowCall,
    keys: &'a [SortKey],
}

impl<'a> Place<'a> {
    fn new(rows: &'a [Row], number: usize, call: &'a WindowCall, keys: &'a [SortKey]) -> Self {
        let same = |a: &Row, b: &Row, count: usize| {
            keys[..count].iter().all(|key| a[key.column].same(&b[key.column]))
        };
        let (mut partition, mut row): (Vec<&Row>, usize) = (Vec::new(), 0);
        for (at, other) in rows.iter().enumerate() {
            if at == number {
                row = partition.len();
            }
            if same(&rows[number], other, call.over.partition) {
                partition.push(other);
            }
        }
        let mut groups = vec![0; partition.len()];
        for at in 1..partition.len() {
            let is_peer = same(partition[at - 1], partition[at], call.over.order);
            groups[at] = groups[at - 1] + usize::from(!is_peer);
        }
        Place { partition, groups, row, call, keys }
    }

    fn result(&self, types: &[DataType]) -> Result<Value, Failure> {
        let rows = self.partition.len();
        let own = self.groups[self.row];
        let before = self.groups.iter().filter(|&&group| group < own).count();
        let up_to = self.groups.iter().filter(|&&group| group <= own).count();
        let share =
            |a: usize, b: usize| Value::Float(if b == 0 { 0.0 } else { a as f64 / b as f64 });
        Ok(match &self.call.function {
            WindowKind::RowNumber => Value::Int(self.row as i128 + 1),
            WindowKind::Rank => Value::Int(before as i128 + 1),
            WindowKind::DenseRank => Value::Int(own as i128 + 1),
            WindowKind::PercentRank => share(before, rows - 1),
            WindowKind::CumeDist => share(up_to, rows),
            WindowKind::Ntile => Value::Int(self.tile()),
            WindowKind::Lag => self.shifted(-1),
            WindowKind::Lead => self.shifted(1),
            WindowKind::FirstValue => self.nth(Some(1), false)?,
            WindowKind::LastValue => self.nth(Some(1), true)?,
            WindowKind::NthValue => self.nth(self.number(1), false)?,
            WindowKind::Aggregate(kind) => self.aggregate(kind, types)?,
            WindowKind::Percentile(kind) => percentile(kind, &self.sorted_values()),
            WindowKind::Mode => mode(&self.sorted_values()),
        })
    }

    /// The parts are as long as they are dealt out, row after row, to one part after another.
    fn tile(&self) -> i128 {
        let parts = self.number(0).expect("a number of parts");
        let mut sizes = vec![0usize; parts as usize];
        for row in 0..self.partition.len() {
            sizes[row % parts as usize] += 1;
        }
        let mut end = 0;
        for (part, size) in sizes.iter().enumerate() {
            end += size;
            if self.row < end {
                return part as i128 + 1;
            }
        }
        panic!("a row in no part")
    }

    /// A whole number among the arguments, of this row.
    fn number(&self, position: usize) -> Option<i64> {
        match self.call.arguments.get(position)? {
            WindowArgument::Column(column) => match &self.partition[self.row][*column] {
                Value::Int(value) => Some(*value as i64),
                _ => None,
            },
            WindowArgument::Constant(literal) => match &literal.value {
                Exact::Int(value) => Some(*value),
                Exact::UInt(value) => Some(*value as i64),
                _ => None,
            },
        }
    }

    fn value(&self, row: usize) -> Value {
        let Some(WindowArgument::Column(column)) = self.call.arguments.first() else {
            panic!("the value of a column")
        };
        self.partition[row][*column].clone()
    }

    fn shifted(&self, direction: i128) -> Value {
        let by = if self.call.arguments.len() < 2 { Some(1) } else { self.number(1) };
        let Some(by) = by else { return Value::Null };
        let mut left = i128::from(by) * direction;
        let mut at = self.row as i128;
        if !self.call.ignore_nulls {
            at += left;
            left = 0;
        }
        while left != 0 && (0..self.partition.len() as i128).contains(&at) {
            at += left.signum();
            let is_valid = usize::try_from(at)
                .is_ok_and(|at| at < self.partition.len() && !self.value(at).is_null());
            left -= if is_valid { left.signum() } else { 0 };
        }
        match usize::try_from(at) {
            Ok(at) if at < self.partition.len() => self.value(at),
            _ => match self.call.arguments.get(2) {
                None => Value::Null,
                Some(WindowArgument::Column(column)) => self.partition[self.row][*column].clone(),
                Some(WindowArgument::Constant(literal)) => constant(literal),
            },
        }
    }

    fn nth(&self, nth: Option<i64>, from_end: bool) -> Result<Value, Failure> {
        let Some(nth) = nth else { return Ok(Value::Null) };
        if nth < 1 {
            return Err(Failure::Certain);
        }
        let mut values: Vec<Value> = self.frame().map(|row| self.value(row)).collect();
        values.retain(|value| !(self.call.ignore_nulls && value.is_null()));
        if from_end {
            values.reverse();
        }
        Ok(values.get(nth as usize - 1).cloned().unwrap_or(Value::Null))
    }

    fn aggregate(&self, kind: &AggregateKind, types: &[DataType]) -> Result<Value, Failure> {
        let mut members: Vec<Row> = self.frame().map(|row| self.partition[row].clone()).collect();
        let column = match self.call.arguments.first() {
            Some(WindowArgument::Column(column)) => Some(*column),
            _ => None,
        };
        if let (true, Some(column)) = (self.call.distinct, column) {
            let counts = |row: &Row| match self.call.filter {
                Some(filter) => matches!(row[filter], Value::Bool(true)),
                None => true,
            };
            members.retain(counts);
            let mut seen: Vec<Value> = Vec::new();
            members.retain(|row| {
                let is_new = !seen.iter().any(|value| value.same(&row[column]));
                seen.extend(is_new.then(|| row[column].clone()));
                is_new
            });
        }
        let over = |function: Function, output: DataType| {
            let input = column.map_or(DataType::Null, |column| types[column].clone());
            let filter = self.call.filter;
            let order = Vec::new();
            call_over(&Call { function, column, filter, order, input, output }, &members)
        };
        let output = self.call.data_type.clone();
        match kind {
            AggregateKind::CountRows | AggregateKind::Count => over(Function::Count, output),
            AggregateKind::Sum => over(Function::Sum, output),
            AggregateKind::Min => over(Function::Min, output),
            AggregateKind::Max => over(Function::Max, output),
            AggregateKind::Average => {
                let wide = DataType::Decimal128(38, 0);
                let sum = if output == DataType::Float64 { output } else { wide };
                let count = over(Function::Count, DataType::Int64)?;
                let input = column.map(|column| &types[column]);
                Ok(average(over(Function::Sum, sum)?, count, input, &self.call.data_type))
            }
            AggregateKind::Bits(BitOp::And) => over(Function::BitAnd, output),
            AggregateKind::Bits(BitOp::Or) => over(Function::BitOr, output),
            AggregateKind::Bits(BitOp::Xor) => over(Function::BitXor, output),
            AggregateKind::Pairs(PairStatistic::Count) => over(Function::Count, output),
            other => panic!("no reference for {other}"),
        }
    }

    /// The values of the frame that count, in their own order.
    fn sorted_values(&self) -> Vec<Value> {
        let Some(WindowArgument::Column(column)) = self.call.arguments.first() else {
            panic!("{} of no column", self.call.function)
        };
        let counts = |row: &Row| match self.call.filter {
            Some(filter) => matches!(row[filter], Value::Bool(true)),
            None => true,
        };
        let rows = self.frame().map(|row| &self.partition[row]).filter(|row| counts(row));
        let mut values: Vec<Value> = rows.map(|row| row[*column].clone()).collect();
        values.retain(|value| !value.is_null());
        values.sort_by(Value::compare);
        values
    }

    /// The rows of the frame, in order.
    fn frame(&self) -> impl Iterator<Item = usize> + '_ {
        let Frame { start, end, .. } = &self.call.frame;
        (0..self.partition.len())
            .filter(|&row| self.is_behind(row, start) && self.is_before(row, end))
    }

    /// Whether a row is not before the start.
    fn is_behind(&self, row: usize, start: &FrameBound) -> bool {
        self.distance(row, start, 1) >= 0
    }

    /// Whether a row is not behind the end.
    fn is_before(&self, row: usize, end: &FrameBound) -> bool {
        self.distance(row, end, -1) <= 0
    }

    /// Where a row is seen from a bound: before it, at it, behind it. An unbounded bound is on the
    /// other side of all rows.
    fn distance(&self, row: usize, bound: &FrameBound, unbounded: i128) -> i128 {
        let (offset, direction) = match bound {
            FrameBound::UnboundedPreceding | FrameBound::UnboundedFollowing => return unbounded,
            FrameBound::CurrentRow => (None, 0),
            FrameBound::Preceding(offset) => (Some(offset), -1),
            FrameBound::Following(offset) => (Some(offset), 1),
        };
        let count = |offset: Option<&Literal>| match offset.map(|literal| &literal.value) {
            None => 0,
            Some(Exact::UInt(count)) => i128::from(*count),
            other => panic!("{other:?} rows"),
        };
        let groups = self.groups[row] as i128 - self.groups[self.row] as i128;
        match (self.call.frame.units, offset) {
            (FrameUnits::Rows, offset) => {
                row as i128 - (self.row as i128 + direction * count(offset))
            }
            (FrameUnits::Groups, offset) => groups - direction * count(offset),
            (FrameUnits::Range, None) => groups,
            (FrameUnits::Range, Some(offset)) => {
                let key = &self.keys[self.call.over.partition];
                let own = &self.partition[self.row][key.column];
                let other = &self.partition[row][key.column];
                if own.is_null() || other.is_null() {
                    return groups;
                }
                let direction = if key.descending { -direction } else { direction };
                let order = other.compare(&moved(own, offset, direction)) as i128;
                if key.descending { -order } else { order }
            }
        }
    }
}

fn percentile(kind: &OrderedKind, sorted: &[Value]) -> Value {
    let Some(last) = sorted.len().checked_sub(1) else { return Value::Null };
    match kind {
        OrderedKind::PercentileCont { fraction } => {
            let at = fraction * last as f64;
            let (low, high) = (&sorted[at.floor() as usize], &sorted[at.ceil() as usize]);
            let part = at.fract();
            match (low, high) {
                _ if low.same(high) || part == 0.0 => low.clone(),
                (Value::Int(a), Value::Int(b)) => {
                    Value::Int(a + ((b - a) as f64 * part).round() as i128)
                }
                (Value::Float(a), Value::Float(b)) if *a == f64::NEG_INFINITY && b.is_finite() => {
                    low.clone()
                }
                (Value::Float(a), Value::Float(b)) => Value::Float(a + (b - a) * part),
                other => panic!("nothing is between {other:?}"),
            }
        }
        OrderedKind::PercentileDisc { fraction } => {
            // The least value that so many are not greater than.
            let wanted = fraction * sorted.len() as f64;
            let is_enough = |rank: &usize| (rank + 1) as f64 >= wanted;
            sorted[(0..=last).find(is_enough).unwrap_or(last)].clone()
        }
        other => panic!("no reference for {other:?}"),
    }
}

fn mode(sorted: &[Value]) -> Value {
    let count = |value: &Value| sorted.iter().filter(|other| other.same(value)).count();
    let most = sorted.iter().map(count).max().unwrap_or(0);
    sorted.iter().find(|value| count(value) == most).cloned().unwrap_or(Value::Null)
}

/// A key so much less or greater.
fn moved(key: &Value, offset: &Literal, direction: i128) -> Value {
    match (key, &offset.value) {
        (Value::Int(key), Exact::Int(by)) => Value::Int(key + direction * i128::from(*by)),
        (Value::Int(key), Exact::Decimal(by)) => Value::Int(key + direction * by),
        (Value::Float(key), Exact::Float(by)) => Value::Float(key + direction as f64 * by),
        (Value::Int(days), Exact::Interval { months, days: by, nanoseconds: 0 }) => {
            let later = months_later(*days, direction * i128::from(*months));
            Value::Int(later + direction * i128::from(*by))
        }
        other => panic!("a key and an offset: {other:?}"),
    }
}

/// Days since 1970, which are after it, moved by months one day at a time.
fn months_later(days: i128, months: i128) -> i128 {
    let length = |year: i128, month: i128| match month {
        1 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    let (mut month, mut day) = (0, days);
    let size = |month: i128| length(1970 + month / 12, month % 12);
    while day >= size(month) {
        day -= size(month);
        month += 1;
    }
    let target = month + months;
    (0..target).map(size).sum::<i128>() + day.min(size(target) - 1)
}

/// A sum divided by a count, cut to the digits of the result.
fn average(sum: Value, count: Value, input: Option<&DataType>, output: &DataType) -> Value {
    let Value::Int(count) = count else { panic!("a count") };
    match (sum, input, output) {
        (Value::Float(sum), ..) => Value::Float(sum / count as f64),
        (Value::Int(sum), Some(DataType::Decimal128(_, from)), DataType::Decimal128(_, to)) => {
            let unit = 10i128.pow((to - from) as u32);
            Value::Int(rounded_quotient(sum * unit, count))
        }
        (Value::Null, ..) => Value::Null,
        other => panic!("an average of {other:?}"),
    }
}

/// A constant as a value.
fn constant(literal: &Literal) -> Value {
    match &literal.value {
        Exact::Null => Value::Null,
        Exact::Bool(v) => Value::Bool(*v),
        Exact::Int(v) => Value::Int((*v).into()),
        Exact::UInt(v) => Value::Int((*v).into()),
        Exact::Decimal(v) => Value::Int(*v),
        Exact::Float(v) => Value::Float(*v),
        Exact::Text(v) => Value::Text(v.clone()),
        other => panic!("a constant {other:?}"),
    }
}
