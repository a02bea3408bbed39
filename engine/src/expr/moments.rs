//! Means and sums of squared differences from them: what variance, covariance, correlation and
//! regression are made of.
//!
//! States are merged by the formulas of Chan, Golub and LeVeque (Updating formulae and a pairwise
//! algorithm for computing sample variances, 1979), of which adding one value is a case: unlike
//! sums of squares they lose no digits where values are large and close to each other.

use super::{PairStatistic, Spread};
use crate::memory::rows::Fixed;

/// Of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moments {
    count: i64,
    mean: f64,
    /// The sum of the squared differences from the mean.
    squares: f64,
}

/// Of some pairs of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PairMoments {
    count: i64,
    mean_x: f64,
    mean_y: f64,
    squares_x: f64,
    squares_y: f64,
    /// The sum of the products of both differences.
    products: f64,
}

impl Moments {
    /// Bytes of a state.
    pub const WIDTH: usize = 24;

    /// Of one number.
    #[inline]
    pub fn of(value: f64) -> Self {
        Moments { count: 1, mean: value, squares: from_itself(value) }
    }

    /// Of the numbers of both.
    #[inline]
    pub fn merge(self, other: Self) -> Self {
        if self.count == 0 {
            return other;
        }
        if other.count == 0 {
            return self;
        }
        let count = self.count + other.count;
        let share = other.count as f64 / count as f64;
        let delta = other.mean - self.mean;
        let between = delta * delta * self.count as f64 * share;
        Moments {
            count,
            mean: self.mean + delta * share,
            squares: self.squares + other.squares + between,
        }
    }

    /// What is asked for; `None` when the numbers are too few.
    pub fn result(self, spread: Spread) -> Option<f64> {
        let degrees = match spread {
            Spread::VarianceSample | Spread::DeviationSample => self.count - 1,
            Spread::VariancePopulation | Spread::DeviationPopulation => self.count,
        };
        let variance = (degrees > 0).then(|| self.squares / degrees as f64)?;
        Some(match spread {
            Spread::VarianceSample | Spread::VariancePopulation => variance,
            Spread::DeviationSample | Spread::DeviationPopulation => variance.sqrt(),
        })
    }
}

impl PairMoments {
    /// Bytes of a state.
    pub const WIDTH: usize = 48;

    /// Of one pair.
    #[inline]
    pub fn of(y: f64, x: f64) -> Self {
        let (zero_x, zero_y) = (from_itself(x), from_itself(y));
        PairMoments {
            count: 1,
            mean_x: x,
            mean_y: y,
            squares_x: zero_x,
            squares_y: zero_y,
            products: zero_x * zero_y,
        }
    }

    /// Of the pairs of both.
    #[inline]
    pub fn merge(self, other: Self) -> Self {
        if self.count == 0 {
            return other;
        }
        if other.count == 0 {
            return self;
        }
        let count = self.count + other.count;
        let share = other.count as f64 / count as f64;
        let weight = self.count as f64 * share;
        let (x, y) = (other.mean_x - self.mean_x, other.mean_y - self.mean_y);
        PairMoments {
            count,
            mean_x: self.mean_x + x * share,
            mean_y: self.mean_y + y * share,
            squares_x: self.squares_x + other.squares_x + x * x * weight,
            squares_y: self.squares_y + other.squares_y + y * y * weight,
            products: self.products + other.products + x * y * weight,
        }
    }

    /// Number of pairs.
    pub fn count(self) -> i64 {
        self.count
    }

    /// What is asked for; `None` when the pairs are too few or too alike. The count is
    /// [`PairMoments::count`].
    pub fn result(self, statistic: PairStatistic) -> Option<f64> {
        use PairStatistic as S;
        let (count, xx, yy, xy) =
            (self.count as f64, self.squares_x, self.squares_y, self.products);
        if self.count == 0 {
            return None;
        }
        Some(match statistic {
            S::Count => count,
            S::CovarianceSample if self.count < 2 => return None,
            S::CovarianceSample => xy / (count - 1.0),
            S::CovariancePopulation => xy / count,
            S::Correlation if xx == 0.0 || yy == 0.0 => return None,
            S::Correlation => xy / xx.sqrt() / yy.sqrt(),
            S::MeanX => self.mean_x,
            S::MeanY => self.mean_y,
            S::SquaresX => xx,
            S::SquaresY => yy,
            S::Products => xy,
            S::Slope | S::Intercept | S::R2 if xx == 0.0 => return None,
            S::Slope => xy / xx,
            S::Intercept => self.mean_y - xy / xx * self.mean_x,
            S::R2 if yy == 0.0 => 1.0,
            S::R2 => xy / xx * (xy / yy),
        })
    }
}

/// How far a number is from itself: infinities and NaN no number.
#[inline]
fn from_itself(value: f64) -> f64 {
    (value * 0.0).abs()
}

impl Fixed for Moments {
    #[inline]
    fn put(self, to: &mut [u8]) {
        self.count.put(to);
        self.mean.put(&mut to[8..]);
        self.squares.put(&mut to[16..]);
    }

    #[inline]
    fn take(from: &[u8]) -> Self {
        let (mean, squares) = (f64::take(&from[8..]), f64::take(&from[16..]));
        Moments { count: i64::take(from), mean, squares }
    }
}

impl Fixed for PairMoments {
    #[inline]
    fn put(self, to: &mut [u8]) {
        self.count.put(to);
        let numbers = [self.mean_x, self.mean_y, self.squares_x, self.squares_y, self.products];
        for (number, to) in numbers.into_iter().zip(to[8..].chunks_exact_mut(8)) {
            number.put(to);
        }
    }

    #[inline]
    fn take(from: &[u8]) -> Self {
        let number = |at: usize| f64::take(&from[8 * at..]);
        PairMoments {
            count: i64::take(from),
            mean_x: number(1),
            mean_y: number(2),
            squares_x: number(3),
            squares_y: number(4),
            products: number(5),
        }
    }
}
