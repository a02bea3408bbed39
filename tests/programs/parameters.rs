//! Parameters of programs: values from outside, typed by where they stand.

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use gristmill::{Config, Parameters, Result, Session};

fn session() -> Session {
    Session::new(Config { threads: Some(2), ..Config::default() }).expect("opens")
}

fn rows(session: &Session, sql: &str, parameters: &Parameters) -> Result<String> {
    let batches: Result<Vec<RecordBatch>> = session.sql_with(sql, parameters)?.collect();
    let text = pretty_format_batches(&batches?).expect("prints").to_string();
    let lines = text.lines().skip(3).filter(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_string());
        cells.collect::<Vec<_>>().join(" ")
    };
    Ok(lines.map(cells).collect::<Vec<_>>().join("\n"))
}

fn refused(session: &Session, sql: &str, parameters: &Parameters) -> String {
    rows(session, sql, parameters).expect_err(sql).to_string()
}

#[test]
fn texts_are_what_their_place_wants() {
    let session = session();
    let text = |value: &str| Parameters::new().with("x", value);
    let cases = [
        ("select a from (values (1), (5)) t(a) where a = $x", "5", "5"),
        ("select a from (values (1), (5)) t(a) where a >= $x order by a", "1.5", "5"),
        ("select a from (values (1), (5)) t(a) where a in (7, $x)", "5", "5"),
        ("select a from (values (1), (5)) t(a) where a between $x and 9", "2", "5"),
        ("select a from (values (1), (5)) t(a) where a is distinct from $x", "5.0", "1"),
        ("with c as (select a + $x as b from (values (1)) t(a)) select b from c", "2", "3"),
        ("select cast(1.25 as decimal(5, 2)) * $x as p", "1.075", "1.34375"),
        ("select 1 + $x as n", "2", "3"),
        ("select $x as s", "007", "007"),
        ("select 'a' || $x as s", "007", "a007"),
        ("select s from (values ('5'), ('05')) t(s) where s = $x", "05", "05"),
        (
            "select d from (values (date '2024-02-29')) t(d) where d <= $x",
            "2024-03-01",
            "2024-02-29",
        ),
        ("select d + $x as d from (values (date '2024-02-28')) t(d)", "2", "2024-03-01"),
        ("select $x + d as d from (values (date '2024-02-28')) t(d)", "1 month", "2024-03-28"),
        (
            "select d - $x as d from (values (date '2024-02-28')) t(d)",
            "12:00:00",
            "2024-02-27T12:00:00",
        ),
        ("select d - $x as n from (values (date '2024-02-28')) t(d)", "2024-02-27", "1"),
        ("select d - $x as d from (values (date '2024-02-28')) t(d)", "27", "2024-02-01"),
        (
            "select t + $x as t from (values (timestamp '2024-02-28 00:00:00')) v(t)",
            "1 day 01:00",
            "2024-02-29T01:00:00",
        ),
        ("select b from (values (true), (false)) t(b) where b = $x", "true", "true"),
        ("select cast($x as int) + 1 as n", "41", "42"),
        ("select a from (values (1), (2), (3)) t(a) order by a limit $x", "2", "1\n2"),
        ("select a from (values (1), (2), (3)) t(a) order by a limit 5 offset $x", "2", "3"),
        ("select s from (values ('abc'), ('b')) t(s) where s like $x", "a%", "abc"),
        ("select count(*) from (values (1), (2)) t(a) group by a + $x having a + $x > 2", "1", "1"),
    ];
    for (sql, value, expected) in cases {
        assert_eq!(rows(&session, sql, &text(value)).expect(sql), expected, "{sql}");
    }
    let wrong = [
        (
            "select a from (values (1)) t(a) where a = $x",
            "five",
            "$x stands for a number, and 'five'",
        ),
        ("select d from (values (date '2024-02-29')) t(d) where d < $x", "soon", "Date32"),
        ("select 1 limit $x", "many", "a number of rows"),
    ];
    for (sql, value, expected) in wrong {
        let message = refused(&session, sql, &text(value));
        assert!(message.contains(expected), "{sql}: {message}");
    }
}

#[test]
fn values_with_types_are_constants() {
    let session = session();
    let parameters = Parameters::new()
        .with("1", 7)
        .with("2", i64::MIN)
        .with("3", true)
        .with("4", None::<&str>)
        .with("5", 0.5)
        .with("6", f64::NEG_INFINITY);
    let sql = "select ? + 1 as a, $2 as b, $3 as c, $4 is null as d, $5 * 2 as e, $6 < 0 as f";
    let found = rows(&session, sql, &parameters).expect("runs");
    assert_eq!(found, "8 -9223372036854775808 true true 1.0 true");
    let group = "select a + $1 as s, count(*) as n from (values (1), (1)) t(a) group by a + $1";
    assert_eq!(rows(&session, group, &parameters).expect("runs"), "8 2");
}

#[test]
fn a_parameter_without_value_has_a_place_and_a_neighbour() {
    let session = session();
    let parameters = Parameters::new().with("day", "2024-01-01");
    let message = refused(&session, "select 1,\n $dya", &parameters);
    assert!(message.contains("line 2, column 2") && message.contains("did you mean $day?"));
    let message = refused(&session, "select $other_name", &parameters);
    assert!(message.contains("--param other_name=VALUE"), "{message}");
}

#[test]
fn paths_views_and_files_take_parameters() {
    let directory = tempfile::tempdir().expect("directory");
    let session = session();
    let file = directory.path().join("out.csv").display().to_string();
    let parameters = Parameters::new().with("file", file).with("least", "2");
    let copy = "copy (select a from (values (1), (2), (3)) t(a) where a >= $least) to $file";
    assert_eq!(rows(&session, copy, &parameters).expect("writes"), "2");
    let read = "select sum(a) as s from $file where a > $least";
    assert_eq!(rows(&session, read, &parameters).expect("reads"), "3");
    let view = "create view v as select a from (values (1), (2), (3)) t(a) where a >= $least";
    rows(&session, view, &parameters).expect("makes");
    let found = rows(&session, "select count(*) as n from v", &Parameters::new()).expect("reads");
    assert_eq!(found, "2", "a view keeps the values it was made with");
    rows(&session, "create table t (d date, n int)", &parameters).expect("makes");
    let parameters = parameters.with("1", "2024-05-06").with("2", "8");
    rows(&session, "insert into t values ($1, $2)", &parameters).expect("fills");
    assert_eq!(rows(&session, "select * from t", &parameters).expect("reads"), "2024-05-06 8");
    rows(&session, "set threads = $2", &parameters).expect("sets");
    assert_eq!(rows(&session, "show threads", &parameters).expect("shows"), "8");
}
