//! The directory of keys that are not dense: open addressing over tagged entries.
//!
//! A word holds the lower half of a key's hash (the tag) and its [`Entry`]; where it stands follows
//! from the upper half. One word per key: rows with equal keys form a group, so a miss is nearly
//! always decided by the tag without touching a row, and a hit touches one row. Between 40 and 65 %
//! of the words are used.
//!
//! Lookups go over a chunk in steps, each a plain loop of independent loads, so that many cache
//! misses are under way at once: first words, then rows to compare.
//!
//! Concurrency: the top bits of the hash choose the piece; each piece is filled by one task.

use super::groups::{Entry, Groups, GroupsBuilder, NONE};
use crate::error::Result;

/// A word without key: the entry part is [`NONE`].
const EMPTY: u64 = u64::MAX;

/// Compares the keys of a batch's rows with those of build rows.
pub(super) trait Compare {
    /// Candidate `c` says that row `c` of the batch may have the key of build row `rows[c]`. Keeps
    /// those that do, in their order, and moves the others to `rejected`.
    fn keep_equal(
        &mut self,
        rows: &[u32],
        candidates: &mut Vec<u32>,
        rejected: &mut Vec<u32>,
    ) -> Result<()>;
}

/// The search for the rows of a batch. All lists but the first two have an element for each row.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Rows whose tag was found and whose keys are to be compared.
    candidates: Vec<u32>,
    rejected: Vec<u32>,
    /// The word looked at last, in its piece.
    at: Vec<u32>,
    /// What was found there, and a build row with that key.
    words: Vec<u64>,
    rows: Vec<u32>,
}

impl Search {
    fn begin(&mut self, rows: usize) {
        self.candidates.clear();
        self.at.clear();
        self.at.resize(rows, 0);
        self.words.clear();
        self.words.resize(rows, EMPTY);
        self.rows.clear();
        self.rows.resize(rows, NONE);
    }

    /// Candidates keep those with equal keys; the others are returned, in order.
    fn compare(&mut self, compare: &mut dyn Compare) -> Result<Vec<u32>> {
        let mut rejected = std::mem::take(&mut self.rejected);
        rejected.clear();
        compare.keep_equal(&self.rows, &mut self.candidates, &mut rejected)?;
        rejected.sort_unstable();
        Ok(rejected)
    }
}

/// The part of a hash that chooses the piece.
pub(super) fn piece_of(hash: u64, piece_bits: u32) -> usize {
    // Two shifts: one of 64 would not be defined.
    ((hash >> 1) >> (63 - piece_bits)) as usize
}

fn home(hash: u64, piece_bits: u32, words: usize) -> u32 {
    let spread = u128::from(hash << piece_bits) * words as u128;
    (spread >> 64) as u32
}

fn word(hash: u64, entry: Entry) -> u64 {
    hash << 32 | u64::from(entry)
}

/// One piece while it is filled.
#[derive(Debug, Default)]
pub(super) struct HashPiece {
    words: Vec<u64>,
    piece_bits: u32,
    keys: usize,
}

impl HashPiece {
    /// Words for a piece that is expected to get `keys` keys.
    pub(super) fn words_for(keys: usize) -> usize {
        (keys + keys / 2 + keys / 8 + 16).min(u32::MAX as usize)
    }

    pub(super) fn new(words: usize, piece_bits: u32) -> Self {
        HashPiece { words: vec![EMPTY; words], piece_bits, keys: 0 }
    }

    fn has_room_for(&self, keys: usize) -> bool {
        self.keys + keys <= self.words.len() / 5 * 4
    }

    /// Adds rows by hash, in the order of the input; `compare` knows the batch they are of. False,
    /// and nothing added, when the piece may not have room: then it is begun again, larger.
    ///
    /// # Errors
    /// Those of `compare`; `OutOfMemory` when there are more groups than can be numbered.
    pub(super) fn insert(
        &mut self,
        hashes: &[u64],
        rows: &[u32],
        groups: &mut GroupsBuilder,
        search: &mut Search,
        compare: &mut dyn Compare,
    ) -> Result<bool> {
        if !self.has_room_for(rows.len()) {
            return Ok(false);
        }
        search.begin(rows.len());
        for (at, &hash) in search.at.iter_mut().zip(hashes) {
            *at = home(hash, self.piece_bits, self.words.len());
        }
        // Loads all words once, in independent steps, so that their cache misses overlap.
        for (word, &at) in search.words.iter_mut().zip(&search.at) {
            *word = self.words[at as usize];
        }
        for (which, (&hash, &row)) in (0u32..).zip(hashes.iter().zip(rows)) {
            self.place(which, hash, row, groups, search);
        }
        // Tags of other keys are rare, so this loop nearly always ends after its first round.
        while !search.candidates.is_empty() {
            let rejected = search.compare(compare)?;
            for &which in &search.candidates {
                self.join(search.at[which as usize], rows[which as usize], groups)?;
            }
            search.candidates.clear();
            for &which in &rejected {
                let (hash, row) = (hashes[which as usize], rows[which as usize]);
                search.at[which as usize] = self.next(search.at[which as usize]);
                self.place(which, hash, row, groups, search);
            }
            search.rejected = rejected;
        }
        Ok(true)
    }

    /// Puts a row into the first free word from its place on, unless a word has its tag: then it
    /// becomes a candidate.
    fn place(
        &mut self,
        which: u32,
        hash: u64,
        row: u32,
        groups: &GroupsBuilder,
        search: &mut Search,
    ) {
        let at = &mut search.at[which as usize];
        loop {
            let found = self.words[*at as usize];
            if found == EMPTY {
                self.words[*at as usize] = word(hash, row);
                self.keys += 1;
                return;
            }
            if (found >> 32) as u32 == hash as u32 {
                search.rows[which as usize] = groups.representative(found as u32);
                search.candidates.push(which);
                return;
            }
            *at = self.next(*at);
        }
    }

    /// Adds a row to the key at `at`.
    fn join(&mut self, at: u32, row: u32, groups: &mut GroupsBuilder) -> Result<()> {
        let found = &mut self.words[at as usize];
        let entry = groups.add(*found as u32, row)?;
        *found = *found >> 32 << 32 | u64::from(entry);
        Ok(())
    }

    fn next(&self, at: u32) -> u32 {
        if at as usize + 1 == self.words.len() { 0 } else { at + 1 }
    }
}

/// A finished directory of hashes.
#[derive(Debug)]
pub(super) struct HashDirectory {
    pieces: Vec<HashPiece>,
    piece_bits: u32,
    pub(super) groups: Groups,
}

impl HashDirectory {
    /// Puts pieces together: a power of two of them, in the order of the hashes' top bits.
    pub(super) fn new(pieces: Vec<HashPiece>, groups: Groups) -> Self {
        let piece_bits = pieces.len().trailing_zeros();
        HashDirectory { pieces, piece_bits, groups }
    }

    /// The entry of each row of a batch by its hash; `compare` knows the batch.
    ///
    /// # Errors
    /// Those of `compare`.
    pub(super) fn look_up(
        &self,
        hashes: &[u64],
        entries: &mut Vec<Entry>,
        search: &mut Search,
        compare: &mut dyn Compare,
    ) -> Result<()> {
        entries.clear();
        entries.resize(hashes.len(), NONE);
        search.begin(hashes.len());
        for (at, (word, &hash)) in search.at.iter_mut().zip(search.words.iter_mut().zip(hashes)) {
            let piece = &self.pieces[piece_of(hash, self.piece_bits)];
            *at = home(hash, self.piece_bits, piece.words.len());
            *word = piece.words[*at as usize];
        }
        for (which, &hash) in (0u32..).zip(hashes) {
            if search.words[which as usize] != EMPTY {
                self.find(which, hash, search);
            }
        }
        while !search.candidates.is_empty() {
            // Apart from the search, because a group's row is another cache miss.
            for &which in &search.candidates {
                let entry = search.words[which as usize] as u32;
                search.rows[which as usize] = self.groups.representative(entry);
            }
            let rejected = search.compare(compare)?;
            for &which in &search.candidates {
                entries[which as usize] = search.words[which as usize] as u32;
            }
            search.candidates.clear();
            for &which in &rejected {
                let hash = hashes[which as usize];
                let piece = &self.pieces[piece_of(hash, self.piece_bits)];
                search.at[which as usize] = piece.next(search.at[which as usize]);
                self.find(which, hash, search);
            }
            search.rejected = rejected;
        }
        Ok(())
    }

    /// Makes a row a candidate for the first word with its tag, if there is one.
    fn find(&self, which: u32, hash: u64, search: &mut Search) {
        let piece = &self.pieces[piece_of(hash, self.piece_bits)];
        let at = &mut search.at[which as usize];
        loop {
            let found = piece.words[*at as usize];
            if found == EMPTY {
                return;
            }
            if (found >> 32) as u32 == hash as u32 {
                search.words[which as usize] = found;
                search.candidates.push(which);
                return;
            }
            *at = piece.next(*at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::hash_join::groups::group_of;

    /// Compares batch keys with the keys of build rows.
    struct Keys<'a>(&'a [u64], &'a [u64]);

    impl Compare for Keys<'_> {
        fn keep_equal(
            &mut self,
            rows: &[u32],
            candidates: &mut Vec<u32>,
            rejected: &mut Vec<u32>,
        ) -> Result<()> {
            let equal = |&c: &u32| self.0[c as usize] == self.1[rows[c as usize] as usize];
            rejected.extend(candidates.iter().filter(|c| !equal(c)));
            candidates.retain(equal);
            Ok(())
        }
    }

    fn build(keys: &[u64], hash: impl Fn(u64) -> u64, piece_bits: u32) -> HashDirectory {
        let mut pieces = Vec::new();
        let mut groups = Vec::new();
        let mut search = Search::default();
        for number in 0..1 << piece_bits {
            let mut piece = HashPiece::new(HashPiece::words_for(keys.len()), piece_bits);
            let mut group = GroupsBuilder::new(number, 1 << piece_bits, false);
            let rows: Vec<u32> = (0..keys.len() as u32)
                .filter(|&r| piece_of(hash(keys[r as usize]), piece_bits) == number)
                .collect();
            for rows in rows.chunks(10) {
                let own: Vec<u64> = rows.iter().map(|&r| keys[r as usize]).collect();
                let hashes: Vec<u64> = own.iter().map(|&k| hash(k)).collect();
                let mut compare = Keys(&own, keys);
                let inserted = piece
                    .insert(&hashes, rows, &mut group, &mut search, &mut compare)
                    .expect("inserts");
                assert!(inserted);
            }
            pieces.push(piece);
            groups.push(group);
        }
        HashDirectory::new(pieces, Groups::new(groups))
    }

    #[test]
    fn finds_all_rows_in_order_even_when_all_tags_or_all_hashes_are_equal() {
        let keys: Vec<u64> = (0..300).map(|i| i * i % 97).collect();
        let probe: Vec<u64> = (0..120).collect();
        let hashers: [fn(u64) -> u64; 4] =
            [crate::operators::hash_join::tests::mix, |key| key << 56 | 7, |_| 42, |_| u64::MAX];
        for hash in hashers {
            for piece_bits in [0, 2] {
                let directory = build(&keys, hash, piece_bits);
                let hashes: Vec<u64> = probe.iter().map(|&k| hash(k)).collect();
                let mut entries = Vec::new();
                let mut compare = Keys(&probe, &keys);
                let mut search = Search::default();
                directory
                    .look_up(&hashes, &mut entries, &mut search, &mut compare)
                    .expect("looks up");
                for (&key, &entry) in probe.iter().zip(&entries) {
                    let expected: Vec<u32> =
                        (0..300).filter(|&r| keys[r as usize] == key).collect();
                    let found = match entry {
                        NONE => vec![],
                        row => {
                            group_of(row).map_or(vec![row], |g| directory.groups.rows(g).to_vec())
                        }
                    };
                    assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn a_full_piece_says_so() {
        let keys = [1, 1, 2, 1, 2];
        let mut piece = HashPiece::new(5, 0);
        let mut groups = GroupsBuilder::new(0, 1, false);
        let mut compare = Keys(&keys, &keys);
        let rows = [0, 1, 2, 3, 4];
        let mut search = Search::default();
        let inserted =
            piece.insert(&keys, &rows, &mut groups, &mut search, &mut compare).expect("inserts");
        assert!(!inserted);
    }
}
