//! The scan as a whole: random files against a parser that reads byte by byte, with ranges of a
//! few bytes and several workers; and what must be refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;

use super::scan::{Cut, Scan};
use super::*;
use crate::memory::Governor;
use crate::pipeline::{Context, Order, Pull, Query, Source};
use crate::scheduler::Cancel;

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
    let query =
        Query { cancel: Cancel::new(), memory: Governor::unlimited(), threads, keep_order: true };
    Context { query: Arc::new(query), order: Order::new(), worker }
}

fn cut(range_bytes: u64, ahead_bytes: usize) -> Cut {
    Cut { range_bytes, ahead_bytes }
}

/// All rows in file order, as text.
fn scan(spec: &CsvScan, threads: usize, cut: Cut) -> Result<Vec<Row>> {
    let schema = spec.output()?;
    let source = Scan::with_cut(spec, &Governor::unlimited(), threads, cut)?;
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

fn error(text: &[u8], types: &[DataType]) -> String {
    let files = Files::new();
    let spec =
        CsvScan::new(vec![files.write("a.csv", text)], CsvOptions::default(), columns(types));
    let error = scan(&spec, 1, cut(16, 16)).expect_err("refused").to_string();
    error.split_once("a.csv: ").map_or(error.clone(), |(_, rest)| rest.to_string())
}

/// Reads the way the grammar is written down, one byte after the other.
fn naive(text: &[u8], width: usize, delimiter: u8, escape: Option<u8>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let mut row: Row = Vec::new();
        let begin = at;
        loop {
            let mut field = Vec::new();
            let quoted = text.get(at) == Some(&b'"');
            if quoted {
                at += 1;
                loop {
                    let byte = text[at];
                    at += 1;
                    if Some(byte) == escape {
                        field.push(text[at]);
                        at += 1;
                    } else if byte != b'"' {
                        field.push(byte);
                    } else if text.get(at) == Some(&b'"') {
                        field.push(b'"');
                        at += 1;
                    } else {
                        break;
                    }
                }
            }
            while at < text.len() && text[at] != delimiter && text[at] != b'\n' {
                field.push(text[at]);
                at += 1;
            }
            let last = at >= text.len() || text[at] == b'\n';
            if last && field.last() == Some(&b'\r') && text[at - 1] == b'\r' {
                field.pop();
            }
            let text = String::from_utf8(field).expect("UTF-8");
            row.push((quoted || !text.is_empty()).then_some(text));
            at += 1;
            if last {
                break;
            }
        }
        let line = &text[begin..(at - 1).min(text.len())];
        if width == 1 || !(line.is_empty() || line == b"\r") {
            rows.push(row);
        }
    }
    rows
}

fn random_file(random: &mut Random, width: usize, delimiter: u8, escape: Option<u8>) -> Vec<u8> {
    const PARTS: [&str; 12] =
        ["a", "bc", "\"", ",", "\n", ";", "é", "🌾", "12", " ", "\r\n", "long text of words "];
    let mut text: Vec<u8> = Vec::new();
    let newline = ["\n", "\r\n"][random.next(2)];
    let records = random.next(12);
    for record in 0..records {
        if width > 1 && random.next(8) == 0 {
            text.extend(newline.as_bytes());
        }
        for column in 0..width {
            if column > 0 {
                text.push(delimiter);
            }
            let parts: String =
                (0..random.next(5)).map(|_| PARTS[random.next(PARTS.len())]).collect();
            let escaped = match escape {
                Some(_) => parts.replace('"', "\\\""),
                None => parts.replace('"', "\"\""),
            };
            let special = |c: char| c == '\n' || c == '\r' || c as u32 == u32::from(delimiter);
            match random.next(3) {
                0 => text.extend(format!("\"{escaped}\"").as_bytes()),
                // Quotes within fields that do not begin with one are text.
                _ if !parts.starts_with('"') && !parts.contains(special) => {
                    text.extend(parts.as_bytes());
                }
                _ => text.extend(format!("\"{escaped}\"").as_bytes()),
            }
        }
        if record + 1 < records || random.next(2) == 0 {
            text.extend(newline.as_bytes());
        }
    }
    text
}

#[test]
fn random_files_read_as_by_the_naive_parser_whatever_the_ranges() {
    let files = Files::new();
    for seed in 0..400 {
        let mut random = Random(seed * 7919 + 1);
        let width = 1 + random.next(4);
        let delimiter = [b',', b';'][random.next(2)];
        let escape = [None, Some(b'\\')][usize::from(random.next(5) == 0)];
        let text = random_file(&mut random, width, delimiter, escape);
        let expected = naive(&text, width, delimiter, escape);
        let options = CsvOptions {
            delimiter: char::from(delimiter),
            escape: escape.map(char::from),
            header: false,
            ..CsvOptions::default()
        };
        let file = files.write("random.csv", &text);
        let spec = CsvScan::new(vec![file], options, columns(&vec![DataType::Utf8View; width]));
        for range_bytes in [1, 7, 13, 64, 1000] {
            for (threads, ahead) in [(1, 0), (2, 5), (4, 64)] {
                let found = scan(&spec, threads, cut(range_bytes, ahead)).unwrap_or_else(|e| {
                    panic!("seed {seed}: {e}\n{}", String::from_utf8_lossy(&text))
                });
                assert_eq!(
                    found,
                    expected,
                    "seed {seed}, ranges of {range_bytes}, {threads} threads\n{}",
                    text.escape_ascii()
                );
            }
        }
    }
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
    let spec = CsvScan::new(list.clone(), CsvOptions::default(), types.clone());
    let text = |s: &str| Some(s.to_string());
    let expected =
        vec![vec![text("1"), text("x")], vec![text("2"), text("y\nz")], vec![text("3"), None]];
    for range_bytes in [1, 3, 100] {
        for threads in [1, 3] {
            assert_eq!(scan(&spec, threads, cut(range_bytes, 4)).expect("reads"), expected);
        }
    }
    let other = [list, vec![files.write("other.csv", b"c0,c2\n1,2\n")]].concat();
    let spec = CsvScan::new(other, CsvOptions::default(), types);
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
    let spec = CsvScan::new(vec![file], CsvOptions::default(), columns(&types));
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
    let options = CsvOptions {
        null_strings: vec!["NA".to_string(), "-999".to_string()],
        ..CsvOptions::default()
    };
    let types = columns(&[DataType::Int64, DataType::Utf8View]);
    let rows = scan(&CsvScan::new(vec![file], options, types), 1, cut(100, 0)).expect("reads");
    let text = |s: &str| Some(s.to_string());
    assert_eq!(rows, [vec![None, None], vec![text("1"), text("NA")], vec![None, None]]);
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let int = [DataType::Int64, DataType::Int64];
    let cases: [(&[u8], &str); 8] = [
        (
            b"c0,c1\n1,2\n3,\"4\n\"\n5,x6\n",
            "line 5, column 3: `x6` is no Int64, the type of column",
        ),
        (b"c0,c1\n1,9223372036854775808\n", "line 2, column 3: `9223372036854775808` is no Int64"),
        (b"c0,c1\n1,2\n3\n", "line 3, column 1: this record has 1 fields, but there are 2 columns"),
        (b"c0,c1\n1,2\n3,4,5\n", "line 3, column 1: this record has 3 fields"),
        (b"c0,c1\n\n1,2\n3,\"4\n5,6\n", "line 4, column 1: a quoted field of the record"),
        (b"c0,c1\n1,\"2\"3\n", "line 2, column 3: `\"2\"3` in column `c1` has text behind"),
        (b"c0,c1\n1.0,2\n", "line 2, column 1: `1.0` is no Int64"),
        (b"c0\n1\n", "line 1, column 1: this record has 1 fields, but there are 2 columns"),
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
}

#[test]
fn fields_longer_than_ranges_and_many_columns() {
    let files = Files::new();
    let long = "x\n\"\"".repeat(50_000);
    let text = format!("c0,c1\n1,\"{long}\"\n2,b\n");
    let spec = CsvScan::new(
        vec![files.write("long.csv", text.as_bytes())],
        CsvOptions::default(),
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
    let options = CsvOptions { header: false, ..CsvOptions::default() };
    let types = columns(&vec![DataType::Int64; width]);
    let mut spec = CsvScan::new(vec![files.write("wide.csv", text.as_bytes())], options, types);
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
    let options = CsvOptions { header: false, ..CsvOptions::default() };
    let types = columns(&[DataType::Int64, DataType::Int64]);
    let mut spec = CsvScan::new(vec![files.write("a.csv", text.as_bytes())], options, types);
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
    let options = CsvOptions { header: false, ..CsvOptions::default() };
    let types = columns(&[DataType::Int64, DataType::Utf8View]);
    let mut spec = CsvScan::new(vec![files.write("a.csv", text.as_bytes())], options, types);
    spec.projection = Vec::new();
    let source = Scan::with_cut(&spec, &Governor::unlimited(), 1, cut(999, 9)).expect("opens");
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
    let spec = CsvScan::new(vec![file], CsvOptions::default(), columns(&[DataType::Utf8View]));
    let source = Scan::with_cut(&spec, &Governor::unlimited(), 1, cut(1 << 20, 0)).expect("opens");
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
        CsvOptions::default(),
        columns(&[DataType::Int64]),
    );
    let json = spec.to_json().expect("writes");
    let back = CsvScan::from_json(json.clone(), &Functions::default()).expect("reads");
    assert_eq!(back.to_json().expect("writes"), json);
    assert_eq!(back.name(), "csv_scan");
}
