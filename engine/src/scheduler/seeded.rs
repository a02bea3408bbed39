//! The scheduler's interface on one thread, in an order drawn from a seed.
//!
//! Tasks run on whichever thread waits, one at a time; the next one is drawn from those that can
//! run. With the same seed and the same tasks every run is the same, so the first error of a
//! failing query is always the same one, and a race between workers can be replayed.
//!
//! Concurrency: several threads may wait; one of them at a time runs a task. Threads of other kinds
//! (timers, reading ahead) may wake tasks, and then the order is theirs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use super::Scheduler;
use super::cancel::Cancel;
use super::gate::{Token, Wake};
use super::parked::{Queue, park};
use super::task::{Ran, Runnable, Task};

/// Runs tasks on the thread that waits; see the module documentation. Clones are the same queue.
#[derive(Clone)]
pub struct Seeded {
    shared: Arc<Shared>,
    threads: usize,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    queue: Vec<Runnable>,
    random: u64,
    /// Whether a thread is running a task.
    busy: bool,
}

impl Seeded {
    /// A scheduler that draws its order from `seed` and tells queries to make work for `threads`
    /// workers (at least one), whose turns it interleaves.
    pub fn new(seed: u64, threads: usize) -> Self {
        let state = State { queue: Vec::new(), random: seed, busy: false };
        let shared = Shared { state: Mutex::new(state), changed: Condvar::new() };
        Seeded { shared: Arc::new(shared), threads: threads.max(1) }
    }

    /// Runs tasks until none can run; for tests that look at blocked tasks.
    pub fn run_until_idle(&self) {
        while self.shared.run_one(self.shared.lock()).is_none() {}
    }
}

impl Scheduler for Seeded {
    fn spawn(&self, task: Box<dyn Task>, cancel: &Cancel) {
        self.shared.push(Runnable::new(task, cancel.clone()));
    }

    fn threads(&self) -> usize {
        self.threads
    }

    /// Has no effect: one task runs at a time.
    fn set_active(&self, _: usize) {}

    /// Runs tasks until a token is stale. The time counts only while no task can run.
    fn wait(&self, tokens: &[Token], until: Option<Instant>) -> bool {
        let bell = Arc::new(Bell { shared: self.shared.clone(), over: AtomicBool::new(false) });
        let mut parked = false;
        let woken = loop {
            if tokens.iter().any(Token::is_stale) {
                break true;
            }
            let Some(state) = self.shared.run_one(self.shared.lock()) else { continue };
            // Nothing can run here, but another thread may notify a gate or queue a task.
            if !parked {
                parked = true;
                if !tokens.iter().all(|token| token.park(bell.clone())) {
                    break true;
                }
            } else if !self.shared.doze(state, tokens, until) {
                break false;
            }
        };
        bell.over.store(true, Ordering::Release);
        woken
    }
}

/// Parked at the gates that a waiting thread waits for.
struct Bell {
    shared: Arc<Shared>,
    over: AtomicBool,
}

impl Wake for Bell {
    fn wake(&self) {
        // The lock keeps this from falling between a waiter's last look and its sleep.
        drop(self.shared.lock());
        self.shared.changed.notify_all();
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

impl Queue for Shared {
    fn push(&self, runnable: Runnable) {
        self.lock().queue.push(runnable);
        self.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Runs one task. Hands the lock back when there is none, or another thread is running one.
    fn run_one<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
    ) -> Option<MutexGuard<'a, State>> {
        if state.busy || state.queue.is_empty() {
            return Some(state);
        }
        let drawn = next_random(&mut state.random) % state.queue.len() as u64;
        let runnable = state.queue.swap_remove(drawn as usize);
        state.busy = true;
        drop(state);
        match runnable.run() {
            Ran::Yielded(runnable) => self.push(runnable),
            Ran::Blocked(runnable, token) => park(runnable, &token, self),
            Ran::Over => {}
        }
        self.lock().busy = false;
        self.changed.notify_all();
        None
    }

    /// Waits for a change; false when the time has come instead.
    fn doze(&self, state: MutexGuard<'_, State>, tokens: &[Token], until: Option<Instant>) -> bool {
        // A gate that was notified before the lock was taken will not ring again.
        if tokens.iter().any(Token::is_stale) {
            return true;
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => drop(self.changed.wait(state)),
            Some(left) if left.is_zero() => return false,
            Some(left) => drop(self.changed.wait_timeout(state, left)),
        }
        true
    }
}

/// SplitMix64.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::scheduler::{Gate, TaskState};

    /// Notes its number each turn, for three turns.
    struct Noting {
        number: usize,
        turns: usize,
        notes: Arc<Mutex<Vec<usize>>>,
        done: Gate,
    }

    impl Task for Noting {
        fn run(&mut self) -> TaskState {
            self.notes.lock().expect("not poisoned").push(self.number);
            self.turns += 1;
            if self.turns < 3 {
                return TaskState::Yield;
            }
            self.done.notify();
            TaskState::Done
        }

        fn panicked(&mut self, _: String) {}
    }

    fn order_under(seed: u64) -> Vec<usize> {
        let scheduler = Seeded::new(seed, 4);
        let notes = Arc::new(Mutex::new(Vec::new()));
        let cancel = Cancel::new();
        for number in 0..4 {
            let task = Noting { number, turns: 0, notes: notes.clone(), done: Gate::new() };
            scheduler.spawn(Box::new(task), &cancel);
        }
        scheduler.run_until_idle();
        let notes = notes.lock().expect("not poisoned").clone();
        assert_eq!(notes.len(), 12);
        notes
    }

    #[test]
    fn the_seed_decides_the_order() {
        assert_eq!(order_under(7), order_under(7));
        assert!((0..10).any(|seed| order_under(seed) != order_under(7)));
    }

    #[test]
    fn waiting_drives_the_tasks_and_gives_up_in_time() {
        let scheduler = Seeded::new(1, 2);
        let gate = Gate::new();
        let token = gate.token();
        let task = Noting { number: 0, turns: 0, notes: Default::default(), done: gate.clone() };
        scheduler.spawn(Box::new(task), &Cancel::new());
        assert!(scheduler.wait(&[Gate::new().token(), token], None));
        assert!(!scheduler.wait(&[gate.token()], Some(Instant::now())));
    }

    #[test]
    fn another_thread_can_end_the_wait() {
        let scheduler = Seeded::new(1, 1);
        let gate = Gate::new();
        let token = gate.token();
        let other = std::thread::spawn({
            let gate = gate.clone();
            move || gate.notify()
        });
        assert!(scheduler.wait(&[token], None));
        other.join().expect("no panic");
    }
}
