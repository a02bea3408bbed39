//! Aggregates whose groups have no room in memory.

use std::slice::from_ref;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::super::plan::Plan;
use super::super::reload::reader_bytes;
use super::super::sink::{AggregateSink, Shared};
use super::super::spill::writing_bytes;
use super::super::worker::MINIMUM_BYTES;
use super::data::{KEYS, Kind, Random, bit_xor, call, calls, chunks, input, schema_of, spec};
use super::reference::text;
use super::{SMALL, Tuning, context, feed, limited, read, run};
use crate::batch::{Chunk, Column, Place};
use crate::error::Error;
use crate::expr::AggregateKind;
use crate::memory::hoard::beside_hoard;
use crate::memory::{Governor, GovernorOptions};
use crate::pipeline::Sink;
use crate::plan::Spec;

/// Rows as texts, in their order.
fn in_order(batch: &RecordBatch) -> Vec<Vec<String>> {
    let row = |row: usize| batch.columns().iter().map(|column| text(column, row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn groups_that_do_not_fit_are_written_out_and_come_back_in_the_same_order() {
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
            (2, Some(SMALL), 4 << 20),
            (3, Some(SMALL), 5 << 20),
            (1, Some(SMALL), 16 << 20),
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
        let written = [16 << 20, 1 << 20].map(|limit| {
            let governor = limited(limit);
            let batch = run(&spec, &schema, &chunks, 1, None, governor.clone()).expect("runs");
            assert_eq!(in_order(&batch), in_order(&all));
            assert_eq!(governor.reserved(), 0, "everything is given back");
            governor.spill().usage().written
        });
        let [once, twice] = written;
        assert!(once > 0 && twice > once * 3 / 2, "{twice} bytes written, and {once} once");
    }
}

#[test]
fn stored_values_nobody_refers_to_are_dropped() {
    let rows = 40_000;
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|i| i % 7)));
    let texts = (0..rows).map(|i| format!("a text that grows and grows {i:08}"));
    let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
    let schema = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("t", DataType::Utf8, false),
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
fn who_was_pressed_writes_once_and_idle_tables_hold_what_is_in_them() {
    let mut random = Random(23);
    let rows = 640 * 1000;
    let inputs = [input(&mut random, Kind::Int64, rows, 1 << 40, false)];
    let (spec, schema) = (spec(1, Vec::new()), schema_of(&inputs));
    let chunks = chunks(&mut random, &inputs, 1000).into_iter().map(|(chunk, _)| chunk);
    let chunks: Vec<Chunk> = chunks.collect();
    let plan = Plan::new(&spec, &schema, spec.schema(from_ref(&schema)).expect("fits"));
    let governor = limited(8 << 20);
    let sink = AggregateSink(Shared::new(plan.expect("is one")));
    let cx = context(governor.clone(), 1);
    let mut worker = sink.worker(&cx).expect("begins");
    let mut others = governor.reserve("others", 0).expect("begins");
    let written = || governor.spill().usage().written;
    let (pressed, rest) = chunks.split_at(chunks.len() - 16);
    for chunk in pressed {
        worker.consume(chunk.clone(), &cx).expect("is taken in");
        assert!(!others.try_grow(7 << 20), "presses who runs");
    }
    let before = written();
    assert!(before > 1 << 20);
    let mut times = 0;
    for chunk in rest {
        let before = written();
        worker.consume(chunk.clone(), &cx).expect("is taken in");
        times += u32::from(written() > before);
    }
    assert!(times <= 1, "written {times} times");
    // 15,000 rows, a page a partition, and what working takes; not what a chunk could have needed.
    assert!(governor.reserved() < 1100 << 10, "{} bytes are held", governor.reserved());
    worker.combine(&cx).expect("hands over");
}

#[test]
fn aggregates_end_over_every_budget_beside_somebody_who_takes_the_rest() {
    let mut random = Random(5);
    let rows = 60_000;
    let inputs = [
        input(&mut random, Kind::Int64, rows, 1 << 40, false),
        input(&mut random, Kind::Text, rows, 1 << 40, true),
        input(&mut random, Kind::Int64, rows, 1 << 40, true),
    ];
    let greatest = call(AggregateKind::Max, 1, DataType::Utf8);
    let sum = call(AggregateKind::Max, 2, DataType::Int64);
    let custom = call(bit_xor(), 2, DataType::Int64);
    let schema = schema_of(&inputs);
    let chunks: Vec<Chunk> =
        chunks(&mut random, &inputs, 2000).into_iter().map(|(chunk, _)| chunk).collect();
    for (spec, tuning) in [
        (spec(1, vec![sum.clone()]), None),
        (spec(1, vec![greatest.clone(), sum.clone()]), Some(SMALL)),
        (spec(1, vec![sum, greatest, custom]), Some(SMALL)),
    ] {
        let all = run(&spec, &schema, &chunks, 1, tuning, Governor::unlimited()).expect("runs");
        let all = in_order(&all);
        // What a worker of the source needs, and one of the sink.
        let plan = Plan::new(&spec, &schema, spec.schema(from_ref(&schema)).expect("fits"));
        let plan = plan.expect("is one");
        let (reading, storing) = (reader_bytes(&plan), writing_bytes(&plan) + MINIMUM_BYTES);
        let (mut ended, mut written) = (0, 0);
        for step in 0..14 {
            let (workers, budget) = (1 + step % 2, (150 << 10) * (step + 2) * (step + 4) / 8);
            let minimum = workers * reading.max(storing);
            for is_alone in [true, false] {
                let governor = limited(budget);
                let run = || run(&spec, &schema, &chunks, workers, tuning, governor.clone());
                let outcome = match is_alone {
                    true => run(),
                    false => beside_hoard(&governor, minimum, run),
                };
                assert_eq!(governor.reserved(), 0, "{budget}: everything is given back");
                assert!(governor.usage().peak_reserved <= budget);
                match outcome {
                    Ok(batch) => assert_eq!(in_order(&batch), all, "{workers}, {budget}"),
                    Err(Error::OutOfMemory { .. }) if budget < minimum => continue,
                    Err(error) => panic!("{workers} workers, {budget}, alone {is_alone}: {error}"),
                }
                ended += 1;
                written += usize::from(governor.spill().usage().written > 0);
            }
        }
        assert!(ended > 12 && written > 5, "{ended} runs ended, {written} wrote groups out");
    }
}

#[test]
fn partitions_that_have_no_room_to_be_merged_are_written_by_themselves() {
    let mut random = Random(8);
    let rows = 60_000;
    let inputs = [
        input(&mut random, Kind::Int64, rows, 1 << 40, false),
        input(&mut random, Kind::Text, rows, 1 << 40, true),
        input(&mut random, Kind::Int64, rows, 1 << 40, true),
    ];
    let schema = schema_of(&inputs);
    let chunks: Vec<Chunk> =
        chunks(&mut random, &inputs, 4096).into_iter().map(|(chunk, _)| chunk).collect();
    let greatest = call(AggregateKind::Max, 1, DataType::Utf8);
    for custom in [None, Some(call(bit_xor(), 2, DataType::Int64))] {
        let before = Tuning { merges_late: false, ..SMALL };
        for tuning in [before, Tuning { partition_groups: 1 << 20, ..before }] {
            let spec = spec(1, [greatest.clone()].into_iter().chain(custom.clone()).collect());
            let governor = Governor::unlimited();
            let all = run(&spec, &schema, &chunks, 1, Some(tuning), governor).expect("runs");
            for workers in [1, 3] {
                for taken in [0, 1, 2] {
                    let governor = limited(64 << 20);
                    let fed = feed(&spec, &schema, &chunks, workers, tuning, &governor);
                    let (sink, cx) = fed.expect("has room");
                    let tasks = sink.prepare(&cx).expect("has room");
                    let mut other = governor.reserve("other", 0).expect("asks for nothing");
                    for task in 0..tasks {
                        if task % 3 >= taken {
                            while other.grow(1 << 10).is_ok() {}
                        }
                        sink.finish(task, &cx).expect("has another way");
                        other.shrink(other.bytes());
                    }
                    drop(other);
                    let written = governor.spill().usage().used > 0;
                    assert!(written || tasks == 1 && taken > 0, "{taken} of three, {tuning:?}");
                    let batch = read(&spec, &schema, sink, &cx).expect("reads");
                    assert_eq!(in_order(&batch), in_order(&all), "{workers} workers, {taken}");
                    drop(cx);
                    assert_eq!(governor.reserved(), 0);
                }
            }
        }
    }
}
