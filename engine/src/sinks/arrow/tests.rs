//! What is written is what the `arrow` crate reads, in the order of the input.

use std::fs::File;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field as ArrowField, Int8Type, Int64Type, Schema};
use arrow::ipc::reader::{FileReader, StreamReader};

use super::*;
use crate::batch::{Chunk, Column, Place};
use crate::memory::Governor;
use crate::pipeline::{Consumed, Context, Order, Query, Sink, SinkWorker};
use crate::sinks::plain::plain_schema;

fn context(order: &Order) -> Context {
    let query = Query::alone(Governor::unlimited(), 2);
    Context { query: Arc::new(query), order: order.clone(), worker: 0 }
}

fn batch(rows: usize, from: usize) -> RecordBatch {
    let some = |i: usize| (i % 5 != 1).then_some(i + from);
    let words: DictionaryArray<Int8Type> =
        (0..rows).map(|i| some(i).map(|i| if i % 2 == 0 { "even" } else { "odd" })).collect();
    let lists = (0..rows).map(|i| some(i).map(|i| vec![Some(i as i64), None]));
    let text = |i| some(i).map(|i| format!("a rather long text number {i}"));
    let texts: StringViewArray = (0..rows).map(text).collect();
    let decimals: Decimal128Array = (0..rows).map(|i| some(i).map(|i| i as i128)).collect();
    let member = ArrowField::new("x", DataType::Utf8View, true);
    let objects = StructArray::new(vec![member].into(), vec![Arc::new(texts.clone())], None);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from_iter_values((0..rows).map(|i| (i + from) as i64)))),
        ("text", Arc::new(texts)),
        ("word", Arc::new(words)),
        ("price", Arc::new(decimals.with_precision_and_scale(12, 2).expect("fits"))),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("object", Arc::new(objects)),
    ];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
}

/// As it should stand in the file.
fn plain(batch: &RecordBatch) -> RecordBatch {
    let schema = plain_schema(&batch.schema());
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(array, field)| cast(array, field.data_type()).expect("casts"));
    RecordBatch::try_new(schema.clone(), columns.collect()).expect("a batch")
}

fn offer(worker: &mut dyn SinkWorker, batch: &RecordBatch, morsel: u64, cx: &Context) {
    let chunk = Chunk::from_batch(batch, Place { morsel, sequence: 0 }).expect("a chunk");
    assert!(matches!(worker.consume(chunk, cx), Ok(Consumed::NeedInput)));
}

fn sink(spec: &WriteArrow, schema: &SchemaRef) -> GroupSink<Format> {
    spec.schema(std::slice::from_ref(schema)).expect("writable");
    spec.sink(schema).expect("a sink")
}

fn read(spec: &WriteArrow) -> (SchemaRef, Vec<RecordBatch>) {
    let file = File::open(&spec.path).expect("is there");
    if spec.stream {
        let reader = StreamReader::try_new(file, None).expect("opens");
        (reader.schema(), reader.map(|batch| batch.expect("reads")).collect())
    } else {
        let reader = FileReader::try_new(file, None).expect("opens");
        (reader.schema(), reader.map(|batch| batch.expect("reads")).collect())
    }
}

#[test]
fn batches_of_several_workers_are_written_in_order() {
    let directory = tempfile::tempdir().expect("directory");
    for stream in [false, true] {
        for compression in [ArrowCodec::None, ArrowCodec::Lz4, ArrowCodec::Zstd(Some(3))] {
            let path = directory.path().join("a.arrow");
            let spec =
                WriteArrow { compression, stream, batch_rows: 3000, ..WriteArrow::new(path) };
            let parts: Vec<_> =
                (0..12).map(|i| batch([4000, 10, 0, 900][i % 4], i * 5000)).collect();
            let schema = parts[0].schema();
            let sink = sink(&spec, &schema);
            let order = Order::new();
            let cx = context(&order);
            let lanes = [order.open(0), order.open(0)];
            let mut workers = [0, 1].map(|_| sink.worker(&cx).expect("a worker"));
            for (number, mut lane) in lanes.into_iter().enumerate().rev() {
                // The second worker is done before the first one begins.
                for (morsel, part) in parts.iter().enumerate().filter(|(m, _)| m % 2 == number) {
                    lane.advance(morsel as u64);
                    offer(workers[number].as_mut(), part, morsel as u64, &cx);
                    while workers[number].end_morsel(&cx).expect("hands over").is_some() {}
                }
                lane.close();
                assert!(workers[number].combine(&cx).expect("combines").is_none());
            }
            assert_eq!(sink.prepare(&cx).expect("commits"), 0);
            let all = concat_batches(&schema, &parts).expect("concatenates");
            assert_eq!(sink.count().get(), all.num_rows() as u64);
            let (schema, found) = read(&spec);
            let expected = plain(&all);
            assert_eq!(schema, expected.schema());
            assert_eq!(concat_batches(&schema, &found).expect("concatenates"), expected);
            assert!(found.len() > 3 && found.iter().all(|batch| batch.num_rows() <= 5000));
        }
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 1);
}

#[test]
fn batches_of_long_texts_have_few_rows() {
    let directory = tempfile::tempdir().expect("directory");
    let length = |i: usize| if i == 1_700 { 5 << 20 } else { [30, 20_000][i / 1_500 % 2] };
    let text = |i: usize| (i % 9 != 4).then(|| ["x", "yz"][i % 2].repeat(length(i)));
    let texts: StringViewArray = (0..2_500).map(text).collect();
    let numbers = Int64Array::from_iter_values(0..2_500);
    let columns: Vec<(&str, ArrayRef)> = vec![("n", Arc::new(numbers)), ("t", Arc::new(texts))];
    let all = RecordBatch::try_from_iter(columns).expect("a batch");
    for stream in [false, true] {
        let spec = WriteArrow { stream, ..WriteArrow::new(directory.path().join("a.arrow")) };
        let (sink, order) = (sink(&spec, &all.schema()), Order::new());
        let cx = context(&order);
        let mut worker = sink.worker(&cx).expect("a worker");
        offer(worker.as_mut(), &all, 0, &cx);
        assert!(worker.end_morsel(&cx).expect("hands over").is_none());
        assert!(worker.combine(&cx).expect("combines").is_none());
        sink.prepare(&cx).expect("commits");
        let (schema, found) = read(&spec);
        assert_eq!(concat_batches(&schema, &found).expect("concatenates"), plain(&all));
        for batch in &found {
            let bytes = batch.column(1).as_string::<i32>().value_data().len();
            assert!(bytes <= encode::MESSAGE_BYTES_MAX || batch.num_rows() == 1, "{bytes}");
        }
        assert!((10..80).contains(&found.len()), "{}", found.len());
    }
}

#[test]
fn a_file_without_rows_has_its_columns() {
    let directory = tempfile::tempdir().expect("directory");
    for stream in [false, true] {
        let path = directory.path().join("a.arrow");
        let spec = WriteArrow { stream, ..WriteArrow::new(path) };
        let schema = batch(0, 0).schema();
        let (sink, order) = (sink(&spec, &schema), Order::new());
        let cx = context(&order);
        let mut worker = sink.worker(&cx).expect("a worker");
        assert!(worker.combine(&cx).expect("combines").is_none());
        sink.prepare(&cx).expect("commits");
        let (found, batches) = read(&spec);
        assert_eq!(found.fields().len(), schema.fields().len());
        assert!(batches.is_empty());
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.arrow");
    let spec = WriteArrow { compression: ArrowCodec::Zstd(Some(99)), ..WriteArrow::new(&path) };
    let refused = spec.schema(&[batch(0, 0).schema()]).expect_err("no such level");
    assert!(refused.to_string().contains("level"), "{refused}");
    let none = spec.schema(&[Arc::new(Schema::empty())]).expect_err("no column");
    assert!(none.to_string().contains("a column at least"), "{none}");

    let price = ArrowField::new("price", DataType::Decimal128(4, 2), true);
    let schema: SchemaRef = Arc::new(Schema::new(vec![price]));
    let large = Decimal64Array::from(vec![123_456]).with_precision_and_scale(18, 2).expect("fits");
    let column = Column::flat(DataType::Decimal128(4, 2), Arc::new(large));
    let (sink, order) = (sink(&WriteArrow::new(&path), &schema), Order::new());
    let cx = context(&order);
    let mut worker = sink.worker(&cx).expect("a worker");
    let error = worker.consume(Chunk::new(vec![column], 1, Place::default()), &cx);
    let error = error.expect_err("does not fit").to_string();
    assert!(error.contains("column `price` has a value that its type cannot hold"), "{error}");
    drop((worker, sink));
    assert!(!path.exists());
}
