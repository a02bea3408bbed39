//! One worker's groups: rows in pages, and how the rows of a chunk find theirs.
//!
//! Phases of a table:
//! 1. *small*: one lane of pages, a directory that grows with the groups;
//! 2. *partitioned*: page lanes by hash, so that each partition can be merged (and moved out of
//!    memory) on its own; still one directory over all. Where there is memory for more pages that
//!    are not full, a partition has several lanes, few enough rows each for a core's cache;
//! 3. *appending*: when most rows make a group of their own, looking them up is a waste: every row
//!    becomes a group of its own, to be merged later. A sketch counts distinct hashes, and when
//!    the rows are twice as many, the table merges its own.
//!
//! Memory: pages are charged as they come, the directory before it is made.

use std::mem;

use super::directory::{Directory, Entry};
use super::merge::{merge_bytes, merge_lane, ordered_bytes};
use super::plan::Plan;
use super::sketch::Sketch;
use super::spill::by_lane;
use super::stores::Stores;
use crate::batch::{Column, pick};
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::{DEFAULT_PAGE_BYTES, FIRST_PAGE_BYTES, LaneOrder, RowPages, RowRef};

/// Partitions of a partitioned table, as bits of the hash.
pub(super) const LANE_BITS: u32 = 6;
pub(super) const LANES: usize = 1 << LANE_BITS;

/// The most lanes of a partition, as bits of the hash.
const SUB_BITS_MAX: u32 = 3;

/// Upper bits of the hash that do not choose the place in a directory. Rows out of another
/// aggregate come in the order of their hashes: by these bits they would crowd at the start of a
/// directory that grows.
const UPPER_BITS: u32 = 24;

/// Groups of small tables that are numbered for clustering.
pub(super) const NUMBERED_GROUPS: usize = 256;

/// See the module documentation.
pub(super) struct GroupTable {
    pub(super) rows: RowPages,
    pub(super) stores: Stores,
    /// Groups made so far: the next group's number.
    pub(super) groups: usize,
    /// The first groups by number; none once references have changed.
    pub(super) numbered: Vec<RowRef>,
    /// Counts up when references to rows change.
    pub(super) generation: u64,
    directory: Directory,
    /// Set when the table is appending; then the directory is empty.
    sketch: Option<Box<Sketch>>,
    pages: LanePages,
    /// Whether rows may be appended without a look for their group.
    may_append: bool,
    review: Review,
    scratch: Scratch,
    order: LaneOrder,
}

/// What decides on the next phase.
#[derive(Default)]
struct Review {
    /// Rows looked up, and groups there were, at the last look.
    rows_then: usize,
    groups_then: usize,
    rows: usize,
    /// Rows at which an appending table asks its sketch again.
    merge_at: usize,
}

/// Buffers kept from chunk to chunk.
#[derive(Default)]
struct Scratch {
    places: Vec<usize>,
    found: Vec<RowRef>,
    pending: Vec<u32>,
    todo: Vec<u32>,
    candidates: Vec<u32>,
    rejected: Vec<u32>,
    /// New rows of the round, by number, and in the order of their lanes.
    new: Vec<u32>,
    new_places: Vec<usize>,
}

/// The pages of a partitioned table.
#[derive(Debug, Clone, Copy)]
pub(super) struct LanePages {
    /// Bits of the hash that choose the lane: [`LANE_BITS`], or more.
    bits: u32,
    /// The largest pages.
    bytes: usize,
}

impl LanePages {
    /// For a worker whose open pages may take `bytes`, of all lanes together.
    pub(super) fn within(plan: &Plan, bytes: usize) -> Self {
        let least = plan.tuning.sub_page_bytes;
        match (1..=SUB_BITS_MAX).rev().find(|bits| bytes >> (LANE_BITS + bits) >= least) {
            Some(bits) => LanePages { bits: LANE_BITS + bits, bytes: least },
            None => LanePages { bits: LANE_BITS, bytes: DEFAULT_PAGE_BYTES.min(bytes / LANES) },
        }
    }

    /// For rows that go beside those of tables with so many lanes.
    pub(super) fn beside(lanes: usize) -> Self {
        let bits = lanes.max(LANES).ilog2();
        LanePages { bits, bytes: DEFAULT_PAGE_BYTES / LANES }
    }

    fn lanes(self) -> usize {
        1 << self.bits
    }

    /// No rows, by lane.
    fn empty(self, plan: &Plan) -> RowPages {
        RowPages::with_lanes(plan.layout.clone(), self.bytes, self.lanes()).strict()
    }

    /// Bytes of a page that is not full in each of so many lanes.
    fn open_bytes(self, lanes: usize) -> usize {
        lanes * self.bytes.max(FIRST_PAGE_BYTES)
    }
}

impl GroupTable {
    pub(super) fn new(plan: &Plan, pages: LanePages) -> Self {
        GroupTable {
            rows: RowPages::new(plan.layout.clone(), pages.bytes).strict(),
            stores: Stores::new(plan, pages.bytes),
            groups: 0,
            numbered: Vec::new(),
            generation: 0,
            directory: Directory::default(),
            sketch: None,
            pages,
            may_append: plan.customs.is_empty() && !plan.keys.is_empty(),
            review: Review::default(),
            scratch: Scratch::default(),
            order: LaneOrder::default(),
        }
    }

    /// Whether rows become groups without a look whether they have one.
    pub(super) fn is_appending(&self) -> bool {
        self.sketch.is_some()
    }

    /// Makes the one group of an aggregate without keys.
    pub(super) fn only_group(&mut self, plan: &Plan, memory: &mut Reservation) -> Result<RowRef> {
        if let Some(&row) = self.numbered.first() {
            return Ok(row);
        }
        let mut rows = Vec::new();
        self.rows.append_picked(&[], &[1], memory, &mut rows)?;
        self.count_new(plan, &rows, &[0]);
        Ok(rows.first().copied().unwrap_or(RowRef::NONE))
    }

    /// Finds or makes the group of each row: `keys` are the key columns, `positions` the rows in
    /// them and `hashes` their hashes. `refs` gets one group a row.
    pub(super) fn groups_of(
        &mut self,
        plan: &Plan,
        keys: &[&Column],
        positions: &[u32],
        hashes: &[u64],
        memory: &mut Reservation,
        refs: &mut Vec<RowRef>,
    ) -> Result<()> {
        refs.clear();
        if let Some(sketch) = &mut self.sketch {
            hashes.iter().for_each(|&hash| sketch.add(hash));
            return self.append(plan, keys, positions, hashes, memory, refs);
        }
        refs.resize(positions.len(), RowRef::NONE);
        self.make_room(plan, positions.len(), memory)?;
        let picked = pick(keys.iter().copied(), positions);
        let columns: Vec<_> = picked.iter().zip(0..).collect();
        let mut scratch = mem::take(&mut self.scratch);
        scratch.start(&self.directory, hashes);
        self.directory.warm(&scratch.places);
        while !scratch.todo.is_empty() {
            self.probe(&mut scratch, hashes);
            self.store_new(plan, keys, positions, hashes, memory, &mut scratch, refs)?;
            let Scratch { found, candidates, rejected, todo, places, .. } = &mut scratch;
            rejected.clear();
            self.rows.split_equal(&columns, found, true, candidates, rejected)?;
            for &row in candidates.iter() {
                refs[row as usize] = found[row as usize];
            }
            mem::swap(todo, rejected);
            todo.iter().for_each(|&row| places[row as usize] += 1);
        }
        self.scratch = scratch;
        Ok(())
    }

    /// Moves every row to do on to a place that is free, which it takes, or where a row may be
    /// its group.
    fn probe(&mut self, scratch: &mut Scratch, hashes: &[u64]) {
        let directory = &mut self.directory;
        let Scratch { places, found, pending, todo, candidates, new, new_places, .. } = scratch;
        candidates.clear();
        pending.clear();
        new.clear();
        new_places.clear();
        for &row in todo.iter() {
            let at = row as usize;
            let (place, entry) = directory.find(places[at], hashes[at]);
            places[at] = place;
            match entry {
                Entry::Row(known) => {
                    found[at] = known;
                    candidates.push(row);
                }
                Entry::Pending(number) => {
                    found[at] = RowRef::from_bits(number as u64);
                    pending.push(row);
                }
                Entry::Free | Entry::Other => {
                    directory.take(place, hashes[at], new.len());
                    new.push(row);
                    new_places.push(place);
                }
            }
        }
    }

    /// Stores the rows that took a place, and tells those that met them there.
    #[expect(clippy::too_many_arguments, reason = "the parts of one step, split for length")]
    fn store_new(
        &mut self,
        plan: &Plan,
        keys: &[&Column],
        positions: &[u32],
        hashes: &[u64],
        memory: &mut Reservation,
        scratch: &mut Scratch,
        refs: &mut [RowRef],
    ) -> Result<()> {
        if scratch.new.is_empty() {
            return Ok(());
        }
        let new_positions: Vec<u32> =
            scratch.new.iter().map(|&row| positions[row as usize]).collect();
        let new_hashes: Vec<u64> = scratch.new.iter().map(|&row| hashes[row as usize]).collect();
        let mut stored = Vec::with_capacity(new_positions.len());
        self.append(plan, keys, &new_positions, &new_hashes, memory, &mut stored)?;
        let directory = &mut self.directory;
        for (number, &row) in scratch.new.iter().enumerate() {
            refs[row as usize] = stored[number];
            directory.settle(scratch.new_places[number], new_hashes[number], stored[number]);
        }
        for &row in &scratch.pending {
            let number = scratch.found[row as usize].to_bits() as usize;
            scratch.found[row as usize] = stored[number];
        }
        scratch.candidates.append(&mut scratch.pending);
        Ok(())
    }

    /// Makes a group of each row; `refs` gets them in the order of the rows.
    fn append(
        &mut self,
        plan: &Plan,
        keys: &[&Column],
        positions: &[u32],
        hashes: &[u64],
        memory: &mut Reservation,
        refs: &mut Vec<RowRef>,
    ) -> Result<()> {
        if self.rows.lanes() == 1 {
            let picked = pick(keys.iter().copied(), positions);
            self.rows.append_picked(&picked, &[positions.len()], memory, refs)?;
            self.count_new(plan, refs, hashes);
            return Ok(());
        }
        let (lanes, bits) = (self.pages.lanes(), self.pages.bits);
        self.order.sort(lanes, hashes.iter().map(|&hash| lane_of(hash, bits)));
        let by_lane = self.order.pick(positions);
        let picked = pick(keys.iter().copied(), &by_lane);
        let mut stored = Vec::with_capacity(positions.len());
        self.rows.append_picked(&picked, self.order.ends(), memory, &mut stored)?;
        refs.resize(positions.len(), RowRef::NONE);
        for (&row, &stored) in self.order.order().iter().zip(&stored) {
            refs[row as usize] = stored;
        }
        self.count_new(plan, refs, hashes);
        Ok(())
    }

    /// Numbers new groups and notes their hashes.
    fn count_new(&mut self, plan: &Plan, rows: &[RowRef], hashes: &[u64]) {
        self.rows.set_hashes(rows, plan.hash, hashes);
        plan.set_numbers(&mut self.rows, rows, self.groups as u32);
        let numbered = NUMBERED_GROUPS.saturating_sub(self.groups).min(rows.len());
        self.numbered.extend_from_slice(&rows[..numbered]);
        self.groups += rows.len();
    }

    /// Makes the directory large enough for `more` new groups.
    fn make_room(&mut self, plan: &Plan, more: usize, memory: &mut Reservation) -> Result<()> {
        if self.directory.has_room(more) {
            return Ok(());
        }
        let places = Directory::places_for(self.rows.rows() + more);
        memory.grow(Directory::bytes_for(places))?;
        let old = mem::take(&mut self.directory);
        memory.shrink(old.bytes());
        drop(old);
        let mut directory = Directory::new(places, UPPER_BITS);
        for row in self.rows.refs() {
            directory.insert(self.rows.hash(row, plan.hash), row);
        }
        self.directory = directory;
        Ok(())
    }

    /// Goes on to the next phase when it is time; to be called before the groups of a chunk's
    /// rows are looked for, in whatever way. References to rows may change.
    pub(super) fn review(
        &mut self,
        plan: &Plan,
        rows: usize,
        memory: &mut Reservation,
    ) -> Result<()> {
        self.review.rows += rows;
        if self.rows.lanes() == 1 {
            return match self.groups < plan.tuning.partition_groups {
                true => Ok(()),
                false => self.partition(plan, memory),
            };
        }
        match &self.sketch {
            Some(sketch) => {
                if self.rows.rows() < self.review.merge_at {
                    return Ok(());
                }
                let distinct = sketch.estimate();
                if self.rows.rows() >= distinct.saturating_mul(2) {
                    self.merge_own(plan, memory)?;
                }
                self.review.merge_at =
                    plan.tuning.merge_rows_min.max(self.rows.rows() + distinct / 2);
            }
            None => {
                let Review { rows, rows_then, groups_then, .. } = self.review;
                let (rows_since, groups_since) = (rows - rows_then, self.groups - groups_then);
                if groups_since < plan.tuning.review_groups {
                    return Ok(());
                }
                self.review.rows_then = rows;
                self.review.groups_then = self.groups;
                if self.may_append && groups_since > rows_since / 2 {
                    self.stop_looking(plan, memory);
                }
            }
        }
        Ok(())
    }

    /// Distributes the rows over lanes.
    pub(super) fn partition(&mut self, plan: &Plan, memory: &mut Reservation) -> Result<()> {
        let mut lanes = self.pages.empty(plan);
        let mut moved = Vec::new();
        for page in 0..self.rows.pages() {
            let rows: Vec<RowRef> = self.rows.page_refs(page).collect();
            let order = by_lane(plan, &self.rows, &rows, 0, self.pages.bits);
            moved.clear();
            let rows = order.pick(&rows);
            lanes.append_rows_by_lane(&self.rows, &rows, order.ends(), memory, &mut moved)?;
        }
        memory.shrink(self.rows.bytes());
        self.rows = lanes;
        self.references_changed(memory);
        Ok(())
    }

    /// References to rows are no longer valid: the directory is made anew when it is needed.
    fn references_changed(&mut self, memory: &mut Reservation) {
        self.generation += 1;
        self.numbered.clear();
        memory.shrink(mem::take(&mut self.directory).bytes());
    }

    fn stop_looking(&mut self, plan: &Plan, memory: &mut Reservation) {
        let mut sketch = Box::new(Sketch::new());
        for row in self.rows.refs() {
            sketch.add(self.rows.hash(row, plan.hash));
        }
        memory.shrink(mem::take(&mut self.directory).bytes());
        self.sketch = Some(sketch);
        self.review.merge_at = plan.tuning.merge_rows_min.max(2 * self.rows.rows());
    }

    /// Merges rows of the same group, lane by lane.
    fn merge_own(&mut self, plan: &Plan, memory: &mut Reservation) -> Result<()> {
        let full = mem::replace(&mut self.rows, self.pages.empty(plan));
        let mut moved = Vec::new();
        for (lane, mut rows) in full.into_lanes().into_iter().enumerate() {
            memory.grow(merge_bytes(rows.rows()))?;
            let bits = self.pages.bits;
            let live = merge_lane(plan, &mut rows, &self.stores, bits, &mut (), memory)?;
            moved.clear();
            self.rows.append_rows(&rows, &live, lane, memory, &mut moved)?;
            memory.shrink(rows.bytes() + ordered_bytes(&live));
        }
        self.references_changed(memory);
        Ok(())
    }

    /// Takes all groups out, to be written; the table begins anew, with partitions from the start.
    pub(super) fn take_out(&mut self, plan: &Plan, memory: &mut Reservation) -> (RowPages, Stores) {
        self.references_changed(memory);
        let rows = mem::replace(&mut self.rows, self.pages.empty(plan));
        let stores = mem::replace(&mut self.stores, Stores::new(plan, self.pages.bytes));
        self.groups = 0;
        self.review = Review { merge_at: plan.tuning.merge_rows_min, ..Review::default() };
        if let Some(sketch) = &mut self.sketch {
            **sketch = Sketch::new();
        }
        (rows, stores)
    }

    /// Bytes that taking in `rows` rows, of `bytes` bytes in pages, needs at most, and what
    /// [`GroupTable::review`] may need before.
    pub(super) fn needed_bytes(&self, plan: &Plan, rows: usize, bytes: usize) -> usize {
        let lanes = self.rows.lanes();
        // A page can stay a quarter empty, and a new one be opened in every lane.
        let pages = bytes + bytes / 3 + self.pages.open_bytes(lanes.min(rows));
        let directory = match self.is_appending() || self.directory.has_room(rows) {
            true => 0,
            false => Directory::bytes_for(Directory::places_for(self.rows.rows() + rows)),
        };
        let review = match (lanes, self.is_appending()) {
            (1, _) if self.groups + rows < plan.tuning.partition_groups => 0,
            (_, false) if lanes > 1 => 0,
            (_, true) if self.rows.rows() + rows < self.review.merge_at => 0,
            _ => {
                let open = self.pages.open_bytes(self.pages.lanes());
                // All rows may be in one lane.
                self.rows.bytes() + open + merge_bytes(self.rows.rows())
            }
        };
        pages + directory + review
    }

    /// Gives back everything but the rows and what they refer to.
    pub(super) fn into_rows(mut self, memory: &mut Reservation) -> (RowPages, Stores) {
        self.references_changed(memory);
        (self.rows, self.stores)
    }
}

impl Scratch {
    /// All rows to do, each at its own place.
    fn start(&mut self, directory: &Directory, hashes: &[u64]) {
        self.places.clear();
        self.places.extend(hashes.iter().map(|&hash| directory.place(hash)));
        self.found.clear();
        self.found.resize(hashes.len(), RowRef::NONE);
        self.todo.clear();
        self.todo.extend(0..hashes.len() as u32);
    }
}

/// The lane of a hash, by its first `bits`.
pub(super) fn lane_of(hash: u64, bits: u32) -> usize {
    (hash >> (u64::BITS - bits)) as usize
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::operators::hash_aggregate::HashAggregate;

    #[test]
    fn partitions_have_several_lanes_where_there_is_memory_for_their_pages() {
        let field = Field::new("k", DataType::Int64, false);
        let schema = Arc::new(Schema::new(vec![field]));
        let spec = HashAggregate { keys: vec![0], aggregates: vec![], names: vec!["k".into()] };
        let plan = Plan::new(&spec, &schema, schema.clone()).expect("is one");
        for (bytes, lanes, page) in [
            (usize::MAX / 64, LANES * 8, 32 << 10),
            (16 << 20, LANES * 8, 32 << 10),
            ((16 << 20) - 1, LANES * 4, 32 << 10),
            (4 << 20, LANES * 2, 32 << 10),
            ((4 << 20) - 1, LANES, (64 << 10) - 1),
            (1 << 20, LANES, 16 << 10),
        ] {
            let pages = LanePages::within(&plan, bytes);
            assert_eq!((pages.lanes(), pages.bytes), (lanes, page), "{bytes}");
        }
    }
}
