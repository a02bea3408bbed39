//! Files of all formats, and sets of files, as tables.

use std::fs;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use gristmill::{Config, Error, Result, Session};

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
        let source = format!("select carrier, flight, ratio from ({query}) t limit 20");
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
    let error = refused(&session, &format!("copy '{}' to '{}'", path("a.ndjson"), path("b.csv")));
    assert!(error.contains("`a` of type") && error.contains("CSV"), "{error}");
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
    // The sample has seen it, so the column is JSON text.
    let counted =
        rows(&session, &format!("select count(*) from '{path}' where number = '\"many\"'"));
    assert_eq!(counted, ["1"]);
    let text = text.replace("\"many\"", "7");
    let middle = text.match_indices('\n').find(|(at, _)| *at > 2_200_000).expect("a line").0 + 1;
    let line = line.max(text[..middle].matches('\n').count()) + 1;
    let text = format!("{}{{\"number\":\"none\"}}\n{}", &text[..middle], &text[middle..]);
    write(directory.path(), "b.ndjson", &text);
    let path = directory.path().join("b.ndjson").display().to_string();
    let error = refused(&session, &format!("select sum(number) from '{path}'"));
    let expected = format!("b.ndjson: line {line}, column 11: `\"none\"` is no Int64");
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
    let table = root.join("c").display().to_string();
    let found = rows(&session, &format!("select a, b, c from '{table}/*.csv'"));
    assert_eq!(found, ["1.0,x,", "2.0,y,", "3.0,z,", "4.5,,2020-01-01"]);
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
    assert!(error.contains("column `b` is Int64 in") && error.contains("2.parquet"), "{error}");
    let error = refused(&session, &format!("select * from '{}'", path("p/*.csv")));
    assert!(error.contains("no file matches"), "{error}");
    write(root, "p/3.csv", "a\n1\n");
    let error = refused(&session, &format!("select * from '{}'", path("p/")));
    assert!(error.contains("are of different formats"), "{error}");
    write(root, "h/k=1/1.csv", "a\n1\n");
    write(root, "h/2.csv", "a\n1\n");
    let error = refused(&session, &format!("select * from '{}'", path("h/**/*.csv")));
    assert!(error.contains("the partitions k"), "{error}");
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
    let wrong = copy.replace("origin)", "orign)").replace("out'", "other'");
    assert!(refused(&session, &wrong).contains("did you mean origin?"));
}
