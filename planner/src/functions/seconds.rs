//! Timestamps as numbers: seconds since 1970, with a fraction as precise as the timestamp.
//!
//! Casts between timestamps and numbers mean this in both directions, whatever a timestamp counts.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Decimal128Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gristmill_engine::calendar::per_second;

use super::each::each;

/// Digits of 64 bits.
const PRECISION: u8 = 19;

fn digits(unit: TimeUnit) -> i8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// What a timestamp counts since 1970, and how many of that a second has; nothing for what is no
/// timestamp.
pub(crate) fn counted(moment: &ScalarValue) -> Option<(Option<i64>, i64)> {
    let (moment, unit) = match moment {
        ScalarValue::TimestampSecond(moment, _) => (moment, TimeUnit::Second),
        ScalarValue::TimestampMillisecond(moment, _) => (moment, TimeUnit::Millisecond),
        ScalarValue::TimestampMicrosecond(moment, _) => (moment, TimeUnit::Microsecond),
        ScalarValue::TimestampNanosecond(moment, _) => (moment, TimeUnit::Nanosecond),
        _ => return None,
    };
    Some((*moment, per_second(unit)))
}

/// The function of the seconds of moments.
pub(super) const TO_SECONDS: &str = "to_seconds";

/// The type of the seconds of timestamps of this unit.
pub(crate) fn seconds_type(unit: TimeUnit) -> DataType {
    DataType::Decimal128(PRECISION, digits(unit))
}

/// A timestamp as seconds.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToSeconds {
    signature: Signature,
}

/// Seconds as a timestamp.
#[derive(Debug, PartialEq, Eq, Hash)]
struct FromSeconds {
    target: DataType,
    /// Whether what is no timestamp is NULL.
    lenient: bool,
    signature: Signature,
}

/// The seconds of a timestamp.
pub(crate) fn to_seconds(moment: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(ToSeconds { signature }).call(vec![moment])
}

/// The timestamp of seconds, which are of its unit's [`seconds_type`].
pub(crate) fn from_seconds(seconds: Expr, target: DataType, lenient: bool) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(FromSeconds { target, lenient, signature }).call(vec![seconds])
}

impl ScalarUDFImpl for ToSeconds {
    fn name(&self) -> &str {
        TO_SECONDS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [DataType::Timestamp(unit, _)] => Ok(seconds_type(*unit)),
            _ => plan_err!("seconds are those of a timestamp"),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        each(argument(&call)?, |moments| {
            let DataType::Timestamp(unit, _) = moments.data_type() else {
                return exec_err!("seconds are those of a timestamp");
            };
            let counted = cast(moments, &DataType::Int64)?;
            let counted = counted.as_primitive::<Int64Type>();
            let seconds: Decimal128Array = counted.unary(i128::from);
            Ok(Arc::new(seconds.with_precision_and_scale(PRECISION, digits(*unit))?))
        })
    }
}

impl ScalarUDFImpl for FromSeconds {
    fn name(&self) -> &str {
        "from_seconds"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        each(argument(&call)?, |seconds| {
            let counted = seconds.as_primitive::<Decimal128Type>();
            let fit = |value| i64::try_from(value).ok();
            let counted: Int64Array = match self.lenient {
                true => counted.unary_opt(fit),
                false if counted.iter().flatten().all(|value| fit(value).is_some()) => {
                    counted.unary(|value| value as i64)
                }
                false => return exec_err!("more seconds than {} holds", self.target),
            };
            Ok(cast(&counted, &self.target)?)
        })
    }
}

/// The one argument of a call.
fn argument(call: &ScalarFunctionArgs) -> Result<&ColumnarValue> {
    match call.args.first() {
        Some(argument) => Ok(argument),
        None => exec_err!("the seconds of nothing"),
    }
}
