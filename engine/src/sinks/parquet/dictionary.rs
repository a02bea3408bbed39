//! The distinct values of a column, numbered in the order in which they come.
//!
//! A dictionary is kept as the bytes of its page, values in plain encoding, so that it is ready to
//! be written and any value can be found again by its code.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::batch::{hash_bytes, hash_word};

/// Distinct integers of four or eight bytes.
pub(super) struct Integers {
    table: HashTable<(i64, u32)>,
    values: Vec<i64>,
}

/// Distinct texts or byte strings.
pub(super) struct Texts {
    /// Of values that fit a [`Short`].
    short: HashTable<(Short, u32)>,
    /// Of all others: hashes, and codes.
    long: HashTable<(u64, u32)>,
    /// Where values begin in `page`, behind their lengths; and where the last one ends, as if one
    /// more followed.
    starts: Vec<usize>,
    page: Vec<u8>,
}

/// A value of up to 16 bytes: its first and its last bytes, which may overlap, and its length.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Short {
    first: u64,
    last: u64,
    length: u32,
}

impl Short {
    fn of(value: &[u8]) -> Option<Short> {
        let length = value.len() as u32;
        let (first, last) = match value {
            [] => (0, 0),
            [a] => (u64::from(*a), 0),
            [a, b] => (u64::from(*a), u64::from(*b)),
            [a, b, c] => (u64::from(*a), u64::from(*b) << 8 | u64::from(*c)),
            _ if length <= 8 => {
                let (first, last) = (value.first_chunk::<4>()?, value.last_chunk::<4>()?);
                (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
            }
            _ if length <= 16 => {
                let (first, last) = (value.first_chunk::<8>()?, value.last_chunk::<8>()?);
                (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
            }
            _ => return None,
        };
        Some(Short { first, last, length })
    }

    fn hash(self) -> u64 {
        hash_word(self.first ^ self.last.rotate_left(29) ^ u64::from(self.length))
    }
}

impl Integers {
    pub fn new() -> Self {
        Integers { table: HashTable::new(), values: Vec::new() }
    }

    /// The code of a value.
    pub fn code(&mut self, value: i64) -> u32 {
        let hash = |value: i64| hash_word(value as u64);
        let entry = self.table.entry(hash(value), |entry| entry.0 == value, |entry| hash(entry.0));
        match entry {
            Entry::Occupied(found) => found.get().1,
            Entry::Vacant(vacant) => {
                let code = self.values.len() as u32;
                vacant.insert((value, code));
                self.values.push(value);
                code
            }
        }
    }

    /// Gives back the memory that only looking up takes: no codes are asked for any more.
    pub fn close(&mut self) {
        self.table = HashTable::new();
    }

    /// The values, by code.
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.table.allocation_size() + self.values.capacity() * 8
    }
}

impl Texts {
    pub fn new() -> Self {
        let (short, long) = (HashTable::new(), HashTable::new());
        Texts { short, long, starts: vec![4], page: Vec::new() }
    }

    /// The code of a value.
    pub fn code(&mut self, value: &[u8]) -> u32 {
        let Texts { short, long, starts, page } = self;
        let code = starts.len() as u32 - 1;
        if let Some(key) = Short::of(value) {
            match short.entry(key.hash(), |entry| entry.0 == key, |entry| entry.0.hash()) {
                Entry::Occupied(found) => return found.get().1,
                Entry::Vacant(vacant) => vacant.insert((key, code)),
            };
        } else {
            let hash = hash_bytes(value);
            let is_same = |&(other, code): &(u64, u32)| {
                let (start, next) = (starts[code as usize], starts[code as usize + 1]);
                other == hash && page[start..next - 4] == *value
            };
            match long.entry(hash, is_same, |entry| entry.0) {
                Entry::Occupied(found) => return found.get().1,
                Entry::Vacant(vacant) => vacant.insert((hash, code)),
            };
        }
        page.extend_from_slice(&(value.len() as u32).to_le_bytes());
        page.extend_from_slice(value);
        starts.push(page.len() + 4);
        code
    }

    /// Gives back the memory that only looking up takes: no codes are asked for any more.
    pub fn close(&mut self) {
        (self.short, self.long) = (HashTable::new(), HashTable::new());
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The value with a code.
    pub fn value(&self, code: u32) -> &[u8] {
        let (start, next) = (self.starts[code as usize], self.starts[code as usize + 1]);
        &self.page[start..next - 4]
    }

    /// All values, each behind its length in four bytes.
    pub fn page(&self) -> &[u8] {
        &self.page
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.short.allocation_size()
            + self.long.allocation_size()
            + self.starts.capacity() * 8
            + self.page.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_one_code() {
        let mut integers = Integers::new();
        let codes: Vec<u32> = [5, -1, 5, i64::MIN, -1].map(|v| integers.code(v)).to_vec();
        assert_eq!(codes, [0, 1, 0, 2, 1]);
        assert_eq!(integers.values(), [5, -1, i64::MIN]);
        let mut texts = Texts::new();
        let words = ["", "a", "a longer text than a view holds", "a", ""];
        assert_eq!(words.map(|w| texts.code(w.as_bytes())), [0, 1, 2, 1, 0]);
        assert_eq!((texts.len(), texts.value(0), texts.value(1)), (3, &b""[..], &b"a"[..]));
        assert_eq!(texts.page()[..9], [0, 0, 0, 0, 1, 0, 0, 0, b'a']);
        let mut lengths = Texts::new();
        for length in 0..40 {
            for letter in *b"ab" {
                let mut value = vec![b'a'; length];
                value.push(letter);
                let code = lengths.len() as u32;
                assert_eq!((lengths.code(&value), lengths.code(&value)), (code, code));
                assert_eq!(lengths.value(code), value);
            }
        }
        assert!(texts.held_bytes() > 0 && integers.held_bytes() > 0);
    }
}
