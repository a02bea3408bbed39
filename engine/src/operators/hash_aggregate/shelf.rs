//! A worker's groups between two of its chunks, when others may have their memory.
//!
//! An aggregate keeps all groups that it has room for, and its worker may be the one that makes the
//! rows as well: what the worker needs to go on, a page to decode or a buffer of a window, it could
//! never have if only idle state gave way. So the groups lie on a shelf from chunk to chunk, and
//! whoever cannot do without more memory writes them out from there.
//!
//! Concurrency: the shelf is behind a lock that the worker has while it takes a chunk in, and when
//! it hands its groups over. Both are steps ([`Turns`](crate::memory::Turns)) which begin before
//! the lock is taken: who is alone finds all shelves free. A revocation only tries the lock. The
//! sink's own lock is not taken below it but to hand groups over.
//!
//! Invariant 1: groups that could not be written out are gone, and their query with them: the
//! worker meets the error at its next chunk.

use std::sync::{Arc, Mutex, MutexGuard};

use super::sink::Shared;
use super::worker::Collecting;
use crate::batch::Chunk;
use crate::error::{Error, Result};
use crate::memory::{Governor, Revocable};
use crate::pipeline::{Consumed, Context, SinkWorker};
use crate::scheduler::Token;

/// One worker's part of the sink.
pub(super) struct AggregateWorker {
    governor: Governor,
    shelf: Arc<Shelf>,
}

struct Shelf {
    groups: Mutex<Groups>,
    /// For who writes the groups out on another's behalf.
    cx: Context,
}

enum Groups {
    Collecting(Box<Collecting>),
    HandedOver,
    Lost(Error),
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl AggregateWorker {
    /// # Errors
    /// `OutOfMemory` when there is no room to begin.
    pub(super) fn new(shared: Arc<Shared>, cx: &Context) -> Result<Self> {
        let collecting = Box::new(Collecting::new(shared, cx)?);
        let governor = collecting.memory().governor().clone();
        let shelf = Arc::new(Shelf { groups: Mutex::new(Groups::HandedOver), cx: cx.clone() });
        let state: Arc<dyn Revocable> = shelf.clone();
        collecting.memory().offer(Arc::downgrade(&state));
        *shelf.lock() = Groups::Collecting(collecting);
        Ok(AggregateWorker { governor, shelf })
    }
}

impl SinkWorker for AggregateWorker {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        if input.is_empty() {
            return Ok(Consumed::NeedInput);
        }
        let _turn = self.governor.turns().beside(&|| cx.check())?;
        match &mut *self.shelf.lock() {
            Groups::Collecting(collecting) => collecting.consume(&input, cx)?,
            Groups::HandedOver => return Err(Error::internal("rows for groups handed over")),
            Groups::Lost(error) => return Err(error.clone()),
        }
        Ok(Consumed::NeedInput)
    }

    fn combine(&mut self, cx: &Context) -> Result<Option<Token>> {
        let _turn = self.governor.turns().beside(&|| cx.check())?;
        let mut groups = self.shelf.lock();
        match std::mem::replace(&mut *groups, Groups::HandedOver) {
            Groups::Collecting(collecting) => collecting.combine(cx)?,
            Groups::HandedOver => {}
            Groups::Lost(error) => return Err(error),
        }
        Ok(None)
    }
}

impl Revocable for Shelf {
    fn revocable_bytes(&self) -> usize {
        match self.groups.try_lock().as_deref() {
            Ok(Groups::Collecting(collecting)) => collecting.spillable_bytes(),
            _ => 0,
        }
    }

    fn revoke(&self, _: usize) -> Result<usize> {
        let Ok(mut groups) = self.groups.try_lock() else { return Ok(0) };
        match &*groups {
            Groups::Collecting(collecting) if collecting.spillable_bytes() > 0 => {}
            _ => return Ok(0),
        }
        // What it says should the writing panic.
        let lost = Groups::Lost(Error::internal("groups were lost when they were written out"));
        let Groups::Collecting(mut collecting) = std::mem::replace(&mut *groups, lost) else {
            return Ok(0);
        };
        let freed = collecting.give_up(&self.cx);
        *groups = match &freed {
            Ok(_) => Groups::Collecting(collecting),
            Err(error) => Groups::Lost(error.clone()),
        };
        freed
    }

    fn is_at_work(&self) -> bool {
        true
    }
}
