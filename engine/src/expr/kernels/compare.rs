//! Comparisons.
//!
//! One total order per type: NaN equals NaN and is greater than every other float, −0.0 equals
//! 0.0, decimals compare by value whatever their width and scale, strings by their bytes.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DataType, Float16Type, Float32Type, i256};

use super::decimal::{digits, to_256};
use super::native::{Native, native};
use super::rows::{Values, bits, keep};
use super::{ArrowOperand, Operand, text_compare, union_nulls};
use crate::batch::nested_order;
use crate::error::Result;
use crate::expr::CompareOp;

/// `left op right` in every row; NULL where an operand is, except for the DISTINCT operators.
///
/// # Errors
/// `Internal` when the types cannot be compared.
pub(in crate::expr) fn compare(
    op: CompareOp,
    left: &Operand,
    right: &Operand,
    rows: usize,
) -> Result<BooleanArray> {
    match op {
        CompareOp::NotDistinct => not_distinct(left, right, rows),
        CompareOp::Distinct => {
            let same = not_distinct(left, right, rows)?;
            Ok(BooleanArray::new(!same.values(), None))
        }
        _ => {
            if left.is_all_null() || right.is_all_null() {
                return Ok(BooleanArray::new_null(rows));
            }
            let nulls = union_nulls(left, right);
            let (values, more_nulls) = values(op, left, right, rows)?;
            let nulls = NullBuffer::union(nulls.as_ref(), more_nulls.as_ref());
            Ok(BooleanArray::new(values, nulls))
        }
    }
}

/// True where both are NULL, or neither and they are equal.
fn not_distinct(left: &Operand, right: &Operand, rows: usize) -> Result<BooleanArray> {
    let (l, r) = (validity(left, rows), validity(right, rows));
    if left.is_all_null() || right.is_all_null() {
        // One of the two is all zeros, so the other decides.
        return Ok(BooleanArray::new(!&(&l | &r), None));
    }
    let (equal, _) = values(CompareOp::Equal, left, right, rows)?;
    let both_null = !&(&l | &r);
    let equal = &(&equal & &l) & &r;
    Ok(BooleanArray::new(&equal | &both_null, None))
}

/// A bit per row: whether it is not NULL.
fn validity(operand: &Operand, rows: usize) -> BooleanBuffer {
    if operand.is_all_null() {
        return BooleanBuffer::new_unset(rows);
    }
    match operand.nulls() {
        Some(nulls) => nulls.inner().clone(),
        None => BooleanBuffer::new_set(rows),
    }
}

type Compared = (BooleanBuffer, Option<NullBuffer>);

/// The comparison's bits, right where no operand is NULL.
fn values(op: CompareOp, left: &Operand, right: &Operand, rows: usize) -> Result<Compared> {
    let (left_type, right_type) = (left.array.data_type(), right.array.data_type());
    if left_type.is_decimal() && right_type.is_decimal() && left_type != right_type {
        return decimals(op, left, right, rows);
    }
    let (lc, rc) = (left.constant, right.constant);
    let values = match (native(left.array.as_ref()), native(right.array.as_ref())) {
        (Native::I32(l), Native::I32(r)) => {
            ordered(op, rows, Values::new(l, lc), Values::new(r, rc))
        }
        (Native::I64(l), Native::I64(r)) => {
            ordered(op, rows, Values::new(l, lc), Values::new(r, rc))
        }
        (Native::I128(l), Native::I128(r)) => {
            ordered(op, rows, Values::new(l, lc), Values::new(r, rc))
        }
        (Native::F64(l), Native::F64(r)) => {
            floats(op, rows, Values::new(l, lc), Values::new(r, rc))
        }
        (Native::Text(l), Native::Text(r)) => {
            let left = text_compare::Side { array: l, constant: lc };
            let right = text_compare::Side { array: r, constant: rc };
            text_compare::compare(op, rows, left, right)
        }
        _ => return others(op, left, right, rows),
    };
    Ok((values, None))
}

/// The rows among `rows` for which `left op right` is true, without packing them into bits first;
/// `None` when there is no such loop for the types.
pub(in crate::expr) fn pick(
    op: CompareOp,
    left: &Operand,
    right: &Operand,
    rows: &[u32],
) -> Option<Vec<u32>> {
    let same_type = match (left.array.data_type(), right.array.data_type()) {
        (DataType::Decimal64(_, l), DataType::Decimal64(_, r)) => l == r,
        (l, r) => l == r,
    };
    if !same_type || left.array.null_count() > 0 || right.array.null_count() > 0 {
        return None;
    }
    let (lc, rc) = (left.constant, right.constant);
    match (native(left.array.as_ref()), native(right.array.as_ref())) {
        (Native::I32(l), Native::I32(r)) => {
            Some(pick_ordered(op, Values::new(l, lc), Values::new(r, rc), rows))
        }
        (Native::I64(l), Native::I64(r)) => {
            Some(pick_ordered(op, Values::new(l, lc), Values::new(r, rc), rows))
        }
        _ => None,
    }
}

fn pick_ordered<T: Copy + Ord>(
    op: CompareOp,
    left: Values<'_, T>,
    right: Values<'_, T>,
    rows: &[u32],
) -> Vec<u32> {
    match op {
        CompareOp::Equal | CompareOp::NotDistinct => keep(left, right, rows, |l, r| l == r),
        CompareOp::NotEqual | CompareOp::Distinct => keep(left, right, rows, |l, r| l != r),
        CompareOp::Less => keep(left, right, rows, |l, r| l < r),
        CompareOp::LessOrEqual => keep(left, right, rows, |l, r| l <= r),
        CompareOp::Greater => keep(left, right, rows, |l, r| l > r),
        CompareOp::GreaterOrEqual => keep(left, right, rows, |l, r| l >= r),
    }
}

fn ordered<T: Copy + Ord>(
    op: CompareOp,
    rows: usize,
    left: Values<'_, T>,
    right: Values<'_, T>,
) -> BooleanBuffer {
    match op {
        CompareOp::Equal | CompareOp::NotDistinct => bits(rows, left, right, |l, r| l == r),
        CompareOp::NotEqual | CompareOp::Distinct => bits(rows, left, right, |l, r| l != r),
        CompareOp::Less => bits(rows, left, right, |l, r| l < r),
        CompareOp::LessOrEqual => bits(rows, left, right, |l, r| l <= r),
        CompareOp::Greater => bits(rows, left, right, |l, r| l > r),
        CompareOp::GreaterOrEqual => bits(rows, left, right, |l, r| l >= r),
    }
}

/// Without branches: a comparison with NaN is false, so the NaN cases are OR-ed in.
fn floats(
    op: CompareOp,
    rows: usize,
    left: Values<'_, f64>,
    right: Values<'_, f64>,
) -> BooleanBuffer {
    let equal = |l: f64, r: f64| (l == r) | (l.is_nan() & r.is_nan());
    let less = |l: f64, r: f64| (l < r) | (!l.is_nan() & r.is_nan());
    match op {
        CompareOp::Equal | CompareOp::NotDistinct => bits(rows, left, right, equal),
        CompareOp::NotEqual | CompareOp::Distinct => bits(rows, left, right, |l, r| !equal(l, r)),
        CompareOp::Less => bits(rows, left, right, less),
        CompareOp::LessOrEqual => bits(rows, left, right, |l, r| !less(r, l)),
        CompareOp::Greater => bits(rows, left, right, |l, r| less(r, l)),
        CompareOp::GreaterOrEqual => bits(rows, left, right, |l, r| !less(l, r)),
    }
}

/// Decimals of different widths or scales.
fn decimals(op: CompareOp, left: &Operand, right: &Operand, rows: usize) -> Result<Compared> {
    let ((_, l_scale), (_, r_scale)) =
        (digits(left.array.data_type())?, digits(right.array.data_type())?);
    if l_scale == r_scale {
        let wide = |operand: &Operand| match native(operand.array.as_ref()) {
            Native::I64(values) => Some(values.iter().map(|&v| i128::from(v)).collect::<Vec<_>>()),
            Native::I128(values) => Some(values.to_vec()),
            _ => None,
        };
        // Decimals that differ in their declared precision only.
        if let (Native::I64(l), Native::I64(r)) =
            (native(left.array.as_ref()), native(right.array.as_ref()))
        {
            let (l, r) = (Values::new(l, left.constant), Values::new(r, right.constant));
            return Ok((ordered(op, rows, l, r), None));
        }
        if let (Some(l), Some(r)) = (wide(left), wide(right)) {
            let (l, r) = (Values::new(&l, left.constant), Values::new(&r, right.constant));
            return Ok((ordered(op, rows, l, r), None));
        }
    }
    let scale = l_scale.max(r_scale);
    let (l, r) = (rescaled(&left.array, l_scale, scale)?, rescaled(&right.array, r_scale, scale)?);
    let (l, r) = (Values::new(&l, left.constant), Values::new(&r, right.constant));
    Ok((ordered(op, rows, l, r), None))
}

/// The integers of a decimal at scale `to`, as pairs that order like them. One that overflows 256
/// bits is beyond all that do not; only the side of the smaller scale is multiplied, so two such
/// integers never meet.
fn rescaled(array: &ArrayRef, from: i8, to: i8) -> Result<Vec<(i8, i256)>> {
    let power = (i32::from(to) - i32::from(from)).unsigned_abs();
    let ten = i256::from_i128(10);
    let factor = ten.checked_pow(power);
    let part = |value: i256| match factor.and_then(|factor| value.checked_mul(factor)) {
        Some(value) => (0, value),
        None if value == i256::ZERO => (0, value),
        None if value > i256::ZERO => (1, value),
        None => (-1, value),
    };
    Ok(to_256(array)?.into_iter().map(part).collect())
}

/// Types without a kernel of ours.
fn others(op: CompareOp, left: &Operand, right: &Operand, rows: usize) -> Result<Compared> {
    if let (Some(l), Some(r)) = (as_doubles(&left.array), as_doubles(&right.array)) {
        let (l, r) =
            (Values::new(l.values(), left.constant), Values::new(r.values(), right.constant));
        return Ok((floats(op, rows, l, r), None));
    }
    if left.array.data_type().is_nested() {
        return nested(op, left, right, rows);
    }
    let (l, r) = (ArrowOperand::from(left), ArrowOperand::from(right));
    let result = match op {
        CompareOp::Equal | CompareOp::NotDistinct => cmp::eq(&l, &r)?,
        CompareOp::NotEqual | CompareOp::Distinct => cmp::neq(&l, &r)?,
        CompareOp::Less => cmp::lt(&l, &r)?,
        CompareOp::LessOrEqual => cmp::lt_eq(&l, &r)?,
        CompareOp::Greater => cmp::gt(&l, &r)?,
        CompareOp::GreaterOrEqual => cmp::gt_eq(&l, &r)?,
    };
    Ok(result.into_parts())
}

/// Small floats as doubles, which keep their order and whose kernel knows NaN and −0.0.
fn as_doubles(array: &ArrayRef) -> Option<Float64Array> {
    match array.data_type() {
        DataType::Float16 => Some(array.as_primitive::<Float16Type>().unary(f64::from)),
        DataType::Float32 => Some(array.as_primitive::<Float32Type>().unary(f64::from)),
        _ => None,
    }
}

/// Lists and structures, element by element; NULL elements equal each other and come last.
fn nested(op: CompareOp, left: &Operand, right: &Operand, rows: usize) -> Result<Compared> {
    let order = nested_order(&left.array, &right.array)?;
    let row = |operand: &Operand, row: usize| if operand.constant { 0 } else { row };
    let holds = |ordering: Ordering| match op {
        CompareOp::Equal | CompareOp::NotDistinct => ordering.is_eq(),
        CompareOp::NotEqual | CompareOp::Distinct => ordering.is_ne(),
        CompareOp::Less => ordering.is_lt(),
        CompareOp::LessOrEqual => ordering.is_le(),
        CompareOp::Greater => ordering.is_gt(),
        CompareOp::GreaterOrEqual => ordering.is_ge(),
    };
    let values = BooleanBuffer::collect_bool(rows, |i| holds(order(row(left, i), row(right, i))));
    Ok((values, None))
}
