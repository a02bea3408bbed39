//! What bounds of the condition (`expr::bounds`) say of the group that a worker looks at.

use std::ops::Range;

use crate::batch::{Chunk, Column, Place};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::bounds::{Bounds, Known, Values};
use crate::memory::Governor;

/// One worker's bounds.
pub(super) struct GroupBounds {
    bounds: Bounds,
    /// The group that was looked at last, and its values by bound.
    group: Option<usize>,
    values: Vec<Values>,
    rows: usize,
}

/// The rows of a group for a probe row.
pub(super) enum Found {
    /// Those that it can match.
    Within(Range<usize>),
    /// Those that it matches.
    Matches(Vec<u32>),
}

impl GroupBounds {
    /// The bounds of a condition over `probe_width` probe columns; `None` without any.
    pub(super) fn new(condition: &Expr, probe_width: usize, memory: &Governor) -> Option<Self> {
        let bounds = Bounds::new(condition, probe_width, |_| true, memory)?;
        Some(GroupBounds { bounds, group: None, values: Vec::new(), rows: 0 })
    }

    /// As [`Bounds::of_probe`].
    pub(super) fn of_probe(&mut self, chunk: &Chunk) -> Result<Vec<Vec<Known>>> {
        self.bounds.of_probe(chunk)
    }

    /// Looks at the build columns, which the condition reads, of group number `group`. Whether the
    /// values of a bound are sorted, and not all the same, as those of texts that begin alike.
    ///
    /// # Errors
    /// As [`Bounds::of_build`].
    pub(super) fn look_at(&mut self, group: usize, build: &[Column], rows: usize) -> Result<bool> {
        if self.group != Some(group) {
            let chunk = Chunk::new(build.to_vec(), rows, Place::default());
            self.values = match self.bounds.of_build(&chunk)? {
                Some(values) => values.into_iter().map(Values::of).collect(),
                None => vec![Values::Unknown; self.bounds.count()],
            };
            (self.group, self.rows) = (Some(group), rows);
        }
        let is_sorted = |values: &Values| match values {
            Values::Sorted(values) => values.first() != values.last(),
            _ => false,
        };
        Ok(self.values.iter().any(is_sorted))
    }

    /// What row `row` of a probe chunk finds in the group, by the values of the chunk.
    pub(super) fn of_probe_row(&self, probe: &[Vec<Known>], row: usize) -> Found {
        let range = self.bounds.range(&self.values, probe, row, self.rows);
        let mut matches = Vec::new();
        match self.bounds.matches(&self.values, probe, row, range.clone(), &mut matches) {
            true => Found::Matches(matches),
            false => Found::Within(range),
        }
    }

    /// The rows of a probe chunk, of these, that row `row` of the group matches; `None` where the
    /// values do not tell.
    pub(super) fn of_build_row(
        &self,
        row: usize,
        probe: &[Vec<Known>],
        rows: &[u32],
    ) -> Option<Vec<u32>> {
        self.bounds.matches_of_build(&self.values, row, probe, rows)
    }
}
