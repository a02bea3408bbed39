//! EXPLAIN ANALYZE: what is measured is true, whatever the threads.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use arrow::array::AsArray;
use gristmill::{Cancel, Config, Parameters, Session};
use serde_json::Value;

fn session(threads: usize, memory_limit: Option<usize>) -> Session {
    Session::new(Config { threads: Some(threads), memory_limit, ..Config::default() })
        .expect("opens")
}

fn flights() -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/flights.parquet");
    data.display().to_string()
}

/// The plan of a statement that is run, with what was measured.
fn analyzed(session: &Session, sql: &str) -> Value {
    let statement = session.script(sql).expect(sql).remove(0);
    let text = session.analyze(&statement, &Parameters::new(), true, Cancel::new());
    serde_json::from_str(&text.expect(sql)).expect("JSON")
}

/// Operators and the rows that each gave. Those that apply the key filters of joins are left out:
/// they do so where it pays, which depends on the time.
fn rows(plan: &Value) -> Vec<(String, u64)> {
    let nodes = plan["nodes"].as_array().expect("nodes").iter();
    let nodes = nodes
        .filter(|node| node["operator"] != "key_filter" && node["fields"]["key_filters"].is_null());
    let row = |node: &Value| {
        let name = node["operator"].as_str().expect("a name").to_string();
        (name, node["measured"]["rows"].as_u64().expect("rows"))
    };
    nodes.map(row).collect()
}

/// A figure of the first such operator.
fn figure(plan: &Value, operator: &str, name: &str) -> u64 {
    let nodes = plan["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|node| node["operator"] == operator);
    node.unwrap_or_else(|| panic!("no {operator} in {plan}"))["measured"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {plan}"))
}

/// The integer that a query gives.
fn integer(session: &Session, sql: &str) -> u64 {
    let batches: Vec<_> = session.sql(sql).expect(sql).map(|b| b.expect(sql)).collect();
    let column = batches[0].column(0).as_primitive::<arrow::datatypes::Int64Type>();
    column.value(0) as u64
}

#[test]
fn rows_are_those_that_come_out_whatever_the_threads() {
    let flights = flights();
    let queries = [
        format!("select origin, count(*) n from '{flights}' where month < 3 group by origin"),
        format!("select carrier, flight from '{flights}' where distance > 2000 order by 1, 2"),
        format!(
            "select a.carrier, count(*) from '{flights}' a join (select distinct carrier c from \
             '{flights}' where month = 7) b on a.carrier = b.c where a.dep_delay > 60 group by 1"
        ),
        format!(
            "with d as (select carrier, avg(dep_delay) a from '{flights}' group by carrier) \
             select x.carrier, y.a from d x join d y on x.a < y.a"
        ),
        format!(
            "select flight from '{flights}' where month = 1 union all select distinct flight from \
             '{flights}' where month = 2 order by 1 limit 17"
        ),
        format!("select sum(distance) over (partition by carrier) s from '{flights}'"),
        format!(
            "select count(*) from '{flights}' where carrier not in (select carrier from \
             '{flights}' where month = 3 and distance > 4000)"
        ),
        format!("select * from '{flights}' where month > 12"),
    ];
    let sessions = [1, 2, 4].map(|threads| session(threads, None));
    for query in queries {
        let [one, two, four] = [0, 1, 2].map(|at| rows(&analyzed(&sessions[at], &query)));
        assert_eq!(one, two, "{query}");
        assert_eq!(one, four, "{query}");
        let result = integer(&sessions[0], &format!("select count(*) from ({query}) q"));
        assert_eq!(one.last().expect("a root").1, result, "{query}");
    }
}

#[test]
fn scans_and_groups_are_counted() {
    let (session, flights) = (session(2, None), flights());
    let plan = analyzed(
        &session,
        &format!("select origin, count(*) n from '{flights}' where month < 3 group by origin"),
    );
    let kept = integer(&session, &format!("select count(*) from '{flights}' where month < 3"));
    assert_eq!(figure(&plan, "parquet_scan", "rows"), kept);
    assert_eq!(figure(&plan, "hash_aggregate", "rows"), 3);
    let read = figure(&plan, "parquet_scan", "read_bytes");
    let size = fs::metadata(&flights).expect("is there").len();
    assert!(read > 0 && read < size, "two of many columns");
    assert_eq!(plan["measured"]["read_bytes"].as_u64(), Some(read));
    assert!(figure(&plan, "parquet_scan", "row_groups") > 0);
    assert!(figure(&plan, "hash_aggregate", "peak_reserved_bytes") > 0);
    assert_eq!(plan["measured"]["threads"], 2);
    let busy = |node: &Value| node["measured"]["busy_ns"].as_u64().expect("a time");
    let nodes = plan["nodes"].as_array().expect("nodes");
    let sum: u64 = nodes.iter().map(busy).sum();
    assert_eq!(plan["measured"]["busy_ns"].as_u64(), Some(sum));
    let elapsed = plan["measured"]["elapsed_ns"].as_u64().expect("a time");
    assert!(sum > 0 && sum <= 2 * elapsed, "{sum} ns on two threads in {elapsed} ns");
}

#[test]
fn row_groups_that_are_left_out_are_counted() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("ordered.parquet").display().to_string();
    let session = session(2, None);
    let lines: String = (0..100_000).map(|n| format!("{n}\n")).collect();
    let input = directory.path().join("in.csv").display().to_string();
    fs::write(&input, format!("n\n{lines}")).expect("writes");
    let copy = format!("copy (select n from '{input}') to '{path}' (row_group_size 10000)");
    let written = analyzed(&session, &copy);
    assert_eq!(figure(&written, "write_parquet", "rows"), 1, "the count");
    let plan = analyzed(&session, &format!("select n from '{path}' where n >= 95000"));
    let figure = |name| figure(&plan, "parquet_scan", name);
    assert_eq!(figure("rows"), 5000);
    assert!(figure("row_groups") >= 2, "{plan}");
    assert_eq!(figure("row_groups_skipped"), figure("row_groups") - 1, "{plan}");
    assert!(figure("rows_skipped") >= 80_000, "{plan}");
}

#[test]
fn what_is_spilled_counts_for_who_spills_it() {
    const BUDGET: usize = 20 << 20;
    let directory = tempfile::tempdir().expect("directory");
    let mut text = "n,t\n".to_string();
    for n in 0..400_000u32 {
        let t = n.wrapping_mul(0x9e37_79b9);
        writeln!(text, "{n},a text that is different in each line {t}").expect("a string");
    }
    let input = directory.path().join("in.csv").display().to_string();
    fs::write(&input, &text).expect("writes");
    for threads in [1, 2] {
        let session = session(threads, Some(BUDGET));
        let plan = analyzed(&session, &format!("select t, n from '{input}' order by t"));
        let spilled = figure(&plan, "sort", "spilled_bytes");
        assert!(spilled > 8 << 20, "{spilled}");
        assert_eq!(plan["measured"]["spilled_bytes"].as_u64(), Some(spilled));
        assert_eq!(session.engine().memory().spill().usage().written, spilled);
        let peak = figure(&plan, "sort", "peak_reserved_bytes");
        assert!(peak > 1 << 20 && peak <= BUDGET as u64, "{peak}");
        let whole = plan["measured"]["peak_reserved_bytes"].as_u64().expect("a peak");
        assert!(whole >= peak && whole <= BUDGET as u64, "{whole}");
        let (read, size) = (figure(&plan, "csv_scan", "read_bytes"), text.len() as u64);
        assert!((size..size * 21 / 20).contains(&read), "a little more, where ranges meet");
    }
}

#[test]
fn statements_that_change_something_do_so() {
    let directory = tempfile::tempdir().expect("directory");
    let out = |name: &str| directory.path().join(name).display().to_string();
    let session = session(2, None);
    let plan = analyzed(&session, "create table t as select * from (values (1), (2), (3)) v(a)");
    assert_eq!(rows(&plan).first(), Some(&("values".to_string(), 3)));
    analyzed(&session, "insert into t select a + 3 from t");
    assert_eq!(integer(&session, "select count(*) from t"), 6);
    let made = analyzed(&session, "create view v as select max(a) m from t");
    assert_eq!(made["no_plan"], "makes the view v");
    assert_eq!(integer(&session, "select m from v"), 6);
    let set = format!(
        "execute statement set begin copy t to '{}'; copy (select a from t where a < 3) to '{}'; \
         end",
        out("a.csv"),
        out("b.csv")
    );
    let plan = analyzed(&session, &set);
    assert_eq!(rows(&plan).last(), Some(&("union".to_string(), 2)));
    assert_eq!(fs::read_to_string(out("b.csv")).expect("was written"), "a\n1\n2\n");
    // In the program: the plan is the result.
    let lines = |sql: &str| -> Vec<String> {
        let batches: Vec<_> = session.sql(sql).expect(sql).map(|b| b.expect(sql)).collect();
        let text = |batch: &arrow::array::RecordBatch| -> Vec<String> {
            batch.column(0).as_string_view().iter().flatten().map(str::to_string).collect()
        };
        batches.iter().flat_map(text).collect()
    };
    let plan = lines("explain analyze insert into t values (7), (8)");
    assert!(plan[0].starts_with("write_table"), "{plan:?}");
    assert!(plan.iter().any(|line| line.contains("measured: 2 rows, 1 chunk")), "{plan:?}");
    assert!(plan.iter().any(|line| line.starts_with("measured: ")), "{plan:?}");
    assert_eq!(integer(&session, "select count(*) from t"), 8);
    lines("explain insert into t values (7), (8)");
    assert_eq!(integer(&session, "select count(*) from t"), 8);
    let json = lines("explain (analyze, format json) select a from t where a > 7").join("\n");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(rows(&json).last().expect("a root").1, 1);
}

#[test]
fn errors_are_those_of_the_statement() {
    let session = session(2, None);
    let statement = session.script("select 1 / (a - 1) from (values (1)) t(a)").expect("parses");
    let error = session.analyze(&statement[0], &Parameters::new(), false, Cancel::new());
    assert!(error.expect_err("fails").to_string().contains("division by zero"));
    let statement = session.script("select count(*) from (values (1)) t(a)").expect("parses");
    let cancel = Cancel::new();
    cancel.interrupt();
    let error = session.analyze(&statement[0], &Parameters::new(), false, cancel);
    assert!(matches!(error, Err(gristmill::Error::Cancelled { .. })));
}
