//! How many distinct values groups have, more or less.
//!
//! Values are known by their hashes. Those of a group are listed while they are few, and counted
//! exactly; beyond that the group has registers: by the upper bits of a hash, the most zeros that
//! the others began with (Flajolet et al., 2007), of which the number of distinct values is
//! estimated as Ertl does (New cardinality estimation algorithms for HyperLogLog sketches, 2017).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::counted_rows;
use super::lists::{Lists, each_state};
use crate::batch::{Column, KeyHasher, to_physical};
use crate::error::{Error, Result};
use crate::expr::function::GroupStates;

/// The most hashes that are listed.
const LISTED_MAX: usize = 256;

/// The most hashes that are looked through for each new one, so that none is there twice.
const LOOKED_MAX: usize = 8;

/// Bits of a hash that choose a register.
const INDEX_BITS: u32 = 14;

const REGISTERS: usize = 1 << INDEX_BITS;

/// The words that registers take, a byte each: more than there are of listed hashes.
const REGISTER_WORDS: usize = REGISTERS / size_of::<u64>();

/// The most that is in a register.
const RANK_MAX: usize = (u64::BITS - INDEX_BITS) as usize + 1;

/// See the module documentation.
pub struct DistinctStates {
    returns: DataType,
    lists: Lists,
    hashes: Vec<u64>,
}

impl DistinctStates {
    /// For counts of that type.
    pub fn new(returns: DataType) -> Self {
        DistinctStates { returns, lists: Lists::default(), hashes: Vec::new() }
    }

    fn add(&mut self, group: usize, hash: u64) {
        let len = self.lists.len(group);
        if len == REGISTER_WORDS {
            return raise(self.lists.words_mut(group), hash);
        }
        if len <= LOOKED_MAX {
            let mut one = [0];
            if self.lists.words(group, &mut one).contains(&hash) {
                return;
            }
        } else if self.lists.is_full(group) {
            self.leave_out_equal(group);
            if self.lists.len(group) == REGISTER_WORDS {
                return raise(self.lists.words_mut(group), hash);
            }
        }
        self.lists.push(group, hash);
    }

    /// Leaves out what is listed twice, and goes on to registers where what is left is too much.
    fn leave_out_equal(&mut self, group: usize) {
        let mut hashes = self.lists.words_mut(group).to_vec();
        hashes.sort_unstable();
        hashes.dedup();
        match hashes.len() > LISTED_MAX {
            true => self.lists.set(group, &registers_of(&hashes), 0),
            // Room for as many again, so that this is not for every value.
            false => self.lists.set(group, &hashes, hashes.len() + hashes.len() / 2),
        }
    }

    /// Adds what another state of the group had.
    fn merge_one(&mut self, group: usize, words: &[u64]) {
        if words.len() != REGISTER_WORDS {
            words.iter().for_each(|&hash| self.add(group, hash));
            return;
        }
        if self.lists.len(group) == REGISTER_WORDS {
            let own = self.lists.words_mut(group);
            own.iter_mut().zip(words).for_each(|(own, other)| *own = greater_bytes(*own, *other));
            return;
        }
        let mut one = [0];
        let listed = self.lists.words(group, &mut one).to_vec();
        self.lists.set(group, words, 0);
        listed.into_iter().for_each(|hash| raise(self.lists.words_mut(group), hash));
    }

    fn count(&self, group: usize, scratch: &mut Vec<u64>) -> i64 {
        let mut one = [0];
        let words = self.lists.words(group, &mut one);
        match words.len() {
            REGISTER_WORDS => estimate(words),
            few @ 0..=LOOKED_MAX => few as i64,
            _ => {
                scratch.clear();
                scratch.extend_from_slice(words);
                scratch.sort_unstable();
                scratch.dedup();
                scratch.len() as i64
            }
        }
    }
}

impl GroupStates for DistinctStates {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.lists.reach(group_count);
        let [values] = args else { return Err(Error::internal("one argument")) };
        let mut hashes = std::mem::take(&mut self.hashes);
        let column = Column::flat(values.data_type().clone(), to_physical(values)?);
        let rows: Vec<u32> = (0..values.len() as u32).collect();
        KeyHasher::new().hash(&[&column], &rows, &mut hashes)?;
        let counted = counted_rows(args, filter);
        for (row, (&group, &hash)) in groups.iter().zip(&hashes).enumerate() {
            if counted.as_ref().is_none_or(|counted| counted.value(row)) {
                self.add(group as usize, hash);
            }
        }
        self.hashes = hashes;
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], group_count: usize) -> Result<()> {
        self.lists.reach(group_count);
        each_state(states, groups, |group, words| self.merge_one(group, words))
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.lists.take_column()?])
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        let mut scratch = Vec::new();
        let groups = 0..self.lists.groups();
        let counts = Int64Array::from_iter_values(groups.map(|g| self.count(g, &mut scratch)));
        self.lists = Lists::default();
        Ok(cast(&(Arc::new(counts) as ArrayRef), &self.returns)?)
    }

    fn size_bytes(&self) -> usize {
        self.lists.bytes() + self.hashes.capacity() * size_of::<u64>()
    }
}

/// The registers of these hashes.
fn registers_of(hashes: &[u64]) -> Vec<u64> {
    let mut registers = vec![0; REGISTER_WORDS];
    hashes.iter().for_each(|&hash| raise(&mut registers, hash));
    registers
}

/// Notes a hash in the registers.
fn raise(registers: &mut [u64], hash: u64) {
    let index = (hash >> (u64::BITS - INDEX_BITS)) as usize;
    // A bit behind the last one ends the zeros.
    let rest = hash << INDEX_BITS | 1 << (INDEX_BITS - 1);
    let rank = u64::from(rest.leading_zeros() + 1);
    let (word, shift) = (&mut registers[index / 8], index % 8 * 8);
    if rank > *word >> shift & 0xff {
        *word = *word & !(0xff << shift) | rank << shift;
    }
}

/// The greater of each two bytes.
fn greater_bytes(a: u64, b: u64) -> u64 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    u64::from_le_bytes(std::array::from_fn(|at| a[at].max(b[at])))
}

/// How many distinct values the registers have seen.
fn estimate(registers: &[u64]) -> i64 {
    let mut counts = [0_u32; RANK_MAX + 1];
    for word in registers {
        word.to_le_bytes().iter().for_each(|&rank| counts[usize::from(rank).min(RANK_MAX)] += 1);
    }
    let all = REGISTERS as f64;
    let part = |count: u32| f64::from(count) / all;
    let middle = &counts[1..RANK_MAX];
    let sum = middle.iter().rev().fold(all * full(1.0 - part(counts[RANK_MAX])), |sum, &count| {
        (sum + f64::from(count)) / 2.0
    });
    let sum = sum + all * empty(part(counts[0]));
    (all * all / (2.0 * std::f64::consts::LN_2 * sum)).round() as i64
}

/// What registers that are empty, this part of all, add to the sum: `x + Σ x^(2^k) 2^(k-1)`.
fn empty(part: f64) -> f64 {
    let (mut sum, mut power, mut weight) = (part, part, 1.0);
    if part >= 1.0 {
        return f64::INFINITY;
    }
    loop {
        power *= power;
        let next = sum + power * weight;
        if next == sum {
            return sum;
        }
        (sum, weight) = (next, weight * 2.0);
    }
}

/// What those add that are as high as can be, where this part of all is not:
/// `(1 - x - Σ (1 - x^(2^-k))² 2^-k) / 3`.
fn full(part: f64) -> f64 {
    let (mut sum, mut root, mut weight) = (1.0 - part, part, 1.0);
    if part <= 0.0 || part >= 1.0 {
        return 0.0;
    }
    loop {
        root = f64::sqrt(root);
        weight /= 2.0;
        let next = sum - (1.0 - root) * (1.0 - root) * weight;
        if next == sum {
            return sum / 3.0;
        }
        sum = next;
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;

    /// The counts after values `0..n` of each group, each of them twice, in two states.
    fn counts(distinct: &[i64]) -> Vec<i64> {
        let mut states = [0, 1].map(|_| DistinctStates::new(DataType::Int64));
        for (group, &n) in distinct.iter().enumerate() {
            for start in (0..n).step_by(1000) {
                let values: Vec<i64> = (start..n.min(start + 1000)).flat_map(|v| [v, v]).collect();
                let groups = vec![group as u32; values.len()];
                let state = &mut states[(start / 1000 % 2) as usize];
                let values: ArrayRef = Arc::new(Int64Array::from(values));
                state.update(&[values], &groups, None, distinct.len()).expect("adds");
            }
        }
        let [mut own, mut other] = states;
        let others = other.update(&[Arc::new(Int64Array::from(vec![0; 0]))], &[], None, 0);
        others.expect("nothing");
        let groups: Vec<u32> = (0..other.lists.groups() as u32).collect();
        own.merge(&other.state().expect("has"), &groups, distinct.len()).expect("merges");
        let counts = own.evaluate().expect("counts");
        counts.as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn few_values_are_counted_and_many_estimated() {
        let distinct = [0, 1, 2, 8, 9, 200, 256, 700, 5_000, 60_000, 400_000];
        for (&n, count) in distinct.iter().zip(counts(&distinct)) {
            let off = (count - n).abs() as f64;
            let most = if n <= LISTED_MAX as i64 { 0.0 } else { 0.03 * n as f64 };
            assert!(off <= most, "{count} for {n}");
        }
    }

    #[test]
    fn a_group_of_few_values_has_only_them_however_often() {
        let mut states = DistinctStates::new(DataType::Int64);
        let rows = 1 << 18;
        for round in 0..10 {
            let values: ArrayRef = Arc::new(BooleanArray::from_iter(
                (0..8192).map(|row| Some((row + round) % 3 == 0)),
            ));
            for first in (0..rows).step_by(8192) {
                let groups: Vec<u32> = (first..first + 8192).collect();
                let values = std::slice::from_ref(&values);
                states.update(values, &groups, None, rows as usize).expect("adds");
            }
        }
        let bytes = states.size_bytes() / rows as usize;
        assert!(bytes <= 48, "{bytes} bytes a group");
        let column = states.state().expect("has");
        let bytes = column[0].get_array_memory_size() / rows as usize;
        assert!(bytes <= 48, "{bytes} bytes a group");
    }
}
