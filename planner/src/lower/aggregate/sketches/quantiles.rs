//! Percentiles of groups, more or less.
//!
//! A group of few values has them all, and its percentiles are exact. Beyond that it has a digest
//! (Dunning and Ertl, Computing extremely accurate quantiles using t-digests, 2019): means of
//! values that are close to each other, with their weights. New values are means of one value until
//! there is no more room; then all of them are compressed.
//!
//! ```text
//! values = | value … |
//! digest = | mark | least | greatest | mean | weight | mean | weight | …
//! ```

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion_functions_aggregate_common::tdigest::{Centroid, TDigest};
use gristmill_engine::expr::GroupStates;
use gristmill_engine::{Error, Result};

use super::counted_rows;
use super::lists::{Lists, words_of};

/// The most values that a group has as they are.
const VALUES_MAX: usize = 256;

/// What digests begin with: a NaN that no value is, as those are made alike.
const MARK: u64 = 0x7ff8_6469_6765_7374;

/// The mark, the least, and the greatest value.
const HEAD: usize = 3;

/// Values from which on a group has room for many between two compressions.
const MANY: f64 = 8192.0;

/// The words it then has.
const ROOMY_WORDS: usize = 2048;

/// The most means that a digest can be asked to have.
const MEANS_MAX: usize = 1 << 16;

/// What is asked for.
#[derive(Debug, Clone)]
pub(in super::super) struct Quantiles {
    pub(in super::super) name: String,
    /// From 0 to 1.
    pub(in super::super) percentile: f64,
    /// Means of a digest.
    pub(in super::super) means: usize,
    pub(in super::super) returns: DataType,
}

/// See the module documentation.
pub(in super::super) struct QuantileStates {
    wanted: Quantiles,
    lists: Lists,
}

impl QuantileStates {
    pub(in super::super) fn new(wanted: Quantiles) -> Self {
        let means = wanted.means.clamp(1, MEANS_MAX);
        QuantileStates { wanted: Quantiles { means, ..wanted }, lists: Lists::default() }
    }

    /// Adds a value.
    fn add(&mut self, group: usize, value: f64) {
        let len = self.lists.len(group);
        if self.is_digest(group) {
            return self.add_mean(group, value, 1.0);
        }
        if len < VALUES_MAX.max(2 * self.wanted.means) {
            return self.lists.push(group, value.to_bits());
        }
        let values = self.lists.words_mut(group).iter().map(|&bits| f64::from_bits(bits));
        let means: Vec<Centroid> = values.map(|value| Centroid::new(value, 1.0)).collect();
        let (least, greatest) = ends_of(&means);
        self.set_compressed(group, means, least, greatest);
        self.add_mean(group, value, 1.0);
    }

    fn is_digest(&mut self, group: usize) -> bool {
        self.lists.len(group) > 1 && self.lists.words_mut(group)[0] == MARK
    }

    /// Adds the mean of values, that is the value where it is one, to a digest.
    fn add_mean(&mut self, group: usize, mean: f64, weight: f64) {
        let len = self.lists.len(group);
        if len == 0 {
            let words = [MARK, mean.to_bits(), mean.to_bits(), mean.to_bits(), weight.to_bits()];
            return self.lists.set(group, &words, 0);
        }
        let words = self.lists.words_mut(group);
        let (least, greatest) = (f64::from_bits(words[1]), f64::from_bits(words[2]));
        words[1] = lesser(least, mean).to_bits();
        words[2] = greater(greatest, mean).to_bits();
        // The words of a digest are odd in number, so there is room for one or for more than two.
        if len + 1 >= self.lists.room(group) && len >= self.compressed_words() {
            self.compress(group);
        }
        self.lists.push(group, mean.to_bits());
        self.lists.push(group, weight.to_bits());
    }

    /// Words of which a digest has fewer when it has been compressed.
    fn compressed_words(&self) -> usize {
        HEAD + 4 * self.wanted.means
    }

    fn compress(&mut self, group: usize) {
        let words = self.lists.words_mut(group);
        let (least, greatest) = (f64::from_bits(words[1]), f64::from_bits(words[2]));
        let means = means_of(words);
        self.set_compressed(group, means, least, greatest);
    }

    /// Makes a compressed digest the group's.
    fn set_compressed(&mut self, group: usize, means: Vec<Centroid>, least: f64, greatest: f64) {
        let means = compressed(means, self.wanted.means);
        let head = [MARK, least.to_bits(), greatest.to_bits()];
        let pairs = means.iter().flat_map(|mean| [mean.mean().to_bits(), mean.weight().to_bits()]);
        let words: Vec<u64> = head.into_iter().chain(pairs).collect();
        let total: f64 = means.iter().map(Centroid::weight).sum();
        let roomy = if total < MANY { 0 } else { ROOMY_WORDS };
        self.lists.set(group, &words, roomy.max(2 * words.len()));
    }

    fn merge_one(&mut self, group: usize, words: &[u64]) -> Result<()> {
        if words.first() != Some(&MARK) {
            words.iter().for_each(|&bits| self.add(group, f64::from_bits(bits)));
            return Ok(());
        }
        let [_, least, greatest, _, _, ..] = words else {
            return Err(Error::internal("a digest without means"));
        };
        if self.lists.len(group) == 0 {
            self.lists.set(group, words, 0);
            return Ok(());
        }
        if !self.is_digest(group) {
            let mut one = [0];
            let values = self.lists.words(group, &mut one).to_vec();
            self.lists.set(group, words, 2 * words.len());
            values.into_iter().for_each(|bits| self.add_mean(group, f64::from_bits(bits), 1.0));
            return Ok(());
        }
        for mean in means_of(words) {
            self.add_mean(group, mean.mean(), mean.weight());
        }
        let own = self.lists.words_mut(group);
        let (own_least, own_greatest) = (f64::from_bits(own[1]), f64::from_bits(own[2]));
        own[1] = lesser(own_least, f64::from_bits(*least)).to_bits();
        own[2] = greater(own_greatest, f64::from_bits(*greatest)).to_bits();
        Ok(())
    }

    /// The percentile of a group; none without values.
    fn percentile(&self, group: usize, scratch: &mut Vec<f64>) -> Result<Option<f64>> {
        let mut one = [0];
        let words = self.lists.words(group, &mut one);
        let [MARK, least, greatest, ..] = words else {
            scratch.clear();
            scratch.extend(words.iter().map(|&bits| f64::from_bits(bits)));
            return Ok(percentile_of(scratch, self.wanted.percentile));
        };
        let (least, greatest) = (f64::from_bits(*least), f64::from_bits(*greatest));
        let mut means = means_of(words);
        means.sort_unstable_by(Centroid::cmp_mean);
        let count = means.iter().map(Centroid::weight).sum();
        let digest = TDigest::try_from_parts(means.len(), 0.0, count, greatest, least, means);
        let digest = digest.map_err(|e| Error::internal(e.strip_backtrace()))?;
        Ok(Some(digest.estimate_quantile(self.wanted.percentile)))
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
            self.add_mean(group as usize, plain(value), weight);
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
        let states = states.first().and_then(|states| states.as_binary_view_opt());
        let states = states.ok_or_else(|| Error::internal("states that are no binary values"))?;
        let mut words = Vec::new();
        for (state, &group) in states.iter().zip(groups) {
            words.clear();
            words.extend(words_of(state.unwrap_or_default()));
            self.merge_one(group as usize, &words)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.lists.take_column()?])
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        let groups = 0..self.lists.groups();
        let mut scratch = Vec::new();
        let results: Float64Array =
            groups.map(|group| self.percentile(group, &mut scratch)).collect::<Result<_>>()?;
        self.lists = Lists::default();
        Ok(cast(&(Arc::new(results) as ArrayRef), &self.wanted.returns)?)
    }

    fn size_bytes(&self) -> usize {
        self.lists.bytes()
    }
}

/// A percentile of values: half of each lies on either side of it, as it is with the means of a
/// digest.
fn percentile_of(values: &mut [f64], percentile: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    values.sort_unstable_by(f64::total_cmp);
    let rank = percentile * values.len() as f64;
    let at = (rank as usize).min(last);
    if percentile <= 0.0 || percentile >= 1.0 || last == 0 {
        return Some(values[if percentile < 0.5 { 0 } else { last }]);
    }
    let (before, behind) = (at.saturating_sub(1), (at + 1).min(last));
    let step = (values[behind] - values[before]) / (behind - before) as f64;
    let value = values[at] + (rank - at as f64 - 0.5) * step;
    let (least, greatest) = (values[before], values[behind]);
    // Where there is no step between infinite values.
    Some(if value.is_nan() { values[at] } else { lesser(greater(value, least), greatest) })
}

/// The means of a digest with their weights.
fn means_of(words: &[u64]) -> Vec<Centroid> {
    let (pairs, _) = words.get(HEAD..).unwrap_or_default().as_chunks::<2>();
    let mean = |pair: &[u64; 2]| Centroid::new(f64::from_bits(pair[0]), f64::from_bits(pair[1]));
    pairs.iter().map(mean).collect()
}

/// So many of the means at most.
fn compressed(mut means: Vec<Centroid>, most: usize) -> Vec<Centroid> {
    means.sort_unstable_by(Centroid::cmp_mean);
    let count = means.iter().map(Centroid::weight).sum();
    let (least, greatest) = ends_of(&means);
    match TDigest::try_from_parts(most, 0.0, count, greatest, least, means.clone()) {
        Ok(digest) => TDigest::merge_digests([&digest]).centroids().to_vec(),
        Err(_) => means,
    }
}

/// The least and the greatest of the means.
fn ends_of(means: &[Centroid]) -> (f64, f64) {
    let least = means.iter().map(Centroid::mean).reduce(lesser);
    let greatest = means.iter().map(Centroid::mean).reduce(greater);
    (least.unwrap_or(f64::NAN), greatest.unwrap_or(f64::NAN))
}

fn lesser(a: f64, b: f64) -> f64 {
    if b.total_cmp(&a).is_lt() { b } else { a }
}

fn greater(a: f64, b: f64) -> f64 {
    if b.total_cmp(&a).is_gt() { b } else { a }
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
            assert!(all.size_bytes() < 1 << 18, "{}", all.size_bytes());
            let [none, Some(found)] = results(&mut all)[..] else { panic!("two groups") };
            let off = (found / f64::from(count) - part).abs();
            let most = 0.0005 + 0.04 * part.min(1.0 - part);
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
