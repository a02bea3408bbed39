//! Percentiles and modes: what is asked of the values of a frame in their own order.
//!
//! The values that are in the frame are held in that order ([`SortedBlocks`]). Each enters once and
//! leaves once, however long frames are. For the mode it is known how often each value is there,
//! and the values are held in the order of that.
//!
//! Memory: what is held, charged in steps; it is proportional to the frame.

use std::cmp::Reverse;

use hashbrown::HashMap;

use super::evaluate::{Evaluate, Results, Span};
use super::forms::Form;
use super::lane::Values;
use super::sorted_blocks::SortedBlocks;
use super::store::Store;
use crate::error::{Error, Result};
use crate::expr::{OrderedKind, Place};

/// Bytes that are charged at once.
const CHARGE_BYTES: usize = 16 << 10;

/// Counts of so many values are not cleared, but made anew.
const MANY: usize = 1 << 10;

/// What holds the values of a frame.
pub(super) trait Held<F: Form>: Send {
    /// A value enters: whether its key is held from now on.
    fn enter(&mut self, key: F::Key, form: &F) -> bool;

    /// A value leaves: its key, if it is held no longer.
    ///
    /// # Errors
    /// `Internal` when it never entered.
    fn leave(&mut self, key: F::Key, form: &F) -> Result<bool>;

    fn clear(&mut self);

    /// What is asked for; `None` of no values.
    ///
    /// # Errors
    /// `Input` when that is between values of which there is nothing between.
    fn result(&mut self, form: &F) -> Result<Option<F::Key>>;

    /// Bytes held, but for what keys have elsewhere.
    fn bytes(&self) -> usize;
}

/// A percentile.
pub(super) struct Percentile<F: Form> {
    kind: OrderedKind,
    values: SortedBlocks<F::Key>,
}

impl<F: Form> Percentile<F> {
    pub(super) fn new(kind: OrderedKind) -> Self {
        Percentile { kind, values: SortedBlocks::new() }
    }
}

impl<F: Form> Held<F> for Percentile<F> {
    fn enter(&mut self, key: F::Key, _: &F) -> bool {
        self.values.insert(key);
        true
    }

    fn leave(&mut self, key: F::Key, _: &F) -> Result<bool> {
        self.values.remove(&key).map(|_| true).ok_or_else(foreign)
    }

    fn clear(&mut self) {
        self.values.clear();
    }

    fn result(&mut self, form: &F) -> Result<Option<F::Key>> {
        let Some(place) = Place::of(&self.kind, self.values.len()) else { return Ok(None) };
        let [low, high] = place.ranks.map(|rank| self.values.get(rank).cloned());
        let between = low.zip(high).map(|(low, high)| form.between(&low, &high, place.part));
        between.transpose()
    }

    fn bytes(&self) -> usize {
        self.values.bytes()
    }
}

/// The value that is there most often; of several the least.
pub(super) struct Mode<F: Form> {
    counts: HashMap<F::Key, u64>,
    by_count: SortedBlocks<(u64, Reverse<F::Key>)>,
}

impl<F: Form> Mode<F> {
    pub(super) fn new() -> Self {
        Mode { counts: HashMap::new(), by_count: SortedBlocks::new() }
    }
}

impl<F: Form> Held<F> for Mode<F> {
    fn enter(&mut self, key: F::Key, form: &F) -> bool {
        let key = form.same(key);
        let count = self.counts.entry(key.clone()).or_insert(0);
        *count += 1;
        let count = *count;
        let before = self.by_count.remove(&(count - 1, Reverse(key.clone())));
        // Whose key is in both.
        let key = before.map_or(key, |(_, Reverse(key))| key);
        self.by_count.insert((count, Reverse(key)));
        count == 1
    }

    fn leave(&mut self, key: F::Key, form: &F) -> Result<bool> {
        let key = form.same(key);
        let count = self.counts.get_mut(&key).ok_or_else(foreign)?;
        *count -= 1;
        let rest = *count;
        let (_, Reverse(key)) =
            self.by_count.remove(&(rest + 1, Reverse(key))).ok_or_else(foreign)?;
        match rest {
            0 => drop(self.counts.remove(&key)),
            _ => self.by_count.insert((rest, Reverse(key))),
        }
        Ok(rest == 0)
    }

    fn clear(&mut self) {
        match self.counts.capacity() > MANY {
            true => self.counts = HashMap::new(),
            false => self.counts.clear(),
        }
        self.by_count.clear();
    }

    fn result(&mut self, _: &F) -> Result<Option<F::Key>> {
        Ok(self.by_count.last().map(|(_, Reverse(key))| key.clone()))
    }

    fn bytes(&self) -> usize {
        self.counts.allocation_size() + self.by_count.bytes()
    }
}

fn foreign() -> Error {
    Error::internal("a value leaves a frame it is not in")
}

/// What is asked of sorted values, over the frames of a window; see the module documentation.
pub(super) struct Sorted<L, F: Form, H> {
    lane: L,
    /// For rows that leave the frame; none where frames begin with their partition.
    leaving: Option<L>,
    form: F,
    held: H,
    frame: usize,
    /// Number of keys of the partition.
    partition: usize,
    /// The rows whose values are held: from the first to the one before the second.
    rows: (u64, u64),
    /// Bytes that the keys held have elsewhere.
    key_bytes: usize,
    charged: usize,
}

impl<L: Values, F: Form<Value = L::Value>, H: Held<F>> Sorted<L, F, H> {
    /// Of frames with this number, in partitions of so many keys.
    pub(super) fn new(
        lane: L,
        leaving: Option<L>,
        (form, held): (F, H),
        (frame, partition): (usize, usize),
    ) -> Self {
        let (rows, key_bytes, charged) = ((0, 0), 0, 0);
        Sorted { lane, leaving, form, held, frame, partition, rows, key_bytes, charged }
    }

    fn clear(&mut self, at: u64, store: &mut Store) {
        self.held.clear();
        (self.rows, self.key_bytes) = ((at, at), 0);
        let bytes = self.held.bytes();
        if self.charged > bytes + CHARGE_BYTES {
            store.memory().shrink(self.charged - bytes);
            self.charged = bytes;
        }
    }

    fn enter(&mut self, end: u64, store: &mut Store) -> Result<()> {
        while self.rows.1 < end {
            if let Some(value) = self.lane.get(store, self.rows.1)? {
                let key = self.form.key(value);
                let key_bytes = self.form.bytes(&key);
                if self.held.enter(key, &self.form) {
                    self.key_bytes += key_bytes;
                }
                let bytes = self.held.bytes() + self.key_bytes;
                if bytes > self.charged {
                    let more = bytes - self.charged + CHARGE_BYTES;
                    store.make_room(more)?;
                    self.charged += more;
                }
            }
            self.rows.1 += 1;
        }
        Ok(())
    }

    fn leave(&mut self, start: u64, store: &mut Store) -> Result<()> {
        let Some(lane) = &mut self.leaving else { return Ok(()) };
        while self.rows.0 < start {
            if let Some(value) = lane.get(store, self.rows.0)? {
                let key = self.form.key(value);
                let key_bytes = self.form.bytes(&key);
                if self.held.leave(key, &self.form)? {
                    self.key_bytes -= key_bytes;
                }
            }
            self.rows.0 += 1;
        }
        Ok(())
    }
}

impl<L, F, H> Evaluate for Sorted<L, F, H>
where
    L: Values,
    F: Form<Value = L::Value>,
    H: Held<F>,
{
    fn evaluate(&mut self, span: &Span<'_>, store: &mut Store) -> Result<Results> {
        let mut results: Vec<Option<F::Key>> = Vec::with_capacity(span.marks.len());
        let mut bytes = 0;
        for (number, ((start, end), &mark)) in span.frames(self.frame).zip(span.marks).enumerate() {
            if bytes > span.bytes {
                break;
            }
            let is_new = usize::from(mark) <= self.partition;
            if is_new {
                self.clear(span.first + number as u64, store);
            }
            let is_same = self.rows.1 == end && (self.rows.0 == start || self.leaving.is_none());
            let result = match results.last() {
                Some(last) if is_same && !is_new => last.clone(),
                _ if start >= end => {
                    // Rows may leave an empty frame that have not entered it.
                    self.leave(start.min(self.rows.1), store)?;
                    None
                }
                _ => {
                    if start >= self.rows.1 {
                        self.clear(start, store);
                    }
                    self.leave(start, store)?;
                    self.enter(end, store)?;
                    self.held.result(&self.form)?
                }
            };
            bytes += result.as_ref().map_or(0, |key| self.form.bytes(key));
            results.push(result);
        }
        Ok(Results::Flat(self.form.values(results)?))
    }

    fn keeps(&self) -> u64 {
        if self.leaving.is_some() { self.rows.0 } else { self.rows.1 }
    }
}
