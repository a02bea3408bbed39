//! Statement sets: several COPYs in one plan give what they give one after the other.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use gristmill::{Config, Result, Session};

const ROWS: usize = 60_000;

fn session(threads: usize, memory_limit: Option<usize>) -> Session {
    Session::new(Config { threads: Some(threads), memory_limit, ..Config::default() })
        .expect("opens")
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

/// What the rows of a query come in the order of.
#[derive(Clone, Copy, PartialEq)]
enum InOrder {
    Kept,
    Any,
}

/// Queries over the file. All but the last pass its rows on as they come, and stop early, keep few
/// or many of them; with that one, the rows are kept and read again.
fn queries(input: &str) -> Vec<(String, &'static str, InOrder)> {
    use InOrder::{Any, Kept};
    vec![
        (format!("select t, n + 1 as m from '{input}' where k < 20 and x > 3"), "csv", Kept),
        (
            format!("select k, count(*) as c, sum(x) as s, max(t) as t from '{input}' group by k"),
            "csv",
            Any,
        ),
        (format!("select n from '{input}' limit 7"), "csv", Kept),
        (format!("select n, t from '{input}' where n % 3000 = 17"), "parquet", Kept),
        (format!("select n, k from '{input}' where k < 20 limit 5000"), "parquet", Kept),
        (format!("select x, n from '{input}' where n > 59990 limit 1000"), "csv", Kept),
        (format!("select * from '{input}' where k < 20"), "parquet", Kept),
        (format!("select * from '{input}' order by x desc, n limit 100"), "csv", Kept),
        (format!("select count(*) as c from '{input}'"), "csv", Kept),
        ("select 1 as one".to_string(), "csv", Kept),
        (
            format!("select count(*) as c from '{input}' a join '{input}' b on a.n = b.k"),
            "csv",
            Kept,
        ),
    ]
}

/// COPYs of the queries, to files of a folder.
fn copies(input: &str, folder: &Path) -> Vec<String> {
    fs::create_dir_all(folder).expect("makes");
    let queries = queries(input);
    let copy = |(at, (query, ending, _)): (usize, &(String, &str, InOrder))| {
        format!("copy ({query}) to '{}'", folder.join(format!("{at}.{ending}")).display())
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

/// The lines of a file that a query was copied to.
fn lines(session: &Session, path: &Path, order: InOrder) -> Vec<String> {
    let mut text = path.to_path_buf();
    if path.extension().is_some_and(|ending| ending == "parquet") {
        text.set_extension("again.csv");
        let (from, to) = (path.display(), text.display());
        run(session, &format!("copy (select * from '{from}') to '{to}'")).expect("reads");
    }
    let text = fs::read_to_string(text).expect("was written");
    let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
    if order == InOrder::Any {
        lines[1..].sort();
    }
    lines
}

#[test]
fn a_set_writes_what_its_statements_write_one_by_one() {
    let directory = tempfile::tempdir().expect("directory");
    let input = input(directory.path());
    let queries = queries(&input);
    let (apart, together) = (directory.path().join("apart"), directory.path().join("together"));
    let expected: Vec<(i64, Vec<String>)> = {
        let session = session(2, None);
        let copies = copies(&input, &apart).into_iter().zip(&queries).enumerate();
        let written = copies.map(|(at, (copy, (_, ending, order)))| {
            let count = run(&session, &copy).expect("runs")[0];
            (count, lines(&session, &apart.join(format!("{at}.{ending}")), *order))
        });
        written.collect()
    };
    let limit = Some(24 << 20);
    for (threads, limit) in [(1, None), (2, None), (4, None), (2, limit), (4, limit)] {
        let session = session(threads, limit);
        for count in [queries.len(), queries.len() - 1] {
            let set = set_of(&copies(&input, &together)[..count]);
            let counts = run(&session, &set).expect("runs");
            let wanted: Vec<i64> = expected[..count].iter().map(|(count, _)| *count).collect();
            assert_eq!(counts, wanted, "a count for each, in the order of the program");
            for (at, (_, ending, order)) in queries[..count].iter().enumerate() {
                let found = lines(&session, &together.join(format!("{at}.{ending}")), *order);
                assert!(found == expected[at].1, "{threads} threads, statement {at}");
            }
            fs::remove_dir_all(&together).expect("removes");
        }
    }
}

/// Whatever the order of the statements, none waits for another.
#[test]
fn branches_that_wait_for_their_turn_do_not_wait_for_each_other() {
    let directory = tempfile::tempdir().expect("directory");
    let input = input(directory.path());
    let session = session(4, None);
    let mut copies = copies(&input, &directory.path().join("out"));
    copies.truncate(8);
    for _ in 0..copies.len() {
        copies.rotate_left(1);
        run(&session, &set_of(&copies)).expect("runs");
        let turned: Vec<String> = copies.iter().rev().cloned().collect();
        run(&session, &set_of(&turned)).expect("runs");
    }
}

#[test]
fn branches_that_stop_early_leave_the_others_alone() {
    let directory = tempfile::tempdir().expect("directory");
    let input = input(directory.path());
    let out = |name: &str| directory.path().join(name).display().to_string();
    let set = |limits: [u64; 2]| {
        let [a, b] = limits;
        format!(
            "execute statement set begin copy (select n from '{input}' limit {a}) to '{}'; \
             copy (select t from '{input}' limit {b}) to '{}'; end",
            out("a.csv"),
            out("b.parquet")
        )
    };
    for threads in [1, 2, 4] {
        let session = session(threads, None);
        for limits in [[0, 0], [1, 40_000], [40_000, 1], [u64::MAX / 4, 3]] {
            let rows = limits.map(|limit| limit.min(ROWS as u64) as i64);
            assert_eq!(run(&session, &set(limits)).expect("runs"), rows);
        }
    }
}

/// A file that is larger than the budget.
#[test]
fn a_set_stays_in_its_budget() {
    const LINES: usize = 700_000;
    const BUDGET: usize = 24 << 20;
    let directory = tempfile::tempdir().expect("directory");
    let mut text = "n,k,t\n".to_string();
    for n in 0..LINES {
        let k = n.wrapping_mul(0x9e37_79b9) % 1_000_003;
        writeln!(text, "{n},{k},some text for the line with the number {n}").expect("a string");
    }
    let input = directory.path().join("large.csv").display().to_string();
    fs::write(&input, &text).expect("writes");
    assert!(text.len() > 3 * BUDGET / 2);
    let out = |name: &str| directory.path().join(name).display().to_string();
    let copies = [
        format!("copy (select * from '{input}' order by k, n) to '{}'", out("sorted.parquet")),
        format!(
            "copy (select k, count(*) c, min(t) t from '{input}' group by k) to '{}'",
            out("g.csv")
        ),
        format!("copy (select t from '{input}' where k % 2 = 0) to '{}'", out("even.csv")),
        format!("copy (select * from '{input}' limit 3) to '{}'", out("few.csv")),
    ];
    for threads in [1, 2, 4] {
        let session = session(threads, Some(BUDGET));
        let counts = run(&session, &set_of(&copies)).expect("runs");
        let usage = session.engine().memory().usage();
        assert!(usage.peak_reserved <= BUDGET, "{usage:?}");
        assert!(session.engine().memory().spill().usage().peak > 0, "it had to spill");
        let sums = format!(
            "select count(*) from '{}' union all select count(distinct k) from '{input}' \
             union all select count(*) from '{input}' where k % 2 = 0 \
             union all select count(*) from '{}'",
            out("sorted.parquet"),
            out("few.csv")
        );
        assert_eq!(counts, run(&session, &sums).expect("runs"));
    }
}

#[test]
fn a_file_is_scanned_once() {
    let directory = tempfile::tempdir().expect("directory");
    let input = input(directory.path());
    let session = session(3, None);
    let statement = session.script(&set_of(&copies(&input, directory.path()))).expect("parses");
    let plan = session.explain(&statement[0]).expect("plans");
    // The common scan is printed once, and named where it is read again.
    assert!(plan.contains("share_scans"), "{plan}");
    let scans = plan.lines().filter(|line| line.contains("csv_scan"));
    assert_eq!(scans.filter(|line| !line.ends_with(", as above")).count(), 1, "{plan}");
    let one = session.script(&copies(&input, directory.path())[10]).expect("parses");
    let plan = session.explain(&one[0]).expect("plans");
    assert!(!plan.contains("share_scans"), "{plan}");
    // So it is for the columns of a summary.
    let summary = session.script(&format!("summarize '{input}'")).expect("parses");
    let plan = session.explain(&summary[0]).expect("plans");
    let scans = plan.lines().filter(|line| line.contains("csv_scan"));
    assert_eq!(scans.filter(|line| !line.ends_with(", as above")).count(), 1, "{plan}");
}

#[test]
fn what_a_set_cannot_do_is_refused_with_its_place() {
    let directory = tempfile::tempdir().expect("directory");
    let input = input(directory.path());
    let out = |name: &str| directory.path().join(name).display().to_string();
    let session = session(3, None);
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
        (
            format!("copy (select 1) to '{a}';\ncopy (select n from '{input}') to '{input}'"),
            "line 2, column 1: ",
        ),
        ("drop table t".to_string(), "column 29: not supported: DROP TABLE in a statement set"),
        (format!("explain copy (select 1) to '{a}'"), "EXPLAIN COPY in a statement set"),
        (String::new(), "line 1, column 1: a statement set without statements"),
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
    let session = session(3, None);
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
