//! COPY end to end: files written by a statement and read back by others.

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

fn refused(session: &Session, sql: &str) -> String {
    let error = run(session, sql).expect_err("is refused");
    assert!(matches!(error, Error::Input { .. }), "{error}");
    error.to_string()
}

fn flights() -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/flights.parquet");
    data.display().to_string()
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).expect("lists").count()
}

#[test]
fn what_is_written_is_read_back() {
    let directory = tempfile::tempdir().expect("directory");
    let session = session();
    let query = format!(
        "select *, cast(dep_delay as decimal(7, 2)) as narrow,
            cast(distance as decimal(15, 2)) as middle,
            cast(air_time as decimal(38, 3)) as wide, cast(time_hour as date) as day_of,
            cast(arr_delay as double) / 7 as ratio, dep_delay > 0 as late,
            cast(distance as bigint) * 1000000007 as large
         from '{}' where month < 3 order by time_hour, carrier, flight",
        flights()
    );
    let expected = run(&session, &query).expect("reads");
    let forms = [
        ("a.parquet", ""),
        ("b.parquet", "STORED AS PARQUET OPTIONS (compression zstd)"),
        ("c.out.parquet", "(FORMAT parquet, COMPRESSION 'none', ROW_GROUP_SIZE 5000)"),
        ("d.parquet", "WITH (row_group_size_bytes 65536)"),
        ("e.csv", "(FORMAT csv)"),
    ];
    for (name, options) in forms {
        let path = directory.path().join(name).display().to_string();
        let copied = run(&session, &format!("copy ({query}) to '{path}' {options}"));
        let rows = run(&session, &format!("select count(*) as count from ({query})"));
        assert_eq!(copied.expect("copies"), rows.expect("counts"), "{name}");
        if name.ends_with("parquet") {
            let found = run(&session, &format!("select * from '{path}'")).expect("reads");
            assert!(found == expected, "{name} {options}");
        }
    }
    assert_eq!(entries(directory.path()), forms.len(), "nothing temporary is left");
}

#[test]
fn nested_values_are_texts_in_csv() {
    let directory = tempfile::tempdir().expect("directory");
    let session = session();
    let path = directory.path().join("nested.csv").display().to_string();
    let rows = "(values (2, [1, null]), (1, [3])) t(n, l) order by n";
    run(&session, &format!("copy (select n, l, {{'a': n}} as s from {rows}) to '{path}'"))
        .expect("copies");
    let text = std::fs::read_to_string(&path).expect("reads");
    assert_eq!(text, "n,l,s\n1,[3],{'a': 1}\n2,\"[1, NULL]\",{'a': 2}\n");
}

#[test]
fn options_are_checked_by_name_and_value() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("x.parquet").display().to_string();
    let session = session();
    let cases = [
        ("(COMPRESION snappy)", "did you mean compression?"),
        ("(partition a)", "there are compression, row_group_size, row_group_size_bytes"),
        ("(COMPRESSION rar)", "none, snappy, zstd, lz4, gzip, brotli"),
        ("(ROW_GROUP_SIZE 0)", "a number above 0"),
        ("(FORMAT avro)", "there is no format avro"),
        ("STORED AS PARQUET OPTIONS (format csv)", "two formats"),
    ];
    for (options, expected) in cases {
        let message = refused(&session, &format!("copy (select 1 as a) to '{path}' {options}"));
        assert!(message.contains(expected), "{options}: {message}");
    }
    assert_eq!(entries(directory.path()), 0);
}

/// As DuckDB and PostgreSQL write them.
#[test]
fn options_stand_without_values_and_name_partitions() {
    let directory = tempfile::tempdir().expect("directory");
    let session = session();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let copy = |to: &str, options: &str| {
        run(&session, &format!("copy (select 7 as yr, 8 as \"B b\") to '{}' {options}", path(to)))
            .expect("writes");
    };
    let text = |name: &str| std::fs::read_to_string(path(name)).expect("reads");
    copy("1.csv", "(header, delimiter '|')");
    copy("2.csv", "with (delimiter ';', header)");
    assert_eq!((text("1.csv"), text("2.csv")), ("yr|B b\n7|8\n".into(), "yr;B b\n7;8\n".into()));
    copy("d", "(format csv, partition_by (YR))");
    copy("d", "(format csv, overwrite_or_ignore, partition_by yr)");
    copy("e", "(partition_by (\"yr\"), format csv, header)");
    copy("f", "stored as csv partitioned by (\"yr\")");
    for name in ["d", "e", "f"] {
        assert_eq!(text(&format!("{name}/yr=7/data_0.csv")), "B b\n8\n", "{name}");
    }
}

#[test]
fn a_failed_statement_leaves_the_target_as_it_was() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("x.parquet");
    let session = session();
    let sql = |query: &str| format!("copy ({query}) to '{}'", path.display());
    run(&session, &sql("select 1 as a union all select 2")).expect("writes");
    let before = std::fs::read(&path).expect("reads");

    let itself = refused(&session, &sql(&format!("select * from '{}'", path.display())));
    assert!(itself.contains("is read by the statement"), "{itself}");
    let divides = format!("select 1 / (dep_delay - dep_delay) as x from '{}'", flights());
    refused(&session, &sql(&divides));
    assert!(std::fs::read(&path).expect("reads") == before);
    assert_eq!(entries(directory.path()), 1);

    run(&session, &sql("select a from (values (1)) t(a) where a > 1")).expect("writes no rows");
    let empty = session.sql(&format!("select * from '{}'", path.display())).expect("reads");
    assert_eq!(empty.schema().field(0).name(), "a");
    assert_eq!(empty.count(), 0);
}
