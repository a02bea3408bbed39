//! The event count that tasks block on.
//!
//! Protocol: take a [`Token`] with [`Gate::token`], **then** check the condition, then block on the
//! token if it does not hold. Whoever makes the condition true calls [`Gate::notify`] afterwards.
//! A token taken before the notification is stale, and parking on a stale token returns at once,
//! so no wake-up is lost.
//!
//! Invariant 1: a parked waker is woken exactly once, by the first notification after its token
//! was taken.

use std::fmt;

use super::sync::{Arc, Mutex};

/// Called once when the gate a waiter is parked on is notified; must not block.
pub trait Wake: Send + Sync {
    /// Puts the waiter back on its queue.
    fn wake(&self);
}

#[derive(Default)]
struct State {
    epoch: u64,
    parked: Vec<Arc<dyn Wake>>,
}

/// A condition that tasks can wait for; see the module documentation. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate {
    state: Arc<Mutex<State>>,
}

/// The state of a gate at the moment the token was taken.
#[derive(Clone)]
pub struct Token {
    gate: Gate,
    epoch: u64,
}

impl Gate {
    /// A gate that nobody waits at.
    pub fn new() -> Self {
        Gate { state: Arc::new(Mutex::new(State::default())) }
    }

    /// A token for this moment. Take it before checking the condition.
    pub fn token(&self) -> Token {
        Token { gate: self.clone(), epoch: self.lock(|s| s.epoch) }
    }

    /// Wakes everybody parked here and makes all tokens taken so far stale.
    pub fn notify(&self) {
        let parked = self.lock(|s| {
            s.epoch += 1;
            std::mem::take(&mut s.parked)
        });
        for waker in parked {
            waker.wake();
        }
    }

    fn lock<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        // Nothing panics while the lock is held; a poisoned state is still consistent.
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        f(&mut state)
    }
}

impl Token {
    /// Parks `waker` until the gate is notified; returns false, without parking it, when that
    /// happened since the token was taken.
    pub fn park(&self, waker: Arc<dyn Wake>) -> bool {
        self.gate.lock(|s| {
            let fresh = s.epoch == self.epoch;
            if fresh {
                s.parked.push(waker);
            }
            fresh
        })
    }

    /// Whether the gate was notified since the token was taken.
    pub fn is_stale(&self) -> bool {
        self.gate.lock(|s| s.epoch != self.epoch)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.epoch)
    }
}
