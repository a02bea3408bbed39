//! Turns of those who need much for a short time.
//!
//! A worker in the middle of a step (a large row on its way to tape) cannot shed what it holds.
//! Usually many are in one side by side; when memory is short, there may be room for one of them
//! and not for two. Who is refused gives up what it can, and waits until it is the only one in a
//! step: what the others needed for theirs is free then.
//!
//! A scan that has a page to decode takes a turn alone as well when it is refused: the state that
//! it could have written out otherwise is in the steps of others.
//!
//! Concurrency: a lock that many have at once, or one alone. Who waits for it keeps its thread,
//! which is why a step should be short: some rows copied, or one row on its way to tape. A step of
//! a sort is a chunk on its way into its buffer, with what is written for it: a run at most as a
//! rule; it is alone for no more than the row that had no room. A step of an aggregate is a chunk
//! too, with its worker's groups if they have to be written for it. A step waits for nothing else
//! but for the lock of what it works on, while that is being written for others; so whoever waits,
//! waits for somebody who runs. Every few milliseconds it asks whether it still has to: a query
//! that is stopped does not wait for the steps of others.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::error::Result;

/// Asked by who waits: `Err` ends it.
pub(super) type Check<'a> = &'a dyn Fn() -> Result<()>;

/// How long who waits does not ask.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Who is in the middle of a step; see the module documentation.
#[derive(Debug, Default)]
pub struct Turns {
    steps: Mutex<Steps>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Steps {
    /// Steps side by side.
    beside: usize,
    /// Whether one is alone.
    alone: bool,
    /// How many wait to be alone; nobody begins a step before they were.
    waiting: usize,
}

/// A step, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Beside,
    Alone,
    /// It was given up while waiting to be alone.
    Over,
}

impl Turns {
    /// Begins a step beside those of others; waits while somebody is alone.
    ///
    /// # Errors
    /// What `check` reports while it waits.
    pub fn beside(&self, check: Check<'_>) -> Result<Turn<'_>> {
        let mut steps = self.wait(self.lock(), check, |steps| steps.alone || steps.waiting > 0)?;
        steps.beside += 1;
        Ok(Turn { turns: self, state: State::Beside })
    }

    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Waits as long as the steps are `busy`.
    fn wait<'a>(
        &'a self,
        mut steps: MutexGuard<'a, Steps>,
        check: Check<'_>,
        busy: impl Fn(&Steps) -> bool,
    ) -> Result<MutexGuard<'a, Steps>> {
        while busy(&steps) {
            let waited = self.changed.wait_timeout(steps, ASK_EVERY);
            let (after, over) = waited.unwrap_or_else(|e| e.into_inner());
            steps = after;
            if over.timed_out() {
                drop(steps);
                check()?;
                steps = self.lock();
            }
        }
        Ok(steps)
    }
}

impl Turn<'_> {
    /// Whether nobody else is in a step.
    pub fn is_alone(&self) -> bool {
        self.state == State::Alone
    }

    /// Waits until the others are between two steps, and keeps them there to the end of this one.
    ///
    /// # Errors
    /// What `check` reports while it waits; the step is over then.
    pub fn be_alone(&mut self, check: Check<'_>) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        self.end();
        let turns = self.turns;
        turns.lock().waiting += 1;
        let free = turns.wait(turns.lock(), check, |steps| steps.alone || steps.beside > 0);
        let stopped = match free {
            Ok(mut steps) => {
                (steps.waiting, steps.alone) = (steps.waiting - 1, true);
                self.state = State::Alone;
                return Ok(());
            }
            Err(stopped) => stopped,
        };
        turns.lock().waiting -= 1;
        turns.changed.notify_all();
        Err(stopped)
    }

    /// Goes on beside others, who wait no longer.
    pub fn be_beside(&mut self) {
        if self.is_alone() {
            let mut steps = self.turns.lock();
            (steps.alone, steps.beside) = (false, steps.beside + 1);
            self.state = State::Beside;
            drop(steps);
            self.turns.changed.notify_all();
        }
    }

    fn end(&mut self) {
        let mut steps = self.turns.lock();
        match std::mem::replace(&mut self.state, State::Over) {
            State::Beside => steps.beside -= 1,
            State::Alone => steps.alone = false,
            State::Over => return,
        }
        drop(steps);
        self.turns.changed.notify_all();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const GO_ON: Check<'static> = &|| Ok(());

    #[test]
    fn who_is_alone_has_nobody_beside() {
        let turns = Turns::default();
        // Two at once, or this would wait for ever.
        drop((turns.beside(GO_ON), turns.beside(GO_ON)));
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (turns, inside) = (&turns, &inside);
                scope.spawn(move || {
                    for step in 0..200 {
                        let mut turn = turns.beside(GO_ON).expect("nobody stops");
                        inside.fetch_add(1, Ordering::SeqCst);
                        if (step + worker) % 3 == 0 {
                            inside.fetch_sub(1, Ordering::SeqCst);
                            assert!(!turn.is_alone());
                            turn.be_alone(GO_ON).expect("nobody stops");
                            turn.be_alone(GO_ON).expect("nobody stops");
                            assert!(turn.is_alone());
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            if step % 2 == 0 {
                                turn.be_beside();
                                assert!(!turn.is_alone());
                            }
                        }
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn who_waits_can_be_stopped_and_is_in_nobodys_way_afterwards() {
        let turns = Turns::default();
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            if asked.get() % 3 == 0 { Err(Error::internal("stopped")) } else { Ok(()) }
        };
        let other = turns.beside(GO_ON).expect("nobody is there");
        let mut turn = turns.beside(GO_ON).expect("nobody is alone");
        assert!(turn.be_alone(&stop).is_err(), "the other is still in its step");
        assert!(!turn.is_alone());
        drop(turn);
        let mut alone = turns.beside(GO_ON).expect("nobody waits to be alone any more");
        drop(other);
        alone.be_alone(GO_ON).expect("nobody is beside");
        assert!(turns.beside(&stop).is_err(), "somebody is alone");
        alone.be_beside();
        drop(turns.beside(GO_ON).expect("nobody is alone"));
    }
}
