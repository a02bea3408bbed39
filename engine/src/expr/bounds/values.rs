//! What is known of the values of a group for one bound, and which rows a probe value leaves.

use std::ops::{Range, RangeInclusive};

use crate::expr::CompareOp;

/// A value as it is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// Its ordinal.
    Value(i64),
    /// It passes no comparison.
    Null,
    /// It may pass any.
    Beyond,
}

/// The build values of a group for one bound.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// They may be anything.
    Unknown,
    /// Values that increase, of the first rows; NULLs follow.
    Sorted(Vec<i64>),
    /// Values in any order, between the least and the greatest; NULLs among them.
    Between(Vec<Known>, i64, i64),
}

impl Values {
    /// What is known of the values of a group.
    pub fn of(known: Vec<Known>) -> Self {
        let mut valid = Vec::with_capacity(known.len());
        let mut nulls_follow = true;
        for (row, known) in known.iter().enumerate() {
            match known {
                Known::Beyond => return Values::Unknown,
                Known::Null => {}
                Known::Value(value) => {
                    nulls_follow &= valid.len() == row;
                    valid.push(*value);
                }
            }
        }
        if nulls_follow && valid.is_sorted() {
            return Values::Sorted(valid);
        }
        let (least, greatest) = (valid.iter().min(), valid.iter().max());
        match least.zip(greatest) {
            Some((&least, &greatest)) => Values::Between(known, least, greatest),
            None => Values::Sorted(valid),
        }
    }

    /// The rows whose values may compare with the one of a probe row as `op` says.
    pub(super) fn range(&self, op: CompareOp, probe: Known, rows: usize) -> Range<usize> {
        let key = match probe {
            Known::Value(key) => key,
            Known::Null => return 0..0,
            Known::Beyond => return 0..rows,
        };
        let Values::Sorted(values) = self else {
            let is_met = self.probe_values(op).is_some_and(|keys| keys.contains(&key));
            return if is_met { 0..rows } else { 0..0 };
        };
        let before = || count_while(values, |value| value < key);
        let until = || count_while(values, |value| value <= key);
        match op {
            CompareOp::Less => 0..before(),
            CompareOp::LessOrEqual => 0..until(),
            CompareOp::Greater => until()..values.len(),
            CompareOp::GreaterOrEqual => before()..values.len(),
            CompareOp::Equal => before()..until(),
            _ => 0..rows,
        }
    }

    /// The probe values that some of the values may compare with as `op` says, by the least and the
    /// greatest of them; `None` when there are none.
    pub(super) fn probe_values(&self, op: CompareOp) -> Option<RangeInclusive<i64>> {
        const ALL: RangeInclusive<i64> = i64::MIN..=i64::MAX;
        let (least, greatest) = match self {
            Values::Unknown => return Some(ALL),
            Values::Between(_, least, greatest) => (*least, *greatest),
            Values::Sorted(values) => (*values.first()?, *values.last()?),
        };
        Some(match op {
            CompareOp::Less => least.checked_add(1)?..=i64::MAX,
            CompareOp::LessOrEqual => least..=i64::MAX,
            CompareOp::Greater => i64::MIN..=greatest.checked_sub(1)?,
            CompareOp::GreaterOrEqual => i64::MIN..=greatest,
            CompareOp::Equal => least..=greatest,
            _ => ALL,
        })
    }

    /// Bytes that the values take.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Values::Unknown => 0,
            Values::Sorted(values) => values.capacity() * size_of::<i64>(),
            Values::Between(known, ..) => known.capacity() * size_of::<Known>(),
        }
    }
}

/// How many of sorted values hold, of which the first ones do. Of groups in the order of their
/// values most lie on one side of a key.
fn count_while(values: &[i64], holds: impl Fn(i64) -> bool) -> usize {
    match (values.first(), values.last()) {
        (Some(&first), _) if !holds(first) => 0,
        (_, Some(&last)) if holds(last) => values.len(),
        _ => values.partition_point(|&value| holds(value)),
    }
}

/// Whether a build value and a probe value, neither of them beyond, compare as `op` says.
pub(super) fn passes(op: CompareOp, build: Known, probe: Known) -> bool {
    let (Known::Value(build), Known::Value(probe)) = (build, probe) else { return false };
    match op {
        CompareOp::Less => build < probe,
        CompareOp::LessOrEqual => build <= probe,
        CompareOp::Greater => build > probe,
        CompareOp::GreaterOrEqual => build >= probe,
        _ => build == probe,
    }
}
