//! Groups that others have written out: between two chunks, and before they are read.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};

use super::super::HashAggregate;
use super::super::output::AggregateSource;
use super::data::{Kind, Random, call, chunks, input, schema_of, spec};
use super::reference::text;
use super::{SMALL, Tuning, feed, limited, read, run};
use crate::batch::Chunk;
use crate::expr::AggregateKind;
use crate::memory::{Governor, Reservation};
use crate::pipeline::{Pull, Sink, Source};
use crate::plan::Spec;

struct Case {
    spec: HashAggregate,
    schema: SchemaRef,
    chunks: Vec<Chunk>,
    expected: Vec<Vec<String>>,
}

/// Many groups, of which each has the greatest of its texts.
fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    let inputs = [
        input(&mut random, Kind::Int64, 40_000, 1 << 40, true),
        input(&mut random, Kind::Text, 40_000, 1 << 40, true),
        input(&mut random, Kind::Int64, 40_000, 1 << 40, true),
    ];
    let schema = schema_of(&inputs);
    let calls = [(1, DataType::Utf8), (2, DataType::Int64)];
    let calls = calls.map(|(argument, t)| call(AggregateKind::Max, argument, t));
    let spec = spec(1, calls.into());
    let chunks = chunks(&mut random, &inputs, 2000).into_iter().map(|(chunk, _)| chunk).collect();
    let all = run(&spec, &schema, &Vec::clone(&chunks), 1, Some(SMALL), Governor::unlimited());
    let expected = in_order(&all.expect("runs"));
    Case { spec, schema, chunks, expected }
}

fn in_order(batch: &RecordBatch) -> Vec<Vec<String>> {
    let row = |row: usize| batch.columns().iter().map(|column| text(column, row)).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// Somebody who cannot do without all that can be had.
fn takes_all(governor: &Governor) -> Reservation {
    let mut other = governor.reserve("other", 0).expect("asks for nothing");
    while other.grow(16 << 10).is_ok() {}
    other
}

#[test]
fn groups_give_way_between_two_chunks() {
    let Case { spec, schema, chunks, expected } = case(3);
    let governor = limited(32 << 20);
    let (sink, cx) = feed(&spec, &schema, &[], 1, SMALL, &governor).expect("has room");
    let mut worker = sink.worker(&cx).expect("has room");
    for (number, chunk) in chunks.iter().enumerate() {
        if number % 7 == 5 {
            let before = governor.spill().usage().written;
            drop(takes_all(&governor));
            assert!(governor.spill().usage().written > before, "chunk {number}");
        }
        worker.consume(chunk.clone(), &cx).expect("has room");
    }
    worker.combine(&cx).expect("is written");
    drop(worker);
    for task in 0..sink.prepare(&cx).expect("has room") {
        sink.finish(task, &cx).expect("has room");
    }
    let batch = read(&spec, &schema, sink, &cx).expect("reads");
    assert_eq!(in_order(&batch), expected);
    drop(cx);
    assert_eq!(governor.reserved(), 0);
}

#[test]
fn groups_that_are_handed_over_give_way() {
    let Case { spec, schema, chunks, expected } = case(5);
    let governor = limited(32 << 20);
    let (sink, cx) = feed(&spec, &schema, &[], 1, SMALL, &governor).expect("has room");
    let mut workers: Vec<_> = (0..3).map(|_| sink.worker(&cx).expect("has room")).collect();
    for (number, chunk) in chunks.iter().enumerate() {
        workers[number % 3].consume(chunk.clone(), &cx).expect("has room");
    }
    for (number, mut worker) in workers.into_iter().enumerate() {
        worker.combine(&cx).expect("has room");
        if number == 1 {
            let before = sink.0.state().parts.len();
            drop(takes_all(&governor));
            assert!(sink.0.state().parts.len() < before && sink.0.is_spilling());
        }
    }
    for task in 0..sink.prepare(&cx).expect("has room") {
        sink.finish(task, &cx).expect("is written");
    }
    let batch = read(&spec, &schema, sink, &cx).expect("reads");
    assert_eq!(in_order(&batch), expected);
    drop(cx);
    assert_eq!(governor.reserved(), 0);
}

#[test]
fn groups_that_are_not_read_yet_give_way() {
    let Case { spec, schema, chunks, expected } = case(4);
    for (begun, merges_late) in [(0, true), (1, true), (9, true), (0, false), (9, false)] {
        let governor = limited(32 << 20);
        let tuning = Tuning { merges_late, ..SMALL };
        let fed = feed(&spec, &schema, &chunks, 2, tuning, &governor);
        let (sink, cx) = fed.expect("has room");
        for task in 0..sink.prepare(&cx).expect("has room") {
            sink.finish(task, &cx).expect("has room");
        }
        assert_eq!(governor.spill().usage().written, 0);
        let source = AggregateSource::new(sink.0.clone());
        let result = spec.schema(std::slice::from_ref(&schema)).expect("fits");
        let mut reader = source.worker(&cx).expect("has room");
        let (mut rows, mut other) = (Vec::new(), None);
        for number in 0.. {
            if number == begun {
                other = Some(takes_all(&governor));
                assert!(governor.spill().usage().written > 0);
            }
            let Pull::Chunk(chunk) = reader.pull(&cx).expect("was kept room") else { break };
            rows.extend(in_order(&chunk.to_batch(&result).expect("fits")));
        }
        assert_eq!(rows, expected, "{begun} chunks before");
        drop((reader, source, sink, other, cx));
        assert_eq!(governor.reserved(), 0);
    }
}

#[test]
fn parts_are_merged_when_they_are_read_and_freed_then() {
    let Case { spec, schema, chunks, expected } = case(6);
    let governor = limited(64 << 20);
    let (sink, cx) = feed(&spec, &schema, &chunks, 2, SMALL, &governor).expect("has room");
    assert_eq!(sink.prepare(&cx).expect("has room"), 0, "nothing is merged before");
    let held = governor.reserved();
    let source = AggregateSource::new(sink.0.clone());
    assert!(source.parallelism() > super::super::table::LANES);
    let result = spec.schema(std::slice::from_ref(&schema)).expect("fits");
    let mut readers = [0, 1].map(|_| source.worker(&cx).expect("has room"));
    let mut chunks = Vec::new();
    let mut open = true;
    while open {
        open = false;
        for reader in &mut readers {
            if let Pull::Chunk(chunk) = reader.pull(&cx).expect("was set aside") {
                open = true;
                chunks
                    .push((chunk.place().morsel, in_order(&chunk.to_batch(&result).expect("is"))));
            }
        }
        assert!(governor.reserved() <= held, "lists of groups are not beside all rows");
    }
    chunks.sort_by_key(|&(morsel, _)| morsel);
    let rows: Vec<_> = chunks.into_iter().flat_map(|(_, rows)| rows).collect();
    assert_eq!(rows, expected);
    assert_eq!(governor.spill().usage().written, 0);
    let stores = sink.0.state().handed.stores.as_ref().map_or(0, |stores| stores.bytes());
    drop(readers);
    let left = governor.reserved();
    assert!(left <= stores + (256 << 10), "{left} of {held}, {stores} of texts");
    drop((source, sink, cx));
    assert_eq!(governor.reserved(), 0);
}
