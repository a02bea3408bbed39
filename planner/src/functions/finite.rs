//! isfinite() and isinf(): of numbers, and of moments, which have all an end.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Float64Type};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::each;
use crate::sql::type_name;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Finite {
    /// Whether it looks for numbers that are not infinite, and are numbers.
    wanted: bool,
    signature: Signature,
}

/// The functions.
pub(super) fn finite() -> [Arc<ScalarUDF>; 2] {
    [true, false].map(|wanted| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Finite { wanted, signature }))
    })
}

impl ScalarUDFImpl for Finite {
    fn name(&self) -> &str {
        if self.wanted { "isfinite" } else { "isinf" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [argument] = arguments else {
            return plan_err!("{} takes one number or one moment", self.name());
        };
        Ok(vec![match argument {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => argument.clone(),
            number if number.is_numeric() || number.is_null() => DataType::Float64,
            other => {
                let other = type_name(other);
                return plan_err!("{} takes one number or one moment, not {other}", self.name());
            }
        }])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.first() {
            Some(values) => each(values, |values| Ok(self.of(values))),
            None => exec_err!("{} takes one argument", self.name()),
        }
    }
}

impl Finite {
    fn of(&self, values: &ArrayRef) -> ArrayRef {
        let found = match values.as_primitive_opt::<Float64Type>() {
            Some(numbers) => {
                let numbers = numbers.values();
                BooleanBuffer::collect_bool(numbers.len(), |row| match self.wanted {
                    true => numbers[row].is_finite(),
                    false => numbers[row].is_infinite(),
                })
            }
            None => BooleanBuffer::collect_bool(values.len(), |_| self.wanted),
        };
        Arc::new(BooleanArray::new(found, values.nulls().cloned()))
    }
}
