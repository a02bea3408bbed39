//! Whole queries, from their text to their rows: the statements of the shipped program over the
//! shipped files, and the 22 of TPC-H where `TPCH` names a directory (from the root of the
//! repository) with its tables as Parquet. What planning takes of each is timed by itself.

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gristmill::{Config, Error, Parameters, Result, Session, Statement};
use gristmill_benches::or_exit;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The tables of TPC-H.
const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

fn text_of(path: &str) -> Result<String> {
    std::fs::read_to_string(format!("{ROOT}/{path}"))
        .map_err(|error| Error::input(format!("{path}: {error}")))
}

/// Names and statements.
fn queries(session: &Session, tpch: Option<&str>) -> Result<Vec<(String, Statement)>> {
    let mut queries = Vec::new();
    let data = format!("'{ROOT}/data/");
    let program = text_of("data/delays.sql")?.replace("'data/", &data);
    for (at, statement) in session.script(&program)?.into_iter().enumerate() {
        queries.push((format!("delays, statement {}", at + 1), statement));
    }
    let Some(directory) = tpch else { return Ok(queries) };
    for table in TABLES {
        let file = Path::new(ROOT).join(directory).join(format!("{table}.parquet"));
        session.register(table, file)?;
    }
    for number in 1..=22 {
        let text = text_of(&format!("benches/queries/tpch/q{number:02}.sql"))?;
        for statement in session.script(&text)? {
            queries.push((format!("q{number}"), statement));
        }
    }
    Ok(queries)
}

fn timed(c: &mut Criterion) -> Result<()> {
    let session = Session::new(Config::default())?;
    let tpch = std::env::var("TPCH").ok();
    let queries = queries(&session, tpch.as_deref())?;
    let mut group = c.benchmark_group("planning");
    for (name, statement) in &queries {
        let plan = || session.rehearsal().plan(statement, &Parameters::new());
        plan()?;
        group.bench_function(name, |b| b.iter(|| plan().is_ok()));
    }
    group.finish();
    let mut group = c.benchmark_group("queries");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (name, statement) in &queries {
        let run = || session.execute(statement)?.collect::<Result<Vec<_>>>();
        run()?;
        group.bench_function(name, |b| b.iter(|| run().is_ok()));
    }
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    or_exit(timed(c));
}

criterion_group!(whole, all);
criterion_main!(whole);
