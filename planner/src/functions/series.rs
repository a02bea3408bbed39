//! Functions that make long lists of few constants: folded, a list would be written out in the
//! plan, element by element. They are called when rows are made.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::Result;
use datafusion_common::tree_node::TreeNode;
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::stamps::{stamps, stamps_type};

/// Their names.
const SERIES: [&str; 3] = ["array_repeat", "generate_series", "range"];

/// A function that is not folded: to the borrowed rules it is volatile.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Unfolded {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl Unfolded {
    /// What the function makes of timestamps, where that is ours to make.
    fn stamps_type(&self, start: Option<&DataType>) -> Option<DataType> {
        if self.name() == "array_repeat" { None } else { stamps_type(start) }
    }
}

/// The function as the borrowed rules shall see it.
pub(super) fn unfolded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if !SERIES.contains(&function.name()) {
        return function;
    }
    let mut signature = function.signature().clone();
    signature.volatility = Volatility::Volatile;
    Arc::new(ScalarUDF::from(Unfolded { inner: function, signature }))
}

/// The function that is called, which is as volatile as it is.
pub(crate) fn called(function: &Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match function.inner().downcast_ref::<Unfolded>() {
        Some(Unfolded { inner, .. }) => {
            let signature = inner.signature().clone();
            Arc::new(ScalarUDF::from(Unfolded { inner: inner.clone(), signature }))
        }
        None => function.clone(),
    }
}

/// Whether an expression may have another value each time.
pub(crate) fn is_random(expr: &Expr) -> bool {
    let is_volatile = |e: &Expr| match e {
        Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Unfolded>().is_some() => {
            false
        }
        other => other.is_volatile_node(),
    };
    expr.exists(|e| Ok(is_volatile(e))).unwrap_or(true)
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
        if let Some(stamps) = self.stamps_type(arguments.first()) {
            return Ok(stamps);
        }
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let start = arguments.arg_fields.first().map(|field| field.data_type());
        if let Some(stamps) = self.stamps_type(start) {
            return Ok(Arc::new(Field::new(self.name(), stamps, true)));
        }
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let start = arguments.args.first().map(ColumnarValue::data_type);
        if self.stamps_type(start.as_ref()).is_some() {
            let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
            let includes_stop = self.name() == "generate_series";
            return Ok(ColumnarValue::Array(stamps(&arrays, includes_stop)?));
        }
        self.inner.invoke_with_args(arguments)
    }
}
