//! The flag that stops a query.

use std::sync::{OnceLock, Weak};
use std::time::Duration;

use super::gate::{Gate, Wake};
use super::sync::{Arc, AtomicU8, Ordering};
use crate::error::{Error, Result};

const RUNNING: u8 = 0;
const INTERRUPTED: u8 = 1;
const EXPIRED: u8 = 2;
const ABANDONED: u8 = 3;

/// Stops a query: one atomic read per chunk asks it. Clones are the same flag.
#[derive(Clone, Default)]
pub struct Cancel {
    flag: Arc<Flag>,
}

#[derive(Default)]
struct Flag {
    state: AtomicU8,
    /// How long the query might have run, once it is known that it did not.
    limit: OnceLock<Duration>,
    gate: Gate,
}

/// Parked at the gate of one flag, raises another.
struct Link {
    parent: Weak<Flag>,
    child: Weak<Flag>,
}

impl Cancel {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Cancel::default()
    }

    /// A flag that is raised together with this one, for the same reason, and may be raised alone:
    /// for one query of several that an interrupt stops together.
    pub fn child(&self) -> Cancel {
        let child = Cancel::new();
        let token = self.flag.gate.token();
        let (up, down) = (Arc::downgrade(&self.flag), Arc::downgrade(&child.flag));
        let link = Arc::new(Link { parent: up, child: down });
        if self.is_raised() || !token.park(link) {
            child.flag.follow(&self.flag);
        }
        child
    }

    /// The user (Ctrl-C, a signal, the library's caller) stops the query. Takes locks: a signal
    /// handler tells a thread to call it.
    pub fn interrupt(&self) {
        self.flag.raise(INTERRUPTED);
    }

    /// The query's time, which was `limit`, is over.
    pub fn expire(&self, limit: Duration) {
        self.flag.expire(limit);
    }

    /// Nobody wants the result any more, or the query failed elsewhere.
    pub fn abandon(&self) {
        self.flag.raise(ABANDONED);
    }

    /// Whether the query is to stop.
    pub fn is_raised(&self) -> bool {
        self.flag.state.load(Ordering::Acquire) != RUNNING
    }

    /// `Ok` while the query may go on. Every loop over chunks, and every loop over more than a few
    /// thousand rows, calls this once per round.
    ///
    /// # Errors
    /// `Cancelled` with the reason, or `TimedOut`.
    pub fn check(&self) -> Result<()> {
        match self.flag.state.load(Ordering::Acquire) {
            RUNNING => Ok(()),
            EXPIRED => Err(Error::TimedOut { limit: self.flag.limit() }),
            INTERRUPTED => Err(Error::Cancelled { reason: "interrupted" }),
            _ => Err(Error::Cancelled { reason: "result dropped" }),
        }
    }

    /// Notified once, when the flag is raised.
    pub fn gate(&self) -> &Gate {
        &self.flag.gate
    }
}

impl Flag {
    fn raise(&self, reason: u8) {
        let first =
            self.state.compare_exchange(RUNNING, reason, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.gate.notify();
        }
    }

    fn expire(&self, limit: Duration) {
        // Before the state, whose readers look for it.
        self.limit.get_or_init(|| limit);
        self.raise(EXPIRED);
    }

    /// Raises the flag for the reason that another one was raised for.
    fn follow(&self, other: &Flag) {
        match other.state.load(Ordering::Acquire) {
            EXPIRED => self.expire(other.limit()),
            reason => self.raise(reason),
        }
    }

    fn limit(&self) -> Duration {
        self.limit.get().copied().unwrap_or_default()
    }
}

impl Wake for Link {
    fn wake(&self) {
        if let (Some(parent), Some(child)) = (self.parent.upgrade(), self.child.upgrade()) {
            child.follow(&parent);
        }
    }

    fn is_over(&self) -> bool {
        let child = self.child.upgrade();
        child.is_none_or(|child| child.state.load(Ordering::Acquire) != RUNNING)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        let cancel = Cancel::new();
        cancel.check().expect("not raised");
        let token = cancel.gate().token();
        cancel.interrupt();
        cancel.abandon();
        assert!(token.is_stale());
        assert_eq!(cancel.check().expect_err("raised").to_string(), "interrupted");
    }

    #[test]
    fn children_follow_and_do_not_lead() {
        let parent = Cancel::new();
        let (one, two) = (parent.child(), parent.child());
        one.abandon();
        assert!(one.is_raised() && !two.is_raised() && !parent.is_raised());
        let grandchild = two.child();
        parent.expire(Duration::from_millis(1500));
        let error = grandchild.check().expect_err("raised");
        assert!(matches!(error, Error::TimedOut { .. }));
        assert!(error.to_string().contains("limit of 1.5s"), "{error}");
        assert_eq!(one.check().expect_err("raised").to_string(), "result dropped");
        let late = parent.child();
        assert_eq!(late.check().expect_err("raised").to_string(), error.to_string());
    }
}
