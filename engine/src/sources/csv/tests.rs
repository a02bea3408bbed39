//! The scan as a whole: what it reads, and what must be refused.

mod random;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;

use super::scan::{Cut, Scan};
use super::*;
use crate::memory::Governor;
use crate::pipeline::{Context, Order, Pull, Query, Source};

/// A small generator, so that a failure names its seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) as usize) % below
    }
}

type Row = Vec<Option<String>>;

struct Files {
    directory: tempfile::TempDir,
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("compresses");
    encoder.finish().expect("compresses")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).expect("compresses")
}

impl Files {
    fn new() -> Self {
        Files { directory: tempfile::tempdir().expect("directory") }
    }

    fn write(&self, name: &str, text: &[u8]) -> FileRef {
        let path: PathBuf = self.directory.path().join(name);
        std::fs::write(&path, text).expect("writes");
        FileRef::of(&path).expect("is there")
    }
}

fn columns(types: &[DataType]) -> Vec<CsvColumn> {
    let column = |(i, data_type): (usize, &DataType)| CsvColumn {
        name: format!("c{i}"),
        data_type: data_type.clone(),
        detected: true,
    };
    types.iter().enumerate().map(column).collect()
}

fn context(threads: usize, worker: usize) -> Context {
    let query = Query::alone(Governor::unlimited(), threads);
    Context { query: Arc::new(query), order: Order::new(), worker }
}

fn cut(range_bytes: u64, ahead_bytes: usize) -> Cut {
    Cut { range_bytes, ahead_bytes }
}

/// All rows in file order, as text.
fn scan(spec: &CsvScan, threads: usize, cut: Cut) -> Result<Vec<Row>> {
    let schema = spec.declared().output()?;
    let source = Scan::with_cut(spec, Vec::new(), &Governor::unlimited(), threads, cut)?;
    let rows: Mutex<BTreeMap<u64, Vec<Row>>> = Mutex::default();
    let work = |worker: usize| -> Result<()> {
        let cx = context(threads, worker);
        let mut worker = source.worker(&cx)?;
        loop {
            match worker.pull(&cx)? {
                Pull::Finished => return Ok(()),
                Pull::Morsel(_) => {}
                Pull::Blocked(_) => std::thread::yield_now(),
                Pull::Chunk(chunk) => {
                    let found = texts(&chunk, &schema);
                    let mut rows = rows.lock().expect("no panic");
                    rows.entry(chunk.place().morsel).or_default().extend(found);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let work = &work;
        let handles: Vec<_> = (0..threads).map(|w| scope.spawn(move || work(w))).collect();
        // An error leaves the others waiting for a range that nobody settles; in these tests one
        // worker runs when errors are expected.
        handles.into_iter().try_for_each(|handle| handle.join().expect("no panic"))
    })?;
    Ok(rows.into_inner().expect("no panic").into_values().flatten().collect())
}

fn texts(chunk: &crate::batch::Chunk, schema: &SchemaRef) -> Vec<Row> {
    let batch = chunk.to_batch(schema).expect("a batch");
    let text = |row: usize, column: &arrow::array::ArrayRef| {
        let text = || arrow::util::display::array_value_to_string(column, row).expect("prints");
        column.is_valid(row).then(text)
    };
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().map(|column| text(row, column)).collect())
        .collect()
}

/// What is said about a file, behind its name: the same however it is compressed and cut.
fn error_in(dialect: &CsvDialect, text: &[u8], types: &[DataType]) -> String {
    let files = Files::new();
    let mut found = Vec::new();
    for bytes in [text.to_vec(), gzip(text), zstd(text)] {
        for range_bytes in [16, 1000] {
            let file = files.write("a.csv", &bytes);
            let spec = CsvScan::new(vec![file], dialect.clone(), columns(types));
            let error = scan(&spec, 1, cut(range_bytes, 16)).expect_err("refused").to_string();
            let rest = error.split_once("a.csv: ").map(|(_, rest)| rest.to_string());
            found.push(rest.unwrap_or(error));
        }
    }
    found.dedup();
    assert_eq!(found.len(), 1, "{found:?}");
    found.swap_remove(0)
}

fn error(text: &[u8], types: &[DataType]) -> String {
    error_in(&CsvDialect::default(), text, types)
}

#[test]
fn several_files_follow_each_other_and_headers_are_checked() {
    let files = Files::new();
    let list = vec![
        files.write("a.csv", b"\xef\xbb\xbf\"c0\",c1\r\n1,x\r\n2,\"y\nz\"\r\n"),
        files.write("empty.csv", b""),
        files.write("b.csv", b"\n\nc0,c1\n3,"),
        files.write("header.csv", b"c0,c1"),
    ];
    let types = columns(&[DataType::Int64, DataType::Utf8View]);
    let spec = CsvScan::new(list.clone(), CsvDialect::default(), types.clone());
    let text = |s: &str| Some(s.to_string());
    let expected =
        vec![vec![text("1"), text("x")], vec![text("2"), text("y\nz")], vec![text("3"), None]];
    for range_bytes in [1, 3, 100] {
        for threads in [1, 3] {
            assert_eq!(scan(&spec, threads, cut(range_bytes, 4)).expect("reads"), expected);
        }
    }
    let other = [list, vec![files.write("other.csv", b"c0,c2\n1,2\n")]].concat();
    let spec = CsvScan::new(other, CsvDialect::default(), types);
    let error = scan(&spec, 1, cut(100, 0)).expect_err("another header").to_string();
    assert!(error.contains("line 1, column 4: column 2 is `c2` here"), "{error}");
}

#[test]
fn values_of_all_types() {
    let types = [
        DataType::Int8,
        DataType::UInt64,
        DataType::Float32,
        DataType::Decimal128(10, 2),
        DataType::Decimal128(30, 3),
        DataType::Boolean,
        DataType::Date32,
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Utf8,
    ];
    let files = Files::new();
    let text = "c0,c1,c2,c3,c4,c5,c6,c7,c8\n\
                -128,18446744073709551615,0.1,-1.5,123456789012345678901234567.125,true,\
                2000-02-29,2000-01-01T01:00:00+01:00,\"\"\n\
                ,,,,,,,,\n\
                \"1\", 2 ,1e3,\"2.50\",1,FALSE,\" 1999-12-31\",2000-01-01,NULL\n";
    let file = files.write("types.csv", text.as_bytes());
    let spec = CsvScan::new(vec![file], CsvDialect::default(), columns(&types));
    let rows = scan(&spec, 1, cut(1 << 20, 0)).expect("reads");
    let some = |values: [&str; 9]| values.map(|v| Some(v.to_string())).to_vec();
    let expected = [
        some([
            "-128",
            "18446744073709551615",
            "0.1",
            "-1.50",
            "123456789012345678901234567.125",
            "true",
            "2000-02-29",
            "2000-01-01T00:00:00Z",
            "",
        ]),
        vec![None; 9],
        some([
            "1",
            "2",
            "1000.0",
            "2.50",
            "1.000",
            "false",
            "1999-12-31",
            "2000-01-01T00:00:00Z",
            "NULL",
        ]),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn words_for_null_hide_values_and_quoted_text_is_never_null() {
    let files = Files::new();
    let file = files.write("a.csv", b"c0,c1\n-999,NA\n1,\"NA\"\nNA,-999\n");
    let dialect = CsvDialect {
        null_strings: vec!["NA".to_string(), "-999".to_string()],
        ..CsvDialect::default()
    };
    let types = columns(&[DataType::Int64, DataType::Utf8View]);
    let rows = scan(&CsvScan::new(vec![file], dialect, types), 1, cut(100, 0)).expect("reads");
    let text = |s: &str| Some(s.to_string());
    assert_eq!(rows, [vec![None, None], vec![text("1"), text("NA")], vec![None, None]]);
}

#[test]
fn words_that_were_found_are_text_where_texts_are_declared() {
    let files = Files::new();
    let file = files.write("a.csv", b"c0,c1,c2\nNA,NA,NA\n,1,x\n");
    let dialect = CsvDialect { found_nulls: vec!["NA".to_string()], ..CsvDialect::default() };
    let mut types = columns(&[DataType::Utf8View, DataType::Int64, DataType::Utf8View]);
    types[0].detected = false;
    types[1].detected = false;
    let rows = scan(&CsvScan::new(vec![file], dialect, types), 1, cut(100, 0)).expect("reads");
    let text = |s: &str| Some(s.to_string());
    assert_eq!(rows, [vec![text("NA"), None, None], vec![None, text("1"), text("x")]]);
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let int = [DataType::Int64, DataType::Int64];
    let cases: [(&[u8], &str); 8] = [
        (
            b"c0,c1\n1,2\n3,\"4\n\"\n5,x6\n",
            "line 5, column 3: `x6` is no Int64, the type of column `c1` (found from a sample of \
             the file); declare the column as VARCHAR",
        ),
        (b"c0,c1\n1,9223372036854775808\n", "line 2, column 3: `9223372036854775808` is no Int64"),
        (b"c0,c1\n1,2\n3\n", "line 3, column 1: this record has 1 field, but there are 2 columns"),
        (b"c0,c1\n1,2\n3,4,5\n", "line 3, column 1: this record has 3 fields"),
        (b"c0,c1\n\n1,2\n3,\"4\n5,6\n", "line 4, column 1: a quoted field of the record"),
        (b"c0,c1\n1,\"2\"3\n", "line 2, column 3: `\"2\"3` in column `c1` has text behind"),
        (b"c0,c1\n1.0,2\n", "line 2, column 1: `1.0` is no Int64"),
        (b"c0\n1\n", "line 1, column 1: this record has 1 field, but there are 2 columns"),
    ];
    for (text, expected) in cases {
        let error = error(text, &int);
        assert!(error.starts_with(expected), "{error}\nfor {}", text.escape_ascii());
    }
    let texts = [DataType::Utf8View, DataType::Utf8View];
    let encoding = error(b"c0,c1\n\xc3\xa9a,\xff\n", &texts);
    assert!(
        encoding.starts_with("line 2, column 4: `\u{fffd}` in column `c1` is not UTF-8"),
        "{encoding}"
    );
    let long = error(b"c0,c1\n\xc3\xa9a,a text that is not inlined\xff\n", &texts);
    assert!(long.starts_with("line 2, column 4: `a text that is not inlined"), "{long}");
    let zero = error(b"c0,c1\na,\"x\"\nb,c\x00d\n", &texts);
    assert!(zero.starts_with("line 3, column 3: `c\\u{0}d` in column `c1` has a byte"), "{zero}");
    let zero = error(b"c0,c1\n1,2\n3\x00,4\n", &int);
    assert!(zero.starts_with("line 3, column 1: `3\\u{0}` is no Int64"), "{zero}");
    let dates = error(b"c0\n1.2.2003\n", &[DataType::Date32]);
    assert!(dates.contains("is no Date32") && dates.contains("give the date_format"), "{dates}");
}

#[test]
fn errors_in_dialects() {
    let int = [DataType::Int64, DataType::Int64];
    let plain = CsvDialect { header: false, ..CsvDialect::default() };
    let trailing = CsvDialect { trailing_delimiter: true, ..plain.clone() };
    let error = error_in(&trailing, b"1,2,\n3,4,\n5,6,7\n", &int);
    let expected = "line 3, column 1: this record does not end with ',' behind its 2 fields";
    assert!(error.starts_with(expected), "{error}");
    let error = error_in(&trailing, b"1,2,\n3,4\n", &int);
    let expected = "line 2, column 1: this record does not end with ',' behind its 2 fields";
    assert!(error.starts_with(expected), "{error}");
    let error = error_in(&plain, b"1,2,\n3,4,\n", &int);
    assert!(error.contains("say so with trailing_delimiter"), "{error}");
    let comment = CsvDialect { comment: Some('#'), skip_lines: 1, ..plain.clone() };
    let error = error_in(&comment, b"\"\n# \"x\n1,2\n# y\n3,a\n", &int);
    assert!(error.starts_with("line 5, column 3: `a` is no Int64"), "{error}");
    let returns = CsvDialect { newline: '\r', ..plain };
    let error = error_in(&returns, b"1,2\r3,a\r", &int);
    assert!(error.starts_with("line 2, column 3: `a` is no Int64"), "{error}");
}

#[test]
fn damaged_and_changing_files_are_refused() {
    let files = Files::new();
    let text: String = (0..20_000).map(|n| format!("{n},{}\n", n * 7919 % 10_007)).collect();
    let dialect = CsvDialect { header: false, ..CsvDialect::default() };
    let types = columns(&[DataType::Int64, DataType::Int64]);
    for whole in [gzip(text.as_bytes()), zstd(text.as_bytes())] {
        let cut_off = files.write("cut.csv", &whole[..whole.len() * 2 / 3]);
        let spec = CsvScan::new(vec![cut_off], dialect.clone(), types.clone());
        let error = scan(&spec, 1, cut(10_000, 0)).expect_err("cut off").to_string();
        assert!(error.contains("cut.csv ends in the middle of its"), "{error}");
    }
    for bytes in [text.as_bytes().to_vec(), zstd(text.as_bytes())] {
        let file = files.write("changes.csv", &bytes);
        let spec = CsvScan::new(vec![file], dialect.clone(), types.clone());
        let source = Scan::with_cut(&spec, Vec::new(), &Governor::unlimited(), 1, cut(10_000, 99))
            .expect("opens");
        let cx = context(1, 0);
        let mut worker = source.worker(&cx).expect("starts");
        while !matches!(worker.pull(&cx).expect("reads"), Pull::Chunk(_)) {}
        files.write("changes.csv", &bytes[..bytes.len() / 2]);
        let error = loop {
            match worker.pull(&cx) {
                Ok(Pull::Finished) => panic!("the change was not noticed"),
                Ok(_) => {}
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.contains("changed since the query was planned"), "{error}");
    }
}

#[test]
fn compressed_and_plain_files_follow_each_other() {
    let files = Files::new();
    let part = |from: usize| -> Vec<u8> {
        let lines = (from..from + 1000).map(|n| format!("{n},\"x\n{n}\"\n"));
        ["c0,c1\n".to_string()].into_iter().chain(lines).collect::<String>().into_bytes()
    };
    let list = vec![
        files.write("0.csv", &gzip(&part(0))),
        files.write("1.csv", &zstd(&part(1000))),
        files.write("2.csv", &part(2000)),
        files.write("3.csv", &part(3000)),
        files.write("empty.csv", &gzip(b"")),
        files.write("4.csv", &zstd(&part(4000))),
    ];
    let types = columns(&[DataType::Int64, DataType::Utf8View]);
    let spec = CsvScan::new(list, CsvDialect::default(), types);
    let row = |n: usize| vec![Some(n.to_string()), Some(format!("x\n{n}"))];
    let expected: Vec<Row> = (0..5000).map(row).collect();
    for threads in [1, 2, 5] {
        for range_bytes in [100, 3000, 1 << 20] {
            assert!(scan(&spec, threads, cut(range_bytes, 50)).expect("reads") == expected);
        }
    }
}

#[test]
fn lines_are_rows_of_one_column() {
    let files = Files::new();
    let text = "\u{feff}a,\"b\n\n#c\r\n ü \nlast";
    let expected = ["a,\"b", "", "#c", " ü ", "last"];
    for bytes in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
        let file = files.write("a.txt", &bytes);
        let facts = lines(&file.path, &Governor::unlimited()).expect("reads");
        for range_bytes in [1, 5, 100] {
            let rows = scan(&facts.scan(Vec::new()), 2, cut(range_bytes, 3)).expect("reads");
            assert_eq!(rows, expected.map(|line| vec![Some(line.to_string())]));
        }
    }
    let empty = files.write("empty.txt", b"");
    let facts = lines(&empty.path, &Governor::unlimited()).expect("reads");
    assert_eq!(facts.columns[0].name, "line");
    assert_eq!(scan(&facts.scan(Vec::new()), 1, cut(10, 0)).expect("reads"), Vec::<Row>::new());
}

#[test]
fn dates_and_timestamps_in_forms_that_are_said() {
    let micros = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let dialect = CsvDialect {
        header: false,
        date_format: Some("%d.%m.%Y".to_string()),
        timestamp_format: Some("%d.%m.%y %H:%M".to_string()),
        ..CsvDialect::default()
    };
    let files = Files::new();
    let file = files.write("a.csv", b"1.2.2003,\"1.2.03 4:05\"\n,\n");
    let spec = CsvScan::new(vec![file], dialect.clone(), columns(&[DataType::Date32, micros]));
    let rows = scan(&spec, 1, cut(100, 0)).expect("reads");
    let text = |s: &str| Some(s.to_string());
    assert_eq!(rows, [vec![text("2003-02-01"), text("2003-02-01T04:05:00")], vec![None, None]]);
    let error = error_in(&dialect, b"2003-02-01\n", &[DataType::Date32]);
    assert!(error.contains("`2003-02-01` is no Date32"), "{error}");
}

#[test]
fn fields_longer_than_ranges_and_many_columns() {
    let files = Files::new();
    let long = "x\n\"\"".repeat(50_000);
    let text = format!("c0,c1\n1,\"{long}\"\n2,b\n");
    let spec = CsvScan::new(
        vec![files.write("long.csv", text.as_bytes())],
        CsvDialect::default(),
        columns(&[DataType::Int64, DataType::Utf8View]),
    );
    for threads in [1, 3] {
        let rows = scan(&spec, threads, cut(1000, 10)).expect("reads");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0][1].as_deref(), Some(long.replace("\"\"", "\"").as_str()));
    }
    let width = 2000;
    let line = |n: usize| (0..width).map(|c| (c * n).to_string()).collect::<Vec<_>>().join(",");
    let text: String = (0..40).map(|n| line(n) + "\n").collect();
    let dialect = CsvDialect { header: false, ..CsvDialect::default() };
    let types = columns(&vec![DataType::Int64; width]);
    let mut spec = CsvScan::new(vec![files.write("wide.csv", text.as_bytes())], dialect, types);
    spec.projection = vec![1999, 0, 7];
    let rows = scan(&spec, 2, cut(10_000, 100)).expect("reads");
    let expected = |n: usize| [1999 * n, 0, 7 * n].map(|v| Some(v.to_string())).to_vec();
    assert_eq!(rows, (0..40).map(expected).collect::<Vec<_>>());
}

#[test]
fn conditions_drop_rows_and_columns_are_read_for_the_rest_only() {
    use crate::expr::{CompareOp, Literal};
    let files = Files::new();
    let text: String = (0..9000).map(|n| format!("{n},{}\n", n % 7)).collect();
    // A field that is no number, in a row that is dropped.
    let text = text.replacen("5,5\n", "x,5\n", 1);
    let dialect = CsvDialect { header: false, ..CsvDialect::default() };
    let types = columns(&[DataType::Int64, DataType::Int64]);
    let mut spec = CsvScan::new(vec![files.write("a.csv", text.as_bytes())], dialect, types);
    let column = Expr::Column { index: 1, data_type: DataType::Int64 };
    spec.predicates = vec![Expr::Compare {
        op: CompareOp::Equal,
        left: Box::new(column),
        right: Box::new(Expr::Literal(Literal::int(3))),
    }];
    let rows = scan(&spec, 2, cut(5000, 50)).expect("reads");
    let expected = |n: usize| vec![Some(n.to_string()), Some("3".to_string())];
    assert_eq!(rows, (0..9000).filter(|n| n % 7 == 3).map(expected).collect::<Vec<_>>());
    spec.predicates =
        vec![Expr::IsNull(Box::new(Expr::Column { index: 1, data_type: DataType::Int64 }))];
    assert_eq!(scan(&spec, 2, cut(5000, 50)).expect("reads"), Vec::<Row>::new());
}

#[test]
fn no_columns_count_rows_and_a_scan_can_be_read_again() {
    let files = Files::new();
    let text: String = (0..5000).map(|n| format!("{n},\"a\n\"\n")).collect();
    let dialect = CsvDialect { header: false, ..CsvDialect::default() };
    let types = columns(&[DataType::Int64, DataType::Utf8View]);
    let mut spec = CsvScan::new(vec![files.write("a.csv", text.as_bytes())], dialect, types);
    spec.projection = Vec::new();
    let source =
        Scan::with_cut(&spec, Vec::new(), &Governor::unlimited(), 1, cut(999, 9)).expect("opens");
    for _ in 0..2 {
        let cx = context(1, 0);
        let mut worker = source.worker(&cx).expect("starts");
        let mut rows = 0;
        loop {
            match worker.pull(&cx).expect("reads") {
                Pull::Chunk(chunk) => rows += chunk.live_rows(),
                Pull::Finished => break,
                Pull::Morsel(_) => {}
                Pull::Blocked(_) => panic!("one worker never waits"),
            }
        }
        assert_eq!(rows, 5000);
        source.reset().expect("resets");
    }
}

#[test]
fn strings_are_copied_out_of_the_window() {
    let files = Files::new();
    let file = files.write("a.csv", b"c0\na text that is too long to be inlined\n");
    let spec = CsvScan::new(vec![file], CsvDialect::default(), columns(&[DataType::Utf8View]));
    let source = Scan::with_cut(&spec, Vec::new(), &Governor::unlimited(), 1, cut(1 << 20, 0))
        .expect("opens");
    let cx = context(1, 0);
    let mut worker = source.worker(&cx).expect("starts");
    let chunk = loop {
        if let Pull::Chunk(chunk) = worker.pull(&cx).expect("reads") {
            break chunk;
        }
    };
    let array = chunk.live_array(0).expect("an array");
    let bytes: usize = array.as_string_view().data_buffers().iter().map(|b| b.len()).sum();
    assert_eq!(bytes, "a text that is too long to be inlined".len());
}

#[test]
fn a_scan_survives_json() {
    let files = Files::new();
    let spec = CsvScan::new(
        vec![files.write("a.csv", b"c0\n1\n")],
        CsvDialect::default(),
        columns(&[DataType::Int64]),
    );
    let json = spec.to_json().expect("writes");
    let back = CsvScan::from_json(json.clone(), &Functions::default()).expect("reads");
    assert_eq!(back.to_json().expect("writes"), json);
    assert_eq!(back.name(), "csv_scan");
}
