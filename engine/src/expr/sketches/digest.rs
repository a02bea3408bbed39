//! Digests of values: means of values that are close to each other, with their weights, and behind
//! them values that are not in them yet.
//!
//! ```text
//! values = | value … |
//! digest = | mark | least | greatest | number of means | mean | weight | … | value | value | …
//! ```
//!
//! Towards the least and the greatest value means are of fewer and fewer values: how many they may
//! be of goes by the arcsine of the part of all that is before them.

use std::f64::consts::{FRAC_PI_2, PI};

/// What digests begin with: a NaN that no value is, as those are made alike.
pub(super) const MARK: u64 = 0x7ff8_6469_6765_7374;

/// The words before the means.
pub(super) const HEAD: usize = 4;

/// A mean of values, or a value, and its weight.
#[derive(Debug, Clone, Copy)]
struct Mean {
    mean: f64,
    weight: f64,
}

/// What digests are made of.
#[derive(Default)]
pub(super) struct Gathered {
    means: Vec<Mean>,
    values: Vec<f64>,
    /// The least and the greatest of all values that there were.
    ends: Option<(f64, f64)>,
}

impl Gathered {
    /// Adds what a group has.
    pub(super) fn take(&mut self, words: &[u64]) {
        let mut values = words;
        if let [MARK, least, greatest, means, rest @ ..] = words {
            let (pairs, own) = rest.split_at_checked(2 * *means as usize).unwrap_or_default();
            let (pairs, _) = pairs.as_chunks::<2>();
            let pairs = pairs.iter().map(|pair| pair.map(f64::from_bits));
            self.means.extend(pairs.map(|[mean, weight]| Mean { mean, weight }));
            self.add_ends(f64::from_bits(*least), f64::from_bits(*greatest));
            values = own;
        }
        let before = self.values.len();
        self.values.extend(values.iter().map(|&bits| f64::from_bits(bits)));
        let new = self.values[before..].iter().copied();
        if let (Some(least), Some(greatest)) = (new.clone().reduce(lesser), new.reduce(greater)) {
            self.add_ends(least, greatest);
        }
    }

    fn add_ends(&mut self, least: f64, greatest: f64) {
        let (own_least, own_greatest) = self.ends.unwrap_or((least, greatest));
        self.ends = Some((lesser(own_least, least), greater(own_greatest, greatest)));
    }

    /// How many values there are, by their weights.
    pub(super) fn count(&self) -> f64 {
        self.means.iter().map(|mean| mean.weight).sum::<f64>() + self.values.len() as f64
    }

    /// Everything in order.
    fn in_order(mut self) -> Vec<Mean> {
        self.values.sort_unstable_by(f64::total_cmp);
        self.means.sort_unstable_by(|a, b| a.mean.total_cmp(&b.mean));
        let mut all = Vec::with_capacity(self.means.len() + self.values.len());
        let mut means = self.means.into_iter().peekable();
        for value in self.values {
            while let Some(mean) = means.next_if(|mean| mean.mean.total_cmp(&value).is_lt()) {
                all.push(mean);
            }
            all.push(Mean { mean: value, weight: 1.0 });
        }
        all.extend(means);
        all
    }
}

/// The digest of all that was gathered, of `most` means at most.
pub(super) fn words_of_digest(all: Gathered, most: usize) -> Vec<u64> {
    let (least, greatest) = all.ends.unwrap_or((f64::NAN, f64::NAN));
    let count = all.count();
    let means = compressed(all.in_order(), count, most);
    let mut words = Vec::with_capacity(HEAD + 2 * means.len());
    words.extend([MARK, least.to_bits(), greatest.to_bits(), means.len() as u64]);
    words.extend(means.iter().flat_map(|mean| [mean.mean.to_bits(), mean.weight.to_bits()]));
    words
}

/// At most so many means, of neighbours in the order.
fn compressed(all: Vec<Mean>, count: f64, most: usize) -> Vec<Mean> {
    if all.len() <= most {
        return all;
    }
    // The way from the first to the last value is as long as the half of a circle. Two means that
    // are neighbours have more than a step of it together.
    let step = 2.0 * PI / most as f64;
    let limit_from = |before: f64| {
        let angle = (2.0 * before / count - 1.0).clamp(-1.0, 1.0).asin() + step;
        if angle >= FRAC_PI_2 { count } else { (angle.sin() + 1.0) / 2.0 * count }
    };
    let mut means: Vec<Mean> = Vec::with_capacity(most);
    let (mut before, mut limit) = (0.0, limit_from(0.0));
    for next in all {
        match means.last_mut() {
            Some(last) if before + last.weight + next.weight <= limit => last.add(next),
            last => {
                before += last.map_or(0.0, |last| last.weight);
                limit = limit_from(before);
                means.push(next);
            }
        }
    }
    means
}

impl Mean {
    fn add(&mut self, other: Mean) {
        let weight = self.weight + other.weight;
        if self.mean != other.mean {
            self.mean = self.mean * (self.weight / weight) + other.mean * (other.weight / weight);
        }
        self.weight = weight;
    }
}

/// A percentile of all that was gathered: half of the values of a mean lie on either side of it.
pub(super) fn percentile_of(all: Gathered, percentile: f64) -> Option<f64> {
    let (least, greatest) = all.ends?;
    if percentile <= 0.0 || percentile >= 1.0 {
        return Some(if percentile <= 0.0 { least } else { greatest });
    }
    let rank = percentile * all.count();
    let all = all.in_order();
    // The last one before the rank, by what is before its middle.
    let mut before = 0.0;
    let (mut left, mut right) = (None, None);
    for mean in all {
        let middle = before + mean.weight / 2.0;
        if middle > rank {
            right = Some((middle, mean));
            break;
        }
        before += mean.weight;
        left = Some((middle, mean));
    }
    // What is on one side of the first and the last mean: nothing where it is a value.
    let is_value = |mean: &Mean| mean.weight == 1.0;
    let (left, right) = match (left, right) {
        (Some((from, left)), Some((to, right))) => ((from, left.mean), (to, right.mean)),
        (None, Some((_, right))) if is_value(&right) => return Some(right.mean),
        (None, Some((to, right))) => ((0.0, least), (to, right.mean)),
        (Some((_, left)), None) if is_value(&left) => return Some(left.mean),
        (Some((from, left)), None) => ((from, left.mean), (before, greatest)),
        (None, None) => return None,
    };
    let part = (rank - left.0) / (right.0 - left.0);
    let value = left.1 + (right.1 - left.1) * part;
    // Between infinite values there is no way.
    Some(if value.is_finite() {
        value
    } else if part < 0.5 {
        left.1
    } else {
        right.1
    })
}

/// The one before the other in the order in which NaN is last.
pub(super) fn lesser(a: f64, b: f64) -> f64 {
    if b.total_cmp(&a).is_lt() { b } else { a }
}

/// The one behind the other.
pub(super) fn greater(a: f64, b: f64) -> f64 {
    if b.total_cmp(&a).is_gt() { b } else { a }
}
