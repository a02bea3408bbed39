//! Statistics and bits over frames: how their values are put together.
//!
//! None of them is taken off again: moments would lose their digits, and bits cannot be.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::lane::{Lane, Values, valid_where};
use super::store::Store;
use super::totals::Combine;
use crate::error::Result;
use crate::expr::moments::{Moments, PairMoments};
use crate::expr::totals::{integers, optional_floats};
use crate::expr::{BitOp, PairStatistic, Spread};

/// Variance and deviation.
pub(super) struct SpreadOf {
    pub(super) spread: Spread,
    pub(super) data_type: DataType,
}

impl Combine for SpreadOf {
    type Value = f64;
    type Total = Moments;

    fn one(&self, value: f64) -> Moments {
        Moments::of(value)
    }

    fn both(&self, a: &Moments, b: &Moments) -> Option<Moments> {
        Some(a.merge(*b))
    }

    fn results(&self, totals: Vec<Option<Moments>>, _: Vec<i64>) -> Result<ArrayRef> {
        let results = totals.into_iter().map(|total| total?.result(self.spread));
        optional_floats(results, &self.data_type)
    }
}

/// Covariance, correlation and regression.
pub(super) struct PairsOf {
    pub(super) statistic: PairStatistic,
    pub(super) data_type: DataType,
}

impl Combine for PairsOf {
    type Value = (f64, f64);
    type Total = PairMoments;

    fn one(&self, (y, x): (f64, f64)) -> PairMoments {
        PairMoments::of(y, x)
    }

    fn both(&self, a: &PairMoments, b: &PairMoments) -> Option<PairMoments> {
        Some(a.merge(*b))
    }

    fn results(&self, totals: Vec<Option<PairMoments>>, counts: Vec<i64>) -> Result<ArrayRef> {
        if self.statistic == PairStatistic::Count {
            let counts = counts.into_iter().map(i128::from).collect();
            return integers(counts, None, "regr_count", &self.data_type);
        }
        let results = totals.into_iter().map(|total| total?.result(self.statistic));
        optional_floats(results, &self.data_type)
    }
}

/// Two columns, of rows where both have a value.
pub(super) struct PairLane {
    pub(super) y: Lane<f64>,
    pub(super) x: Lane<f64>,
}

impl Values for PairLane {
    type Value = (f64, f64);

    fn get(&mut self, store: &mut Store, position: u64) -> Result<Option<(f64, f64)>> {
        let (y, x) = (self.y.get(store, position)?, self.x.get(store, position)?);
        Ok(y.zip(x))
    }
}

/// `bit_and` and its like.
pub(super) struct BitsOf {
    pub(super) op: BitOp,
    pub(super) data_type: DataType,
}

impl Combine for BitsOf {
    type Value = i128;
    type Total = i128;

    fn one(&self, value: i128) -> i128 {
        value
    }

    fn both(&self, a: &i128, b: &i128) -> Option<i128> {
        Some(match self.op {
            BitOp::And => a & b,
            BitOp::Or => a | b,
            BitOp::Xor => a ^ b,
        })
    }

    fn results(&self, totals: Vec<Option<i128>>, _: Vec<i64>) -> Result<ArrayRef> {
        let nulls = valid_where(totals.iter().map(Option::is_some));
        let values = totals.into_iter().map(Option::unwrap_or_default);
        integers(values.collect(), nulls, "bits", &self.data_type)
    }
}
