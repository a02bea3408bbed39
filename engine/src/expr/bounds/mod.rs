//! What comparisons in the condition of a join say about the rows of a group of build rows that a
//! probe row can match.
//!
//! A condition that has to hold and compares an expression over the probe columns with one over the
//! build columns is a *bound*: `p.day >= b.first`, `p.x < b.x + 5`. Where a group's values of the
//! build expression increase, the rows that pass are a range that binary search finds; otherwise
//! the least and the greatest value say whether there are any. The others need not be looked at:
//! rows of an input that comes in the order of a bound ([`order_of_bounds`]) cost as little as
//! those of a join on sorted inputs, and a band or an interval has two bounds that are ordered
//! together.
//!
//! A condition that consists of bounds alone is decided by the values that are compared: each
//! side's expressions are computed once for each of its rows instead of once for each pair.
//!
//! Values are compared as ordinals, for which the types of both sides must be the same, and texts
//! by their first bytes behind those that the build rows at hand have in common, which rule out
//! much and decide nothing.
//!
//! * `comparison`: which comparisons are bounds.
//! * `values`: the values of a group and what a probe value leaves of them; `read`: values of a
//!   chunk.

mod comparison;
mod read;
mod values;

use std::ops::Range;

pub use comparison::order_of_bounds;
use comparison::{By, bounds_of, conditions};
pub use read::Beginnings;
use read::read_values;
use values::passes;
pub use values::{Known, Values};

use super::{CompareOp, Evaluator, Expr};
use crate::batch::{Chunk, Ordinals};
use crate::error::Result;
use crate::memory::Governor;

/// Bounds of a join, at most: what is known of the rows of a chunk and of a group has to have room.
pub const BOUNDS_MAX: usize = 3;

/// One worker's bounds.
pub struct Bounds {
    ops: Vec<CompareOp>,
    /// Whether the condition says nothing else.
    is_whole: bool,
    /// Whether expressions are more than columns.
    computes: bool,
    /// The build columns that they read, increasing.
    build_columns: Vec<usize>,
    probe: Evaluator,
    build: Evaluator,
    reads_texts: bool,
    ordinals: Ordinals,
}

impl Bounds {
    /// The bounds of a condition over `probe_width` probe columns, those only that read build
    /// columns of types that `reads` takes; `None` without any.
    pub fn new(
        condition: &Expr,
        probe_width: usize,
        reads: impl Fn(usize) -> bool,
        memory: &Governor,
    ) -> Option<Self> {
        let mut bounds = bounds_of(condition, probe_width);
        bounds.retain(|bound| bound.build.columns().into_iter().all(&reads));
        // Those that decide before those that do not.
        bounds.sort_by_key(|bound| bound.compared == By::Prefix);
        bounds.truncate(BOUNDS_MAX);
        let (probe, build): (Vec<Expr>, Vec<Expr>) =
            bounds.iter().map(|bound| (bound.probe.clone(), bound.build.clone())).unzip();
        let mut build_columns: Vec<usize> = build.iter().flat_map(Expr::columns).collect();
        build_columns.sort_unstable();
        build_columns.dedup();
        (!bounds.is_empty()).then(|| Bounds {
            build_columns,
            is_whole: bounds.len() == conditions(condition)
                && bounds.iter().all(|bound| bound.compared == By::Ordinal),
            computes: probe.iter().chain(&build).any(|e| !matches!(e, Expr::Column { .. })),
            ops: bounds.iter().map(|bound| bound.op).collect(),
            probe: Evaluator::new(&probe, memory),
            build: Evaluator::new(&build, memory),
            reads_texts: bounds.iter().any(|bound| bound.compared == By::Prefix),
            ordinals: Ordinals::default(),
        })
    }

    /// The probe values of each bound, by physical row; `None` where they cannot be computed for
    /// all rows: those that matter say why when the condition is evaluated. They are compared with
    /// build values that were read behind the same beginnings.
    ///
    /// # Errors
    /// What is not the fault of the values.
    pub fn of_probe(
        &mut self,
        chunk: &Chunk,
        beginnings: &Beginnings,
    ) -> Result<Option<Vec<Vec<Known>>>> {
        read_values(&mut self.probe, chunk, &mut beginnings.clone(), &mut self.ordinals)
    }

    /// The build values of each bound, by physical row; `None` as [`Bounds::of_probe`]. What texts
    /// are read behind is what they have in common where `beginnings` do not say it.
    ///
    /// # Errors
    /// As there.
    pub fn of_build(
        &mut self,
        chunk: &Chunk,
        beginnings: &mut Beginnings,
    ) -> Result<Option<Vec<Vec<Known>>>> {
        read_values(&mut self.build, chunk, beginnings, &mut self.ordinals)
    }

    /// Beginnings that the first build rows say.
    pub fn first_beginnings(&self) -> Beginnings {
        Beginnings::of_first(self.count())
    }

    /// None, for groups that are compared with the same probe values.
    pub fn no_beginnings(&self) -> Beginnings {
        Beginnings::none(self.count())
    }

    /// Whether values are read behind beginnings.
    pub fn reads_texts(&self) -> bool {
        self.reads_texts
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ops.len()
    }

    /// Whether values are computed, and not only read.
    pub fn computes(&self) -> bool {
        self.computes
    }

    /// Bytes that the values of a group take.
    pub fn bytes(values: &[Values]) -> usize {
        values.iter().map(|values| size_of::<Values>() + values.bytes()).sum()
    }

    /// The build columns that the bounds read.
    pub fn build_columns(&self) -> &[usize] {
        &self.build_columns
    }

    /// The rows of a group of `rows` that row `row` of the probe chunk can match, by the values of
    /// each bound.
    pub fn range(
        &self,
        values: &[Values],
        probe: &[Vec<Known>],
        row: usize,
        rows: usize,
    ) -> Range<usize> {
        let mut range = 0..rows;
        for ((op, values), probe) in self.ops.iter().zip(values).zip(probe) {
            let own = values.range(*op, probe[row], rows);
            range = range.start.max(own.start)..range.end.min(own.end);
            if range.is_empty() {
                break;
            }
        }
        if range.is_empty() { 0..0 } else { range }
    }

    /// The rows of the probe chunk, of these, to which the least and the greatest values of a group
    /// may leave some of its rows.
    pub fn met(&self, values: &[Values], probe: &[Vec<Known>], rows: &[u32]) -> Vec<u32> {
        let mut met = rows.to_vec();
        for ((op, values), probe) in self.ops.iter().zip(values).zip(probe) {
            let Some(keys) = values.probe_values(*op) else { return Vec::new() };
            let mut count = 0;
            for at in 0..met.len() {
                let row = met[at];
                met[count] = row;
                count += usize::from(match probe[row as usize] {
                    Known::Value(key) => keys.contains(&key),
                    Known::Null => false,
                    Known::Beyond => true,
                });
            }
            met.truncate(count);
        }
        met
    }

    /// Adds to `found` the rows that row `row` of the probe chunk matches, of those that
    /// [`Bounds::range`] leaves to it; false, without any, where the values do not tell.
    pub fn matches(
        &self,
        values: &[Values],
        probe: &[Vec<Known>],
        row: usize,
        range: Range<usize>,
        found: &mut Vec<u32>,
    ) -> bool {
        if !self.decides(values, probe, row) {
            return false;
        }
        let start = found.len();
        found.extend(range.start as u32..range.end as u32);
        for ((op, values), probe) in self.ops.iter().zip(values).zip(probe) {
            // The range has no other rows of sorted values than those that match.
            let Values::Between(known, ..) = values else { continue };
            let mut count = start;
            for at in start..found.len() {
                let build = found[at];
                found[count] = build;
                count += usize::from(passes(*op, known[build as usize], probe[row]));
            }
            found.truncate(count);
        }
        true
    }

    /// Whether row `row` of the probe chunk matches a row of those that [`Bounds::range`] leaves to
    /// it; `None` where the values do not tell.
    pub fn has_match(
        &self,
        values: &[Values],
        probe: &[Vec<Known>],
        row: usize,
        mut range: Range<usize>,
    ) -> Option<bool> {
        if !self.decides(values, probe, row) {
            return None;
        }
        let others = self.ops.iter().zip(values).zip(probe);
        Some(range.any(|at| {
            others.clone().all(|((op, values), probe)| match values {
                Values::Between(known, ..) => passes(*op, known[at], probe[row]),
                _ => true,
            })
        }))
    }

    /// Whether the values tell which rows match row `row` of the probe chunk.
    fn decides(&self, values: &[Values], probe: &[Vec<Known>], row: usize) -> bool {
        let is_known = |(values, probe): (&Values, &Vec<Known>)| {
            !matches!(values, Values::Unknown) && probe[row] != Known::Beyond
        };
        self.is_whole && values.iter().zip(probe).all(is_known)
    }

    /// The rows of the probe chunk, of these, that row `at` of a group matches; `None` where the
    /// values do not tell.
    pub fn matches_of_build(
        &self,
        values: &[Values],
        at: usize,
        probe: &[Vec<Known>],
        rows: &[u32],
    ) -> Option<Vec<u32>> {
        if !self.is_whole {
            return None;
        }
        let mut found = rows.to_vec();
        for ((op, values), probe) in self.ops.iter().zip(values).zip(probe) {
            let build = match values {
                Values::Unknown => return None,
                Values::Sorted(sorted) => sorted.get(at).map_or(Known::Null, |&v| Known::Value(v)),
                Values::Between(known, ..) => known[at],
            };
            if found.iter().any(|&row| probe[row as usize] == Known::Beyond) {
                return None;
            }
            found.retain(|&row| passes(*op, build, probe[row as usize]));
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests;
