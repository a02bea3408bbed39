//! epoch_ms(), epoch_us() and epoch_ns(): what is between 1970 and a moment, or in a time of a day
//! or an interval, in thousandths of a second and smaller parts; and the moment that milliseconds
//! lead to.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion_common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gristmill_engine::calendar::per_second;

use super::each::each;
use crate::sql::type_name;

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

const DAYS_PER_MONTH: i128 = 30;
const NANOSECONDS_PER_DAY: i128 = 86_400_000_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Epoch {
    unit: TimeUnit,
    signature: Signature,
}

/// The functions.
pub(super) fn epochs() -> [Arc<ScalarUDF>; 3] {
    [TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond].map(|unit| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Epoch { unit, signature }))
    })
}

impl ScalarUDFImpl for Epoch {
    fn name(&self) -> &str {
        match self.unit {
            TimeUnit::Nanosecond => "epoch_ns",
            TimeUnit::Microsecond => "epoch_us",
            _ => "epoch_ms",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let takes = match self.unit {
            TimeUnit::Millisecond => "one moment or one interval, or one number of milliseconds",
            _ => "one moment or one interval",
        };
        let [argument] = arguments else { return plan_err!("{} takes {takes}", self.name()) };
        Ok(vec![match argument {
            integer if integer.is_integer() && self.unit == TimeUnit::Millisecond => {
                DataType::Int64
            }
            DataType::Timestamp(..) | DataType::Duration(_) => argument.clone(),
            DataType::Date32 | DataType::Date64 | DataType::Null => MICROS,
            text if text.is_string() => MICROS,
            DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Nanosecond),
            DataType::Interval(_) => INTERVAL,
            other => return plan_err!("{} takes {takes}, not {}", self.name(), type_name(other)),
        }])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(match arguments {
            [DataType::Int64] => MICROS,
            _ => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match call.args.first() {
            Some(values) => each(values, |values| self.of(values)),
            None => exec_err!("{} takes one argument", self.name()),
        }
    }
}

impl Epoch {
    fn of(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let beyond = || exec_datafusion_err!("a value is out of range");
        let wanted = i128::from(per_second(self.unit));
        let from = match values.data_type() {
            DataType::Int64 => {
                let numbers = values.as_primitive::<Int64Type>();
                let micros = |number: i64| number.checked_mul(1_000).ok_or_else(beyond);
                let moments: PrimitiveArray<TimestampMicrosecondType> =
                    numbers.try_unary(micros)?;
                return Ok(Arc::new(moments));
            }
            DataType::Interval(_) => {
                let intervals = values.as_primitive::<IntervalMonthDayNanoType>();
                let each = i128::from(per_second(TimeUnit::Nanosecond)) / wanted;
                let counted: Int64Array = intervals.try_unary(|interval| {
                    let days = i128::from(interval.months) * DAYS_PER_MONTH;
                    let days = days + i128::from(interval.days);
                    let length = days * NANOSECONDS_PER_DAY + i128::from(interval.nanoseconds);
                    i64::try_from(length / each).map_err(|_| beyond())
                })?;
                return Ok(Arc::new(counted));
            }
            DataType::Timestamp(unit, _) | DataType::Duration(unit) | DataType::Time64(unit) => {
                i128::from(per_second(*unit))
            }
            other => return exec_err!("{} takes no {other}", self.name()),
        };
        let counted = cast(values, &DataType::Int64)?;
        let counted: Int64Array = counted.as_primitive::<Int64Type>().try_unary(|count| {
            let count = i128::from(count);
            let nearest = match from > wanted {
                true => {
                    let each = from / wanted;
                    (count + count.signum() * each / 2) / each
                }
                false => count * (wanted / from),
            };
            i64::try_from(nearest).map_err(|_| beyond())
        })?;
        Ok(Arc::new(counted))
    }
}
