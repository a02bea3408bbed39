//! The states of the driver, one worker at a time.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::fakes::*;
use crate::batch::{MAX_CHUNK_ROWS, Selection};
use crate::error::Error;
use crate::pipeline::driver::{Driver, Turn};
use crate::pipeline::flow::Flow;
use crate::pipeline::*;
use crate::scheduler::{Gate, Token};

struct Rig {
    query: Arc<Query>,
    order: Order,
    flow: Arc<Flow>,
    source: Arc<FnSource>,
}

impl Rig {
    fn new(source: Arc<FnSource>, tree: Tree) -> Self {
        Rig { query: query(1), order: Order::new(), flow: Arc::new(Flow::new(&tree)), source }
    }

    fn driver_at(&self, first_morsel: u64) -> Driver {
        let cx = Context { order: self.order.clone(), ..context(&self.query, 0) };
        let mut lane = Some(self.order.open(first_morsel));
        Driver::new(&*self.source, first_morsel, self.flow.clone(), &mut lane, cx).expect("workers")
    }

    fn driver(&self) -> Driver {
        self.driver_at(0)
    }

    fn run(&self) {
        assert!(matches!(self.driver().turn(usize::MAX), Ok(Turn::Done)));
    }
}

fn blocked(turn: Result<Turn, Error>) -> Token {
    match turn {
        Ok(Turn::Blocked(token)) => token,
        other => panic!("not blocked: {other:?}"),
    }
}

/// Blocks each time it is asked while closed.
#[derive(Clone, Default)]
struct Door {
    open: Arc<AtomicBool>,
    gate: Gate,
}

impl Door {
    fn wait(&self) -> Option<Token> {
        let token = self.gate.token();
        (!self.open.load(Ordering::SeqCst)).then_some(token)
    }

    fn set(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
        self.gate.notify();
    }
}

#[test]
fn chunks_go_depth_first_and_are_numbered_within_their_morsel() {
    let (keep, tree) = sink(Keep::new());
    let tree = then(repeat(2), then(repeat(3), tree));
    Rig::new(numbers(3, 2, 1), tree).run();
    let got = keep.got();
    assert_eq!(got.len(), 3 * 2 * 6);
    let all: Vec<i64> = got.iter().flat_map(|(_, values)| values.clone()).collect();
    assert!(all.is_sorted());
    for (number, (place, _)) in got.iter().enumerate() {
        assert_eq!((place.morsel, place.sequence), (number as u64 / 12, number as u32 % 12));
    }
    assert_eq!(keep.combined.load(Ordering::SeqCst), 1);
}

#[test]
fn a_chunk_that_is_too_large_is_a_defect() {
    let at_most = vec![0; MAX_CHUNK_ROWS];
    let (keep, tree) = sink(Keep::new());
    Rig::new(script([Pull::Chunk(chunk(0, &at_most))]), tree.clone()).run();
    assert_eq!(keep.got()[0].1.len(), MAX_CHUNK_ROWS);
    let one_more = [at_most, vec![0]].concat();
    let rig = Rig::new(script([Pull::Chunk(chunk(0, &one_more))]), tree);
    let error = rig.driver().turn(usize::MAX).expect_err("is refused").to_string();
    assert!(error.contains("16385 rows behind fake source"), "{error}");
}

#[test]
fn a_turn_ends_after_its_steps() {
    let (keep, tree) = sink(Keep::new());
    let rig = Rig::new(numbers(4, 2, 1), tree);
    let mut driver = rig.driver();
    let mut turns = 0;
    while !matches!(driver.turn(1).expect("no error"), Turn::Done) {
        turns += 1;
    }
    assert_eq!(keep.got().len(), 8);
    assert!(turns >= 16, "a pull and a delivery each");
}

#[test]
fn empty_input_flushes_and_combines() {
    let (keep, tree) = sink(Keep::new());
    Rig::new(script([]), then(hold_back(), tree)).run();
    assert!(keep.got().is_empty());
    assert_eq!(keep.combined.load(Ordering::SeqCst), 1);
}

#[test]
fn chunks_without_live_rows_are_dropped_between_stages() {
    let (keep, tree) = sink(Keep::new());
    let odd = transform(|| {
        FnTransformWorker::pushing(|chunk, _| {
            assert!(!chunk.is_empty());
            let odd: Vec<u32> = (0u32..)
                .zip(values(&chunk))
                .filter(|(_, v)| v % 2 == 1)
                .map(|(row, _)| row)
                .collect();
            Ok(Pushed::Chunk(chunk.select(Selection::new(odd))))
        })
    });
    let pulls = [chunk(0, &[]), chunk(0, &[2, 4]), chunk(0, &[1, 2, 3]), chunk(1, &[5])];
    Rig::new(script(pulls.map(Pull::Chunk)), then(odd, tree)).run();
    let all: Vec<_> = keep.got().into_iter().map(|(p, v)| (p.morsel, p.sequence, v)).collect();
    assert_eq!(all, [(0, 0, vec![1, 3]), (1, 0, vec![5])]);
}

#[test]
fn a_blocked_source_is_pulled_again() {
    let gate = Gate::new();
    let (keep, tree) = sink(Keep::new());
    let pulls = [Pull::Blocked(gate.token()), Pull::Chunk(chunk(0, &[1]))];
    let rig = Rig::new(script(pulls), tree);
    let mut driver = rig.driver();
    let token = blocked(driver.turn(100));
    assert!(!token.is_stale());
    gate.notify();
    assert!(token.is_stale());
    assert!(matches!(driver.turn(100), Ok(Turn::Done)));
    assert_eq!(keep.got().len(), 1);
}

#[test]
fn a_blocked_sink_gets_its_chunk_again_with_the_same_number() {
    let door = Door::default();
    let inner = door.clone();
    let keep = Keep { before: Box::new(move |_| Ok(inner.wait())), ..Keep::new() };
    let (keep, tree) = sink(keep);
    let rig = Rig::new(numbers(1, 3, 2), tree);
    let mut driver = rig.driver();
    for _ in 0..3 {
        blocked(driver.turn(100));
    }
    assert!(keep.got().is_empty());
    door.set(true);
    assert!(matches!(driver.turn(100), Ok(Turn::Done)));
    keep.assert_numbered();
    assert_eq!(keep.sorted(), (0..6).collect::<Vec<_>>());
}

#[test]
fn a_blocked_transform_gets_its_chunk_again() {
    let gate = Gate::new();
    let (keep, tree) = sink(Keep::new());
    let rig = Rig::new(numbers(1, 3, 2), then(blocking(move || gate.token()), tree));
    let mut driver = rig.driver();
    for taken in 0..3 {
        blocked(driver.turn(100));
        assert_eq!(keep.got().len(), taken);
    }
    assert!(matches!(driver.turn(100), Ok(Turn::Done)));
    assert_eq!(keep.sorted(), (0..6).collect::<Vec<_>>());
}

/// Answers blocked once before each step, in `resume` and `flush`.
fn hesitant(gate: &Gate) -> Arc<FnTransform> {
    let gate = gate.clone();
    transform(move || {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (more, rest, gates) = (kept.clone(), kept.clone(), [gate.clone(), gate.clone()]);
        let mut worker = FnTransformWorker::pushing(move |chunk, _| {
            kept.lock().expect("lock").extend([chunk.clone(), chunk.clone()]);
            Ok(Pushed::HaveMore(chunk))
        });
        let [resume_gate, flush_gate] = gates;
        let (mut resumed, mut flushed) = (0, 0);
        worker.resume = Box::new(move |_| {
            resumed += 1;
            Ok(match resumed % 3 {
                1 => Step::Blocked(resume_gate.token()),
                2 => Step::Chunk(more.lock().expect("lock").pop().expect("kept")),
                _ => Step::Exhausted,
            })
        });
        worker.flush = Box::new(move |_| {
            flushed += 1;
            if flushed % 2 == 1 {
                return Ok(Step::Blocked(flush_gate.token()));
            }
            Ok(rest.lock().expect("lock").pop().map_or(Step::Exhausted, Step::Chunk))
        });
        worker
    })
}

#[test]
fn blocked_resume_flush_and_combine_are_tried_again() {
    let gate = Gate::new();
    let hesitated = AtomicUsize::new(0);
    let combine_gate = gate.clone();
    let before_combine =
        move || (hesitated.fetch_add(1, Ordering::SeqCst) < 2).then(|| combine_gate.token());
    let (keep, tree) = sink(Keep { before_combine: Box::new(before_combine), ..Keep::new() });
    let rig = Rig::new(numbers(1, 2, 1), then(hesitant(&gate), tree));
    let mut driver = rig.driver();
    let mut blocks = 0;
    while let Turn::Blocked(_) = driver.turn(usize::MAX).expect("no error") {
        blocks += 1;
    }
    // Twice in resume, three times in flush (two chunks and the end), twice in combine.
    assert_eq!(blocks, 7);
    assert_eq!(keep.sorted(), [0, 0, 0, 1, 1, 1]);
    keep.assert_numbered();
}

#[test]
fn flush_goes_from_the_first_stage_to_the_last() {
    let (keep, tree) = sink(Keep::new());
    Rig::new(numbers(2, 2, 1), then(hold_back(), then(hold_back(), tree))).run();
    assert_eq!(keep.sorted(), [0, 1, 2, 3]);
    keep.assert_numbered();
    assert!(keep.got().iter().all(|(place, _)| place.morsel == 1), "of the last morsel");
}

#[test]
fn both_branches_of_a_fork_get_everything() {
    let (left, left_tree) = sink(Keep::new());
    let (right, right_tree) = sink(Keep::new());
    let branches = vec![then(repeat(2), left_tree), then(hold_back(), right_tree)];
    Rig::new(numbers(2, 2, 1), Tree::Fork(branches)).run();
    assert_eq!(left.sorted(), [0, 0, 1, 1, 2, 2, 3, 3]);
    assert_eq!(right.sorted(), [0, 1, 2, 3]);
    left.assert_numbered();
    right.assert_numbered();
}

#[test]
fn a_limit_in_one_branch_leaves_the_other_alone_and_both_stop_the_source() {
    let (left, left_tree) = sink(Keep::new());
    let (right, right_tree) = sink(Keep { limit: 5, ..Keep::new() });
    let branches = vec![then(repeat(2), then(limit(3), left_tree)), right_tree];
    let rig = Rig::new(numbers(1000, 1, 1), Tree::Fork(branches));
    rig.run();
    assert_eq!(left.sorted(), [0, 0, 1]);
    assert_eq!(right.sorted(), [0, 1, 2, 3, 4]);
    let Ok(Pull::Chunk(next)) = (rig.source.make)()(&context(&rig.query, 0)) else {
        panic!("the source was read to its end");
    };
    assert_eq!(next.place().morsel, 5, "nothing was pulled after the last branch was finished");
}

#[test]
fn one_workers_limit_stops_the_others() {
    let (keep, tree) = sink(Keep::new());
    let rig = Rig::new(numbers(10, 2, 1), then(limit(1), tree));
    let mut drivers = [rig.driver(), rig.driver()];
    assert!(matches!(drivers[1].turn(1), Ok(Turn::Yield)), "has a chunk at hand");
    assert!(matches!(drivers[0].turn(usize::MAX), Ok(Turn::Done)));
    assert!(matches!(drivers[1].turn(usize::MAX), Ok(Turn::Done)));
    assert_eq!(keep.got().len(), 1);
    assert_eq!(keep.combined.load(Ordering::SeqCst), 2);
}

#[test]
fn rows_held_back_by_a_finished_transform_are_flushed() {
    let (keep, tree) = sink(Keep::new());
    let held = transform(|| {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let rest = kept.clone();
        let mut worker = FnTransformWorker::pushing(move |chunk, _| {
            kept.lock().expect("lock").push(chunk);
            Ok(Pushed::Finished(None))
        });
        worker.flush = Box::new(move |_| Ok(Step::Finished(rest.lock().expect("lock").pop())));
        worker
    });
    Rig::new(numbers(10, 2, 1), then(held, then(hold_back(), tree))).run();
    assert_eq!(keep.sorted(), [0]);
}

#[test]
fn the_lane_moves_when_everything_before_is_delivered() {
    let order = Arc::new(Mutex::new(None::<Order>));
    let lows = Arc::new(Mutex::new(Vec::new()));
    let (seen, noted) = (order.clone(), lows.clone());
    let before = move |chunk: &crate::batch::Chunk| {
        let order = seen.lock().expect("lock");
        let low = order.as_ref().expect("set").low();
        noted.lock().expect("lock").push((low, chunk.place().morsel));
        Ok(None)
    };
    let (_, tree) = sink(Keep { before: Box::new(before), ..Keep::new() });
    let pulls = [
        Pull::Chunk(chunk(0, &[1])),
        Pull::Morsel(3),
        Pull::Chunk(chunk(3, &[2])),
        Pull::Chunk(chunk(7, &[3])),
    ];
    let rig = Rig::new(script(pulls), then(repeat(2), tree));
    *order.lock().expect("lock") = Some(rig.order.clone());
    let mut driver = rig.driver_at(100);
    assert!(matches!(driver.turn(usize::MAX), Ok(Turn::Done)));
    let lows = lows.lock().expect("lock").clone();
    assert_eq!(lows, [100, 100, 103, 103, 107, 107].map(|low| (low, low)));
    assert_eq!(rig.order.low(), u64::MAX, "closed at the end of the input");
}

#[test]
fn sinks_end_a_morsel_before_the_lane_moves() {
    let order = Arc::new(Mutex::new(None::<Order>));
    let ends = Arc::new(Mutex::new(Vec::new()));
    let gate = Gate::new();
    let (seen, noted) = (order.clone(), ends.clone());
    let at_end = move |chunks: usize| {
        let low = seen.lock().expect("lock").as_ref().expect("set").low();
        let mut ends = noted.lock().expect("lock");
        ends.push((low, chunks));
        (ends.len() % 2 == 1).then(|| gate.token())
    };
    let (_, tree) = sink(Keep { at_end: Box::new(at_end), ..Keep::new() });
    let chunk_at = |morsel| Pull::Chunk(chunk(morsel, &[1]));
    let pulls = [chunk_at(0), chunk_at(0), chunk_at(2), Pull::Morsel(3), Pull::Morsel(5)];
    let rig = Rig::new(script(pulls), then(hold_back(), then(repeat(2), tree)));
    *order.lock().expect("lock") = Some(rig.order.clone());
    let mut driver = rig.driver();
    for _ in 0..4 {
        blocked(driver.turn(usize::MAX));
    }
    assert!(matches!(driver.turn(usize::MAX), Ok(Turn::Done)));
    // Rows that a transform has held back come with the last one.
    let ends = ends.lock().expect("lock").clone();
    assert_eq!(ends, [(0, 0), (0, 0), (2, 0), (2, 0), (3, 0), (3, 0), (5, 6), (5, 6)]);
    assert_eq!(rig.order.low(), u64::MAX);
}

#[test]
fn a_source_that_goes_back_is_a_defect() {
    let (_, tree) = sink(Keep::new());
    let pulls = [Pull::Chunk(chunk(4, &[1])), Pull::Chunk(chunk(3, &[1]))];
    let rig = Rig::new(script(pulls), tree);
    let error = rig.driver().turn(100).expect_err("an error");
    assert!(error.to_string().contains("fake source went back"), "{error}");
}

#[test]
fn errors_and_cancellation_end_every_state() {
    let gate = Gate::new();
    let (keep, tree) = sink(Keep::new());
    let tree = then(hesitant(&gate), then(blocking(move || gate.token()), tree));
    // Cancels after every possible number of steps.
    for steps in 0..40 {
        let rig = Rig::new(numbers(1, 2, 1), tree.clone());
        let mut driver = rig.driver();
        let mut ended = false;
        for _ in 0..steps {
            ended |= matches!(driver.turn(1), Ok(Turn::Done));
        }
        rig.query.cancel.interrupt();
        let turn = driver.turn(1);
        assert!(matches!(turn, Err(Error::Cancelled { reason: "interrupted" })), "{steps}");
        drop(driver);
        assert_eq!(keep.workers.load(Ordering::SeqCst), 0);
        assert!(rig.order.low() < u64::MAX || steps > 20, "what was not delivered is not complete");
        assert!(!ended || steps > 20);
    }
}

#[test]
fn a_failing_stage_is_named_by_the_driver() {
    let (_, tree) =
        sink(Keep { before: Box::new(|_| Err(Error::input("no room"))), ..Keep::new() });
    let rig = Rig::new(numbers(1, 2, 1), then(repeat(2), tree));
    let mut driver = rig.driver();
    assert_eq!(driver.at(), "fake source");
    assert_eq!(driver.turn(100).expect_err("fails").to_string(), "no room");
    assert_eq!(driver.at(), "fake sink");
}
