//! Random tables in random forms, and aggregates of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal64Array, Decimal128Array,
    DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, StringViewArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit,
};

use super::super::HashAggregate;
use crate::batch::{Chunk, Column, Domain, Indices, NULL_INDEX, Place, Selection, gather};
use crate::error::Result;
use crate::expr::{
    AggregateCall, AggregateFunction, AggregateKind, AggregateRef, BitOp, GroupStates, Literal,
    SortKey,
};

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        ((self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20) % n
    }

    pub(super) fn values<T>(
        &mut self,
        rows: usize,
        nulls: bool,
        mut value: impl FnMut(&mut Self) -> T,
    ) -> Vec<Option<T>> {
        (0..rows)
            .map(|_| {
                let value = value(self);
                (!nulls || self.below(6) > 0).then_some(value)
            })
            .collect()
    }
}

/// An input column of a table: its type, its values, and whether it may have NULLs.
#[derive(Clone)]
pub(super) struct Input {
    pub(super) data_type: DataType,
    pub(super) nullable: bool,
    pub(super) values: ArrayRef,
}

/// What a column holds; `distinct` bounds its values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Int64,
    Int32,
    Date,
    Timestamp,
    UInt64,
    Bool,
    Float,
    Text,
    Dictionary,
    Decimal,
    WideDecimal,
    List,
}

pub(super) const KEYS: &[Kind] = &[
    Kind::Int64,
    Kind::Int32,
    Kind::Date,
    Kind::UInt64,
    Kind::Bool,
    Kind::Float,
    Kind::Text,
    Kind::Dictionary,
    Kind::Decimal,
    Kind::WideDecimal,
    Kind::List,
    Kind::Timestamp,
];

pub(super) fn input(
    random: &mut Random,
    kind: Kind,
    rows: usize,
    distinct: u64,
    nulls: bool,
) -> Input {
    let floats = [f64::NAN, -f64::NAN, 0.0, -0.0, 1.5, -2.5, f64::INFINITY];
    let text = |n: u64| match n % 3 {
        0 => format!("{n}"),
        1 => format!("a longer text with the number {n}"),
        _ => String::new() + &"é".repeat((n % 9) as usize) + &n.to_string(),
    };
    let ints = |random: &mut Random| {
        random.values(rows, nulls, |r| r.below(distinct) as i64 - distinct as i64 / 2)
    };
    let (data_type, values): (DataType, ArrayRef) = match kind {
        Kind::Int64 => (DataType::Int64, Arc::new(Int64Array::from(ints(random)))),
        Kind::Int32 => {
            let values: Int32Array = ints(random)
                .into_iter()
                .map(|v| v.map(|v| (v as i32).wrapping_mul(1000)))
                .collect();
            (DataType::Int32, Arc::new(values))
        }
        Kind::Date => {
            let values: Date32Array =
                ints(random).into_iter().map(|v| v.map(|v| v as i32)).collect();
            (DataType::Date32, Arc::new(values))
        }
        Kind::Timestamp => {
            let to = DataType::Timestamp(TimeUnit::Microsecond, None);
            let values: ArrayRef = Arc::new(Int64Array::from(ints(random)));
            (to.clone(), cast(&values, &to).expect("casts"))
        }
        Kind::UInt64 => {
            let values = random.values(rows, nulls, |r| u64::MAX - r.below(distinct));
            (DataType::UInt64, Arc::new(UInt64Array::from(values)))
        }
        Kind::Bool => {
            let values = random.values(rows, nulls, |r| r.below(2) == 0);
            (DataType::Boolean, Arc::new(BooleanArray::from(values)))
        }
        Kind::Float => {
            let values = random.values(rows, nulls, |r| floats[r.below(7) as usize]);
            (DataType::Float64, Arc::new(Float64Array::from(values)))
        }
        Kind::Text => {
            let values = random.values(rows, nulls, |r| text(r.below(distinct)));
            (DataType::Utf8, Arc::new(StringViewArray::from_iter(values)))
        }
        Kind::Dictionary => {
            let values = random.values(rows, nulls, |r| text(r.below(distinct.min(300))));
            let values: DictionaryArray<Int32Type> = values.iter().map(|v| v.as_deref()).collect();
            let array: ArrayRef = Arc::new(values);
            let to = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            let array =
                cast(&cast(&array, &DataType::Utf8View).expect("casts"), &DataType::Utf8View);
            (to, array.expect("casts"))
        }
        Kind::Decimal => {
            let values = Decimal64Array::from(ints(random)).with_precision_and_scale(15, 2);
            (DataType::Decimal128(15, 2), Arc::new(values.expect("fits")))
        }
        Kind::WideDecimal => {
            let wide = |v: i64| i128::from(v) * 10_i128.pow(20);
            let values: Decimal128Array = ints(random).into_iter().map(|v| v.map(wide)).collect();
            let values = values.with_precision_and_scale(25, 3).expect("fits");
            (DataType::Decimal128(25, 3), Arc::new(values))
        }
        Kind::List => {
            let values = random.values(rows, nulls, |r| {
                (0..r.below(3)).map(|_| Some(floats[r.below(7) as usize])).collect::<Vec<_>>()
            });
            let values = ListArray::from_iter_primitive::<Float64Type, _, _>(values);
            (values.data_type().clone(), Arc::new(values))
        }
    };
    Input { data_type, nullable: nulls, values }
}

/// Rows `[start, end)` of a column, in a random form.
fn form(random: &mut Random, input: &Input, start: usize, end: usize) -> Column {
    let part = input.values.slice(start, end - start);
    let rows = part.len();
    let logical = input.data_type.clone();
    let is_dictionary = matches!(logical, DataType::Dictionary(..));
    match random.below(if is_dictionary { 8 } else { 5 }) {
        0 => {
            // Reversed, then indexed in reverse.
            let back: Vec<u32> = (0..rows as u32).rev().collect();
            let base = gather(&part, &Indices::new(back.clone())).expect("gathers");
            Column::indexed(logical, Arc::new(Indices::new(back)), base, None)
        }
        1 if input.data_type == DataType::Decimal128(15, 2) => {
            let wide = cast(&part, &DataType::Decimal128(38, 2)).expect("casts");
            Column::flat(logical, wide)
        }
        2.. if is_dictionary => {
            let mut known: HashMap<String, u32> = HashMap::new();
            let mut base = Vec::new();
            let indices = part.as_string_view().iter().map(|value| match value {
                None => NULL_INDEX,
                Some(value) => *known.entry(value.to_string()).or_insert_with(|| {
                    base.push(value.to_string());
                    base.len() as u32 - 1
                }),
            });
            let indices = Arc::new(Indices::with_nulls(indices.collect::<Vec<_>>()));
            base.push("not in any row".to_string());
            let base = Arc::new(StringViewArray::from_iter_values(base));
            Column::indexed(logical, indices, base, Some(Domain::unique()))
        }
        _ => Column::flat(logical, part),
    }
}

/// Cuts the table into chunks of random forms and selections, with the live rows of each.
pub(super) fn chunks(
    random: &mut Random,
    inputs: &[Input],
    size: usize,
) -> Vec<(Chunk, Vec<usize>)> {
    let rows = inputs.first().map_or(0, |c| c.values.len());
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < rows {
        let end = rows.min(start + 1 + random.below(size as u64) as usize);
        let columns = inputs.iter().map(|input| form(random, input, start, end)).collect();
        let chunk = Chunk::new(columns, end - start, Place { morsel: start as u64, sequence: 0 });
        let share = random.below(4);
        let live: Vec<u32> = match share {
            0 | 1 => (0..(end - start) as u32).collect(),
            _ => (0..(end - start) as u32).filter(|_| random.below(share) == 0).collect(),
        };
        let chunk = match live.len() < end - start {
            true => chunk.select(Selection::new(live.clone())),
            false => chunk,
        };
        chunks.push((chunk, live.iter().map(|&row| start + row as usize).collect()));
        start = end;
    }
    chunks
}

pub(super) fn schema_of(inputs: &[Input]) -> SchemaRef {
    let fields = inputs.iter().enumerate();
    let fields = fields.map(|(i, c)| Field::new(format!("c{i}"), c.data_type.clone(), c.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

pub(super) fn call(function: AggregateKind, argument: usize, data_type: DataType) -> AggregateCall {
    AggregateCall { function, arguments: vec![argument], filter: None, data_type }
}

pub(super) fn spec(keys: usize, aggregates: Vec<AggregateCall>) -> HashAggregate {
    let names = (0..keys + aggregates.len()).map(|i| format!("r{i}")).collect();
    HashAggregate { keys: (0..keys).collect(), aggregates, names }
}

/// `bit_xor(x)`, with the interface of functions that are not built in.
pub(super) struct BitXor;

#[derive(Default)]
struct BitXorStates(Vec<Option<i64>>);

impl AggregateFunction for BitXor {
    fn name(&self) -> &str {
        "bit_xor"
    }

    fn states(&self, _: &[DataType], _: &[Literal], _: &DataType) -> Result<Box<dyn GroupStates>> {
        Ok(Box::<BitXorStates>::default())
    }
}

impl GroupStates for BitXorStates {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        assert!(filter.is_none());
        self.0.resize(group_count, None);
        for (value, &group) in args[0].as_primitive::<Int64Type>().iter().zip(groups) {
            if let Some(value) = value {
                let own = &mut self.0[group as usize];
                *own = Some(own.unwrap_or(0) ^ value);
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], group_count: usize) -> Result<()> {
        self.update(states, groups, None, group_count)
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(std::mem::take(&mut self.0))))
    }

    fn size_bytes(&self) -> usize {
        self.0.len() * 16
    }
}

pub(super) fn bit_xor() -> AggregateKind {
    let function = AggregateRef::registered(Arc::new(BitXor));
    AggregateKind::Custom { function, parameters: Vec::new() }
}

/// The first or last value of a column by up to two others.
pub(super) fn first_or_last(random: &mut Random, inputs: &[Input], filter: usize) -> AggregateCall {
    let columns = inputs.len() as u64;
    let order = (0..random.below(3)).map(|_| SortKey {
        column: random.below(columns) as usize,
        descending: random.below(2) == 0,
        nulls_first: random.below(2) == 0,
    });
    let order = order.collect();
    let function = match random.below(2) {
        0 => AggregateKind::First { order },
        _ => AggregateKind::Last { order },
    };
    let argument = random.below(columns) as usize;
    let call = call(function, argument, inputs[argument].data_type.clone());
    AggregateCall { filter: (random.below(4) == 0).then_some(filter), ..call }
}

/// All aggregates that make sense for a column, some with a filter.
pub(super) fn calls(
    random: &mut Random,
    kind: Kind,
    argument: usize,
    filter: usize,
) -> Vec<AggregateCall> {
    use AggregateKind::{Average, Count, Max, Min, Sum};
    let mut calls = vec![call(Count, argument, DataType::Int64)];
    let own =
        |input: DataType| vec![call(Min, argument, input.clone()), call(Max, argument, input)];
    match kind {
        Kind::Int64 => {
            calls.extend(own(DataType::Int64));
            calls.push(call(Sum, argument, DataType::Int64));
            calls.push(call(Average, argument, DataType::Float64));
            calls.push(call(bit_xor(), argument, DataType::Int64));
            calls.push(call(AggregateKind::Bits(BitOp::Xor), argument, DataType::Int64));
        }
        Kind::Int32 => {
            calls.extend(own(DataType::Int32));
            calls.push(call(Sum, argument, DataType::Int64));
            calls.push(call(AggregateKind::Bits(BitOp::And), argument, DataType::Int32));
            calls.push(call(AggregateKind::Bits(BitOp::Or), argument, DataType::Int32));
        }
        Kind::Date => calls.extend(own(DataType::Date32)),
        Kind::Timestamp => calls.extend(own(DataType::Timestamp(TimeUnit::Microsecond, None))),
        Kind::UInt64 => calls.extend(own(DataType::UInt64)),
        Kind::Bool => calls.extend(own(DataType::Boolean)),
        Kind::Float => calls.extend(own(DataType::Float64)),
        Kind::Text => calls.extend(own(DataType::Utf8)),
        Kind::Dictionary => {
            let to = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            calls.extend(own(to));
        }
        Kind::Decimal => {
            calls.extend(own(DataType::Decimal128(15, 2)));
            calls.push(call(Sum, argument, DataType::Decimal128(25, 2)));
            calls.push(call(Average, argument, DataType::Decimal128(19, 6)));
        }
        Kind::WideDecimal => {
            calls.extend(own(DataType::Decimal128(25, 3)));
            calls.push(call(Sum, argument, DataType::Decimal128(35, 3)));
            calls.push(call(Average, argument, DataType::Decimal128(29, 7)));
        }
        Kind::List => {
            let list = DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)));
            calls.extend(own(list));
        }
    }
    for call in &mut calls {
        call.filter = (random.below(4) == 0).then_some(filter);
    }
    calls
}
