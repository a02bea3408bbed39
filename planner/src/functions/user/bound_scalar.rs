//! A scalar function of the program's own as the front end declares it and the engine calls it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion_common::Result as FrontEnd;
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gristmill_engine::Result;
use gristmill_engine::batch::{logical_type, to_logical};
use gristmill_engine::expr::{Argument, ScalarFunction as EngineFunction};

use super::bound::Bound;
use super::guard::{checked, guarded, to_front_end};
use super::scalar::ScalarFunction;

/// See the module documentation.
pub(crate) type BoundScalar = Bound<dyn ScalarFunction>;

impl BoundScalar {
    /// # Errors
    /// `Input` when the function panics about its own name.
    pub(crate) fn new(function: Arc<dyn ScalarFunction>) -> Result<Self> {
        let (name, arguments, volatile) = guarded("of the program", || {
            Ok((function.name().to_string(), function.arguments(), function.is_volatile()))
        })?;
        let volatility = if volatile { Volatility::Volatile } else { Volatility::Immutable };
        Ok(Bound { name, arguments, signature: Signature::user_defined(volatility), function })
    }

    /// The function behind a name of the front end, if it is one of the program's own.
    pub(crate) fn of(function: &ScalarUDF) -> Option<&BoundScalar> {
        function.inner().downcast_ref::<BoundScalar>()
    }

    /// The type that the function gives for arguments of these planned types.
    fn own_type(&self, planned: &[DataType]) -> Result<DataType> {
        guarded(&self.name, || self.function.return_type(&self.arguments.seen(planned)))
    }

    /// The results for arrays of planned types.
    fn call(&self, given: &[ArrayRef], rows: usize, returns: &DataType) -> Result<ArrayRef> {
        let planned: Vec<DataType> = given.iter().map(|array| array.data_type().clone()).collect();
        let seen = self.arguments.seen(&planned);
        let arguments = given.iter().zip(&seen).map(|(array, seen)| to_logical(array, seen));
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let result = guarded(&self.name, || self.function.invoke(&arguments, rows))?;
        checked(&self.name, &result, rows, &self.own_type(&planned)?)?;
        to_logical(&result, returns)
    }
}

impl EngineFunction for BoundScalar {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_volatile(&self) -> bool {
        self.signature.volatility == Volatility::Volatile
    }

    fn invoke(&self, args: &[Argument], rows: usize, returns: &DataType) -> Result<ArrayRef> {
        let array = |argument: &Argument| match argument {
            Argument::Array(array) => Ok(array.clone()),
            Argument::Constant(value) if rows == 1 => Ok(value.clone()),
            Argument::Constant(value) => Ok(take(value, &UInt32Array::from(vec![0; rows]), None)?),
        };
        let arrays = args.iter().map(array).collect::<Result<Vec<_>>>()?;
        self.call(&arrays, rows, returns)
    }
}

impl ScalarUDFImpl for BoundScalar {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> FrontEnd<Vec<DataType>> {
        self.arguments.planned(&self.name, given).map_err(to_front_end)
    }

    fn return_type(&self, planned: &[DataType]) -> FrontEnd<DataType> {
        self.own_type(planned).map(|own| logical_type(&own)).map_err(to_front_end)
    }

    /// Constants are folded by this.
    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> FrontEnd<ColumnarValue> {
        let arrays = call.args.iter().map(|value| value.to_array(call.number_rows));
        let arrays = arrays.collect::<FrontEnd<Vec<_>>>()?;
        let result = self.call(&arrays, call.number_rows, call.return_field.data_type());
        result.map(ColumnarValue::Array).map_err(to_front_end)
    }
}
