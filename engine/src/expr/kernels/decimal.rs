//! Decimal arithmetic.
//!
//! A decimal is an integer and a scale that its type knows. The result of an operation is the
//! exact value (a quotient is cut off at the scale of the result), and an error when it has more
//! digits than the result's type declares.
//!
//! Widths are proved per chunk instead of checked per value: OR-ing the magnitudes of an operand
//! bounds them all. When the bounds show that neither 64 bits nor the declared digits can
//! overflow, the plain 64-bit loop runs and the result is held in 64 bits; the same proof then
//! picks between the plain and the checked 128-bit loop. Where a checked step overflows 128 bits
//! though the result might not, 256 bits decide.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal64Array, Decimal128Array, Decimal256Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Decimal64Type, Decimal128Type, Decimal256Type, i256};

use super::arithmetic::failure;
use super::narrow::{bound, narrow};
use super::native::{Native, native};
use super::rows::{Values, map, try_map};
use super::{Operand, union_nulls};
use crate::error::{Error, Result};
use crate::expr::ArithmeticOp;

/// Digits that any 64-bit decimal array may declare.
pub(super) const NARROW_DIGITS: u8 = 18;
/// Digits that any 128-bit decimal array may declare.
const WIDE_DIGITS: u8 = 38;

/// Precision and scale of a decimal type.
pub(super) fn digits(data_type: &DataType) -> Result<(u8, i8)> {
    match data_type {
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Ok((*p, *s)),
        other => Err(Error::internal(format!("{other} is not a decimal type"))),
    }
}

/// What an operation does to its operands' integers: multiply each by a power of ten, then apply
/// the operator, then check the digits.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub op: ArithmeticOp,
    pub left_power: u32,
    pub right_power: u32,
    pub precision: u8,
    pub scale: i8,
    pub result: &'a DataType,
}

impl<'a> Plan<'a> {
    fn new(
        op: ArithmeticOp,
        left: &DataType,
        right: &DataType,
        result: &'a DataType,
    ) -> Result<Self> {
        let ((_, left), (_, right)) = (digits(left)?, digits(right)?);
        let (precision, scale) = digits(result)?;
        let (l, r, s) = (i32::from(left), i32::from(right), i32::from(scale));
        let (left_power, right_power) = match op {
            ArithmeticOp::Add | ArithmeticOp::Subtract | ArithmeticOp::Modulo => (s - l, s - r),
            ArithmeticOp::Multiply => (s - l - r, 0),
            ArithmeticOp::Divide => ((s - l + r).max(0), (l - r - s).max(0)),
        };
        match (u32::try_from(left_power), u32::try_from(right_power)) {
            (Ok(left_power), Ok(right_power)) => {
                Ok(Plan { op, left_power, right_power, precision, scale, result })
            }
            _ => Err(Error::internal(format!(
                "scale {scale} is too small for `{op}` on scales {left} and {right}"
            ))),
        }
    }

    /// A bound on the bits of the result, and of all that is computed on the way to it, for
    /// operands below 2 to the power of these bits.
    pub fn result_bits(&self, left: u32, right: u32) -> u32 {
        let left = left.saturating_add(power_bits(self.left_power));
        let right = right.saturating_add(power_bits(self.right_power));
        match self.op {
            ArithmeticOp::Add | ArithmeticOp::Subtract => left.max(right) + 1,
            ArithmeticOp::Multiply => left + right,
            ArithmeticOp::Divide | ArithmeticOp::Modulo => left.max(right),
        }
    }

    /// The exact result from 256-bit integers, without the check of the digits.
    fn exact(&self, left: i256, right: i256) -> Option<i256> {
        let ten = i256::from_i128(10);
        let left = left.checked_mul(ten.checked_pow(self.left_power)?)?;
        let right = right.checked_mul(ten.checked_pow(self.right_power)?)?;
        match self.op {
            ArithmeticOp::Add => left.checked_add(right),
            ArithmeticOp::Subtract => left.checked_sub(right),
            ArithmeticOp::Multiply => left.checked_mul(right),
            ArithmeticOp::Divide => left.checked_div(right),
            ArithmeticOp::Modulo => left.checked_rem(right),
        }
    }

    fn failure(&self, right_is_zero: bool) -> Error {
        failure(self.op, right_is_zero, self.result)
    }
}

/// `left op right` on decimals of any widths and scales.
///
/// # Errors
/// `Input` when a result has more digits than `result` declares, or a divisor is zero.
pub(super) fn arithmetic(
    op: ArithmeticOp,
    left: &Operand,
    right: &Operand,
    rows: usize,
    result: &DataType,
) -> Result<ArrayRef> {
    let plan = Plan::new(op, left.array.data_type(), right.array.data_type(), result)?;
    let nulls = union_nulls(left, right);
    if matches!(result, DataType::Decimal256(..)) {
        return very_wide(&plan, left, right, rows, nulls);
    }
    match (native(left.array.as_ref()), native(right.array.as_ref())) {
        (Native::I64(l), Native::I64(r)) => {
            let (l, r) = (Values::new(l, left.constant), Values::new(r, right.constant));
            if let Some(values) = narrow(&plan, rows, l, r) {
                return narrow_array(values, nulls, plan.scale);
            }
            wide(&plan, rows, l, r, nulls)
        }
        (Native::I64(l), Native::I128(r)) => {
            let (l, r) = (Values::new(l, left.constant), Values::new(r, right.constant));
            wide(&plan, rows, l, r, nulls)
        }
        (Native::I128(l), Native::I64(r)) => {
            let (l, r) = (Values::new(l, left.constant), Values::new(r, right.constant));
            wide(&plan, rows, l, r, nulls)
        }
        (Native::I128(l), Native::I128(r)) => {
            let (l, r) = (Values::new(l, left.constant), Values::new(r, right.constant));
            wide(&plan, rows, l, r, nulls)
        }
        _ => Err(Error::internal(format!("`{op}` on {} for {result}", left.array.data_type()))),
    }
}

/// `-input`, in the width of the input unless that overflows.
///
/// # Errors
/// `Input` when the 256-bit integer has no opposite.
pub(super) fn negate(array: &ArrayRef, result: &DataType) -> Result<ArrayRef> {
    let nulls = array.nulls().cloned();
    let (_, scale) = digits(result)?;
    match native(array.as_ref()) {
        Native::I64(v) if v.contains(&i64::MIN) => {
            wide_array(v.iter().map(|&v| -i128::from(v)).collect(), nulls, WIDE_DIGITS, scale)
        }
        Native::I64(v) => narrow_array(v.iter().map(|&v| -v).collect(), nulls, scale),
        // 128 bits hold more than 38 digits, so a valid decimal has an opposite.
        Native::I128(v) => {
            let values = v.iter().map(|&v| v.wrapping_neg()).collect();
            wide_array(values, nulls, WIDE_DIGITS, scale)
        }
        _ => Ok(arrow::compute::kernels::numeric::neg(array.as_ref())?),
    }
}

/// The double nearest to a decimal, which is `value` divided by ten to the power of `scale`. A
/// quotient of two numbers that doubles hold exactly is; what is larger is read from its digits.
pub fn nearest_double(value: i128, scale: i8) -> f64 {
    const EXACT_MAX: u128 = 1 << 53;
    const EXACT_POWER_MAX: i8 = 22;
    if value.unsigned_abs() <= EXACT_MAX && (0..=EXACT_POWER_MAX).contains(&scale) {
        return value as f64 / 10f64.powi(i32::from(scale));
    }
    format!("{value}e{}", -i32::from(scale)).parse().unwrap_or(f64::NAN)
}

/// The number of 32 bits that is nearest to a decimal, as `nearest_double`: what is rounded to a
/// double before may be another.
pub fn nearest_float(value: i128, scale: i8) -> f32 {
    const EXACT_MAX: u128 = 1 << 24;
    const EXACT_POWER_MAX: i8 = 10;
    if value.unsigned_abs() <= EXACT_MAX && (0..=EXACT_POWER_MAX).contains(&scale) {
        return value as f32 / 10f32.powi(i32::from(scale));
    }
    format!("{value}e{}", -i32::from(scale)).parse().unwrap_or(f32::NAN)
}

/// A 64-bit decimal array.
pub(super) fn narrow_array(
    values: Vec<i64>,
    nulls: Option<NullBuffer>,
    scale: i8,
) -> Result<ArrayRef> {
    let array = Decimal64Array::new(values.into(), nulls);
    Ok(Arc::new(array.with_precision_and_scale(NARROW_DIGITS, scale)?))
}

/// A 128-bit decimal array.
pub(super) fn wide_array(
    values: Vec<i128>,
    nulls: Option<NullBuffer>,
    precision: u8,
    scale: i8,
) -> Result<ArrayRef> {
    let array = Decimal128Array::new(values.into(), nulls);
    Ok(Arc::new(array.with_precision_and_scale(precision, scale)?))
}

/// Whether no integer up to 2 to the power of `bits` has more than `precision` digits.
pub(super) fn digits_hold(bits: u32, precision: u8) -> bool {
    // 3.3219 bits a digit, rounded down.
    bits <= u32::from(precision) * 33_219 / 10_000
}

/// The least `b` such that ten to this power is at most two to the power of `b`.
pub(super) fn power_bits(power: u32) -> u32 {
    match 10u128.checked_pow(power) {
        Some(value) => u128::BITS - (value - 1).leading_zeros(),
        None => u32::MAX / 2,
    }
}

/// Integers whose bounds are found by OR-ing.
pub(super) trait Width: Copy + Into<i128> {
    /// Bits `b` such that all values lie in `[-2^b, 2^b)`.
    fn bits(values: Values<'_, Self>) -> u32;

    /// The value, when it is known to fit 64 bits.
    fn low_bits(self) -> i64;
}

impl Width for i64 {
    fn bits(values: Values<'_, Self>) -> u32 {
        bound(values).bits()
    }

    fn low_bits(self) -> i64 {
        self
    }
}

impl Width for i128 {
    fn bits(values: Values<'_, Self>) -> u32 {
        let or = match values {
            Values::Each(values) => values.iter().fold(0, |or, &v| or | (v ^ (v >> 127))),
            Values::One(v) => v ^ (v >> 127),
        };
        i128::BITS - or.leading_zeros()
    }

    fn low_bits(self) -> i64 {
        self as i64
    }
}

/// All rows in 128 bits.
fn wide<A: Width, B: Width>(
    plan: &Plan<'_>,
    rows: usize,
    left: Values<'_, A>,
    right: Values<'_, B>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let powers = (10i128.checked_pow(plan.left_power), 10i128.checked_pow(plan.right_power));
    let bits = plan.result_bits(A::bits(left), B::bits(right));
    // Below ten to the 38th all is well inside 128 bits.
    let proved = digits_hold(bits, plan.precision) && plan.precision <= WIDE_DIGITS;
    let plain = match (powers, plan.op) {
        ((Some(m), Some(n)), ArithmeticOp::Add) if proved => {
            Some(map(rows, left, right, |l, r| l.into() * m + r.into() * n))
        }
        ((Some(m), Some(n)), ArithmeticOp::Subtract) if proved => {
            Some(map(rows, left, right, |l, r| l.into() * m - r.into() * n))
        }
        ((Some(m), Some(_)), ArithmeticOp::Multiply) if proved => {
            Some(map(rows, left, right, |l, r| l.into() * m * r.into()))
        }
        _ => None,
    };
    let values = match plain {
        Some(values) => values,
        None => try_map(rows, left, right, nulls.as_ref(), |l, r| {
            checked(plan, powers, l.into(), r.into())
        })?,
    };
    let precision = plan.precision.min(WIDE_DIGITS);
    wide_array(values, nulls, precision.max(plan.scale.unsigned_abs()), plan.scale)
}

/// One row in 128 bits, or in 256 where a step overflows.
fn checked(
    plan: &Plan<'_>,
    powers: (Option<i128>, Option<i128>),
    left: i128,
    right: i128,
) -> Result<i128> {
    let short = || {
        let (l, r) = (left.checked_mul(powers.0?)?, right.checked_mul(powers.1?)?);
        match plan.op {
            ArithmeticOp::Add => l.checked_add(r),
            ArithmeticOp::Subtract => l.checked_sub(r),
            ArithmeticOp::Multiply => l.checked_mul(r),
            ArithmeticOp::Divide => l.checked_div(r),
            ArithmeticOp::Modulo => l.checked_rem(r),
        }
    };
    let long = || plan.exact(i256::from_i128(left), i256::from_i128(right))?.to_i128();
    let limit = 10u128.saturating_pow(u32::from(plan.precision));
    short()
        .or_else(long)
        .filter(|value| value.unsigned_abs() < limit)
        .ok_or_else(|| plan.failure(right == 0))
}

/// All rows in 256 bits.
fn very_wide(
    plan: &Plan<'_>,
    left: &Operand,
    right: &Operand,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let (l, r) = (to_256(&left.array)?, to_256(&right.array)?);
    let limit = i256::from_i128(10).checked_pow(u32::from(plan.precision));
    let limit = limit.ok_or_else(|| Error::internal("a decimal of more than 76 digits"))?;
    let fits = |v: &i256| *v < limit && *v > -limit;
    let (l, r) = (Values::new(&l, left.constant), Values::new(&r, right.constant));
    let values = try_map(rows, l, r, nulls.as_ref(), |l, r| {
        plan.exact(l, r).filter(fits).ok_or_else(|| plan.failure(r == i256::ZERO))
    })?;
    let array = Decimal256Array::new(values.into(), nulls);
    Ok(Arc::new(array.with_precision_and_scale(plan.precision, plan.scale)?))
}

/// The integers of a decimal array of any width.
pub(super) fn to_256(array: &ArrayRef) -> Result<Vec<i256>> {
    Ok(match array.data_type() {
        DataType::Decimal64(..) => {
            let values = array.as_primitive::<Decimal64Type>().values();
            values.iter().map(|&v| i256::from_i128(i128::from(v))).collect()
        }
        DataType::Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>().values();
            values.iter().map(|&v| i256::from_i128(v)).collect()
        }
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().values().to_vec(),
        other => return Err(Error::internal(format!("{other} is not a physical decimal"))),
    })
}
