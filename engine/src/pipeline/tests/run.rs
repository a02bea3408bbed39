//! Whole runs of fake pipelines, under many seeds and on real threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::fakes::*;
use crate::error::{Error, Result};
use crate::pipeline::*;
use crate::scheduler::{Gate, Pool, Scheduler, Seeded, Task, TaskState};

fn pipeline(source: Arc<dyn Source>, tree: Tree, after: &[usize]) -> Pipeline {
    let after = after.iter().map(|&id| PipelineId(id)).collect();
    Pipeline { source, first_morsel: 0, tree, after }
}

/// Runs `test` on many seeded schedulers and on pools of 1, 2 and 4 threads.
fn everywhere(mut test: impl FnMut(Arc<dyn Scheduler>)) {
    for seed in 0..40 {
        test(Arc::new(Seeded::new(seed, 1 + seed as usize % 4)));
    }
    for threads in [1, 2, 4] {
        let pool = Pool::new(threads).expect("starts");
        for _ in 0..5 {
            test(pool.scheduler());
        }
    }
}

fn run_with(list: Vec<Pipeline>, query: &Arc<Query>, scheduler: &Arc<dyn Scheduler>) -> Result<()> {
    let run = Run::start(Pipelines { list }, query.clone(), scheduler.clone())?;
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let token = run.token();
        if let Some(outcome) = run.outcome() {
            return outcome;
        }
        assert!(scheduler.wait(&[token], Some(until)), "the run does not end");
    }
}

fn run(list: Vec<Pipeline>, scheduler: &Arc<dyn Scheduler>) -> Result<()> {
    run_with(list, &query(scheduler.threads()), scheduler)
}

/// Notifies its gate at every turn, until the query is over.
struct Ticker {
    gate: Gate,
    query: Arc<Query>,
}

impl Task for Ticker {
    fn run(&mut self) -> TaskState {
        self.gate.notify();
        if self.query.cancel.is_raised() { TaskState::Done } else { TaskState::Yield }
    }

    fn panicked(&mut self, _: String) {}
}

#[test]
fn nothing_to_run_is_over_at_once() {
    everywhere(|scheduler| run(Vec::new(), &scheduler).expect("succeeds"));
}

#[test]
fn pipelines_run_in_the_order_of_their_dependencies() {
    everywhere(|scheduler| {
        let finished = Arc::new(Mutex::new(Vec::new()));
        let noting = |name: usize, tasks: usize| {
            let finished = finished.clone();
            let finish = move |_: usize, _: &Context| {
                finished.lock().expect("lock").push(name);
                Ok(())
            };
            sink(Keep { tasks, finish: Box::new(finish), ..Keep::new() })
        };
        let sinks: Vec<_> = (0..4).map(|name| noting(name, 1 + 3 * name)).collect();
        let tree = |number: usize| sinks[number].1.clone();
        let list = vec![
            pipeline(numbers(5, 2, 3), tree(3), &[1, 2]),
            pipeline(numbers(7, 1, 2), then(repeat(2), tree(1)), &[3]),
            pipeline(numbers(4, 3, 1), then(hold_back(), tree(2)), &[3]),
            pipeline(numbers(6, 2, 2), tree(0), &[]),
        ];
        run(list, &scheduler).expect("succeeds");
        let order = finished.lock().expect("lock").clone();
        let at = |name| order.iter().position(|n| *n == name).expect("finished");
        let end = |name| order.iter().rposition(|n| *n == name).expect("finished");
        assert_eq!(order.len(), 1 + 4 + 7 + 10);
        assert!(end(0) < at(1) && end(0) < at(2), "{order:?}");
        assert!(end(1) < at(3) && end(2) < at(3), "{order:?}");
        assert_eq!(sinks[0].0.sorted(), (0..24).collect::<Vec<_>>());
        assert_eq!(sinks[1].0.sorted().len(), 28);
        assert_eq!(sinks[2].0.sorted(), (0..12).collect::<Vec<_>>());
        assert_eq!(sinks[3].0.sorted(), (0..30).collect::<Vec<_>>());
        for (keep, _) in &sinks {
            keep.assert_numbered();
            assert_eq!(keep.prepared.load(Ordering::SeqCst), 1);
        }
    });
}

/// Pipelines are counted while something of them is done: in a transform, and when they finish.
#[test]
fn no_more_pipelines_run_at_once_than_the_query_says() {
    everywhere(|scheduler| {
        for allowed in 1..=3 {
            let open = Arc::new(Mutex::new(Vec::new()));
            let note = |name: usize| {
                let open = open.clone();
                move || {
                    let mut open = open.lock().expect("lock");
                    if !open.contains(&name) {
                        open.push(name);
                    }
                    assert!(open.len() <= allowed, "{open:?} at once");
                }
            };
            let counted = |name: usize| {
                let (begun, ended) = (note(name), open.clone());
                let finish = move |task: usize, _: &Context| {
                    if task == 2 {
                        ended.lock().expect("lock").retain(|&n| n != name);
                    }
                    Ok(())
                };
                let (keep, tree) = sink(Keep { tasks: 3, finish: Box::new(finish), ..Keep::new() });
                let noting = transform(move || {
                    let begun = begun.clone();
                    FnTransformWorker::pushing(move |chunk, _| {
                        begun();
                        Ok(Pushed::Chunk(chunk))
                    })
                });
                (keep, pipeline(numbers(4, 2, 3), then(noting, tree), &[]))
            };
            let (keeps, list): (Vec<_>, Vec<_>) = (0..5).map(counted).unzip();
            let query = abreast(scheduler.threads(), allowed);
            run_with(list, &query, &scheduler).expect("succeeds");
            for keep in keeps {
                assert_eq!(keep.sorted().len(), 24);
            }
        }
    });
}

#[test]
fn a_sink_finishes_after_its_last_arm_and_the_arms_share_an_order() {
    everywhere(|scheduler| {
        let lows = Arc::new(Mutex::new(Vec::new()));
        let noting = |lows: &Arc<Mutex<Vec<u64>>>| {
            let lows = lows.clone();
            transform(move || {
                let lows = lows.clone();
                FnTransformWorker::pushing(move |chunk, cx| {
                    let low = cx.order.low();
                    assert!(low <= chunk.place().morsel);
                    lows.lock().expect("lock").push(low);
                    Ok(Pushed::Chunk(chunk))
                })
            })
        };
        let (keep, tree) = sink(Keep { tasks: 2, ..Keep::new() });
        let (_, gate_tree) = sink(Keep::new());
        // The second arm waits for another pipeline, the third for the second arm itself.
        let mut list = vec![
            pipeline(numbers(3, 2, 1), then(noting(&lows), tree.clone()), &[]),
            pipeline(numbers(3, 2, 1), then(noting(&lows), tree.clone()), &[3]),
            pipeline(numbers(3, 2, 1), then(noting(&lows), tree), &[1]),
            pipeline(numbers(9, 2, 1), gate_tree, &[]),
        ];
        for (number, arm) in list.iter_mut().take(3).enumerate() {
            arm.first_morsel = 100 * number as u64;
        }
        run(list, &scheduler).expect("succeeds");
        let got = keep.got();
        assert_eq!(got.len(), 18);
        keep.assert_numbered();
        let third = got.iter().position(|(place, _)| place.morsel >= 200).expect("third arm");
        let second = got.iter().rposition(|(p, _)| (100..200).contains(&p.morsel)).expect("it");
        assert!(second < third, "the third arm starts when the second has combined");
        assert_eq!(keep.prepared.load(Ordering::SeqCst), 1);
        assert_eq!(keep.finished.load(Ordering::SeqCst), 2);
        let lows = lows.lock().expect("lock").clone();
        assert!(lows.iter().all(|low| *low < 203));
    });
}

/// Refuses its first workers, or others, for want of memory.
struct Crowded {
    source: Arc<FnSource>,
    asked: AtomicUsize,
    refuses: fn(usize) -> bool,
}

impl Source for Crowded {
    fn name(&self) -> &str {
        "crowded source"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SourceWorker>> {
        if (self.refuses)(self.asked.fetch_add(1, Ordering::SeqCst)) {
            let (who, detail) = ("crowded source".to_string(), "no room".to_string());
            return Err(Error::OutOfMemory { who, asked_bytes: 1, detail });
        }
        self.source.worker(cx)
    }

    fn parallelism(&self) -> usize {
        4
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn workers_that_have_no_room_to_begin_leave_their_morsels_to_the_others() {
    everywhere(|scheduler| {
        let ways: [fn(usize) -> bool; 4] =
            [|_| true, |worker| worker > 0, |worker| worker < 2, |worker| worker % 2 == 1];
        for refuses in ways {
            let finish = |_: usize, cx: &Context| {
                assert_eq!(cx.order.low(), u64::MAX, "nobody's place is waited for");
                Ok(())
            };
            let (keep, tree) = sink(Keep { tasks: 1, finish: Box::new(finish), ..Keep::new() });
            let source = Crowded { source: numbers(9, 2, 3), asked: AtomicUsize::new(0), refuses };
            let workers = scheduler.threads().min(4);
            let begins = (0..workers).any(|worker| !refuses(worker));
            let outcome = run(vec![pipeline(Arc::new(source), tree, &[])], &scheduler);
            match outcome {
                Ok(()) => assert_eq!(keep.sorted(), (0..54).collect::<Vec<_>>()),
                Err(error) => {
                    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
                    assert!(!begins, "{error}");
                }
            }
            assert_eq!(keep.finished.load(Ordering::SeqCst), usize::from(begins));
        }
    });
}

#[test]
fn an_error_in_the_middle_of_finishing_ends_the_run() {
    everywhere(|scheduler| {
        let finish = |task: usize, _: &Context| match task {
            3 => Err(Error::input("task 3 fails")),
            _ => Ok(()),
        };
        let (keep, tree) = sink(Keep { tasks: 8, finish: Box::new(finish), ..Keep::new() });
        let (next, next_tree) = sink(Keep::new());
        let list = vec![
            pipeline(numbers(3, 2, 1), tree, &[]),
            pipeline(numbers(3, 2, 1), next_tree, &[0]),
        ];
        let error = run(list, &scheduler).expect_err("fails");
        assert_eq!(error.to_string(), "task 3 fails");
        assert!(keep.finished.load(Ordering::SeqCst) >= 3);
        assert!(next.got().is_empty(), "what depends on it does not start");
    });
}

#[test]
fn the_same_pipelines_run_twice() {
    everywhere(|scheduler| {
        let (build, build_tree) = sink(Keep { tasks: 2, ..Keep::new() });
        let (keep, tree) = sink(Keep::new());
        let list = vec![
            pipeline(numbers(4, 2, 2), build_tree, &[]),
            pipeline(numbers(5, 2, 3), then(repeat(2), tree), &[0]),
        ];
        let pipelines = Pipelines { list };
        for round in 1..=3 {
            run(pipelines.list.clone(), &scheduler).expect("succeeds");
            assert_eq!(build.sorted(), (0..16).collect::<Vec<_>>());
            assert_eq!(keep.sorted().len(), 60);
            assert_eq!(keep.prepared.load(Ordering::SeqCst), round);
            pipelines.reset().expect("resets");
            assert!(keep.got().is_empty());
        }
    });
}

#[test]
fn a_satisfied_limit_stops_the_source() {
    everywhere(|scheduler| {
        let pulled = Arc::new(AtomicUsize::new(0));
        let counter = pulled.clone();
        let counting = transform(move || {
            let counter = counter.clone();
            FnTransformWorker::pushing(move |chunk, _| {
                counter.fetch_add(1, Ordering::SeqCst);
                Ok(Pushed::Chunk(chunk))
            })
        });
        let (keep, tree) = sink(Keep::new());
        let tree = then(counting, then(limit(3), tree));
        run(vec![pipeline(numbers(1_000_000, 1, 1), tree, &[])], &scheduler).expect("succeeds");
        assert_eq!(keep.got().len(), 3);
        assert!(pulled.load(Ordering::SeqCst) < 1_000_000);
    });
}

#[test]
fn cancellation_in_every_state_leaves_nothing_behind() {
    // The n-th call of any role cancels the query.
    let mut endings = [0, 0];
    for at in 0..120 {
        for seed in 0..4 {
            let scheduler: Arc<dyn Scheduler> = Arc::new(Seeded::new(seed, 2));
            let query = query(2);
            let calls = Arc::new(AtomicUsize::new(0));
            let call = {
                let (calls, cancel) = (calls.clone(), query.cancel.clone());
                move || {
                    if calls.fetch_add(1, Ordering::SeqCst) == at {
                        cancel.interrupt();
                    }
                }
            };
            let gate = Gate::new();
            let (first, block) = (call.clone(), gate.clone());
            let calling = transform(move || {
                let call = first.clone();
                FnTransformWorker::pushing(move |chunk, _| {
                    call();
                    Ok(Pushed::Chunk(chunk))
                })
            });
            let keep = || {
                let (before, combine, finish) = (call.clone(), call.clone(), call.clone());
                sink(Keep {
                    before: Box::new(move |_| {
                        before();
                        Ok(None)
                    }),
                    before_combine: Box::new(move || {
                        combine();
                        None
                    }),
                    tasks: 3,
                    finish: Box::new(move |_, _| {
                        finish();
                        Ok(())
                    }),
                    ..Keep::new()
                })
            };
            let ((one, one_tree), (two, two_tree)) = (keep(), keep());
            let blocks = blocking(move || block.token());
            let list = vec![
                pipeline(numbers(3, 2, 1), then(calling, then(blocks, one_tree)), &[]),
                pipeline(numbers(3, 2, 1), then(hold_back(), two_tree), &[0]),
            ];
            // Wakes the blocked ones now and then.
            let ticker = Ticker { gate, query: query.clone() };
            let stop = crate::scheduler::Cancel::new();
            scheduler.spawn(Box::new(ticker), &stop);
            let outcome = run_with(list, &query, &scheduler);
            let cancelled = match outcome {
                Ok(()) => 0,
                Err(Error::Cancelled { reason: "interrupted" }) => 1,
                Err(error) => panic!("{error}"),
            };
            endings[cancelled] += 1;
            for keep in [one, two] {
                assert_eq!(keep.workers.load(Ordering::SeqCst), 0);
                assert_eq!(Arc::strong_count(&keep), 1, "the roles are dropped");
            }
            query.cancel.abandon();
        }
    }
    assert!(endings[0] > 0 && endings[1] > 100, "{endings:?}");
}

#[test]
fn a_blocked_run_ends_when_it_is_cancelled_and_holds_up_nobody() {
    for threads in [1, 2, 4] {
        let pool = Pool::new(threads).expect("starts");
        let scheduler = pool.scheduler();
        let gate = Gate::new();
        let never = gate.clone();
        let blocked = Keep { before: Box::new(move |_| Ok(Some(never.token()))), ..Keep::new() };
        let (blocked, blocked_tree) = sink(blocked);
        let held = query(threads);
        let list = vec![pipeline(numbers(8, 2, 1), blocked_tree, &[])];
        let holding = Run::start(Pipelines { list }, held.clone(), scheduler.clone());
        let holding = holding.expect("starts");
        for _ in 0..5 {
            let (keep, tree) = sink(Keep::new());
            run(vec![pipeline(numbers(8, 2, 1), tree, &[])], &scheduler).expect("succeeds");
            assert_eq!(keep.got().len(), 16);
        }
        assert!(holding.outcome().is_none());
        held.cancel.expire(Duration::from_secs(2));
        let error = holding.wait().expect_err("stopped");
        assert!(error.to_string().contains("the limit of 2s"), "{error}");
        assert_eq!(blocked.workers.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&blocked), 1);
    }
}

#[test]
fn panics_become_errors_of_the_run_with_the_name_of_the_role() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    type Make = fn() -> (Arc<dyn Source>, Tree, &'static str);
    let cases: [Make; 4] = [
        || {
            let source = FnSource {
                make: Box::new(|| Box::new(|_| panic!("pull"))),
                reset: Box::new(|| ()),
                parallelism: 3,
            };
            (Arc::new(source), sink(Keep::new()).1, "panic in fake source: pull")
        },
        || {
            let pushing = || FnTransformWorker::pushing(|_, _| panic!("push"));
            let tree = then(transform(pushing), sink(Keep::new()).1);
            (numbers(3, 1, 1), tree, "panic in fake transform: push")
        },
        || {
            let finish = |_: usize, _: &Context| panic!("finish");
            let keep = Keep { tasks: 4, finish: Box::new(finish), ..Keep::new() };
            (numbers(3, 1, 1), sink(keep).1, "panic in fake sink (finishing): finish")
        },
        || {
            let make = || panic!("worker");
            (numbers(3, 1, 1), then(transform(make), sink(Keep::new()).1), "worker")
        },
    ];
    let outcomes = std::panic::catch_unwind(|| {
        everywhere(|scheduler| {
            for case in cases {
                let (source, tree, message) = case();
                let error = run(vec![pipeline(source, tree, &[])], &scheduler);
                let error = error.expect_err("fails").to_string();
                assert!(error.contains(message), "{error}");
            }
        });
    });
    std::panic::set_hook(hook);
    outcomes.expect("no assertion failed");
}

#[test]
fn the_first_error_is_always_the_same_with_a_seed() {
    let error_under = |seed| {
        let scheduler: Arc<dyn Scheduler> = Arc::new(Seeded::new(seed, 4));
        let failing = |name: &'static str| {
            let make = move || {
                FnTransformWorker::pushing(move |chunk, cx| match chunk.place().morsel {
                    5 => Err(Error::input(format!("{name} of worker {}", cx.worker))),
                    _ => Ok(Pushed::Chunk(chunk)),
                })
            };
            pipeline(numbers(9, 300, 1), then(transform(make), sink(Keep::new()).1), &[])
        };
        run(vec![failing("a"), failing("b")], &scheduler).expect_err("fails").to_string()
    };
    let errors: Vec<String> = (0..20).map(error_under).collect();
    for (seed, error) in errors.iter().enumerate() {
        assert_eq!(*error, error_under(seed as u64));
    }
    assert!(errors.iter().any(|error| *error != errors[0]), "the order differs by seed");
}

#[test]
fn roles_are_dropped_as_soon_as_their_pipeline_is_over() {
    everywhere(|scheduler| {
        let (first, first_tree) = sink(Keep::new());
        let seen = Arc::downgrade(&first);
        drop(first);
        let alive = transform(move || {
            let seen = seen.clone();
            FnTransformWorker::pushing(move |chunk, _| {
                assert_eq!(seen.strong_count(), 0, "nobody needs the first sink any more");
                Ok(Pushed::Chunk(chunk))
            })
        });
        let (keep, tree) = sink(Keep::new());
        let list = vec![
            pipeline(numbers(2, 1, 1), first_tree, &[]),
            pipeline(numbers(2, 1, 1), then(alive, tree), &[0]),
        ];
        run(list, &scheduler).expect("succeeds");
        assert_eq!(keep.got().len(), 2);
    });
}

#[test]
fn everything_arrives_whatever_blocks() {
    everywhere(|scheduler| {
        let query = query(scheduler.threads());
        let gate = Gate::new();
        let ticker = Ticker { gate: gate.clone(), query: query.clone() };
        scheduler.spawn(Box::new(ticker), &crate::scheduler::Cancel::new());
        let counter = Arc::new(AtomicUsize::new(0));
        let block = |every: usize| {
            let (gate, counter) = (gate.clone(), counter.clone());
            move || {
                let token = gate.token();
                (counter.fetch_add(1, Ordering::SeqCst) % every == 0).then_some(token)
            }
        };
        let hesitating = || {
            let (consume, combine) = (block(3), block(2));
            sink(Keep {
                before: Box::new(move |_| Ok(consume())),
                before_combine: Box::new(combine),
                ..Keep::new()
            })
        };
        let ((left, left_tree), (right, right_tree)) = (hesitating(), hesitating());
        let waits = gate.clone();
        let right_tree = then(blocking(move || waits.token()), then(hold_back(), right_tree));
        let tree = Tree::Fork(vec![then(repeat(2), left_tree), right_tree]);
        let list = vec![pipeline(numbers(20, 3, 2), tree, &[])];
        run_with(list, &query, &scheduler).expect("succeeds");
        query.cancel.abandon();
        let expected: Vec<i64> = (0..120).collect();
        assert_eq!(right.sorted(), expected);
        let mut twice: Vec<i64> = expected.iter().flat_map(|&v| [v, v]).collect();
        twice.sort_unstable();
        assert_eq!(left.sorted(), twice);
        left.assert_numbered();
        right.assert_numbered();
    });
}
