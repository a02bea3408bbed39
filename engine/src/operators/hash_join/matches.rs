//! From entries to pairs of rows: follows groups of equal keys, some pairs at a time.

use super::groups::{Entry, Groups, NONE, group_of};
use crate::batch::Selection;
use crate::error::Result;

/// Pairs of a probe row (its number among the live rows of the chunk) and a build row, or [`NONE`]
/// for a probe row that is given without match.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) probe: Vec<u32>,
    pub(super) build: Vec<u32>,
    /// Whether the residual has to be asked for some of them.
    pub(super) are_open: bool,
}

impl Pairs {
    pub(super) fn len(&self) -> usize {
        self.probe.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.probe.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.probe.clear();
        self.build.clear();
        self.are_open = false;
    }

    pub(super) fn push(&mut self, probe: u32, build: u32) {
        self.probe.push(probe);
        self.build.push(build);
        self.are_open |= build != NONE;
    }

    /// Adds the pairs of a probe row with these build rows.
    pub(super) fn extend(&mut self, probe: u32, build: Followed) {
        self.build.extend_from_slice(build.rows);
        self.probe.resize(self.build.len(), probe);
        self.are_open |= !build.pass;
    }

    /// Takes the pairs from number `at` on out.
    pub(super) fn split_off(&mut self, at: usize) -> Pairs {
        let (probe, build) = (self.probe.split_off(at), self.build.split_off(at));
        Pairs { probe, build, are_open: self.are_open }
    }

    /// Keeps the pairs with these numbers.
    pub(super) fn keep(&mut self, numbers: &Selection) {
        let numbers = numbers.as_slice().iter().map(|&pair| pair as usize);
        for (to, from) in numbers.clone().enumerate() {
            self.probe[to] = self.probe[from];
            self.build[to] = self.build[from];
        }
        self.probe.truncate(numbers.len());
        self.build.truncate(numbers.len());
    }

    /// Keeps the pairs that `keep` takes, of those from number `start` on.
    pub(super) fn retain_from(&mut self, start: usize, keep: impl Fn(u32, u32) -> bool) {
        let mut count = start;
        for pair in start..self.len() {
            let (probe, build) = (self.probe[pair], self.build[pair]);
            (self.probe[count], self.build[count]) = (probe, build);
            count += usize::from(keep(probe, build));
        }
        self.probe.truncate(count);
        self.build.truncate(count);
    }

    /// Whether every probe row occurs at most once.
    pub(super) fn is_increasing(&self) -> bool {
        self.probe.windows(2).all(|pair| pair[0] < pair[1])
    }
}

/// Build rows that a probe row may match.
#[derive(Debug, Clone, Copy)]
pub(super) struct Followed<'a> {
    pub(super) rows: &'a [u32],
    /// Whether they pass the residual, which need not be asked then.
    pub(super) pass: bool,
}

impl<'a> Followed<'a> {
    /// Rows for which the residual, if there is one, has to be asked.
    pub(super) fn open(rows: &'a [u32]) -> Self {
        Followed { rows, pass: false }
    }

    /// Those from number `from` to `until`, as far as they go.
    pub(super) fn part(self, from: usize, until: usize) -> Self {
        let end = self.rows.len();
        Followed { rows: &self.rows[from.min(end)..until.min(end)], ..self }
    }
}

/// The build rows that are followed from an entry.
pub(super) trait Follow {
    fn groups(&self) -> &Groups;

    /// The rows of a group, in order; those may be left out that a probe row, by its number among
    /// the live rows, cannot match.
    ///
    /// # Errors
    /// `Internal` when that cannot be told.
    fn rows(&mut self, row: u32, group: u32) -> Result<Followed<'_>>;
}

impl Follow for &Groups {
    fn groups(&self) -> &Groups {
        self
    }

    fn rows(&mut self, _: u32, group: u32) -> Result<Followed<'_>> {
        Ok(Followed::open(Groups::rows(self, group)))
    }
}

/// Where the walk over the entries of a chunk stands.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Walk {
    /// The live row.
    row: usize,
    /// Rows of its group that have been given.
    within: usize,
}

impl Walk {
    /// Adds up to `most` pairs to `pairs`, in order; with `unmatched` probe rows without entry are
    /// given too. Whether there may be more.
    ///
    /// # Errors
    /// As [`Follow::rows`].
    pub(super) fn next(
        &mut self,
        entries: &[Entry],
        groups: &mut impl Follow,
        unmatched: bool,
        most: usize,
        pairs: &mut Pairs,
    ) -> Result<bool> {
        if self.row == 0 && entries.len() <= most && groups.groups().is_empty() {
            self.row = entries.len();
            single(entries, unmatched, pairs);
            return Ok(false);
        }
        while self.row < entries.len() {
            if pairs.len() == most {
                return Ok(true);
            }
            let (row, entry) = (self.row as u32, entries[self.row]);
            if let Some(group) = group_of(entry) {
                let all = groups.rows(row, group)?;
                let rows = all.part(self.within, self.within + most - pairs.len());
                pairs.extend(row, rows);
                if unmatched && all.rows.is_empty() {
                    pairs.push(row, NONE);
                }
                self.within += rows.rows.len();
                if self.within < all.rows.len() {
                    return Ok(true);
                }
                self.within = 0;
            } else if entry != NONE || unmatched {
                pairs.push(row, entry);
            }
            self.row += 1;
        }
        Ok(false)
    }
}

/// The pairs when no key has several rows.
fn single(entries: &[Entry], unmatched: bool, pairs: &mut Pairs) {
    let start = pairs.len();
    pairs.probe.resize(start + entries.len(), 0);
    pairs.build.resize(start + entries.len(), 0);
    let mut count = start;
    for (row, &entry) in (0u32..).zip(entries) {
        // Writes every row and advances past those that stay: no branch to mispredict.
        pairs.probe[count] = row;
        pairs.build[count] = entry;
        count += usize::from(unmatched || entry != NONE);
    }
    pairs.probe.truncate(count);
    pairs.build.truncate(count);
    pairs.are_open = true;
}

#[cfg(test)]
mod tests {
    use super::super::groups::GroupsBuilder;
    use super::*;

    #[test]
    fn groups_are_followed_across_any_number_of_steps() {
        let mut builder = GroupsBuilder::new(0, 1, false);
        let mut entry = NONE;
        for row in 10..15 {
            entry = builder.add(entry, row).expect("few groups");
        }
        let groups = Groups::new(vec![builder]);
        let entries = [NONE, 3, entry, entry, NONE];
        for unmatched in [false, true] {
            let mut expected = vec![(1, 3)];
            expected.extend((10..15).map(|b| (2, b)).chain((10..15).map(|b| (3, b))));
            if unmatched {
                expected.insert(0, (0, NONE));
                expected.push((4, NONE));
            }
            for most in [1, 2, 5, 7, 100] {
                let (mut walk, mut all) = (Walk::default(), Vec::new());
                let mut pairs = Pairs::default();
                loop {
                    pairs.clear();
                    let more = walk.next(&entries, &mut &groups, unmatched, most, &mut pairs);
                    let more = more.expect("groups");
                    assert!(pairs.len() <= most);
                    all.extend(pairs.probe.iter().copied().zip(pairs.build.iter().copied()));
                    if !more {
                        break;
                    }
                }
                assert_eq!(all, expected, "{most}");
            }
        }
    }

    #[test]
    fn without_groups_every_row_has_one_pair_at_most() {
        let mut pairs = Pairs::default();
        let none = &Groups::default();
        let more = Walk::default().next(&[7, NONE, 9], &mut &*none, false, 10, &mut pairs);
        assert!(!more.expect("rows") && pairs.is_increasing());
        assert_eq!((&pairs.probe[..], &pairs.build[..]), (&[0, 2][..], &[7, 9][..]));
        let mut pairs = Pairs::default();
        let more = Walk::default().next(&[7, NONE], &mut &*none, true, 10, &mut pairs);
        assert!(!more.expect("rows"));
        assert_eq!((&pairs.probe[..], &pairs.build[..]), (&[0, 1][..], &[7, NONE][..]));
    }
}
