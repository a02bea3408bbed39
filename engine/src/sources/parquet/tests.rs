//! Scans of files that the `parquet` crate wrote, compared with what was written.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::*;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

use super::scan::Scan;
use super::*;
use crate::batch::{CHUNK_ROWS, Chunk, Domain, Form, KeyFilterBuilder};
use crate::error::Error;
use crate::expr::{CompareOp, Literal, Value as ExprValue};
use crate::memory::Governor;
use crate::pipeline::{Context, Order, Pull, Query, Source};
use crate::scheduler::Cancel;

mod moments;
mod wide;

fn context() -> Context {
    let query = Query::alone(Governor::unlimited(), 2);
    Context { query: Arc::new(query), order: Order::new(), worker: 0 }
}

fn write(path: &Path, batches: &[RecordBatch], properties: WriterProperties) -> FileRef {
    let file = File::create(path).expect("creates");
    let mut writer =
        ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).expect("writer");
    batches.iter().for_each(|batch| writer.write(batch).expect("writes"));
    writer.close().expect("closes");
    FileRef::of(path).expect("is there")
}

/// A scan of all columns of a file.
fn scan_of(file: &FileRef) -> ParquetScan {
    let footer = Footer::read(file, &Governor::unlimited()).expect("reads");
    let mut scan = ParquetScan::new(vec![file.clone()], footer.schema());
    scan.footers.push(footer);
    scan
}

fn open(scan: &ParquetScan) -> Result<Scan> {
    Scan::open(scan, &mut Build::new(context().query))
}

/// All chunks, from `workers` workers that take turns.
fn chunks(source: &Scan, workers: usize) -> Result<Vec<Chunk>> {
    let cx = context();
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
    Ok(chunks)
}

fn rows(scan: &ParquetScan, workers: usize) -> Result<RecordBatch> {
    let schema = scan.declared().output()?;
    let source = open(scan)?;
    let batches = chunks(&source, workers)?;
    let batches: Vec<_> = batches.iter().map(|c| c.to_batch(&schema)).collect::<Result<_>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// The rows as the scan should give them: with logical types.
fn expected(batches: &[RecordBatch], scan: &ParquetScan) -> RecordBatch {
    let all = concat_batches(&batches[0].schema(), batches).expect("concatenates");
    let fields: Vec<_> = scan.columns.iter().map(ScanColumn::field).collect();
    let columns = all.columns().iter().zip(&fields);
    let columns = columns.map(|(array, field)| cast(array, field.data_type()).expect("casts"));
    RecordBatch::try_new(Arc::new(Schema::new(fields.clone())), columns.collect()).expect("batch")
}

fn compare(op: CompareOp, column: Expr, literal: Literal) -> Expr {
    Expr::Compare { op, left: Box::new(column), right: Box::new(Expr::Literal(literal)) }
}

/// Small and nearly random numbers.
fn noise(i: usize, limit: u64) -> u64 {
    (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) % limit
}

fn with_nulls<T>(rows: usize, every: usize, value: impl Fn(usize) -> T) -> Vec<Option<T>> {
    (0..rows).map(|i| (i % every != 1).then(|| value(i))).collect()
}

/// A column of every kind that the engine decodes itself, and some that it does not.
fn many_types(rows: usize, seed: usize) -> RecordBatch {
    let n = |i: usize, limit| noise(i + seed, limit);
    let decimal = |p, s, limit: u64| -> ArrayRef {
        let values = with_nulls(rows, 7, |i| i128::from(n(i, limit)) - i128::from(limit / 2));
        let array = Decimal128Array::from(values).with_precision_and_scale(p, s);
        Arc::new(array.expect("precision"))
    };
    let text = |i: usize| format!("{} the text number {}", n(i, 9), n(i, 1 << 40));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i8", Arc::new(Int8Array::from(with_nulls(rows, 5, |i| n(i, 256) as i8)))),
        ("u8", Arc::new(UInt8Array::from(with_nulls(rows, 5, |i| n(i, 256) as u8)))),
        ("i16", Arc::new(Int16Array::from(with_nulls(rows, 3, |i| n(i, 65536) as i16)))),
        ("u16", Arc::new(UInt16Array::from(with_nulls(rows, 3, |i| n(i, 65536) as u16)))),
        ("i32", Arc::new(Int32Array::from_iter_values((0..rows).map(|i| n(i, 50) as i32 - 25)))),
        ("u32", Arc::new(UInt32Array::from(with_nulls(rows, 9, |i| n(i, u64::MAX) as u32)))),
        ("i64", Arc::new(Int64Array::from(with_nulls(rows, 4, |i| n(i, u64::MAX) as i64)))),
        ("u64", Arc::new(UInt64Array::from(with_nulls(rows, 4, |i| n(i, u64::MAX))))),
        ("row", Arc::new(Int64Array::from_iter_values((0..rows).map(|i| (i + seed) as i64)))),
        ("f32", Arc::new(Float32Array::from(with_nulls(rows, 11, |i| n(i, 99) as f32 / -7.0)))),
        (
            "f64",
            Arc::new(Float64Array::from(with_nulls(rows, 11, |i| match n(i, 9) {
                0 => f64::NAN,
                1 => -0.0,
                other => other as f64 * 1e300,
            }))),
        ),
        ("bool", Arc::new(BooleanArray::from(with_nulls(rows, 6, |i| n(i, 3) == 0)))),
        ("date", Arc::new(Date32Array::from(with_nulls(rows, 6, |i| n(i, 2500) as i32)))),
        ("time", Arc::new(Time64NanosecondArray::from(with_nulls(rows, 6, |i| n(i, 9999) as i64)))),
        (
            "ts",
            Arc::new(
                TimestampMicrosecondArray::from(with_nulls(rows, 6, |i| n(i, 1 << 50) as i64))
                    .with_timezone("Europe/Zurich"),
            ),
        ),
        ("d9", decimal(9, 2, 1_000_000)),
        ("d18", decimal(18, 4, 1 << 50)),
        ("d30", decimal(30, 10, 1 << 60)),
        (
            "code",
            Arc::new(StringArray::from(with_nulls(rows, 8, |i| {
                ["R", "N", "", "A"][n(i, 4) as usize]
            }))),
        ),
        ("text", Arc::new(LargeStringArray::from(with_nulls(rows, 8, text)))),
        ("bytes", Arc::new(BinaryArray::from_iter(with_nulls(rows, 8, |i| vec![i as u8; i % 40])))),
        (
            "fixed",
            Arc::new(
                FixedSizeBinaryArray::try_from_iter((0..rows.max(1)).map(|i| [i as u8; 3]))
                    .expect("fixed"),
            ),
        ),
        ("null", Arc::new(Int64Array::new_null(rows))),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                (0..rows).map(|i| {
                    (i % 5 != 0).then(|| (0..n(i, 4) as i32).map(Some).collect::<Vec<_>>())
                }),
            )),
        ),
    ];
    let fields = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), array.is_nullable()));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect())
        .expect("batch")
}

/// Ways to write a file that decoders must tell apart.
fn layouts() -> Vec<WriterProperties> {
    let small = || {
        WriterProperties::builder()
            .set_max_row_group_row_count(Some(7000))
            .set_data_page_row_count_limit(500)
            .set_write_batch_size(100)
    };
    vec![
        small().set_compression(Compression::SNAPPY).build(),
        small().set_dictionary_enabled(false).build(),
        small()
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(Compression::SNAPPY)
            .set_encoding(Encoding::PLAIN)
            .build(),
        small()
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(Compression::ZSTD(Default::default()))
            .build(),
        small().set_compression(Compression::LZ4_RAW).set_dictionary_page_size_limit(2000).build(),
        WriterProperties::builder()
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .build(),
    ]
}

#[test]
fn every_type_in_every_layout_reads_as_written() {
    let directory = tempfile::tempdir().expect("directory");
    let batches = [many_types(9000, 0), many_types(4001, 9000)];
    for (number, layout) in layouts().into_iter().enumerate() {
        let file = write(&directory.path().join(format!("{number}")), &batches, layout);
        let scan = scan_of(&file);
        let expected = expected(&batches, &scan);
        for workers in [1, 3] {
            let read = rows(&scan, workers).expect("reads");
            for (column, field) in expected.columns().iter().zip(expected.schema().fields()) {
                let name = field.name();
                let array = read.column_by_name(name).expect("is there");
                assert_eq!(array, column, "column {name}, layout {number}");
            }
        }
    }
}

#[test]
fn filters_give_the_rows_that_pass_whatever_their_share() {
    let directory = tempfile::tempdir().expect("directory");
    let batches = [many_types(20_000, 3)];
    let row = || Expr::column(8, DataType::Int64);
    let code = || Expr::column(18, DataType::Utf8View);
    let number = || Expr::column(4, DataType::Int32);
    let int32 = |value| Literal { data_type: DataType::Int32, value: ExprValue::Int(value) };
    let predicates: Vec<Vec<Expr>> = vec![
        vec![compare(CompareOp::Equal, number(), int32(7))],
        vec![compare(CompareOp::Less, number(), int32(20))],
        vec![compare(CompareOp::GreaterOrEqual, row(), Literal::int(19_000))],
        vec![
            compare(CompareOp::Equal, code(), Literal::text("A")),
            compare(CompareOp::Greater, number(), int32(21)),
            compare(CompareOp::Less, row(), Literal::int(15_000)),
        ],
        vec![compare(CompareOp::Less, row(), Literal::int(-1))],
        vec![Expr::IsNull(Box::new(code()))],
    ];
    for (number, layout) in layouts().into_iter().enumerate() {
        let file = write(&directory.path().join(format!("{number}")), &batches, layout);
        let whole = scan_of(&file);
        let all = expected(&batches, &whole);
        for predicates in &predicates {
            let scan = ParquetScan { predicates: predicates.clone(), ..whole.clone() };
            let read = rows(&scan, 2).expect("reads");
            let mut filter = crate::expr::Conjunction::new(
                predicates.clone(),
                &Governor::new(Default::default()),
            );
            let chunk = Chunk::from_batch(&all, Default::default()).expect("chunk");
            let passed = filter.select(&chunk).expect("selects");
            let passed =
                passed.map_or_else(|| chunk.clone(), |passed| chunk.clone().select(passed));
            let wanted = passed.to_batch(&all.schema()).expect("batch");
            assert_eq!(read.num_rows(), wanted.num_rows(), "{predicates:?}, layout {number}");
            for (read, wanted) in read.columns().iter().zip(wanted.columns()) {
                assert_eq!(read, wanted, "{predicates:?}, layout {number}");
            }
        }
    }
}

fn two_columns(rows: usize) -> RecordBatch {
    let key = Int64Array::from_iter_values((0..rows as i64).map(|i| i * 2));
    let other = StringArray::from_iter_values((0..rows).map(|i| format!("value {i}")));
    let fields =
        vec![Field::new("key", DataType::Int64, false), Field::new("other", DataType::Utf8, false)];
    let columns: Vec<ArrayRef> = vec![Arc::new(key), Arc::new(other)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("batch")
}

fn key() -> Expr {
    Expr::column(0, DataType::Int64)
}

#[test]
fn a_clustered_filter_decodes_the_other_columns_pages_only_where_rows_pass() {
    let directory = tempfile::tempdir().expect("directory");
    let rows_in_file = 1_000_000;
    // The filter's column says nothing by its ranges: every page has all of them.
    let hit = |i: usize| i64::from((500_000..501_000).contains(&i));
    let flag = Int64Array::from_iter_values((0..rows_in_file).map(|i| match i % 1000 {
        0 => -5,
        1 => 5,
        _ => hit(i),
    }));
    let fixed = Int64Array::from_iter_values(0..rows_in_file as i64);
    let text = StringArray::from_iter_values((0..rows_in_file).map(|i| format!("{}", i % 1000)));
    let columns: Vec<(&str, ArrayRef)> =
        vec![("flag", Arc::new(flag)), ("fixed", Arc::new(fixed)), ("text", Arc::new(text))];
    let batch = RecordBatch::try_from_iter(columns).expect("batch");
    for dictionary in [true, false] {
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(dictionary)
            .set_max_row_group_row_count(Some(rows_in_file))
            .set_compression(Compression::SNAPPY)
            .build();
        let file =
            write(&directory.path().join("clustered"), std::slice::from_ref(&batch), properties);
        let mut scan = scan_of(&file);
        scan.predicates = vec![compare(CompareOp::Equal, key(), Literal::int(1))];
        let source = open(&scan).expect("opens");
        assert_eq!(source.shared().morsels.len(), 8);
        let found: usize = chunks(&source, 2).expect("reads").iter().map(Chunk::live_rows).sum();
        assert_eq!(found, 998);
        let reads = &source.shared().reads;
        let (pages, rows): (Vec<u64>, Vec<u64>) = reads
            .iter()
            .map(|r| (r.pages.load(Ordering::Relaxed), r.rows.load(Ordering::Relaxed)))
            .unzip();
        assert!(pages[0] >= 50, "{pages:?}");
        assert_eq!(rows[0], rows_in_file as u64);
        assert!(pages[1] <= 2 && rows[1] <= 2 * CHUNK_ROWS as u64, "{pages:?} {rows:?}");
        if dictionary {
            assert!(pages[2] <= 2 && rows[2] <= 2 * CHUNK_ROWS as u64, "{pages:?} {rows:?}");
        }
    }
}

#[test]
fn row_groups_and_pages_outside_the_conditions_are_not_read() {
    let directory = tempfile::tempdir().expect("directory");
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(20_000))
        .set_data_page_row_count_limit(1000)
        .set_write_batch_size(1000)
        .set_column_bloom_filter_enabled("key".into(), true)
        .build();
    let file = write(&directory.path().join("f"), &[two_columns(100_000)], properties);
    let mut scan = scan_of(&file);
    scan.predicates = vec![
        compare(CompareOp::GreaterOrEqual, key(), Literal::int(2 * 30_500)),
        compare(CompareOp::Less, key(), Literal::int(2 * 31_500)),
    ];
    let source = open(&scan).expect("opens");
    assert_eq!(source.shared().morsels.len(), 1, "one row group of five");
    let found: usize = chunks(&source, 1).expect("reads").iter().map(Chunk::live_rows).sum();
    assert_eq!(found, 1000);
    let pages = |slot: usize| source.shared().reads[slot].pages.load(Ordering::Relaxed);
    assert_eq!((pages(0), pages(1)), (2, 2), "two pages of twenty");

    // An odd key is within the range of a row group, but not in its Bloom filter.
    scan.predicates = vec![compare(CompareOp::Equal, key(), Literal::int(60_001))];
    let source = open(&scan).expect("opens");
    assert_eq!(source.shared().morsels.len(), 1);
    assert!(chunks(&source, 1).expect("reads").is_empty());
    assert_eq!(source.shared().reads[0].pages.load(Ordering::Relaxed), 0);
}

#[test]
fn key_filters_narrow_the_rows_and_prune_row_groups() {
    let directory = tempfile::tempdir().expect("directory");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10_000)).build();
    let file = write(&directory.path().join("f"), &[two_columns(100_000)], properties);
    let mut scan = scan_of(&file);
    scan.projection = vec![1, 0];
    scan.key_filters = vec![KeyFilterUse { id: KeyFilterId(3), columns: vec![1] }];
    let mut build = Build::new(context().query);
    let source = Scan::open(&scan, &mut build).expect("opens");
    let all: usize = chunks(&source, 1).expect("reads").iter().map(Chunk::live_rows).sum();
    assert_eq!(all, 100_000, "nothing is published yet");

    let builder = KeyFilterBuilder::new(3, vec![Some((60_000, 60_011))], false);
    builder.add_ordinals([60_000, 60_001, 60_010]);
    build.key_filter(KeyFilterId(3)).publish(builder.finish(), ());
    source.reset().expect("resets");
    source.shared().reads[0].rows.store(0, Ordering::Relaxed);
    let found = chunks(&source, 2).expect("reads");
    let keys: Vec<i64> = found
        .iter()
        .flat_map(|c| c.live_array(1).expect("keys").as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(keys, [60_000, 60_010]);
    assert!(source.shared().reads[0].rows.load(Ordering::Relaxed) <= 10_000);

    let nothing = KeyFilterBuilder::new(0, vec![None], false).finish();
    build.key_filter(KeyFilterId(3)).publish(nothing, ());
    source.reset().expect("resets");
    assert!(chunks(&source, 1).expect("reads").is_empty());
}

#[test]
fn workers_share_the_dictionary_domains_of_a_row_group() {
    let directory = tempfile::tempdir().expect("directory");
    let rows = 600_000;
    let word = |i: usize| format!("word {}", noise(i, 500));
    let many = StringArray::from_iter_values((0..rows).map(word));
    let few = StringArray::from_iter_values((0..rows).map(|i| ["x", "y"][i % 2]));
    let columns: Vec<(&str, ArrayRef)> = vec![("many", Arc::new(many)), ("few", Arc::new(few))];
    let batch = RecordBatch::try_from_iter(columns).expect("batch");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(300_000)).build();
    let file = write(&directory.path().join("f"), &[batch], properties);
    let scan = scan_of(&file);
    let source = open(&scan).expect("opens");
    let chunks = chunks(&source, 3).expect("reads");
    let domains = |column: usize, morsels: std::ops::Range<u64>| -> Vec<Domain> {
        let of = chunks.iter().filter(|c| morsels.contains(&c.place().morsel));
        let mut domains: Vec<Domain> = of
            .map(|c| match c.columns()[column].form() {
                Form::Indexed(indexed) => indexed.domain.expect("a dictionary"),
                other => panic!("{other:?}"),
            })
            .collect();
        domains.dedup();
        domains
    };
    assert_eq!(domains(0, 0..3).len(), 1, "one row group");
    assert_eq!(domains(0, 0..6).len(), 2, "two row groups");
    assert_eq!(domains(1, 0..6).len(), 1, "small dictionaries are the same all over");
}

#[test]
fn counting_rows_reads_no_column_and_empty_files_have_none() {
    let directory = tempfile::tempdir().expect("directory");
    let file = write(&directory.path().join("f"), &[two_columns(50_000)], Default::default());
    let mut scan = scan_of(&file);
    scan.projection.clear();
    assert_eq!(rows(&scan, 2).expect("reads").num_rows(), 50_000);
    let empty = write(&directory.path().join("e"), &[two_columns(0)], Default::default());
    assert_eq!(rows(&scan_of(&empty), 2).expect("reads").num_rows(), 0);
}

#[test]
fn columns_are_found_by_name_in_each_file() {
    let directory = tempfile::tempdir().expect("directory");
    let batch = two_columns(100);
    let swapped = batch.project(&[1, 0]).expect("projects");
    let a = write(&directory.path().join("a"), std::slice::from_ref(&batch), Default::default());
    let b = write(&directory.path().join("b"), &[swapped], Default::default());
    let mut scan = scan_of(&a);
    scan.files.push(b.clone());
    let expected = expected(&[batch.clone(), batch.clone()], &scan);
    assert_eq!(rows(&scan, 2).expect("reads").columns(), expected.columns());

    scan.columns[1].name = "missing".into();
    let error = rows(&scan, 1).expect_err("no such column").to_string();
    assert!(error.contains("has no column `missing`") && error.contains("/a"), "{error}");
    scan.columns[1].name = "other".into();
    scan.columns[1].data_type = DataType::Date32;
    let error = rows(&scan, 1).expect_err("another type").to_string();
    assert!(error.contains("Utf8View, not Date32"), "{error}");
}

#[test]
fn a_file_that_changed_since_planning_is_refused() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("f");
    let file = write(&path, &[two_columns(100)], Default::default());
    let scan = scan_of(&file);
    write(&path, &[two_columns(200)], Default::default());
    let error = rows(&scan, 1).expect_err("changed").to_string();
    assert!(error.contains("changed since"), "{error}");
}

#[test]
fn broken_files_give_errors_and_never_panics() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("f");
    let mut refused = 0;
    for layout in layouts() {
        write(&path, &[many_types(600, 1)], layout);
        let good = fs::read(&path).expect("reads");
        for round in 0..150 {
            let mut bytes = good.clone();
            match round % 3 {
                0 => bytes.truncate(noise(round, good.len() as u64) as usize),
                1 => bytes[noise(round, good.len() as u64) as usize] ^= 1 << (round % 8),
                _ => {
                    let at = noise(round, good.len() as u64 - 40) as usize;
                    bytes[at..at + 40]
                        .iter_mut()
                        .enumerate()
                        .for_each(|(i, b)| *b = (round * i) as u8);
                }
            }
            fs::write(&path, &bytes).expect("writes");
            let file = FileRef::of(&path).expect("is there");
            let footer = Footer::read(&file, &Governor::unlimited());
            let read = footer.and_then(|f| rows(&ParquetScan::new(vec![file], f.schema()), 1));
            match read {
                Ok(_) => {}
                Err(Error::Input { .. } | Error::Io { .. }) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn scans_survive_json() {
    let file = FileRef { path: "/data/a.parquet".into(), size: 5, mtime_ns: -3 };
    let schema = many_types(1, 0).schema();
    let mut scan = ParquetScan::new(vec![file], &schema);
    scan.predicates = vec![compare(CompareOp::Equal, key(), Literal::int(5))];
    scan.key_filters = vec![KeyFilterUse { id: KeyFilterId(1), columns: vec![0] }];
    scan.projection = vec![3, 1];
    let json = Spec::to_json(&scan).expect("writes");
    let read = ParquetScan::from_json(json.clone(), &Functions::default()).expect("reads");
    assert_eq!(read.to_json().expect("writes"), json);
    assert_eq!(read.explain(), scan.explain());
}

#[test]
fn facts_for_the_planner() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("f");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(5000)).build();
    write(&path, &[many_types(20_000, 0)], properties);
    let facts = describe(&path, &Governor::unlimited()).expect("describes");
    assert_eq!((facts.rows, facts.row_groups), (20_000, 4));
    let fact = |name: &str| &facts.columns[facts.schema.index_of(name).expect("is there")];
    let row = fact("row");
    assert_eq!(row.min, Some(Literal::int(0)));
    assert_eq!(row.max, Some(Literal::int(19_999)));
    assert_eq!((row.nulls, row.is_ascending), (Some(0), true));
    assert_eq!(row.distinct, Some(20_000.0));
    let code = fact("code");
    assert_eq!(
        (code.min.clone(), code.max.clone()),
        (Some(Literal::text("")), Some(Literal::text("R")))
    );
    assert_eq!(code.nulls, Some(2500));
    assert!((3.9..4.1).contains(&code.distinct.expect("a dictionary")));
    assert!(!code.is_ascending);
    assert_eq!(fact("null").nulls, Some(20_000));
    let price = fact("d9");
    assert_eq!(price.min.as_ref().map(|l| &l.data_type), Some(&DataType::Decimal128(9, 2)));
    assert!(fact("list").min.is_none());
}
