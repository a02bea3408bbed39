//! Frames beside the SQL that they stand for, on random rows.

use std::fs;

use arrow::array::RecordBatch;
use gristmill::{
    BatchSource, Batches, Config, CsvOptions, DataFrame, JoinKind, JsonOptions, Parameters, Result,
    Session, WriteOptions, call, col, count_rows, lit, sql_expr,
};

use super::data::{register, rows, session, small_session, text};

fn tables(session: &Session, seed: u64) {
    register(session, "t", seed, 3_000, 40);
    register(session, "u", seed + 1, 500, 40);
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    text(batches).lines().map(str::to_string).collect()
}

/// Compares a frame with a query: names of columns, and rows; in any order unless told otherwise.
fn assert_same(frame: &DataFrame<'_>, session: &Session, query: &str, ordered: bool) {
    let given = frame.collect().unwrap_or_else(|error| panic!("{query}\n{error}"));
    let expected = session.collect(query).unwrap_or_else(|error| panic!("{query}\n{error}"));
    let names = |batches: &[RecordBatch]| -> Vec<String> {
        let schema = batches.first().map(RecordBatch::schema);
        let schema = schema.iter().flat_map(|s| s.fields().iter().map(|f| f.name().clone()));
        schema.collect()
    };
    assert_eq!(names(&given), names(&expected), "{query}");
    let (mut given, mut expected) = (lines(&given), lines(&expected));
    if !ordered {
        given.sort_unstable();
        expected.sort_unstable();
    }
    assert_eq!(given, expected, "{query}\n{}", frame.explain().expect("has a plan"));
    assert_eq!(frame.schema().expect("has a schema").fields().len(), names_of(frame).len());
}

fn names_of(frame: &DataFrame<'_>) -> Vec<String> {
    let schema = frame.schema().expect("has a schema");
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn steps_mean_what_their_sql_means() {
    let session = session(3);
    for seed in [20, 30] {
        tables(&session, seed);
        let t = session.table("t");
        let same = |frame: &DataFrame<'_>, query| assert_same(frame, &session, query, false);
        same(&t, "select * from t");
        same(&t.select("k, n + 1 as m, s || 'x'"), "select k, n + 1 as m, s || 'x' from t");
        same(&t.select(["*", "n * 2 as d"]), "select *, n * 2 as d from t");
        same(
            &t.filter("t.n > 500 and s is distinct from 's3' or k in (select k from u)"),
            "select * from t where n > 500 and s is distinct from 's3' or k in (select k from u)",
        );
        let condition = col("n").gt(500).or(col("s").eq(lit("s1")).and(!col("x").lt(10)));
        same(&t.filter(condition), "select * from t where n > 500 or s = 's1' and not x < 10");
        same(&t.with_column("n", "n + k"), "select k, n + k as n, x, s from t");
        same(&t.with_column("m", -col("n") % 7), "select *, -n % 7 as m from t");
        same(&t.rename("n", "Number").drop(["s", "x"]), "select k, n as \"Number\" from t");
        same(
            &t.aggregate("t.k, n % 10 as k2", "sum(t.x) as sum, count(distinct s) as c"),
            "select k, n % 10 as k2, sum(x) as sum, count(distinct s) as c from t group by 1, 2",
        );
        same(
            &t.aggregate("k", "max(n) as m").filter("frame.m > 990"),
            "select * from (select k, max(n) as m from t group by k) where m > 990",
        );
        same(&t.aggregate((), "max(n) as m"), "select max(n) as m from t");
        same(&t.aggregate("k + 1 as k", ()), "select distinct k + 1 as k from t");
        same(&t.aggregate("7 as one", count_rows()), "select 7 as one, count(*) from t");
        let calls = [
            call("sum", "n").filter(col("k").lt(10)).alias("a"),
            (call("max", [col("x")]) - call("min", [col("x")])).alias("b"),
        ];
        same(
            &t.aggregate(col("s"), calls).filter("a > 1000"),
            "select s, sum(n) filter (where k < 10) a, max(x) - min(x) b from t group by s \
             having sum(n) filter (where k < 10) > 1000",
        );
        same(&t.select("k, s").distinct(), "select distinct k, s from t");
        let place = call("row_number", ()).over("partition by k order by n desc, x, s");
        same(
            &t.with_column("place", place).filter("place <= 2"),
            "select * from (select *, row_number() over (partition by k order by n desc, x, s) as \
             place from t) where place <= 2",
        );
        let (ks, ku) = (t.select("k"), session.table("u").select("k"));
        same(&ks.union_all(ku.clone()), "select k from t union all select k from u");
        same(&ks.union(ku.clone()), "select k from t union select k from u");
        same(&ks.intersect(ku.clone()), "select k from t intersect select k from u");
        same(&ks.except(ku), "select k from t except select k from u");
        let count = t.filter("n > 100").count().expect("counts");
        let expected = rows(&session, "select count(*) c from t where n > 100");
        assert!(expected.contains(&format!("| {count} ")), "{expected}");
    }
}

#[test]
fn joins_mean_what_their_sql_means() {
    let session = session(2);
    tables(&session, 40);
    let (t, u) = (session.table("t").limit(300), session.table("u").drop(["x"]));
    let words = ["inner", "left", "right", "full", "left semi", "left anti"];
    use JoinKind::{Anti, Full, Inner, Left, Right, Semi};
    for (kind, word) in [Inner, Left, Right, Full, Semi, Anti].into_iter().zip(words) {
        let from = "(select * from t limit 300) t";
        let right = "(select k, n, s from u) u";
        let is_pair = !matches!(kind, Semi | Anti);
        let key = match kind {
            Right => "u.k as k",
            Full => "coalesce(t.k, u.k) as k",
            _ => "t.k",
        };
        let others = if is_pair { ", u.n as n_1, u.s as s_1" } else { "" };
        let joined = t.join(u.clone(), kind, "k");
        let query = format!(
            "select {key}, t.n, t.x, t.s{others} from {from} {word} join {right} on t.k = u.k"
        );
        assert_same(&joined, &session, &query, false);
        let others = if is_pair { ", u.k as k_1, u.n as n_1, u.s as s_1" } else { "" };
        let joined = t.join(u.clone(), kind, [("k", "n")]);
        let query = format!("select t.*{others} from {from} {word} join {right} on t.k = u.n");
        assert_same(&joined, &session, &query, false);
        let joined = t.join_on(u.clone(), kind, "t.k = u.k and t.n < u.n");
        let query = format!(
            "select t.*{others} from {from} {word} join {right} on t.k = u.k and t.n < u.n"
        );
        assert_same(&joined, &session, &query, false);
    }
    let own = t.alias("a").join_on(t.alias("b"), Inner, "a.k = b.k and a.n < b.n").select("k, n_1");
    let query = "with t as (select * from t limit 300) select a.k, b.n as n_1 from t a join t b \
                 on a.k = b.k and a.n < b.n";
    assert_same(&own, &session, query, false);
    let pairs = session.table("u").select("k").cross_join(session.table("u").select("n"));
    assert_eq!(pairs.count().expect("counts"), 250_000);
}

#[test]
fn rows_keep_their_order() {
    let session = session(4);
    tables(&session, 50);
    register(&session, "t", 51, 60_000, 40);
    let sorted = session.table("t").sort("n desc nulls last, x, k, s");
    let query = "select * from t order by n desc nulls last, x, k, s";
    assert_same(&sorted, &session, query, true);
    let keys = [col("n").desc().nulls_last(), col("x"), col("k").asc(), col("s")];
    assert_same(&session.table("t").sort(keys), &session, query, true);
    assert_same(
        &sorted.offset(10).limit(30).filter("k < 20").select("k, n, s"),
        &session,
        &format!("select k, n, s from ({query} limit 30 offset 10) where k < 20"),
        true,
    );
    let plan = sorted.limit(3).explain().expect("has a plan");
    assert!(plan.contains("top_k"), "{plan}");
    assert_same(&session.table("t").limit(5), &session, "select * from t limit 5", true);
}

#[test]
fn a_frame_used_twice_is_computed_once() {
    let session = session(2);
    tables(&session, 60);
    let sums = session.table("t").aggregate("k", "sum(n) as s");
    let both = sums.join(sums.rename("s", "other"), JoinKind::Inner, "k");
    let plan = both.explain().expect("has a plan");
    assert_eq!(plan.matches("batch_scan").count(), 1, "{plan}");
    let least = sums.filter("s > (select avg(n) from t)").count().expect("counts");
    assert!(least > 0);
}

#[test]
fn errors_name_the_step_and_the_place() {
    let session = session(1);
    tables(&session, 70);
    let t = session.table("t");
    let many = (0..600).fold(t.clone(), |frame, _| frame.limit(9));
    for (frame, said) in [
        (session.table("tt"), "in table(tt): there is no table tt"),
        (
            t.filter("n > 1 and\n m = 2"),
            "line 2, column 2: in filter(n > 1 and\n m = 2): there is \
                                         no column m; did you mean",
        ),
        (t.filter("n > "), "line 1, column 4: in filter(n > ): syntax error"),
        (t.filter("n > 1 order by n"), "found: order"),
        (t.filter("true) or (true"), "syntax error"),
        (t.filter("n; drop table t"), "found: ;"),
        (t.filter("n + 1"), "in filter(n + 1)"),
        (t.select("n from t"), "syntax error"),
        (t.select("sume(n)"), "in select(sume(n))"),
        (t.select(["n", "k +"]), "in select(n, k +): syntax error"),
        (t.sort("n limit 3"), "syntax error"),
        (t.aggregate("*", "count(*)"), "no place for *"),
        (t.aggregate((), ()), "neither groups nor aggregates"),
        (t.aggregate("k", "n"), "in aggregate([k], [n])"),
        (t.rename("m", "x"), "the frame has no column m; did you mean"),
        (t.drop(["k", "nn"]), "the frame has no column nn; did you mean n?"),
        (t.drop(["k", "n", "x", "s"]), "no column is left"),
        (t.join(t.clone(), JoinKind::Inner, "y"), "in join(y = y): the left side has no column y"),
        (t.join(t.clone(), JoinKind::Inner, Vec::new()), "a join by no columns"),
        (t.join_on(t.clone(), JoinKind::Left, "t.k = t.n"), "both sides are called t"),
        (t.union(t.select("k")), "in union"),
        (t.filter("m = 1").limit(3).select("k"), "in filter(m = 1): there is no column m"),
        (session.query("select 1; select 2"), "expected one query, found 2"),
        (session.query("drop table t"), "a frame is made of a query"),
        (session.query("select a\nfrom nothing"), "line 2, column 6: in query(select a"),
        (t.filter("n = $x"), "no value for the parameter $x"),
        (session.read_parquet("/nowhere/x.parquet"), "/nowhere/x.parquet"),
        (many, "a frame of 601 steps"),
    ] {
        let met = frame.collect().expect_err(said).to_string();
        assert!(met.contains(said), "{met}\n{said}");
        assert!(!met.contains("line 0") && !met.contains("__input"), "{met}");
        assert_eq!(frame.schema().expect_err(said).to_string(), met);
    }
    let deep = (0..400).fold(t.clone(), |frame, step| frame.filter(format!("n <> {step}")));
    assert!(deep.count().expect("plans") > 0);
    let long = (0..2_000).fold(col("n").eq(-1), |any, n| any.or(col("n").eq(n)));
    let expected = t.filter("n is not null").count().expect("counts");
    assert_eq!(t.filter(long).count().expect("plans"), expected);
}

#[test]
fn values_of_rust_are_those_of_sql() {
    let session = session(1);
    let one = session.query("select 1 as one");
    let list = vec![
        lit(i64::MIN).alias("a"),
        lit(u64::MAX).alias("b"),
        lit(-1.5e300).alias("c"),
        lit(f64::NAN).alias("d"),
        lit(f64::NEG_INFINITY).alias("e"),
        lit("it's -- \\ \"x\"").alias("f \"g\""),
        lit(None::<bool>).is_null().alias("h"),
        (lit(1) - lit(-1) - -lit(-1)).alias("i"),
        (-(-col("one"))).alias("j"),
        lit(2).between(lit(1) + 1, 3).and(lit(true)).alias("k"),
        col("one").in_list(["2", "3 - 2"]).alias("l"),
        (lit(7) - (lit(4) - lit(2)) * (lit(1) + 1)).cast("varchar").alias("m"),
        sql_expr("case when one = 1 then 'x' end").like(lit("x%")).alias("n"),
        lit(3.0).eq(lit(3)).alias("o"),
    ];
    let table = one.select(list).show(5).expect("runs");
    let expected = "| -9223372036854775808 | 18446744073709551615 | -1.5e300 | NaN | -inf | \
                    it's -- \\ \"x\" | true | 1 | 1 | true | true | 3 | true | true |";
    let row = table.lines().nth(3).expect("a row").replace("  ", " ").replace("  ", " ");
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(plain(&row), plain(expected), "{table}");
    assert!(table.contains("f \"g\""));
}

#[test]
fn files_are_read_and_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let session = small_session(64);
    tables(&session, 80);
    let t = session.table("t").sort("n, x, k, s");
    let expected = lines(&t.collect().expect("runs"));
    let path = |name: &str| directory.path().join(name);
    assert_eq!(t.write_parquet(path("a.parquet")).expect("writes"), 3_000);
    assert_eq!(t.write_csv(path("a.csv")).expect("writes"), 3_000);
    assert_eq!(t.write_json(path("a.json")).expect("writes"), 3_000);
    assert_eq!(t.write_arrow(path("a.arrow")).expect("writes"), 3_000);
    for frame in [
        session.read_parquet(path("a.parquet")),
        session.read_csv(path("a.csv"), CsvOptions::new()),
        session.read_json(path("a.json"), JsonOptions::default()),
        session.read_arrow(path("a.arrow")),
        session.table(path("a.parquet").to_str().expect("a path")),
        session.read_parquet(path("*.parquet")),
    ] {
        let read = frame.select("k, n, x, s").collect().expect("reads");
        assert_eq!(lines(&read), expected);
    }
    let own = session.read_parquet(path("a.parquet")).limit(3).write_parquet(path("a.parquet"));
    assert!(own.expect_err("it is read").to_string().contains("is read by the statement"));
    let parts = WriteOptions::new().format("csv").partition_by(["s"]).option("header", "true");
    let some = t.filter("s in ('s1', 's2')").write(path("parts"), &parts).expect("writes");
    assert!(some > 0 && fs::read_dir(path("parts")).expect("is there").count() == 2);
    let wrong = t.write(path("b.xyz"), &WriteOptions::new()).expect_err("no format").to_string();
    assert!(wrong.contains("names no format"), "{wrong}");
    let wrong = WriteOptions::new().option("colour", "red");
    assert!(t.write(path("b.csv"), &wrong).is_err());
    let mut seen = 0;
    let mut sink = |batch: RecordBatch| {
        seen += batch.num_rows();
        Ok(())
    };
    assert_eq!(t.write_to(&mut sink).expect("writes"), 3_000);
    assert_eq!(seen, 3_000);
}

#[test]
fn frames_are_looked_up_when_they_run() {
    let session = session(1);
    let frame = session.table("later").filter("a > 1");
    assert!(frame.collect().is_err());
    session.run_script("create table later as select 2 as a").expect("runs");
    assert_eq!(frame.count().expect("runs"), 1);
    session
        .run_script("create or replace view later_view as select a + 1 as b from later")
        .expect("runs");
    assert!(session.table("later_view").show(1).expect("runs").contains("| 3 |"));
    let parameters = Parameters::new().with("x", 2_i64);
    let frame = session.query_with("select a from later where a = $x", &parameters);
    assert_eq!(frame.count().expect("runs"), 1);
    assert!(frame.analyze().expect("runs").contains("rows"));
}

/// A source without end.
struct Endless;

impl BatchSource for Endless {
    fn schema(&self) -> arrow::datatypes::SchemaRef {
        let field = arrow::datatypes::Field::new("n", arrow::datatypes::DataType::Int64, false);
        std::sync::Arc::new(arrow::datatypes::Schema::new(vec![field]))
    }

    fn read(&self, _: usize, _: &[usize]) -> Result<Batches> {
        Ok(Box::new((0..).map(|n| {
            let column = arrow::array::Int64Array::from(vec![n; 100]);
            Ok(RecordBatch::try_from_iter([("n", std::sync::Arc::new(column) as _)])?)
        })))
    }
}

#[test]
fn rows_are_made_as_they_are_taken() {
    let session = Session::new(Config { threads: Some(2), ..Config::default() }).expect("starts");
    session.register_source("endless", Endless).expect("is new");
    let mut running = session.table("endless").filter("n % 2 = 0").run().expect("starts");
    for _ in 0..20 {
        assert!(running.next().expect("goes on").expect("goes well").num_rows() > 0);
    }
    let other = session.table("endless").limit(250).count().expect("another one runs meanwhile");
    assert_eq!(other, 250);
    drop(running);
    assert_eq!(session.engine().memory().reserved(), 0);
}

#[test]
fn files_with_the_same_columns_are_different_tables() {
    let directory = tempfile::tempdir().expect("a directory");
    let session = session(2);
    let groups = |name: &str, lines: &str| {
        let path = directory.path().join(name);
        fs::write(&path, lines).expect("writes");
        session.read_csv(&path, CsvOptions::new()).aggregate("x", "count(*) as n")
    };
    let (a, b) = (groups("a.csv", "x\n1\n1\n2\n"), groups("b.csv", "x\n5\n"));
    let both = lines(&a.union_all(b).collect().expect("reads both"));
    let text = both.join(" ");
    assert!(["1", "2", "5"].iter().all(|key| text.contains(key)), "{text}");
}
