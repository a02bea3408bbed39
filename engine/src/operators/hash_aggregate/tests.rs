//! Against a row-at-a-time reference, over random tables, forms of columns, workers and chunk
//! sizes.

mod data;
mod giving_way;
mod reference;
mod spilled;

use std::sync::{Arc, Barrier};

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringViewArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};

use super::plan::Tuning;
use super::*;
use crate::batch::{Charge, Chunk, Column, Place};
use crate::expr::{PairStatistic, Spread, WRITTEN_BYTES_MAX};
use crate::memory::{Governor, GovernorOptions};
use crate::pipeline::{Context, Order, Pull, Query, Sink, Source};
use data::{
    BitXor, Input, KEYS, Kind, Random, bit_xor, call, calls, chunks, first_or_last, input,
    schema_of, spec,
};
use reference::{actual, expected, text, two_passes};

/// Tables that go on to the next phase early, their partitions with several lanes even where there
/// is little memory.
const SMALL: Tuning = Tuning {
    partition_groups: 500,
    review_groups: 1000,
    merge_rows_min: 5000,
    part_rows: 30,
    sub_page_bytes: 256,
    merges_late: true,
};

fn context(memory: Governor, threads: usize) -> Context {
    let query = Query::alone(memory, threads);
    Context { query: Arc::new(query), order: Order::new(), worker: 0 }
}

fn limited(bytes: usize) -> Governor {
    Governor::new(GovernorOptions { limit_bytes: Some(bytes), ..Default::default() })
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
    let tuning = tuning.unwrap_or_default();
    let (sink, cx) = feed(spec, input, chunks, workers, tuning, &memory)?;
    let tasks = sink.prepare(&cx)?;
    std::thread::scope(|scope| {
        let (sink, cx) = (&sink, &cx);
        let tasks: Vec<_> = (0..tasks).map(|t| scope.spawn(move || sink.finish(t, cx))).collect();
        tasks.into_iter().try_for_each(|task| task.join().expect("no panic"))
    })?;
    read(spec, input, sink, &cx)
}

/// A sink that workers have given all chunks to.
fn feed(
    spec: &HashAggregate,
    input: &SchemaRef,
    chunks: &[Chunk],
    workers: usize,
    tuning: Tuning,
    memory: &Governor,
) -> Result<(AggregateSink, Context)> {
    let schema = spec.schema(std::slice::from_ref(input))?;
    let mut plan = Plan::new(spec, input, schema)?;
    plan.tuning = tuning;
    let sink = AggregateSink(Shared::new(plan));
    let cx = context(memory.clone(), workers);
    // Whoever begins late finds no room where the others have taken all.
    let begun = Barrier::new(workers);
    let fed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|number| {
                let (sink, cx, begun) = (&sink, &cx, &begun);
                scope.spawn(move || -> Result<()> {
                    let worker = sink.worker(cx);
                    begun.wait();
                    let mut worker = worker?;
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
    fed.map(|()| (sink, cx))
}

/// The groups of a finished sink.
fn read(
    spec: &HashAggregate,
    input: &SchemaRef,
    sink: AggregateSink,
    cx: &Context,
) -> Result<RecordBatch> {
    let schema = spec.schema(std::slice::from_ref(input))?;
    let source = AggregateSource::new(sink.0);
    let mut reader = source.worker(cx)?;
    let mut batches = Vec::new();
    while let Pull::Chunk(chunk) = reader.pull(cx)? {
        batches.push(chunk.to_batch(&schema)?);
    }
    Ok(concat_batches(&schema, &batches)?)
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
        let small =
            Tuning { partition_groups: 20, review_groups: 50, merge_rows_min: 300, ..SMALL };
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
        let tuning = SMALL;
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
        let tuning =
            Tuning { partition_groups: 20, review_groups: 50, merge_rows_min: 300, ..SMALL };
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

#[test]
fn groups_with_long_values_come_out_a_few_at_a_time() {
    let keys = (0..400).map(|key| format!("{key:05}").repeat(4000));
    let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(keys));
    let field = Field::new("k", DataType::Utf8View, false);
    let (spec, input) = (spec(1, vec![]), Arc::new(Schema::new(vec![field])));
    let schema = spec.schema(std::slice::from_ref(&input)).expect("is");
    let chunk = Chunk::new(vec![Column::flat(DataType::Utf8View, keys)], 400, Place::default());
    // With room for all groups in memory, and without.
    for limit in [64 << 20, 6 << 20] {
        let chunks: Vec<Chunk> = (0..40).map(|part| chunk.slice(part * 10, 10)).collect();
        let memory = limited(limit);
        let fed = feed(&spec, &input, &chunks, 1, Tuning::default(), &memory);
        let (sink, cx) = fed.expect("fits");
        for task in 0..sink.prepare(&cx).expect("merges") {
            sink.finish(task, &cx).expect("merges");
        }
        assert_eq!(memory.spill().usage().written > 0, limit < 8 << 20);
        let source = AggregateSource::new(sink.0);
        let mut reader = source.worker(&cx).expect("reads");
        let mut groups = Vec::new();
        while let Pull::Chunk(chunk) = reader.pull(&cx).expect("reads") {
            let batch = chunk.to_batch(&schema).expect("is");
            let texts = batch.column(0).as_string_view().iter().flatten();
            let texts: Vec<String> = texts.map(str::to_owned).collect();
            assert!(texts.iter().map(String::len).sum::<usize>() <= WRITTEN_BYTES_MAX);
            groups.extend(texts);
        }
        groups.sort();
        groups.dedup();
        assert_eq!(groups.len(), 400);
        drop((reader, source));
        assert_eq!(memory.reserved(), 0);
    }
}

#[test]
fn a_group_that_is_long_by_itself_takes_its_charge_with_it() {
    let long = 2 * WRITTEN_BYTES_MAX;
    let keys = ["x".repeat(long), "y".into(), "z".repeat(long)];
    let keys: ArrayRef = Arc::new(StringViewArray::from_iter_values(keys));
    let field = Field::new("k", DataType::Utf8View, false);
    let (spec, input) = (spec(1, vec![]), Arc::new(Schema::new(vec![field])));
    let chunk = Chunk::new(vec![Column::flat(DataType::Utf8View, keys)], 3, Place::default());
    let memory = Governor::unlimited();
    let (sink, cx) = feed(&spec, &input, &[chunk], 1, Tuning::default(), &memory).expect("fits");
    for task in 0..sink.prepare(&cx).expect("merges") {
        sink.finish(task, &cx).expect("merges");
    }
    let source = AggregateSource::new(sink.0);
    let mut reader = source.worker(&cx).expect("reads");
    let mut chunks = Vec::new();
    while let Pull::Chunk(chunk) = reader.pull(&cx).expect("reads") {
        chunks.push(chunk);
    }
    drop((reader, source));
    let charges = chunks.iter().filter_map(|chunk| chunk.columns()[0].charge());
    assert_eq!(charges.map(Charge::bytes).collect::<Vec<_>>(), [long; 2]);
    assert_eq!(memory.reserved(), 2 * long);
    drop(chunks);
    assert_eq!(memory.reserved(), 0);
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
