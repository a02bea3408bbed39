//! The flag that stops a query.

use super::gate::Gate;
use super::sync::{Arc, AtomicU8, Ordering};
use crate::error::{Error, Result};

const RUNNING: u8 = 0;
const REASONS: [&str; 4] = ["", "interrupted", "deadline exceeded", "result dropped"];

/// Stops a query: one atomic read per chunk asks it. Clones are the same flag.
#[derive(Clone, Default)]
pub struct Cancel {
    state: Arc<AtomicU8>,
    gate: Gate,
}

impl Cancel {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Cancel::default()
    }

    /// The user (Ctrl-C, a signal, the library's caller) stops the query.
    pub fn interrupt(&self) {
        self.raise(1);
    }

    /// The query's time is over.
    pub fn expire(&self) {
        self.raise(2);
    }

    /// Nobody wants the result any more, or the query failed elsewhere.
    pub fn abandon(&self) {
        self.raise(3);
    }

    fn raise(&self, reason: u8) {
        let first =
            self.state.compare_exchange(RUNNING, reason, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.gate.notify();
        }
    }

    /// Whether the query is to stop.
    pub fn is_raised(&self) -> bool {
        self.state.load(Ordering::Acquire) != RUNNING
    }

    /// `Ok` while the query may go on. Every loop over chunks, and every loop over more than a few
    /// thousand rows, calls this once per round.
    ///
    /// # Errors
    /// `Cancelled` with the reason.
    pub fn check(&self) -> Result<()> {
        match self.state.load(Ordering::Acquire) {
            RUNNING => Ok(()),
            reason => Err(Error::Cancelled { reason: REASONS[usize::from(reason & 3)] }),
        }
    }

    /// Notified once, when the flag is raised.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
}
