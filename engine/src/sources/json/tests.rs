//! The scan as a whole: random records in all layouts, with windows of a few bytes and several
//! workers, against the values they were written from; and what must be refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    ListArray, RecordBatch, StringViewArray, StructArray, UInt8Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Fields, Int64Type, TimeUnit};

use super::scan::Scan;
use super::*;
use crate::error::Error;
use crate::expr::{CompareOp, Literal};
use crate::memory::Governor;
use crate::pipeline::{Context, Order, Pull, Query, Source};

/// A small generator, so that a failure names its seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) as usize) % below
    }

    fn pick<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.next(texts.len())]
    }
}

fn context(threads: usize, worker: usize) -> Context {
    let query = Query::alone(Governor::unlimited(), threads);
    Context { query: Arc::new(query), order: Order::new(), worker }
}

/// All rows in file order.
fn scan(spec: &JsonScan, threads: usize, step: usize) -> Result<RecordBatch> {
    let schema = spec.declared().output()?;
    let source = Scan::with_step(spec, step, threads)?;
    let found: Mutex<BTreeMap<u64, Vec<RecordBatch>>> = Mutex::default();
    let work = |worker: usize| -> Result<()> {
        let cx = context(threads, worker);
        let mut worker = source.worker(&cx)?;
        loop {
            match worker.pull(&cx)? {
                Pull::Finished => return Ok(()),
                Pull::Morsel(_) => {}
                Pull::Blocked(_) => panic!("a JSON scan never blocks"),
                Pull::Chunk(chunk) => {
                    let batch = chunk.to_batch(&schema)?;
                    let mut found = found.lock().expect("no panic");
                    found.entry(chunk.place().morsel).or_default().push(batch);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let work = &work;
        let handles: Vec<_> = (0..threads).map(|w| scope.spawn(move || work(w))).collect();
        handles.into_iter().try_for_each(|handle| handle.join().expect("no panic"))
    })?;
    let batches: Vec<_> = found.into_inner().expect("no panic").into_values().flatten().collect();
    Ok(concat_batches(&schema, &batches)?)
}

struct File {
    _directory: tempfile::TempDir,
    file: FileRef,
}

fn file(bytes: &[u8]) -> File {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("a.json");
    std::fs::write(&path, bytes).expect("writes");
    let file = FileRef::of(&path).expect("is there");
    File { _directory: directory, file }
}

fn columns(shapes: Vec<(&str, Shape)>) -> Vec<JsonColumn> {
    let column =
        |(name, shape): (&str, Shape)| JsonColumn { name: name.to_string(), shape, detected: true };
    shapes.into_iter().map(column).collect()
}

/// Records as text, and as the batch they should be read as.
struct Records {
    texts: Vec<String>,
    batch: RecordBatch,
}

/// A value for `row`, `null`, or nothing.
fn member(random: &mut Random, name: &str, value: Option<String>) -> Option<String> {
    match value {
        Some(value) => Some(format!("\"{name}\"{}:{}{value}", blank(random), blank(random))),
        None if random.next(2) == 0 => Some(format!("\"{name}\":null")),
        None => None,
    }
}

fn blank(random: &mut Random) -> &'static str {
    random.pick(&["", "", "", " ", "\t "])
}

fn optional<T>(random: &mut Random, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
    (random.next(5) > 0).then(|| value(random))
}

const TEXTS: [(&str, &str); 6] = [
    ("", "\"\""),
    ("plain", "\"plain\""),
    ("žluťoučký kůň, a long one", "\"žluťoučký kůň, a long one\""),
    ("\"quoted\" \\ \n", "\"\\\"quoted\\\" \\\\ \\n\""),
    ("}{][,:", "\"}{][,:\""),
    ("\u{1f33e}é", "\"\\ud83c\\udf3e\\u00e9\""),
];

fn records(random: &mut Random, rows: usize) -> Records {
    let mut texts = Vec::new();
    let (mut ints, mut floats, mut words, mut flags) = (vec![], vec![], vec![], vec![]);
    let (mut days, mut prices, mut lists, mut objects) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rows {
        let int = optional(random, |r| (r.next(1 << 31) as i64 - (1 << 30)) << r.next(32));
        let float = optional(random, |r| f64::from(r.next(1_000_000) as u32) / 64.0 - 7.5);
        let word = optional(random, |r| TEXTS[r.next(TEXTS.len())]);
        let flag = optional(random, |r| r.next(2) == 0);
        let day = optional(random, |r| r.next(28));
        let price = optional(random, |r| r.next(1 << 30) as i128 * 1_000_003 - 500);
        let list = optional(random, |r| {
            let count = r.next(4);
            (0..count).map(|_| optional(r, |r| r.next(100) as i64)).collect::<Vec<_>>()
        });
        let object = optional(random, |r| {
            let x = optional(r, |r| r.next(100) as i64);
            (x, optional(r, |r| TEXTS[r.next(TEXTS.len())]))
        });
        let item = |v: &Option<i64>| v.map_or("null".to_string(), |v| v.to_string());
        let list_text = list
            .as_ref()
            .map(|l| format!("[{}]", l.iter().map(item).collect::<Vec<_>>().join(", ")));
        let object_text = object.as_ref().map(|(x, y)| {
            let x = member(random, "x", x.map(|x| x.to_string()));
            let y = member(random, "y", y.map(|y| y.1.to_string()));
            format!("{{{}}}", y.into_iter().chain(x).collect::<Vec<_>>().join(" ,"))
        });
        let cents = |p: i128| {
            format!("{}{}.{:02}", if p < 0 { "-" } else { "" }, p.abs() / 100, p.abs() % 100)
        };
        let mut members = vec![
            member(random, "int", int.map(|v| v.to_string())),
            member(random, "float", float.map(|v| format!("{v:?}"))),
            member(random, "word", word.map(|v| v.1.to_string())),
            member(random, "flag", flag.map(|v| v.to_string())),
            member(random, "day", day.map(|d| format!("\"1970-01-{:02}\"", d + 1))),
            member(random, "price", price.map(cents)),
            member(random, "list", list_text),
            member(random, "object", object_text),
        ];
        if random.next(3) == 0 {
            let by = random.next(8);
            members.rotate_left(by);
        }
        let members: Vec<String> = members.into_iter().flatten().collect();
        texts.push(format!("{{{}{}{}}}", blank(random), members.join(","), blank(random)));
        ints.push(int);
        floats.push(float);
        words.push(word.map(|w| w.0));
        flags.push(flag);
        days.push(day.map(|d| d as i32));
        prices.push(price);
        lists.push(list);
        objects.push(object);
    }
    let prices = Decimal128Array::from(prices).with_precision_and_scale(30, 2).expect("fits");
    let xs: Int64Array = objects.iter().map(|o| o.as_ref().and_then(|o| o.0)).collect();
    let ys: StringViewArray =
        objects.iter().map(|o| o.as_ref().and_then(|o| o.1).map(|y| y.0)).collect();
    let valid = NullBuffer::from(objects.iter().map(Option::is_some).collect::<Vec<_>>());
    let members: Vec<ArrayRef> = vec![Arc::new(xs), Arc::new(ys)];
    let objects = StructArray::new(object_fields(), members, Some(valid));
    let arrays: Vec<(&str, ArrayRef)> = vec![
        ("int", Arc::new(Int64Array::from(ints))),
        ("float", Arc::new(Float64Array::from(floats))),
        ("word", Arc::new(StringViewArray::from(words))),
        ("flag", Arc::new(BooleanArray::from(flags))),
        ("day", Arc::new(Date32Array::from(days))),
        ("price", Arc::new(prices)),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("object", Arc::new(objects)),
    ];
    let arrays = arrays.into_iter().map(|(name, array)| (name, array, true));
    Records { texts, batch: RecordBatch::try_from_iter_with_nullable(arrays).expect("a batch") }
}

fn object_fields() -> Fields {
    Fields::from(vec![
        ArrowField::new("x", DataType::Int64, true),
        ArrowField::new("y", DataType::Utf8View, true),
    ])
}

fn shapes() -> Vec<JsonColumn> {
    let plain = Shape::Plain;
    columns(vec![
        ("int", plain(DataType::Int64)),
        ("float", plain(DataType::Float64)),
        ("word", plain(DataType::Utf8View)),
        ("flag", plain(DataType::Boolean)),
        ("day", plain(DataType::Date32)),
        ("price", plain(DataType::Decimal128(30, 2))),
        ("list", Shape::List(Box::new(plain(DataType::Int64)))),
        ("object", Shape::of(&DataType::Struct(object_fields())).expect("a shape")),
    ])
}

fn laid_out(random: &mut Random, texts: &[String], layout: Layout) -> String {
    match layout {
        Layout::Lines => {
            let mut lines: String = texts
                .iter()
                .map(|text| format!("{text}{}", random.pick(&["\n", "\n", "\r\n", " \n\n"])))
                .collect();
            if random.next(2) == 0 {
                lines.pop();
            }
            lines
        }
        Layout::Values => {
            let inner = |text: &String| text[1..text.len() - 1].to_string();
            let apart = |text: &String| format!("{{\n{}\n}}{}", inner(text), blank(random));
            texts.iter().map(apart).collect()
        }
        Layout::Array => format!(" [{}\n]\n", texts.join(random.pick(&[",", ",\n", "\n, "]))),
    }
}

#[test]
fn all_layouts_give_the_values_they_were_written_from() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let rows = [0, 1, 2, 50, 300][random.next(5)];
        let Records { texts, batch } = records(&mut random, rows);
        for layout in [Layout::Lines, Layout::Values, Layout::Array] {
            let bytes = laid_out(&mut random, &texts, layout);
            let file = file(bytes.as_bytes());
            let mut spec = JsonScan::new(file.file.clone(), layout, shapes());
            for (threads, step) in [(1, 1 << 20), (3, 1 + random.next(200)), (2, 3000)] {
                let found = scan(&spec, threads, step).expect("reads");
                assert_eq!(found, batch, "seed {seed}, {layout:?}, step {step}");
            }
            spec.projection = vec![7, 0, 2];
            spec.predicates = vec![Expr::Compare {
                op: CompareOp::Greater,
                left: Box::new(Expr::column(0, DataType::Int64)),
                right: Box::new(Expr::Literal(Literal::int(0))),
            }];
            let live: BooleanArray = {
                let ints = batch.column(0).as_primitive::<Int64Type>();
                ints.iter().map(|v| Some(v.is_some_and(|v| v > 0))).collect()
            };
            let expected = arrow::compute::filter_record_batch(&batch, &live).expect("filters");
            let expected = expected.project(&spec.projection).expect("projects");
            assert_eq!(scan(&spec, 2, 100).expect("reads"), expected, "seed {seed}");
            spec.projection = Vec::new();
            let count = scan(&spec, 2, 100).expect("reads").num_rows();
            assert_eq!(count, expected.num_rows());
        }
    }
}

#[test]
fn samples_find_the_columns_and_the_layout() {
    let mut random = Random(7);
    let Records { texts, batch } = records(&mut random, 400);
    for layout in [Layout::Lines, Layout::Array] {
        let file = file(laid_out(&mut random, &texts, layout).as_bytes());
        let facts = sniff(&file.file.path, &JsonOptions::default()).expect("sniffs");
        assert_eq!((facts.layout, facts.rows, facts.is_exact), (layout, 400.0, true));
        let column = |name: &str| facts.columns.iter().find(|c| c.name == name).expect(name);
        for field in batch.schema().fields() {
            let found = column(field.name()).shape.data_type();
            match field.name().as_str() {
                // A sample knows of no decimals.
                "price" => assert_eq!(found, DataType::Float64),
                "object" => assert!(found.is_nested()),
                _ => assert_eq!(found, *field.data_type(), "{}", field.name()),
            }
        }
        let found = scan(&facts.scan(), 1, 1000).expect("reads");
        assert_eq!(found.num_rows(), 400);
    }
}

#[test]
fn a_large_file_is_sampled_in_several_places() {
    let line = |i: usize| match i {
        // Only here, behind the first megabytes.
        90_000.. => format!("{{\"a\":{i}.5,\"b\":\"text\"}}\n"),
        _ => format!("{{\"a\":{i},\"b\":\"2020-01-01\",\"filler\":\"xxxxxxxxxxxxxxx\"}}\n"),
    };
    let text: String = (0..100_000).map(line).collect();
    let file = file(text.as_bytes());
    let facts = sniff(&file.file.path, &JsonOptions::default()).expect("sniffs");
    let types: Vec<_> = facts.columns.iter().map(|c| c.shape.data_type()).collect();
    assert_eq!(types, [DataType::Float64, DataType::Utf8View, DataType::Utf8View]);
    assert!(!facts.is_exact && (95_000.0..115_000.0).contains(&facts.rows), "{}", facts.rows);
    assert_eq!(scan(&facts.scan(), 2, 1 << 20).expect("reads").num_rows(), 100_000);
}

fn error(text: &str, columns: Vec<JsonColumn>, layout: Layout) -> String {
    let file = file(text.as_bytes());
    let spec = JsonScan::new(file.file.clone(), layout, columns);
    let errors = [1, 64, 1 << 20].map(|step| {
        let error = scan(&spec, 1, step).expect_err(text);
        assert!(matches!(error, Error::Input { .. }), "{error}");
        error.to_string()
    });
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
    errors[0].split_once("a.json: ").expect("names the file").1.to_string()
}

#[test]
fn what_cannot_be_read_is_reported_with_its_place() {
    let plain = |data_type| columns(vec![("a", Shape::Plain(data_type))]);
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let nested = || {
        let inner = Shape::Struct(vec![("b".into(), Shape::Plain(DataType::Int64))]);
        columns(vec![("a", Shape::List(Box::new(inner)))])
    };
    let cases = [
        ("{\"a\":1}\n{\"a\":1.5}\n", plain(DataType::Int64), "line 2, column 6: `1.5` is no Int64"),
        ("{\"a\":\"x\"}", plain(DataType::Int64), "column 6: `\"x\"` is no Int64, the type of `a`"),
        ("{\"a\":[1]}", plain(DataType::Float64), "`[1]` is no Float64"),
        ("{\"a\":300}", plain(DataType::UInt8), "`300` is no UInt8"),
        ("{\"a\":1.234}", plain(DataType::Decimal128(9, 2)), "`1.234` is no Decimal128(9, 2)"),
        ("{\"a\":\"2020-02-30\"}", plain(DataType::Date32), "`\"2020-02-30\"` is no Date32"),
        ("{\"a\":20}", plain(micros), "`20` is no Timestamp"),
        ("{\"a\":1}", plain(DataType::Boolean), "`1` is no Boolean"),
        ("{\"b\":1}", plain(DataType::Int64), "column 2: the key \"b\" is not among the columns"),
        ("{\"a\":1,\"a\":2}", plain(DataType::Int64), "column 8: the key \"a\" stands twice"),
        ("\n[1]\n", plain(DataType::Int64), "line 2, column 1: `[1]` is no object"),
        ("{\"a\":1", plain(DataType::Int64), "column 7: this is not JSON: a comma or a closing"),
        ("{\"a\":NaN}", plain(DataType::Int64), "`NaN` is no Int64"),
        ("{\"a\":Nan}", plain(DataType::Float64), "a value is missing here"),
        ("{\"a\":\"ž\",}", plain(DataType::Utf8View), "column 10: this is not JSON: a key"),
        ("{\"a\":{\"b\":1}}", nested(), "`{\"b\":1}` is no List"),
        ("{\"a\":[1]}", nested(), "column 7: `1` is no Struct"),
        ("{\"a\":[{\"b\":\"x\"}]}", nested(), "`\"x\"` is no Int64, the type of `a[].b`"),
        ("{\"a\":[{\"c\":1}]}", nested(), "the key \"c\" in `a[]` is not among the keys"),
    ];
    for (text, columns, expected) in cases {
        let message = error(text, columns, Layout::Lines);
        assert!(message.contains(expected), "{text}: {message}");
    }
    let int = || plain(DataType::Int64);
    for (text, layout, expected) in [
        ("[{\"a\":1}", Layout::Array, "line 1, column 9: this is not JSON: the array of records"),
        ("[{\"a\":1},\n{\"a\":tru}]", Layout::Array, "line 2, column 6: this is not JSON: a value"),
        ("{\"a\":\n1}\n{\"a\":[", Layout::Values, "line 3, column 7: this is not JSON: a value"),
        ("", Layout::Array, "an array of objects was expected"),
    ] {
        let message = error(text, int(), layout);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn declared_columns_take_what_fits_and_pass_over_other_keys() {
    let text =
        "{\"b\":[1,{\"c\":2}],\"a\":\"7\",\"t\":5}\n{\"a\":8,\"t\":{\"x\": 1}}\n{\"t\":\"é\"}\n";
    let file = file(text.as_bytes());
    let declared = vec![("a".to_string(), DataType::UInt8), ("t".to_string(), DataType::Utf8)];
    let options = JsonOptions { columns: Some(declared), ..JsonOptions::default() };
    let facts = sniff(&file.file.path, &options).expect("sniffs");
    let batch = scan(&facts.scan(), 1, 10).expect("reads");
    assert_eq!(batch.column(0).as_ref(), &UInt8Array::from(vec![Some(7), Some(8), None]));
    let texts: Vec<_> = batch.column(1).as_string::<i32>().iter().flatten().collect();
    assert_eq!(texts, ["5", "{\"x\": 1}", "é"]);
    let wrong =
        JsonOptions { types: vec![("x".to_string(), DataType::Utf8)], ..JsonOptions::default() };
    let error = sniff(&file.file.path, &wrong).expect_err("no such column").to_string();
    assert!(error.contains("no column `x`") && error.contains("a, b, t"), "{error}");
}

#[test]
fn files_without_records_and_of_other_formats_are_refused() {
    for (bytes, expected) in [
        (&b""[..], "has no records"),
        (b" \n\n", "has no records"),
        (b"[]", "has no records"),
        (b"{}\n", "has no records"),
        (b"a,b\n1,2\n", "this is not JSON"),
        (b"1\n2\n", "is no object"),
        (b"\xff\xfe{\x00", "not UTF-8"),
        (b"{\"a\":1", "a comma or a closing brace"),
    ] {
        let file = file(bytes);
        let error = sniff(&file.file.path, &JsonOptions::default()).expect_err("refused");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn plans_survive_json() {
    let file = file(b"{\"a\":1}");
    let spec = JsonScan::new(file.file.clone(), Layout::Values, shapes());
    let read = JsonScan::from_json(spec.to_json().expect("writes"), &Functions::default());
    let read = read.expect("reads");
    let any: &dyn std::any::Any = read.as_ref();
    assert_eq!(any.downcast_ref::<JsonScan>(), Some(&spec));
}

#[test]
fn changed_bytes_give_errors_or_other_values_but_nothing_worse() {
    let mut random = Random(99);
    let Records { texts, .. } = records(&mut random, 40);
    for layout in [Layout::Lines, Layout::Array] {
        let text = laid_out(&mut random, &texts, layout);
        for _ in 0..400 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..=random.next(3) {
                let at = random.next(bytes.len());
                match random.next(3) {
                    0 => bytes[at] ^= 1 << random.next(8),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes[at] = b"{}[]\",:\\\n0"[random.next(10)],
                }
            }
            let file = file(&bytes);
            let spec = JsonScan::new(file.file.clone(), layout, shapes());
            for outcome in [
                scan(&spec, 1, 64).map(|_| ()),
                sniff(&file.file.path, &JsonOptions::default()).map(|_| ()),
            ] {
                assert!(!matches!(outcome, Err(Error::Internal(_))), "{outcome:?}");
            }
        }
    }
}
