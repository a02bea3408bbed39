//! Functions of lists that are NULL when a list is.

use std::sync::Arc;

use arrow::array::{Array, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// A function whose result is NULL where one of some arguments is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Strict {
    inner: Arc<ScalarUDF>,
    arguments: &'static [usize],
}

/// The function, and NULL where one of the arguments at these places is.
pub(crate) fn strict(inner: Arc<ScalarUDF>, arguments: &'static [usize]) -> ScalarUDF {
    ScalarUDF::from(Strict { inner, arguments })
}

impl ScalarUDFImpl for Strict {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(arguments)?;
        Ok(Arc::new(field.as_ref().clone().with_nullable(true)))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let is_constant = call.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let nulls = self.arguments.iter().filter_map(|&at| arrays.get(at));
        let nulls = nulls.fold(None, |nulls: Option<NullBuffer>, array| {
            NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref())
        });
        let rows = arrays.first().map_or(call.number_rows, |array| array.len());
        let mut result = self.inner.invoke_with_args(call)?.into_array(rows)?;
        if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
            // Lists that are NULL are left without elements, which others would see.
            let places = UInt32Array::new((0..rows as u32).collect(), Some(nulls));
            result = take(&result, &places, None)?;
        }
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}
