//! Tests of the pool on real threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::scheduler::{Gate, TaskState};

/// A task made of a closure; `panicked` is told to the log.
struct Act<F> {
    act: F,
    log: Log,
}

#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    gate: Gate,
}

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.lines.lock().expect("not poisoned").push(line.into());
        self.gate.notify();
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("not poisoned").clone()
    }

    fn wait_for(&self, scheduler: &dyn Scheduler, count: usize) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let token = self.gate.token();
            if self.lines().len() >= count {
                return;
            }
            assert!(scheduler.wait(&[token], Some(until)), "{count} lines, has {:?}", self.lines());
        }
    }
}

impl<F: FnMut() -> TaskState + Send> Task for Act<F> {
    fn run(&mut self) -> TaskState {
        (self.act)()
    }

    fn panicked(&mut self, message: String) {
        self.log.add(message);
    }
}

fn spawn(
    scheduler: &Arc<dyn Scheduler>,
    log: &Log,
    cancel: &Cancel,
    act: impl FnMut() -> TaskState + Send + 'static,
) {
    scheduler.spawn(Box::new(Act { act, log: log.clone() }), cancel);
}

#[test]
fn tasks_spawned_by_tasks_all_run() {
    for threads in [1, 2, 4] {
        let pool = Pool::new(threads).expect("starts");
        let scheduler = pool.scheduler();
        assert_eq!(scheduler.threads(), threads);
        let (log, cancel) = (Log::default(), Cancel::new());
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let (inner, ilog, icancel, icount) =
                (scheduler.clone(), log.clone(), cancel.clone(), count.clone());
            spawn(&scheduler, &log, &cancel, move || {
                for _ in 0..100 {
                    let (log, count) = (ilog.clone(), icount.clone());
                    let mut turns = 0;
                    spawn(&inner, &ilog, &icancel, move || {
                        turns += 1;
                        if turns < 3 {
                            return TaskState::Yield;
                        }
                        if count.fetch_add(1, Ordering::SeqCst) + 1 == 1000 {
                            log.add("all");
                        }
                        TaskState::Done
                    });
                }
                TaskState::Done
            });
        }
        log.wait_for(&*scheduler, 1);
    }
}

#[test]
fn a_task_that_never_ends_does_not_keep_others_from_running() {
    let pool = Pool::new(1).expect("starts");
    let scheduler = pool.scheduler();
    let (log, cancel) = (Log::default(), Cancel::new());
    spawn(&scheduler, &log, &cancel, || TaskState::Yield);
    for _ in 0..20 {
        let inner = log.clone();
        spawn(&scheduler, &log, &cancel, move || {
            inner.add("ran");
            TaskState::Done
        });
    }
    log.wait_for(&*scheduler, 20);
}

#[test]
fn blocked_tasks_hold_no_thread_and_wake_by_gate_or_cancellation() {
    for threads in [1, 2] {
        let pool = Pool::new(threads).expect("starts");
        let scheduler = pool.scheduler();
        let (log, gate) = (Log::default(), Gate::new());
        let open = Arc::new(AtomicUsize::new(0));
        let cancels: Vec<Cancel> = (0..8).map(|_| Cancel::new()).collect();
        for cancel in &cancels {
            let (ilog, igate, iopen, icancel) =
                (log.clone(), gate.clone(), open.clone(), cancel.clone());
            let mut told = false;
            spawn(&scheduler, &log, cancel, move || {
                let token = igate.token();
                if icancel.is_raised() || iopen.load(Ordering::SeqCst) == 1 {
                    ilog.add(if icancel.is_raised() { "cancelled" } else { "opened" });
                    return TaskState::Done;
                }
                if !std::mem::replace(&mut told, true) {
                    ilog.add("blocked");
                }
                TaskState::Blocked(token)
            });
        }
        log.wait_for(&*scheduler, 8);
        cancels[3].interrupt();
        log.wait_for(&*scheduler, 9);
        assert_eq!(log.lines().pop().as_deref(), Some("cancelled"));
        open.store(1, Ordering::SeqCst);
        gate.notify();
        log.wait_for(&*scheduler, 16);
        assert_eq!(log.lines().iter().filter(|line| *line == "opened").count(), 7);
    }
}

#[test]
fn a_panic_is_told_to_its_task_and_the_thread_goes_on() {
    let pool = Pool::new(1).expect("starts");
    let scheduler = pool.scheduler();
    let (log, cancel) = (Log::default(), Cancel::new());
    spawn(&scheduler, &log, &cancel, || panic!("on purpose {}", 1));
    spawn(&scheduler, &log, &cancel, || std::panic::panic_any(5));
    log.wait_for(&*scheduler, 2);
    assert_eq!(log.lines(), ["on purpose 1", "a panic without a message"]);
}

#[test]
fn fewer_active_workers_finish_everything() {
    let pool = Pool::new(4).expect("starts");
    let scheduler = pool.scheduler();
    let (log, cancel) = (Log::default(), Cancel::new());
    let running = Arc::new(AtomicUsize::new(0));
    for round in 0..50 {
        scheduler.set_active([1, 4, 2, 0, 3][round % 5]);
        for _ in 0..8 {
            let (ilog, mut turns) = (log.clone(), 0);
            spawn(&scheduler, &log, &cancel, move || {
                turns += 1;
                if turns < 5 {
                    return TaskState::Yield;
                }
                ilog.add("done");
                TaskState::Done
            });
        }
    }
    log.wait_for(&*scheduler, 400);
    scheduler.set_active(1);
    // Workers sent to the bench end their turns first.
    std::thread::sleep(Duration::from_millis(20));
    for _ in 0..4 {
        let ilog = log.clone();
        spawn(&scheduler, &log, &cancel, move || {
            ilog.add("settled");
            TaskState::Done
        });
    }
    log.wait_for(&*scheduler, 404);
    let most = Arc::new(AtomicUsize::new(0));
    for _ in 0..20 {
        let (ilog, running, most) = (log.clone(), running.clone(), most.clone());
        spawn(&scheduler, &log, &cancel, move || {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros(100));
            running.fetch_sub(1, Ordering::SeqCst);
            ilog.add("one by one");
            TaskState::Done
        });
    }
    log.wait_for(&*scheduler, 424);
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_dropped_pool_drops_queued_and_late_tasks() {
    let pool = Pool::new(2).expect("starts");
    let scheduler = pool.scheduler();
    let (log, cancel, gate) = (Log::default(), Cancel::new(), Gate::new());
    let held = Arc::new(());
    for _ in 0..4 {
        let (held, token) = (held.clone(), gate.token());
        spawn(&scheduler, &log, &cancel, move || {
            let _ = &held;
            TaskState::Blocked(token.clone())
        });
    }
    let busy = held.clone();
    spawn(&scheduler, &log, &cancel, move || {
        let _ = &busy;
        TaskState::Yield
    });
    drop(pool);
    gate.notify();
    let late = held.clone();
    spawn(&scheduler, &log, &cancel, move || {
        let _ = &late;
        TaskState::Yield
    });
    assert_eq!(Arc::strong_count(&held), 1);
}
