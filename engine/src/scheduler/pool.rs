//! Worker threads with stealing deques.
//!
//! Tasks that a worker spawns or wakes go to its own deque, where they find their data in its
//! caches; others go to the common queue. A worker takes from its own deque, then from the common
//! queue, then steals; every few turns it looks at the common queue first. A task that yields is
//! run on when nothing else waits, and goes to the end of the common queue otherwise, so all
//! queries get their turns.
//!
//! Phases: started with the pool; `set_active` sends workers to a bench and back; stopped and
//! joined when the pool is dropped. Tasks still queued then are dropped unfinished.
//!
//! Memory: the threads' stacks. Concurrency: `sleep` has the protocol of sleeping and waking,
//! `parked` that of blocked tasks.
//!
//! Invariant 1: a queued task is in exactly one deque, and some active worker is awake or has been
//! called while any deque has a task.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_deque::{Injector, Steal, Stealer, Worker};

use super::cancel::Cancel;
use super::gate::Token;
use super::parked::{Queue, park};
use super::sleep::{Orders, Sleep};
use super::task::{Ran, Runnable, Task};
use super::{Scheduler, signal};
use crate::error::{Error, Result};

/// Every so many turns a worker looks at the common queue before its own deque.
const COMMON_FIRST_EVERY: u32 = 4;

/// A fixed set of worker threads. Dropping it stops and joins them.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    common: Injector<Runnable>,
    stealers: Vec<Stealer<Runnable>>,
    sleep: Sleep,
}

/// A worker thread's own deque, and the address of the pool it belongs to.
struct Own {
    pool: usize,
    deque: Worker<Runnable>,
}

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

impl Pool {
    /// Starts `threads` workers; at least one.
    ///
    /// # Errors
    /// `Io` when the system refuses a thread.
    pub fn new(threads: usize) -> Result<Pool> {
        let threads = threads.max(1);
        let deques: Vec<Worker<Runnable>> = (0..threads).map(|_| Worker::new_fifo()).collect();
        let stealers = deques.iter().map(Worker::stealer).collect();
        let common = Injector::new();
        let shared = Arc::new(Shared { common, stealers, sleep: Sleep::new(threads) });
        let mut pool = Pool { shared, threads: Vec::with_capacity(threads) };
        for (number, deque) in deques.into_iter().enumerate() {
            let shared = pool.shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("gristmill-{number}"))
                .spawn(move || shared.work(number, deque))
                .map_err(|e| Error::io("start", "a worker thread", e))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// What spawns tasks on these threads. It does nothing any more after the pool is dropped.
    pub fn scheduler(&self) -> Arc<dyn Scheduler> {
        Arc::new(Handle { shared: self.shared.clone() })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.sleep.stop();
        let this = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // A task may hold the last reference to its pool; its thread ends by itself.
            if thread.thread().id() != this {
                let _ = thread.join();
            }
        }
        self.shared.discard_all();
    }
}

struct Handle {
    shared: Arc<Shared>,
}

impl Scheduler for Handle {
    fn spawn(&self, task: Box<dyn Task>, cancel: &Cancel) {
        self.shared.push(Runnable::new(task, cancel.clone()));
    }

    fn threads(&self) -> usize {
        self.shared.stealers.len()
    }

    fn set_active(&self, workers: usize) {
        self.shared.sleep.set_active(workers);
    }

    fn wait(&self, tokens: &[Token], until: Option<Instant>) -> bool {
        signal::wait(tokens, until)
    }
}

impl Queue for Shared {
    fn push(&self, runnable: Runnable) {
        // The thread-local is gone while its thread ends; then the common queue takes the task.
        let mut runnable = Some(runnable);
        let _ = OWN.try_with(|own| {
            if let Some(own) = &*own.borrow()
                && own.pool == self.address()
                && let Some(runnable) = runnable.take()
            {
                own.deque.push(runnable);
            }
        });
        match runnable {
            Some(runnable) => self.push_common(runnable),
            None => self.announce(),
        }
    }
}

impl Shared {
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn push_common(&self, runnable: Runnable) {
        self.common.push(runnable);
        self.announce();
    }

    fn announce(&self) {
        if !self.sleep.announce() {
            self.discard_all();
        }
    }

    /// The life of worker thread `number`.
    fn work(self: Arc<Self>, number: usize, deque: Worker<Runnable>) {
        OWN.set(Some(Own { pool: self.address(), deque }));
        let mut current = None;
        let mut turn = number as u32;
        loop {
            match self.sleep.orders(number) {
                Orders::Work => {}
                Orders::Rest => {
                    self.hand_over(current.take());
                    self.sleep.rest(number);
                    continue;
                }
                Orders::Stop => break,
            }
            turn = turn.wrapping_add(1);
            let Some(runnable) = current.take().or_else(|| self.find(number, turn)) else {
                let epoch = self.sleep.epoch();
                current = self.find(number, turn);
                if current.is_none() {
                    self.sleep.sleep(number, epoch);
                }
                continue;
            };
            match runnable.run() {
                Ran::Yielded(runnable) if self.is_anyone_waiting() => self.push_common(runnable),
                Ran::Yielded(runnable) => current = Some(runnable),
                Ran::Blocked(runnable, token) => park(runnable, &token, &self),
                Ran::Over => {}
            }
        }
        if let Some(runnable) = current {
            runnable.discard();
        }
        drop(OWN.take());
    }

    /// Whether a task waits that this thread would get to see next.
    fn is_anyone_waiting(&self) -> bool {
        !self.common.is_empty()
            || OWN.with_borrow(|own| own.as_ref().is_some_and(|own| !own.deque.is_empty()))
    }

    fn find(&self, number: usize, turn: u32) -> Option<Runnable> {
        let own = || OWN.with_borrow(|own| own.as_ref().and_then(|own| own.deque.pop()));
        let common = || steal(|| self.common.steal());
        let found = if turn.is_multiple_of(COMMON_FIRST_EVERY) {
            common().or_else(own)
        } else {
            own().or_else(common)
        };
        found.or_else(|| {
            let (before, from) = self.stealers.split_at(number);
            from.iter().skip(1).chain(before).find_map(|stealer| steal(|| stealer.steal()))
        })
    }

    /// Gives this thread's tasks to the others.
    fn hand_over(&self, current: Option<Runnable>) {
        let pop = || OWN.with_borrow(|own| own.as_ref().and_then(|own| own.deque.pop()));
        for runnable in current.into_iter().chain(std::iter::from_fn(pop)) {
            self.push_common(runnable);
        }
    }

    /// Drops all queued tasks, once the workers have stopped.
    fn discard_all(&self) {
        let deques = || self.stealers.iter().find_map(|stealer| steal(|| stealer.steal()));
        while let Some(runnable) = steal(|| self.common.steal()).or_else(deques) {
            runnable.discard();
        }
    }
}

fn steal<T>(mut attempt: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match attempt() {
            Steal::Success(found) => return Some(found),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
