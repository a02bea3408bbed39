//! What bounds of the condition (`expr::bounds`) say of the groups that a worker looks at.
//!
//! Memory: what is known of a group is kept for the next chunk as long as there is plenty, up to
//! [`KNOWN_BYTES_MAX`].

use std::ops::Range;

use hashbrown::HashMap;

use super::shape::HOLDER;
use crate::batch::{Chunk, Column, Place};
use crate::error::Result;
use crate::expr::Expr;
use crate::expr::bounds::{Beginnings, Bounds, Known, Values};
use crate::memory::{Governor, Reservation};

/// What is known of a group takes, besides the values of its rows: beginnings of texts among it.
const GROUP_BYTES: usize = 1 << 10;

/// What a worker knows of groups takes, at most, besides that of the last.
const KNOWN_BYTES_MAX: usize = 64 << 20;

/// One worker's bounds.
pub(super) struct GroupBounds {
    bounds: Bounds,
    /// By the numbers of the groups that are kept, and of the last one.
    groups: HashMap<usize, Group>,
    /// The last one, if it is not to be kept.
    passing: Option<usize>,
    memory: Reservation,
}

/// What is known of a group.
struct Group {
    /// Its values by bound.
    values: Vec<Values>,
    beginnings: Beginnings,
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
    ///
    /// # Errors
    /// `OutOfMemory` when the query has no room at all.
    pub(super) fn new(
        condition: &Expr,
        probe_width: usize,
        memory: &Governor,
    ) -> Result<Option<Self>> {
        let Some(bounds) = Bounds::new(condition, probe_width, |_| true, memory) else {
            return Ok(None);
        };
        let (groups, memory) = (HashMap::new(), memory.reserve(HOLDER, 0)?);
        Ok(Some(GroupBounds { bounds, groups, passing: None, memory }))
    }

    /// Whether a group has been looked at, and is known.
    pub(super) fn knows(&self, group: usize) -> bool {
        self.groups.contains_key(&group)
    }

    /// Whether probe values that were read for one group are those for all.
    pub(super) fn read_once(&self) -> bool {
        !self.bounds.reads_texts()
    }

    /// The probe values for a group that is known; see [`Bounds::of_probe`].
    ///
    /// # Errors
    /// As there.
    pub(super) fn of_probe(
        &mut self,
        group: usize,
        chunk: &Chunk,
    ) -> Result<Option<Vec<Vec<Known>>>> {
        match self.groups.get(&group) {
            Some(group) => self.bounds.of_probe(chunk, &group.beginnings),
            None => Ok(None),
        }
    }

    /// Looks at the build columns, which the condition reads, of group number `group`, which is not
    /// known.
    ///
    /// # Errors
    /// As [`Bounds::of_build`].
    pub(super) fn look_at(&mut self, group: usize, build: &[Column], rows: usize) -> Result<()> {
        if let Some(passing) = self.passing.take() {
            self.groups.remove(&passing);
        }
        let chunk = Chunk::new(build.to_vec(), rows, Place::default());
        let mut beginnings = self.bounds.first_beginnings();
        let values: Vec<Values> = match self.bounds.of_build(&chunk, &mut beginnings)? {
            Some(values) => values.into_iter().map(Values::of).collect(),
            None => vec![Values::Unknown; self.bounds.count()],
        };
        let bytes = GROUP_BYTES + Bounds::bytes(&values);
        let has_room = self.memory.bytes().saturating_add(bytes) <= KNOWN_BYTES_MAX;
        if !has_room || !self.memory.try_grow_of_plenty(bytes) {
            self.passing = Some(group);
        }
        self.groups.insert(group, Group { values, beginnings, rows });
        Ok(())
    }

    /// Whether the values of a bound are sorted in a group, and not all the same, as those of texts
    /// that begin alike.
    pub(super) fn is_sorted(&self, group: usize) -> bool {
        let is_sorted = |values: &Values| match values {
            Values::Sorted(values) => values.first() != values.last(),
            _ => false,
        };
        self.groups.get(&group).is_some_and(|group| group.values.iter().any(is_sorted))
    }

    /// The rows of a probe chunk, of these, that may have a match in a group; `None` when nothing
    /// is known of it.
    pub(super) fn met(&self, group: usize, probe: &[Vec<Known>], rows: &[u32]) -> Option<Vec<u32>> {
        Some(self.bounds.met(&self.groups.get(&group)?.values, probe, rows))
    }

    /// Whether row `row` of a probe chunk has a match in a group; `None` where the values do not
    /// tell.
    pub(super) fn has_match(&self, group: usize, probe: &[Vec<Known>], row: usize) -> Option<bool> {
        let Group { values, rows, .. } = self.groups.get(&group)?;
        let range = self.bounds.range(values, probe, row, *rows);
        self.bounds.has_match(values, probe, row, range)
    }

    /// What row `row` of a probe chunk finds in a group, by the values of the chunk; `None` when
    /// nothing is known of the group.
    pub(super) fn of_probe_row(
        &self,
        group: usize,
        probe: &[Vec<Known>],
        row: usize,
    ) -> Option<Found> {
        let Group { values, rows, .. } = self.groups.get(&group)?;
        let range = self.bounds.range(values, probe, row, *rows);
        let mut matches = Vec::new();
        Some(match self.bounds.matches(values, probe, row, range.clone(), &mut matches) {
            true => Found::Matches(matches),
            false => Found::Within(range),
        })
    }

    /// The rows of a probe chunk, of these, that row `row` of a group matches; `None` where the
    /// values do not tell.
    pub(super) fn of_build_row(
        &self,
        (group, row): (usize, usize),
        probe: &[Vec<Known>],
        rows: &[u32],
    ) -> Option<Vec<u32>> {
        self.bounds.matches_of_build(&self.groups.get(&group)?.values, row, probe, rows)
    }
}
