//! Turns of those who need much for a short time.
//!
//! A worker in the middle of a step (a large row on its way to tape) cannot shed what it holds.
//! Usually many are in one side by side; when memory is short, there may be room for one of them
//! and not for two. Who is refused gives up what it can, and waits until it is the only one in a
//! step: what the others needed for theirs is free then.
//!
//! Concurrency: a lock that many have at once, or one alone. Who waits for it keeps its thread,
//! which is why a step should be short: some rows copied, or one row on its way to tape. A step of
//! a sort is a chunk on its way into its buffer, with what is written for it: a run at most as a
//! rule. A step waits for nothing else but for the lock of what it works on, while that is being
//! written for others; so whoever waits, waits for somebody who runs.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Who is in the middle of a step; see the module documentation.
#[derive(Debug, Default)]
pub struct Turns {
    steps: RwLock<()>,
}

/// A step, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    beside: Option<RwLockReadGuard<'a, ()>>,
    alone: Option<RwLockWriteGuard<'a, ()>>,
}

impl Turns {
    /// Begins a step beside those of others; waits while somebody is alone.
    pub fn beside(&self) -> Turn<'_> {
        let beside = self.steps.read().unwrap_or_else(|e| e.into_inner());
        Turn { turns: self, beside: Some(beside), alone: None }
    }
}

impl Turn<'_> {
    /// Whether nobody else is in a step.
    pub fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// Waits until the others are between two steps, and keeps them there to the end of this one.
    pub fn be_alone(&mut self) {
        if self.alone.is_none() {
            self.beside = None;
            self.alone = Some(self.turns.steps.write().unwrap_or_else(|e| e.into_inner()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn who_is_alone_has_nobody_beside() {
        let turns = Turns::default();
        // Two at once, or this would wait for ever.
        drop((turns.beside(), turns.beside()));
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (turns, inside) = (&turns, &inside);
                scope.spawn(move || {
                    for step in 0..200 {
                        let mut turn = turns.beside();
                        inside.fetch_add(1, Ordering::SeqCst);
                        if (step + worker) % 3 == 0 {
                            inside.fetch_sub(1, Ordering::SeqCst);
                            assert!(!turn.is_alone());
                            turn.be_alone();
                            turn.be_alone();
                            assert!(turn.is_alone());
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        }
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
