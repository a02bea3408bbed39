//! Build rows that share a key.
//!
//! A directory gives one [`Entry`] per key: a row, or a group of rows. The rows of a group stand
//! next to each other in one list, in the order of the build side's input, so matches come out in
//! that order for any number of threads, and following them is a walk over consecutive numbers.
//! Each piece of a directory numbers its groups itself; the number of the piece is in the lower
//! bits of the group's.

use crate::error::{Error, Result};

/// What a directory knows of one key: a build row, a group of them, or [`NONE`].
pub(super) type Entry = u32;

/// No build row.
pub(super) const NONE: Entry = u32::MAX;

/// Set in the entry of a group.
const GROUP: u32 = 1 << 31;

/// Build rows that one table can number.
pub(super) const ROWS_MAX: usize = (1 << 31) - 1;

/// The group that an entry stands for, if any.
pub(super) fn group_of(entry: Entry) -> Option<u32> {
    (entry & GROUP != 0 && entry != NONE).then_some(entry & !GROUP)
}

/// The finished groups of one piece: those of group `g` are `rows[starts[g]..starts[g + 1]]`.
#[derive(Debug, Default)]
struct PieceGroups {
    starts: Vec<u32>,
    rows: Vec<u32>,
}

/// The finished groups of a directory.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pieces: Vec<PieceGroups>,
    piece_bits: u32,
}

impl Groups {
    /// Puts the pieces' groups together, in the order of the pieces.
    pub(super) fn new(pieces: Vec<GroupsBuilder>) -> Self {
        let piece_bits = pieces.first().map_or(0, |p| p.piece_bits);
        Groups { pieces: pieces.into_iter().map(GroupsBuilder::finish).collect(), piece_bits }
    }

    /// Whether every key has one row.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.iter().all(|p| p.rows.is_empty())
    }

    /// The rows of group `group`.
    pub(super) fn rows(&self, group: u32) -> &[u32] {
        let piece = &self.pieces[(group & ((1 << self.piece_bits) - 1)) as usize];
        let group = (group >> self.piece_bits) as usize;
        &piece.rows[piece.starts[group] as usize..piece.starts[group + 1] as usize]
    }

    /// A row that has the entry's key.
    pub(super) fn representative(&self, entry: Entry) -> u32 {
        group_of(entry).map_or(entry, |group| self.rows(group)[0])
    }
}

/// The groups of one piece while rows are added in the order of the input.
#[derive(Debug, Default)]
pub(super) struct GroupsBuilder {
    piece: u32,
    piece_bits: u32,
    /// Whether one row of each key is enough.
    existence_only: bool,
    /// The first row of each group.
    firsts: Vec<u32>,
    /// Group and row of every further one.
    more: Vec<(u32, u32)>,
    /// Laid out early, when its memory was asked for.
    finished: Option<PieceGroups>,
}

impl GroupsBuilder {
    /// The groups of piece number `piece` of `pieces`. With `existence_only` no group is made: the
    /// first row of a key stands for all.
    pub(super) fn new(piece: usize, pieces: usize, existence_only: bool) -> Self {
        let piece_bits = pieces.next_power_of_two().trailing_zeros();
        let piece = piece as u32;
        GroupsBuilder { piece, piece_bits, existence_only, ..GroupsBuilder::default() }
    }

    /// The entry of a key that had `entry` and now has `row` as well.
    ///
    /// # Errors
    /// `OutOfMemory` when there are more groups than can be numbered.
    pub(super) fn add(&mut self, entry: Entry, row: u32) -> Result<Entry> {
        if entry == NONE {
            return Ok(row);
        }
        if self.existence_only {
            return Ok(entry);
        }
        if let Some(group) = group_of(entry) {
            self.more.push((group >> self.piece_bits, row));
            return Ok(entry);
        }
        let group = self.firsts.len() as u64;
        let number = group << self.piece_bits | u64::from(self.piece);
        if number >= u64::from(NONE & !GROUP) {
            return Err(too_many_rows(self.firsts.len(), 0));
        }
        self.firsts.push(entry);
        self.more.push((group as u32, row));
        Ok(GROUP | number as u32)
    }

    /// A row that has the entry's key.
    pub(super) fn representative(&self, entry: Entry) -> u32 {
        group_of(entry).map_or(entry, |group| self.firsts[(group >> self.piece_bits) as usize])
    }

    /// Bytes held now and while [`GroupsBuilder::lay_out`] runs.
    pub(super) fn size_bytes(&self) -> usize {
        self.firsts.capacity() * 4 + self.more.capacity() * 8 + self.laid_out_bytes()
    }

    /// Bytes of the finished groups.
    pub(super) fn laid_out_bytes(&self) -> usize {
        (2 * self.firsts.len() + self.more.len() + 1) * 4
    }

    /// Puts the rows of each group next to each other.
    pub(super) fn lay_out(&mut self) {
        let (firsts, more) = (std::mem::take(&mut self.firsts), std::mem::take(&mut self.more));
        if firsts.is_empty() {
            self.finished = Some(PieceGroups::default());
            return;
        }
        let mut starts = vec![0u32; firsts.len() + 1];
        more.iter().for_each(|&(group, _)| starts[group as usize + 1] += 1);
        for group in 0..firsts.len() {
            starts[group + 1] += starts[group] + 1;
        }
        let mut rows = vec![0u32; firsts.len() + more.len()];
        let mut next: Vec<u32> = starts[..firsts.len()].to_vec();
        for (group, &row) in firsts.iter().enumerate() {
            rows[next[group] as usize] = row;
            next[group] += 1;
        }
        for (group, row) in more {
            let at = &mut next[group as usize];
            rows[*at as usize] = row;
            *at += 1;
        }
        self.finished = Some(PieceGroups { starts, rows });
    }

    fn finish(mut self) -> PieceGroups {
        if self.finished.is_none() {
            self.lay_out();
        }
        self.finished.unwrap_or_default()
    }
}

/// The error for a build side that is longer than row numbers reach; pages of few large rows take
/// more of them.
pub(super) fn too_many_rows(rows: usize, pages: usize) -> Error {
    let pages = if pages == 0 { String::new() } else { format!(" in {pages} pages") };
    Error::OutOfMemory {
        who: "hash join build".to_string(),
        asked_bytes: rows,
        detail: format!(
            "{rows} rows{pages} of the smaller side of a join have no room in {ROWS_MAX} row \
             numbers; filter it or join in parts"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_the_order_of_their_rows_in_every_piece() {
        let mut pieces: Vec<_> = (0..3).map(|p| GroupsBuilder::new(p, 3, false)).collect();
        let mut entries = [[NONE; 3]; 3];
        for row in 0..36u32 {
            let (piece, key) = (row as usize % 3, row as usize / 3 % 4);
            if key < 3 {
                let entry = &mut entries[piece][key];
                *entry = pieces[piece].add(*entry, row).expect("few groups");
            }
        }
        assert_eq!(pieces[1].representative(entries[1][2]), 7);
        let single = pieces[2].add(NONE, 99).expect("a row");
        let groups = Groups::new(pieces);
        assert!(!groups.is_empty());
        assert_eq!(group_of(single), None);
        assert_eq!(group_of(NONE), None);
        for (piece, keys) in entries.iter().enumerate() {
            for (key, &entry) in keys.iter().enumerate() {
                let group = group_of(entry).expect("a group");
                let first = (key * 3 + piece) as u32;
                assert_eq!(groups.rows(group), [first, first + 12, first + 24]);
                assert_eq!(groups.representative(entry), first);
            }
        }
        let mut existence = GroupsBuilder::new(0, 1, true);
        assert_eq!(existence.add(5, 6).expect("a row"), 5);
        assert!(Groups::new(vec![GroupsBuilder::new(0, 1, true)]).is_empty());
    }
}
