//! Disks that fail: every single operation on spilled state, once. The query ends with an error
//! that says so, nothing is left, and the engine's next query is right.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gristmill::{Config, Session};
use gristmill_engine::expr::Functions;
use gristmill_engine::memory::spill::{Map, SpillIo, SystemIo};
use gristmill_engine::memory::{Governor, GovernorOptions};
use gristmill_engine::plan::Plan;
use gristmill_engine::query::{Engine, RunOptions, registry};
use gristmill_engine::scheduler::Seeded;
use gristmill_engine::{Error, Result};
use gristmill_tests::reference::value::{Row, canonical, rows};

/// Counts operations and makes one of them fail.
#[derive(Debug)]
struct Faulty {
    at: usize,
    kind: io::ErrorKind,
    calls: AtomicUsize,
}

impl Faulty {
    fn step(&self) -> io::Result<()> {
        match self.calls.fetch_add(1, Ordering::Relaxed) == self.at {
            true => Err(self.kind.into()),
            false => Ok(()),
        }
    }
}

impl SpillIo for Faulty {
    fn open(&self, dir: &Path) -> io::Result<File> {
        self.step()?;
        SystemIo.open(dir)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.step()?;
        SystemIo.write_at(file, bytes, offset)
    }

    fn read_at(&self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.step()?;
        SystemIo.read_at(file, bytes, offset)
    }

    fn map(&self, file: &File, offset: u64, len: usize) -> io::Result<Map> {
        self.step()?;
        SystemIo.map(file, offset, len)
    }
}

/// The engine's plan of a query over a file of rows that is written in `directory`.
fn plan(query: &str, rows: usize, directory: &Path) -> Plan {
    let session = Session::new(Config { threads: Some(2), ..Config::default() }).expect("starts");
    let path = directory.join("t.parquet");
    let rows = format!(
        "copy (select x * 7919 % 20011 k, x % 97 v, 'a text of some length ' || (x * 31 % 20011) s
         from range({rows}) r(x)) to '{}'",
        path.display()
    );
    session.run_script(&rows).expect("writes");
    session.register("t", &path).expect("is there");
    let statement = session.script(query).expect("is SQL").remove(0);
    let json = session.plan_json(&statement).expect("plans");
    Plan::from_json(&json, &registry(), &Functions::default()).expect("reads")
}

fn answer(engine: &Engine, plan: &Plan) -> Result<Vec<Row>> {
    let batches = engine.run(plan, &RunOptions::default())?.collect::<Result<Vec<_>>>()?;
    Ok(batches.iter().flat_map(rows).collect())
}

/// An engine with tasks in an order of its own, whose operation `at` fails.
fn engine(at: usize, limit: usize, directory: &Path) -> (Engine, Arc<Faulty>) {
    let kind = if at.is_multiple_of(2) { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
    let io = Arc::new(Faulty { at, kind, calls: AtomicUsize::new(0) });
    let governor = Governor::new(GovernorOptions {
        limit_bytes: Some(limit),
        temp_dirs: vec![directory.to_path_buf()],
        spill_io: Some(io.clone()),
        ..GovernorOptions::default()
    });
    (Engine::on(Arc::new(Seeded::new(at as u64, 2)), governor), io)
}

/// Runs `query` over so many rows and within so many kilobytes, once for every operation that it
/// takes.
fn each_operation_fails(query: &str, rows: usize, kilobytes: usize) {
    let files = tempfile::tempdir().expect("a directory");
    let spilled = tempfile::tempdir().expect("a directory");
    let (plan, limit) = (plan(query, rows, files.path()), kilobytes << 10);
    let (whole, io) = engine(usize::MAX, limit, spilled.path());
    let expected = canonical(&answer(&whole, &plan).expect("runs"));
    let calls = io.calls.load(Ordering::Relaxed);
    assert!(calls > 10, "{calls} operations");
    let mut failed = 0;
    for at in 0..calls {
        let (engine, _) = engine(at, limit, spilled.path());
        let context = format!("operation {at} of {calls}");
        match answer(&engine, &plan) {
            // Another order of tasks may take fewer operations.
            Ok(rows) => assert_eq!(canonical(&rows), expected, "{context}"),
            Err(error @ (Error::Io { .. } | Error::OutOfMemory { .. })) => {
                let message = error.to_string();
                let place = spilled.path().display().to_string();
                assert!(message.contains(&place), "{context}: {message}");
                failed += 1;
            }
            Err(other) => panic!("{context}: {other}"),
        }
        let memory = engine.memory();
        assert_eq!(memory.reserved(), 0, "{context}");
        assert_eq!((memory.spill().usage().used, memory.spill().usage().files), (0, 0));
        assert!(std::fs::read_dir(spilled.path()).expect("is there").next().is_none());
        // Every fourth time, to spare some.
        if at.is_multiple_of(4) {
            let again = answer(&engine, &plan).expect(&context);
            assert_eq!(canonical(&again), expected, "{context}, once more");
        }
    }
    assert!(failed > calls / 2, "{failed} of {calls} operations failed");
}

#[test]
fn each_operation_of_a_sort_may_fail() {
    each_operation_fails("select k, v, s from t order by s, k", 20_000, 2_500);
}

#[test]
fn each_operation_of_an_aggregate_may_fail() {
    each_operation_fails(
        "select s, count(*) n, sum(v) v, min(k) k from t group by s",
        20_000,
        2_500,
    );
}

#[test]
fn each_operation_of_distinct_aggregates_may_fail() {
    each_operation_fails("select k % 7 g, count(distinct s) n from t group by 1", 20_000, 2_200);
}

#[test]
fn each_operation_of_a_join_may_fail() {
    let query = "select a.k, b.k from t a full join (select * from t where v > 20) b on a.s = b.s";
    each_operation_fails(query, 20_000, 2_500);
}

#[test]
fn each_operation_of_a_window_may_fail() {
    let query = "select k, row_number() over (partition by v order by s) n, s from t";
    each_operation_fails(query, 60_000, 6_500);
}

#[test]
fn each_operation_of_groups_below_a_window_may_fail() {
    let query = "select s, n, row_number() over (partition by n order by s) r
                 from (select s, count(*) n, max(k) k from t group by s)";
    each_operation_fails(query, 20_000, 5_900);
}
