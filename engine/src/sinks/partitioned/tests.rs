//! Directories of files against the rows they were written from, for several workers.

use std::collections::BTreeMap;
use std::fs;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;

use super::*;
use crate::batch::{Chunk, Place};
use crate::memory::{Governor, GovernorOptions};
use crate::pipeline::{Consumed, Context, Order, Query, SinkWorker};

fn context(order: &Order, memory: &Governor) -> Context {
    let query = Query::alone(memory.clone(), 2);
    Context { query: Arc::new(query), order: order.clone(), worker: 0 }
}

/// Key (NULL when negative) and number.
type Row = (i64, i64);

fn batch(rows: &[Row]) -> RecordBatch {
    let keys: Int64Array = rows.iter().map(|row| (row.0 >= 0).then_some(row.0)).collect();
    let numbers = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
    let columns: Vec<(&str, ArrayRef, bool)> =
        vec![("k", Arc::new(keys), true), ("n", Arc::new(numbers), true)];
    RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
}

fn spec(directory: &Path, is_sorted: bool) -> WritePartitioned {
    let mut file = WriteCsv::new("");
    file.header = false;
    WritePartitioned {
        directory: directory.to_path_buf(),
        file: FileSink::Csv(file),
        partition_by: vec![0],
        is_sorted,
        existing: Existing::default(),
    }
}

fn offer(worker: &mut dyn SinkWorker, rows: &[Row], morsel: u64, cx: &Context) -> Result<()> {
    for (sequence, rows) in rows.chunks(7).enumerate() {
        let place = Place { morsel, sequence: sequence as u32 };
        let chunk = Chunk::from_batch(&batch(rows), place).expect("a chunk");
        assert!(matches!(worker.consume(chunk, cx)?, Consumed::NeedInput));
    }
    Ok(())
}

/// Writes morsels with two workers, the second of which comes first.
fn write(spec: &WritePartitioned, morsels: &[Vec<Row>]) -> Result<u64> {
    write_with(2, spec, morsels)
}

/// Writes morsels with workers of which each takes its own, the last one first.
fn write_with(workers: usize, spec: &WritePartitioned, morsels: &[Vec<Row>]) -> Result<u64> {
    let schema = batch(&[]).schema();
    spec.schema(std::slice::from_ref(&schema))?;
    let sink = PartitionedSink::new(spec.clone(), &schema, &Governor::unlimited())?;
    let order = Order::new();
    let cx = context(&order, &Governor::unlimited());
    let lanes: Vec<_> = (0..workers).map(|_| order.open(0)).collect();
    for (number, mut lane) in lanes.into_iter().enumerate().rev() {
        let mut worker = sink.worker(&cx)?;
        for (morsel, rows) in morsels.iter().enumerate().filter(|(m, _)| m % workers == number) {
            lane.advance(morsel as u64);
            offer(worker.as_mut(), rows, morsel as u64, &cx)?;
            while worker.end_morsel(&cx)?.is_some() {}
        }
        lane.close();
        assert!(worker.combine(&cx)?.is_none());
    }
    sink.prepare(&cx)?;
    Ok(sink.count().get())
}

/// The lines of all files below a directory, by their paths.
fn files(directory: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(place).expect("lists") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(directory).expect("below").display().to_string();
            let text = fs::read_to_string(&path).expect("reads");
            found.insert(name, text.lines().map(str::to_string).collect());
        }
    }
    found
}

fn expected(morsels: &[Vec<Row>]) -> BTreeMap<String, Vec<String>> {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for &(key, number) in morsels.iter().flatten() {
        let key = if key < 0 { "__HIVE_DEFAULT_PARTITION__".to_string() } else { key.to_string() };
        files.entry(format!("k={key}/data_0.csv")).or_default().push(number.to_string());
    }
    files
}

fn noise(i: i64, limit: i64) -> i64 {
    ((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as i64 % limit
}

#[test]
fn every_partition_is_a_file_with_its_rows_in_order() {
    let directory = tempfile::tempdir().expect("directory");
    for (keys, rows, number) in [(1, 40, 0), (5, 300, 1), (40, 900, 2), (300, 2000, 3)] {
        let mut all: Vec<Row> = (0..rows).map(|i| (noise(i, keys) - 1, i)).collect();
        for is_sorted in [false, true] {
            if !is_sorted && keys > 50 {
                continue;
            }
            if is_sorted {
                all.sort_by_key(|row| row.0);
            }
            let morsels: Vec<Vec<Row>> = all.chunks(97).map(<[Row]>::to_vec).collect();
            let target = directory.path().join(format!("{number}-{is_sorted}"));
            let count = write(&spec(&target, is_sorted), &morsels).expect("writes");
            assert_eq!(count, rows as u64);
            assert_eq!(files(&target), expected(&morsels), "{keys} keys, sorted: {is_sorted}");
        }
    }
    let hidden = fs::read_dir(directory.path()).expect("lists").filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0, "nothing temporary is left");
}

#[test]
fn files_that_have_passed_hold_no_memory() {
    let options = GovernorOptions { limit_bytes: Some(3 << 20), ..Default::default() };
    let memory = Governor::new(options);
    let directory = tempfile::tempdir().expect("directory");
    let file = FileSink::Parquet(WriteParquet::new(""));
    let spec = WritePartitioned { file, ..spec(&directory.path().join("d"), true) };
    let schema = batch(&[]).schema();
    let sink = PartitionedSink::new(spec, &schema, &memory).expect("a sink");
    let order = Order::new();
    let cx = context(&order, &memory);
    let mut lane = order.open(0);
    let mut worker = sink.worker(&cx).expect("a worker");
    // Each partition ends in the morsel behind that in which it begins.
    for morsel in 0..60 {
        lane.advance(morsel);
        let row = |i: i64| (morsel as i64 + i / 10_000, noise(i, 1 << 40));
        let rows: Vec<Row> = (0..20_000).map(row).collect();
        for (sequence, rows) in rows.chunks(5000).enumerate() {
            let place = Place { morsel, sequence: sequence as u32 };
            let chunk = Chunk::from_batch(&batch(rows), place).expect("a chunk");
            assert!(matches!(worker.consume(chunk, &cx).expect("fits"), Consumed::NeedInput));
        }
        while worker.end_morsel(&cx).expect("fits").is_some() {}
    }
    lane.close();
    sink.prepare(&cx).expect("fits");
    drop(worker);
    let names = fs::read_dir(directory.path().join("d")).expect("lists");
    let files = names.map(|name| fs::read_dir(name.expect("an entry").path()).expect("lists"));
    assert_eq!(files.map(Iterator::count).collect::<Vec<_>>(), vec![1; 61]);
}

#[test]
fn partitions_beyond_what_stays_open_get_more_files() {
    let directory = tempfile::tempdir().expect("directory");
    let target = directory.path().join("d");
    let all: Vec<Row> = (0..3000).map(|i| (noise(i, 200), i)).collect();
    let morsels: Vec<Vec<Row>> = all.chunks(20).map(<[Row]>::to_vec).collect();
    write_with(1, &spec(&target, false), &morsels).expect("writes");
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let files = files(&target);
    assert!(files.len() > 200);
    for (name, lines) in files {
        let (partition, _) = name.split_once('/').expect("a partition");
        found.entry(format!("{partition}/data_0.csv")).or_default().extend(lines);
    }
    let sorted = |mut files: BTreeMap<String, Vec<String>>| {
        files.values_mut().for_each(|lines| lines.sort());
        files
    };
    assert_eq!(sorted(found), sorted(expected(&morsels)));
}

#[test]
fn what_is_there_already_is_kept_replaced_or_in_the_way() {
    let directory = tempfile::tempdir().expect("directory");
    let target = directory.path().join("d");
    let with = |existing| WritePartitioned { existing, ..spec(&target, true) };
    write(&with(Existing::Refused), &[vec![(1, 1), (2, 2)]]).expect("writes");
    let refused = write(&with(Existing::Refused), &[vec![(1, 5)]]).expect_err("not empty");
    assert!(refused.to_string().contains("is not empty"), "{refused}");
    write(&with(Existing::Overwritten), &[vec![(1, 7)]]).expect("writes");
    let names = |files: &BTreeMap<String, Vec<String>>| files.keys().cloned().collect::<Vec<_>>();
    let found = files(&target);
    assert_eq!(names(&found), ["k=1/data_0.csv", "k=2/data_0.csv"]);
    assert_eq!(found["k=1/data_0.csv"], ["7"]);
    write(&with(Existing::Kept), &[vec![(1, 8)]]).expect("writes");
    let found = files(&target);
    assert_eq!(found.len(), 3);
    assert_eq!(found.values().flatten().collect::<Vec<_>>().len(), 3);
    write(&with(Existing::Replaced), &[vec![(3, 9)]]).expect("writes");
    assert_eq!(names(&files(&target)), ["k=3/data_0.csv"]);
    assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1);

    write(&with(Existing::Replaced), &[]).expect("writes no rows");
    assert!(target.is_dir() && files(&target).is_empty());
    let file = directory.path().join("file");
    fs::write(&file, "x").expect("writes");
    let refused = write(&spec(&file, true), &[vec![(1, 1)]]).expect_err("a file");
    assert!(refused.to_string().contains("is a file"), "{refused}");
}

#[test]
fn an_unfinished_directory_disappears() {
    let directory = tempfile::tempdir().expect("directory");
    let spec = spec(&directory.path().join("d"), true);
    let schema = batch(&[]).schema();
    let sink = PartitionedSink::new(spec, &schema, &Governor::unlimited()).expect("a sink");
    let cx = context(&Order::new(), &Governor::unlimited());
    let mut worker = sink.worker(&cx).expect("a worker");
    offer(worker.as_mut(), &[(1, 1), (2, 2)], 0, &cx).expect("takes them");
    assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1);
    drop((worker, sink));
    assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 0);
    let left = directory.path().join(".d.abc.gristmill-tmp");
    fs::create_dir(&left).expect("creates");
    fs::write(left.join(".lock"), "").expect("writes");
    fs::write(left.join("x"), "").expect("writes");
    write(&super::tests::spec(&directory.path().join("e"), true), &[vec![(1, 1)]]).expect("writes");
    assert!(!left.exists(), "what a killed process left is removed");
}

#[test]
fn paths_are_safe_and_can_be_read_back() {
    let directory = tempfile::tempdir().expect("directory");
    let target = directory.path().join("d");
    let texts = ["a/b", "..", "", "ž 1", "x=y%", "__HIVE_DEFAULT_PARTITION__"];
    let days = Date32Array::from(vec![0; texts.len()]);
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("n", Arc::new(Int64Array::from_iter_values(0..texts.len() as i64)), true),
        ("t", Arc::new(StringArray::from(texts.to_vec())), true),
        ("d", Arc::new(days), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    let spec = WritePartitioned { partition_by: vec![2, 1], ..spec(&target, false) };
    let schema = batch.schema();
    let sink = PartitionedSink::new(spec, &schema, &Governor::unlimited()).expect("a sink");
    let cx = context(&Order::new(), &Governor::unlimited());
    let mut worker = sink.worker(&cx).expect("a worker");
    let chunk = Chunk::from_batch(&batch, Place::default()).expect("a chunk");
    assert!(matches!(worker.consume(chunk, &cx), Ok(Consumed::NeedInput)));
    assert!(worker.end_morsel(&cx).expect("hands over").is_none());
    assert!(worker.combine(&cx).expect("combines").is_none());
    drop(worker);
    sink.prepare(&cx).expect("commits");
    let found: Vec<String> = files(&target).into_keys().collect();
    let path = |text: &str| format!("d=1970-01-01/t={text}/data_0.csv");
    let mut expected =
        ["a%2Fb", "..", "", "ž 1", "x%3Dy%25", "%5F_HIVE_DEFAULT_PARTITION__"].map(path);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let schema = batch(&[]).schema();
    let spec =
        |partition_by: Vec<usize>| WritePartitioned { partition_by, ..spec(Path::new("d"), true) };
    let refused = |spec: WritePartitioned, schema: &SchemaRef| {
        spec.schema(std::slice::from_ref(schema)).expect_err("refused").to_string()
    };
    assert!(refused(spec(vec![]), &schema).contains("a column at least"));
    assert!(refused(spec(vec![0, 1]), &schema).contains("none is left"));
    let list = arrow::datatypes::Field::new_list(
        "l",
        arrow::datatypes::Field::new_list_field(DataType::Int64, true),
        true,
    );
    let lists: SchemaRef = Arc::new(Schema::new(vec![list, schema.field(0).clone()]));
    assert!(refused(spec(vec![0]), &lists).contains("cannot be partitioned by column `l`"));
    let floats = Float64Array::from(vec![1.5]);
    let column: (&str, ArrayRef) = ("f", Arc::new(floats));
    let other: (&str, ArrayRef) = ("n", Arc::new(Int64Array::from(vec![1])));
    let batch = RecordBatch::try_from_iter([column, other]).expect("a batch");
    spec(vec![0]).schema(&[batch.schema()]).expect("floats have texts");
    let json = spec(vec![0]).to_json().expect("writes");
    let back: WritePartitioned = serde_json::from_value(json).expect("reads");
    assert_eq!(back, spec(vec![0]));
}
