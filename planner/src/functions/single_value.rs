//! `single_value(x)`: the only value of its group, NULL when there is none, an error when there
//! are several. It makes `(SELECT x FROM t)` a scalar as the standard wants it.

use arrow::datatypes::DataType;
use datafusion_common::{Result, internal_err};
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

/// The name it has in plans.
pub(crate) const SINGLE_VALUE: &str = "single_value";

#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleValue {
    signature: Signature,
}

/// The function, for logical plans.
pub(crate) fn single_value() -> AggregateUDF {
    AggregateUDF::from(SingleValue { signature: Signature::any(1, Volatility::Immutable) })
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        SINGLE_VALUE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        args.first().cloned().map_or_else(|| internal_err!("one argument"), Ok)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        internal_err!("{SINGLE_VALUE} is computed by the engine")
    }
}
