//! The dictionaries of column chunks, decoded and shared.
//!
//! A large row group is read by several workers, each slice of it by one; they share its
//! dictionaries, so that all chunks of the row group have the same domain. Small dictionaries are
//! also shared between row groups when they hold the same values in the same order, so that what
//! is remembered per domain (results of predicates, group numbers) stays good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use arrow::array::{Array, ArrayRef, BinaryViewBuilder, StringViewBuilder};
use arrow::datatypes::DataType;

use super::values::Values;
use crate::batch::Domain;
use crate::error::Result;

/// Dictionaries of at most this many values are compared with earlier ones.
const SMALL_VALUES_MAX: usize = 64;

/// Small dictionaries remembered per column.
const SMALL_KEPT_MAX: usize = 32;

/// The values of a column chunk that codes refer to.
#[derive(Debug)]
pub(super) struct Dictionary {
    /// The values, in their physical type.
    pub values: ArrayRef,
    /// The name that results are remembered under.
    pub domain: Domain,
    /// Bytes of memory held.
    pub bytes: usize,
}

impl Dictionary {
    fn new(values: ArrayRef) -> Self {
        let bytes = values.get_array_memory_size();
        Dictionary { values, domain: Domain::unique(), bytes }
    }
}

/// A dictionary page's values of fixed width; `None` when it is too short.
pub(super) fn fixed_values(
    values: &mut dyn Values,
    page: &[u8],
    count: usize,
) -> Result<Option<ArrayRef>> {
    let length = count.checked_mul(values.width());
    let Some(stored) = length.and_then(|length| page.get(..length)) else { return Ok(None) };
    values.plain(stored);
    values.finish(None).map(Some)
}

/// A dictionary page's strings or binaries; `None` when they are cut short or no UTF-8.
pub(super) fn byte_values(data_type: &DataType, page: &[u8], count: usize) -> Option<ArrayRef> {
    let mut rest = page;
    let strings = std::iter::from_fn(|| {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = after;
        Some(value)
    });
    let strings = strings.take(count);
    let values: ArrayRef = match data_type {
        DataType::Utf8View => {
            let mut builder = StringViewBuilder::new();
            for string in strings {
                builder.try_append_value(std::str::from_utf8(string).ok()?).ok()?;
            }
            Arc::new(builder.finish())
        }
        _ => {
            let mut builder = BinaryViewBuilder::new();
            for string in strings {
                builder.try_append_value(string).ok()?;
            }
            Arc::new(builder.finish())
        }
    };
    (values.len() == count).then_some(values)
}

/// A column chunk within a scan: number of the file, row group, slot.
pub(super) type ChunkKey = (usize, usize, usize);

/// All dictionaries of a scan that somebody uses.
#[derive(Debug, Default)]
pub(super) struct Dictionaries {
    used: Mutex<HashMap<ChunkKey, Weak<Dictionary>>>,
    small: Mutex<HashMap<usize, Vec<Arc<Dictionary>>>>,
}

impl Dictionaries {
    /// The dictionary of a chunk, if some worker has it.
    pub fn get(&self, key: ChunkKey) -> Option<Arc<Dictionary>> {
        let used = self.used.lock().unwrap_or_else(|e| e.into_inner());
        used.get(&key).and_then(Weak::upgrade)
    }

    /// Shares a chunk's dictionary. If another worker was faster, or has seen the same values
    /// before, its dictionary is the one to use.
    pub fn share(&self, key: ChunkKey, values: ArrayRef) -> Arc<Dictionary> {
        if values.len() <= SMALL_VALUES_MAX {
            return self.share_small(key.2, values);
        }
        let mut used = self.used.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(first) = used.get(&key).and_then(Weak::upgrade) {
            return first;
        }
        used.retain(|_, dictionary| dictionary.strong_count() > 0);
        let dictionary = Arc::new(Dictionary::new(values));
        used.insert(key, Arc::downgrade(&dictionary));
        dictionary
    }

    fn share_small(&self, slot: usize, values: ArrayRef) -> Arc<Dictionary> {
        let mut small = self.small.lock().unwrap_or_else(|e| e.into_inner());
        let known = small.entry(slot).or_default();
        if let Some(same) = known.iter().find(|dictionary| *dictionary.values == *values) {
            return same.clone();
        }
        let dictionary = Arc::new(Dictionary::new(values));
        if known.len() < SMALL_KEPT_MAX {
            known.push(dictionary.clone());
        }
        dictionary
    }
}
