//! hex(): the bytes of texts and binary values, and integers, in hexadecimal digits.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::each;
use crate::sql::type_name;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Hex {
    signature: Signature,
}

/// The function.
pub(super) fn hex() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Hex { signature }))
}

impl ScalarUDFImpl for Hex {
    fn name(&self) -> &str {
        "hex"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [argument] = arguments else {
            return plan_err!("hex takes one text, binary value or integer");
        };
        Ok(vec![match argument {
            DataType::Dictionary(_, values) => return self.coerce_types(&[(**values).clone()]),
            DataType::UInt64 => DataType::UInt64,
            integer if integer.is_integer() => DataType::Int64,
            bytes if bytes.is_binary() => DataType::Binary,
            text if text.is_string() || text.is_null() => DataType::Binary,
            other => {
                let other = type_name(other);
                return plan_err!("hex takes one text, binary value or integer, not {other}");
            }
        }])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.first() {
            Some(values) => each(values, |values| Ok(Arc::new(digits(values)))),
            None => exec_err!("hex takes one argument"),
        }
    }
}

fn digits(values: &ArrayRef) -> StringViewArray {
    if let Some(numbers) = values.as_primitive_opt::<Int64Type>() {
        return numbers.iter().map(|number| number.map(|number| format!("{number:X}"))).collect();
    }
    if let Some(numbers) = values.as_primitive_opt::<UInt64Type>() {
        return numbers.iter().map(|number| number.map(|number| format!("{number:X}"))).collect();
    }
    let of_bytes = |bytes: &[u8]| {
        let mut text = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            let _ = write!(text, "{byte:02X}");
        }
        text
    };
    values.as_binary::<i32>().iter().map(|bytes| bytes.map(of_bytes)).collect()
}
