//! Whole queries over tables in memory: order, back-pressure, budget, stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::*;
use crate::error::{Error, Result};
use crate::memory::{Governor, GovernorOptions};
use crate::operators::Limit;
use crate::pipeline::tests::fakes::{FnSource, FnTransformWorker, PullFn, chunk, transform};
use crate::pipeline::{Pull, Pushed};
use crate::plan::{Build, Spec, Stream};
use crate::scheduler::{Cancel, Gate, Pool, Seeded};
use crate::sources::InMemory;

mod table;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn batch(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_new(schema(), vec![values]).expect("fits")
}

/// The integers from `first` on, in batches of 100, chunks of 7 and morsels of 3 chunks.
fn integers(first: i64, count: i64) -> Stream {
    let starts = (first..first + count).step_by(100);
    let batches = starts.map(|start| batch(start..(first + count).min(start + 100)));
    let table = InMemory::cut(&schema(), batches.collect(), 7, 3).expect("one schema");
    table.stream(schema())
}

fn values(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn all(running: Running) -> Result<Vec<i64>> {
    let batches: Vec<RecordBatch> = running.collect::<Result<_>>()?;
    Ok(batches.iter().flat_map(values).collect())
}

fn limited(limit_bytes: Option<usize>) -> Governor {
    Governor::new(GovernorOptions { limit_bytes, ..Default::default() })
}

/// Runs `test` on engines with many seeds and with 1, 2 and 4 threads.
fn everywhere(test: impl Fn(&Engine)) {
    for seed in 0..30 {
        let scheduler = Arc::new(Seeded::new(seed, 1 + seed as usize % 4));
        test(&Engine::on(scheduler, limited(None)));
    }
    for threads in [1, 2, 4] {
        let options = EngineOptions { threads: Some(threads), ..Default::default() };
        let engine = Engine::new(options).expect("starts");
        (0..4).for_each(|_| test(&engine));
        assert_eq!(engine.memory().reserved(), 0);
    }
}

fn any_order() -> RunOptions {
    RunOptions { any_order: true, ..Default::default() }
}

#[test]
fn results_keep_the_order_of_the_input() {
    everywhere(|engine| {
        let options = RunOptions::default();
        for count in [0, 1, 7, 2500] {
            let running = engine.run_built(&options, |_| Ok(integers(0, count))).expect("starts");
            assert_eq!(*running.schema(), schema());
            assert_eq!(all(running).expect("succeeds"), (0..count).collect::<Vec<_>>());
        }
    });
}

#[test]
fn arms_come_one_after_the_other() {
    everywhere(|engine| {
        let union = |_: &mut Build| {
            Ok(integers(0, 500).chain(integers(500, 300)).chain(integers(800, 200)))
        };
        let running = engine.run_built(&RunOptions::default(), union).expect("starts");
        assert_eq!(all(running).expect("succeeds"), (0..1000).collect::<Vec<_>>());
    });
}

#[test]
fn any_order_gives_all_rows() {
    everywhere(|engine| {
        let running = engine.run_built(&any_order(), |_| Ok(integers(0, 1500))).expect("starts");
        let mut rows = all(running).expect("succeeds");
        rows.sort_unstable();
        assert_eq!(rows, (0..1500).collect::<Vec<_>>());
    });
}

#[test]
fn a_limit_takes_the_first_rows_of_all_arms() {
    everywhere(|engine| {
        let first = |build: &mut Build| {
            let stream = integers(0, 500).chain(integers(500, 100_000));
            Limit { offset: 450, count: Some(100) }.build(vec![stream], build)
        };
        let running = engine.run_built(&RunOptions::default(), first).expect("starts");
        assert_eq!(all(running).expect("succeeds"), (450..550).collect::<Vec<_>>());
    });
}

#[test]
fn a_half_read_result_holds_no_thread_and_frees_everything_when_dropped() {
    everywhere(|engine| {
        let options = RunOptions::default();
        let start = || engine.run_built(&options, |_| Ok(integers(0, 20_000))).expect("starts");
        let mut held = start();
        let first = held.next().expect("rows").expect("no error");
        assert_eq!(values(&first)[0], 0);
        let mut unread = start();
        assert_eq!(all(start()).expect("a second query finishes").len(), 20_000);
        assert!(engine.memory().reserved() > 0);
        assert!(engine.memory().holdings().iter().any(|holding| &*holding.who == "result"));
        let more: Vec<i64> =
            held.by_ref().take(50).flat_map(|batch| values(&batch.expect("no error"))).collect();
        assert!(more.iter().copied().eq(7..7 + more.len() as i64), "{more:?}");
        drop(held);
        assert!(unread.next().is_some());
        drop(unread);
        assert_eq!(engine.memory().reserved(), 0);
    });
}

#[test]
fn a_small_budget_becomes_back_pressure() {
    for threads in [1, 2, 4] {
        for any_order in [false, true] {
            let pool = Pool::new(threads).expect("starts");
            let governor = limited(Some(40_000));
            let engine = Engine::on(pool.scheduler(), governor.clone());
            // Batches of 8,000 bytes: two fit what the queues may take.
            let batches = (0..50).map(|i| batch(i * 1000..(i + 1) * 1000)).collect();
            let table = InMemory::cut(&schema(), batches, 1000, 2).expect("one schema");
            let options = RunOptions { any_order, ..Default::default() };
            let running = engine.run_built(&options, |_| Ok(table.stream(schema())));
            let mut rows = all(running.expect("starts")).expect("fits");
            if any_order {
                rows.sort_unstable();
            }
            assert_eq!(rows, (0..50_000).collect::<Vec<_>>());
            assert!(governor.usage().peak_reserved <= 40_000);
            assert_eq!(governor.reserved(), 0);
        }
    }
}

#[test]
fn a_batch_that_does_not_fit_at_all_is_refused_with_its_owner() {
    let scheduler = Arc::new(Seeded::new(1, 2));
    let governor = limited(Some(4000));
    let engine = Engine::on(scheduler, governor.clone());
    let table = InMemory::new(&schema(), vec![batch(0..1000)]).expect("one schema");
    let running = engine.run_built(&RunOptions::default(), |_| Ok(table.stream(schema())));
    let error = all(running.expect("starts")).expect_err("8,000 bytes");
    assert!(matches!(&error, Error::OutOfMemory { who, .. } if who == "result"), "{error}");
    assert_eq!(governor.reserved(), 0);
}

#[test]
fn strings_do_not_pin_the_pages_they_come_from() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8View, false)]));
    let texts: Vec<String> = (0..10_000).map(|i| format!("a text of some length, {i}")).collect();
    let array = Arc::new(StringViewArray::from_iter_values(&texts));
    let batch = RecordBatch::try_new(schema.clone(), vec![array]).expect("fits");
    let table = InMemory::cut(&schema, vec![batch], 10, 1).expect("one schema");
    let engine = Engine::on(Arc::new(Seeded::new(1, 1)), limited(None));
    let stream = table.stream(schema);
    let running = engine.run_built(&RunOptions::default(), |_| Ok(stream)).expect("starts");
    let batches: Vec<RecordBatch> = running.map(|batch| batch.expect("no error")).collect();
    assert!(batches.iter().all(|batch| batch.get_array_memory_size() < 10_000));
    let column = |batch: &RecordBatch| batch.column(0).as_string_view().clone();
    let read = batches
        .iter()
        .map(column)
        .flat_map(|c| c.iter().map(|text| text.expect("not NULL").to_string()).collect::<Vec<_>>());
    assert!(read.eq(texts));
}

#[test]
fn an_error_is_told_once_and_frees_everything() {
    everywhere(|engine| {
        let failing = |_: &mut Build| {
            let fails = transform(|| {
                FnTransformWorker::pushing(|chunk, _| match chunk.place().morsel {
                    60 => Err(Error::input("row 1,300 is bad")),
                    _ => Ok(Pushed::Chunk(chunk)),
                })
            });
            Ok(integers(0, 100_000).then(schema(), fails))
        };
        let mut running = engine.run_built(&RunOptions::default(), failing).expect("starts");
        let error = loop {
            match running.next().expect("an error comes first") {
                Ok(batch) => assert!(values(&batch)[0] < 60 * 21),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "row 1,300 is bad");
        assert!(running.next().is_none());
        assert_eq!(engine.memory().reserved(), 0);
    });
}

/// A source whose worker blocks for ever after `chunks` chunks.
fn stuck(chunks: u64) -> Stream {
    let make = move || -> PullFn {
        let (mut next, gate) = (0, Gate::new());
        Box::new(move |_| {
            next += 1;
            Ok(if next > chunks {
                Pull::Blocked(gate.token())
            } else {
                Pull::Chunk(chunk(next - 1, &[next as i64]))
            })
        })
    };
    let source = FnSource { make: Box::new(make), reset: Box::new(|| ()), parallelism: 1 };
    Stream::new(schema(), Arc::new(source), Vec::new())
}

#[test]
fn deadlines_and_interrupts_end_a_waiting_caller() {
    everywhere(|engine| {
        let options =
            RunOptions { time_limit: Some(Duration::from_millis(3)), ..Default::default() };
        let mut running = engine.run_built(&options, |_| Ok(stuck(0))).expect("starts");
        let error = running.next().expect("an error").expect_err("late");
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(error.to_string().contains("3ms; raise the limit (time_limit)"), "{error}");

        let mut running =
            engine.run_built(&RunOptions::default(), |_| Ok(stuck(2))).expect("starts");
        assert_eq!(values(&running.next().expect("rows").expect("no error")), [1]);
        let cancel = running.cancel().clone();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1));
            cancel.interrupt();
        });
        let error = running.find_map(|batch| batch.err()).expect("an error");
        assert_eq!(error.to_string(), "interrupted");
        other.join().expect("no panic");
        assert_eq!(engine.memory().reserved(), 0);
    });
}

#[test]
fn one_interrupt_stops_all_and_a_dropped_query_only_itself() {
    let engine = Engine::on(Arc::new(Seeded::new(3, 2)), limited(None));
    let options = RunOptions { cancel: Cancel::new(), ..Default::default() };
    let start = || engine.run_built(&options, |_| Ok(stuck(1))).expect("starts");
    drop(start());
    let (mut one, mut two) = (start(), start());
    assert!(one.next().expect("a row").is_ok());
    options.cancel.interrupt();
    for running in [&mut one, &mut two] {
        let error = running.find_map(|batch| batch.err()).expect("an error");
        assert_eq!(error.to_string(), "interrupted");
    }
}

/// One worker is stuck in morsel 0 until the door opens; the other goes ahead.
struct Slow {
    open: Arc<AtomicBool>,
    gate: Gate,
    pulled: Arc<AtomicUsize>,
}

impl Slow {
    fn stream(&self, morsels: usize, morsel_0_has_rows: bool) -> Stream {
        let (open, gate, pulled) = (self.open.clone(), self.gate.clone(), self.pulled.clone());
        let make = move || -> PullFn {
            let (open, gate, pulled) = (open.clone(), gate.clone(), pulled.clone());
            let mut at = usize::MAX;
            Box::new(move |_| {
                let token = gate.token();
                if at == 0 && !open.load(Ordering::SeqCst) {
                    return Ok(Pull::Blocked(token));
                }
                if at == 0 && morsel_0_has_rows {
                    at = usize::MAX;
                    return Ok(Pull::Chunk(chunk(0, &[0])));
                }
                at = pulled.fetch_add(1, Ordering::SeqCst);
                Ok(if at >= morsels {
                    Pull::Finished
                } else if at == 0 {
                    Pull::Morsel(0)
                } else {
                    Pull::Chunk(chunk(at as u64, &[at as i64]))
                })
            })
        };
        let source = FnSource { make: Box::new(make), reset: Box::new(|| ()), parallelism: 2 };
        Stream::new(schema(), Arc::new(source), Vec::new())
    }

    fn new() -> Self {
        let (open, pulled) = (Arc::default(), Arc::default());
        Slow { open, gate: Gate::new(), pulled }
    }

    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        self.gate.notify();
    }
}

#[test]
fn workers_ahead_wait_for_a_slow_first_morsel() {
    for morsel_0_has_rows in [false, true] {
        for seed in 0..10 {
            let (scheduler, slow) = (Seeded::new(seed, 2), Slow::new());
            let engine = Engine::on(Arc::new(scheduler.clone()), limited(None));
            let stream = slow.stream(1000, morsel_0_has_rows);
            let running = engine.run_built(&RunOptions::default(), |_| Ok(stream));
            let running = running.expect("starts");
            scheduler.run_until_idle();
            let ahead = slow.pulled.load(Ordering::SeqCst);
            assert!((50..80).contains(&ahead), "{ahead} chunks are in the window");
            slow.open();
            scheduler.run_until_idle();
            let ahead = slow.pulled.load(Ordering::SeqCst);
            assert!(ahead < 120, "{ahead} chunks wait for the caller");
            let first = i64::from(!morsel_0_has_rows);
            assert_eq!(all(running).expect("succeeds"), (first..1000).collect::<Vec<_>>());
        }
    }
}

/// The worker in morsel 0 finds no rows there and goes on to morsel 2 when the door opens, after
/// the other one has made the only chunk, of morsel 1. Nothing comes after that.
fn quiet(slow: &Slow) -> Stream {
    let (open, gate, pulled) = (slow.open.clone(), slow.gate.clone(), slow.pulled.clone());
    let make = move || -> PullFn {
        let (open, gate, pulled) = (open.clone(), gate.clone(), pulled.clone());
        let (mut role, mut said) = (None, false);
        Box::new(move |_| {
            let token = gate.token();
            let role = *role.get_or_insert_with(|| pulled.fetch_add(1, Ordering::SeqCst));
            if said || (role == 0 && !open.load(Ordering::SeqCst)) {
                return Ok(Pull::Blocked(token));
            }
            said = true;
            Ok(if role == 0 { Pull::Morsel(2) } else { Pull::Chunk(chunk(1, &[1])) })
        })
    };
    let source = FnSource { make: Box::new(make), reset: Box::new(|| ()), parallelism: 2 };
    Stream::new(schema(), Arc::new(source), Vec::new())
}

#[test]
fn a_caller_gets_rows_that_became_ready_without_another_chunk() {
    let pool = Pool::new(2).expect("starts");
    let engine = Engine::on(pool.scheduler(), limited(None));
    let options = RunOptions { time_limit: Some(Duration::from_secs(5)), ..Default::default() };
    for _ in 0..20 {
        let slow = Slow::new();
        let stream = quiet(&slow);
        let mut running = engine.run_built(&options, |_| Ok(stream)).expect("starts");
        let opener = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1));
            slow.open();
        });
        let first = running.next().expect("a row").expect("in time");
        assert_eq!(values(&first), [1]);
        opener.join().expect("no panic");
    }
}

#[test]
fn progress_is_the_share_of_the_morsels_that_are_done() {
    let options = EngineOptions { threads: Some(2), ..Default::default() };
    let engine = Engine::new(options).expect("starts");
    assert_eq!(engine.progress(), None);
    let (gate, is_open) = (Gate::new(), Arc::new(AtomicBool::new(false)));
    let door = (gate.clone(), is_open.clone());
    let wait = transform(move || {
        let (gate, is_open) = door.clone();
        FnTransformWorker::pushing(move |chunk, _| {
            let token = gate.token();
            let through = chunk.place().morsel < 50 || is_open.load(Ordering::SeqCst);
            Ok(if through { Pushed::Chunk(chunk) } else { Pushed::Blocked(token, chunk) })
        })
    });
    let stream = integers(0, 2000).then(schema(), wait);
    let running = engine.run_built(&RunOptions::default(), |_| Ok(stream)).expect("starts");
    let reader = std::thread::spawn(move || all(running));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while engine.progress().is_none_or(|share| share < 0.5) {
        assert!(std::time::Instant::now() < deadline, "{:?}", engine.progress());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(engine.progress(), Some(0.5), "a hundred morsels");
    is_open.store(true, Ordering::SeqCst);
    gate.notify();
    assert_eq!(reader.join().expect("reads").expect("runs").len(), 2000);
    assert_eq!(engine.progress(), None);
}
