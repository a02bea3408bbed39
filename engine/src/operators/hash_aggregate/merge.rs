//! Merges the rows of one lane: the first row of each group takes in the states of the others, in
//! place.
//!
//! The rows are brought into the order of their hashes: by some bits of them into buckets of a few
//! rows, each of which is sorted. The rows of a group are side by side then, and groups are in the
//! order in which they come out. That takes less time than to look for the group of each row in a
//! directory and then for the order of all groups: hashes are read in the order in which they are
//! in memory, and a row is looked at again only where another one has its hash.

use super::fold::merge_state;
use super::plan::{Fold, Plan};
use super::stores::Stores;
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::{RowOrder, RowPages, RowRef, compare_rows};

/// Rows of a bucket, on average.
const BUCKET_ROWS: usize = 8;

/// Rows that are sorted by insertion.
const SHORT_ROWS: usize = 32;

/// Rows whose groups are found together, and a few more where they have one hash.
const BLOCK_ROWS: usize = 2048;

/// What else has to be done as a lane is merged.
pub(super) trait Visitor {
    /// Called before the pages of a part of a lane.
    fn part(&mut self, part: usize) {
        let _ = part;
    }

    /// Called with the rows of a page before they are looked at.
    fn page(&mut self, rows: &mut RowPages, page: usize, members: &[RowRef]) -> Result<()>;

    /// Called when it is known into which row each of some rows goes: itself, or one of the same
    /// rows that came before it. They are in the order of hashes.
    fn merged(&mut self, rows: &mut RowPages, members: &[RowRef], into: &[RowRef]) -> Result<()>;
}

impl Visitor for () {
    fn page(&mut self, _: &mut RowPages, _: usize, _: &[RowRef]) -> Result<()> {
        Ok(())
    }

    fn merged(&mut self, _: &mut RowPages, _: &[RowRef], _: &[RowRef]) -> Result<()> {
        Ok(())
    }
}

/// Bytes that the list of a lane's groups is charged with.
pub(super) fn ordered_bytes(groups: &[RowRef]) -> usize {
    size_of_val(groups)
}

/// Bytes that merging so many rows takes: the rows with their hashes, where buckets end, and the
/// list of groups.
pub(super) fn merge_bytes(rows: usize) -> usize {
    rows * size_of::<(Hashed, RowRef)>() + (size_of::<usize>() << bucket_bits(rows))
}

/// Merges the rows of a lane whose hashes share the upper `skip` bits; [`merge_bytes`] of them have
/// been charged to `memory`. The answer is one row per group, in the order of hashes (then keys),
/// which stays charged; the other rows are of no use any more.
///
/// # Errors
/// An overflowing sum, or what the visitor says.
pub(super) fn merge_lane(
    plan: &Plan,
    rows: &mut RowPages,
    stores: &Stores,
    skip: u32,
    visitor: &mut dyn Visitor,
    memory: &mut Reservation,
) -> Result<Vec<RowRef>> {
    let ordered = merge_rows(plan, rows, stores, skip, visitor)?;
    memory.shrink(merge_bytes(rows.rows()) - ordered_bytes(&ordered));
    Ok(ordered)
}

/// Merges rows whose hashes share the upper `skip` bits. The answer is one row per group, in the
/// order of hashes (then keys); the other rows are of no use any more.
///
/// # Errors
/// An overflowing sum, or what the visitor says.
pub(super) fn merge_rows(
    plan: &Plan,
    rows: &mut RowPages,
    stores: &Stores,
    skip: u32,
    visitor: &mut dyn Visitor,
) -> Result<Vec<RowRef>> {
    for page in 0..rows.pages() {
        let members: Vec<RowRef> = rows.page_refs(page).collect();
        visitor.page(rows, page, &members)?;
    }
    let sorted = by_hash(plan, rows, skip);
    let mut groups = Vec::with_capacity(sorted.len());
    let (mut block, mut start) = (Block::new(plan), 0);
    while start < sorted.len() {
        let mut end = sorted.len().min(start + BLOCK_ROWS);
        while end < sorted.len() && sorted[end].hash == sorted[end - 1].hash {
            end += 1;
        }
        block.find(rows, &sorted[start..end]);
        start = end;
        visitor.merged(rows, &block.members, &block.into)?;
        block.merge(plan, rows, stores)?;
        block.list(plan, rows, &mut groups);
    }
    drop(sorted);
    groups.shrink_to_fit();
    Ok(groups)
}

/// A row and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hashed {
    hash: u64,
    row: RowRef,
}

/// Bits of the hash that choose the bucket of so many rows.
fn bucket_bits(rows: usize) -> u32 {
    (rows / BUCKET_ROWS).max(1).ilog2()
}

/// All rows in the order of their hashes, which share the upper `skip` bits; those of one hash in
/// the order of the rows.
fn by_hash(plan: &Plan, rows: &RowPages, skip: u32) -> Vec<Hashed> {
    let bits = bucket_bits(rows.rows());
    let bucket = |hash: u64| ((hash << skip) >> 1 >> (u64::BITS - 1 - bits)) as usize;
    let mut ends = vec![0usize; 1 << bits];
    for row in rows.refs() {
        ends[bucket(rows.hash(row, plan.hash))] += 1;
    }
    let mut start = 0;
    // From counts to where each bucket begins; placing the rows moves them to its end.
    for count in &mut ends {
        start += std::mem::replace(count, start);
    }
    let mut sorted = vec![Hashed { hash: 0, row: RowRef::NONE }; rows.rows()];
    for row in rows.refs() {
        let hash = rows.hash(row, plan.hash);
        let place = &mut ends[bucket(hash)];
        sorted[*place] = Hashed { hash, row };
        *place += 1;
    }
    let mut start = 0;
    for end in ends {
        sort_bucket(&mut sorted[start..end]);
        start = end;
    }
    sorted
}

/// Sorts rows of which those of one hash are in their order.
fn sort_bucket(bucket: &mut [Hashed]) {
    if bucket.len() > SHORT_ROWS {
        return bucket.sort_unstable();
    }
    for end in 1..bucket.len() {
        let mut at = end;
        while at > 0 && bucket[at].hash < bucket[at - 1].hash {
            bucket.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// Rows in the order of their hashes, all of each hash.
struct Block {
    members: Vec<RowRef>,
    /// The row into which each member goes.
    into: Vec<RowRef>,
    keys: Vec<usize>,
    /// Whether rows of one hash have different keys.
    collides: bool,
    candidates: Vec<u32>,
    todo: Vec<u32>,
    rejected: Vec<u32>,
    pairs: Vec<(RowRef, RowRef)>,
}

impl Block {
    fn new(plan: &Plan) -> Self {
        Block {
            members: Vec::with_capacity(BLOCK_ROWS),
            into: Vec::with_capacity(BLOCK_ROWS),
            keys: (0..plan.keys.len()).collect(),
            collides: false,
            candidates: Vec::new(),
            todo: Vec::new(),
            rejected: Vec::new(),
            pairs: Vec::new(),
        }
    }

    /// Takes rows, and finds the row into which each of them goes: the first of its group.
    fn find(&mut self, rows: &RowPages, sorted: &[Hashed]) {
        let Block { members, into, keys, candidates, todo, rejected, .. } = self;
        members.clear();
        members.extend(sorted.iter().map(|hashed| hashed.row));
        into.clear();
        into.extend_from_slice(members);
        todo.clear();
        todo.extend(0..members.len() as u32);
        self.collides = false;
        loop {
            candidates.clear();
            let mut known: Option<Hashed> = None;
            for &number in todo.iter() {
                let hashed = sorted[number as usize];
                match known {
                    Some(first) if first.hash == hashed.hash => {
                        into[number as usize] = first.row;
                        candidates.push(number);
                    }
                    _ => {
                        into[number as usize] = hashed.row;
                        known = Some(hashed);
                    }
                }
            }
            rejected.clear();
            rows.split_equal_rows(keys, members, into, candidates, rejected);
            if rejected.is_empty() {
                return;
            }
            self.collides = true;
            // They come by key.
            rejected.sort_unstable();
            std::mem::swap(todo, rejected);
        }
    }

    /// Merges the states of the rows.
    fn merge(&mut self, plan: &Plan, rows: &mut RowPages, stores: &Stores) -> Result<()> {
        let Block { members, into, pairs, .. } = self;
        pairs.clear();
        let all = members.iter().copied().zip(into.iter().copied());
        pairs.extend(all.filter(|(from, to)| from != to));
        if pairs.is_empty() {
            return Ok(());
        }
        for state in &plan.states {
            match state.fold {
                Fold::Stored { .. } => stores.merge(rows, state, pairs),
                _ => merge_state(rows, state, pairs)?,
            }
        }
        Ok(())
    }

    /// Adds the groups in their order.
    fn list(&self, plan: &Plan, rows: &RowPages, groups: &mut Vec<RowRef>) {
        let before = groups.len();
        let own = self.members.iter().zip(&self.into).filter(|(row, into)| row == into);
        groups.extend(own.map(|(&row, _)| row));
        if self.collides {
            let by_key = |&column: &usize| RowOrder {
                column,
                descending: false,
                nulls_first: false,
                nullable: true,
            };
            let by_key: Vec<RowOrder> = self.keys.iter().map(by_key).collect();
            let hash = |row: RowRef| rows.hash(row, plan.hash);
            groups[before..].sort_unstable_by(|&a, &b| {
                let tie = || compare_rows(rows.layout(), &by_key, rows.at(a), rows.at(b));
                hash(a).cmp(&hash(b)).then_with(tie)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::batch::Column;
    use crate::memory::Governor;
    use crate::operators::hash_aggregate::HashAggregate;

    #[test]
    fn groups_come_in_the_order_of_hashes_then_keys_and_are_the_first_of_their_rows() {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
        let spec = HashAggregate { keys: vec![0], aggregates: vec![], names: vec!["k".into()] };
        let plan = Plan::new(&spec, &schema, schema.clone()).expect("is one");
        let mut memory = Governor::unlimited().reserve("rows", 0).expect("opens");
        // Keys by tens have one hash, and all of some buckets have the same upper bits.
        let hash_of = |key: i64| match key / 10 % 3 {
            0 => (u64::MAX - key as u64 / 10) << 8,
            1 => (key as u64 / 10) << 10,
            _ => (key as u64 / 10).wrapping_mul(0x9e37_79b9_7f4a_7c15) & !0xff,
        };
        for (count, distinct) in [(0, 1), (5, 1), (5000, 1), (9000, 3000), (3000, 100_000)] {
            let keys = (0..count).map(|row: i64| row * 7919 % distinct);
            let keys: Vec<Option<i64>> = keys.map(|key| (key != 25).then_some(key)).collect();
            let hashes: Vec<u64> = keys.iter().map(|key| hash_of(key.unwrap_or(25))).collect();
            let values = Arc::new(Int64Array::from(keys.clone()));
            let column = Column::flat(DataType::Int64, values);
            let mut rows = RowPages::new(plan.layout.clone(), 0);
            let (all, mut refs): (Vec<u32>, Vec<RowRef>) = ((0..count as u32).collect(), vec![]);
            rows.append(&[&column], &all, &mut memory, &mut refs).expect("stores");
            rows.set_hashes(&refs, plan.hash, &hashes);
            let mut expected: Vec<(u64, bool, Option<i64>, RowRef)> = Vec::new();
            let mut known = std::collections::HashSet::new();
            for ((&key, &row), &hash) in keys.iter().zip(&refs).zip(&hashes) {
                if known.insert(key) {
                    expected.push((hash, key.is_none(), key, row));
                }
            }
            expected.sort_unstable();
            let stores = Stores::new(&plan, 0);
            let groups = merge_rows(&plan, &mut rows, &stores, 0, &mut ()).expect("merges");
            let expected: Vec<RowRef> = expected.iter().map(|group| group.3).collect();
            assert!(groups == expected, "{count} rows, {distinct} keys");
        }
    }
}
