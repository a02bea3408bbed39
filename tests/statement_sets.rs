//! Statement sets: several COPYs in one plan give what they give one after the other.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use gristmill::{Config, Result, Session};

const ROWS: usize = 60_000;

fn session(memory_limit: Option<usize>) -> Session {
    Session::new(Config { threads: Some(3), memory_limit, ..Config::default() }).expect("opens")
}

/// A CSV file with numbers, texts, NULLs and quotes.
fn input(directory: &Path) -> String {
    let mut text = "n,k,t,x\n".to_string();
    for n in 0..ROWS {
        let k = (n * 7919) % 101;
        let t = if n % 11 == 0 { String::new() } else { format!("\"text, {}\"", n % 997) };
        let x = if n % 13 == 0 { String::new() } else { format!("{}.25", n % 17) };
        writeln!(text, "{n},{k},{t},{x}").expect("a string");
    }
    let path = directory.join("in.csv");
    fs::write(&path, text).expect("writes");
    path.display().to_string()
}

/// COPYs of queries over the file, to files of a folder.
fn copies(input: &str, folder: &Path) -> Vec<String> {
    let queries = [
        format!("select t, n + 1 as m from '{input}' where k < 20 and x > 3"),
        format!("select k, count(*) as c, sum(x) as s, max(t) as t from '{input}' group by k"),
        format!("select * from '{input}' order by x desc, n limit 100"),
        format!("select count(*) as c from '{input}'"),
        format!(
            "select count(*) as c from '{input}' a join '{input}' b on a.n = b.k where b.k < 9"
        ),
        "select 1 as one".to_string(),
    ];
    fs::create_dir_all(folder).expect("makes");
    let copy = |(at, query): (usize, &String)| {
        format!("copy ({query}) to '{}'", folder.join(format!("{at}.csv")).display())
    };
    queries.iter().enumerate().map(copy).collect()
}

fn set_of(copies: &[String]) -> String {
    format!("execute statement set begin {}; end", copies.join(";\n"))
}

fn run(session: &Session, sql: &str) -> Result<Vec<i64>> {
    let mut counts = Vec::new();
    for batch in session.sql(sql)? {
        let batch = batch?;
        let column = batch.column(0).as_any().downcast_ref::<arrow::array::Int64Array>();
        counts.extend(column.expect("counts").values());
    }
    Ok(counts)
}

fn sorted(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("was written");
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    lines[1..].sort();
    lines
}

#[test]
fn a_set_writes_what_its_statements_write_one_by_one() {
    let directory = tempfile::tempdir().expect("directory");
    let input = input(directory.path());
    let (apart, together) = (directory.path().join("apart"), directory.path().join("together"));
    // All but the join take the rows as they come; with it, they are kept and read again.
    for (limit, count) in [(None, 6), (Some(24 << 20), 6), (None, 4), (Some(24 << 20), 4)] {
        let session = session(limit);
        let expected: Vec<i64> = copies(&input, &apart)[..count]
            .iter()
            .map(|copy| run(&session, copy).expect("runs")[0])
            .collect();
        let counts = run(&session, &set_of(&copies(&input, &together)[..count])).expect("runs");
        assert_eq!(counts, expected, "a count for each, in the order of the program");
        for at in 0..expected.len() {
            let name = format!("{at}.csv");
            let (apart, together) = (apart.join(&name), together.join(&name));
            // Groups come in any order; other rows in that of the file or of ORDER BY.
            if at == 1 {
                assert_eq!(sorted(&apart), sorted(&together));
            } else {
                let text = |path: &Path| fs::read_to_string(path).expect("was written");
                assert_eq!(text(&apart), text(&together), "{name}");
            }
        }
        fs::remove_dir_all(&together).expect("removes");
    }
}

#[test]
fn a_file_is_scanned_once() {
    let directory = tempfile::tempdir().expect("directory");
    let input = input(directory.path());
    let session = session(None);
    let statement = session.script(&set_of(&copies(&input, directory.path()))).expect("parses");
    let plan = session.explain(&statement[0]).expect("plans");
    // The common scan is printed once, and named where it is read again.
    assert!(plan.contains("share_scans"), "{plan}");
    assert_eq!(plan.matches("csv_scan").count(), 1, "{plan}");
    let one = session.script(&copies(&input, directory.path())[4]).expect("parses");
    let plan = session.explain(&one[0]).expect("plans");
    assert!(!plan.contains("share_scans"), "{plan}");
}

#[test]
fn what_a_set_cannot_do_is_refused_with_its_place() {
    let directory = tempfile::tempdir().expect("directory");
    let input = input(directory.path());
    let out = |name: &str| directory.path().join(name).display().to_string();
    let session = session(None);
    let (a, b) = (out("a.csv"), out("b.csv"));
    let refused = [
        (format!("copy (select 1) to '{a}';\nselect 1"), "line 2, column 1: not supported: SELECT"),
        (
            format!("copy (select 1) to '{a}';\ncopy (select 2) to '{a}'"),
            "line 2, column 1: another",
        ),
        (
            format!("copy (select 1) to '{input}';\ncopy (select n from '{input}') to '{b}'"),
            "line 2",
        ),
        (
            format!("copy (select 1) to '{a}';\ncopy (select z from '{input}') to '{b}'"),
            "column 14",
        ),
        ("drop table t".to_string(), "DROP TABLE in a statement set"),
    ];
    for (statements, expected) in refused {
        let sql = format!("execute statement set begin {statements}; end");
        let error = run(&session, &sql).expect_err("is refused").to_string();
        assert!(error.contains(expected), "{sql}\n{error}");
    }
    assert_eq!(fs::read_dir(directory.path()).expect("lists").count(), 1, "nothing was written");
}

#[test]
fn a_statement_that_fails_leaves_no_part_of_its_file() {
    let directory = tempfile::tempdir().expect("directory");
    let input = input(directory.path());
    let session = session(None);
    let out = |name: &str| directory.path().join(name).display().to_string();
    let sql = format!(
        "execute statement set begin copy (select n from '{input}') to '{}'; \
         copy (select 1 / (n - {}) as q from '{input}') to '{}'; end",
        out("good.csv"),
        ROWS - 1,
        out("bad.csv")
    );
    let error = run(&session, &sql).expect_err("divides by zero").to_string();
    assert!(error.contains("division by zero"), "{error}");
    assert!(!directory.path().join("bad.csv").exists());
    for entry in fs::read_dir(directory.path()).expect("lists") {
        let name = entry.expect("an entry").file_name();
        assert!(name == "in.csv" || name == "good.csv", "{name:?} is left over");
    }
}
