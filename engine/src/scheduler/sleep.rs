//! How worker threads sleep while there is nothing to run, and who of them may work.
//!
//! Protocol of a worker that found nothing: read [`Sleep::epoch`], search once more, and
//! [`Sleep::sleep`] on the epoch read. Whoever queues a task calls [`Sleep::announce`] afterwards.
//! Either the second search sees the task, or the epoch has moved and the worker does not sleep.
//!
//! Workers with a number of at least `active` wait on a bench of their own, so that an announcement
//! never wakes one that may not work. [`Sleep::set_active`] wakes everybody, since an announcement
//! may have gone to a worker that it sends to the bench.
//!
//! Concurrency: one lock, taken once per turn of a task (milliseconds).

use super::sync::{Condvar, Mutex, lock, wait};

/// What a worker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orders {
    /// Run tasks.
    Work,
    /// Hand over what it has and wait on the bench.
    Rest,
    /// End.
    Stop,
}

struct State {
    /// Announcements so far.
    epoch: u64,
    /// Workers that sleep because there is nothing to run.
    idle: usize,
    /// Workers below this number may work.
    active: usize,
    stopping: bool,
}

/// The sleeping places of a pool's workers.
pub(super) struct Sleep {
    state: Mutex<State>,
    bell: Condvar,
    bench: Condvar,
}

impl Sleep {
    pub(super) fn new(active: usize) -> Self {
        let state = State { epoch: 0, idle: 0, active, stopping: false };
        Sleep { state: Mutex::new(state), bell: Condvar::new(), bench: Condvar::new() }
    }

    /// What `worker` is to do next.
    pub(super) fn orders(&self, worker: usize) -> Orders {
        orders(&lock(&self.state), worker)
    }

    /// Announcements so far; read before the last search.
    pub(super) fn epoch(&self) -> u64 {
        lock(&self.state).epoch
    }

    /// Says that something was queued, and wakes one sleeper for it. Returns whether anybody will
    /// run it: not when the pool is stopping.
    pub(super) fn announce(&self) -> bool {
        let mut state = lock(&self.state);
        state.epoch += 1;
        if state.idle > 0 {
            self.bell.notify_one();
        }
        !state.stopping
    }

    /// Sleeps until something is announced after `epoch`, or the worker's orders change.
    pub(super) fn sleep(&self, worker: usize, epoch: u64) {
        let mut state = lock(&self.state);
        state.idle += 1;
        while state.epoch == epoch && orders(&state, worker) == Orders::Work {
            state = wait(&self.bell, state);
        }
        state.idle -= 1;
    }

    /// Waits on the bench until the worker may work, or the pool stops.
    pub(super) fn rest(&self, worker: usize) {
        let mut state = lock(&self.state);
        while orders(&state, worker) == Orders::Rest {
            state = wait(&self.bench, state);
        }
    }

    /// Lets only the first `workers` work; at least one.
    pub(super) fn set_active(&self, workers: usize) {
        let mut state = lock(&self.state);
        state.active = workers.max(1);
        state.epoch += 1;
        self.bell.notify_all();
        self.bench.notify_all();
    }

    /// Ends all workers after their present turn.
    pub(super) fn stop(&self) {
        lock(&self.state).stopping = true;
        self.bell.notify_all();
        self.bench.notify_all();
    }
}

fn orders(state: &State, worker: usize) -> Orders {
    if state.stopping {
        Orders::Stop
    } else if worker < state.active {
        Orders::Work
    } else {
        Orders::Rest
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use crate::scheduler::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};

    /// A pool reduced to its protocol: the queue is a number of tasks.
    struct Pool {
        sleep: Sleep,
        queued: AtomicUsize,
        ran: AtomicUsize,
    }

    impl Pool {
        fn new(active: usize) -> Arc<Self> {
            let (queued, ran) = (AtomicUsize::new(0), AtomicUsize::new(0));
            Arc::new(Pool { sleep: Sleep::new(active), queued, ran })
        }

        fn push(&self) {
            self.queued.fetch_add(1, Ordering::Release);
            self.sleep.announce();
        }

        fn find(&self) -> bool {
            let taken =
                self.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
            taken.is_ok()
        }

        /// Runs tasks until `until` have run in all; hangs (which loom reports) on a lost wake-up.
        fn work(&self, worker: usize, until: usize) {
            loop {
                match self.sleep.orders(worker) {
                    Orders::Stop => return,
                    Orders::Rest => {
                        self.sleep.rest(worker);
                        continue;
                    }
                    Orders::Work => {}
                }
                let mut found = self.find();
                if !found {
                    let epoch = self.sleep.epoch();
                    found = self.find();
                    if !found {
                        self.sleep.sleep(worker, epoch);
                        continue;
                    }
                }
                if self.ran.fetch_add(1, Ordering::AcqRel) + 1 == until {
                    self.sleep.stop();
                }
            }
        }
    }

    fn start(pool: &Arc<Pool>, worker: usize, until: usize) -> loom::thread::JoinHandle<()> {
        let pool = pool.clone();
        loom::thread::spawn(move || pool.work(worker, until))
    }

    #[test]
    fn loom_every_announced_task_is_run() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let pool = Pool::new(2);
            let workers = [start(&pool, 0, 2), start(&pool, 1, 2)];
            pool.push();
            pool.push();
            for worker in workers {
                worker.join().expect("no panic");
            }
            assert_eq!(pool.ran.load(Ordering::Acquire), 2);
        });
    }

    #[test]
    fn loom_lowering_the_active_workers_loses_no_task() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let pool = Pool::new(2);
            let workers = [start(&pool, 0, 1), start(&pool, 1, 1)];
            pool.push();
            pool.sleep.set_active(1);
            for worker in workers {
                worker.join().expect("no panic");
            }
            assert_eq!(pool.ran.load(Ordering::Acquire), 1);
        });
    }
}
