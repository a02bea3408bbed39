//! Sets of relations as bits; a graph has at most [`RelationSet::CAPACITY`] relations.

/// A set of relation numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct RelationSet(u64);

impl RelationSet {
    /// Numbers a set can hold: `0..64`.
    pub(crate) const CAPACITY: usize = u64::BITS as usize;

    /// No relation.
    pub(crate) const EMPTY: RelationSet = RelationSet(0);

    /// One relation.
    pub(crate) fn single(relation: usize) -> Self {
        RelationSet(1 << relation)
    }

    /// Relations `0..=last`.
    pub(crate) fn up_to(last: usize) -> Self {
        RelationSet(u64::MAX >> (Self::CAPACITY - 1 - last))
    }

    pub(crate) fn union(self, other: Self) -> Self {
        RelationSet(self.0 | other.0)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        RelationSet(self.0 & !other.0)
    }

    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    pub(crate) fn contains(self, relation: usize) -> bool {
        self.0 & (1 << relation) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The smallest number, if any.
    pub(crate) fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize)
    }

    /// The numbers, increasing.
    pub(crate) fn iter(self) -> Members {
        Members(self.0)
    }

    /// All subsets but the empty one; a subset comes after those it contains.
    pub(crate) fn subsets(self) -> impl Iterator<Item = RelationSet> {
        let mut last = 0u64;
        std::iter::from_fn(move || {
            last = last.wrapping_sub(self.0) & self.0;
            (last != 0).then_some(RelationSet(last))
        })
    }
}

/// The numbers in a set, increasing.
pub(crate) struct Members(u64);

impl Iterator for Members {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let first = RelationSet(self.0).first()?;
        self.0 &= self.0 - 1;
        Some(first)
    }
}

impl DoubleEndedIterator for Members {
    fn next_back(&mut self) -> Option<usize> {
        let last = self.0.checked_ilog2()?;
        self.0 ^= 1 << last;
        Some(last as usize)
    }
}

impl FromIterator<usize> for RelationSet {
    fn from_iter<I: IntoIterator<Item = usize>>(relations: I) -> Self {
        relations.into_iter().fold(RelationSet::EMPTY, |set, r| set.union(RelationSet::single(r)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_complete() {
        let set: RelationSet = [1, 4, 63].into_iter().collect();
        let subsets: Vec<_> = set.subsets().collect();
        assert_eq!(subsets.len(), 7);
        assert_eq!(subsets.last(), Some(&set));
        assert_eq!(RelationSet::EMPTY.subsets().count(), 0);
        assert_eq!(RelationSet::up_to(63).len(), 64);
        assert_eq!(RelationSet::up_to(0), RelationSet::single(0));
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 4, 63]);
        assert_eq!(set.iter().rev().collect::<Vec<_>>(), [63, 4, 1]);
    }
}
