//! Decimal arithmetic in 64 bits, where bounds prove that nothing can overflow.
//!
//! The bounds come from OR-ing the operands block by block, and the block is computed while it is
//! in the nearest cache: one pass over memory, and a product of two operands below 32 bits takes
//! a single multiplication of the vector unit.

use super::decimal::{NARROW_DIGITS, Plan, digits_hold};
use super::rows::{Values, any, extend, map};
use crate::expr::ArithmeticOp;

/// Sums and products below 2 to this power fit an `i64` with their sign.
const NARROW_BITS: u32 = 62;

/// What OR-ing tells about integers.
#[derive(Clone, Copy, Default)]
pub(super) struct Bound {
    /// A one wherever a bit differs from the one below it: the highest is where the sign begins.
    /// Shifting left is cheap in vector code, unlike the arithmetic shift to the right.
    changes: i64,
    /// Whether some may be negative or beyond 32 bits.
    large: bool,
}

impl Bound {
    fn of(values: &[i64]) -> Bound {
        let or = values.iter().fold(0, |or, &v| or | v);
        let changes = match or < 0 {
            true => values.iter().fold(0, |or, &v| or | (v ^ (v << 1))),
            false => or ^ (or << 1),
        };
        Bound { changes, large: or as u64 > u64::from(u32::MAX) }
    }

    fn and(self, other: Bound) -> Bound {
        Bound { changes: self.changes | other.changes, large: self.large | other.large }
    }

    /// Bits `b` such that the values lie in `[-2^b, 2^b)`.
    pub fn bits(self) -> u32 {
        (i64::BITS - self.changes.leading_zeros()).saturating_sub(1)
    }
}

/// Values are bounded and then computed with while they are in the nearest cache.
const BLOCK: usize = 512;

/// `f` of every row, and the bounds of both operands. Where neither is large, `small` is used,
/// which must give the same for integers of 32 bits without a sign.
fn map_and_bound(
    rows: usize,
    left: Values<'_, i64>,
    right: Values<'_, i64>,
    f: impl Fn(i64, i64) -> i64,
    small: impl Fn(i64, i64) -> i64,
) -> (Vec<i64>, Bound, Bound) {
    let mut bounds = (Bound::default(), Bound::default());
    let mut values = Vec::with_capacity(rows);
    let (l_len, r_len) = (left.len().unwrap_or(rows), right.len().unwrap_or(rows));
    let rows = rows.min(l_len).min(r_len);
    for start in (0..rows).step_by(BLOCK) {
        let end = rows.min(start + BLOCK);
        let (left, right) = (left.slice(start, end), right.slice(start, end));
        let (l, r) = (bound(left), bound(right));
        bounds = (bounds.0.and(l), bounds.1.and(r));
        if l.large | r.large {
            extend(&mut values, end - start, left, right, &f);
        } else {
            extend(&mut values, end - start, left, right, &small);
        }
    }
    (values, bounds.0, bounds.1)
}

pub(super) fn bound(values: Values<'_, i64>) -> Bound {
    match values {
        Values::Each(values) => Bound::of(values),
        Values::One(value) => Bound::of(&[value]),
    }
}

/// `left op right` in all rows; `None` when that is not proved to be safe.
///
/// Sums and products are computed while the operands are bounded, wrapping around, and thrown
/// away if the bounds are too wide.
pub(super) fn narrow(
    plan: &Plan<'_>,
    rows: usize,
    left: Values<'_, i64>,
    right: Values<'_, i64>,
) -> Option<Vec<i64>> {
    // An arrow type cannot declare a scale above its largest precision.
    if plan.scale.unsigned_abs() > NARROW_DIGITS {
        return None;
    }
    let (left, left_power) = scaled(left, plan.left_power)?;
    let (right, right_power) = scaled(right, plan.right_power)?;
    let plan = &Plan { left_power, right_power, ..*plan };
    let (m, n) = (10i64.checked_pow(left_power)?, 10i64.checked_pow(right_power)?);
    let is_safe = |left_bits, right_bits| {
        let bits = plan.result_bits(left_bits, right_bits);
        bits <= NARROW_BITS && digits_hold(bits, plan.precision)
    };
    let (values, left, right) = match plan.op {
        ArithmeticOp::Add if m == 1 && n == 1 => {
            map_and_bound(rows, left, right, i64::wrapping_add, i64::wrapping_add)
        }
        ArithmeticOp::Add => {
            let f = |l: i64, r: i64| l.wrapping_mul(m).wrapping_add(r.wrapping_mul(n));
            map_and_bound(rows, left, right, f, f)
        }
        ArithmeticOp::Subtract if m == 1 && n == 1 => {
            map_and_bound(rows, left, right, i64::wrapping_sub, i64::wrapping_sub)
        }
        ArithmeticOp::Subtract => {
            let f = |l: i64, r: i64| l.wrapping_mul(m).wrapping_sub(r.wrapping_mul(n));
            map_and_bound(rows, left, right, f, f)
        }
        ArithmeticOp::Multiply if m == 1 => {
            let small = |l: i64, r: i64| (l as u32 as u64).wrapping_mul(r as u32 as u64) as i64;
            map_and_bound(rows, left, right, i64::wrapping_mul, small)
        }
        ArithmeticOp::Multiply => {
            let f = |l: i64, r: i64| l.wrapping_mul(m).wrapping_mul(r);
            map_and_bound(rows, left, right, f, f)
        }
        ArithmeticOp::Divide | ArithmeticOp::Modulo => {
            let is_safe = is_safe(bound(left).bits(), bound(right).bits());
            if !is_safe || any(left, right, |_, r| r == 0) {
                return None;
            }
            return Some(match plan.op {
                ArithmeticOp::Divide => map(rows, left, right, |l, r| (l * m) / (r * n)),
                _ => map(rows, left, right, |l, r| (l * m) % (r * n)),
            });
        }
    };
    is_safe(left.bits(), right.bits()).then_some(values)
}

/// A constant is multiplied by its power of ten here, once.
fn scaled(values: Values<'_, i64>, power: u32) -> Option<(Values<'_, i64>, u32)> {
    match values {
        Values::One(value) => Some((Values::One(value.checked_mul(10i64.checked_pow(power)?)?), 0)),
        each => Some((each, power)),
    }
}
