//! Percentiles of groups, more or less.
//!
//! A group of few values has them all, and its percentiles are between them. Beyond that it has a
//! digest (Dunning and Ertl, Computing extremely accurate quantiles using t-digests, 2019): means
//! of values that are close to each other, with their weights, and behind them the values that have
//! come since; when there is no more room for these, they go into the means. A group of many values
//! has more means and more room: what is lost is little each time, but adds up.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::counted_rows;
use super::digest::{Gathered, HEAD, MARK, greater, lesser, percentile_of, words_of_digest};
use super::lists::{Lists, each_state};
use crate::error::{Error, Result};
use crate::expr::function::GroupStates;

/// The most values that a group has as they are.
const VALUES_MAX: usize = 256;

/// Values from which on a group has many, and the words that it then has room for.
const MANY: usize = 8192;

/// How many times the means that were asked for groups of few values have, and those of many.
const TIMES: (usize, usize) = (2, 5);

/// The most means that a digest can be asked to have.
const MEANS_MAX: usize = 1 << 16;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Quantiles {
    /// The function's name.
    pub name: String,
    /// From 0 to 1.
    pub percentile: f64,
    /// Means of a digest.
    pub means: usize,
    /// A type of doubles.
    pub returns: DataType,
}

/// See the module documentation.
pub struct QuantileStates {
    wanted: Quantiles,
    lists: Lists,
}

impl QuantileStates {
    /// Without values.
    pub fn new(wanted: Quantiles) -> Self {
        let means = wanted.means.clamp(1, MEANS_MAX);
        QuantileStates { wanted: Quantiles { means, ..wanted }, lists: Lists::default() }
    }

    /// Adds a value.
    fn add(&mut self, group: usize, value: f64) {
        let len = self.lists.len(group);
        if len < VALUES_MAX {
            return self.lists.push(group, value.to_bits());
        }
        let is_digest = self.lists.words_mut(group)[0] == MARK;
        if is_digest && !self.lists.is_full(group) {
            return self.lists.push(group, value.to_bits());
        }
        let mut all = Gathered::default();
        all.take(self.lists.words_mut(group));
        self.set_compressed(group, all);
        self.lists.push(group, value.to_bits());
    }

    /// Adds a value that counts more or less than one, to a digest without values.
    fn add_weighted(&mut self, group: usize, value: f64, weight: f64) {
        let pair = [value, weight].map(f64::to_bits);
        if self.lists.len(group) == 0 {
            let words = [MARK, pair[0], pair[0], 1, pair[0], pair[1]];
            return self.lists.set(group, &words, 0);
        }
        if self.lists.is_full(group) && self.lists.len(group) >= self.digest_words() {
            let mut all = Gathered::default();
            all.take(self.lists.words_mut(group));
            self.set_compressed(group, all);
        }
        let words = self.lists.words_mut(group);
        words[1] = lesser(f64::from_bits(words[1]), value).to_bits();
        words[2] = greater(f64::from_bits(words[2]), value).to_bits();
        words[3] += 1;
        pair.into_iter().for_each(|word| self.lists.push(group, word));
    }

    /// Words that digests may have whatever they hold.
    fn digest_words(&self) -> usize {
        (2 * (HEAD + 2 * TIMES.0 * self.wanted.means)).next_power_of_two()
    }

    /// Makes a compressed digest the group's.
    fn set_compressed(&mut self, group: usize, all: Gathered) {
        let total = all.count();
        let is_many = total >= MANY as f64;
        let times = if is_many { TIMES.1 } else { TIMES.0 };
        let words = words_of_digest(all, times * self.wanted.means);
        let room = if is_many { MANY } else { self.digest_words() };
        self.lists.set(group, &words, room.max(2 * words.len()));
    }

    fn merge_one(&mut self, group: usize, words: &[u64]) {
        if self.lists.len(group) == 0 {
            return self.lists.set(group, words, 0);
        }
        if words.first() != Some(&MARK) {
            return words.iter().for_each(|&bits| self.add(group, f64::from_bits(bits)));
        }
        let (mut all, mut one) = (Gathered::default(), [0]);
        all.take(self.lists.words(group, &mut one));
        all.take(words);
        self.set_compressed(group, all);
    }

    /// The percentile of a group; none without values.
    fn percentile(&self, group: usize) -> Option<f64> {
        let (mut all, mut one) = (Gathered::default(), [0]);
        all.take(self.lists.words(group, &mut one));
        percentile_of(all, self.wanted.percentile)
    }

    fn update_weighted(
        &mut self,
        values: &Float64Array,
        weights: &ArrayRef,
        groups: &[u32],
        is_counted: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let weights = cast(weights, &DataType::Float64)?;
        let weights = weights.as_primitive::<Float64Type>();
        let pairs = values.values().iter().zip(weights.values());
        for (row, (&group, (&value, &weight))) in groups.iter().zip(pairs).enumerate() {
            if !is_counted(row) || weight == 0.0 {
                continue;
            }
            if !(weight.is_finite() && weight > 0.0) {
                let name = &self.wanted.name;
                return Err(Error::input(format!("{name} takes weights from 0 on, not {weight}")));
            }
            self.add_weighted(group as usize, plain(value), weight);
        }
        Ok(())
    }
}

impl GroupStates for QuantileStates {
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.lists.reach(group_count);
        let counted = counted_rows(args, filter);
        let is_counted = |row: usize| counted.as_ref().is_none_or(|counted| counted.value(row));
        let Some(values) = args.first() else { return Err(Error::internal("no argument")) };
        let values = cast(values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        if let Some(weights) = args.get(1) {
            return self.update_weighted(values, weights, groups, is_counted);
        }
        for (row, (&group, &value)) in groups.iter().zip(values.values()).enumerate() {
            if is_counted(row) {
                self.add(group as usize, plain(value));
            }
        }
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
        let groups = 0..self.lists.groups();
        let results: Float64Array = groups.map(|group| self.percentile(group)).collect();
        self.lists = Lists::default();
        Ok(cast(&(Arc::new(results) as ArrayRef), &self.wanted.returns)?)
    }

    fn size_bytes(&self) -> usize {
        self.lists.bytes()
    }
}

/// The value, of which there is but one that is no number.
fn plain(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Float32Type;

    use super::*;

    fn states(percentile: f64) -> QuantileStates {
        let (name, returns) = ("approx_percentile_cont".to_string(), DataType::Float64);
        QuantileStates::new(Quantiles { name, percentile, means: 100, returns })
    }

    fn doubles(values: impl IntoIterator<Item = f64>) -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(values))
    }

    fn results(states: &mut QuantileStates) -> Vec<Option<f64>> {
        let results = states.evaluate().expect("has");
        results.as_primitive::<Float64Type>().iter().collect()
    }

    #[test]
    fn percentiles_of_few_values_are_between_them() {
        let nan = f64::NAN;
        for (values, part, expected) in [
            (vec![1.0, 2.0, 3.0], 0.5, Some(2.0)),
            (vec![2.0, 1.0], 0.5, Some(1.5)),
            (vec![4.0, 3.0, 2.0, 1.0], 0.25, Some(1.5)),
            (vec![4.0, 3.0, 2.0, 1.0], 0.0, Some(1.0)),
            (vec![4.0, 3.0, 2.0, 1.0], 1.0, Some(4.0)),
            (vec![7.0], 0.9, Some(7.0)),
            (vec![f64::INFINITY; 3], 0.5, Some(f64::INFINITY)),
            (vec![1.0, 2.0, 3.0, nan], 0.25, Some(1.5)),
            (vec![], 0.5, None),
        ] {
            let mut states = states(part);
            let groups = vec![0; values.len()];
            states.update(&[doubles(values.clone())], &groups, None, 1).expect("adds");
            assert_eq!(results(&mut states), [expected], "{values:?} {part}");
        }
    }

    #[test]
    fn percentiles_of_many_values_are_close_whatever_was_merged() {
        let count = 100_000_u32;
        let values: Vec<f64> = (0..count).map(|n| f64::from(n * 7919 % count)).collect();
        for part in [0.01, 0.5, 0.9, 0.999] {
            let mut all = states(part);
            for step in [200, 90, 5000, 20_000] {
                let mut own = states(part);
                for (number, values) in values.chunks(step).enumerate() {
                    let groups = vec![1; values.len()];
                    let values = doubles(values.iter().copied());
                    own.update(&[values], &groups, None, 2).expect("adds");
                    if number % 3 == 2 {
                        all.merge(&own.state().expect("has"), &[0, 1], 2).expect("merges");
                    }
                }
                all.merge(&own.state().expect("has"), &[0, 1], 2).expect("merges");
            }
            assert!(all.size_bytes() < 1 << 19, "{}", all.size_bytes());
            let [none, Some(found)] = results(&mut all)[..] else { panic!("two groups") };
            let off = (found / f64::from(count) - part).abs();
            let most = 0.0002 + 0.01 * part.min(1.0 - part);
            assert!(none.is_none() && off <= most, "{found} for {part}");
        }
    }

    #[test]
    fn values_count_by_their_weights() {
        let mut states = QuantileStates::new(Quantiles {
            name: "approx_percentile_cont_with_weight".into(),
            percentile: 0.5,
            means: 100,
            returns: DataType::Float32,
        });
        let values = doubles([1.0, 5.0, 9.0, 3.0]);
        let weights: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(1.0), Some(100.0), Some(0.0), None]));
        states.update(&[values.clone(), weights], &[0; 4], None, 1).expect("adds");
        let result = states.evaluate().expect("has");
        let result = result.as_primitive::<Float32Type>().value(0);
        assert!((4.0..=5.0).contains(&result), "{result}");
        let refused = states.update(&[values, doubles([-1.0; 4])], &[0; 4], None, 1);
        let text = refused.expect_err("is negative").to_string();
        assert!(text.contains("takes weights from 0 on, not -1"), "{text}");
    }

    #[test]
    fn a_group_of_few_values_has_only_them() {
        let (mut states, groups) = (states(0.5), 1_u32 << 17);
        for first in (0..groups).step_by(8192) {
            let own: Vec<u32> = (first..first + 8192).flat_map(|g| [g, g, g]).collect();
            let values = doubles(own.iter().map(|&group| f64::from(group)));
            states.update(&[values], &own, None, groups as usize).expect("adds");
        }
        let bytes = states.size_bytes() / groups as usize;
        assert!(bytes <= 112, "{bytes} bytes a group");
        let column = states.state().expect("has");
        let bytes = column[0].get_array_memory_size() / groups as usize;
        assert!(bytes <= 112, "{bytes} bytes a group");
    }
}
