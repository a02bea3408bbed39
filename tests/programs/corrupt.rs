//! Files with bytes changed or cut off at random: reading them gives rows or an error of the file,
//! and never a panic, an endless loop or more memory than the budget.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type};
use gristmill::{Config, Error, Result, Session};
use gristmill_tests::random::Random;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

/// No file here takes longer than this to read.
const TIME_MAX: Duration = Duration::from_secs(20);

fn session() -> Session {
    let memory_limit = Some(128 << 20);
    Session::new(Config { threads: Some(2), memory_limit, ..Config::default() }).expect("opens")
}

fn read(session: &Session, sql: &str) -> Result<usize> {
    let mut rows = 0;
    for batch in session.sql(sql)? {
        rows += batch?.num_rows();
    }
    Ok(rows)
}

/// Rows with a column of every kind that files have.
fn batch(rows: usize) -> RecordBatch {
    let n = |i: usize, limit: usize| i.wrapping_mul(2_654_435_761) % limit;
    let some = |i: usize| i % 5 != 1;
    let text = |i: usize| some(i).then(|| format!("some text, number {}", n(i, 17)));
    let words: DictionaryArray<Int32Type> =
        (0..rows).map(|i| some(i).then_some(["red", "green", "blue"][n(i, 3)])).collect();
    let lists = (0..rows).map(|i| some(i).then(|| vec![Some(i as i64); n(i, 4)]));
    let decimals: Decimal128Array =
        (0..rows).map(|i| some(i).then_some(n(i, 99) as i128)).collect();
    let ints: Int64Array = (0..rows).map(|i| some(i).then_some(n(i, 1000) as i64)).collect();
    let texts: StringArray = (0..rows).map(text).collect();
    let fields = Fields::from(vec![
        Field::new("x", DataType::Int64, true),
        Field::new("y", DataType::Utf8, true),
    ]);
    let members: Vec<ArrayRef> = vec![Arc::new(ints.clone()), Arc::new(texts.clone())];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(ints)),
        ("small", Arc::new(Int8Array::from_iter_values((0..rows).map(|i| n(i, 100) as i8)))),
        ("f", Arc::new(Float64Array::from_iter_values((0..rows).map(|i| n(i, 77) as f64 / 3.0)))),
        (
            "b",
            Arc::new((0..rows).map(|i| some(i).then_some(n(i, 2) == 0)).collect::<BooleanArray>()),
        ),
        ("t", Arc::new(texts)),
        ("w", Arc::new(words)),
        ("d", Arc::new(Date32Array::from_iter_values((0..rows).map(|i| n(i, 9999) as i32)))),
        ("p", Arc::new(decimals.with_precision_and_scale(20, 2).expect("fits"))),
        ("l", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("o", Arc::new(StructArray::new(fields, members, None))),
    ];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
}

fn parquet(properties: WriterProperties) -> Vec<u8> {
    let batch = batch(120);
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("writes");
    writer.close().expect("closes");
    bytes
}

/// Small Parquet files with all codecs, encodings and versions of pages.
fn parquet_files() -> Vec<Vec<u8>> {
    let base = || {
        WriterProperties::builder()
            .set_max_row_group_row_count(Some(50))
            .set_data_page_row_count_limit(20)
            .set_write_batch_size(10)
            .set_statistics_enabled(EnabledStatistics::Page)
    };
    let mut files = vec![parquet(base().set_bloom_filter_enabled(true).build())];
    for codec in [
        Compression::SNAPPY,
        Compression::ZSTD(Default::default()),
        Compression::LZ4_RAW,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
    ] {
        files.push(parquet(base().set_compression(codec).build()));
    }
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let plain = || base().set_writer_version(version).set_dictionary_enabled(false);
        files.push(parquet(plain().build()));
        let column = |name: &str| parquet_column(name);
        let encoded = plain()
            .set_column_encoding(column("i"), Encoding::DELTA_BINARY_PACKED)
            .set_column_encoding(column("t"), Encoding::DELTA_BYTE_ARRAY)
            .set_column_encoding(column("w"), Encoding::DELTA_LENGTH_BYTE_ARRAY)
            .set_column_encoding(column("f"), Encoding::BYTE_STREAM_SPLIT);
        files.push(parquet(encoded.build()));
    }
    files
}

fn parquet_column(name: &str) -> parquet::schema::types::ColumnPath {
    parquet::schema::types::ColumnPath::from(name)
}

/// The same rows in another format.
fn copied(name: &str, columns: &str, options: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("directory");
    let from = directory.path().join("from.parquet");
    let batch = batch(120);
    let file = File::create(&from).expect("creates");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("writes");
    writer.close().expect("closes");
    let to = directory.path().join(name);
    let (from, to_text) = (from.display(), to.display());
    let sql = format!("copy (select {columns} from '{from}') to '{to_text}' {options}");
    read(&session(), &sql).expect(&sql);
    fs::read(&to).expect("reads")
}

/// Changes a few bytes, mostly where files say how they are made, or cuts the file.
fn changed(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let near = if random.below(2) == 0 { bytes.len().min(1500) } else { bytes.len() };
        let at = random.below(near);
        let at = if random.below(2) == 0 { at } else { bytes.len() - 1 - at };
        match random.below(6) {
            0 => bytes.truncate(at.max(1)),
            1 => bytes[at] = random.below(256) as u8,
            2 => bytes[at] = 0xff,
            3 => bytes[at] = 0x7f,
            4 => {
                bytes.remove(at);
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            _ => bytes[at] ^= 1 << random.below(8),
        }
    }
    bytes
}

fn check(name: &str, files: &[Vec<u8>], changes: usize) {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join(name);
    let (mut failed, mut passed) = (0, 0);
    for (number, whole) in files.iter().enumerate() {
        fs::write(&path, whole).expect("writes");
        let rows = read(&session(), &format!("select * from '{}'", path.display()));
        assert_eq!(rows.expect("the whole file"), 120, "{name} {number}");
        for seed in 0..changes {
            let mut random = Random::new((number * changes + seed) as u64);
            fs::write(&path, changed(whole, &mut random)).expect("writes");
            let what = format!("{name}, file {number}, seed {seed}");
            match outcome(&path, &what) {
                Ok(_) => passed += 1,
                Err(error) => {
                    let text = error.to_string();
                    let expected = matches!(error, Error::Input { .. } | Error::OutOfMemory { .. });
                    assert!(expected, "{what}: {text}");
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > passed / 20, "{name}: {failed} errors, {passed} without");
}

fn outcome(path: &Path, what: &str) -> Result<usize> {
    let started = Instant::now();
    let session = session();
    let all = read(&session, &format!("select * from '{}'", path.display()));
    // The first column alone, with a condition: the ways of pruning.
    let some = read(&session, &format!("select count(*) from '{}' where i > 500", path.display()));
    assert!(started.elapsed() < TIME_MAX, "{what} took {:?}", started.elapsed());
    all.and_then(|rows| match some {
        Ok(_) | Err(Error::Input { .. } | Error::OutOfMemory { .. }) => Ok(rows),
        Err(other) => Err(other),
    })
}

#[test]
fn parquet_files_that_are_corrupt_are_errors() {
    check("a.parquet", &parquet_files(), 150);
}

#[test]
fn arrow_files_that_are_corrupt_are_errors() {
    let files: Vec<Vec<u8>> = ["none", "lz4", "zstd"]
        .map(|codec| copied("a.arrow", "*", &format!("(compression {codec}, batch_size 50)")))
        .into();
    check("a.arrow", &files, 200);
    check("a.arrows", &[copied("a.arrows", "*", "")], 200);
}

#[test]
fn text_files_that_are_corrupt_are_errors() {
    check("a.ndjson", &[copied("a.ndjson", "*", "")], 300);
    check("a.json", &[copied("a.json", "*", "(array true)")], 300);
    check("a.csv", &[copied("a.csv", "i, small, f, b, t, w, d, p", "")], 300);
}
