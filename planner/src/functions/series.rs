//! Functions that make long lists of few constants: folded, a list would be written out in the
//! plan, element by element. They are called when rows are made.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// Their names.
const SERIES: [&str; 3] = ["array_repeat", "generate_series", "range"];

/// A function that is not folded: to the borrowed rules it is volatile.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Unfolded {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

/// The function as the borrowed rules shall see it.
pub(crate) fn unfolded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if !SERIES.contains(&function.name()) {
        return function;
    }
    let mut signature = function.signature().clone();
    signature.volatility = Volatility::Volatile;
    Arc::new(ScalarUDF::from(Unfolded { inner: function, signature }))
}

/// The function that is called.
pub(crate) fn called(function: &Arc<ScalarUDF>) -> &Arc<ScalarUDF> {
    match function.inner().downcast_ref::<Unfolded>() {
        Some(unfolded) => &unfolded.inner,
        None => function,
    }
}

impl ScalarUDFImpl for Unfolded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(arguments)
    }
}
