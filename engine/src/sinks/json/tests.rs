//! What is written is JSON that gives the same values, at any depth.

use std::sync::Arc;

use arrow::array::{
    Array, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, DictionaryArray,
    FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int64Array, Int64Builder,
    LargeListArray, ListArray, MapBuilder, NullArray, RecordBatch, StringArray, StringBuilder,
    StructArray, TimestampMillisecondArray, UInt64Array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field as ArrowField, Fields, Int8Type, Int64Type, i256};

use super::*;
use crate::batch::{Chunk, Place};
use crate::memory::Governor;
use crate::pipeline::{Consumed, Context, Order, Query, Sink};

fn context() -> Context {
    let query = Query::alone(Governor::unlimited(), 2);
    Context { query: Arc::new(query), order: Order::new(), worker: 0 }
}

fn write(batches: &[RecordBatch], array: bool) -> String {
    let directory = tempfile::tempdir().expect("directory");
    let spec = WriteJson { array, ..WriteJson::new(directory.path().join("a.json")) };
    let schema = batches[0].schema();
    spec.schema(std::slice::from_ref(&schema)).expect("writable");
    let (sink, cx) = (spec.sink(schema), context());
    let mut worker = sink.worker(&cx).expect("a worker");
    for (morsel, batch) in batches.iter().enumerate() {
        let place = Place { morsel: morsel as u64, sequence: 0 };
        let chunk = Chunk::from_batch(batch, place).expect("a chunk");
        assert!(matches!(worker.consume(chunk, &cx), Ok(Consumed::NeedInput)));
    }
    assert!(matches!(worker.combine(&cx), Ok(None)));
    assert_eq!(sink.prepare(&cx).expect("commits"), 0);
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(sink.count().get(), rows as u64);
    std::fs::read_to_string(&spec.path).expect("is there")
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let with_nulls = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(with_nulls).expect("a batch")
}

/// A column of one value and a NULL, and the value as it is written.
fn written(array: ArrayRef) -> String {
    let text = write(&[batch(vec![("a", array)])], false);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[1]), (2, "{\"a\":null}"), "{text}");
    let _: Value = serde_json::from_str(lines[0]).expect("JSON");
    lines[0].strip_prefix("{\"a\":").and_then(|l| l.strip_suffix('}')).expect("a row").to_string()
}

fn wide(values: Vec<Option<i128>>, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from(values).with_precision_and_scale(38, scale);
    Arc::new(array.expect("fits"))
}

#[test]
fn plain_values_are_exact() {
    let large = i256::from_string("123456789012345678901234567890123456789012").expect("a number");
    let large = Decimal256Array::from(vec![Some(large), None]).with_precision_and_scale(60, 2);
    let codes: DictionaryArray<Int8Type> = vec![Some("x"), None].into_iter().collect();
    let stamps = TimestampMillisecondArray::from(vec![Some(1_500), None]);
    let cases: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(Int8Array::from(vec![Some(-5), None])), "-5"),
        (Arc::new(Int64Array::from(vec![Some(i64::MIN), None])), "-9223372036854775808"),
        (Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])), "18446744073709551615"),
        (Arc::new(Float64Array::from(vec![Some(0.1), None])), "0.1"),
        (Arc::new(Float64Array::from(vec![Some(-1e300), None])), "-1e300"),
        (wide(vec![Some(-5), None], 2), "-0.05"),
        (wide(vec![Some(i128::MAX / 10), None], 0), "17014118346046923173168730371588410572"),
        (Arc::new(large.expect("fits")), "1234567890123456789012345678901234567890.12"),
        (Arc::new(BooleanArray::from(vec![Some(true), None])), "true"),
        (Arc::new(stamps.clone()), "\"1970-01-01T00:00:01.5\""),
        (Arc::new(stamps.with_timezone("+00:00")), "\"1970-01-01T00:00:01.5Z\""),
        (Arc::new(codes), "\"x\""),
        (Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), None])), "\"00ff\""),
    ];
    for (array, expected) in cases {
        assert_eq!(written(array), expected);
    }
    let nulls = batch(vec![("a", Arc::new(NullArray::new(1)))]);
    assert_eq!(write(&[nulls], false), "{\"a\":null}\n");
}

#[test]
fn what_is_no_number_of_json_has_a_name() {
    let doubles = vec![Some(f64::NAN), Some(f64::NEG_INFINITY), None];
    let singles = vec![Some(f32::INFINITY), Some(-f32::NAN), Some(0.5)];
    let doubles: ArrayRef = Arc::new(Float64Array::from(doubles));
    let singles: ArrayRef = Arc::new(Float32Array::from(singles));
    let lines = write(&[batch(vec![("a", doubles), ("b", singles)])], false);
    let wanted =
        ["{\"a\":NaN,\"b\":Infinity}", "{\"a\":-Infinity,\"b\":NaN}", "{\"a\":null,\"b\":0.5}"];
    assert_eq!(lines.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn strings_and_keys_are_escaped() {
    let text = "\"q\" \\ / \n\r\t \u{1}\u{7f} žluť \u{1f33e}";
    let strings = Arc::new(StringArray::from(vec![text]));
    let lines = write(&[batch(vec![("k \"ž\"\n", strings)])], false);
    let expected =
        "{\"k \\\"ž\\\"\\n\":\"\\\"q\\\" \\\\ / \\n\\r\\t \\u0001\u{7f} žluť \u{1f33e}\"}\n";
    assert_eq!(lines, expected);
    let read: Value = serde_json::from_str(&lines).expect("JSON");
    assert_eq!(read["k \"ž\"\n"], text);
}

#[test]
fn nested_values_are_nested() {
    let ints = || [Some(vec![Some(1), None, Some(-3)]), None];
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(ints());
    let large = LargeListArray::from_iter_primitive::<Int64Type, _, _>(ints());
    let fixed = FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(ints(), 3);
    for array in [Arc::new(list.clone()) as ArrayRef, Arc::new(large), Arc::new(fixed)] {
        assert_eq!(written(array), "[1,null,-3]");
    }
    let fields = Fields::from(vec![
        ArrowField::new("x", list.data_type().clone(), true),
        ArrowField::new("y", DataType::Utf8, true),
    ]);
    let words = StringArray::from(vec![Some("é\""), None]);
    let members: Vec<ArrayRef> = vec![Arc::new(list), Arc::new(words)];
    let objects = StructArray::new(fields, members, Some(NullBuffer::from(vec![true, false])));
    assert_eq!(written(Arc::new(objects)), "{\"x\":[1,null,-3],\"y\":\"é\\\"\"}");
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(7);
    map.append(true).expect("a map");
    map.append(false).expect("NULL");
    assert_eq!(written(Arc::new(map.finish())), "{\"k\":7}");
}

#[test]
fn arrays_of_rows_are_one_document() {
    let part = |values: Vec<i64>| batch(vec![("a", Arc::new(Int64Array::from(values)))]);
    let text = write(&[part(vec![1, 2]), part(vec![]), part(vec![3])], true);
    assert_eq!(text, "[\n{\"a\":1},\n{\"a\":2},\n{\"a\":3}\n]\n");
    assert_eq!(write(&[part(vec![])], true), "[\n\n]\n");
    assert_eq!(write(&[part(vec![])], false), "");
}
