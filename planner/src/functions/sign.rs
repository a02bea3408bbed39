//! sign() and bit_count(): small integers of numbers. The sign of a NaN is 0.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int8Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, Int64Type};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::each;

/// A small integer of a number.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfNumber {
    which: Which,
    signature: Signature,
    aliases: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    /// 1, 0 or -1.
    Sign,
    /// How many bits are set, of negative numbers in two's complement.
    Bits,
}

/// `signum(x)`, also called `sign`.
pub(super) fn sign() -> Arc<ScalarUDF> {
    function(Which::Sign, vec!["sign".to_string()])
}

/// `bit_count(x)`
pub(super) fn bit_count() -> Arc<ScalarUDF> {
    function(Which::Bits, Vec::new())
}

fn function(which: Which, aliases: Vec<String>) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(OfNumber { which, signature, aliases }))
}

impl ScalarUDFImpl for OfNumber {
    fn name(&self) -> &str {
        match self.which {
            Which::Sign => "signum",
            Which::Bits => "bit_count",
        }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [argument] = arguments else { return plan_err!("{} takes one number", self.name()) };
        Ok(vec![match argument {
            DataType::Dictionary(_, values) => return self.coerce_types(&[(**values).clone()]),
            DataType::Null => DataType::Int64,
            number if number.is_integer() => number.clone(),
            other if self.which == Which::Bits => {
                return plan_err!("bit_count takes an integer, and this is {other}");
            }
            DataType::Decimal256(p, s) => DataType::Decimal256(*p, *s),
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
                DataType::Decimal128(*p, *s)
            }
            number if number.is_floating() || number.is_string() => DataType::Float64,
            other => return plan_err!("{} takes a number, and this is {other}", self.name()),
        }])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.first() {
            Some(numbers) => each(numbers, |numbers| match self.which {
                Which::Sign => signs(numbers),
                Which::Bits => bits(numbers),
            }),
            None => exec_err!("{} of nothing", self.name()),
        }
    }
}

fn signs(numbers: &ArrayRef) -> Result<ArrayRef> {
    let signs: Int8Array = match numbers.data_type() {
        DataType::Float64 => {
            numbers.as_primitive::<Float64Type>().unary(|x| i8::from(x > 0.0) - i8::from(x < 0.0))
        }
        DataType::Decimal128(..) => {
            numbers.as_primitive::<Decimal128Type>().unary(|x| x.signum() as i8)
        }
        DataType::Decimal256(..) => {
            let sign =
                |x: arrow::datatypes::i256| i8::from(x.is_positive()) - i8::from(x.is_negative());
            numbers.as_primitive::<Decimal256Type>().unary(sign)
        }
        DataType::UInt64 => {
            let numbers = numbers.as_primitive::<arrow::datatypes::UInt64Type>();
            numbers.unary(|x| i8::from(x > 0))
        }
        _ => {
            let numbers = cast(numbers, &DataType::Int64)?;
            numbers.as_primitive::<Int64Type>().unary(|x| x.signum() as i8)
        }
    };
    Ok(Arc::new(signs))
}

/// A negative number has the bits of its own type.
fn bits(numbers: &ArrayRef) -> Result<ArrayRef> {
    let width = numbers.data_type().primitive_width().unwrap_or(8) as u32 * 8;
    if *numbers.data_type() == DataType::UInt64 {
        let numbers = numbers.as_primitive::<arrow::datatypes::UInt64Type>();
        return Ok(Arc::new(numbers.unary::<_, arrow::datatypes::Int8Type>(set_bits)));
    }
    let numbers = cast(numbers, &DataType::Int64)?;
    let beyond = |x: i64| if x < 0 { 64 - width as i8 } else { 0 };
    let bits: Int8Array =
        numbers.as_primitive::<Int64Type>().unary(|x| set_bits(x as u64) - beyond(x));
    Ok(Arc::new(bits))
}

fn set_bits(bits: u64) -> i8 {
    bits.count_ones() as i8
}
