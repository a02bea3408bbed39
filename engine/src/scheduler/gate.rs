//! The event count that tasks block on.
//!
//! Protocol: take a [`Token`] with [`Gate::token`], **then** check the condition, then block on the
//! token if it does not hold. Whoever makes the condition true calls [`Gate::notify`] afterwards.
//! A token taken before the notification is stale, and parking on a stale token returns at once,
//! so no wake-up is lost.
//!
//! Memory: a waker that was woken through another gate stays parked until this one is notified or
//! has twice as many wakers as were wanted when it last looked.
//!
//! Invariant 1: a parked waker is woken exactly once, by the first notification after its token
//! was taken, unless it said before that it is over.

use std::fmt;

use super::sync::{Arc, Mutex, lock};

/// Wakers below this number are not worth looking through for those that are over.
const PURGE_AT_MIN: usize = 64;

/// Called once when the gate a waiter is parked on is notified; must not block.
pub trait Wake: Send + Sync {
    /// Puts the waiter back on its queue.
    fn wake(&self);

    /// Whether waking it would do nothing any more: it was woken through another gate. Called
    /// under the gate's lock, hence must not touch a gate.
    fn is_over(&self) -> bool {
        false
    }
}

struct State {
    epoch: u64,
    parked: Vec<Arc<dyn Wake>>,
    purge_at: usize,
}

/// A condition that tasks can wait for; see the module documentation. Clones are the same gate.
#[derive(Clone)]
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
        let state = State { epoch: 0, parked: Vec::new(), purge_at: PURGE_AT_MIN };
        Gate { state: Arc::new(Mutex::new(state)) }
    }

    /// A token for this moment. Take it before checking the condition.
    pub fn token(&self) -> Token {
        let epoch = lock(&self.state).epoch;
        Token { gate: self.clone(), epoch }
    }

    /// Wakes everybody parked here and makes all tokens taken so far stale.
    pub fn notify(&self) {
        let parked = {
            let mut state = lock(&self.state);
            state.epoch += 1;
            state.purge_at = PURGE_AT_MIN;
            std::mem::take(&mut state.parked)
        };
        for waker in parked {
            waker.wake();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Gate::new()
    }
}

impl Token {
    /// Parks `waker` until the gate is notified; returns false, without parking it, when that
    /// happened since the token was taken.
    pub fn park(&self, waker: Arc<dyn Wake>) -> bool {
        let mut state = lock(&self.gate.state);
        if state.epoch != self.epoch {
            return false;
        }
        if state.parked.len() >= state.purge_at {
            state.parked.retain(|waker| !waker.is_over());
            state.purge_at = PURGE_AT_MIN.max(2 * state.parked.len());
        }
        state.parked.push(waker);
        true
    }

    /// Whether the gate was notified since the token was taken.
    pub fn is_stale(&self) -> bool {
        lock(&self.gate.state).epoch != self.epoch
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[derive(Default)]
    struct Waiter {
        woken: AtomicUsize,
        over: AtomicBool,
    }

    impl Wake for Waiter {
        fn wake(&self) {
            self.woken.fetch_add(1, Ordering::SeqCst);
        }

        fn is_over(&self) -> bool {
            self.over.load(Ordering::SeqCst)
        }
    }

    #[cfg(not(loom))]
    #[test]
    fn wakes_once_and_refuses_stale_tokens() {
        let gate = Gate::new();
        let waiter = Arc::new(Waiter::default());
        let token = gate.token();
        assert!(token.park(waiter.clone()));
        gate.notify();
        gate.notify();
        assert_eq!(waiter.woken.load(Ordering::SeqCst), 1);
        assert!(token.is_stale());
        assert!(!token.park(waiter.clone()));
        assert!(gate.token().park(waiter));
    }

    #[cfg(not(loom))]
    #[test]
    fn wakers_that_are_over_do_not_pile_up() {
        let gate = Gate::new();
        for _ in 0..10_000 {
            let waiter = Arc::new(Waiter::default());
            waiter.over.store(true, Ordering::SeqCst);
            assert!(gate.token().park(waiter));
        }
        assert!(lock(&gate.state).parked.len() <= PURGE_AT_MIN);
    }

    #[cfg(loom)]
    #[test]
    fn loom_no_notification_is_lost() {
        use loom::sync::atomic::AtomicBool;
        loom::model(|| {
            let gate = Gate::new();
            let ready = loom::sync::Arc::new(AtomicBool::new(false));
            let waiter = Arc::new(Waiter::default());
            let other = loom::thread::spawn({
                let (gate, ready) = (gate.clone(), ready.clone());
                move || {
                    ready.store(true, Ordering::Release);
                    gate.notify();
                }
            });
            let token = gate.token();
            let blocked = !ready.load(Ordering::Acquire) && token.park(waiter.clone());
            other.join().expect("no panic");
            assert_eq!(waiter.woken.load(Ordering::SeqCst), usize::from(blocked));
        });
    }
}
