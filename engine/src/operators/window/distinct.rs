//! Which values of a frame are added up: all of them, or of equal ones a single one.
//!
//! Of distinct values it is known how often each is in the frame: the first one that enters counts,
//! and so does the last one that leaves. So a value is looked up twice, however long frames are.
//!
//! Memory: the table of the values, charged before it grows.

use std::hash::Hash;
use std::mem::size_of;
use std::sync::Arc;

use arrow::datatypes::i256;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::store::Store;
use crate::batch::float_key;
use crate::error::{Error, Result};

/// A table is made anew rather than cleared when it has room for so many times what is in it.
const SPARSE: usize = 16;

/// Values of a table that is never too sparse to be cleared.
const SMALL: usize = 64;

/// What the first table of a few values has at most.
const FIRST_BYTES: usize = 1 << 10;

/// Says which values count.
pub(super) trait Members<V>: Send {
    /// A value enters the frame: whether it counts.
    ///
    /// # Errors
    /// `OutOfMemory` when it cannot be kept.
    fn enter(&mut self, value: &V, store: &mut Store) -> Result<bool>;

    /// A value leaves the frame: whether it counted.
    ///
    /// # Errors
    /// `Internal` when it never entered.
    fn leave(&mut self, value: &V, store: &mut Store) -> Result<bool>;

    /// No value is in the frame any more.
    fn clear(&mut self, store: &mut Store);
}

/// Every value counts.
pub(super) struct All;

impl<V> Members<V> for All {
    #[inline]
    fn enter(&mut self, _: &V, _: &mut Store) -> Result<bool> {
        Ok(true)
    }

    #[inline]
    fn leave(&mut self, _: &V, _: &mut Store) -> Result<bool> {
        Ok(true)
    }

    #[inline]
    fn clear(&mut self, _: &mut Store) {}
}

/// A value that can be told from others.
pub(super) trait Member {
    /// What equal values have in common.
    type Key: Hash + Eq + Send;

    fn key(&self) -> Self::Key;

    /// Bytes that a key has elsewhere.
    fn key_bytes(_: &Self::Key) -> usize {
        0
    }
}

impl Member for i64 {
    type Key = i64;

    fn key(&self) -> i64 {
        *self
    }
}

impl Member for i128 {
    type Key = i128;

    fn key(&self) -> i128 {
        *self
    }
}

impl Member for i256 {
    type Key = i256;

    fn key(&self) -> i256 {
        *self
    }
}

/// NaN equals NaN, and -0.0 equals 0.0.
impl Member for f64 {
    type Key = u64;

    fn key(&self) -> u64 {
        float_key(*self).to_bits()
    }
}

impl Member for Arc<[u8]> {
    type Key = Arc<[u8]>;

    fn key(&self) -> Arc<[u8]> {
        Arc::clone(self)
    }

    fn key_bytes(key: &Arc<[u8]>) -> usize {
        key.len() + 2 * size_of::<usize>()
    }
}

/// Of equal values one counts.
pub(super) struct Distinct<V: Member> {
    /// How often each value is in the frame.
    counts: HashMap<V::Key, u64>,
    /// Bytes that are charged for the table, and those of the keys elsewhere.
    table_bytes: usize,
    key_bytes: usize,
}

impl<V: Member> Distinct<V> {
    pub(super) fn new() -> Self {
        Distinct { counts: HashMap::new(), table_bytes: 0, key_bytes: 0 }
    }

    /// Makes a full table larger. Both are there while the keys are moved.
    fn grow(&mut self, store: &mut Store) -> Result<()> {
        let next = 2 * self.table_bytes + FIRST_BYTES;
        store.make_room(next)?;
        self.counts.reserve(1);
        let free = (self.table_bytes + next).saturating_sub(self.counts.allocation_size());
        self.table_bytes = self.table_bytes + next - free;
        store.memory().shrink(free);
        Ok(())
    }
}

impl<V: Member + Send> Members<V> for Distinct<V> {
    fn enter(&mut self, value: &V, store: &mut Store) -> Result<bool> {
        if self.counts.len() == self.counts.capacity() {
            self.grow(store)?;
        }
        let count = match self.counts.entry(value.key()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let bytes = V::key_bytes(entry.key());
                store.make_room(bytes)?;
                self.key_bytes += bytes;
                entry.insert(0)
            }
        };
        *count += 1;
        Ok(*count == 1)
    }

    fn leave(&mut self, value: &V, store: &mut Store) -> Result<bool> {
        match self.counts.entry(value.key()) {
            Entry::Occupied(mut entry) if *entry.get() > 1 => {
                *entry.get_mut() -= 1;
                Ok(false)
            }
            Entry::Occupied(entry) => {
                let bytes = V::key_bytes(entry.key());
                entry.remove();
                self.key_bytes -= bytes;
                store.memory().shrink(bytes);
                Ok(true)
            }
            Entry::Vacant(_) => Err(Error::internal("a value leaves a frame it is not in")),
        }
    }

    fn clear(&mut self, store: &mut Store) {
        let (len, capacity) = (self.counts.len(), self.counts.capacity());
        if capacity > SMALL && capacity / SPARSE > len {
            self.counts = HashMap::new();
            store.memory().shrink(self.table_bytes);
            self.table_bytes = 0;
        } else {
            self.counts.clear();
        }
        store.memory().shrink(self.key_bytes);
        self.key_bytes = 0;
    }
}
