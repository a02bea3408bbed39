//! Memory that is lent to one after the other.
//!
//! What a worker needs by all means, now for this and now for that, is set aside once. Whoever has
//! borrowed it has a [`Reservation`] like any other, which may grow beyond what was lent; when that
//! is dropped, on whatever way, what was lent is back, and was never free in between.

use std::sync::{Arc, Mutex, MutexGuard};

use super::Reservation;
use crate::error::Result;

/// Who lends; see the module documentation. Clones are the same lender.
#[derive(Debug, Clone)]
pub struct Lender(Arc<Home>);

#[derive(Debug)]
struct Home {
    memory: Mutex<Reservation>,
    /// What is there while nothing is lent.
    bytes: usize,
}

impl Lender {
    /// Lends the minimum of `memory`.
    pub fn new(memory: Reservation) -> Self {
        let bytes = memory.minimum();
        Lender(Arc::new(Home { memory: Mutex::new(memory), bytes }))
    }

    fn memory(&self) -> MutexGuard<'_, Reservation> {
        self.0.memory.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// A reservation with a minimum of `bytes`; `None` when there are not so many.
    pub fn try_lend(&self, bytes: usize) -> Option<Reservation> {
        let mut memory = self.memory();
        memory.try_grow(bytes).then(|| memory.cede(bytes).lent_by(self.clone()))
    }

    /// The same for who cannot do without.
    ///
    /// # Errors
    /// `OutOfMemory` when there are not so many bytes; what was set aside is there, unless it is
    /// lent.
    pub fn lend(&self, bytes: usize) -> Result<Reservation> {
        let mut memory = self.memory();
        memory.grow(bytes)?;
        Ok(memory.cede(bytes).lent_by(self.clone()))
    }

    /// Takes back what is left of what was lent.
    pub(super) fn take_back(&self, mut lent: Reservation) {
        lent.settle();
        let mut memory = self.memory();
        memory.absorb(lent);
        // Less comes back where something else was split off, and is made good if it can be.
        let _ = memory.set_minimum(self.0.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::memory::{Governor, GovernorOptions};

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
}
