//! How a thread outside the pool waits for gates.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::gate::{Token, Wake};

/// Parked at gates on behalf of a waiting thread; the first notification ends the wait.
#[derive(Default)]
struct Signal {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Wake for Signal {
    fn wake(&self) {
        *self.rung.lock().unwrap_or_else(|e| e.into_inner()) = true;
        self.bell.notify_all();
    }

    fn is_over(&self) -> bool {
        *self.rung.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Blocks the calling thread until one of the tokens is stale or the time has come; answers
/// whether a token is.
pub(super) fn wait(tokens: &[Token], until: Option<Instant>) -> bool {
    let signal = Arc::new(Signal::default());
    if !tokens.iter().all(|token| token.park(signal.clone())) {
        signal.wake();
        return true;
    }
    let mut rung = signal.rung.lock().unwrap_or_else(|e| e.into_inner());
    while !*rung {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        rung = match left {
            None => signal.bell.wait(rung).unwrap_or_else(|e| e.into_inner()),
            Some(left) if left.is_zero() => break,
            Some(left) => signal.bell.wait_timeout(rung, left).unwrap_or_else(|e| e.into_inner()).0,
        };
    }
    // Whoever looks from now on need not wake this thread.
    std::mem::replace(&mut *rung, true)
}
