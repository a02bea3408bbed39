//! What exact numbers are divided by where a quotient has digits behind the point: quotients of
//! decimals are doubles, as in other engines. (The borrowed type of such a quotient has four more
//! digits than the dividend: 1 / 336776.0 would be zero. One with many digits leaves none for what
//! it is multiplied with.) But zero stays an error, as it is among exact numbers.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;
use datafusion_common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, cast,
};

/// Makes doubles of the operands of a division of which one is a decimal and none a floating-point
/// number. Says whether it did.
pub(crate) fn divide_exact(
    left: &mut Expr,
    op: Operator,
    right: &mut Expr,
    schema: &DFSchema,
) -> bool {
    let types = [left.get_type(schema), right.get_type(schema)];
    let is_exact = |t: &DataType| t.is_decimal() || t.is_integer();
    let known: Vec<&DataType> = types.iter().flatten().collect();
    let is_meant = op == Operator::Divide
        && known.len() == 2
        && known.iter().all(|t| is_exact(t))
        && known.iter().any(|t| t.is_decimal());
    if is_meant {
        *left = cast(std::mem::take(left), DataType::Float64);
        let divisor = cast(std::mem::take(right), DataType::Float64);
        let signature = Signature::any(1, Volatility::Immutable);
        *right = ScalarUDF::from(Divisor { signature }).call(vec![divisor]);
    }
    is_meant
}

/// `divisor(x)` is `x`, a double, or the error of a division by zero.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Divisor {
    signature: Signature,
}

impl ScalarUDFImpl for Divisor {
    fn name(&self) -> &str {
        "divisor"
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let [divisor] = args else { return internal_err!("one divisor") };
        Ok(divisor.to_string())
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [divisor] = args else { return internal_err!("one divisor") };
        Ok(divisor.schema_name().to_string())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(divisor) = args.args.into_iter().next() else {
            return internal_err!("one divisor");
        };
        let is_zero = match &divisor {
            ColumnarValue::Scalar(value) => *value == ScalarValue::Float64(Some(0.0)),
            ColumnarValue::Array(values) => match values.as_primitive_opt::<Float64Type>() {
                Some(values) if values.null_count() == 0 => values.values().contains(&0.0),
                Some(values) => values.iter().any(|value| value == Some(0.0)),
                None => return internal_err!("a divisor that is no double"),
            },
        };
        match is_zero {
            true => Err(ArrowError::DivideByZero.into()),
            false => Ok(divisor),
        }
    }
}
