//! Finds the matches of a chunk's rows in one table: by their keys, then by the residual. Where one
//! match is enough, see `existence`.

use std::collections::HashSet;
use std::sync::Arc;

use super::emit::candidates;
use super::group_bounds::{Bounded, GroupBounds};
use super::groups::Entry;
use super::matches::{Followed, Pairs, Walk};
use super::shape::{Residual, Shared};
use super::table::{LookUp, Table};
use crate::batch::{Chunk, Selection};
use crate::error::Result;
use crate::expr::Conjunction;
use crate::memory::Governor;
use crate::pipeline::Context;

/// One worker's view of a table.
pub(super) struct Matcher {
    pub(super) shared: Arc<Shared>,
    pub(super) table: Arc<Table>,
    condition: Option<Condition>,
    /// What the condition says of large groups.
    pub(super) bounds: Option<GroupBounds>,
    look_up: LookUp,
    /// By live row of the chunk looked up last.
    pub(super) entries: Vec<Entry>,
    pub(super) pairs: Pairs,
    /// Groups of build rows of which all have had a match.
    pub(super) all_marked: HashSet<u32>,
}

/// A residual and what is remembered about it.
struct Condition {
    residual: Residual,
    conjunction: Conjunction,
}

impl Matcher {
    /// A view of a table of the build rows, or of some of them.
    ///
    /// # Errors
    /// `OutOfMemory` when the query has no room at all.
    pub(super) fn new(shared: &Arc<Shared>, table: Arc<Table>, memory: &Governor) -> Result<Self> {
        let residual = shared.shape.residual.as_ref();
        let has_groups = !table.groups().is_empty();
        let bounds = residual.filter(|_| has_groups).map(|r| GroupBounds::new(r, memory));
        Ok(Matcher {
            shared: shared.clone(),
            table,
            bounds: bounds.transpose()?.flatten(),
            condition: residual.map(|residual| Condition::new(residual, memory)),
            look_up: LookUp::default(),
            entries: Vec::new(),
            pairs: Pairs::default(),
            all_marked: HashSet::new(),
        })
    }

    /// Whether pairs have a condition to pass beyond equal keys.
    pub(super) fn has_residual(&self) -> bool {
        self.condition.is_some()
    }

    /// Finds the entry of each live row.
    pub(super) fn look_up(&mut self, input: &Chunk) -> Result<()> {
        self.look_up.run(&self.table, &self.shared.shape, input, &mut self.entries)?;
        match &mut self.bounds {
            Some(bounds) => bounds.look_at(input, &self.entries, self.table.groups()),
            None => Ok(()),
        }
    }

    /// The next pairs of the rows looked up; see [`Walk::next`].
    ///
    /// # Errors
    /// As there, or that the query was stopped.
    pub(super) fn next_pairs(
        &mut self,
        walk: &mut Walk,
        unmatched: bool,
        most: usize,
        cx: &Context,
    ) -> Result<bool> {
        self.pairs.clear();
        let (entries, table, pairs) = (&self.entries, &*self.table, &mut self.pairs);
        match &mut self.bounds {
            None => walk.next(entries, &mut table.groups(), unmatched, most, pairs),
            Some(bounds) => {
                walk.next(entries, &mut Bounded { bounds, table, cx }, unmatched, most, pairs)
            }
        }
    }

    /// Which of the pairs with a build row pass the residual; `None` when all do. Build rows that
    /// take much memory as columns are looked at a few at a time.
    pub(super) fn passed(&mut self, input: &Chunk) -> Result<Option<Selection>> {
        let condition = self.condition.as_mut().filter(|_| self.pairs.are_open);
        let Some(Condition { residual, conjunction }) = condition else { return Ok(None) };
        let (probe, build) = (&residual.probe, &residual.build);
        let (table, pairs) = (&self.table, &self.pairs);
        if table.within(build, &pairs.build) == pairs.len() {
            let chunk = candidates(probe, build, table, input, pairs, 0..pairs.len())?;
            return if chunk.is_empty() { Ok(None) } else { conjunction.select(&chunk) };
        }
        let (mut passed, mut seen, mut at) = (Vec::new(), 0, 0);
        while at < pairs.len() {
            let end = at + table.within(build, &pairs.build[at..]);
            let chunk = candidates(probe, build, table, input, pairs, at..end)?;
            let rows = chunk.rows() as u32;
            if rows > 0 {
                match conjunction.select(&chunk)? {
                    None => passed.extend(seen..seen + rows),
                    Some(some) => passed.extend(some.as_slice().iter().map(|row| seen + row)),
                }
            }
            (seen, at) = (seen + rows, end);
        }
        Ok((passed.len() < seen as usize).then(|| Selection::new(passed)))
    }

    /// Keeps the pairs that pass the residual; all have a build row.
    pub(super) fn filter(&mut self, input: &Chunk) -> Result<()> {
        if let Some(passed) = self.passed(input)? {
            self.pairs.keep(&passed);
        }
        self.pairs.are_open = false;
        Ok(())
    }
}

/// The build rows of a group that a probe row, by its number among the live rows, may match.
///
/// # Errors
/// As [`GroupBounds::rows`].
pub(super) fn rows_for<'a>(
    bounds: &'a mut Option<GroupBounds>,
    table: &'a Table,
    row: u32,
    group: u32,
) -> Result<Followed<'a>> {
    match bounds {
        None => Ok(Followed::open(table.groups().rows(group))),
        Some(bounds) => bounds.rows(table, row, group),
    }
}

impl Condition {
    fn new(residual: &Residual, memory: &Governor) -> Self {
        let conjunction = Conjunction::new(vec![residual.condition.clone()], memory);
        Condition { residual: residual.clone(), conjunction }
    }
}
