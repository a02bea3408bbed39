//! Which bytes of one spill file are free.
//!
//! Invariant 1: free ranges do not touch each other, and none reaches the end.

use std::collections::BTreeMap;

/// Free ranges below the end of a file that grows when none of them fits.
#[derive(Debug, Default)]
pub(super) struct FreeList {
    /// Length by offset.
    free: BTreeMap<u64, u64>,
    end: u64,
}

impl FreeList {
    /// The offset of `len` bytes that nobody uses: the lowest that fits.
    pub(super) fn take(&mut self, len: u64) -> u64 {
        let found = self.free.iter().find(|(_, free)| **free >= len);
        let Some((offset, free)) = found.map(|(o, f)| (*o, *f)) else {
            let offset = self.end;
            self.end += len;
            return offset;
        };
        self.free.remove(&offset);
        if free > len {
            self.free.insert(offset + len, free - len);
        }
        offset
    }

    /// Gives a range back. True when the file's end has come down to zero: nothing is in use.
    pub(super) fn give(&mut self, offset: u64, len: u64) -> bool {
        let (mut from, mut to) = (offset, offset + len);
        if let Some((&before, &free)) = self.free.range(..offset).next_back()
            && before + free == offset
        {
            self.free.remove(&before);
            from = before;
        }
        if let Some(free) = self.free.remove(&to) {
            to += free;
        }
        if to == self.end {
            self.end = from;
        } else {
            self.free.insert(from, to - from);
        }
        self.end == 0
    }

    /// Where the bytes in use end.
    #[cfg(test)]
    pub(super) fn end(&self) -> u64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_reused_and_merged() {
        let mut list = FreeList::default();
        let offsets: Vec<u64> = (0..4).map(|_| list.take(100)).collect();
        assert_eq!(offsets, [0, 100, 200, 300]);
        assert!(!list.give(100, 100));
        assert_eq!(list.take(60), 100);
        assert!(!list.give(0, 100));
        assert_eq!(list.take(200), 400, "no hole is large enough");
        assert!(!list.give(100, 60));
        assert_eq!(list.take(200), 0, "three holes became one");
        assert!(!list.give(300, 100));
        assert!(!list.give(400, 200));
        assert_eq!(list.end(), 300, "the end comes down over the holes before it");
        assert!(!list.give(200, 100));
        assert!(list.give(0, 200));
        assert_eq!(list.end(), 0);
    }
}
