//! Memory that is lent to one after the other.
//!
//! What a worker needs by all means, now for this and now for that, is set aside once. Whoever has
//! borrowed it has a [`Reservation`] like any other, which may grow beyond what was lent; when that
//! is dropped, on whatever way, what was lent is back, and was never free in between.
//!
//! Concurrency: what is there is behind a lock that is held while bytes change hands. The governor
//! is asked for what is missing without it: somebody's state may have to be written for that.

use std::sync::{Arc, Mutex, MutexGuard};

use super::Reservation;
use crate::error::Result;

/// Who lends; see the module documentation. Clones are the same lender.
#[derive(Debug, Clone)]
pub struct Lender(Arc<Home>);

#[derive(Debug)]
struct Home {
    at_home: Mutex<AtHome>,
    /// What is there while nothing is lent.
    bytes: usize,
}

#[derive(Debug)]
struct AtHome {
    /// What is not lent is its minimum.
    memory: Reservation,
    /// Bytes that came from here and are lent.
    lent: usize,
}

impl Lender {
    /// Lends the minimum of `memory`.
    pub fn new(memory: Reservation) -> Self {
        let bytes = memory.minimum();
        Lender(Arc::new(Home { at_home: Mutex::new(AtHome { memory, lent: 0 }), bytes }))
    }

    fn lock(&self) -> MutexGuard<'_, AtHome> {
        self.0.at_home.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A reservation with a minimum of `bytes`; `None` when there are not so many.
    pub fn try_lend(&self, bytes: usize) -> Option<Reservation> {
        let mut lent = self.hand_out(bytes);
        lent.raise_minimum(bytes, true).then_some(lent)
    }

    /// The same for who cannot do without.
    ///
    /// # Errors
    /// `OutOfMemory` when there are not so many bytes; what was set aside is there, unless it is
    /// lent.
    pub fn lend(&self, bytes: usize) -> Result<Reservation> {
        let mut lent = self.hand_out(bytes);
        match lent.raise_minimum(bytes, false) {
            true => Ok(lent),
            false => Err(lent.refusal(bytes)),
        }
    }

    /// A reservation with what is there of so many bytes.
    fn hand_out(&self, bytes: usize) -> Reservation {
        let mut home = self.lock();
        let there = bytes.min(home.memory.minimum());
        // Growing up to the minimum does not fail.
        let there = if home.memory.try_grow(there) { there } else { 0 };
        home.lent += there;
        home.memory.cede(there).lent_by(self.clone(), there)
    }

    /// Takes back what is left of what was lent, of which `bytes` came from here. Less comes back
    /// where something else was split off; it is made good if it can be, now or next time.
    pub(super) fn take_back(&self, mut lent: Reservation, bytes: usize) {
        let home = self.lock();
        let others = home.lent - bytes;
        let due = self.0.bytes.saturating_sub(home.memory.minimum() + others);
        drop(home);
        let _ = lent.set_minimum(due);
        let mut home = self.lock();
        home.lent -= bytes;
        home.memory.absorb(lent);
        if home.memory.minimum() > self.0.bytes {
            // Two made the same good.
            let _ = home.memory.set_minimum(self.0.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::memory::{Governor, GovernorOptions, Revocable};
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn what_is_lent_comes_back_on_every_way() {
        let options = GovernorOptions { limit_bytes: Some(10_000), ..Default::default() };
        let governor = Governor::new(options);
        let lender = Lender::new(governor.reserve("a", 1000).expect("fits"));
        let mut others = governor.reserve("b", 0).expect("fits");
        let fails = |bytes: usize| -> Result<()> {
            let mut lent = lender.lend(1000)?;
            lent.grow(bytes)?;
            drop(lent.split(bytes / 2));
            Err(Error::internal("in the middle"))
        };
        assert!(matches!(fails(4000), Err(Error::Internal(_))));
        assert_eq!(governor.reserved(), 1000);
        others.grow(9000).expect("the rest");
        assert!(lender.try_lend(1001).is_none());
        for _ in 0..3 {
            assert!(matches!(fails(1000), Err(Error::Internal(_))));
            assert!(matches!(fails(1001), Err(Error::OutOfMemory { .. })));
            assert_eq!(governor.reserved(), 10_000, "never free in between");
        }
        // What is split off is not the lender's.
        let mut lent = lender.lend(1000).expect("is there");
        lent.grow(1000).expect("is lent");
        let piece = lent.split(400);
        drop(lent);
        assert!(lender.try_lend(1000).is_none());
        drop(piece);
        drop(lender.lend(600).expect("the rest of it"));
        drop(lender.lend(1000).expect("made good"));
        drop((lender, others));
        assert_eq!(governor.reserved(), 0);
    }

    /// Asks the lender while somebody waits for its memory.
    struct Asks(Lender);

    impl Revocable for Asks {
        fn revocable_bytes(&self) -> usize {
            1
        }

        fn revoke(&self, _: usize) -> Result<usize> {
            let lender = self.0.clone();
            let (sent, lent) = mpsc::channel();
            std::thread::spawn(move || sent.send(lender.try_lend(0).is_some()));
            let lent = lent.recv_timeout(Duration::from_secs(20));
            assert_eq!(lent, Ok(true), "others can borrow while state is revoked for one");
            Ok(0)
        }
    }

    #[test]
    fn others_borrow_while_state_is_revoked_for_one() {
        let options = GovernorOptions { limit_bytes: Some(10_000), ..Default::default() };
        let governor = Governor::new(options);
        let lender = Lender::new(governor.reserve("a", 1000).expect("fits"));
        let held = governor.reserve("b", 9000).expect("fits");
        let state: Arc<dyn Revocable> = Arc::new(Asks(lender.clone()));
        held.offer(Arc::downgrade(&state));
        let refused = lender.lend(1001).map(|_| ());
        assert!(matches!(refused, Err(Error::OutOfMemory { asked_bytes: 1001, .. })));
        let lent = lender.lend(1000).expect("is there");
        drop(lent);
        assert_eq!(governor.reserved(), 10_000);
    }
}
