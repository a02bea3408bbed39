//! Lists as texts, with NULL for elements that are NULL: the borrowed folder writes nothing there.
//! Differences of timestamps as texts, which it writes in another form than columns are written.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::util::display::FormatOptions;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::each;

/// The cast of a list, or of a difference of timestamps, to a type of texts.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ListText {
    target: DataType,
    signature: Signature,
}

/// The text of a list or a difference of timestamps, of this type.
pub(crate) fn list_text(list: Expr, target: DataType) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let function = ScalarUDF::from(ListText { target, signature });
    Arc::new(function).call(vec![list])
}

impl ScalarUDFImpl for ListText {
    fn name(&self) -> &str {
        "list_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let format_options = FormatOptions::new().with_null("NULL");
        let options = CastOptions { safe: false, format_options };
        let text = |list: &ArrayRef| cast_with_options(list, &self.target, &options);
        match call.args.first() {
            Some(lists) => each(lists, |lists| Ok(text(lists)?)),
            None => exec_err!("the text of no value"),
        }
    }
}
