//! Where the ranges of a distribution begin, and who decides it.
//!
//! The first builder of a sort that has a full buffer sorts it, and its quantiles become splitters:
//! they say of any row that comes later, to whichever builder, which range it belongs to. Splitters
//! are where groups begin, so that no group is in two ranges.
//!
//! A row is looked up in two steps: a table by the leading bits of the distance from the first
//! splitter, then the few splitters that its entry leaves.
//!
//! Concurrency: a plan is shared by the builders of a sort. The first one decides, behind a lock;
//! splitters do not change.

use std::sync::{Arc, Mutex};

use super::shape::{RunShape, Words};

/// Ranges of a distribution, unless groups are too few: their rows have room in a near cache when
/// they are sorted, and the ends of their pages do while rows are brought to them.
const RANGES: usize = 1024;

/// Bits of the numbers of the table's entries.
const TABLE_BITS: u32 = 12;

/// Below this budget rows are soon on tape, and are better sorted before.
const LIMIT_BYTES_MIN: usize = 2 << 30;

/// Rows of one range of a run that have room to be sorted, if they have to be; many times as many
/// as there are where splitters fit the rows.
const RANGE_ROWS_MAX: usize = 128 << 10;

/// Bytes of rows of a distributed run: as much as is written at once when others want memory.
const RUN_BYTES: u64 = 256 << 20;

/// The words that ranges begin with; see the module documentation.
#[derive(Debug)]
pub(super) struct Splitters {
    /// The first range begins before them all.
    words: Vec<Words>,
    first: Words,
    shift: u32,
    /// By leading bits, how many splitters are before the first words that have them.
    table: Vec<u32>,
}

/// What the builders of a sort have in common if they distribute rows. Clones are the same plan.
#[derive(Debug, Clone)]
pub struct DistributionPlan {
    /// Bytes of a buffer after which there are splitters.
    pub(super) buffer_bytes: usize,
    pub(super) run_bytes: u64,
    pub(super) ranges: usize,
    pub(super) range_rows_max: usize,
    pub(super) limit_bytes_min: usize,
    splitters: Arc<Mutex<Option<Arc<Splitters>>>>,
}

impl Splitters {
    /// `words` grow, and are not none.
    fn new(words: Vec<Words>) -> Self {
        let first = words.first().copied().unwrap_or(0);
        let span = words.last().map_or(0, |last| last - first);
        let shift = (Words::BITS - span.leading_zeros()).saturating_sub(TABLE_BITS);
        let entries = (span >> shift) as usize + 2;
        let before = |entry: usize| {
            let from =
                (entry as Words).checked_mul(1 << shift).and_then(|at| first.checked_add(at));
            from.map_or(words.len(), |from| words.partition_point(|&word| word < from)) as u32
        };
        let table = (0..entries).map(before).collect();
        Splitters { words, first, shift, table }
    }

    /// The words that each range but the first begins with.
    pub(super) fn words(&self) -> &[Words] {
        &self.words
    }

    /// Number of ranges.
    pub(super) fn ranges(&self) -> usize {
        self.words.len() + 1
    }

    /// The range of a row with these words.
    #[inline]
    pub(super) fn range_of(&self, words: Words) -> usize {
        let Some(distance) = words.checked_sub(self.first) else { return 0 };
        let entry = usize::try_from(distance >> self.shift).unwrap_or(usize::MAX);
        let Some(&[from, to]) = self.table.get(entry..).and_then(|rest| rest.first_chunk()) else {
            return self.words.len();
        };
        let (from, to) = (from as usize, to as usize);
        from + self.words[from..to].partition_point(|&splitter| splitter <= words)
    }
}

impl Default for DistributionPlan {
    fn default() -> Self {
        DistributionPlan {
            buffer_bytes: super::RUN_BYTES_MAX,
            run_bytes: RUN_BYTES,
            ranges: RANGES,
            range_rows_max: RANGE_ROWS_MAX,
            limit_bytes_min: LIMIT_BYTES_MIN,
            splitters: Arc::default(),
        }
    }
}

impl DistributionPlan {
    /// The splitters, which the first one who asks takes from words in order, evenly spread over
    /// the rows; `None` where these have too few groups.
    pub(super) fn splitters(
        &self,
        shape: &RunShape,
        sorted: impl ExactSizeIterator<Item = Words>,
    ) -> Option<Arc<Splitters>> {
        let mut decided = self.splitters.lock().unwrap_or_else(|e| e.into_inner());
        if decided.is_none() {
            let (count, ranges) = (sorted.len(), self.ranges.min(sorted.len()).max(1));
            let (mut words, mut due) = (Vec::with_capacity(ranges), 1);
            for (at, sample) in sorted.enumerate() {
                if at * ranges < due * count {
                    continue;
                }
                due += 1;
                let splitter = shape.first_of_group(sample);
                if words.last().copied().unwrap_or(0) < splitter {
                    words.push(splitter);
                }
            }
            if words.len() < ranges / 2 || words.is_empty() {
                return None;
            }
            *decided = Some(Arc::new(Splitters::new(words)));
        }
        decided.clone()
    }

    /// Forgets the splitters.
    pub(super) fn clear(&self) {
        *self.splitters.lock().unwrap_or_else(|e| e.into_inner()) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_in_the_range_that_begins_last_before_it() {
        let forms: [Vec<Words>; 5] = [
            vec![7],
            (1..1000).map(|n| n * 1_000_003).collect(),
            (0..127).map(|n| 1 << n).collect(),
            vec![1, 2, Words::MAX - 1, Words::MAX],
            (0..300).map(|n| (1 << 100) + n / 2 * 5_000 + n).collect(),
        ];
        for words in forms {
            let splitters = Splitters::new(words.clone());
            assert_eq!(splitters.ranges(), words.len() + 1);
            let near = words.iter().flat_map(|&w| [w.saturating_sub(1), w, w.saturating_add(1)]);
            for row in near.chain([0, 1 << 64, Words::MAX]) {
                let expected = words.iter().filter(|&&splitter| splitter <= row).count();
                assert_eq!(splitters.range_of(row), expected, "{row} in {words:?}");
            }
        }
    }
}
