//! Operators over rows in memory, each as the only work of a query, with one thread; those that
//! keep rows also within a limit that makes them spill.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gristmill::{Config, Result, Session};
use gristmill_benches::{or_exit, rows};

/// Rows of the table `t`.
const ROWS: usize = 1_000_000;

/// Rows of the table `u`, whose keys are among those of `t`.
const FEW_ROWS: usize = 100_000;

/// Bytes in which none of the works that keep rows has room.
const SMALL: usize = 24 << 20;

/// Each reads all rows of `t`; the bool says whether it keeps them.
const WORKS: [(&str, bool, &str); 14] = [
    ("filter", false, "select count(*) from t where measure < 0.1 and name like '%7%'"),
    ("project", false, "select max(key * 2 + bucket), min(amount * amount) from t"),
    ("few groups", false, "select bucket, sum(amount), avg(measure) from t group by bucket"),
    ("many groups", true, "select count(*) from (select key, sum(amount) from t group by key)"),
    ("distinct texts", false, "select count(distinct name) from t"),
    ("small join", false, "select count(*), max(u.amount) from t join u on t.key = u.key"),
    ("large join", true, "select count(*), max(s.name) from t join t s on t.key = s.key"),
    ("semi join", false, "select count(*) from t where key in (select key from u)"),
    (
        "sort",
        true,
        "select max(r) from (select key + 0 r, name from t order by name, key offset 1)",
    ),
    ("top-k", false, "select key, name from t order by measure desc, key limit 100"),
    ("median", false, "select bucket, median(measure) from t group by bucket"),
    (
        "row numbers",
        true,
        "select max(n) from (select row_number() over (partition by bucket order by key) n from t)",
    ),
    (
        "running sums",
        true,
        "select max(s) from (select sum(amount) over (partition by bucket order by key) s from t)",
    ),
    (
        "union",
        false,
        "select count(*), max(key) from (select key from t union all from t |> select key)",
    ),
];

fn session(memory_limit: Option<usize>) -> Result<Session> {
    let session = Session::new(Config { threads: Some(1), memory_limit, ..Config::default() })?;
    for (name, count) in [("t", ROWS), ("u", FEW_ROWS)] {
        let rows = rows(count, 1)?;
        session.register_batches(name, rows.schema(), vec![rows])?;
    }
    Ok(session)
}

fn works(c: &mut Criterion, limit: Option<usize>) -> Result<()> {
    let session = session(limit)?;
    let name = if limit.is_some() { "operators that spill" } else { "operators" };
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(ROWS as u64));
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (name, keeps_rows, text) in WORKS {
        if limit.is_none() || keeps_rows {
            session.collect(text)?;
            group.bench_function(name, |b| b.iter(|| session.collect(text).is_ok()));
        }
    }
    group.finish();
    Ok(())
}

fn all(c: &mut Criterion) {
    for limit in [None, Some(SMALL)] {
        or_exit(works(c, limit));
    }
}

criterion_group!(operators, all);
criterion_main!(operators);
