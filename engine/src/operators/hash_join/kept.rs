//! The slots of a piece's rows, kept from the pass that marks them for the one that adds the rows:
//! reading the keys of all rows once more takes longer than both.
//!
//! Memory: what is kept is charged block by block, as long as there is plenty, and given up
//! otherwise.

use crate::error::Result;
use crate::memory::{Governor, Reservation};

/// Rows of a block.
const BLOCK_ROWS: usize = 64 << 10;

/// Bytes of a block.
const BLOCK_BYTES: usize = BLOCK_ROWS * size_of::<(u32, u32)>();

/// Blocks that have to be free for another one to be taken: what is kept is not worth that others
/// give way, or that the directory itself finds no room.
const BLOCKS_FREE_MIN: usize = 16;

/// Slots and numbers of rows, in the order of the input.
pub(super) struct Kept {
    blocks: Vec<Vec<(u32, u32)>>,
    memory: Reservation,
}

impl Kept {
    /// For a piece of so many slots; `None` when they have no room in 32 bits.
    pub(super) fn new(slots: u64, memory: Reservation) -> Option<Self> {
        u32::try_from(slots).is_ok().then(|| Kept { blocks: Vec::new(), memory })
    }

    /// Keeps the slots of some rows; false when there is not plenty of memory any more.
    pub(super) fn push(&mut self, slots: &[u64], rows: &[u32], governor: &Governor) -> bool {
        let mut pairs = slots.iter().map(|&slot| slot as u32).zip(rows.iter().copied());
        let mut left = slots.len();
        while left > 0 {
            let Some(block) = self.blocks.last_mut().filter(|block| block.len() < BLOCK_ROWS)
            else {
                let is_plenty = governor.free() >= BLOCKS_FREE_MIN * BLOCK_BYTES;
                if !is_plenty || !self.memory.try_grow(BLOCK_BYTES) {
                    return false;
                }
                self.blocks.push(Vec::with_capacity(BLOCK_ROWS));
                continue;
            };
            let count = left.min(BLOCK_ROWS - block.len());
            block.extend(pairs.by_ref().take(count));
            left -= count;
        }
        true
    }

    /// Calls `f` with slots and rows, at most `most` at a time, in order.
    pub(super) fn each(
        self,
        most: usize,
        mut f: impl FnMut(&mut Vec<u64>, &[u32]) -> Result<()>,
    ) -> Result<()> {
        let (mut slots, mut rows) = (Vec::new(), Vec::new());
        for pairs in self.blocks.iter().flat_map(|block| block.chunks(most)) {
            slots.clear();
            rows.clear();
            slots.extend(pairs.iter().map(|&(slot, _)| u64::from(slot)));
            rows.extend(pairs.iter().map(|&(_, row)| row));
            f(&mut slots, &rows)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::GovernorOptions;

    fn limited(bytes: usize) -> Governor {
        Governor::new(GovernorOptions { limit_bytes: Some(bytes), ..Default::default() })
    }

    #[test]
    fn rows_come_back_in_order_until_memory_is_short() {
        let governor = limited(64 << 20);
        let memory = governor.reserve("kept", 0).expect("nothing");
        assert!(Kept::new(1 << 32, memory).is_none());
        let memory = governor.reserve("kept", 0).expect("nothing");
        let mut kept = Kept::new(1000, memory).expect("few slots");
        let all: Vec<(u64, u32)> = (0..200_001u32).map(|i| (u64::from(i) * 7 % 1000, i)).collect();
        for batch in all.chunks(2000) {
            let (slots, rows): (Vec<u64>, Vec<u32>) = batch.iter().copied().unzip();
            assert!(kept.push(&slots, &rows, &governor));
        }
        let mut back = Vec::new();
        let take = |slots: &mut Vec<u64>, rows: &[u32]| {
            assert!(slots.len() <= 3000);
            back.extend(slots.iter().copied().zip(rows.iter().copied()));
            Ok(())
        };
        kept.each(3000, take).expect("no error");
        assert_eq!(back, all);
        assert_eq!(governor.reserved(), 0);
        let small = limited(BLOCKS_FREE_MIN * BLOCK_BYTES / 2);
        let memory = small.reserve("kept", 0).expect("nothing");
        let mut kept = Kept::new(1000, memory).expect("few slots");
        assert!(!kept.push(&[1], &[1], &small));
    }
}
