//! Build rows of a large group that the residual may let pass.
//!
//! A residual that compares expressions over the build columns with expressions over the probe
//! columns (`expr::bounds`) lets pass few of the rows with a key that many have: events within
//! intervals, prices as of a day. For groups that several probe rows have led to the values of the
//! build expressions are computed once and the rows sorted by the first; binary search then finds
//! those that a probe row may match, and where the residual says nothing else, those that it does.
//! They come in the order of the group.
//!
//! Invariant: for a probe row the rows of a group are the same as often as they are asked for. What
//! changes is decided when the rows of a chunk have been looked up.
//!
//! Memory: what is known of groups is charged as long as there is plenty. Of others nothing is
//! known: all of their rows may match.
//! Concurrency: each worker finds out by itself.

use std::ops::Range;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::groups::{self, Groups, group_of};
use super::matches::{Follow, Followed};
use super::shape::{HOLDER, Payload, Residual};
use super::table::Table;
use crate::batch::{CHUNK_ROWS, Chunk, Column, Place, has_ordinals};
use crate::error::Result;
use crate::expr::bounds::{Bounds, Known, Values};
use crate::memory::{Governor, Reservation};
use crate::pipeline::Context;

/// Rows of a group from which on it pays to look for those that may match: to find them costs about
/// as much as to read and compare columns of so many pairs.
const LARGE_ROWS: usize = 64;

/// The same where values are computed, as of dates and intervals: a pair costs ten times as much.
const LARGE_ROWS_COMPUTED: usize = 6;

/// Probe rows that lead to a group, from which on it is sorted.
const TIMES_MIN: u32 = 4;

/// What is known of a row of a group takes, for each bound while it is found out (twice its value,
/// as lists grow, and its ordinal) and besides (its places in the order, in what is found last).
const ROW_BYTES_OF_BOUND: usize = 3 * size_of::<Known>() + size_of::<i64>();
const ROW_BYTES: usize = 32;

/// What is known of a group takes, besides its rows.
const GROUP_BYTES: usize = 192;

/// One worker's bounds.
pub(super) struct GroupBounds {
    bounds: Bounds,
    /// Rows of a group from which on it is looked at.
    large_rows: usize,
    /// The columns of the residual.
    probe: Vec<usize>,
    build: Vec<Payload>,
    /// The probe rows that are looked up, until their values are asked for; only when they lead to
    /// large groups.
    chunk: Option<Chunk>,
    /// Which of its physical rows are live.
    live: Vec<u32>,
    /// Their values, by physical row; `None` where they cannot be computed.
    known: Option<Vec<Vec<Known>>>,
    /// What is charged for them.
    known_bytes: usize,
    groups: HashMap<u32, Group>,
    /// What was found last.
    found: Option<Found>,
    /// Which rows of a group are found.
    bits: Vec<u64>,
    memory: Reservation,
}

/// What is known of a group.
enum Group {
    /// Nothing; so many probe rows have led to it.
    Met(u32),
    /// Which of its rows have values, in the order of the first bound, and these by bound.
    Sorted(Vec<u32>, Vec<Values>),
    /// Nothing can be known.
    Unknown,
}

/// The rows of its group that a probe row may match.
struct Found {
    /// The number of the probe row among the live rows.
    row: u32,
    rows: Vec<u32>,
    says: Says,
}

/// What was found out about a probe row.
enum Says {
    /// Nothing: it may match all rows of its group.
    Nothing,
    /// It may match some.
    MayMatch,
    /// It matches some, which pass the residual.
    Match,
}

/// A probe row before a sorted group.
struct Asked<'a> {
    bounds: &'a Bounds,
    /// Of the group.
    order: &'a [u32],
    values: &'a [Values],
    /// Of the probe rows.
    known: &'a [Vec<Known>],
    /// The physical row.
    row: usize,
    /// What the bounds leave of the order.
    range: Range<usize>,
}

impl GroupBounds {
    /// The bounds of a residual; `None` when there are none to go by.
    ///
    /// # Errors
    /// `OutOfMemory` when the query has no room at all.
    pub(super) fn new(residual: &Residual, memory: &Governor) -> Result<Option<Self>> {
        // Others may be of any size.
        let is_narrow = |column: usize| {
            let payload = residual.build.get(column);
            payload.is_some_and(|p| has_ordinals(&p.logical) || p.logical.is_floating())
        };
        let width = residual.probe.len();
        let Some(bounds) = Bounds::new(&residual.condition, width, is_narrow, memory) else {
            return Ok(None);
        };
        let large_rows = if bounds.computes() { LARGE_ROWS_COMPUTED } else { LARGE_ROWS };
        Ok(Some(GroupBounds {
            bounds,
            large_rows,
            probe: residual.probe.clone(),
            build: residual.build.clone(),
            chunk: None,
            live: Vec::new(),
            known: None,
            known_bytes: 0,
            groups: HashMap::new(),
            found: None,
            bits: Vec::new(),
            memory: memory.reserve(HOLDER, 0)?,
        }))
    }

    /// The probe rows that are asked for from now on, by their numbers among the live rows, and the
    /// entries that they lead to.
    ///
    /// # Errors
    /// `Internal` when the chunk does not have the columns.
    pub(super) fn look_at(
        &mut self,
        input: &Chunk,
        entries: &[groups::Entry],
        groups: &Groups,
    ) -> Result<()> {
        (self.chunk, self.known, self.found) = (None, None, None);
        let mut are_large = false;
        for group in entries.iter().filter_map(|&entry| group_of(entry)) {
            if groups.rows(group).len() < self.large_rows {
                continue;
            }
            match self.groups.entry(group) {
                Entry::Occupied(mut known) => match known.get_mut() {
                    Group::Met(times) => *times = times.saturating_add(1),
                    Group::Sorted(..) => (),
                    Group::Unknown => continue,
                },
                Entry::Vacant(unknown) if self.memory.try_grow_of_plenty(GROUP_BYTES) => {
                    unknown.insert(Group::Met(1));
                }
                Entry::Vacant(_) => continue,
            }
            are_large = true;
        }
        if are_large {
            self.live.clear();
            self.live.extend_from_slice(input.live_positions());
            self.chunk = Some(input.project(&self.probe)?);
        }
        Ok(())
    }

    /// The rows of group number `group` that probe row `row` may match.
    ///
    /// # Errors
    /// `Internal` when the rows do not have the columns.
    pub(super) fn rows<'a>(
        &'a mut self,
        table: &'a Table,
        row: u32,
        group: u32,
    ) -> Result<Followed<'a>> {
        let rows = table.groups().rows(group);
        if rows.len() < self.large_rows {
            return Ok(Followed::open(rows));
        }
        if self.found.as_ref().is_none_or(|found| found.row != row) {
            self.found = Some(self.find(table, rows, row, group)?);
        }
        Ok(match &self.found {
            Some(Found { rows, says: Says::MayMatch, .. }) => Followed::open(rows),
            Some(Found { rows, says: Says::Match, .. }) => Followed { rows, pass: true },
            _ => Followed::open(rows),
        })
    }

    /// Whether a probe row matches a row of a group; `None` when the bounds do not decide.
    ///
    /// # Errors
    /// As [`GroupBounds::rows`].
    pub(super) fn has_match(
        &mut self,
        table: &Table,
        row: u32,
        group: u32,
    ) -> Result<Option<bool>> {
        let rows = table.groups().rows(group);
        if rows.len() < self.large_rows {
            return Ok(None);
        }
        let Some(asked) = self.ask(table, rows, row, group)? else { return Ok(None) };
        Ok(asked.bounds.has_match(asked.values, asked.known, asked.row, asked.range))
    }

    /// The rows that a probe row may match.
    fn find(&mut self, table: &Table, rows: &[u32], row: u32, group: u32) -> Result<Found> {
        // Its room serves the next.
        let mut found = self.found.take().map_or_else(Vec::new, |found| found.rows);
        found.clear();
        let Some(asked) = self.ask(table, rows, row, group)? else {
            return Ok(Found { row, rows: found, says: Says::Nothing });
        };
        let Asked { bounds, order, values, known, row: physical, range } = asked;
        let mut says = Says::Match;
        if !bounds.matches(values, known, physical, range.clone(), &mut found) {
            // To put most of them in order again takes as long as to look at the others.
            if range.len() > rows.len() / 2 {
                return Ok(Found { row, rows: found, says: Says::Nothing });
            }
            says = Says::MayMatch;
            found.extend(range.start as u32..range.end as u32);
        }
        found.iter_mut().for_each(|at| *at = order[*at as usize]);
        put_in_order(&mut found, rows.len(), &mut self.bits);
        found.iter_mut().for_each(|at| *at = rows[*at as usize]);
        Ok(Found { row, rows: found, says })
    }

    /// Asks the bounds of a group about a probe row; `None` when the group is not sorted, or the
    /// values of the probe rows are not known.
    fn ask(
        &mut self,
        table: &Table,
        rows: &[u32],
        row: u32,
        group: u32,
    ) -> Result<Option<Asked<'_>>> {
        self.sort_in_time(table, rows, group)?;
        let Some(Group::Sorted(order, values)) = self.groups.get(&group) else { return Ok(None) };
        if let Some(chunk) = self.chunk.take() {
            let bytes = self.bounds.count() * chunk.rows() * size_of::<Known>();
            let more = bytes.saturating_sub(self.known_bytes);
            if self.memory.try_grow_of_plenty(more) {
                self.known_bytes += more;
                self.known = self.bounds.of_probe(&chunk, &self.bounds.no_beginnings())?;
            }
        }
        let (bounds, Some(known)) = (&self.bounds, &self.known) else { return Ok(None) };
        let row = self.live[row as usize] as usize;
        let range = bounds.range(values, known, row, order.len());
        Ok(Some(Asked { bounds, order, values, known, row, range }))
    }

    /// Sorts a group when enough probe rows have led to it.
    fn sort_in_time(&mut self, table: &Table, rows: &[u32], group: u32) -> Result<()> {
        if let Some(Group::Met(TIMES_MIN..)) = self.groups.get(&group) {
            let sorted = self.sorted(table, rows)?;
            self.groups.insert(group, sorted.unwrap_or(Group::Unknown));
        }
        Ok(())
    }

    /// The values of the rows of a group, sorted; `None` where they cannot be known.
    fn sorted(&mut self, table: &Table, rows: &[u32]) -> Result<Option<Group>> {
        let of_row = ROW_BYTES + self.bounds.count() * ROW_BYTES_OF_BOUND;
        let bytes = rows.len().saturating_mul(of_row);
        if !self.memory.try_grow_of_plenty(bytes) {
            return Ok(None);
        }
        let group = self.values(table, rows)?.and_then(|by_bound| sorted_by_first(&by_bound));
        let kept = match &group {
            Some(Group::Sorted(order, values)) => {
                order.len() * (2 * size_of::<u32>() + values.len() * size_of::<Known>())
            }
            _ => 0,
        };
        self.memory.shrink(bytes.saturating_sub(kept));
        Ok(group)
    }

    /// The values of each bound for the rows of a group; `None` where they cannot be computed.
    fn values(&mut self, table: &Table, rows: &[u32]) -> Result<Option<Vec<Vec<Known>>>> {
        let (mut by_bound, all) = (Vec::<Vec<Known>>::new(), rows.len());
        for rows in rows.chunks(CHUNK_ROWS) {
            let chunk = self.build_chunk(table, rows)?;
            let Some(values) = self.bounds.of_build(&chunk, &mut self.bounds.no_beginnings())?
            else {
                return Ok(None);
            };
            by_bound.resize_with(values.len(), || Vec::with_capacity(all));
            by_bound.iter_mut().zip(values).for_each(|(all, some)| all.extend(some));
        }
        Ok(Some(by_bound))
    }

    /// The build columns of some rows, of which the bounds read some; the others are NULL.
    fn build_chunk(&self, table: &Table, rows: &[u32]) -> Result<Chunk> {
        let mut columns: Vec<Column> =
            self.build.iter().map(|payload| Column::null(payload.logical.clone())).collect();
        for &read in self.bounds.build_columns() {
            let values = table.columns(&self.build[read..=read], rows, None)?;
            columns.splice(read..=read, values);
        }
        Ok(Chunk::new(columns, rows.len(), Place::default()))
    }
}

/// A group by the values of the first bound that are all known; `None` when there is no such bound.
fn sorted_by_first(by_bound: &[Vec<Known>]) -> Option<Group> {
    let first = by_bound.iter().find(|values| !values.contains(&Known::Beyond))?;
    let valid = first.iter().zip(0u32..).filter_map(|(known, at)| match known {
        Known::Value(value) => Some((*value, at)),
        _ => None,
    });
    let mut order: Vec<(i64, u32)> = valid.collect();
    order.sort_unstable();
    let order: Vec<u32> = order.into_iter().map(|(_, at)| at).collect();
    let in_order =
        |known: &Vec<Known>| Values::of(order.iter().map(|&at| known[at as usize]).collect());
    let values = by_bound.iter().map(in_order).collect();
    Some(Group::Sorted(order, values))
}

/// Puts numbers below `all`, each there once at most, in order.
fn put_in_order(numbers: &mut Vec<u32>, all: usize, bits: &mut Vec<u64>) {
    let words = all.div_ceil(u64::BITS as usize);
    if numbers.len() < words {
        numbers.sort_unstable();
        return;
    }
    bits.clear();
    bits.resize(words, 0);
    for &number in &*numbers {
        bits[(number / u64::BITS) as usize] |= 1 << (number % u64::BITS);
    }
    numbers.clear();
    for (first, &word) in (0u32..).step_by(u64::BITS as usize).zip(&*bits) {
        let mut word = word;
        while word != 0 {
            numbers.push(first + word.trailing_zeros());
            word &= word - 1;
        }
    }
}

/// Groups as the bounds leave them.
pub(super) struct Bounded<'a> {
    pub(super) bounds: &'a mut GroupBounds,
    pub(super) table: &'a Table,
    /// To find rows of a group may take as long as there are.
    pub(super) cx: &'a Context,
}

impl Follow for Bounded<'_> {
    fn groups(&self) -> &Groups {
        self.table.groups()
    }

    fn rows(&mut self, row: u32, group: u32) -> Result<Followed<'_>> {
        self.cx.check()?;
        self.bounds.rows(self.table, row, group)
    }
}
