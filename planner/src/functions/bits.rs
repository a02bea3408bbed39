//! `&`, `|`, xor, `<<` and `>>` of two integers of one type, in two's complement.
//!
//! A shift to the left multiplies and a shift to the right divides by powers of two: a result that
//! its type does not hold is an error, as it is in other arithmetic, and quotients are rounded
//! down. An integer may be shifted by more bits than it has, but not by fewer than none.

use std::fmt::Display;
use std::ops::{BitAnd, BitOr, BitXor};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, downcast_integer, new_null_array,
};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::{
    ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::operations::{named_operation, shown_operation};

/// More bits than any integer has here.
const ALL_BITS: i128 = 64;

/// An operation on the bits of two integers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BitOperation {
    op: Operator,
    signature: Signature,
}

/// What those are called that fail on no integers.
pub(crate) const TOTAL_OF_BITS: [&str; 3] = ["&", "|", "xor"];

const SHIFTS: [&str; 2] = ["<<", ">>"];

/// The operation of an operator, if it is one of bits.
pub(crate) fn of_bits(op: Operator) -> Option<ScalarUDF> {
    name(op)?;
    let signature = Signature::any(2, Volatility::Immutable);
    Some(ScalarUDF::new_from_impl(BitOperation { op, signature }))
}

/// Whether a function of this name is one.
pub(crate) fn is_of_bits(function: &str) -> bool {
    TOTAL_OF_BITS.contains(&function) || SHIFTS.contains(&function)
}

fn name(op: Operator) -> Option<&'static str> {
    let ([and, or, xor], [left, right]) = (TOTAL_OF_BITS, SHIFTS);
    Some(match op {
        Operator::BitwiseAnd => and,
        Operator::BitwiseOr => or,
        Operator::BitwiseXor => xor,
        Operator::BitwiseShiftLeft => left,
        Operator::BitwiseShiftRight => right,
        _ => return None,
    })
}

impl ScalarUDFImpl for BitOperation {
    fn name(&self) -> &str {
        name(self.op).unwrap_or_default()
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        shown_operation(self.op, args)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        named_operation(self.op, args)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        args.first().cloned().map_or_else(|| internal_err!("two operands"), Ok)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        use ColumnarValue::{Array, Scalar};
        let [left, right] = &call.args[..] else { return internal_err!("two operands") };
        Ok(match (left, right) {
            (Array(left), Array(right)) => Array(self.result(left, right, false, false)?),
            (Array(left), Scalar(right)) => {
                Array(self.result(left, &right.to_array()?, false, true)?)
            }
            (Scalar(left), Array(right)) => {
                Array(self.result(&left.to_array()?, right, true, false)?)
            }
            (Scalar(left), Scalar(right)) => {
                let result = self.result(&left.to_array()?, &right.to_array()?, false, false)?;
                Scalar(ScalarValue::try_from_array(&result, 0)?)
            }
        })
    }
}

impl BitOperation {
    /// At most one of the two is constant, and has one value then.
    fn result(
        &self,
        left: &ArrayRef,
        right: &ArrayRef,
        is_left_constant: bool,
        is_right_constant: bool,
    ) -> Result<ArrayRef> {
        macro_rules! of_type {
            ($t:ty) => {{
                let operands = Operands {
                    left: left.as_primitive::<$t>(),
                    right: right.as_primitive::<$t>(),
                    is_left_constant,
                    is_right_constant,
                };
                operands.result(self.op)?
            }};
        }
        if left.data_type() != right.data_type() {
            return internal_err!("bits of {} and {}", left.data_type(), right.data_type());
        }
        Ok(downcast_integer! {
            left.data_type() => (of_type),
            DataType::Null => new_null_array(&DataType::Null, left.len().max(right.len())),
            other => return internal_err!("bits of {other}")
        })
    }
}

struct Operands<'a, T: ArrowPrimitiveType> {
    left: &'a PrimitiveArray<T>,
    right: &'a PrimitiveArray<T>,
    is_left_constant: bool,
    is_right_constant: bool,
}

impl<T: ArrowPrimitiveType> Operands<'_, T>
where
    T::Native: BitAnd<Output = T::Native>
        + BitOr<Output = T::Native>
        + BitXor<Output = T::Native>
        + Into<i128>
        + TryFrom<i128>
        + Display,
{
    fn result(&self, op: Operator) -> Result<ArrayRef> {
        let result = match op {
            Operator::BitwiseAnd => self.total(|a, b| a & b),
            Operator::BitwiseOr => self.total(|a, b| a | b),
            Operator::BitwiseXor => self.total(|a, b| a ^ b),
            Operator::BitwiseShiftLeft => self.checked(shifted_left),
            _ => self.checked(shifted_right),
        };
        Ok(Arc::new(result?))
    }

    fn total(
        &self,
        of: impl Fn(T::Native, T::Native) -> T::Native,
    ) -> Result<PrimitiveArray<T>, ArrowError> {
        if let Some(nulls) = self.of_null() {
            return Ok(nulls);
        }
        Ok(if self.is_left_constant {
            let left = self.left.value(0);
            self.right.unary(|right| of(left, right))
        } else if self.is_right_constant {
            let right = self.right.value(0);
            self.left.unary(|left| of(left, right))
        } else {
            arrow::compute::binary(self.left, self.right, of)?
        })
    }

    fn checked(
        &self,
        of: impl Fn(T::Native, T::Native) -> Result<T::Native, ArrowError>,
    ) -> Result<PrimitiveArray<T>, ArrowError> {
        if let Some(nulls) = self.of_null() {
            return Ok(nulls);
        }
        if self.is_left_constant {
            let left = self.left.value(0);
            self.right.try_unary(|right| of(left, right))
        } else if self.is_right_constant {
            let right = self.right.value(0);
            self.left.try_unary(|left| of(left, right))
        } else {
            arrow::compute::try_binary(self.left, self.right, of)
        }
    }

    /// The result when a constant is NULL.
    fn of_null(&self) -> Option<PrimitiveArray<T>> {
        let is_null = self.is_left_constant && self.left.is_null(0)
            || self.is_right_constant && self.right.is_null(0);
        let rows = if self.is_left_constant { self.right.len() } else { self.left.len() };
        is_null.then(|| PrimitiveArray::new_null(rows))
    }
}

fn shifted_left<N>(value: N, by: N) -> Result<N, ArrowError>
where
    N: Into<i128> + TryFrom<i128> + Copy + Display,
{
    let bits = bits(by)?;
    let wide: i128 = value.into();
    // 64 bits and 63 more.
    let result = if bits < ALL_BITS { Some(wide << bits) } else { (wide == 0).then_some(0) };
    result.and_then(|result| N::try_from(result).ok()).ok_or_else(|| {
        ArrowError::ComputeError(format!(
            "overflow: {value} << {by} does not fit the type of its operands"
        ))
    })
}

fn shifted_right<N>(value: N, by: N) -> Result<N, ArrowError>
where
    N: Into<i128> + TryFrom<i128> + Copy + Display,
{
    let bits = bits(by)?.min(ALL_BITS);
    let wide: i128 = value.into();
    // It is no further from zero than the value.
    Ok(N::try_from(wide >> bits).unwrap_or(value))
}

/// How many bits a shift is by.
fn bits<N: Into<i128> + Copy + Display>(by: N) -> Result<i128, ArrowError> {
    let bits: i128 = by.into();
    if bits < 0 {
        let message = format!("{by} bits; shift by 0 or more, or the other way");
        return Err(ArrowError::ComputeError(message));
    }
    Ok(bits)
}
