//! Programs that are planned statement by statement and not run.

use gristmill::{Config, Outline, Parameters, Result, Session};

fn session() -> Session {
    Session::new(Config { threads: Some(1), ..Config::default() }).expect("opens")
}

fn planned(session: &Session, program: &str) -> Result<Vec<Outline>> {
    let mut rehearsal = session.rehearsal();
    let none = Parameters::new();
    let statements = session.script(program)?;
    statements.iter().map(|statement| rehearsal.outline(statement, &none, true)).collect()
}

#[test]
fn later_statements_see_what_earlier_ones_would_have_made() {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("out.parquet").display().to_string();
    let session = session();
    let program = format!(
        "create table t as select a, a * 0.5 as half from (values (1), (2)) v(a);
         create view v as select a from t where half > 0.5;
         copy (select * from v) to '{file}';
         select sum(a) from '{file}';
         insert into t select a, 1 from v;
         create or replace view v as select half from t;
         select half from v;
         set threads = 3;
         show threads;
         drop table t;
         create table t (other int);
         select other from t"
    );
    let outlines = planned(&session, &program).expect("fits together");
    assert_eq!(outlines.len(), 12);
    assert!(outlines[0].text.starts_with("write_table  table: t"), "{}", outlines[0].text);
    assert_eq!(outlines[1].text, "no plan: makes the view v\n");
    assert!(outlines[2].json.contains("write_parquet"), "{}", outlines[2].json);
    assert!(outlines[7].text.contains("threads"));
    assert!(outlines[8].text.contains("values"));
    assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 0);
    for nothing_there in ["select * from t", "select * from v"] {
        assert!(session.sql(nothing_there).is_err(), "nothing was made");
    }
}

#[test]
fn the_first_mistake_is_found_with_its_place() {
    let session = session();
    let mistakes = [
        ("create view v as select 1 as a;\nselect b from v", "line 2, column 8"),
        ("create table t as select 1 as a;\ndrop table t;\nselect a from t", "line 3, column 15"),
        ("create table t as select 1 as a;\ncreate table t as select 2", "line 2, column 14"),
        ("drop view v", "there is no view v"),
        ("set treads = 2", "did you mean threads?"),
        ("explain create view v as select 1;\nselect * from v", "line 2"),
    ];
    for (program, expected) in mistakes {
        let error = planned(&session, program).expect_err(program).to_string();
        assert!(error.contains(expected), "{program}\n{error}");
    }
}

#[test]
fn the_order_of_a_session_s_statements_is_the_program_s() {
    let session = session();
    session
        .run_script("create table t as select 1 as a; create view v as select a + 1 as b from t")
        .expect("runs");
    session
        .run_script("insert into t select b from v; insert into t select b from v")
        .expect("runs");
    let counts = session.sql("select count(*) as n, max(a) as m from t").expect("runs");
    let batch = counts.last().expect("a batch").expect("a batch");
    let text = arrow::util::pretty::pretty_format_batches(&[batch]).expect("prints").to_string();
    assert!(text.contains("| 4 | 3 |"), "{text}");
}

#[test]
fn sets_of_files_that_would_be_there_are_seen() {
    let directory = tempfile::tempdir().expect("directory");
    let root = directory.path().display();
    let session = session();
    let program = format!(
        "copy (select 1 as a) to '{root}/out/a.csv';
         copy (select 1 as a) to '{root}/out/b.csv';
         select a from '{root}/out/*.csv';
         select a from '{root}/out/';
         copy (select 1 as a, 2 as k) to '{root}/parts' stored as arrow partitioned by (k);
         select a, k from '{root}/parts/';
         select a, k from '{root}/parts/*/*.arrow'"
    );
    assert_eq!(planned(&session, &program).expect("fits together").len(), 7);
    let error = planned(&session, &program.replace("*.csv", "*.ndjson")).expect_err("none such");
    assert!(error.to_string().contains("*.ndjson'"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("lists").count(), 0);
}
