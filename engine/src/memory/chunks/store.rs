//! Chunks by number, and how they give way when memory is short.

use std::sync::{Arc, Mutex, MutexGuard};

use arrow::datatypes::DataType;

use super::writer::{ChunkWriter, SPILL_BYTES, TapeFill};
use crate::batch::{Chunk, Place};
use crate::error::{Error, Result};
use crate::memory::spill::Tape;
use crate::memory::{Governor, Reservation, Revocable};

/// Chunks that are kept; see the module documentation.
pub struct ChunkStore {
    types: Vec<DataType>,
    /// What all reservations of the store are children of; holds nothing itself.
    root: Reservation,
    inner: Mutex<Inner>,
}

struct Inner {
    slots: Vec<Slot>,
    rows: u64,
    charge: Reservation,
}

/// One chunk.
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) rows: usize,
    /// What it is charged with.
    pub(super) bytes: usize,
    pub(super) body: Body,
}

/// Where a chunk is.
#[derive(Clone)]
pub(super) enum Body {
    Memory(Chunk),
    /// On a tape that is still written.
    Unfinished(Arc<[Spot]>),
    Tape(Arc<Tape>, Arc<[Spot]>),
}

/// Where a column of a chunk is on its tape.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) position: u64,
    /// The end of its last block, or less.
    pub(super) end: u64,
    /// The physical type.
    pub(super) data_type: DataType,
}

impl ChunkStore {
    /// No chunks yet, of columns with these logical types; `who` is named for their memory.
    ///
    /// # Errors
    /// `OutOfMemory` when there is not even room to move chunks out of memory.
    pub fn new(who: &str, types: Vec<DataType>, memory: &Governor) -> Result<Arc<ChunkStore>> {
        let root = memory.reserve(who, 0)?;
        let mut charge = root.child(SPILL_BYTES)?;
        charge.grow(SPILL_BYTES)?;
        let inner = Mutex::new(Inner { slots: Vec::new(), rows: 0, charge });
        let store = Arc::new(ChunkStore { types, root, inner });
        let revocable: Arc<dyn Revocable> = store.clone();
        store.lock().charge.offer(Arc::downgrade(&revocable));
        Ok(store)
    }

    /// A writer for one worker.
    ///
    /// # Errors
    /// `OutOfMemory` when there is not even room to move chunks out of memory.
    pub fn writer(&self) -> Result<ChunkWriter> {
        ChunkWriter::new(self.root.child(SPILL_BYTES)?)
    }

    /// Takes what a worker has written.
    ///
    /// # Errors
    /// As [`ChunkWriter::push`].
    pub fn add(&self, writer: ChunkWriter) -> Result<()> {
        let written = writer.finish()?;
        let mut inner = self.lock();
        inner.rows += written.slots.iter().map(|slot| slot.rows as u64).sum::<u64>();
        inner.slots.extend(written.slots);
        inner.charge.absorb(written.charge);
        Ok(())
    }

    /// Puts the chunks in the order of their input.
    pub fn seal(&self) {
        let mut inner = self.lock();
        inner.slots.sort_by_key(|slot| slot.place);
        inner.slots.shrink_to_fit();
    }

    /// Drops all chunks.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.rows = 0;
        let slots = std::mem::take(&mut inner.slots);
        let bytes = slots.iter().map(|slot| slot.bytes).sum();
        drop(slots);
        inner.charge.shrink(bytes);
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.lock().slots.len()
    }

    /// Rows of all chunks.
    pub fn rows(&self) -> u64 {
        self.lock().rows
    }

    /// Bytes of the chunks that are in memory.
    pub fn memory_bytes(&self) -> usize {
        self.lock().charge.bytes() - SPILL_BYTES
    }

    /// The logical types of the columns.
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// A reservation for a reader.
    pub(super) fn reader_charge(&self) -> Result<Reservation> {
        self.root.child(0)
    }

    /// Rows and place of a chunk.
    pub(super) fn slot(&self, number: usize) -> Result<(usize, Body)> {
        let inner = self.lock();
        match inner.slots.get(number) {
            Some(slot) => Ok((slot.rows, slot.body.clone())),
            None => Err(Error::internal(format!("no chunk {number} is kept"))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Revocable for ChunkStore {
    fn revocable_bytes(&self) -> usize {
        let Ok(inner) = self.inner.try_lock() else { return 0 };
        inner.charge.bytes().saturating_sub(SPILL_BYTES)
    }

    /// Moves the last chunks out first: readers begin with the first ones.
    fn revoke(&self, wanted: usize) -> Result<usize> {
        let Ok(mut inner) = self.inner.try_lock() else { return Ok(0) };
        let inner = &mut *inner;
        let mut tape = TapeFill::new(inner.charge.governor().spill(), inner.charge.who());
        let mut moved: Vec<Slot> = Vec::new();
        let mut freed = 0;
        let mut from = inner.slots.len();
        while freed < wanted && from > 0 {
            from -= 1;
            let slot = &inner.slots[from];
            let body = match &slot.body {
                Body::Memory(chunk) => Body::Unfinished(tape.append(chunk)?),
                other => other.clone(),
            };
            freed += slot.bytes;
            moved.push(Slot { place: slot.place, rows: slot.rows, bytes: 0, body });
        }
        // Nothing is changed before all is written.
        tape.finish(&mut moved)?;
        moved.reverse();
        drop(inner.slots.splice(from.., moved));
        inner.charge.shrink(freed);
        Ok(freed)
    }
}
