//! to_timestamp(), in microseconds: the borrowed one counts nanoseconds, which end in 2262, and
//! takes numbers that are none for the last or the first of them.
//!
//! A number is one of seconds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, TimeUnit, TimestampMicrosecondType};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::{each, is_constant, results};
use super::formatted::moments;
use super::seconds::seconds_type;

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToTimestamp {
    borrowed: Arc<ScalarUDF>,
    signature: Signature,
}

impl ToTimestamp {
    pub(super) fn new(borrowed: Arc<ScalarUDF>) -> Self {
        ToTimestamp { borrowed, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToTimestamp {
    fn name(&self) -> &str {
        self.borrowed.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(MICROS)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if call.args.len() > 1 {
            let stamps = moments(&call.args)?.reinterpret_cast::<TimestampMicrosecondType>();
            return results(Arc::new(stamps), is_constant(&call.args));
        }
        match call.args.first() {
            Some(values) => each(values, stamps),
            None => exec_err!("it takes a text or a number of seconds"),
        }
    }
}

fn stamps(values: &ArrayRef) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let values = match values.data_type() {
        number if number.is_numeric() => {
            let seconds = cast_with_options(values, &seconds_type(TimeUnit::Microsecond), &strict)?;
            let seconds = seconds.as_primitive::<Decimal128Type>();
            if seconds.iter().flatten().any(|micros| i64::try_from(micros).is_err()) {
                return exec_err!("more seconds than a timestamp holds");
            }
            let micros: Int64Array = seconds.unary(|micros| micros as i64);
            Arc::new(micros)
        }
        _ => values.clone(),
    };
    Ok(cast_with_options(&values, &MICROS, &strict)?)
}
