//! ceil(), floor() and trunc(): numbers without digits behind the point.
//!
//! The borrowed ones keep the type of a decimal, which may have no room for the digit in front of
//! the point that it gets; here it has no digits behind it. Integers that are cut stay themselves,
//! where the borrowed function makes doubles of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::preimage::PreimageResult;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::each;

#[derive(Debug, PartialEq, Eq, Hash)]
struct WholePart {
    borrowed: Arc<ScalarUDF>,
    towards: Towards,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Towards {
    Up,
    Down,
    Zero,
}

/// The function in place of the borrowed one.
pub(super) fn whole_part(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let towards = match borrowed.name() {
        "ceil" => Towards::Up,
        "floor" => Towards::Down,
        _ => Towards::Zero,
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(WholePart { borrowed, towards, signature }))
}

/// The type of decimals of this one without digits behind the point.
fn without_digits(number: &DataType) -> Option<DataType> {
    match number {
        DataType::Decimal128(precision, scale) => {
            Some(DataType::Decimal128(*precision, (*scale).min(0)))
        }
        DataType::Decimal256(precision, scale) => {
            Some(DataType::Decimal256(*precision, (*scale).min(0)))
        }
        _ => None,
    }
}

impl WholePart {
    fn number(&self, argument: &DataType) -> Result<DataType> {
        use DataType::{Decimal32, Decimal64, Decimal128, Dictionary, Float16, Float32, Float64};
        Ok(match argument {
            Dictionary(_, values) => return self.number(values),
            Decimal32(precision, scale) | Decimal64(precision, scale) => {
                Decimal128(*precision, *scale)
            }
            decimal if decimal.is_decimal() => decimal.clone(),
            integer if integer.is_integer() => match self.towards {
                Towards::Zero => integer.clone(),
                Towards::Up | Towards::Down => Float64,
            },
            Float16 | Float32 => Float32,
            Float64 | DataType::Null => Float64,
            other => return plan_err!("{} takes numbers, not {other}", self.name()),
        })
    }

    /// The decimals without the digits behind the point.
    fn of_decimals(&self, numbers: &ArrayRef, whole: &DataType) -> Result<ArrayRef> {
        let (up, down) = (self.towards == Towards::Up, self.towards == Towards::Down);
        Ok(match (numbers.data_type(), whole) {
            (DataType::Decimal128(_, scale), DataType::Decimal128(precision, _)) if *scale > 0 => {
                let unit = 10_i128.pow(scale.unsigned_abs().into());
                let whole: Decimal128Array = numbers.as_primitive::<Decimal128Type>().unary(|v| {
                    let rest = v % unit;
                    v / unit + i128::from(up && rest > 0) - i128::from(down && rest < 0)
                });
                Arc::new(whole.with_precision_and_scale(*precision, 0)?)
            }
            (DataType::Decimal256(_, scale), DataType::Decimal256(precision, _)) if *scale > 0 => {
                let ten = i256::from_i128(10);
                let unit = ten.wrapping_pow(scale.unsigned_abs().into());
                let whole: Decimal256Array = numbers.as_primitive::<Decimal256Type>().unary(|v| {
                    let rest = v.wrapping_rem(unit);
                    let step =
                        i8::from(up && rest > i256::ZERO) - i8::from(down && rest < i256::ZERO);
                    v.wrapping_div(unit).wrapping_add(i256::from_i128(step.into()))
                });
                Arc::new(whole.with_precision_and_scale(*precision, 0)?)
            }
            _ => numbers.clone(),
        })
    }
}

impl ScalarUDFImpl for WholePart {
    as_borrowed!(name, aliases);

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match (self.towards, arguments) {
            (_, [number]) => Ok(vec![self.number(number)?]),
            (Towards::Zero, [number, digits]) => {
                if !digits.is_integer() && !digits.is_null() {
                    return plan_err!("{} takes a number of digits, not {digits}", self.name());
                }
                let number = self.number(number)?;
                let number = if number.is_integer() { DataType::Float64 } else { number };
                Ok(vec![number, DataType::Int64])
            }
            (Towards::Zero, _) => {
                plan_err!("{} takes a number and perhaps a number of digits", self.name())
            }
            _ => plan_err!("{} takes one number", self.name()),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [number] if number.is_integer() => Ok(number.clone()),
            [number] => match without_digits(number) {
                Some(whole) => Ok(whole),
                None => self.borrowed.inner().return_type(arguments),
            },
            _ => self.borrowed.inner().return_type(arguments),
        }
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [number] = &call.args[..] else { return self.borrowed.invoke_with_args(call) };
        let data_type = number.data_type();
        if data_type.is_integer() {
            return Ok(call.args.swap_remove(0));
        }
        match without_digits(&data_type) {
            Some(whole) => each(number, |numbers| self.of_decimals(numbers, &whole)),
            None => self.borrowed.invoke_with_args(call),
        }
    }

    fn preimage(
        &self,
        args: &[Expr],
        result: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        match result {
            Expr::Literal(ScalarValue::Float64(_) | ScalarValue::Float32(_), _) => {
                self.borrowed.inner().preimage(args, result, info)
            }
            _ => Ok(PreimageResult::None),
        }
    }
}
