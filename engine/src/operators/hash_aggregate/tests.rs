//! Against a row-at-a-time reference, over random tables, forms of columns, workers and chunk
//! sizes.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal64Array, Decimal128Array,
    DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringViewArray,
    UInt64Array,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit};
use arrow::util::display::array_value_to_string;

use super::plan::Tuning;
use super::*;
use crate::batch::{Chunk, Column, Domain, Indices, NULL_INDEX, Place, Selection, gather};
use crate::expr::{
    AggregateFunction, AggregateRef, BitOp, GroupStates, Literal, PairStatistic, SortKey, Spread,
};
use crate::memory::{Governor, GovernorOptions};
use crate::pipeline::{Context, Order, Pull, Query, Sink, Source};
use crate::scheduler::Cancel;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        ((self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20) % n
    }

    fn values<T>(
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
struct Input {
    data_type: DataType,
    nullable: bool,
    values: ArrayRef,
}

/// What a column holds; `distinct` bounds its values.
#[derive(Clone, Copy, Debug)]
enum Kind {
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

const KEYS: &[Kind] = &[
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

fn input(random: &mut Random, kind: Kind, rows: usize, distinct: u64, nulls: bool) -> Input {
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
fn chunks(random: &mut Random, inputs: &[Input], size: usize) -> Vec<(Chunk, Vec<usize>)> {
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

fn context(memory: Governor, threads: usize) -> Context {
    let query = Query { cancel: Cancel::new(), memory, threads, keep_order: true };
    Context { query: Arc::new(query), order: Order::new(), worker: 0 }
}

/// Runs the aggregate with these many workers, each on its own thread.
fn run(
    spec: &HashAggregate,
    input: &SchemaRef,
    chunks: &[Chunk],
    workers: usize,
    tuning: Option<Tuning>,
    memory: Governor,
) -> Result<RecordBatch> {
    let schema = spec.schema(std::slice::from_ref(input))?;
    let mut plan = Plan::new(spec, input, schema.clone())?;
    plan.tuning = tuning.unwrap_or_default();
    let shared = Shared::new(plan);
    let sink = AggregateSink(shared.clone());
    let cx = context(memory, workers);
    let fed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|number| {
                let (sink, cx) = (&sink, &cx);
                scope.spawn(move || -> Result<()> {
                    let mut worker = sink.worker(cx)?;
                    for chunk in chunks.iter().skip(number).step_by(workers) {
                        worker.consume(chunk.clone(), cx)?;
                    }
                    worker.combine(cx)?;
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    });
    fed?;
    let tasks = sink.prepare(&cx)?;
    std::thread::scope(|scope| {
        let (sink, cx) = (&sink, &cx);
        let tasks: Vec<_> = (0..tasks).map(|t| scope.spawn(move || sink.finish(t, cx))).collect();
        tasks.into_iter().try_for_each(|task| task.join().expect("no panic"))
    })?;
    let source = AggregateSource::new(shared);
    let mut reader = source.worker(&cx)?;
    let mut batches = Vec::new();
    while let Pull::Chunk(chunk) = reader.pull(&cx)? {
        batches.push(chunk.to_batch(&schema)?);
    }
    Ok(concat_batches(&schema, &batches)?)
}

fn schema_of(inputs: &[Input]) -> SchemaRef {
    let fields = inputs.iter().enumerate();
    let fields =
        fields.map(|(i, c)| ArrowField::new(format!("c{i}"), c.data_type.clone(), c.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn call(function: AggregateKind, argument: usize, data_type: DataType) -> AggregateCall {
    AggregateCall { function, arguments: vec![argument], filter: None, data_type }
}

fn spec(keys: usize, aggregates: Vec<AggregateCall>) -> HashAggregate {
    let names = (0..keys + aggregates.len()).map(|i| format!("r{i}")).collect();
    HashAggregate { keys: (0..keys).collect(), aggregates, names }
}

/// A value as text.
fn text(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "NULL".to_string();
    }
    let text = array_value_to_string(array, row).expect("prints");
    // The sign of a sum that is zero depends on the order.
    if text == "-0.0" { "0.0".to_string() } else { text }
}

/// One aggregate of some rows, row at a time.
fn reference(call: &AggregateCall, inputs: &[Input], rows: &[usize]) -> String {
    let passes = |row: &&usize| {
        call.filter.is_none_or(|filter| {
            let filter = inputs[filter].values.as_boolean();
            filter.is_valid(**row) && filter.value(**row)
        })
    };
    let rows: Vec<usize> = rows.iter().filter(passes).copied().collect();
    let Some(&argument) = call.arguments.first() else { return rows.len().to_string() };
    let values = &inputs[argument].values;
    if let AggregateKind::First { order } | AggregateKind::Last { order } = &call.function {
        let is_first = matches!(call.function, AggregateKind::First { .. });
        let best = rows.into_iter().reduce(|a, b| match before(order, inputs, b, a) == is_first {
            true => b,
            false => a,
        });
        let values = crate::batch::with_float_keys(values).expect("keys");
        return best.map_or("NULL".to_string(), |row| text(&values, row));
    }
    let rows: Vec<usize> = rows.into_iter().filter(|&row| values.is_valid(row)).collect();
    let average = call.function == AggregateKind::Average;
    match &call.function {
        AggregateKind::Count | AggregateKind::CountRows => rows.len().to_string(),
        _ if rows.is_empty() => "NULL".to_string(),
        AggregateKind::Sum | AggregateKind::Average if call.data_type == DataType::Float64 => {
            let values = cast(values, &DataType::Float64).expect("casts");
            let values = values.as_primitive::<Float64Type>();
            let sum: f64 = rows.iter().map(|&row| values.value(row)).sum();
            let result = if average { sum / rows.len() as f64 } else { sum };
            text(&(Arc::new(Float64Array::from(vec![result])) as ArrayRef), 0)
        }
        AggregateKind::Sum | AggregateKind::Average => {
            let integer = |row: usize| match values.data_type() {
                DataType::Int64 => i128::from(values.as_primitive::<Int64Type>().value(row)),
                DataType::Int32 => i128::from(values.as_primitive::<Int32Type>().value(row)),
                DataType::Decimal64(_, s) => {
                    let wide = cast(values, &DataType::Decimal128(38, *s)).expect("casts");
                    wide.as_primitive::<Decimal128Type>().value(row)
                }
                _ => values.as_primitive::<Decimal128Type>().value(row),
            };
            let sum: i128 = rows.iter().map(|&row| integer(row)).sum();
            match call.data_type {
                DataType::Decimal128(p, s) => {
                    let sum = if average { sum * 10_000 / rows.len() as i128 } else { sum };
                    let array = Decimal128Array::from(vec![sum]).with_precision_and_scale(p, s);
                    text(&(Arc::new(array.expect("fits")) as ArrayRef), 0)
                }
                _ => sum.to_string(),
            }
        }
        AggregateKind::Min | AggregateKind::Max => {
            let options = arrow::compute::SortOptions { descending: false, nulls_first: false };
            let keys = crate::batch::with_float_keys(values).expect("keys");
            let compare = arrow::array::make_comparator(&keys, &keys, options).expect("compares");
            let least = call.function == AggregateKind::Min;
            let best = rows.into_iter().reduce(|a, b| match compare(a, b).is_gt() == least {
                true => b,
                false => a,
            });
            text(&keys, best.expect("not empty"))
        }
        AggregateKind::Bits(op) => {
            let values = cast(values, &DataType::Int64).expect("casts");
            let values = values.as_primitive::<Int64Type>();
            let all = rows.iter().map(|&row| values.value(row)).reduce(|a, b| match op {
                BitOp::And => a & b,
                BitOp::Or => a | b,
                BitOp::Xor => a ^ b,
            });
            all.expect("not empty").to_string()
        }
        AggregateKind::Spread(_) | AggregateKind::Pairs(_) => panic!("has a test of its own"),
        _ => {
            let values = values.as_primitive::<Int64Type>();
            rows.iter().fold(0, |all, &row| all ^ values.value(row)).to_string()
        }
    }
}

/// Whether a row comes before another.
fn before(order: &[SortKey], inputs: &[Input], a: usize, b: usize) -> bool {
    for key in order {
        let keys = crate::batch::with_float_keys(&inputs[key.column].values).expect("keys");
        let options = arrow::compute::SortOptions {
            descending: key.descending,
            nulls_first: key.nulls_first,
        };
        let compare = arrow::array::make_comparator(&keys, &keys, options).expect("compares");
        if compare(a, b).is_ne() {
            return compare(a, b).is_lt();
        }
    }
    a < b
}

/// `bit_xor(x)`, with the interface of functions that are not built in.
struct BitXor;

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

fn bit_xor() -> AggregateKind {
    let function = AggregateRef::registered(Arc::new(BitXor));
    AggregateKind::Custom { function, parameters: Vec::new() }
}

/// The first or last value of a column by up to two others.
fn first_or_last(random: &mut Random, inputs: &[Input], filter: usize) -> AggregateCall {
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
fn calls(random: &mut Random, kind: Kind, argument: usize, filter: usize) -> Vec<AggregateCall> {
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
            let list =
                DataType::List(Arc::new(ArrowField::new_list_field(DataType::Float64, true)));
            calls.extend(own(list));
        }
    }
    for call in &mut calls {
        call.filter = (random.below(4) == 0).then_some(filter);
    }
    calls
}

/// Results by key, as texts.
fn expected(
    spec: &HashAggregate,
    inputs: &[Input],
    live: &[usize],
) -> BTreeMap<String, Vec<String>> {
    let keys: Vec<ArrayRef> = spec
        .keys
        .iter()
        .map(|&key| crate::batch::with_float_keys(&inputs[key].values).expect("keys"))
        .collect();
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &row in live {
        let key: Vec<String> = keys.iter().map(|key| text(key, row)).collect();
        groups.entry(key.join("|")).or_default().push(row);
    }
    if spec.keys.is_empty() {
        groups.entry(String::new()).or_default();
    }
    let results = groups.into_iter().map(|(key, rows)| {
        let calls = spec.aggregates.iter();
        (key, calls.map(|call| reference(call, inputs, &rows)).collect())
    });
    results.collect()
}

fn actual(spec: &HashAggregate, batch: &RecordBatch) -> BTreeMap<String, Vec<String>> {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|array| crate::batch::with_float_keys(array).expect("keys"))
        .collect();
    let (keys, results) = columns.split_at(spec.keys.len());
    let rows = (0..batch.num_rows()).map(|row| {
        let key: Vec<String> = keys.iter().map(|key| text(key, row)).collect();
        (key.join("|"), results.iter().map(|result| text(result, row)).collect())
    });
    let rows: Vec<(String, Vec<String>)> = rows.collect();
    let count = rows.len();
    let map: BTreeMap<_, _> = rows.into_iter().collect();
    assert_eq!(map.len(), count, "a group came out twice: {batch:?}");
    map
}

#[test]
fn random_aggregates_agree_with_the_reference() {
    for seed in 0..150 {
        let mut random = Random(seed);
        let rows = [0, 1, 30, 500, 3000][random.below(5) as usize];
        let distinct = [1, 3, 40, 5000][random.below(4) as usize];
        let keys = random.below(4) as usize;
        let mut inputs = Vec::new();
        for _ in 0..keys {
            let kind = KEYS[random.below(KEYS.len() as u64) as usize];
            let nulls = random.below(2) == 0;
            inputs.push(input(&mut random, kind, rows, distinct, nulls));
        }
        inputs.push(input(&mut random, Kind::Bool, rows, 2, true));
        let rows_only = AggregateCall {
            function: AggregateKind::CountRows,
            arguments: vec![],
            filter: (random.below(3) == 0).then_some(keys),
            data_type: DataType::Int64,
        };
        let mut aggregates = vec![rows_only];
        for _ in 0..random.below(4) {
            let kind = KEYS[random.below(KEYS.len() as u64) as usize];
            let nulls = random.below(2) == 0;
            let argument = inputs.len();
            inputs.push(input(&mut random, kind, rows, 1000, nulls));
            aggregates.extend(calls(&mut random, kind, argument, keys));
        }
        for _ in 0..random.below(3) {
            aggregates.push(first_or_last(&mut random, &inputs, keys));
        }
        let spec = spec(keys, aggregates);
        let size = [1, 7, 400, 4096][random.below(4) as usize];
        let chunks = chunks(&mut random, &inputs, size);
        let live: Vec<usize> = chunks.iter().flat_map(|(_, live)| live.clone()).collect();
        let chunks: Vec<Chunk> = chunks.into_iter().map(|(chunk, _)| chunk).collect();
        let expected = expected(&spec, &inputs, &live);
        let small = Tuning { partition_groups: 20, review_groups: 50, merge_rows_min: 300 };
        let mut first: Option<Vec<Vec<String>>> = None;
        for (workers, tuning) in [(1, None), (3, None), (1, Some(small)), (2, Some(small))] {
            let input = schema_of(&inputs);
            let batch = run(&spec, &input, &chunks, workers, tuning, Governor::unlimited());
            let batch = batch.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            let actual = actual(&spec, &batch);
            let wrong: Vec<_> =
                expected.iter().filter(|(k, v)| actual.get(*k) != Some(v)).collect();
            let keys_of = &inputs[..keys];
            let types: Vec<_> = keys_of.iter().map(|key| &key.data_type).collect();
            let got: Vec<_> = wrong.iter().map(|(key, _)| actual.get(*key)).collect();
            assert!(
                actual.len() == expected.len() && wrong.is_empty(),
                "seed {seed}, {workers} workers {tuning:?} {rows} rows, keys {types:?}: \
                 {wrong:?}, got {got:?}",
            );
            // The groups come out in the same order, too.
            let in_order = |row: usize| (0..keys).map(|k| text(batch.column(k), row)).collect();
            let in_order: Vec<Vec<String>> = (0..batch.num_rows()).map(in_order).collect();
            let first = first.get_or_insert_with(|| in_order.clone());
            assert_eq!(first, &in_order, "seed {seed}");
        }
    }
}

#[test]
fn many_groups_of_one_row_are_merged_whatever_way_they_took() {
    let mut random = Random(7);
    let rows = 60_000;
    for distinct in [100, 20_000, 10_000_000] {
        let inputs =
            [Kind::Int64, Kind::Int64].map(|kind| input(&mut random, kind, rows, distinct, false));
        let sum = call(AggregateKind::Sum, 1, DataType::Int64);
        let least = call(AggregateKind::Min, 1, DataType::Int64);
        let spec = spec(1, vec![sum, least]);
        let chunks: Vec<Chunk> =
            chunks(&mut random, &inputs, 4096).into_iter().map(|(c, _)| c).collect();
        let live: Vec<usize> = chunks
            .iter()
            .flat_map(|chunk| {
                let start = chunk.place().morsel as usize;
                chunk
                    .live_positions()
                    .iter()
                    .map(move |&row| start + row as usize)
                    .collect::<Vec<_>>()
            })
            .collect();
        let expected = expected(&spec, &inputs, &live);
        let tuning = Tuning { partition_groups: 500, review_groups: 1000, merge_rows_min: 5000 };
        let governor = Governor::unlimited();
        for workers in [1, 2] {
            let input = schema_of(&inputs);
            let batch = run(&spec, &input, &chunks, workers, Some(tuning), governor.clone());
            assert_eq!(actual(&spec, &batch.expect("runs")), expected);
        }
        assert_eq!(governor.reserved(), 0, "everything is given back");
    }
}

#[test]
fn moments_agree_with_two_passes() {
    let mut random = Random(11);
    for (rows, groups, far) in [(2000, 7, 0.0), (300, 200, 1e9), (1, 1, 3.0)] {
        let keys = random.values(rows, false, |r| r.below(groups) as i64);
        let number = |r: &mut Random| far + r.below(1000) as f64 / 8.0;
        let [y, x] = [0, 1].map(|_| random.values(rows, true, number));
        let double = |values: &[Option<f64>]| Input {
            data_type: DataType::Float64,
            nullable: true,
            values: Arc::new(Float64Array::from(values.to_vec())),
        };
        let key: ArrayRef = Arc::new(Int64Array::from(keys.clone()));
        let key = Input { data_type: DataType::Int64, nullable: true, values: key };
        let inputs = [key, double(&y), double(&x)];
        let pairs = |statistic| AggregateCall {
            function: AggregateKind::Pairs(statistic),
            arguments: vec![1, 2],
            filter: None,
            data_type: DataType::Float64,
        };
        let spread = |spread| call(AggregateKind::Spread(spread), 1, DataType::Float64);
        use {PairStatistic as P, Spread as S};
        let calls = vec![
            spread(S::VarianceSample),
            spread(S::DeviationPopulation),
            pairs(P::CovarianceSample),
            pairs(P::Correlation),
            pairs(P::Slope),
            pairs(P::Intercept),
            pairs(P::R2),
        ];
        let spec = spec(1, calls);
        let chunks: Vec<Chunk> =
            chunks(&mut Random(1), &inputs, 100).into_iter().map(|(c, _)| c).collect();
        let live: std::collections::HashSet<usize> = chunks
            .iter()
            .flat_map(|c| {
                let start = c.place().morsel as usize;
                c.live_positions().iter().map(move |&row| start + row as usize).collect::<Vec<_>>()
            })
            .collect();
        let tuning = Tuning { partition_groups: 20, review_groups: 50, merge_rows_min: 300 };
        let schema = schema_of(&inputs);
        let batch = run(&spec, &schema, &chunks, 2, Some(tuning), Governor::unlimited());
        let batch = batch.expect("runs");
        for row in 0..batch.num_rows() {
            let key = batch.column(0).as_primitive::<Int64Type>().value(row);
            let mine = (0..rows).filter(|r| live.contains(r) && keys[*r] == Some(key));
            let mine: Vec<usize> = mine.collect();
            let expected = two_passes(&mine, &y, &x);
            for (column, expected) in expected.into_iter().enumerate() {
                let found = batch.column(1 + column).as_primitive::<Float64Type>();
                let found = found.is_valid(row).then(|| found.value(row));
                let same = match (found, expected) {
                    (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * (1.0 + a.abs().max(b.abs())),
                    (a, b) => a == b,
                };
                assert!(same, "group {key} column {column}: {found:?} for {expected:?}");
            }
        }
    }
}

/// What [`moments_agree_with_two_passes`] asks for, by definition.
fn two_passes(rows: &[usize], y: &[Option<f64>], x: &[Option<f64>]) -> [Option<f64>; 7] {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let own: Vec<f64> = rows.iter().filter_map(|&r| y[r]).collect();
    let squares: f64 = own.iter().map(|v| (v - mean(&own)).powi(2)).sum();
    let (n, some) = (own.len() as f64, !own.is_empty());
    let pairs: Vec<(f64, f64)> = rows.iter().filter_map(|&r| Some((y[r]?, x[r]?))).collect();
    let (ys, xs): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let m = pairs.len() as f64;
    let (mean_y, mean_x) = (mean(&ys), mean(&xs));
    let xx: f64 = xs.iter().map(|x| (x - mean_x).powi(2)).sum();
    let yy: f64 = ys.iter().map(|y| (y - mean_y).powi(2)).sum();
    let xy: f64 = pairs.iter().map(|(y, x)| (y - mean_y) * (x - mean_x)).sum();
    let varies = !pairs.is_empty() && xx > 0.0;
    [
        (n > 1.0).then(|| squares / (n - 1.0)),
        some.then(|| (squares / n).sqrt()),
        (m > 1.0).then(|| xy / (m - 1.0)),
        (varies && yy > 0.0).then(|| xy / (xx * yy).sqrt()),
        varies.then(|| xy / xx),
        varies.then(|| mean_y - xy / xx * mean_x),
        varies.then(|| if yy == 0.0 { 1.0 } else { xy * xy / (xx * yy) }),
    ]
}

#[test]
fn sums_that_do_not_fit_are_errors_and_order_does_not_matter() {
    let sum_of = |values: Vec<i64>| {
        let values: ArrayRef = Arc::new(Int64Array::from(values));
        let inputs = [Input { data_type: DataType::Int64, nullable: false, values }];
        let chunks = chunks(&mut Random(1), &inputs, 1);
        let chunks: Vec<Chunk> = chunks
            .into_iter()
            .map(|(mut chunk, _)| {
                chunk = chunk.with_place(Place::default());
                match chunk.selection() {
                    Some(_) => Chunk::new(chunk.columns().to_vec(), chunk.rows(), chunk.place()),
                    None => chunk,
                }
            })
            .collect();
        let spec = spec(0, vec![call(AggregateKind::Sum, 0, DataType::Int64)]);
        let batch = run(&spec, &schema_of(&inputs), &chunks, 2, None, Governor::unlimited());
        batch.map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0))
    };
    assert_eq!(sum_of(vec![i64::MAX, 1, -1, i64::MAX, -5, i64::MIN]).expect("fits"), i64::MAX - 6);
    let error = sum_of(vec![i64::MAX, 1]).expect_err("does not fit").to_string();
    assert!(error.contains("overflow") && error.contains("sum"), "{error}");
    let wide: ArrayRef = {
        let values = Decimal128Array::from(vec![10_i128.pow(37) * 9; 2]);
        Arc::new(values.with_precision_and_scale(38, 0).expect("fits"))
    };
    let inputs = [Input { data_type: wide.data_type().clone(), nullable: false, values: wide }];
    let spec = spec(0, vec![call(AggregateKind::Sum, 0, DataType::Decimal128(38, 0))]);
    let columns = vec![Column::flat(inputs[0].data_type.clone(), inputs[0].values.clone())];
    let chunks = [Chunk::new(columns, 2, Place::default())];
    let error = run(&spec, &schema_of(&inputs), &chunks, 1, None, Governor::unlimited());
    assert!(matches!(error, Err(Error::Input { .. })), "{error:?}");
}

#[test]
fn without_room_to_begin_is_out_of_memory_and_gives_everything_back() {
    let mut random = Random(3);
    let inputs = [input(&mut random, Kind::Int64, 200_000, 1 << 40, false)];
    let chunks: Vec<Chunk> =
        chunks(&mut random, &inputs, 4096).into_iter().map(|(c, _)| c).collect();
    let governor = limited(512 << 10);
    let spec = spec(1, vec![]);
    let error = run(&spec, &schema_of(&inputs), &chunks, 2, None, governor.clone());
    let error = error.expect_err("does not fit");
    assert!(matches!(error, Error::OutOfMemory { .. }) && error.to_string().contains("aggregate"));
    assert_eq!(governor.reserved(), 0);
}

fn limited(bytes: usize) -> Governor {
    Governor::new(GovernorOptions { limit_bytes: Some(bytes), ..Default::default() })
}

/// Rows as texts, in their order.
fn in_order(batch: &RecordBatch) -> Vec<Vec<String>> {
    let row = |row: usize| batch.columns().iter().map(|column| text(column, row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn groups_that_do_not_fit_are_written_out_and_come_back_in_the_same_order() {
    let small = Tuning { partition_groups: 500, review_groups: 1000, merge_rows_min: 5000 };
    let mut spilled = 0;
    for seed in 0..40 {
        let mut random = Random(seed);
        let rows = 20_000 + random.below(20_000) as usize;
        let distinct = [3, 900, 20_000, 1 << 40][random.below(4) as usize];
        let keys = 1 + random.below(2) as usize;
        let mut inputs = Vec::new();
        for _ in 0..keys {
            let kind = KEYS[random.below(KEYS.len() as u64) as usize];
            inputs.push(input(&mut random, kind, rows, distinct, true));
        }
        // Groups beyond what the kinds above can have.
        inputs.push(input(&mut random, Kind::Int64, rows, distinct, false));
        let filter = inputs.len();
        inputs.push(input(&mut random, Kind::Bool, rows, 2, true));
        let mut aggregates = Vec::new();
        for _ in 0..1 + random.below(3) {
            let kind = KEYS[random.below(KEYS.len() as u64) as usize];
            let argument = inputs.len();
            inputs.push(input(&mut random, kind, rows, 1000, true));
            aggregates.extend(calls(&mut random, kind, argument, filter));
        }
        let spec = spec(keys + 1, aggregates);
        let size = [7, 400, 4096][random.below(3) as usize];
        let chunks: Vec<Chunk> =
            chunks(&mut random, &inputs, size).into_iter().map(|(chunk, _)| chunk).collect();
        let schema = schema_of(&inputs);
        let all = run(&spec, &schema, &chunks, 1, None, Governor::unlimited()).expect("runs");
        let all = in_order(&all);
        for (workers, tuning, limit) in [
            (1, None, 3 << 20),
            (2, Some(small), 4 << 20),
            (3, Some(small), 5 << 20),
            (1, Some(small), 16 << 20),
        ] {
            let governor = limited(limit);
            let batch = run(&spec, &schema, &chunks, workers, tuning, governor.clone());
            let batch = batch.unwrap_or_else(|e| panic!("seed {seed}, {workers}, {limit}: {e}"));
            assert_eq!(in_order(&batch), all, "seed {seed}, {workers} workers, {limit} bytes");
            assert_eq!(governor.reserved(), 0, "seed {seed}: everything is given back");
            spilled += usize::from(governor.spill().usage().written > 0);
        }
    }
    assert!(spilled > 20, "{spilled} runs wrote groups out");
}

#[test]
fn partitions_that_do_not_fit_are_split() {
    let mut random = Random(11);
    let rows = 400_000;
    let inputs = [
        input(&mut random, Kind::Int64, rows, 1 << 40, false),
        input(&mut random, Kind::Text, rows, 1 << 40, true),
        input(&mut random, Kind::Int64, rows, 1 << 40, true),
    ];
    let calls = [1, 2].map(|argument| {
        let data_type = inputs[argument].data_type.clone();
        call(AggregateKind::Max, argument, data_type)
    });
    for custom in [None, Some(call(bit_xor(), 2, DataType::Int64))] {
        let spec = spec(1, calls.iter().cloned().chain(custom).collect());
        let schema = schema_of(&inputs);
        let chunks: Vec<Chunk> =
            chunks(&mut random, &inputs, 4096).into_iter().map(|(chunk, _)| chunk).collect();
        let all = run(&spec, &schema, &chunks, 1, None, Governor::unlimited()).expect("runs");
        let governor = limited(2 << 20);
        let batch = run(&spec, &schema, &chunks, 1, None, governor.clone()).expect("runs");
        assert_eq!(in_order(&batch), in_order(&all));
        assert_eq!(governor.reserved(), 0, "everything is given back");
        let written = governor.spill().usage().written;
        let groups = all.get_array_memory_size() as u64;
        assert!(written > groups * 3 / 2, "written twice: {written} bytes for {groups}");
    }
}

#[test]
fn stored_values_nobody_refers_to_are_dropped() {
    let rows = 40_000;
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|i| i % 7)));
    let texts = (0..rows).map(|i| format!("a text that grows and grows {i:08}"));
    let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
    let schema = Arc::new(Schema::new(vec![
        ArrowField::new("k", DataType::Int64, false),
        ArrowField::new("t", DataType::Utf8, false),
    ]));
    let chunks: Vec<Chunk> = (0..rows as usize)
        .step_by(16)
        .map(|start| {
            let column = |t: &DataType, a: &ArrayRef| Column::flat(t.clone(), a.slice(start, 16));
            let columns = vec![column(&DataType::Int64, &keys), column(&DataType::Utf8, &texts)];
            Chunk::new(columns, 16, Place { morsel: start as u64, sequence: 0 })
        })
        .collect();
    let spec = spec(1, vec![call(AggregateKind::Max, 1, DataType::Utf8)]);
    let options = GovernorOptions { limit_bytes: Some(2 << 20), ..Default::default() };
    let batch = run(&spec, &schema, &chunks, 1, None, Governor::new(options)).expect("fits");
    assert_eq!(batch.num_rows(), 7);
    let greatest: Vec<String> = (0..7).map(|row| text(batch.column(1), row)).collect();
    assert!(greatest.iter().any(|t| t.ends_with(&format!("{:08}", rows - 1))), "{greatest:?}");
}

#[test]
fn the_spec_survives_json_and_explains_itself() {
    let function = bit_xor();
    let mut filtered = call(AggregateKind::Sum, 1, DataType::Int64);
    filtered.filter = Some(2);
    let spec = spec(1, vec![filtered, call(function, 1, DataType::Int64)]);
    let json = spec.to_json().expect("exports");
    let mut functions = Functions::default();
    assert!(HashAggregate::from_json(json.clone(), &functions).is_err(), "bit_xor is unknown");
    functions.register_aggregate(Arc::new(BitXor));
    let back = HashAggregate::from_json(json.clone(), &functions).expect("reads");
    assert_eq!(back.to_json().expect("exports"), json);
    let explained = back.explain();
    assert_eq!(explained[0], ("keys", "#0".to_string()));
    assert_eq!(explained[1].1, "sum(#1) FILTER (#2) AS r1, bit_xor(#1) AS r2");
    let empty = HashAggregate { keys: vec![9], ..spec };
    assert!(empty.schema(&[Arc::new(Schema::empty())]).is_err());
}
