//! Values in order, of which each can be put in, taken out, and asked for by its rank.
//!
//! They are in blocks of a few hundred. Which block a value belongs to is found among the first
//! values of the blocks; which one has a rank, by going on from the block that was asked for last,
//! because ranks change little from row to row.
//!
//! Invariant: no block is empty, and no value of a block is greater than one of a later block.

use std::mem::size_of;

/// Values of a block that is full, and becomes two.
const BLOCK_LEN: usize = 512;

/// See the module documentation.
pub(super) struct SortedBlocks<K> {
    blocks: Vec<Vec<K>>,
    len: u64,
    /// The block that was asked for last, and how many values are before it.
    cursor: (usize, u64),
    /// Values that the blocks have room for.
    room: usize,
}

impl<K: Ord> SortedBlocks<K> {
    pub(super) fn new() -> Self {
        SortedBlocks { blocks: Vec::new(), len: 0, cursor: (0, 0), room: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes held, but for what values have elsewhere.
    pub(super) fn bytes(&self) -> usize {
        self.room * size_of::<K>() + self.blocks.capacity() * size_of::<Vec<K>>()
    }

    pub(super) fn insert(&mut self, value: K) {
        self.len += 1;
        let at = self.block_of(&value);
        let Some(block) = self.blocks.get_mut(at) else {
            let block = vec![value];
            self.room += block.capacity();
            self.blocks.push(block);
            return;
        };
        let place = block.partition_point(|other| *other <= value);
        let before = block.capacity();
        block.insert(place, value);
        self.room += block.capacity() - before;
        if at < self.cursor.0 {
            self.cursor.1 += 1;
        }
        if block.len() == BLOCK_LEN {
            let mut upper = Vec::with_capacity(BLOCK_LEN);
            upper.extend(block.drain(BLOCK_LEN / 2..));
            self.room += upper.capacity();
            self.blocks.insert(at + 1, upper);
            if at < self.cursor.0 {
                self.cursor.0 += 1;
            }
        }
    }

    /// Takes a value out that equals this one; `None` when there is none.
    pub(super) fn remove(&mut self, value: &K) -> Option<K> {
        let at = self.block_of(value);
        let block = self.blocks.get_mut(at)?;
        let place = block.partition_point(|other| other <= value).checked_sub(1)?;
        if block[place] != *value {
            return None;
        }
        let value = block.remove(place);
        self.len -= 1;
        if at < self.cursor.0 {
            self.cursor.1 -= 1;
        }
        let len = self.blocks[at].len();
        let next = self.blocks.get(at + 1).map(Vec::len);
        if len == 0 {
            self.drop_block(at);
        } else if next.is_some_and(|next| len + next <= BLOCK_LEN / 2) {
            if self.cursor.0 == at + 1 {
                self.cursor = (at, self.cursor.1 - len as u64);
            }
            let mut upper = self.drop_block(at + 1);
            let before = self.blocks[at].capacity();
            self.blocks[at].append(&mut upper);
            self.room += self.blocks[at].capacity() - before;
        }
        Some(value)
    }

    /// The value that so many others come before.
    pub(super) fn get(&mut self, rank: u64) -> Option<&K> {
        if rank >= self.len {
            return None;
        }
        let (mut at, mut before) = self.cursor;
        while rank < before {
            at -= 1;
            before -= self.blocks[at].len() as u64;
        }
        while rank - before >= self.blocks[at].len() as u64 {
            before += self.blocks[at].len() as u64;
            at += 1;
        }
        self.cursor = (at, before);
        self.blocks[at].get((rank - before) as usize)
    }

    /// The greatest value.
    pub(super) fn last(&self) -> Option<&K> {
        self.blocks.last()?.last()
    }

    /// Takes all values out.
    pub(super) fn clear(&mut self) {
        self.blocks.truncate(1);
        self.blocks.shrink_to(BLOCK_LEN);
        // A block that is left is empty, which `insert` fills and nobody else sees.
        self.blocks.iter_mut().for_each(Vec::clear);
        self.room = self.blocks.iter().map(Vec::capacity).sum();
        (self.len, self.cursor) = (0, (0, 0));
    }

    /// The last block whose first value is not greater, else the first.
    fn block_of(&self, value: &K) -> usize {
        let is_before = |block: &Vec<K>| block.first().is_some_and(|first| first <= value);
        self.blocks.partition_point(is_before).saturating_sub(1)
    }

    fn drop_block(&mut self, at: usize) -> Vec<K> {
        let block = self.blocks.remove(at);
        self.room -= block.capacity();
        if at < self.cursor.0 {
            self.cursor.0 -= 1;
        }
        // A cursor needs a block.
        if self.cursor.0 >= self.blocks.len() {
            self.cursor = (0, 0);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Xorshift (Marsaglia, 2003).
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }
    }

    /// Puts values in and takes them out, and asks for ranks, beside a sorted vector.
    fn compare(seed: u64, steps: usize, values: usize, grows_of_ten: usize) {
        let mut random = Random(seed);
        let mut blocks = SortedBlocks::new();
        let mut sorted: Vec<usize> = Vec::new();
        for step in 0..steps {
            if sorted.is_empty() || random.below(10) < grows_of_ten {
                let value = random.below(values);
                sorted.insert(sorted.partition_point(|other| *other <= value), value);
                blocks.insert(value);
            } else {
                let value = sorted.remove(random.below(sorted.len()));
                assert_eq!(blocks.remove(&value), Some(value));
            }
            assert_eq!(blocks.len(), sorted.len() as u64);
            assert_eq!(blocks.last(), sorted.last());
            let rank = random.below(sorted.len() + 1);
            assert_eq!(blocks.get(rank as u64), sorted.get(rank), "seed {seed}, step {step}");
            if sorted.binary_search(&(values / 2)).is_err() {
                assert_eq!(blocks.remove(&(values / 2)), None);
            }
            if random.below(steps) == 0 {
                blocks.clear();
                sorted.clear();
            }
        }
    }

    #[test]
    fn ranks_are_those_of_a_sorted_vector() {
        for seed in 1..5 {
            for values in [2, 100, 1 << 30] {
                compare(seed, 6_000, values, 8);
                compare(seed, 6_000, values, 5);
            }
        }
    }

    #[test]
    fn blocks_that_empty_are_dropped() {
        let mut blocks = SortedBlocks::new();
        (0..10_000).for_each(|value| blocks.insert(value));
        assert_eq!(blocks.get(9_999), Some(&9_999));
        let full = blocks.bytes();
        (0..9_990).for_each(|value| assert_eq!(blocks.remove(&value), Some(value)));
        assert_eq!(blocks.get(0), Some(&9_990));
        assert!(blocks.bytes() < full / 4, "{} of {full}", blocks.bytes());
    }
}
