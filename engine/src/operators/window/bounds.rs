//! Which rows the frame of each row has.
//!
//! Offsets are constant, so both ends of a frame only move forwards from row to row. Each end is
//! an [`Edge`] that reads ahead of the row as far as it has to and no further: an edge that needs
//! rows which have not come yet says so, and is asked again when they have.
//!
//! Invariant 1: within a partition, starts and ends do not decrease; all are within the partition.

use super::lane::{Lane, Values, marks};
use super::range::RangeEdge;
use super::store::Store;
use crate::error::Result;
use crate::expr::Over;

/// The frames of one window, for the rows of a block.
pub(super) struct Bounds {
    over: Over,
    start: Edge,
    end: Edge,
    end_of_partition: PartitionEnd,
    at: At,
    /// The row after `at`.
    next: u64,
    starts: Vec<u64>,
    ends: Vec<u64>,
}

/// A row and what it is among.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct At {
    pub(super) row: u64,
    /// The first row of its partition.
    pub(super) partition: u64,
    /// The number of its group of peers in the partition.
    pub(super) group: i64,
    /// Whether it is the first of its peers.
    pub(super) is_first_peer: bool,
}

/// One end of a frame, as the position of the first row of it, or behind it.
pub(super) enum Edge {
    /// The begin of the partition.
    PartitionStart,
    /// The end of the partition.
    PartitionEnd,
    /// So many rows behind the row.
    Rows(i64),
    /// The begin of the group so many groups behind that of the row.
    Groups(Box<GroupEdge>),
    /// Where a key is reached or passed.
    Range(Box<dyn RangeEdge>),
}

impl Bounds {
    pub(super) fn new(over: Over, change_column: usize, start: Edge, end: Edge) -> Self {
        Bounds {
            over,
            start,
            end,
            end_of_partition: PartitionEnd::new(over.partition, change_column),
            at: At::default(),
            next: 0,
            starts: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Finds the frames of the rows from `first` on, whose marks these are. False when rows are
    /// missing: to be asked again when more have come.
    ///
    /// # Errors
    /// What reading the store reports.
    pub(super) fn find(&mut self, first: u64, marks: &[u16], store: &mut Store) -> Result<bool> {
        while let Some(&mark) = marks.get(self.starts.len()) {
            let row = first + self.starts.len() as u64;
            if row >= self.next {
                self.enter(row, mark);
            }
            let last = self.starts.last().copied().zip(self.ends.last().copied());
            let ahead = &mut self.end_of_partition;
            let Some(start) = self.start.find(&self.at, last.map(|l| l.0), ahead, store)? else {
                return Ok(false);
            };
            let Some(end) = self.end.find(&self.at, last.map(|l| l.1), ahead, store)? else {
                return Ok(false);
            };
            self.starts.push(start);
            self.ends.push(end);
        }
        Ok(true)
    }

    fn enter(&mut self, row: u64, mark: u16) {
        let mark = usize::from(mark);
        self.at.row = row;
        self.at.is_first_peer = mark <= self.over.order;
        if mark <= self.over.partition {
            self.at.partition = row;
            self.at.group = 0;
        } else if self.at.is_first_peer {
            self.at.group += 1;
        }
        self.next = row + 1;
    }

    /// The first rows of the frames found.
    pub(super) fn starts(&self) -> &[u64] {
        &self.starts
    }

    /// The rows behind the last rows of the frames found; those of an empty frame may be before its
    /// start.
    pub(super) fn ends(&self) -> &[u64] {
        &self.ends
    }

    /// Forgets the frames found, whose rows are done.
    pub(super) fn forget(&mut self) {
        self.starts.clear();
        self.ends.clear();
    }

    /// The first position that is read again.
    pub(super) fn keeps(&self) -> u64 {
        let end_of_partition = self.end_of_partition.at.max(self.next);
        self.start.keeps().min(self.end.keeps()).min(end_of_partition)
    }
}

impl Edge {
    /// `last` is what was found for the row before, if that is in the same block.
    fn find(
        &mut self,
        at: &At,
        last: Option<u64>,
        ahead: &mut PartitionEnd,
        store: &mut Store,
    ) -> Result<Option<u64>> {
        match self {
            Edge::PartitionStart => Ok(Some(at.partition)),
            Edge::PartitionEnd => ahead.end(at.row, store),
            Edge::Rows(offset) => {
                let target = at.row.saturating_add_signed(*offset);
                if *offset <= 1 {
                    return Ok(Some(target.max(at.partition)));
                }
                ahead.reach(at.row, target, store)
            }
            // Peers have the same frames.
            Edge::Groups(_) | Edge::Range(_) if !at.is_first_peer && last.is_some() => Ok(last),
            Edge::Groups(edge) => edge.find(at, store),
            Edge::Range(edge) => edge.find(at, store),
        }
    }

    fn keeps(&self) -> u64 {
        match self {
            Edge::Groups(edge) => edge.partition.map_or(u64::MAX, |_| edge.scanned),
            Edge::Range(edge) => edge.keeps(),
            _ => u64::MAX,
        }
    }
}

/// Looks for the end of the partition that a row is in.
struct PartitionEnd {
    keys: usize,
    marks: Lane<u16>,
    /// Rows behind the row that was asked for last and before this one are in its partition.
    at: u64,
    /// Whether the partition ends at `at`.
    found: bool,
}

impl PartitionEnd {
    fn new(keys: usize, change_column: usize) -> Self {
        PartitionEnd { keys, marks: Lane::new(change_column, None, marks()), at: 0, found: false }
    }

    /// The end of the partition of `row`, or `target` if that is not behind it. `None` when rows
    /// are missing.
    fn reach(&mut self, row: u64, target: u64, store: &mut Store) -> Result<Option<u64>> {
        if self.at <= row {
            self.at = row + 1;
            self.found = false;
        }
        while !self.found && self.at < target {
            if self.at >= store.end() {
                if !store.is_complete() {
                    return Ok(None);
                }
                self.found = true;
            } else if begins(&mut self.marks, self.keys, self.at, store)? {
                self.found = true;
            } else {
                self.at += 1;
            }
        }
        Ok(Some(target.min(self.at)))
    }

    fn end(&mut self, row: u64, store: &mut Store) -> Result<Option<u64>> {
        self.reach(row, u64::MAX, store)
    }
}

/// Whether the row at `position` begins a group by so many keys.
fn begins(marks: &mut Lane<u16>, keys: usize, position: u64, store: &mut Store) -> Result<bool> {
    let mark = marks.get(store, position)?;
    Ok(mark.is_some_and(|mark| usize::from(mark) <= keys))
}

/// The begin of a group of peers.
pub(super) struct GroupEdge {
    over: Over,
    /// Groups from that of the row to the one that is looked for.
    offset: i64,
    marks: Lane<u16>,
    partition: Option<u64>,
    /// A group, and where it begins: at the end of the partition when there is no such group.
    group: i64,
    start: u64,
    /// Rows from `start` to here are in the group.
    scanned: u64,
    is_last: bool,
}

impl GroupEdge {
    pub(super) fn new(over: Over, change_column: usize, offset: i64) -> Self {
        GroupEdge {
            over,
            offset,
            marks: Lane::new(change_column, None, marks()),
            partition: None,
            group: 0,
            start: 0,
            scanned: 0,
            is_last: false,
        }
    }

    fn find(&mut self, at: &At, store: &mut Store) -> Result<Option<u64>> {
        if self.partition != Some(at.partition) {
            self.partition = Some(at.partition);
            (self.group, self.is_last) = (0, false);
            self.start = at.partition;
            self.scanned = at.partition + 1;
        }
        let wanted = at.group.saturating_add(self.offset);
        while self.group < wanted && !self.is_last {
            if self.scanned >= store.end() {
                if !store.is_complete() {
                    return Ok(None);
                }
                (self.start, self.is_last) = (self.scanned, true);
                break;
            }
            let mark = self.marks.get(store, self.scanned)?.map_or(usize::MAX, usize::from);
            if mark <= self.over.partition {
                (self.start, self.is_last) = (self.scanned, true);
                break;
            }
            if mark <= self.over.order {
                self.group += 1;
                self.start = self.scanned;
            }
            self.scanned += 1;
        }
        Ok(Some(self.start))
    }
}

/// Looks for the first row of a partition for which something holds that then holds to its end.
pub(super) struct PartitionScan {
    keys: usize,
    marks: Lane<u16>,
    partition: Option<u64>,
    at: u64,
}

impl PartitionScan {
    pub(super) fn new(keys: usize, change_column: usize) -> Self {
        let marks = Lane::new(change_column, None, marks());
        PartitionScan { keys, marks, partition: None, at: 0 }
    }

    /// The first position that is read again.
    pub(super) fn keeps(&self) -> u64 {
        self.partition.map_or(u64::MAX, |_| self.at)
    }

    /// Goes on to the first row of `partition`, from where it is, for which `holds`, or to its end;
    /// `None` when rows are missing.
    pub(super) fn find(
        &mut self,
        partition: u64,
        store: &mut Store,
        mut holds: impl FnMut(u64, &mut Store) -> Result<bool>,
    ) -> Result<Option<u64>> {
        if self.partition != Some(partition) {
            self.partition = Some(partition);
            self.at = partition;
        }
        loop {
            if self.at >= store.end() {
                return Ok(store.is_complete().then_some(self.at));
            }
            if self.at > partition && begins(&mut self.marks, self.keys, self.at, store)? {
                return Ok(Some(self.at));
            }
            if holds(self.at, store)? {
                return Ok(Some(self.at));
            }
            self.at += 1;
        }
    }
}
