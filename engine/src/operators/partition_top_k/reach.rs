//! How far the first rows of each partition reach, as far as a worker has seen.
//!
//! Rows are told by words: those of the partition are the same for equal keys and for no others;
//! those of the order tell which of two rows is before the other, unless they are the same.
//!
//! Invariant 1: of a partition that has all its words, as many rows as are wanted have been seen
//! whose words are not behind the last of them.

use std::mem::size_of;

use hashbrown::HashTable;

use super::Counted;
use crate::batch::hash_word;
use crate::memory::Reservation;
use crate::memory::rows::SortKey;

/// Words of a partition's keys.
pub(super) const PARTITION_WORDS: usize = 4;

/// Partitions that there is room for at first.
const PARTITIONS_MIN: usize = 64;

type Group = [u64; PARTITION_WORDS];

/// What is known of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// It is among the first to come.
    First,
    /// It may be among the first in order.
    Wanted,
    /// It is behind all that are wanted.
    Behind,
}

/// See the module documentation.
pub(super) struct Reach {
    count: usize,
    counted: Counted,
    bytes_max: usize,
    memory: Reservation,
    charged: usize,
    is_refused: bool,
    /// Whether partitions were forgotten for others.
    forgot: bool,
    /// Numbers of partitions.
    table: HashTable<u32>,
    groups: Vec<Group>,
    /// How many words each partition has.
    lens: Vec<u32>,
    /// In order, `count` for each partition.
    words: Vec<u128>,
    /// The partition of the last row: rows of one often follow each other.
    last: usize,
}

impl Reach {
    pub(super) fn new(
        count: usize,
        counted: Counted,
        bytes_max: usize,
        memory: Reservation,
    ) -> Self {
        Reach {
            count,
            counted,
            bytes_max,
            memory,
            charged: 0,
            is_refused: false,
            forgot: false,
            table: HashTable::new(),
            groups: Vec::new(),
            lens: Vec::new(),
            words: Vec::new(),
            last: 0,
        }
    }

    /// Whether there is no memory for it.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether partitions were forgotten since it was asked last.
    pub(super) fn take_forgot(&mut self) -> bool {
        std::mem::take(&mut self.forgot)
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.groups.clear();
        self.lens.clear();
        self.words.clear();
    }

    /// The next row: what its partition has, and the words of its order.
    pub(super) fn offer(&mut self, group: &[u64], words: &[u64], order: &SortKey) -> Row {
        let mut own: Group = [0; PARTITION_WORDS];
        own.iter_mut().zip(group).for_each(|(own, &word)| *own = word);
        let Some(number) = self.number(&own) else { return Row::Wanted };
        let word = match *words {
            [a, b, ..] => (u128::from(a) << 64) | u128::from(b),
            [a] => u128::from(a) << 64,
            [] => 0,
        };
        let (start, len) = (number * self.count, self.lens[number] as usize);
        let known = &mut self.words[start..start + self.count];
        if self.counted == Counted::Groups && known[..len].binary_search(&word).is_ok() {
            return Row::Wanted;
        }
        if len == self.count {
            let last = known[len - 1];
            if word > last {
                return Row::Behind;
            }
            if word == last {
                // It came later; whether it is a peer is known if words tell all.
                let is_behind = self.counted == Counted::Rows && !order.may_differ(words);
                return if is_behind { Row::Behind } else { Row::Wanted };
            }
        }
        let at = known[..len].partition_point(|&before| before <= word);
        let new_len = (len + 1).min(self.count);
        known.copy_within(at..new_len - 1, at + 1);
        known[at] = word;
        self.lens[number] = new_len as u32;
        if len < self.count { Row::First } else { Row::Wanted }
    }

    /// The number of a partition; `None` when it finds no room.
    fn number(&mut self, group: &Group) -> Option<usize> {
        if self.groups.get(self.last) == Some(group) {
            return Some(self.last);
        }
        let hash = hash_of(group);
        let groups = &self.groups;
        if let Some(&number) = self.table.find(hash, |&number| groups[number as usize] == *group) {
            self.last = number as usize;
            return Some(self.last);
        }
        if self.groups.len() == self.groups.capacity() && !self.grow() {
            if self.is_refused {
                return None;
            }
            // Other partitions may be of more use than these.
            self.clear();
            self.forgot = true;
        }
        let number = self.groups.len();
        self.groups.push(*group);
        self.lens.push(0);
        self.words.resize((number + 1) * self.count, 0);
        let groups = &self.groups;
        self.table.insert_unique(hash, number as u32, |&n| hash_of(&groups[n as usize]));
        self.last = number;
        Some(number)
    }

    /// Makes room for more partitions; false when there is none.
    fn grow(&mut self) -> bool {
        let before = self.groups.capacity();
        let partitions = (2 * before).max(PARTITIONS_MIN);
        let each = size_of::<Group>() + size_of::<u32>() + self.count * size_of::<u128>();
        // The table has at most twice the places, and both are there while it grows.
        let bytes = partitions * (each + 3 * (size_of::<u32>() + 1)) + 256;
        if before > 0 && bytes > self.bytes_max {
            return false;
        }
        if bytes > self.bytes_max || !self.memory.try_grow(bytes) {
            self.is_refused = self.groups.is_empty();
            return false;
        }
        self.groups.reserve_exact(partitions - self.groups.len());
        self.lens.reserve_exact(partitions - self.lens.len());
        self.words.reserve_exact(partitions * self.count - self.words.len());
        let groups = &self.groups;
        self.table.reserve(partitions - self.table.len(), |&n| hash_of(&groups[n as usize]));
        self.memory.shrink(self.charged);
        self.charged = bytes;
        true
    }
}

fn hash_of(group: &Group) -> u64 {
    group.iter().fold(0, |hash, &word| hash_word(hash ^ word))
}
