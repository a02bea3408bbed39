//! Functions of a row's place in its partition.

use arrow::array::{Float64Array, Int64Array};

use super::evaluate::{Evaluate, Results, Span};
use super::store::Store;
use crate::error::Result;
use crate::expr::Over;

/// Numbers that follow from the rows before: `row_number`, `rank`, `dense_rank`.
pub(super) struct Rank {
    over: Over,
    kind: RankKind,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RankKind {
    Row,
    Rank,
    Dense,
}

/// What is counted from the begin of a partition to a row, the row included.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    rows: i64,
    rank: i64,
    groups: i64,
}

impl Counts {
    #[inline]
    fn enter(&mut self, mark: u16, over: Over) {
        let mark = usize::from(mark);
        if mark <= over.partition {
            *self = Counts::default();
        }
        self.rows += 1;
        if mark <= over.order {
            self.rank = self.rows;
            self.groups += 1;
        }
    }
}

impl Rank {
    pub(super) fn new(over: Over, kind: RankKind) -> Self {
        Rank { over, kind, counts: Counts::default() }
    }
}

impl Evaluate for Rank {
    fn evaluate(&mut self, span: &Span<'_>, _: &mut Store) -> Result<Results> {
        let Rank { over, kind, counts } = self;
        let ranks = span.marks.iter().map(|&mark| {
            counts.enter(mark, *over);
            match kind {
                RankKind::Row => counts.rows,
                RankKind::Rank => counts.rank,
                RankKind::Dense => counts.groups,
            }
        });
        Ok(Results::of(Int64Array::from_iter_values(ranks)))
    }
}

/// Numbers that depend on how many rows the partition has.
pub(super) struct Share {
    over: Over,
    kind: ShareKind,
    counts: Counts,
    /// Number of the frame that is the whole partition.
    whole: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ShareKind {
    /// `percent_rank`
    Percent,
    /// `cume_dist`: up to the last peer, by the frame of this number.
    Cumulative { peers: usize },
    /// `ntile` of so many parts.
    Tile(u64),
}

impl Share {
    pub(super) fn new(over: Over, kind: ShareKind, whole: usize) -> Self {
        Share { over, kind, counts: Counts::default(), whole }
    }
}

impl Evaluate for Share {
    fn evaluate(&mut self, span: &Span<'_>, _: &mut Store) -> Result<Results> {
        let Share { over, kind, counts, whole } = self;
        let sizes = span.frames(*whole).map(|(start, end)| end - start);
        match *kind {
            ShareKind::Percent => {
                let shares = span.marks.iter().zip(sizes).map(|(&mark, size)| {
                    counts.enter(mark, *over);
                    if size > 1 { (counts.rank - 1) as f64 / (size - 1) as f64 } else { 0.0 }
                });
                Ok(Results::of(Float64Array::from_iter_values(shares)))
            }
            ShareKind::Cumulative { peers } => {
                let up_to = span.frames(peers).map(|(start, end)| end - start);
                let shares = up_to.zip(sizes).map(|(up_to, size)| up_to as f64 / size as f64);
                Ok(Results::of(Float64Array::from_iter_values(shares)))
            }
            ShareKind::Tile(parts) => {
                let tiles = span.marks.iter().zip(sizes).map(|(&mark, size)| {
                    counts.enter(mark, *over);
                    tile(counts.rows as u64 - 1, size, parts) as i64
                });
                Ok(Results::of(Int64Array::from_iter_values(tiles)))
            }
        }
    }
}

/// The part, from 1, of a row among `size`: parts are equal but for one row, the first are longer.
fn tile(row: u64, size: u64, parts: u64) -> u64 {
    let (short, longer) = (size / parts, size % parts);
    let in_longer = longer * (short + 1);
    if row < in_longer {
        row / (short + 1) + 1
    } else {
        // With fewer rows than parts every row is in a longer part.
        longer + (row - in_longer) / short.max(1) + 1
    }
}
