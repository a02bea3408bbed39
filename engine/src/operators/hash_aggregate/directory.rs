//! An open-addressing directory of rows by hash.
//!
//! An entry is one word: 16 bits of the hash, which spare most comparisons with rows of other
//! hashes, and a reference. A row's place is the upper bits of its hash, but for those that its
//! owner skips; if that is taken, the next free place. There is no wrap-around: rows that are
//! pushed beyond the last place go into a tail.
//! Occupied places therefore come in runs that are ordered by hash, whatever the order of
//! insertion, where the bits that are skipped are the same for all rows.
//!
//! Invariant 1: no free place is between a row's own place and where it is.

use std::cmp::Ordering;

use crate::memory::rows::RowRef;

const REF_BITS: u32 = RowRef::BITS;
const REF_MASK: u64 = (1 << REF_BITS) - 1;
/// Marks entries whose row is not stored yet.
const PENDING: u64 = 1 << (REF_BITS - 1);

/// Places that are free beyond the last own place, from the start.
const TAIL: usize = 32;

/// Rows that are sorted together, and the runs among them by themselves.
const ORDERED_ROWS: usize = 512;

/// Bytes of a directory that is in a core's cache anyway.
const CACHED_BYTES: usize = 256 << 10;

/// Rows of a run that is sorted by insertion.
const SHORT_ROWS: usize = 16;

/// The fewest places.
const PLACES_MIN: usize = 1 << 10;

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing.
    Free,
    /// A row whose hash has other bits.
    Other,
    /// A row that may have the hash.
    Row(RowRef),
    /// A row of the same batch, by number, that may have the hash.
    Pending(usize),
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Directory {
    entries: Vec<u64>,
    /// Bits of the hash that do not choose the place, from the top: those that are the same for all
    /// rows (the lane), or more.
    skip: u32,
    /// `64 -` the bits that choose the place.
    shift: u32,
    places: usize,
    rows: usize,
}

impl Directory {
    /// How many places a directory for this many rows has; the fuller half of them stays free.
    pub(super) fn places_for(rows: usize) -> usize {
        (rows + rows / 2).next_power_of_two().max(PLACES_MIN)
    }

    /// Bytes that a directory of this many places takes.
    pub(super) fn bytes_for(places: usize) -> usize {
        (places + TAIL) * size_of::<u64>()
    }

    /// A directory of `places` (a power of two) that passes over the upper `skip` bits of hashes.
    pub(super) fn new(places: usize, skip: u32) -> Self {
        let shift = u64::BITS - places.trailing_zeros();
        Directory { entries: vec![0; places + TAIL], skip, shift, places, rows: 0 }
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<u64>()
    }

    /// Whether `more` rows can be added without it becoming too full.
    pub(super) fn has_room(&self, more: usize) -> bool {
        (self.rows + more) * 3 <= self.places * 2
    }

    /// Where the search for a hash begins.
    #[inline]
    pub(super) fn place(&self, hash: u64) -> usize {
        ((hash << self.skip) >> self.shift) as usize
    }

    /// What is at a place for a row with this hash.
    #[inline]
    pub(super) fn look(&self, place: usize, hash: u64) -> Entry {
        match self.entries.get(place).copied().unwrap_or(0) {
            0 => Entry::Free,
            entry if (entry ^ salt(hash)) >> REF_BITS != 0 => Entry::Other,
            entry if entry & PENDING != 0 => Entry::Pending((entry & (PENDING - 1)) as usize),
            entry => Entry::Row(RowRef::from_bits((entry & REF_MASK) - 1)),
        }
    }

    /// The first place from `place` on that is free or may have the hash.
    #[inline]
    pub(super) fn find(&self, mut place: usize, hash: u64) -> (usize, Entry) {
        loop {
            match self.look(place, hash) {
                Entry::Other => place += 1,
                entry => return (place, entry),
            }
        }
    }

    /// Brings places into the cache side by side: a search decides by what it finds, so that it
    /// would wait for them one after the other.
    pub(super) fn warm(&self, places: &[usize]) {
        if self.bytes() > CACHED_BYTES {
            let entries = places.iter().map(|&place| self.entries.get(place).copied().unwrap_or(0));
            std::hint::black_box(entries.fold(0, |all, entry| all ^ entry));
        }
    }

    /// Takes a free place for the row number `number` of the batch, whose reference comes later.
    #[inline]
    pub(super) fn take(&mut self, place: usize, hash: u64, number: usize) {
        self.write(place, salt(hash) | PENDING | number as u64);
        self.rows += 1;
    }

    /// Puts the reference of a stored row where its place was taken.
    #[inline]
    pub(super) fn settle(&mut self, place: usize, hash: u64, row: RowRef) {
        self.write(place, salt(hash) | (row.to_bits() + 1));
    }

    /// Puts a new row at a free place.
    #[inline]
    pub(super) fn occupy(&mut self, place: usize, hash: u64, row: RowRef) {
        self.settle(place, hash, row);
        self.rows += 1;
    }

    /// Adds a row that is known to be new.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, row: RowRef) {
        let mut place = self.place(hash);
        while self.entries.get(place).is_some_and(|&entry| entry != 0) {
            place += 1;
        }
        self.occupy(place, hash, row);
    }

    fn write(&mut self, place: usize, entry: u64) {
        if place >= self.entries.len() {
            self.entries.resize(place + TAIL, 0);
        }
        self.entries[place] = entry;
    }

    /// All rows in the order of their hashes, which `hash` gives; the bits that are skipped have to
    /// be the same for all. Rows with equal hashes are in the order that `tie` says.
    pub(super) fn into_ordered(
        self,
        hash: impl Fn(RowRef) -> u64,
        tie: impl Fn(RowRef, RowRef) -> Ordering,
    ) -> Vec<RowRef> {
        let mut ordered = Vec::with_capacity(self.rows);
        // Rows are anywhere in memory, so that each look at one waits for it. The hashes of many
        // are loaded side by side, before the runs among them are sorted.
        let mut block: Vec<(u64, RowRef)> = Vec::with_capacity(ORDERED_ROWS);
        let mut starts = Vec::with_capacity(ORDERED_ROWS);
        let mut sort = |rows: &mut [RowRef], starts: &mut Vec<u32>| {
            block.clear();
            block.extend(rows.iter().map(|&row| (hash(row), row)));
            starts.push(rows.len() as u32);
            for bounds in starts.windows(2) {
                if let &[start, end] = bounds {
                    sort_run(&mut block[start as usize..end as usize], &tie);
                }
            }
            starts.clear();
            rows.iter_mut().zip(&block).for_each(|(row, &(_, sorted))| *row = sorted);
        };
        // Where the block begins, and whether the place before is free.
        let (mut first, mut is_after_free) = (0, true);
        for entry in self.entries {
            if entry == 0 {
                is_after_free = true;
                continue;
            }
            if is_after_free {
                if ordered.len() - first >= ORDERED_ROWS {
                    sort(&mut ordered[first..], &mut starts);
                    first = ordered.len();
                }
                starts.push((ordered.len() - first) as u32);
                is_after_free = false;
            }
            ordered.push(RowRef::from_bits((entry & REF_MASK) - 1));
        }
        sort(&mut ordered[first..], &mut starts);
        ordered
    }
}

/// Sorts rows that are near their places.
fn sort_run(run: &mut [(u64, RowRef)], tie: &impl Fn(RowRef, RowRef) -> Ordering) {
    let before = |a: &(u64, RowRef), b: &(u64, RowRef)| {
        a.0.cmp(&b.0).then_with(|| tie(a.1, b.1)) == Ordering::Less
    };
    if run.len() > SHORT_ROWS {
        run.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| tie(a.1, b.1)));
        return;
    }
    for end in 1..run.len() {
        let mut at = end;
        while at > 0 && before(&run[at], &run[at - 1]) {
            run.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// The bits of a hash that are kept in its entry: not those that choose the place.
#[inline]
fn salt(hash: u64) -> u64 {
    hash << REF_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_by_hash_whatever_the_order_they_went_in() {
        let hashes = [5u64, u64::MAX, u64::MAX - 1, 7, 5 << 60, u64::MAX - 2, 0];
        let order = |mut numbers: Vec<usize>, rotate: usize| {
            numbers.rotate_left(rotate);
            let mut directory = Directory::new(1024, 0);
            for number in numbers {
                directory.insert(hashes[number], RowRef::from_bits(number as u64));
            }
            let rows =
                directory.into_ordered(|row| hashes[row.to_bits() as usize], |a, b| a.cmp(&b));
            rows.into_iter().map(|row| hashes[row.to_bits() as usize]).collect::<Vec<_>>()
        };
        let mut sorted = hashes.to_vec();
        sorted.sort_unstable();
        for rotate in 0..hashes.len() {
            assert_eq!(order((0..hashes.len()).collect(), rotate), sorted);
        }
    }
}
