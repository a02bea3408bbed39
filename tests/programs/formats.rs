//! Files of all formats, and sets of files, as tables.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date64Array, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field};
use arrow::util::pretty::pretty_format_batches;
use gristmill::{Config, Error, Result, Session};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn session() -> Session {
    Session::new(Config { threads: Some(2), ..Config::default() }).expect("opens")
}

fn run(session: &Session, sql: &str) -> Result<String> {
    let batches: Result<Vec<RecordBatch>> = session.sql(sql)?.collect();
    Ok(pretty_format_batches(&batches?).expect("prints").to_string())
}

/// The rows of a result, a line each, without the frame around them.
fn rows(session: &Session, sql: &str) -> Vec<String> {
    let text = run(session, sql).unwrap_or_else(|e| panic!("{sql}\n{e}"));
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(",");
    text.lines().filter(|line| line.starts_with('|')).skip(1).map(cells).collect()
}

fn refused(session: &Session, sql: &str) -> String {
    let error = run(session, sql).expect_err(sql);
    assert!(matches!(error, Error::Input { .. }), "{error}");
    error.to_string()
}

fn flights() -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/flights.parquet");
    data.display().to_string()
}

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
    fs::write(path, text).expect("writes");
}

#[test]
fn every_format_gives_back_what_was_written() {
    let directory = tempfile::tempdir().expect("directory");
    let session = session();
    let query = format!(
        "select carrier, flight, tailnum, dep_delay, time_hour, cast(time_hour as date) as day,
            cast(arr_delay as double) / 7 as ratio, dep_delay > 0 as late,
            cast(distance as bigint) * 1000000007 as large
         from '{}' where month < 3 order by time_hour, carrier, flight, origin",
        flights()
    );
    let sums = |from: &str| {
        format!(
            "select count(*), count(tailnum), count(dep_delay), sum(large), min(day), max(day),
                min(time_hour), max(time_hour), count(late), sum(flight), max(carrier)
             from {from}"
        )
    };
    let expected = run(&session, &sums(&format!("({query}) t"))).expect("reads");
    for name in ["a.parquet", "a.csv", "a.ndjson", "a.arrow", "a.arrows"] {
        let path = directory.path().join(name).display().to_string();
        run(&session, &format!("copy ({query}) to '{path}'")).expect(name);
        assert_eq!(run(&session, &sums(&format!("'{path}'"))).expect(name), expected, "{name}");
        let first = format!("select carrier, flight, ratio from '{path}' limit 20");
        let source = format!("select carrier, flight, ratio from ({query} limit 20) t");
        assert_eq!(rows(&session, &first), rows(&session, &source), "{name}");
    }
    let options = [
        ("b.json", "(format json, array true)"),
        ("b.arrow", "(compression zstd, compression_level 3)"),
        ("c.arrow", "(compression lz4, batch_size 1000)"),
    ];
    for (name, options) in options {
        let path = directory.path().join(name).display().to_string();
        run(&session, &format!("copy ({query}) to '{path}' {options}")).expect(name);
        assert_eq!(run(&session, &sums(&format!("'{path}'"))).expect(name), expected, "{name}");
    }
    let path = directory.path().join("d.arrow").display().to_string();
    let refuse = |options: &str| {
        let error = refused(&session, &format!("copy (select 1 as a) to '{path}' {options}"));
        assert!(!Path::new(&path).exists(), "{error}");
        error
    };
    assert!(refuse("(compresion zstd)").contains("did you mean compression?"));
    assert!(refuse("(compression_level 3)").contains("is for zstd"));
    assert!(refuse("(compression zstd, compression_level 99)").contains("no level 99"));
    assert!(refuse("(format json, header true)").contains("COPY to JSON has no option `header`"));
}

#[test]
fn nested_values_are_read_and_written() {
    let directory = tempfile::tempdir().expect("directory");
    let session = session();
    let lines = "{\"a\":[1,null],\"b\":{\"x\":\"\u{e9}\",\"y\":[{\"z\":1.5}]}}\n{\"a\":null}\n\
                 {\"a\":[],\"b\":null}\n";
    write(directory.path(), "a.ndjson", lines);
    let path = |name: &str| directory.path().join(name).display().to_string();
    let all = run(&session, &format!("select * from '{}'", path("a.ndjson"))).expect("reads");
    assert!(all.contains("[1, ]") && all.contains("{x: \u{e9}, y: [{z: 1.5}]}"), "{all}");
    for name in ["b.parquet", "b.arrow", "b.ndjson"] {
        run(&session, &format!("copy '{}' to '{}'", path("a.ndjson"), path(name))).expect(name);
        let copied = run(&session, &format!("select * from '{}'", path(name))).expect(name);
        assert_eq!(copied, all, "{name}");
    }
    run(&session, &format!("copy '{}' to '{}'", path("a.ndjson"), path("b.csv"))).expect("texts");
    let count = format!("select count(*) from '{}'", path("b.csv"));
    assert_eq!(rows(&session, &count), ["3"]);
}

#[test]
fn a_json_value_that_does_not_fit_has_its_place() {
    let directory = tempfile::tempdir().expect("directory");
    let session = session();
    let mut text: String = (0..100_000).map(|i| format!("{{\"number\":{i}}}\n")).collect();
    let line = text[..1_500_000].matches('\n').count();
    let at = text[..1_500_000].rfind('\n').expect("a line") + 1;
    text.insert_str(at, "{\"number\":\"many\"}\n");
    text.push_str(&"{\"number\":1}\n".repeat(200_000));
    write(directory.path(), "a.ndjson", &text);
    let path = directory.path().join("a.ndjson").display().to_string();
    // The sample has seen it, so the column is of texts.
    let counted = rows(&session, &format!("select count(*) from '{path}' where number = 'many'"));
    assert_eq!(counted, ["1"]);
    let text = text.replace("\"many\"", "7");
    let middle = text.match_indices('\n').find(|(at, _)| *at > 3_000_000).expect("a line").0 + 1;
    let line = line.max(text[..middle].matches('\n').count()) + 1;
    let text = format!("{}{{\"number\":\"none\"}}\n{}", &text[..middle], &text[middle..]);
    write(directory.path(), "b.ndjson", &text);
    let path = directory.path().join("b.ndjson").display().to_string();
    let error = refused(&session, &format!("select sum(number) from '{path}'"));
    let expected = format!("b.ndjson: line {line}, column 11: `\"none\"` is no BIGINT");
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn directories_and_patterns_are_tables() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let session = session();
    for (month, path) in [(1, "d/year=2013/month=01"), (2, "d/year=2013/month=02")] {
        fs::create_dir_all(root.join(path)).expect("creates");
        let to = root.join(path).join("part.parquet").display().to_string();
        let query =
            format!("select carrier, flight, dep_delay from '{}' where month = {month}", flights());
        run(&session, &format!("copy ({query}) to '{to}'")).expect("copies");
    }
    write(root, "d/_SUCCESS", "");
    let table = root.join("d/").display().to_string();
    let by_month = rows(
        &session,
        &format!(
            "select year, month, count(*), count(dep_delay) from '{table}' group by 1, 2 order by 2"
        ),
    );
    let expected = rows(
        &session,
        &format!(
            "select 2013, month, count(*), count(dep_delay) from '{}' where month < 3
             group by 2 order by 2",
            flights()
        ),
    );
    assert_eq!(by_month, expected);
    let explained = run(&session, &format!("explain select flight from '{table}' where month = 2"));
    assert!(explained.expect("explains").contains("1 of 2 parquet"));
    let pattern = root.join("d/*/*/*.parquet").display().to_string();
    let joined = rows(
        &session,
        &format!("select count(*) from '{pattern}' t join (values (2)) m(m) on month = m"),
    );
    assert_eq!(joined, [expected[1].split(',').nth(2).expect("a count")]);
    let none = rows(&session, &format!("select count(*) from '{table}' where year = 1999"));
    assert_eq!(none, ["0"]);
}

#[test]
fn columns_of_a_set_go_by_name_and_must_agree() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let session = session();
    write(root, "c/1.csv", "a,b\n1,x\n2,y\n");
    write(root, "c/2.csv", "b,a\nz,3\n");
    write(root, "c/3.csv", "a,c\n4.5,2020-01-01\n");
    write(root, "c/4.csv", "a,b,c\n");
    write(root, "c/5.csv", "c,b,a\n,,\n");
    let table = root.join("c").display().to_string();
    let found = rows(&session, &format!("select a, b, c from '{table}/*.csv'"));
    assert_eq!(found, ["1.0,x,", "2.0,y,", "3.0,z,", "4.5,,2020-01-01", ",,"]);
    write(root, "j/1.ndjson", "{\"a\":1}\n");
    write(root, "j/2.ndjson", "");
    write(root, "j/3.json", "[{\"a\":2.5,\"b\":[1]}]");
    let table = root.join("j/").display().to_string();
    assert_eq!(rows(&session, &format!("select * from '{table}'")), ["1.0,", "2.5,[1]"]);

    let path = |name: &str| root.join(name).display().to_string();
    fs::create_dir_all(root.join("p")).expect("creates");
    run(&session, &format!("copy (select 1 as a, 2 as b) to '{}'", path("p/1.parquet")))
        .expect("copies");
    run(&session, &format!("copy (select 'x' as b) to '{}'", path("p/2.parquet"))).expect("copies");
    let error = refused(&session, &format!("select * from '{}'", path("p/*.parquet")));
    assert!(error.contains("column `b` is BIGINT in") && error.contains("2.parquet"), "{error}");
    let error = refused(&session, &format!("select * from '{}'", path("p/*.csv")));
    assert!(error.contains("no file in the directory"), "{error}");
    write(root, "p/3.csv", "a\n1\n");
    let error = refused(&session, &format!("select * from '{}'", path("p/")));
    assert!(error.contains("are of different formats"), "{error}");
    write(root, "h/k=1/1.csv", "a\n1\n");
    write(root, "h/2.csv", "a\n1\n");
    let error = refused(&session, &format!("select * from '{}'", path("h/**/*.csv")));
    assert!(error.contains("the partitions k"), "{error}");
}

/// Numbers of several types become the least type that holds all of them, in rows, conditions and
/// keys of joins; the same answers as from files of one type.
#[test]
fn columns_of_a_set_may_have_several_types() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let session = session();
    fs::create_dir_all(root.join("p")).expect("creates");
    let files = [
        "select i::integer as n, (i / 10)::decimal(5, 1) as d, date '2020-01-01' + i::integer as t",
        "select i + 3000000000 as n, (i / 1000)::decimal(9, 3) as d,
            timestamp '2021-01-01 12:00:00' as t",
        "select i::smallint as n, i::integer as d, null::date as t",
        "select null::bigint as n",
    ];
    for (number, columns) in files.iter().enumerate() {
        let to = root.join(format!("p/{number}.parquet")).display().to_string();
        let query = format!("{columns} from range({}) r(i)", 5000 * (3 - number) + 1);
        run(&session, &format!("copy ({query}) to '{to}'")).expect("copies");
    }
    let set = format!("'{}'", root.join("p/*.parquet").display());
    let each = files.iter().enumerate().map(|(number, _)| {
        let file = root.join(format!("p/{number}.parquet")).display().to_string();
        let others = if number == 3 { "null, null" } else { "d, t" };
        format!("select n::bigint n, {others} from '{file}'")
    });
    let union = each.collect::<Vec<_>>().join(" union all ");
    let typed = format!("(select n, d::decimal(13, 3) d, t::timestamp t from ({union}))");
    for query in [
        "select typeof(n), typeof(d), typeof(t) from {} limit 1",
        "select count(*), sum(n), sum(d), count(t), min(t), max(t), min(n), max(n) from {}",
        "select count(*), sum(d) from {} where n > 4000 and t < timestamp '2025-01-01'",
        "select n, d, t from {} where n = 17 or n = 3000000017 or n is null order by n, d",
        "select count(*) from {} a join {} b on a.n = b.n and a.d = b.d",
        "select count(*) from {} a where n in (select i from range(100) r(i))",
        "select count(distinct d), approx_count_distinct(t) > 0 from {}",
    ] {
        let of = |table: &str| rows(&session, &query.replace("{}", table));
        assert_eq!(of(&set), of(&typed), "{query}");
    }
}

/// A word that stands for NULL among the numbers of one file is a text where the set has texts.
#[test]
fn words_for_null_are_texts_in_columns_of_texts() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let session = session();
    fs::write(root.join("a.csv"), "code,n\n1,2\nNA,NA\n").expect("writes");
    fs::write(root.join("b.csv"), "code,n\nabc,3\nNA,4\n").expect("writes");
    let set = root.join("*.csv").display().to_string();
    let found = |what: &str| rows(&session, &format!("select {what} from '{set}'"));
    let of_one = |what: &str| {
        let both = "(values ('1', 2), ('NA', null), ('abc', 3), ('NA', 4)) v(code, n)";
        rows(&session, &format!("select {what} from {both}"))
    };
    for what in ["count(*), count(code), count(n), sum(n)", "string_agg(code, ' ' order by code)"] {
        assert_eq!(found(what), of_one(what));
    }
}

/// Names of columns are the same in any case, but for a file that has both.
#[test]
fn columns_of_a_set_are_spelled_in_any_case() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let session = session();
    write(root, "1.csv", "Id,v\n1,a\n");
    write(root, "2.csv", "V,ID\nb,2.5\n");
    let all = |pattern: &str, columns: &str| {
        let pattern = root.join(pattern).display().to_string();
        rows(&session, &format!("select {columns} from '{pattern}'"))
    };
    assert_eq!(all("*.csv", "*"), ["1.0,a", "2.5,b"]);
    write(root, "3.csv", "ID,Id,v\n7,8,c\n");
    assert_eq!(all("[13].csv", "id, id_1, v"), ["1,,a", "8,7,c"]);
    write(root, "h/yr=1/1.csv", "Yr,k\n5,6\n");
    assert_eq!(all("h/*/*.csv", "*"), ["6,1"]);
}

#[test]
fn new_and_changed_files_of_a_set_are_seen() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let session = session();
    write(root, "1.csv", "a\n1\n");
    session.register("t", root.join("*.csv")).expect("registers");
    let sum = || rows(&session, "select sum(a), count(*) from t");
    assert_eq!(sum(), ["1,1"]);
    write(root, "2.csv", "a\n20\n30\n");
    assert_eq!(sum(), ["51,3"]);
    write(root, "1.csv", "a\n1\n4\n");
    assert_eq!(sum(), ["55,4"]);
    fs::remove_file(root.join("2.csv")).expect("removes");
    assert_eq!(sum(), ["5,2"]);
    let to = root.join("1.csv").display().to_string();
    assert!(refused(&session, &format!("copy t to '{to}'")).contains("is read by the statement"));
}

#[test]
fn partitions_are_written_and_read_back() {
    let directory = tempfile::tempdir().expect("directory");
    let session = session();
    let target = directory.path().join("out").display().to_string();
    let query = format!("select * from '{}' where month < 4", flights());
    let copy =
        format!("copy ({query}) to '{target}' stored as parquet partitioned by (month, origin)");
    let count = rows(&session, &format!("select count(*) from ({query}) t"));
    assert_eq!(rows(&session, &copy), count);
    let sums = |from: &str| {
        format!(
            "select month, origin, count(*), sum(distance), count(dep_delay), max(tailnum)
             from {from} group by 1, 2 order by 1, 2"
        )
    };
    let found = rows(&session, &sums(&format!("'{target}/'")));
    assert_eq!(found, rows(&session, &sums(&format!("({query}) t"))));
    assert_eq!(found.len(), 9);
    let one = directory.path().join("out/month=2/origin=JFK/data_0.parquet");
    let one = rows(&session, &format!("select count(*) from '{}'", one.display()));
    let same = rows(
        &session,
        &format!("select count(*) from '{}' where month = 2 and origin = 'JFK'", flights()),
    );
    assert_eq!(one, same);
    assert!(refused(&session, &copy).contains("is not empty"));
    let (by_both, by_month) = ("by (month, origin)", "by (month) options (overwrite true)");
    rows(&session, &copy.replace(by_both, by_month));
    assert!(directory.path().join("out/month=1/data_0.parquet").exists());
    assert!(!directory.path().join("out/month=1/origin=JFK").exists());
    let own = format!(
        "copy (select * from '{target}/') to '{target}' stored as csv \
                       partitioned by (month) options (append true)"
    );
    assert!(refused(&session, &own).contains("is read by the statement"));
    let set = format!(
        "execute statement set begin
         copy (select 1 as a) to '{}'; copy (select count(*) as n from '{target}/') to '{}'; end",
        directory.path().join("out/month=1/x.parquet").display(),
        directory.path().join("n.csv").display()
    );
    run(&session, &set).expect("writes beside what is read");
    let both = set.replace("out/month=1/x.parquet'", "out' stored as csv partitioned by (b)");
    let both = both.replace("1 as a", "1 as a, 2 as b");
    assert!(refused(&session, &both).contains("is read here, and written by another"));
    let wrong = copy.replace("origin)", "orign)").replace("out'", "other'");
    assert!(refused(&session, &wrong).contains("did you mean origin?"));
}

#[test]
fn partition_columns_have_the_type_of_all_their_values() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let session = session();
    let null = "__HIVE_DEFAULT_PARTITION__";
    write(root, "h/d=2020-01-01/f=1/b=true/t=x%2Fy/_n=7/p.csv", "a\n1\n");
    write(root, "h/d=2020-02-01/f=2.5/b=false/t=__HIVE/_n=-8/p.csv", "a\n2\n");
    write(root, &format!("h/d={null}/f={null}/b={null}/t={null}/_n={null}/p.csv"), "a\n3\n");
    let table = root.join("h/").display().to_string();
    let define = format!("create external table h stored as csv location '{table}'");
    run(&session, &define).expect("is defined");
    let types = rows(&session, "describe h");
    let expected = ["a,BIGINT", "d,DATE", "f,DOUBLE", "b,BOOLEAN", "t,VARCHAR", "_n,BIGINT"];
    for (found, expected) in types.iter().zip(expected) {
        assert!(found.starts_with(expected), "{types:?}");
    }
    assert_eq!(
        rows(&session, "select * from h order by a"),
        ["1,2020-01-01,1.0,true,x/y,7", "2,2020-02-01,2.5,false,__HIVE,-8", "3,,,,,",]
    );
    let some = "select a from h where d > date '2020-01-15' or b is null order by a";
    assert_eq!(rows(&session, some), ["2", "3"]);
    let error = refused(&session, "select count(*) from h where d + f > 1");
    assert!(!error.is_empty());
    let by = define.replace("location", "partitioned by (d) location").replace(" h ", " i ");
    assert!(refused(&session, &by).contains("the paths of the files tell"));
}

#[test]
fn what_a_set_does_not_find_is_named() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path();
    let session = session();
    write(root, "d/a.csv", "a\n1\n");
    write(root, "d/notes.txt", "some text\n");
    write(root, "e/.hidden.csv", "a\n1\n");
    let of = |name: &str| root.join(name).display().to_string();
    let error = refused(&session, &format!("select * from '{}'", of("d/*.parquet")));
    let place = format!("no file in the directory {} matches '{}'", of("d"), of("d/*.parquet"));
    assert!(error.contains(&place), "{error}");
    let error = refused(&session, &format!("select * from '{}'", of("x/*.csv")));
    assert!(error.contains(&format!("there is no directory {}", of("x"))), "{error}");
    let error = refused(&session, &format!("select * from '{}'", of("e/")));
    assert!(error.contains("no file") && error.contains(&of("e")), "{error}");
    let error = refused(&session, &format!("select * from '{}'", of("d/")));
    assert!(error.contains("notes.txt") && error.contains("different formats"), "{error}");
    let define = format!("create external table t stored as csv location '{}'", of("d"));
    run(&session, &define).expect("is defined");
    assert_eq!(rows(&session, "select * from t"), ["1"], "others are passed over");
    let one = format!("select * from '{}'", of("d/{a,b}.csv"));
    assert_eq!(rows(&session, &one), ["1"]);
    write(root, "d/b.csv", "a\nx\n");
    assert_eq!(rows(&session, &one), ["1", "x"], "a type for both");
    let declared = define.replace(" t ", " u (a bigint) ");
    run(&session, &declared).expect("is defined");
    let error = refused(&session, "select sum(a) from u");
    assert!(error.contains("b.csv") && error.contains("line 2"), "{error}");
}

#[test]
fn lengths_of_time_have_one_text_in_all_formats() {
    let directory = tempfile::tempdir().expect("directory");
    let session = session();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let lengths = "select timestamp '2024-01-01' - timestamp '2023-12-25 12:00' as apart,
        interval '1 day' as day, interval '1 month 36 hours' as several";
    for name in ["a.csv", "a.ndjson"] {
        run(&session, &format!("copy ({lengths}) to '{}'", path(name))).expect("is written");
        let text = fs::read_to_string(path(name)).expect("is there");
        for length in ["6 days 12:00:00", "1 day", "1 month 36:00:00"] {
            assert!(text.contains(length), "{length} in {text}");
        }
    }
}

#[test]
fn dates_in_milliseconds_are_dates() {
    let directory = tempfile::tempdir().expect("directory");
    let session = session();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let dates: ArrayRef = Arc::new(Date64Array::from(vec![Some(86_400_000 * 18_262), None]));
    let field = Arc::new(Field::new("d", dates.data_type().clone(), true));
    let nested: ArrayRef = Arc::new(StructArray::from(vec![(field, dates.clone())]));
    let batch = RecordBatch::try_from_iter([("d", dates), ("s", nested)]).expect("a batch");
    let file = fs::File::create(path("a.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).and_then(|()| writer.close()).expect("is written");
    let read = format!("select d::varchar, s.d::varchar from '{}'", path("a.parquet"));
    assert_eq!(rows(&session, &read), ["2020-01-01,2020-01-01", ","]);
    let found = format!("select count(*) from '{}' where d = date '2020-01-01'", path("a.parquet"));
    assert_eq!(rows(&session, &found), ["1"]);
    let copy = format!("copy '{}' to '{}'", path("a.parquet"), path("b.parquet"));
    run(&session, &copy).expect("is written");
    let file = fs::File::open(path("b.parquet")).expect("a file");
    let schema = ParquetRecordBatchReaderBuilder::try_new(file).expect("a reader").schema().clone();
    assert_eq!(*schema.field(0).data_type(), DataType::Date32);
}
