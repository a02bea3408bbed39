//! Arithmetic: `+ - * / %` and unary minus.
//!
//! Integers compute every row wrapping around, look for overflow in a second vector loop, and only
//! when there is some ask row by row whether it was a row that counts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, PrimitiveArray};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float64Type, Int32Type, Int64Type, IntervalUnit,
};

use super::rows::{Values, any, map, try_map};
use super::{ArrowOperand, Operand, decimal, temporal, union_nulls};
use crate::error::{Error, Result};
use crate::expr::ArithmeticOp;

/// `left op right` in every row, in the physical type of `result`.
///
/// # Errors
/// `Input` when a row overflows or divides by zero.
pub(in crate::expr) fn arithmetic(
    op: ArithmeticOp,
    left: &Operand,
    right: &Operand,
    rows: usize,
    result: &DataType,
) -> Result<ArrayRef> {
    use DataType::{Date32, Date64, Float64, Int32, Int64, Interval, Time32, Time64};
    use IntervalUnit::MonthDayNano;
    match (left.array.data_type(), right.array.data_type()) {
        (Int32, Int32) => integer::<Int32Type>(op, left, right, rows, result),
        (Int64, Int64) => integer::<Int64Type>(op, left, right, rows, result),
        (Float64, Float64) => Ok(float(op, left, right, rows)),
        (l, r) if l.is_decimal() && r.is_decimal() => {
            decimal::arithmetic(op, left, right, rows, result)
        }
        (Date32, Date32) | (Date64, Date64) if op == ArithmeticOp::Subtract && *result == Int64 => {
            temporal::days_between(left, right, rows)
        }
        (Time32(_) | Time64(_), Interval(MonthDayNano)) => {
            temporal::time_and_interval(left, right, rows, op == ArithmeticOp::Subtract)
        }
        (Interval(MonthDayNano), Time32(_) | Time64(_)) if op == ArithmeticOp::Add => {
            temporal::time_and_interval(right, left, rows, false)
        }
        _ => arrow_arithmetic(op, left, right, result),
    }
}

/// `-input` in every row.
///
/// # Errors
/// `Input` when a row overflows: the smallest integer has no opposite.
pub(in crate::expr) fn negate(array: &ArrayRef, result: &DataType) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Int32 => negate_integer::<Int32Type>(array, result),
        DataType::Int64 => negate_integer::<Int64Type>(array, result),
        data_type if data_type.is_decimal() => decimal::negate(array, result),
        _ => Ok(numeric::neg(array.as_ref())?),
    }
}

fn arrow_arithmetic(
    op: ArithmeticOp,
    left: &Operand,
    right: &Operand,
    result: &DataType,
) -> Result<ArrayRef> {
    let (l, r) = (ArrowOperand::from(left), ArrowOperand::from(right));
    let array = match op {
        ArithmeticOp::Add => numeric::add(&l, &r)?,
        ArithmeticOp::Subtract => numeric::sub(&l, &r)?,
        ArithmeticOp::Multiply => numeric::mul(&l, &r)?,
        ArithmeticOp::Divide => numeric::div(&l, &r)?,
        ArithmeticOp::Modulo => numeric::rem(&l, &r)?,
    };
    if array.data_type() == result {
        return Ok(array);
    }
    super::cast::cast(&array, result, false)
}

/// What the integer kernel needs of `i32` and `i64`.
trait Integer: Copy + Default + 'static {
    fn wrapping(op: ArithmeticOp, left: Self, right: Self) -> Self;
    fn checked(op: ArithmeticOp, left: Self, right: Self) -> Option<Self>;
    fn is_zero(self) -> bool;
    fn adding_overflows(self, right: Self) -> bool;
    fn subtracting_overflows(self, right: Self) -> bool;
    fn multiplying_overflows(self, right: Self) -> bool;
    fn dividing_fails(self, right: Self) -> bool;
}

macro_rules! integer {
    ($t:ty) => {
        impl Integer for $t {
            #[inline(always)]
            fn wrapping(op: ArithmeticOp, left: Self, right: Self) -> Self {
                match op {
                    ArithmeticOp::Add => left.wrapping_add(right),
                    ArithmeticOp::Subtract => left.wrapping_sub(right),
                    ArithmeticOp::Multiply => left.wrapping_mul(right),
                    ArithmeticOp::Divide => left.wrapping_div(right),
                    ArithmeticOp::Modulo => left.wrapping_rem(right),
                }
            }

            fn checked(op: ArithmeticOp, left: Self, right: Self) -> Option<Self> {
                match op {
                    ArithmeticOp::Add => left.checked_add(right),
                    ArithmeticOp::Subtract => left.checked_sub(right),
                    ArithmeticOp::Multiply => left.checked_mul(right),
                    ArithmeticOp::Divide => left.checked_div(right),
                    // The remainder by -1 is 0, though the quotient may overflow.
                    ArithmeticOp::Modulo => (right != 0).then(|| left.wrapping_rem(right)),
                }
            }

            fn is_zero(self) -> bool {
                self == 0
            }

            #[inline(always)]
            fn adding_overflows(self, right: Self) -> bool {
                let sum = self.wrapping_add(right);
                ((self ^ sum) & (right ^ sum)) < 0
            }

            #[inline(always)]
            fn subtracting_overflows(self, right: Self) -> bool {
                let difference = self.wrapping_sub(right);
                ((self ^ right) & (self ^ difference)) < 0
            }

            #[inline(always)]
            fn multiplying_overflows(self, right: Self) -> bool {
                self.overflowing_mul(right).1
            }

            #[inline(always)]
            fn dividing_fails(self, right: Self) -> bool {
                (right == 0) | ((right == -1) & (self == <$t>::MIN))
            }
        }
    };
}

integer!(i32);
integer!(i64);

fn integer<T>(
    op: ArithmeticOp,
    left: &Operand,
    right: &Operand,
    rows: usize,
    result: &DataType,
) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: Integer,
{
    let l = Values::new(left.array.as_primitive::<T>().values(), left.constant);
    let r = Values::new(right.array.as_primitive::<T>().values(), right.constant);
    let nulls = union_nulls(left, right);
    let trouble = match op {
        ArithmeticOp::Add => any(l, r, T::Native::adding_overflows),
        ArithmeticOp::Subtract => any(l, r, T::Native::subtracting_overflows),
        ArithmeticOp::Multiply => any(l, r, T::Native::multiplying_overflows),
        ArithmeticOp::Divide | ArithmeticOp::Modulo => any(l, r, T::Native::dividing_fails),
    };
    let values = if trouble {
        try_map(rows, l, r, nulls.as_ref(), |l, r| {
            T::Native::checked(op, l, r).ok_or_else(|| failure(op, r.is_zero(), result))
        })?
    } else {
        // The operator is matched outside of the loop.
        match op {
            ArithmeticOp::Add => {
                map(rows, l, r, |l, r| T::Native::wrapping(ArithmeticOp::Add, l, r))
            }
            ArithmeticOp::Subtract => {
                map(rows, l, r, |l, r| T::Native::wrapping(ArithmeticOp::Subtract, l, r))
            }
            ArithmeticOp::Multiply => {
                map(rows, l, r, |l, r| T::Native::wrapping(ArithmeticOp::Multiply, l, r))
            }
            ArithmeticOp::Divide => {
                map(rows, l, r, |l, r| T::Native::wrapping(ArithmeticOp::Divide, l, r))
            }
            ArithmeticOp::Modulo => {
                map(rows, l, r, |l, r| T::Native::wrapping(ArithmeticOp::Modulo, l, r))
            }
        }
    };
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls)))
}

/// The error of a row for which `op` has no result.
pub(super) fn failure(op: ArithmeticOp, right_is_zero: bool, result: &DataType) -> Error {
    match op {
        ArithmeticOp::Divide | ArithmeticOp::Modulo if right_is_zero => Error::division_by_zero(),
        _ => Error::overflow(&format!("`{op}`"), result),
    }
}

fn float(op: ArithmeticOp, left: &Operand, right: &Operand, rows: usize) -> ArrayRef {
    let l = Values::new(left.array.as_primitive::<Float64Type>().values(), left.constant);
    let r = Values::new(right.array.as_primitive::<Float64Type>().values(), right.constant);
    let values = match op {
        ArithmeticOp::Add => map(rows, l, r, |l, r| l + r),
        ArithmeticOp::Subtract => map(rows, l, r, |l, r| l - r),
        ArithmeticOp::Multiply => map(rows, l, r, |l, r| l * r),
        ArithmeticOp::Divide => map(rows, l, r, |l, r| l / r),
        ArithmeticOp::Modulo => map(rows, l, r, |l, r| l % r),
    };
    Arc::new(Float64Array::new(values.into(), union_nulls(left, right)))
}

fn negate_integer<T>(array: &ArrayRef, result: &DataType) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: Integer,
{
    let zero = Operand {
        array: Arc::new(PrimitiveArray::<T>::from_value(T::Native::default(), 1)),
        constant: true,
    };
    let input = Operand { array: array.clone(), constant: false };
    integer::<T>(ArithmeticOp::Subtract, &zero, &input, array.len(), result)
}
