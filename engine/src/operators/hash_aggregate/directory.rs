//! An open-addressing directory of rows by hash.
//!
//! An entry is one word: 16 bits of the hash, which spare most comparisons with rows of other
//! hashes, and a reference. A row's place is the upper bits of its hash, but for those that its
//! owner skips; if that is taken, the next free place. There is no wrap-around: rows that are
//! pushed beyond the last place go into a tail.
//!
//! Invariant 1: no free place is between a row's own place and where it is.

use crate::memory::rows::RowRef;

const REF_BITS: u32 = RowRef::BITS;
const REF_MASK: u64 = (1 << REF_BITS) - 1;
/// Marks entries whose row is not stored yet.
const PENDING: u64 = 1 << (REF_BITS - 1);

/// Places that are free beyond the last own place, from the start.
const TAIL: usize = 32;

/// Bytes of a directory that is in a core's cache anyway.
const CACHED_BYTES: usize = 256 << 10;

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
}

/// The bits of a hash that are kept in its entry: not the lowest ones, which rows do not have, nor
/// those that choose the place, but for some of these among more than 2^16 places.
#[inline]
fn salt(hash: u64) -> u64 {
    hash >> 8 << REF_BITS
}
