//! `list[index]`: NULL for an index beyond 32 bits too, of which the borrowed function makes an
//! error. No list is that long.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion_common::Result;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion_functions_nested::extract::array_element_udf;

use super::each::each;

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListElement {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn list_element(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ListElement { borrowed }))
}

/// The call for the element of a list.
pub(crate) fn element(list: Expr, index: Expr) -> Expr {
    list_element(array_element_udf()).call(vec![list, index])
}

impl ScalarUDFImpl for ListElement {
    fn name(&self) -> &str {
        self.borrowed.name()
    }

    fn aliases(&self) -> &[String] {
        self.borrowed.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.borrowed.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.borrowed.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.borrowed.inner().return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.borrowed.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.borrowed.coerce_types(arguments)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.borrowed.simplify(args, info)
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(index) = call.args.get_mut(1)
            && index.data_type() == DataType::Int64
        {
            *index = each(index, |index| Ok(within(index)))?;
        }
        self.borrowed.inner().invoke_with_args(call)
    }
}

/// Indexes of which those that are too far are the farthest that 32 bits hold.
fn within(indexes: &ArrayRef) -> ArrayRef {
    let far = i64::from(i32::MAX);
    let indexes: Int64Array =
        indexes.as_primitive::<Int64Type>().unary(|index| index.clamp(-far, far));
    Arc::new(indexes)
}
