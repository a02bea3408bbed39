//! length(): the characters of a text, the bytes of binary data, or the elements of a list. The
//! borrowed one writes lists down to count their characters.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::DataType;
use datafusion_common::utils::list_ndims;
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_functions::unicode::character_length;

use super::each::each;

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Length {
    aliases: Vec<String>,
    signature: Signature,
}

impl Length {
    pub(super) fn new() -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Length { aliases: vec!["len".to_string()], signature }
    }
}

impl ScalarUDFImpl for Length {
    fn name(&self) -> &str {
        "length"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [list] if list_ndims(list) > 0 => Ok(vec![list.clone()]),
            [text] if text.is_string() => Ok(vec![text.clone()]),
            [DataType::FixedSizeBinary(_)] => Ok(vec![DataType::BinaryView]),
            [bytes] if bytes.is_binary() => Ok(vec![bytes.clone()]),
            [_] => Ok(vec![DataType::Utf8View]),
            _ => plan_err!("length takes one text, one list or binary data"),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [value] if is_measured(value) => Ok(DataType::Int64),
            texts => character_length().return_type(texts),
        }
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match &args[..] {
            [value] if !is_measured(&info.get_data_type(value)?) => {
                Ok(ExprSimplifyResult::Simplified(character_length().call(args)))
            }
            _ => Ok(ExprSimplifyResult::Original(args)),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.first() {
            Some(values) if is_measured(&values.data_type()) => {
                each(values, |values| Ok(cast(&length(values)?, &DataType::Int64)?))
            }
            Some(_) => character_length().invoke_with_args(call),
            None => exec_err!("the length of nothing"),
        }
    }
}

/// Whether it is not characters that are counted.
fn is_measured(data_type: &DataType) -> bool {
    list_ndims(data_type) > 0 || data_type.is_binary()
}

/// The function.
pub(super) fn length_function() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Length::new()))
}
