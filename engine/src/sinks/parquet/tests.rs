//! Files written by several workers in a seeded order, read back with the `parquet` crate.

mod footers;
mod pages;

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal64Array, Decimal128Array,
    Float64Array, Int64Array, ListArray, RecordBatch, StringViewArray, StructArray, new_null_array,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field as ArrowField, Int32Type, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Encoding;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use super::*;
use crate::batch::{Chunk, Column, Place};
use crate::memory::{Governor, GovernorOptions};
use crate::pipeline::{Consumed, Context, Order, Query, Sink, Tree};
use crate::sinks::commit::Output;
use crate::sinks::count::{CountSource, RowCount};
use crate::sinks::groups::GroupFormat;
use crate::sinks::plain::parquet_schema;

fn query(limit: Option<usize>, threads: usize) -> Arc<Query> {
    let memory = Governor::new(GovernorOptions { limit_bytes: limit, ..Default::default() });
    Arc::new(Query::alone(memory, threads))
}

/// The sink of a plan that writes rows of `schema`.
fn sink(spec: &WriteParquet, schema: &SchemaRef, query: &Arc<Query>) -> Arc<dyn Sink> {
    let mut build = Build::new(query.clone());
    let nowhere = Arc::new(CountSource::new(RowCount::default()));
    let stream = Stream::new(schema.clone(), nowhere, Vec::new());
    spec.schema(std::slice::from_ref(schema)).expect("can be written");
    spec.build(vec![stream], &mut build).expect("builds");
    match build.finish().list.swap_remove(0).tree {
        Tree::Sink(sink) => sink,
        _ => panic!("a sink is at the end"),
    }
}

/// Feeds morsels of chunks to `workers` workers that take turns as the seed has it.
fn run(sink: &dyn Sink, query: &Arc<Query>, morsels: &[Vec<Chunk>], seed: u64) -> Result<()> {
    let order = Order::new();
    let mut next = (0..).zip(morsels);
    let mut workers: Vec<_> = (0..query.threads)
        .map(|worker| {
            let cx = Context { query: query.clone(), order: order.clone(), worker };
            let lane = order.open(0);
            (sink.worker(&cx).expect("worker"), cx, lane, VecDeque::<Chunk>::new())
        })
        .collect();
    let (mut state, mut stuck) = (seed, 0);
    while !workers.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = (state >> 33) as usize % workers.len();
        let (worker, cx, lane, chunks) = &mut workers[number];
        stuck += 1;
        assert!(stuck < 10_000, "nobody can go on");
        if let Some(chunk) = chunks.pop_front() {
            match worker.consume(chunk, cx)? {
                Consumed::Blocked(_, chunk) => chunks.push_front(chunk),
                _ => stuck = 0,
            }
        } else if worker.end_morsel(cx)?.is_some() {
            continue;
        } else if let Some((morsel, list)) = next.next() {
            lane.advance(morsel);
            *chunks = list.iter().cloned().collect();
        } else {
            let (mut worker, cx, lane, _) = workers.swap_remove(number);
            lane.close();
            assert!(worker.combine(&cx)?.is_none());
            stuck = 0;
        }
    }
    let cx = Context { query: query.clone(), order, worker: 0 };
    assert_eq!(sink.prepare(&cx)?, 0);
    Ok(())
}

/// Chunks of `batch` in morsels of these sizes, in turn.
fn morsels(batch: &RecordBatch, sizes: &[usize]) -> Vec<Vec<Chunk>> {
    let mut morsels = Vec::new();
    let (mut at, mut sizes) = (0, sizes.iter().cycle());
    while at < batch.num_rows() {
        let end = (at + sizes.next().expect("cycles")).min(batch.num_rows());
        let number = morsels.len() as u64;
        let mut chunks = Vec::new();
        while at < end {
            let rows = (end - at).min(4096);
            let place = Place { morsel: number, sequence: chunks.len() as u32 };
            chunks.push(Chunk::from_batch(&batch.slice(at, rows), place).expect("chunk"));
            at += rows;
        }
        morsels.push(chunks);
    }
    morsels
}

fn read(path: &Path) -> (RecordBatch, Arc<ParquetMetaData>) {
    let file = File::open(path).expect("is there");
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let reader =
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).expect("opens");
    let (schema, metadata) = (reader.schema().clone(), reader.metadata().clone());
    let batches: Vec<_> = reader.build().expect("reads").map(|b| b.expect("batch")).collect();
    (concat_batches(&schema, &batches).expect("concatenates"), metadata)
}

fn sample(rows: usize) -> RecordBatch {
    let noise = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let every = |i: usize, n| (!i.is_multiple_of(n)).then_some(i);
    let decimals = (0..rows).map(|i| every(i, 9).map(|i| i as i128 * 7 - 1000));
    let decimals = decimals.collect::<Decimal128Array>().with_precision_and_scale(15, 2);
    let wide = (0..rows).map(|i| i as i128 * 1_000_000_007).collect::<Decimal128Array>();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("row", Arc::new(Int64Array::from_iter_values(0..rows as i64))),
        (
            "noise",
            Arc::new(
                (0..rows).map(|i| every(i, 5).map(|i| noise(i) as i64)).collect::<Int64Array>(),
            ),
        ),
        ("few", Arc::new((0..rows).map(|i| (noise(i) % 7) as i64).collect::<Int64Array>())),
        (
            "float",
            Arc::new(
                (0..rows).map(|i| every(i, 3).map(|i| i as f64 / -3.0)).collect::<Float64Array>(),
            ),
        ),
        (
            "flag",
            Arc::new((0..rows).map(|i| every(i, 4).map(|i| i % 3 == 0)).collect::<BooleanArray>()),
        ),
        (
            "date",
            Arc::new(
                (0..rows).map(|i| every(i, 11).map(|i| (i % 999) as i32)).collect::<Date32Array>(),
            ),
        ),
        ("price", Arc::new(decimals.expect("precision"))),
        ("wide", Arc::new(wide.with_precision_and_scale(30, 3).expect("precision"))),
        (
            "text",
            Arc::new(
                (0..rows)
                    .map(|i| every(i, 6).map(|i| format!("text {}", noise(i))))
                    .collect::<StringViewArray>(),
            ),
        ),
        (
            "code",
            Arc::new((0..rows).map(|i| Some(["a", "b", ""][i % 3])).collect::<StringViewArray>()),
        ),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                (0..rows).map(|i| every(i, 7).map(|i| (0..i as i32 % 3).map(Some))),
            )),
        ),
    ];
    RecordBatch::try_from_iter(columns).expect("batch")
}

/// The rows as another program finds them: plain strings.
fn as_read(batch: &RecordBatch) -> Vec<ArrayRef> {
    let plain = |array: &ArrayRef| match array.data_type() {
        DataType::Utf8View => cast(array, &DataType::Utf8).expect("casts"),
        _ => array.clone(),
    };
    batch.columns().iter().map(plain).collect()
}

fn groups(metadata: &ParquetMetaData) -> Vec<i64> {
    metadata.row_groups().iter().map(|group| group.num_rows()).collect()
}

#[test]
fn rows_come_back_in_order_whatever_the_workers_do() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batch = sample(60_000);
    let codecs = [Codec::None, Codec::Snappy, Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Brotli];
    let sizes: [&[usize]; 3] = [&[500], &[10_000, 3, 9000], &[5000, 1, 40_000]];
    for (seed, compression) in (0..).zip(codecs) {
        for sizes in sizes {
            let spec =
                WriteParquet { compression, row_group_rows: 8000, ..WriteParquet::new(&path) };
            let query = query(None, 3);
            let sink = sink(&spec, &batch.schema(), &query);
            run(&*sink, &query, &morsels(&batch, sizes), seed).expect("writes");
            drop(sink);
            assert_eq!(query.memory.reserved(), 0, "everything is given back");
            let (found, metadata) = read(&path);
            assert_eq!(found.columns(), as_read(&batch), "{compression:?}, {sizes:?}, {seed}");
            assert!(groups(&metadata).iter().all(|&rows| rows <= 14_096), "{metadata:?}");
            let entries = std::fs::read_dir(directory.path()).expect("lists").count();
            assert_eq!(entries, 1, "nothing temporary is left");
        }
    }
}

#[test]
fn small_morsels_share_row_groups_and_large_ones_have_their_own() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batch = sample(200_000).project(&[0, 2]).expect("projects");
    let spec = WriteParquet { row_group_rows: 50_000, ..WriteParquet::new(&path) };
    let query = query(None, 2);
    let writer = sink(&spec, &batch.schema(), &query);
    run(&*writer, &query, &morsels(&batch, &[1000]), 3).expect("writes");
    assert_eq!(groups(&read(&path).1), [50_000; 4]);
    writer.reset().expect("resets");
    run(&*writer, &query, &morsels(&batch, &[60_000, 1000]), 3).expect("writes");
    let (found, metadata) = read(&path);
    assert_eq!(groups(&metadata), [60_000, 1000, 60_000, 1000, 60_000, 1000, 17_000]);
    assert_eq!(found.columns(), as_read(&batch));
}

#[test]
fn columns_of_distinct_values_get_no_dictionary() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batch = sample(100_000);
    let query = query(None, 1);
    let writer = sink(&WriteParquet::new(&path), &batch.schema(), &query);
    run(&*writer, &query, &morsels(&batch, &[100_000]), 1).expect("writes");
    let (found, metadata) = read(&path);
    assert_eq!(found.columns(), as_read(&batch));
    let has_dictionary = |name: &str| {
        let columns = metadata.row_group(0).columns().iter();
        let column = columns.clone().find(|c| c.column_path().parts()[0] == name);
        column.expect("is there").encodings().any(|e| e == Encoding::RLE_DICTIONARY)
    };
    for (name, expected) in [
        ("row", false),
        ("noise", false),
        ("text", false),
        ("price", false),
        ("few", true),
        ("code", true),
        ("date", true),
    ] {
        assert_eq!(has_dictionary(name), expected, "{name}");
    }
}

#[test]
fn a_small_budget_makes_smaller_row_groups_but_not_tiny_ones() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batch = sample(400_000);
    for (limit, morsel) in [(4 << 20, 200_000), (6 << 20, 200_000), (5 << 20, 30_000)] {
        let query = query(Some(limit), 2);
        let writer = sink(&WriteParquet::new(&path), &batch.schema(), &query);
        let morsels = morsels(&batch, &[morsel]);
        run(&*writer, &query, &morsels, 1).expect("writes");
        let (found, metadata) = read(&path);
        let groups = groups(&metadata);
        let small = groups.iter().filter(|&&rows| rows < 8192).count();
        assert!(groups.len() > 8, "{groups:?}");
        assert!(small <= morsels.len(), "behind the last full one of a morsel: {groups:?}");
        assert_eq!(found.columns(), as_read(&batch));
    }
}

#[test]
fn no_rows_make_a_file_and_an_unfinished_file_is_none() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batch = sample(20_000);
    let query = query(None, 2);
    let writer = sink(&WriteParquet::new(&path), &batch.schema(), &query);
    run(&*writer, &query, &[], 1).expect("writes");
    let (found, metadata) = read(&path);
    assert_eq!((found.num_rows(), metadata.num_row_groups()), (0, 0));
    assert_eq!(found.num_columns(), batch.num_columns());

    std::fs::remove_file(&path).expect("removes");
    let spec = WriteParquet { row_group_rows: 100, ..WriteParquet::new(&path) };
    let writer = sink(&spec, &batch.schema(), &query);
    let cx = Context { query: query.clone(), order: Order::new(), worker: 0 };
    let mut worker = writer.worker(&cx).expect("worker");
    for chunk in morsels(&batch, &[4096]).concat() {
        assert!(matches!(worker.consume(chunk, &cx).expect("writes"), Consumed::NeedInput));
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 1);
    drop((worker, writer));
    assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 0);
}

#[test]
fn decimals_are_written_in_their_declared_type_or_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let fields = vec![
        ArrowField::new("narrow", DataType::Decimal128(5, 2), true),
        ArrowField::new("wide", DataType::Decimal128(25, 2), true),
    ];
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let chunk = |value: i64| {
        let narrow = Decimal128Array::from(vec![i128::from(value)]);
        let wide = Decimal64Array::from(vec![value]);
        let narrow: ArrayRef = Arc::new(narrow.with_precision_and_scale(38, 2).expect("narrow"));
        let wide: ArrayRef = Arc::new(wide.with_precision_and_scale(18, 2).expect("wide"));
        let columns = vec![
            Column::flat(DataType::Decimal128(5, 2), narrow),
            Column::flat(DataType::Decimal128(25, 2), wide),
        ];
        vec![Chunk::new(columns, 1, Place::default())]
    };
    let query = query(None, 1);
    let writer = sink(&WriteParquet::new(&path), &schema, &query);
    run(&*writer, &query, &[chunk(99_999)], 1).expect("fits");
    let (found, _) = read(&path);
    assert_eq!(found.schema().field(0).data_type(), &DataType::Decimal128(5, 2));
    assert_eq!(found.schema().field(1).data_type(), &DataType::Decimal128(25, 2));
    let value =
        |c: usize| found.column(c).as_primitive::<arrow::datatypes::Decimal128Type>().value(0);
    assert_eq!((value(0), value(1)), (99_999, 99_999));

    writer.reset().expect("resets");
    let error = run(&*writer, &query, &[chunk(100_000)], 1).expect_err("does not fit");
    assert!(matches!(error, Error::Input { .. }), "{error}");
}

#[test]
fn what_cannot_be_written_is_refused_when_planned() {
    let spec = WriteParquet::new("/nowhere/out.parquet");
    let schema = |data_type| -> SchemaRef {
        Arc::new(Schema::new(vec![ArrowField::new("c", data_type, true)]))
    };
    let refused = spec.schema(&[schema(DataType::Struct(Default::default()))]);
    assert!(matches!(refused, Err(Error::Input { .. })), "{refused:?}");
    let interval = DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano);
    let refused = spec.schema(&[schema(interval)]);
    assert!(matches!(refused, Err(Error::Input { .. })), "{refused:?}");
    assert!(spec.schema(&[Arc::new(Schema::empty())]).is_err());
    assert!(spec.schema(&[schema(DataType::Int64)]).is_ok());
}

/// A column of every type that files can have, with NULLs.
fn every_type() -> RecordBatch {
    let numbers: ArrayRef =
        Arc::new((0..5000).map(|i| (i % 7 != 3).then_some(i % 100)).collect::<Int64Array>());
    let as_text = cast(&numbers, &DataType::Utf8).expect("casts");
    let zone = || Some(Arc::from("+02:00"));
    let types = [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Boolean,
        DataType::Decimal32(9, 1),
        DataType::Decimal64(18, 4),
        DataType::Decimal128(9, 2),
        DataType::Decimal128(18, 2),
        DataType::Decimal128(38, 10),
        DataType::Decimal256(70, 20),
        DataType::Date32,
        DataType::Date64,
        DataType::Time32(TimeUnit::Second),
        DataType::Time32(TimeUnit::Millisecond),
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::Timestamp(TimeUnit::Millisecond, zone()),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Nanosecond, zone()),
        DataType::Duration(TimeUnit::Millisecond),
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::BinaryView,
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
    ];
    let narrow = cast(&numbers, &DataType::Int32).expect("casts");
    let columns = types.into_iter().map(|to| {
        let source = match &to {
            DataType::Time32(_) | DataType::Date32 => &narrow,
            DataType::Dictionary(..) | DataType::BinaryView | DataType::Binary => &as_text,
            _ => &numbers,
        };
        let array = cast(source, &to).unwrap_or_else(|e| panic!("{to}: {e}"));
        (to.to_string(), array)
    });
    let inner = ListArray::from_iter_primitive::<Int32Type, _, _>((0..5000).map(|i| {
        (i % 4 != 0).then(|| (0..i % 3).map(|j| (j != 1).then_some(j)).collect::<Vec<_>>())
    }));
    let fields = vec![
        Arc::new(ArrowField::new("list", inner.data_type().clone(), true)),
        Arc::new(ArrowField::new("text", DataType::Utf8, true)),
        Arc::new(ArrowField::new("moment", DataType::Timestamp(TimeUnit::Second, None), true)),
    ];
    let moments = cast(&numbers, fields[2].data_type()).expect("casts");
    let values = vec![Arc::new(inner) as ArrayRef, as_text.clone(), moments];
    let nested = StructArray::new(fields.into(), values, None);
    let mut columns: Vec<(String, ArrayRef)> = columns.collect();
    columns.push(("struct".to_string(), Arc::new(nested)));
    columns.push(("nothing".to_string(), new_null_array(&DataType::Null, 5000)));
    RecordBatch::try_from_iter(columns).expect("batch")
}

#[test]
fn every_type_comes_back_with_its_statistics() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batch = every_type();
    let query = query(None, 2);
    for sizes in [[700], [5000]] {
        let writer = sink(&WriteParquet::new(&path), &batch.schema(), &query);
        run(&*writer, &query, &morsels(&batch, &sizes), 1).expect("writes");
        let (found, metadata) = read(&path);
        assert_eq!(found.schema(), parquet_schema(&found.schema()), "moments are no integers");
        for (field, (found, written)) in
            batch.schema().fields().iter().zip(found.columns().iter().zip(batch.columns()))
        {
            let written = cast(written, found.data_type()).expect("casts");
            assert_eq!(found, &written, "{field:?}");
        }
        for (at, column) in metadata.row_group(0).columns().iter().enumerate() {
            let statistics = column.statistics().expect("has statistics");
            // The columns before the struct are one leaf each.
            let mut flat = batch.columns().iter().take_while(|c| !c.data_type().is_nested());
            if let Some(array) = flat.nth(at) {
                let nulls = statistics.null_count_opt();
                assert_eq!(nulls, Some(array.logical_null_count() as u64), "column {at}");
            }
        }
    }
}

#[test]
fn the_file_does_not_depend_on_the_threads() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("out.parquet");
    let batch = sample(100_000);
    let mut first: Option<Vec<u8>> = None;
    for (threads, seed) in [(1, 0), (2, 5), (4, 9)] {
        let query = query(None, threads);
        let writer = sink(&WriteParquet::new(&path), &batch.schema(), &query);
        run(&*writer, &query, &morsels(&batch, &[40_000, 600]), seed).expect("writes");
        let bytes = std::fs::read(&path).expect("reads");
        assert!(first.get_or_insert_with(|| bytes.clone()) == &bytes, "{threads} threads");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_failing_disk_is_an_error_with_the_path() {
    let batch = sample(50_000);
    let query = query(None, 2);
    let write = |path: &Path| {
        let writer = sink(&WriteParquet::new(path), &batch.schema(), &query);
        run(&*writer, &query, &morsels(&batch, &[40_000]), 1)
    };
    let full = write(Path::new("/dev/full")).expect_err("is full");
    assert!(matches!(full, Error::Io { .. }), "{full}");
    assert!(full.to_string().contains("/dev/full"), "{full}");

    let directory = tempfile::tempdir().expect("directory");
    let gone = directory.path().join("gone");
    std::fs::create_dir(&gone).expect("creates");
    let path = gone.join("out.parquet");
    let writer = sink(&WriteParquet::new(&path), &batch.schema(), &query);
    let cx = Context { query: query.clone(), order: Order::new(), worker: 0 };
    let mut worker = writer.worker(&cx).expect("worker");
    for (number, morsel) in morsels(&batch, &[40_000]).into_iter().enumerate() {
        if number == 1 {
            std::fs::remove_dir_all(&gone).expect("removes");
        }
        for chunk in morsel {
            worker.consume(chunk, &cx).expect("writes");
        }
        worker.end_morsel(&cx).expect("writes");
    }
    worker.combine(&cx).expect("has nothing left");
    let error = writer.prepare(&cx).expect_err("has nowhere to go");
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(error.to_string().contains("out.parquet"), "{error}");
    assert!(!gone.exists());
}

#[test]
fn the_spec_survives_json() {
    let spec = WriteParquet {
        compression: Codec::Zstd,
        row_group_rows: 1000,
        row_group_bytes: 1 << 20,
        ..WriteParquet::new("/tmp/x.parquet")
    };
    let json = spec.to_json().expect("to JSON");
    let back: WriteParquet = serde_json::from_value(json).expect("from JSON");
    assert_eq!(back, spec);
    let fields = spec.explain();
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["path", "compression", "row group", "row group bytes"]);
    assert_eq!(WriteParquet::new("x").explain().len(), 1);
}
