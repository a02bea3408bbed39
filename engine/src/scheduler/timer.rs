//! Raises flags when their time has come.
//!
//! One thread, started with the first deadline, sleeps until the earliest. Deadlines of queries
//! that are over are taken out by dropping their [`Deadline`].

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cancel::Cancel;
use crate::error::{Error, Result};

/// Expires queries. Dropping it stops its thread; deadlines still open are forgotten.
#[derive(Default)]
pub struct Timer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A deadline that stands until this is dropped.
pub struct Deadline {
    shared: Arc<Shared>,
    key: (Instant, u64),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By time; the number tells deadlines of the same moment apart.
    open: BTreeMap<(Instant, u64), (Cancel, Duration)>,
    next_number: u64,
    stopping: bool,
}

impl Timer {
    /// A timer without deadlines.
    pub fn new() -> Self {
        Timer::default()
    }

    /// Calls [`Cancel::expire`] after so much time, unless the answer is dropped before; `None`
    /// when that is beyond all clocks.
    ///
    /// # Errors
    /// `Io` when the system refuses a thread.
    pub fn expire_after(&self, limit: Duration, cancel: &Cancel) -> Result<Option<Deadline>> {
        let Some(at) = Instant::now().checked_add(limit) else { return Ok(None) };
        self.start()?;
        let mut state = self.shared.lock();
        let key = (at, state.next_number);
        state.next_number += 1;
        state.open.insert(key, (cancel.clone(), limit));
        self.shared.changed.notify_one();
        Ok(Some(Deadline { shared: self.shared.clone(), key }))
    }

    fn start(&self) -> Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(|e| e.into_inner());
        if thread.is_none() {
            let shared = self.shared.clone();
            let started = std::thread::Builder::new()
                .name("gristmill-timer".to_string())
                .spawn(move || shared.run())
                .map_err(|e| Error::io("start", "the timer thread", e))?;
            *thread = Some(started);
        }
        Ok(())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_one();
        let mut thread = self.thread.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.shared.lock().open.remove(&self.key);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.stopping {
            let now = Instant::now();
            let first = state.open.first_key_value().map(|(key, _)| key.0);
            state = match first {
                None => self.changed.wait(state).unwrap_or_else(|e| e.into_inner()),
                Some(at) if at > now => {
                    let waited = self.changed.wait_timeout(state, at - now);
                    waited.unwrap_or_else(|e| e.into_inner()).0
                }
                Some(_) => {
                    let due = state.open.pop_first();
                    // Raising wakes tasks: not under the lock.
                    drop(state);
                    if let Some((_, (cancel, limit))) = due {
                        cancel.expire(limit);
                    }
                    self.lock()
                }
            };
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn expires_what_is_due_and_forgets_what_is_dropped() {
        let timer = Timer::new();
        let (soon, never, late) = (Cancel::new(), Cancel::new(), Cancel::new());
        let start = Instant::now();
        let _late = timer.expire_after(Duration::from_secs(3600), &late).expect("starts");
        drop(timer.expire_after(Duration::from_secs(3600), &never).expect("starts"));
        assert!(timer.expire_after(Duration::MAX, &never).expect("does nothing").is_none());
        let token = soon.gate().token();
        let _soon = timer.expire_after(Duration::from_millis(5), &soon).expect("starts");
        assert!(super::super::signal::wait(&[token], Some(start + Duration::from_secs(10))));
        assert!(start.elapsed() >= Duration::from_millis(5));
        let limit = Duration::from_millis(5);
        assert!(matches!(soon.check(), Err(Error::TimedOut { limit: l }) if l == limit));
        assert!(!late.is_raised() && !never.is_raised());
        assert_eq!(timer.shared.lock().open.len(), 1);
    }
}
