//! Scans of files that the `arrow` crate wrote, compared with what was written.

use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{Field as ArrowField, Fields, Int8Type, Int64Type};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use super::*;
use crate::expr::{CompareOp, Literal};
use crate::memory::{Governor, GovernorOptions};
use crate::pipeline::{Context, Order, Pull, Query, Source};

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) as usize) % below
    }
}

fn context() -> Context {
    let query = Query::alone(Governor::unlimited(), 2);
    Context { query: Arc::new(query), order: Order::new(), worker: 0 }
}

/// All rows, from `workers` workers that take turns.
fn rows(scan: &ArrowScan, workers: usize) -> Result<RecordBatch> {
    let contents = Contents::read(&scan.file, &Governor::unlimited())?;
    scan.check(&contents)?;
    let source = Scan::new(scan, contents, &Governor::unlimited(), 2)?;
    let (cx, schema) = (context(), scan.declared().output()?);
    let mut running: Vec<_> =
        (0..workers).map(|_| source.worker(&cx)).collect::<Result<Vec<_>>>()?;
    let mut chunks = Vec::new();
    while !running.is_empty() {
        let mut still = Vec::new();
        for mut worker in running {
            match worker.pull(&cx)? {
                Pull::Finished => continue,
                Pull::Chunk(chunk) => chunks.push(chunk),
                Pull::Morsel(_) => {}
                Pull::Blocked(_) => panic!("a scan never blocks"),
            }
            still.push(worker);
        }
        running = still;
    }
    // The sort is stable: the chunks of one morsel come from one worker.
    chunks.sort_by_key(|chunk| chunk.place().morsel);
    let batches: Vec<_> = chunks.iter().map(|c| c.to_batch(&schema)).collect::<Result<_>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// A column of every kind; `seed` makes dictionaries differ.
fn batch(rows: usize, seed: usize) -> RecordBatch {
    let n = |i: usize, limit: u64| {
        ((i + seed * 7919) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) % limit
    };
    fn some<T>(rows: usize, every: usize, value: impl Fn(usize) -> T) -> Vec<Option<T>> {
        (0..rows).map(|i| (i % every != 1).then(|| value(i))).collect()
    }
    let text = |i: usize| format!("{} is the text number {}", n(i, 9), n(i, 1000));
    let words: DictionaryArray<Int8Type> = some(rows, 4, |i| format!("word {} of {seed}", n(i, 5)))
        .iter()
        .map(|w| w.as_deref())
        .collect();
    let ints = || Int64Array::from(some(rows, 3, |i| n(i, 1000) as i64));
    let texts = || StringArray::from(some(rows, 6, text));
    let lists = some(rows, 5, |i| (0..n(i, 4)).map(|k| Some(k as i64)).collect::<Vec<_>>());
    let fields = Fields::from(vec![
        ArrowField::new("x", DataType::Int64, true),
        ArrowField::new("y", DataType::Utf8, true),
    ]);
    let members: Vec<ArrayRef> = vec![Arc::new(ints()), Arc::new(texts())];
    let decimals = Decimal128Array::from(some(rows, 7, |i| i128::from(n(i, 1 << 50)) - 1000));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i8", Arc::new(Int8Array::from(some(rows, 5, |i| n(i, 256) as i8)))),
        ("i64", Arc::new(ints())),
        ("f64", Arc::new(Float64Array::from(some(rows, 5, |i| n(i, 1 << 40) as f64 / 7.0)))),
        ("flag", Arc::new(BooleanArray::from(some(rows, 3, |i| n(i, 2) == 0)))),
        ("text", Arc::new(texts())),
        ("large", Arc::new(LargeStringArray::from(some(rows, 6, text)))),
        ("view", Arc::new(StringViewArray::from(some(rows, 6, text)))),
        ("word", Arc::new(words)),
        ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\x01".as_slice()); rows]))),
        ("narrow", Arc::new(decimals.clone().with_precision_and_scale(18, 2).expect("fits"))),
        ("wide", Arc::new(decimals.with_precision_and_scale(30, 4).expect("fits"))),
        ("day", Arc::new(Date32Array::from(some(rows, 4, |i| n(i, 20_000) as i32)))),
        (
            "time",
            Arc::new(TimestampMicrosecondArray::from(some(rows, 4, |i| n(i, 1 << 50) as i64))),
        ),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("object", Arc::new(StructArray::new(fields, members, None))),
        ("nothing", Arc::new(NullArray::new(rows))),
    ];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
}

fn write(path: &Path, batches: &[RecordBatch], form: &str, codec: Option<CompressionType>) {
    let options = IpcWriteOptions::default().try_with_compression(codec).expect("options");
    let (to, schema) = (std::fs::File::create(path).expect("creates"), batches[0].schema());
    match form {
        "file" => {
            let mut writer =
                FileWriter::try_new_with_options(to, &schema, options).expect("writes");
            batches.iter().for_each(|batch| writer.write(batch).expect("writes"));
            writer.finish().expect("finishes");
        }
        _ => {
            let writer = StreamWriter::try_new_with_options(to, &schema, options);
            let mut writer = writer.expect("writes");
            batches.iter().for_each(|batch| writer.write(batch).expect("writes"));
            writer.finish().expect("finishes");
        }
    }
}

fn scan_of(path: &Path) -> Result<ArrowScan> {
    let file = FileRef::of(path)?;
    Ok(ArrowScan::new(Contents::read(&file, &Governor::unlimited())?))
}

/// What a scan should give, with logical types.
fn expected(batches: &[RecordBatch], scan: &ArrowScan) -> RecordBatch {
    let schema = scan.declared().output().expect("a schema");
    let parts: Vec<RecordBatch> = batches
        .iter()
        .map(|batch| {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(a, field)| cast(a, field.data_type()).expect("casts"));
            RecordBatch::try_new(schema.clone(), columns.collect()).expect("a batch")
        })
        .collect();
    concat_batches(&schema, &parts).expect("concatenates")
}

#[test]
fn all_types_in_both_forms_are_read_back() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.arrow");
    let codecs = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)];
    for form in ["file", "stream"] {
        for codec in codecs {
            for sizes in [&[0][..], &[1], &[10_000, 3, 0, 500]] {
                // The file format has one dictionary for all batches.
                let seed = |i: usize| if form == "file" { 1 } else { i };
                let batches: Vec<_> =
                    sizes.iter().enumerate().map(|(i, &rows)| batch(rows, seed(i))).collect();
                let batches = if form == "file" { share_words(batches) } else { batches };
                write(&path, &batches, form, codec);
                let mut scan = scan_of(&path).expect("opens");
                let all = expected(&batches, &scan);
                let what = format!("{form} {codec:?} {sizes:?}");
                for workers in [1, 3] {
                    assert_eq!(rows(&scan, workers).expect("reads"), all, "{what}");
                }
                let contents = scan.contents.clone().expect("known");
                assert_eq!(contents.rows(), all.num_rows() as u64);
                scan.projection = vec![13, 7, 1];
                let some = all.project(&scan.projection).expect("projects");
                assert_eq!(rows(&scan, 2).expect("reads"), some, "{what}");
                scan.predicates = vec![Expr::Compare {
                    op: CompareOp::Less,
                    left: Box::new(Expr::column(1, DataType::Int64)),
                    right: Box::new(Expr::Literal(Literal::int(300))),
                }];
                let ints = all.column(1).as_primitive::<Int64Type>();
                let live: BooleanArray =
                    ints.iter().map(|v| Some(v.is_some_and(|v| v < 300))).collect();
                let some = arrow::compute::filter_record_batch(&some, &live).expect("filters");
                assert_eq!(rows(&scan, 2).expect("reads"), some, "{what}");
                scan.projection = Vec::new();
                assert_eq!(rows(&scan, 1).expect("reads").num_rows(), some.num_rows());
            }
        }
    }
}

/// The batches with one dictionary, as the file format wants it.
fn share_words(batches: Vec<RecordBatch>) -> Vec<RecordBatch> {
    let words: Vec<_> = batches
        .iter()
        .map(|batch| cast(batch.column(7), &DataType::Utf8).expect("casts"))
        .collect();
    let words: Vec<&dyn Array> = words.iter().map(|a| a.as_ref()).collect();
    let all = arrow::compute::concat(&words).expect("concatenates");
    let all = cast(&all, batches[0].column(7).data_type()).expect("casts");
    let mut at = 0;
    let share = |batch: RecordBatch| {
        let mut columns = batch.columns().to_vec();
        columns[7] = all.slice(at, batch.num_rows());
        at += batch.num_rows();
        RecordBatch::try_new(batch.schema(), columns).expect("a batch")
    };
    batches.into_iter().map(share).collect()
}

#[test]
fn dictionary_columns_are_codes_with_one_domain() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.arrow");
    let batches = share_words(vec![batch(5000, 1), batch(10, 1)]);
    write(&path, &batches, "file", None);
    let mut scan = scan_of(&path).expect("opens");
    scan.projection = vec![7];
    let contents = scan.contents.clone().expect("known");
    let source = Scan::new(&scan, contents, &Governor::unlimited(), 2).expect("opens");
    let cx = context();
    let mut worker = source.worker(&cx).expect("a worker");
    let mut domains = Vec::new();
    loop {
        match worker.pull(&cx).expect("reads") {
            Pull::Finished => break,
            Pull::Chunk(chunk) => match chunk.columns()[0].form() {
                crate::batch::Form::Indexed(indexed) => domains.push(indexed.domain),
                other => panic!("not by codes: {other:?}"),
            },
            _ => {}
        }
    }
    assert!(domains.len() == 3 && domains.iter().all(|d| d.is_some() && *d == domains[0]));
}

#[test]
fn what_stands_under_nulls_is_not_read() {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..4));
    let nulls = || Some(vec![true, false].into());
    let two = Fields::from(vec![ArrowField::new("p", DataType::Int64, false)]);
    let structs = StructArray::new(two, vec![numbers.slice(0, 2)], nulls());
    let item = Arc::new(ArrowField::new_list_field(DataType::Int64, false));
    let ends = arrow::buffer::OffsetBuffer::from_lengths([2, 2]);
    let lists = ListArray::new(item.clone(), ends, numbers.clone(), nulls());
    let fixed = FixedSizeListArray::new(item, 2, numbers, nulls());
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("structs", Arc::new(structs), true),
        ("lists", Arc::new(lists), true),
        ("fixed", Arc::new(fixed), true),
    ];
    let written = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("hidden.arrow");
    write(&path, std::slice::from_ref(&written), "file", None);
    let read = rows(&scan_of(&path).expect("a scan"), 1).expect("rows");
    assert_eq!(read, written);
    assert_eq!(read["structs"].as_struct().column(0).null_count(), 1);
    assert_eq!(read["lists"].as_list::<i32>().offsets().lengths().collect::<Vec<_>>(), [2, 0]);
    assert_eq!(read["fixed"].as_fixed_size_list().values().null_count(), 2);
}

#[test]
fn a_batch_waits_for_room_that_others_give_up() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.arrow");
    write(&path, &[batch(10_000, 1)], "file", None);
    let scan = scan_of(&path).expect("opens");
    let limit = 16 << 20;
    let options = GovernorOptions { limit_bytes: Some(limit), ..Default::default() };
    let governor = Governor::new(options);
    let contents = Contents::read(&scan.file, &governor).expect("reads");
    let mut other = governor.reserve("other", 0).expect("fits");
    other.grow(limit - governor.reserved() - (64 << 10)).expect("fits");
    let source = Scan::new(&scan, contents, &governor, 2).expect("is ready");
    let query = Query::alone(governor.clone(), 2);
    let cx = Context { query: Arc::new(query), order: Order::new(), worker: 0 };
    let mut worker = source.worker(&cx).expect("begins");
    let error = worker.pull(&cx).expect_err("has no room");
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    source.reset().expect("begins again");
    let gives_up = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(other);
    });
    assert!(matches!(worker.pull(&cx), Ok(Pull::Morsel(0))), "there is room in time");
    gives_up.join().expect("ends");
}

#[test]
fn what_is_no_arrow_file_is_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.arrow");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("writes");
        let error = scan_of(&path).expect_err("refused");
        assert!(matches!(error, Error::Input { .. }), "{error}");
        error.to_string()
    };
    assert!(refused(b"").contains("too short"));
    assert!(refused(b"PAR1PAR1PAR1").contains("not a readable Arrow file"));
    assert!(refused(b"ARROW1\0\0 and so on and so on").contains("cut off"));
    assert!(refused(b"FEA1 old").contains("version 1"));
    assert!(refused(b"some text in a file").contains("not a readable Arrow file"));
}

#[test]
fn changed_bytes_give_errors_or_other_values_but_nothing_worse() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.arrow");
    let mut random = Random(3);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let mut problems = Vec::new();
    for form in ["file", "stream"] {
        for codec in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
            write(&path, &share_words(vec![batch(40, 1), batch(3, 1)]), form, codec);
            let whole = std::fs::read(&path).expect("reads");
            for _ in 0..300 {
                let mut bytes = whole.clone();
                for _ in 0..=random.next(3) {
                    // Metadata is at the ends.
                    let near = if random.next(2) == 0 { bytes.len().min(600) } else { bytes.len() };
                    let at = random.next(near);
                    let at = if random.next(2) == 0 { at } else { bytes.len() - 1 - at };
                    match random.next(4) {
                        0 => bytes.truncate(at.max(1)),
                        1 => bytes[at] = random.next(256) as u8,
                        2 => bytes[at] = 0xff,
                        _ => bytes[at] ^= 1 << random.next(8),
                    }
                }
                std::fs::write(&path, &bytes).expect("writes");
                let outcome = std::panic::catch_unwind(|| {
                    scan_of(&path).and_then(|scan| rows(&scan, 1)).map(|_| ())
                });
                match outcome {
                    Ok(Ok(()) | Err(Error::Input { .. })) => {}
                    Ok(Err(error)) => problems.push(error.to_string()),
                    Err(_) => problems.push("a panic".to_string()),
                }
            }
        }
    }
    std::panic::set_hook(hook);
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn plans_survive_json() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.arrow");
    write(&path, &[batch(3, 1)], "file", None);
    let mut scan = scan_of(&path).expect("opens");
    scan.projection = vec![13, 14, 7];
    let read = ArrowScan::from_json(scan.to_json().expect("writes"), &Functions::default());
    let read = read.expect("reads");
    let any: &dyn std::any::Any = read.as_ref();
    let read = any.downcast_ref::<ArrowScan>().expect("a scan");
    assert_eq!(rows(read, 1).expect("reads"), rows(&scan, 1).expect("reads"));
}
