//! An interval several times: what `n * INTERVAL '1 day'` and `INTERVAL (n) DAY` are calls of.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion_common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::{is_constant, results};

/// The name of the function, which takes an interval and an integer.
pub(crate) const SEVERAL: &str = "interval_times";

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Several {
    signature: Signature,
}

/// The function.
pub(super) fn several() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Several { signature }))
}

impl ScalarUDFImpl for Several {
    fn name(&self) -> &str {
        SEVERAL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(INTERVAL)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [DataType::Interval(_), times] if times.is_integer() || times.is_null() => {
                Ok(vec![INTERVAL, DataType::Int64])
            }
            [_, times] => plan_err!("intervals are multiplied by integers, not by {times}"),
            _ => plan_err!("{SEVERAL} takes an interval and an integer"),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let [intervals, times] = &ColumnarValue::values_to_arrays(&call.args)?[..] else {
            return exec_err!("{SEVERAL} takes two arguments");
        };
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let pairs = intervals.iter().zip(times.as_primitive::<Int64Type>());
        let products = pairs.map(|(interval, times)| match (interval, times) {
            (Some(interval), Some(times)) => multiplied(interval, times).map(Some),
            _ => Ok(None),
        });
        let products: ArrayRef = Arc::new(products.collect::<Result<IntervalMonthDayNanoArray>>()?);
        results(products, is_constant)
    }
}

fn multiplied(interval: IntervalMonthDayNano, times: i64) -> Result<IntervalMonthDayNano> {
    let small = |part: i32| i64::from(part).checked_mul(times).and_then(|p| p.try_into().ok());
    let product = || {
        let nanoseconds = interval.nanoseconds.checked_mul(times)?;
        Some(IntervalMonthDayNano::new(small(interval.months)?, small(interval.days)?, nanoseconds))
    };
    product().ok_or_else(|| exec_datafusion_err!("an interval {times} times is too long"))
}
