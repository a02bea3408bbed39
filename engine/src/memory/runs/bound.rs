//! How far the first `k` rows of a sort reach, as known so far.
//!
//! Whoever has seen `k` rows knows that rows behind the last of them are of no interest. The
//! builders of one sort tell each other through a [`Bound`], and a scan may ask it for the value
//! of the first key beyond which it need not read.

use std::sync::{Arc, Mutex};

use arrow::array::ArrayRef;

use super::shape::Words;

/// The last of the first `k` rows seen so far; see the module documentation. Clones are the same
/// bound.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    last: Arc<Mutex<Option<Last>>>,
}

#[derive(Debug)]
struct Last {
    words: Words,
    key: Option<ArrayRef>,
}

impl Bound {
    /// A bound that excludes nothing.
    pub fn new() -> Self {
        Bound::default()
    }

    /// The value of the first sort key, an array of one row, of a row that at least `k` rows are
    /// not behind: rows that come after all rows with this value are not wanted. `None` as long as
    /// fewer than `k` rows have been seen.
    pub fn first_key(&self) -> Option<ArrayRef> {
        self.last(|last| last.as_ref().and_then(|last| last.key.clone()))
    }

    /// Forgets what was seen.
    pub fn clear(&self) {
        self.last(|last| *last = None);
    }

    /// Words that no wanted row is beyond.
    pub(super) fn words(&self) -> Option<Words> {
        self.last(|last| last.as_ref().map(|last| last.words))
    }

    /// Says that `k` rows have been seen that are not behind a row with these words. `key` gives
    /// the value of its first key.
    pub(super) fn tighten(&self, words: Words, key: impl FnOnce() -> Option<ArrayRef>) {
        self.last(|last| {
            if last.as_ref().is_none_or(|last| words < last.words) {
                *last = Some(Last { words, key: key() });
            }
        });
    }

    fn last<R>(&self, f: impl FnOnce(&mut Option<Last>) -> R) -> R {
        f(&mut self.last.lock().unwrap_or_else(|e| e.into_inner()))
    }
}
