//! A builder whose memory others may have between two of its chunks.
//!
//! A sort takes all it gets, and gives it back when it comes to its next chunk. Whoever cannot do
//! without more (a row on its way into another worker's buffer, a page that is decoded) would have
//! to wait for that: here it writes the builder's rows to tape by itself. Those who can shed state
//! of their own do that instead, so that nobody's rows are written while others are.
//!
//! Concurrency: the builder is behind a lock that its worker has while it pushes. A push is a step
//! ([`Turns`](crate::memory::Turns)) that begins before the lock is taken. Who is alone finds all
//! locks free but those of workers that wait to be alone as well, and these have shed all they had.
//! Nobody takes a turn while revoking, and a revocation only tries the lock: no two wait for each
//! other. The end is a step as well: the last run is made, and all runs change hands, while the
//! lock is held, so that there is no moment at which somebody who is alone finds them with nobody.
//!
//! A revocation writes with the lock held. What it writes is the oldest runs and the buffer, which
//! must be whole or on tape before the next row comes. The only one who may wait for that is the
//! builder's own worker, about as long as if it had to write them by itself, which would be next:
//! it is asked for what is missing, or a sixteenth of the budget, once.

use std::sync::{Arc, Mutex, MutexGuard};

use super::Check;
use super::builder::RunBuilder;
use super::sorting::Sorting;
use crate::batch::Chunk;
use crate::error::{Error, Result};
use crate::memory::{Governor, Revocable};

/// One worker's builder; see the module documentation.
pub struct Collector {
    governor: Governor,
    shelf: Arc<Shelf>,
}

/// Where the builder is between two chunks; nowhere at the end.
struct Shelf(Mutex<Option<RunBuilder>>);

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Option<RunBuilder>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Collector {
    /// A builder that gives way between its chunks.
    pub fn new(builder: RunBuilder) -> Self {
        let governor = builder.reservation().governor().clone();
        let shelf = Arc::new(Shelf(Mutex::new(None)));
        let state: Arc<dyn Revocable> = shelf.clone();
        builder.reservation().offer(Arc::downgrade(&state));
        *shelf.lock() = Some(builder);
        Collector { governor, shelf }
    }

    /// Adds the live rows of a chunk; see [`RunBuilder::push`].
    ///
    /// # Errors
    /// As there.
    pub fn push(&mut self, chunk: &Chunk, check: Check<'_>) -> Result<()> {
        let mut turn = self.governor.turns().beside(check)?;
        match &mut *self.shelf.lock() {
            Some(builder) => builder.push(chunk, &mut turn, check),
            None => Err(Error::internal("rows for runs that are complete")),
        }
    }

    /// Makes the last run and hands all of them over; see [`RunBuilder::finish`].
    ///
    /// # Errors
    /// As there.
    pub fn finish(self, sorting: &Sorting, check: Check<'_>) -> Result<()> {
        let _turn = self.governor.turns().beside(check)?;
        let mut shelf = self.shelf.lock();
        if let Some(builder) = shelf.take() {
            sorting.add(builder.finish(check)?);
        }
        Ok(())
    }
}

impl Revocable for Shelf {
    fn revocable_bytes(&self) -> usize {
        let Ok(builder) = self.0.try_lock() else { return 0 };
        builder.as_ref().map_or(0, RunBuilder::spillable_bytes)
    }

    fn revoke(&self, wanted: usize) -> Result<usize> {
        let Ok(mut builder) = self.0.try_lock() else { return Ok(0) };
        builder.as_mut().map_or(Ok(0), |builder| builder.give_up(wanted))
    }

    fn is_at_work(&self) -> bool {
        true
    }
}
