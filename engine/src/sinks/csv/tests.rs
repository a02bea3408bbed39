//! What is written reads back as the same rows, in order, whatever the number of workers.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, NullArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};

use super::*;
use crate::batch::{Chunk, Column, Place};
use crate::memory::Governor;
use crate::pipeline::{Consumed, Context, Order, Query, Sink};

fn context(order: Order) -> Context {
    let query = Query::alone(Governor::unlimited(), 2);
    Context { query: Arc::new(query), order, worker: 0 }
}

fn write(spec: &WriteCsv, batch: &RecordBatch) -> String {
    let sink = spec.sink(batch.schema()).expect("a sink");
    let cx = context(Order::new());
    let mut worker = sink.worker(&cx).expect("a worker");
    let chunk = Chunk::from_batch(batch, Place::default()).expect("a chunk");
    assert!(matches!(worker.consume(chunk, &cx), Ok(Consumed::NeedInput)));
    assert!(matches!(worker.combine(&cx), Ok(None)));
    assert_eq!(sink.prepare(&cx).expect("commits"), 0);
    assert_eq!(sink.count().get(), batch.num_rows() as u64);
    std::fs::read_to_string(&spec.path).expect("is there")
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let with_nulls = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(with_nulls).expect("a batch")
}

#[test]
fn values_are_exact_and_quoted_only_when_needed() {
    let directory = tempfile::tempdir().expect("directory");
    let decimal = Decimal128Array::from(vec![Some(-5), None, Some(12_345)]);
    let decimal = decimal.with_precision_and_scale(10, 2).expect("fits");
    let stamps = TimestampMicrosecondArray::from(vec![Some(0), None, Some(1_500_000)]);
    let batch = batch(vec![
        ("a,b", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(1e300)]))),
        ("d", Arc::new(decimal)),
        ("s", Arc::new(StringArray::from(vec![Some("it's"), None, Some("")]))),
        ("q", Arc::new(StringArray::from(vec!["a \"b\"", "x,y", "two\nlines"]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("t", Arc::new(stamps)),
        ("n", Arc::new(NullArray::new(3))),
    ]);
    let spec = WriteCsv::new(directory.path().join("a.csv"));
    let expected = "\"a,b\",d,s,q,b,t,n\n\
                    0.1,-0.05,it's,\"a \"\"b\"\"\",true,1970-01-01 00:00:00,\n\
                    ,,,\"x,y\",,,\n\
                    1e300,123.45,\"\",\"two\nlines\",false,1970-01-01 00:00:01.5,\n";
    assert_eq!(write(&spec, &batch), expected);
}

#[test]
fn other_dialects() {
    let directory = tempfile::tempdir().expect("directory");
    let mut spec = WriteCsv::new(directory.path().join("a.csv"));
    spec.delimiter = '\t';
    spec.header = false;
    spec.null_string = "NA".to_string();
    let texts = StringArray::from(vec![Some("NA"), None, Some("a,b")]);
    let numbers = Int64Array::from(vec![Some(i64::MIN), None, Some(0)]);
    let batch = batch(vec![("s", Arc::new(texts)), ("n", Arc::new(numbers))]);
    assert_eq!(write(&spec, &batch), "\"NA\"\t-9223372036854775808\nNA\tNA\na,b\t0\n");
    spec.delimiter = '"';
    assert!(spec.text().is_err());
    spec.delimiter = ';';
    spec.null_string = "a;b".to_string();
    assert!(spec.text().is_err());
}

#[test]
fn no_rows_give_a_header_and_failure_gives_nothing() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.csv");
    let batch = batch(vec![("n", Arc::new(Int64Array::from(Vec::<i64>::new())))]);
    let sink = WriteCsv::new(&path).sink(batch.schema()).expect("a sink");
    let cx = context(Order::new());
    sink.prepare(&cx).expect("commits");
    assert_eq!(std::fs::read_to_string(&path).expect("is there"), "n\n");
    std::fs::remove_file(&path).expect("removes");

    let mut worker = sink.worker(&cx).expect("a worker");
    worker.consume(chunk_of(0, 0..3), &cx).expect("takes it");
    drop(worker);
    drop(sink);
    assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 0);
}

fn chunk_of(morsel: u64, values: std::ops::Range<i64>) -> Chunk {
    let rows = values.clone().count();
    let array: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    let column = Column::flat(arrow::datatypes::DataType::Int64, array);
    Chunk::new(vec![column], rows, Place { morsel, sequence: 0 })
}

fn lines(path: &Path) -> Vec<i64> {
    let text = std::fs::read_to_string(path).expect("is there");
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

#[test]
fn rows_keep_their_order_whichever_worker_is_first() {
    let directory = tempfile::tempdir().expect("directory");
    let mut spec = WriteCsv::new(directory.path().join("a.csv"));
    spec.header = false;
    let schema = batch(vec![("n", Arc::new(Int64Array::from(vec![0])))]).schema();
    let sink = spec.sink(schema).expect("a sink");
    let order = Order::new();
    let cx = context(order.clone());
    let (mut a, mut b) = (order.open(0), order.open(0));
    let mut first = sink.worker(&cx).expect("a worker");
    let mut second = sink.worker(&cx).expect("a worker");
    b.advance(1);
    second.consume(chunk_of(1, 10..20), &cx).expect("waits");
    b.advance(2);
    second.consume(chunk_of(2, 20..30), &cx).expect("waits");
    let early = Chunk::with_place(chunk_of(0, 0..5), Place { morsel: 0, sequence: 0 });
    first.consume(early, &cx).expect("writes");
    let late = Chunk::with_place(chunk_of(0, 5..10), Place { morsel: 0, sequence: 1 });
    first.consume(late, &cx).expect("writes");
    a.advance(3);
    first.consume(chunk_of(3, 30..40), &cx).expect("waits");
    drop((a, b));
    sink.prepare(&cx).expect("commits");
    assert_eq!(lines(&spec.path), (0..40).collect::<Vec<_>>());
}

#[test]
fn a_full_window_blocks_those_who_are_ahead_only() {
    let directory = tempfile::tempdir().expect("directory");
    let mut spec = WriteCsv::new(directory.path().join("a.csv"));
    spec.header = false;
    let schema = batch(vec![("n", Arc::new(Int64Array::from(vec![0])))]).schema();
    let sink = spec.sink(schema).expect("a sink");
    let order = Order::new();
    let query = Query::alone(
        Governor::new(crate::memory::GovernorOptions {
            limit_bytes: Some(1 << 20),
            ..Default::default()
        }),
        2,
    );
    let cx = Context { query: Arc::new(query), order: order.clone(), worker: 0 };
    let (mut low, mut ahead) = (order.open(0), order.open(0));
    let mut first = sink.worker(&cx).expect("a worker");
    let mut second = sink.worker(&cx).expect("a worker");
    let mut expected: Vec<i64> = Vec::new();
    let mut written = Vec::new();
    let blocked = (1..1000).find_map(|morsel| {
        ahead.advance(morsel as u64);
        let values = morsel * 4096..(morsel + 1) * 4096;
        match second.consume(chunk_of(morsel as u64, values.clone()), &cx).expect("consumes") {
            Consumed::Blocked(token, chunk) => {
                written.extend(values);
                Some((token, chunk))
            }
            _ => {
                written.extend(values);
                None
            }
        }
    });
    let (token, chunk) = blocked.expect("blocks in the end");
    first.consume(chunk_of(0, 0..10), &cx).expect("writes");
    expected.extend(0..10);
    assert!(!token.is_stale());
    low.advance(u64::MAX - 1);
    assert!(token.is_stale());
    assert!(matches!(second.consume(chunk, &cx), Ok(Consumed::NeedInput)));
    drop((low, ahead));
    sink.prepare(&cx).expect("commits");
    expected.extend(written);
    assert_eq!(lines(&spec.path), expected);
}

#[test]
fn the_spec_survives_json_and_refuses_what_has_no_text() {
    use arrow::datatypes::{DataType, Field, Schema};
    let spec = WriteCsv::new("a.csv");
    let json = spec.to_json().expect("writes");
    let back: WriteCsv = serde_json::from_value(json).expect("reads");
    assert_eq!(back, spec);
    let list = DataType::new_list(DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![Field::new("l", list, true)]));
    assert!(spec.schema(&[schema]).is_err());
    let flat = batch(vec![("n", Arc::new(Int64Array::from(vec![1])))]).schema();
    let count = spec.schema(&[flat]).expect("fine");
    assert_eq!(count.field(0).name(), "count");
}
